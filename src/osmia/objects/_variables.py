"""Global variables of an object from a C compiler: where they are, and new values for them before it is loaded."""

from __future__ import annotations

from .._data import Data
from ..btf import KIND_DATASEC, KIND_VAR, Btf
from ..errors import ObjectError, did_you_mean
from ._encode import Misfit, encode_value
from ._formats import BtfTypes
from ._values import ValueType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

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


def set_variables(obj: Object, values: Mapping[str, Any]) -> Object:
    """The object with these variables set: what `const volatile` variables are for, and initial values of others.

    Values are as in `encode_value`; a text is read by the variable's type: a number (0x, 0o and 0b too), true or false,
    the name of an enumerator, or the characters of a char array. `bytes` set any variable and must have its size.
    ObjectError where the object has no such variable, or the value does not fit it.
    """
    if not hasattr(values, "items"):
        raise ObjectError(f"set variables: {type(values).__name__} is no dict", hint="give {'name': value, ...}")
    known = {v.name: v for v in variables(obj)}
    contents = {m.name: bytearray(m.contents) for m in obj.maps if m.contents is not None}
    for name, value in values.items():
        variable = find_variable(known, name, "set")
        data = encode_variable(variable, value)
        contents[variable.section][variable.offset : variable.offset + len(data)] = data
    maps = [m.replace(contents=bytes(contents[m.name])) if m.contents is not None else m for m in obj.maps]
    return obj.replace(maps=tuple(maps))


def find_variable(known: Mapping[str, Variable], name: str, verb: str) -> Variable:
    """The variable of this name; ObjectError, with what there is, where there is none."""
    found = known.get(name)
    if found is None:
        names = ", ".join(list(known)[:12])
        hint = did_you_mean(name, known) or (f"it has {names}" if names else "it has none")
        raise ObjectError(f"{verb} {name}: the object has no such variable", hint=hint)
    return found


def encode_variable(variable: Variable, value: Any) -> bytes:
    """The bytes of a new value; ObjectError where it does not fit."""
    try:
        return encode_value(variable.type, value, variable.name, numerals=True)
    except Misfit as error:
        raise ObjectError(f"set {error.where}: {error.cause}", hint=error.hint) from None
