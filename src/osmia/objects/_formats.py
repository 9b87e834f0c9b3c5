"""How the maps of an object from a C compiler are to be read and printed, told by the object's own BTF.

A script's object says so itself (`Object.map_formats`); one from clang has types of keys and values only.
"""

from __future__ import annotations

from ..btf import (
    KIND_ARRAY,
    KIND_DATASEC,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_INT,
    KIND_PTR,
    KIND_STRUCT,
    KIND_TYPEDEF,
    KIND_UNION,
    KIND_VAR,
    Btf,
)
from ..errors import BtfError, ObjectError
from ..isa.map_types import (
    ARRAY,
    HASH,
    LPM_TRIE,
    LRU_HASH,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    PERCPU_HASH,
    RINGS,
)
from ._values import Field, MapFormat, ValueType

_FLOATS = {2: "_Float16", 4: "float", 8: "double", 16: "long double"}  # C's names, by size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..btf import BtfType, Member
    from ._spec import MapSpec, Object

# Maps whose elements can be listed, and those with a value for each CPU
TABLES = (HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LRU_PERCPU_HASH, LPM_TRIE)
PER_CPU = (PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH)
_WIDTHS = (1, 2, 4, 8)
_BOOL = 4  # BTF_INT_BOOL
_DEPTH = 16
_ELEMENTS = 1 << 16  # of one array: what a damaged count may make us decode


def derive_formats(
    obj: Object, *, cpus: int = 1, rings: Mapping[str, str | None] | None = None
) -> tuple[MapFormat, ...]:
    """Formats of the maps that have none, named as in the source: hashes, arrays, LRU, per-CPU kinds, prefix trees.

    Data sections, and objects that were compiled from a script, have none to derive. The copies of a number in a
    per-CPU map add up; any other value becomes an array of `cpus` copies, as adding up structs would be a guess. A type
    that BTF does not tell is an unsigned number of 1, 2, 4 or 8 bytes, else an array of bytes.

    Ring buffers and perf event arrays have a format too, whose `value` is one record: of the type that `rings` gives
    for the map's name, else that of `__type(value, T)` in its definition, else of `struct NAME_event` or
    `struct event` where the object has one; `none` (raw bytes) otherwise, or where `rings` says None.
    ObjectError where a type, or a map, of `rings` is not there.
    """
    if obj.settings or obj.ring or obj.map_formats:
        return ()
    types = BtfTypes(Btf(obj.btf) if obj.btf else None)
    wanted = dict(rings or {})
    out = []
    for spec in obj.maps:
        if spec.contents is not None or spec.name.startswith("."):
            continue
        if spec.type in TABLES:
            out.append(_table(types, spec, cpus))
        elif spec.type in RINGS:
            value = types.record(spec.name, wanted.pop(spec.name, ""))
            out.append(MapFormat(spec.name, spec.name, None, value))
    for name in wanted:
        known = ", ".join([m.name for m in obj.maps if m.type in RINGS])
        raise ObjectError(
            f"read records of {name}: the object has no such ring buffer or perf event array",
            hint=f"it has {known}" if known else "it has none",
        )
    return tuple(out)


def _table(types: BtfTypes, spec: MapSpec, cpus: int) -> MapFormat:
    key = types.of(spec.key_type, spec.key_size)
    value = types.of(spec.value_type, spec.value_size)
    per_cpu = spec.type in PER_CPU
    if per_cpu and value.kind != "int":
        stride = -(-spec.value_size // 8) * 8
        value = ValueType("array", stride * cpus, element=value.replace(size=stride), count=cpus)
    return MapFormat(spec.name, spec.name, key, value, per_cpu)


class BtfTypes:
    """BTF types as `ValueType`s."""

    def __init__(self, btf: Btf | None) -> None:
        self.btf = btf

    def of(self, type_id: int, size: int) -> ValueType:
        """A key's or value's type; by its size alone where BTF does not tell, or tells nonsense."""
        if self.btf is not None and type_id:
            try:
                found = self._convert(self.btf, type_id, 0)
                if found.size == size:
                    return found
            except BtfError:
                return _plain(size)
        return _plain(size)

    def record(self, ring: str, wanted: str | None) -> ValueType:
        if wanted is None:
            return ValueType("none")
        btf = self.btf
        if wanted:
            found = self._named(wanted)
            if not found or btf is None:
                raise ObjectError(
                    f"read records of {ring}: the object's BTF has no type {wanted!r}",
                    hint=f"it has {self._structs()}; clang drops types that nothing global uses",
                )
            return self._convert(btf, found, 0)
        try:
            found = self._declared(ring) or self._named(f"{ring}_event") or self._named("event")
            return self._convert(btf, found, 0) if found and btf is not None else ValueType("none")
        except BtfError:
            return ValueType("none")

    def _named(self, name: str) -> int:
        if self.btf is None:
            return 0
        kind, _, rest = name.rpartition(" ")
        kinds = {"struct": (KIND_STRUCT,), "union": (KIND_UNION,)}.get(kind, (KIND_STRUCT, KIND_TYPEDEF, KIND_UNION))
        return next((id for k in kinds if (id := self.btf.find(rest, k))), 0)

    def _structs(self) -> str:
        names = [t.name for t in self.btf or () if t.kind == KIND_STRUCT and t.name]
        return ", ".join(names[:12]) or "no structs"

    def _declared(self, ring: str) -> int:
        """T of `__type(value, T)`, which loaders do not hand to the kernel for these kinds of map."""
        btf = self.btf
        section = btf.find(".maps", KIND_DATASEC) if btf is not None else None
        if btf is None or not section:
            return 0
        for entry in btf.type(section).vars:
            if btf.kind(entry.type_id) == KIND_VAR and btf.name(entry.type_id) == ring:
                definition = btf.resolve(btf.type(entry.type_id).type_id)
                for member in btf.members(definition) if btf.kind(definition) == KIND_STRUCT else ():
                    if member.name == "value":
                        return btf.type(btf.resolve(member.type_id)).type_id
        return 0

    def _convert(self, btf: Btf, type_id: int, depth: int) -> ValueType:
        t = btf.type(btf.resolve(type_id))
        size = btf.size_of(t.id) if t.id else 0
        if depth > _DEPTH:
            return _plain(size)
        if t.kind == KIND_INT and t.size in _WIDTHS:
            return ValueType("bool", size) if t.encoding & _BOOL else ValueType("int", size, t.signed)
        if t.kind in (KIND_ENUM, KIND_ENUM64):
            names = tuple([(v.value, v.name) for v in t.values])
            return ValueType("enum", size, t.signed, t.name, values=names)
        if t.kind == KIND_PTR:
            return ValueType("pointer", size)
        if t.kind == KIND_ARRAY:
            return self._array(btf, t, size, depth)
        if t.kind in (KIND_STRUCT, KIND_UNION):
            fields = self._fields(btf, t, 0, depth)
            return ValueType("struct" if t.kind == KIND_STRUCT else "union", size, name=t.name, fields=tuple(fields))
        if t.kind == KIND_FLOAT and (known := _FLOATS.get(size)):
            return ValueType("float", size, name=known)
        return _plain(size)

    def _array(self, btf: Btf, t: BtfType, size: int, depth: int) -> ValueType:
        if t.count > _ELEMENTS:
            raise BtfError(f"read type {t.id}: an array of {t.count} elements", offset=0)
        element = btf.type(btf.resolve(t.type_id))
        if element.kind == KIND_INT and element.size == 1 and element.name == "char" and t.count:
            return ValueType("string", size)
        return ValueType("array", size, element=self._convert(btf, t.type_id, depth + 1), count=t.count)

    def _fields(self, btf: Btf, t: BtfType, base: int, depth: int) -> list[Field]:
        """Members; those of anonymous structs and unions stand in their place, as in C."""
        out: list[Field] = []
        for m in t.members:
            inner = btf.type(btf.resolve(m.type_id))
            if m.name:
                out.append(self._field(btf, m, base, depth))
            elif inner.kind in (KIND_STRUCT, KIND_UNION) and depth < _DEPTH:
                out += self._fields(btf, inner, base + m.bit_offset // 8, depth + 1)
        return out

    def _field(self, btf: Btf, m: Member, base: int, depth: int) -> Field:
        value = self._convert(btf, m.type_id, depth + 1)
        if not m.bit_size:
            return Field(m.name, base + m.bit_offset // 8, value)
        # The smallest word at a multiple of its size that holds all the bits.
        width = next((w for w in _WIDTHS if m.bit_offset % (8 * w) + m.bit_size <= 8 * w), 8)
        at = m.bit_offset // (8 * width) * width
        word = ValueType("int", width, value.signed)
        return Field(m.name, base + at, word, m.bit_offset - 8 * at, m.bit_size)


def _plain(size: int) -> ValueType:
    if size in _WIDTHS:
        return ValueType("int", size)
    return ValueType("array", size, element=ValueType("int", 1), count=size)
