"""Global variables of an object from a C compiler: where they are, and new values for them before it is loaded."""

from __future__ import annotations

from .._data import Data
from ..btf import KIND_DATASEC, KIND_VAR, Btf
from ..errors import ObjectError
from ._formats import BtfTypes
from ._values import ValueType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._spec import Object


class Variable(Data):
    """A global variable: `offset` bytes into the contents of the map of its `section` (".rodata", ".data", ".bss")."""

    name: str
    section: str
    offset: int
    type: ValueType


def variables(obj: Object) -> list[Variable]:
    """The global variables that the object's BTF describes, in the order of the sections."""
    if not obj.btf:
        return []
    btf = Btf(obj.btf)
    types = BtfTypes(btf)
    sections = {m.name: m.value_size for m in obj.maps if m.contents is not None and m.name != ".kconfig"}
    out = []
    for name, size in sections.items():
        found = btf.find(name, KIND_DATASEC)
        for entry in btf.type(found).vars if found else ():
            if btf.kind(entry.type_id) == KIND_VAR and entry.offset + entry.size <= size:
                var = btf.type(entry.type_id)
                out.append(Variable(var.name, name, entry.offset, types.of(var.type_id, entry.size)))
    return out


def set_variables(obj: Object, values: Mapping[str, str | int | bool | bytes]) -> Object:
    """The object with these variables set: what `const volatile` variables are for, and initial values of others.

    A text is read by the variable's type: a number (0x, 0o and 0b too), true or false, the name of an enumerator, or
    the characters of a char array. `bytes` set any variable and must have its size.
    ObjectError where the object has no such variable, or the value does not fit it.
    """
    known = {v.name: v for v in variables(obj)}
    contents = {m.name: bytearray(m.contents) for m in obj.maps if m.contents is not None}
    for name, value in values.items():
        variable = known.get(name)
        if variable is None:
            names = ", ".join(list(known)[:12])
            raise ObjectError(
                f"set {name}: the object has no such variable", hint=f"it has {names}" if names else "it has none"
            )
        data = _encode(variable, value)
        contents[variable.section][variable.offset : variable.offset + len(data)] = data
    maps = [m.replace(contents=bytes(contents[m.name])) if m.contents is not None else m for m in obj.maps]
    return obj.replace(maps=tuple(maps))


def _encode(variable: Variable, value: str | int | bool | bytes) -> bytes:
    t = variable.type
    if isinstance(value, bytes):
        if len(value) != t.size:
            raise ObjectError(f"set {variable.name}: {len(value)} bytes, it has {t.size}")
        return value
    if t.kind == "string":
        data = str(value).encode("utf-8", "surrogateescape")
        if len(data) >= t.size:
            raise ObjectError(f"set {variable.name}: {len(data)} bytes of text, there is room for {t.size - 1}")
        return data.ljust(t.size, b"\0")
    if t.kind not in ("int", "bool", "enum", "pointer"):
        raise ObjectError(
            f"set {variable.name}: it is of kind {t.kind}", hint="numbers, enumerations and char arrays can be set"
        )
    number = _number(variable, value)
    least, most = (-1 << 8 * t.size - 1, (1 << 8 * t.size - 1) - 1) if t.signed else (0, (1 << 8 * t.size) - 1)
    if t.kind == "bool":
        most = 1
    elif t.kind == "enum":  # compilers before clang 16 do not say whether one is signed
        least, most = -1 << 8 * t.size - 1, (1 << 8 * t.size) - 1
    if not least <= number <= most:
        raise ObjectError(f"set {variable.name}: {number} is not from {least} to {most}")
    return (number & (1 << 8 * t.size) - 1).to_bytes(t.size, "little")


def _number(variable: Variable, value: str | int | bool) -> int:
    if not isinstance(value, str):
        return int(value)
    names = {name: number for number, name in variable.type.values}
    if variable.type.kind == "bool":
        names = {"true": 1, "false": 0}
    if value in names:
        return names[value]
    try:
        return int(value, 0)
    except ValueError:
        hint = f"one of {', '.join(names)}" if names else "it is a number"
        raise ObjectError(f"set {variable.name}: cannot read {value!r}", hint=hint) from None
