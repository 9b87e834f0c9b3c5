"""Structs of the kernel, made for a test: what programs follow pointers into."""

from __future__ import annotations

from contextlib import suppress

from ..btf import KIND_PTR, KIND_STRUCT, KIND_UNION, Btf, load_kernel_btf
from ..errors import FormatError, UsageError, did_you_mean
from ..objects import BtfTypes, Misfit, encode_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..vm import Machine

_COMPOSITE = (KIND_STRUCT, KIND_UNION)
_DEPTH = 32


class Structs:
    """Makes structs in a machine's memory: of this machine's kernel, or of the program's own types."""

    def __init__(self, machine: Machine, own: bytes) -> None:
        self._machine = machine
        self._own = own
        self._types: list[Btf] | None = None

    def _all_types(self) -> list[Btf]:
        if self._types is None:
            self._types = []
            with suppress(FormatError, OSError):  # in a container without them the program's own types are left
                self._types.append(load_kernel_btf())
            if self._own:
                self._types.append(Btf(self._own))
        return self._types

    def make(self, name: str, members: Mapping[str, Any]) -> int:
        """The address of a new struct of this name with these members set, zeros elsewhere."""
        short = name.removeprefix("struct ").removeprefix("union ")
        for btf in self._all_types():
            found = btf.find(short, KIND_STRUCT) or btf.find(short, KIND_UNION)
            if found and btf.size_of(found):
                data = bytearray(btf.size_of(found))
                self._fill(btf, found, data, 0, members, short, 0)
                return self._place(data, short)
        raise UsageError(
            f"make struct {name}: there is no such type",
            hint="there are those of this kernel, and the program's; clang drops types that nothing global uses",
        )

    def _place(self, data: bytearray, name: str) -> int:
        return self._machine.memory.adopt(data, name).base

    def _fill(
        self, btf: Btf, type_id: int, out: bytearray, base: int, members: Mapping[str, Any], where: str, depth: int
    ) -> None:
        if depth > _DEPTH:
            raise UsageError(f"make struct {where}: it is nested too deeply")
        for name, value in members.items():
            place = btf.field(type_id, name)
            if place is None:
                known = _names(btf, type_id)
                hint = (
                    did_you_mean(name, known) or f"it has {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"
                )
                raise UsageError(f"make struct {where}: it has no member {name!r}", hint=hint)
            bit, bits, member = place
            self._set(btf, member, out, (8 * base + bit, bits), value, f"{where}.{name}", depth)

    def _set(
        self, btf: Btf, type_id: int, out: bytearray, place: tuple[int, int], value: Any, where: str, depth: int
    ) -> None:
        bit, bits = place
        at = bit // 8
        target = btf.resolve(type_id)
        kind = btf.kind(target)
        if kind in _COMPOSITE and hasattr(value, "keys"):
            self._fill(btf, target, out, at, value, where, depth + 1)
            return
        if kind == KIND_PTR:
            value = self._pointer(btf, btf.type(target).type_id, value, where, depth)
        size = btf.size_of(target)
        try:
            if bits:
                _set_bits(out, bit, bits, value, where)
            else:
                out[at : at + size] = encode_value(BtfTypes(btf).of(target, size), value, where)
        except Misfit as error:
            raise UsageError(f"make struct {error.where}: {error.cause}", hint=error.hint) from None

    def _pointer(self, btf: Btf, type_id: int, value: Any, where: str, depth: int) -> Any:
        """What the pointer is to hold: an address, or that of what is given."""
        if value is None:
            return 0
        if isinstance(value, str):
            return self._place(bytearray(value.encode("utf-8", "surrogateescape") + b"\0"), where)
        if isinstance(value, (bytes, bytearray)):
            return self._place(bytearray(value or b"\0"), where)
        if not hasattr(value, "keys"):
            return value
        target = btf.resolve(type_id)
        if btf.kind(target) not in _COMPOSITE or not btf.size_of(target):
            raise UsageError(f"make struct {where}: it points to no struct that is known", hint="give an address")
        data = bytearray(btf.size_of(target))
        self._fill(btf, target, data, 0, value, where, depth + 1)
        return self._place(data, where)

    def close(self) -> None:
        """Let go of the types; structs stay as long as the machine."""
        types, self._types = self._types, None
        for btf in types or ():
            btf.close()


def _names(btf: Btf, type_id: int) -> list[str]:
    """Names of members, those of anonymous ones in their place."""
    out: list[str] = []
    todo = [btf.resolve(type_id)]
    while todo:
        for member in btf.members(todo.pop()):
            target = btf.resolve(member.type_id)
            if member.name:
                out.append(member.name)
            elif btf.kind(target) in _COMPOSITE:
                todo.append(target)
    return out


def _set_bits(out: bytearray, bit: int, bits: int, value: Any, where: str) -> None:
    if not isinstance(value, int) or not -1 << bits - 1 <= value < 1 << bits:
        raise Misfit(where, f"{value!r} is no number of {bits} bits")
    first, last = bit // 8, (bit + bits + 7) // 8
    word = int.from_bytes(out[first:last], "little")
    shift = bit - 8 * first
    mask = (1 << bits) - 1
    word = word & ~(mask << shift) | (value & mask) << shift
    out[first:last] = word.to_bytes(last - first, "little")
