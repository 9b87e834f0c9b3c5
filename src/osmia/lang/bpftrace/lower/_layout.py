"""How values of the language lie in memory: sizes, offsets, and the `ValueType` that user space decodes them with."""

from __future__ import annotations

from ....objects import FLOAT_FORMATS, Field, ValueType
from .. import btftypes
from ..types import StructField, Type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..checked import CheckedScript

_FIXED = {
    "bool": 1, "pointer": 8, "ksym": 8, "usym": 16, "kstack": 8, "ustack": 16, "inet": 24, "mac": 6, "timestamp": 8,
    "cgroup_path": 8, "username": 8, "strerror": 8, "signal_name": 8, "syscall_name": 8, "probe": 8,
    "count": 8, "sum": 8, "avg": 16, "stats": 16, "min": 16, "max": 16, "none": 0, "void": 1,
}  # fmt: skip


SERIES_BUCKET = 32  # u64 interval number, value, count or time of the value, 1 when there is one


def hist_buckets(bits: int) -> int:
    """One bucket below zero, 2**bits single values, then 2**bits for each further power of two."""
    return 1 + (1 << bits) * (65 - bits)


def lhist_buckets(bounds: tuple[int, int, int]) -> int:
    low, high, step = bounds
    return -(-(high - low) // step) + 2


def size_of(t: Type) -> int:
    """Bytes that a value of this type takes in a key, a map value or an event."""
    k = t.kind
    if k in _FIXED:
        return _FIXED[k]
    if k == "buffer":
        return 4 + t.size
    if k == "array":
        return t.count * size_of(t.element) if t.element else 0
    if k in ("tuple", "record"):
        return tuple_layout(t)[1]
    if k == "hist":
        return 8 * hist_buckets(t.bits)
    if k == "lhist":
        return 8 * lhist_buckets(t.bounds)
    if k == "tseries":
        return SERIES_BUCKET * t.count
    return t.size


def align_of(t: Type) -> int:
    k = t.kind
    if k in ("int", "enum", "bool"):
        return size_of(t) or 1
    if k in ("mac", "void"):
        return 1
    if k == "string":
        # Text is copied eight bytes at a time, which stack memory allows at aligned offsets only.
        return 8 if t.size >= 8 else 4 if t.size >= 4 else 2 if t.size >= 2 else 1
    if k in ("struct", "union"):
        return 8  # what its members need at most; their own alignment is not known here
    if k == "buffer":
        return 4
    if k == "array":
        return align_of(t.element) if t.element else 1
    if k in ("tuple", "record"):
        return max((align_of(e) for e in t.elements), default=1)
    return 8


def tuple_layout(t: Type) -> tuple[list[int], int]:
    """Offsets of the elements, and the size of the whole, with C's rules."""
    offsets, at, widest = [], 0, 1
    for element in t.elements:
        align = align_of(element)
        widest = max(widest, align)
        at = -(-at // align) * align
        offsets.append(at)
        at += size_of(element)
    return offsets, -(-at // widest) * widest


def has_padding(t: Type) -> bool:
    """Whether bytes of the value are written by no element (keys must have them zero)."""
    if t.kind not in ("tuple", "record"):
        return False
    used = sum(size_of(e) for e in t.elements)
    return used != size_of(t) or any(has_padding(e) for e in t.elements)


class ValueTypes:
    """Types of the language as self-contained `ValueType`s, each built once."""

    def __init__(self, script: CheckedScript, probe_names: list[str]) -> None:
        self._script = script
        self._probe_names = probe_names
        self._known: dict[Type, ValueType] = {}

    def of(self, t: Type) -> ValueType:
        found = self._known.get(t)
        if found is None:
            found = self._known[t] = self._build(t)
        return found

    def _build(self, t: Type) -> ValueType:
        k = t.kind
        size = size_of(t)
        if k in ("struct", "union"):
            return self._struct(t)
        if k == "enum":
            return ValueType("enum", size, t.signed, t.name, values=self._enumerators(t))
        if t.is_float and t.name in FLOAT_FORMATS:
            return ValueType("float", size, name=t.name)
        if k == "array" and t.element:
            return ValueType("array", size, element=self.of(t.element), count=t.count)
        if k in ("tuple", "record"):
            offsets, _ = tuple_layout(t)
            names = t.names or tuple(str(i) for i in range(len(t.elements)))
            fields = tuple(Field(n, o, self.of(e)) for n, o, e in zip(names, offsets, t.elements))
            return ValueType(k, size, fields=fields)
        if k in ("kstack", "ustack"):
            return ValueType(k, size, count=t.count, mode=t.mode, map=stack_map(t))
        if k == "probe":
            return ValueType(k, size, values=tuple(enumerate(self._probe_names)))
        if k == "pointer":
            return ValueType(k, size)
        if k == "hist":
            return ValueType(k, size, bits=t.bits, count=hist_buckets(t.bits))
        if k == "lhist":
            return ValueType(k, size, bounds=t.bounds, count=lhist_buckets(t.bounds))
        if k == "tseries":
            return ValueType(k, size, t.signed, count=t.count, mode=t.mode, bounds=t.bounds)
        if k == "timestamp":
            return ValueType(k, size, mode=t.mode or "boot", text=t.name)
        return ValueType(k, size, t.signed, t.name, mode=t.mode, text=t.name if k == "cgroup_path" else "")

    def _enumerators(self, t: Type) -> tuple[tuple[int, str], ...]:
        btf = self._script.btf_of(t)
        if btf is not None:
            return tuple(btftypes.enumerators(btf, t).items())
        known = self._script.enums.get(f"dwarf {t.type_id}" if t.store == "dwarf" else t.name)
        return tuple((value, name) for name, value in known.values.items()) if known else ()

    def _struct(self, t: Type) -> ValueType:
        fields = tuple(
            Field(f.name, f.offset, self.of(f.type), f.bit_offset, f.bits) for f in struct_fields(t, self._script)
        )
        return ValueType(t.kind, t.size, name=t.name, fields=fields)


def struct_fields(t: Type, script: CheckedScript) -> tuple[StructField, ...]:
    """The members of a struct or union, those of anonymous members in their place."""
    btf = script.btf_of(t)
    if btf is None:
        name = f"dwarf {t.type_id}" if t.store == "dwarf" else f"{t.kind} {t.name}"
        known = script.structs.get(name) or script.structs.get(t.name)
        return _flat(known.fields, script) if known else ()
    out: list[StructField] = []
    for member in btf.members(t.type_id):
        kind = btftypes.of_id(btf, member.type_id, 0, t.store)
        place = btftypes.place(member.name, kind, member.bit_offset, member.bit_size)
        if member.name or kind.kind not in ("struct", "union"):
            out.append(place)
        else:
            out += [f.replace(offset=f.offset + place.offset) for f in struct_fields(kind, script)]
    return tuple(out)


def _flat(fields: tuple[StructField, ...], script: CheckedScript) -> tuple[StructField, ...]:
    out: list[StructField] = []
    for f in fields:
        if f.name or f.type.kind not in ("struct", "union"):
            out.append(f)
        else:
            out += [inner.replace(offset=inner.offset + f.offset) for inner in struct_fields(f.type, script)]
    return tuple(out)


def stack_map(t: Type) -> str:
    """Name of the stack trace map that holds stacks of this type."""
    return f"{t.kind}_{t.count}" + ("_id" if t.mode == "build_id" else "")
