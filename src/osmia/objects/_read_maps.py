"""Maps of an ELF object: definitions in `.maps` (by BTF) and `maps` (old), and data sections."""

from __future__ import annotations

from struct import unpack_from

from ..btf import KIND_ARRAY, KIND_DATASEC, KIND_ENUM, KIND_ENUM64, KIND_FUNC_PROTO, KIND_PTR, KIND_STRUCT, KIND_VAR
from ..elf import STT_NOTYPE, STT_OBJECT
from ..errors import ObjectError
from ..isa.map_types import ARRAY, ARRAY_OF_MAPS, HASH_OF_MAPS
from ._spec import MapSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf, Member
    from ..elf import ElfFile, Section

RDONLY_PROG = 1 << 7  # BPF_F_RDONLY_PROG, kernel 5.2
DATA_PREFIXES = (".rodata", ".data", ".bss")
# Types for which the kernel refuses key and value types: cgroup, device, perf and stack tables, maps of maps, ...
UNTYPED = frozenset((3, 4, 7, 8, 12, 13, 14, 15, 16, 17, 18, 25, 27, 31))
STREAMS = {4: 4, 27: 0, 31: 0}  # perf event array, ring buffer, user ring buffer: bytes of key and value
_ATTRIBUTES = {
    "type": "type", "max_entries": "max_entries", "map_flags": "flags", "key_size": "key_size",
    "value_size": "value_size", "pinning": "pinning", "numa_node": "numa_node", "map_extra": "map_extra",
}  # fmt: skip
LIMIT = 1 << 26  # bytes of one data section: what a damaged header may make us allocate


class MapTable:
    """The maps of one file, and which of them a symbol's place stands for."""

    def __init__(self, file: ElfFile, btf: Btf | None) -> None:
        self.file = file
        self.btf = btf
        self.specs: list[MapSpec] = []
        self.places: dict[tuple[int, int], str] = {}  # (section, offset) -> map
        self.data: dict[int, MapSpec] = {}  # section -> its map

    def read(self, kconfig_size: int) -> list[MapSpec]:
        defined = self.file.section(".maps")
        if defined is not None:
            self._defined(defined)
        legacy = self.file.section("maps")
        if legacy is not None:
            self._legacy(legacy)
        for section in self.file.sections:
            if _is_data(section):
                self._data(section)
        if kconfig_size > LIMIT:
            raise ObjectError(f"read object: section .kconfig claims {kconfig_size} bytes")
        if kconfig_size:
            self.specs.append(self._array(".kconfig", bytes(kconfig_size), frozen=True))
        return self.specs

    def _array(self, name: str, contents: bytes, frozen: bool) -> MapSpec:
        value_type = (self.btf.find(name, KIND_DATASEC) or 0) if self.btf else 0
        flags = RDONLY_PROG if frozen else 0
        return MapSpec(name, ARRAY, 4, len(contents), 1, flags, value_type=value_type, contents=contents, frozen=frozen)

    def _data(self, section: Section) -> None:
        if section.size > LIMIT:
            raise ObjectError(f"read object: section {section.name!r} claims {section.size} bytes")
        contents = section.data or bytes(section.size)
        spec = self._array(section.name, contents, section.name.startswith(".rodata"))
        self.specs.append(spec)
        self.data[section.index] = spec

    # .maps

    def _defined(self, section: Section) -> None:
        if self.btf is None:
            raise ObjectError("read object: .maps needs BTF", hint="compile with -g")
        table = self.btf.find(".maps", KIND_DATASEC)
        if table is None:
            raise ObjectError("read object: BTF does not describe the section .maps")
        references = self._references(section)
        for entry in self.btf.type(table).vars:
            var = self.btf.type(entry.type_id)
            if var.kind != KIND_VAR:
                raise ObjectError(f"read object: type {var.id} in .maps is no variable")
            spec, values_at = self._definition(var.name, var.type_id)
            values = []
            for offset, symbol in references:
                if not entry.offset <= offset < entry.offset + entry.size:
                    continue
                if values_at < 0 or offset < entry.offset + values_at:
                    raise ObjectError(f"read map {var.name!r}: a reference stands outside its `values`")
                values.append(((offset - entry.offset - values_at) // 8, symbol))
            self.places[section.index, entry.offset] = var.name
            self.specs.append(spec.replace(values=tuple(values)))

    def _references(self, section: Section) -> list[tuple[int, str]]:
        symbols = self.file.symtab
        out = []
        for r in self.file.relocations(section):
            if r.symbol >= len(symbols):
                raise ObjectError(f"read object: relocation in .maps names symbol {r.symbol}")
            out.append((r.offset, symbols[r.symbol].name))
        return out

    def _definition(self, name: str, type_id: int) -> tuple[MapSpec, int]:
        """The map that a struct of attributes describes, and where in it `values` starts (-1: nowhere)."""
        btf = self._types()
        t = btf.type(btf.resolve(type_id))
        if t.kind != KIND_STRUCT:
            raise ObjectError(f"read map {name!r}: its definition is no struct")
        numbers: dict[str, int] = {}
        inner: MapSpec | None = None
        values_at = -1
        for m in t.members:
            if m.name in _ATTRIBUTES:
                value = self._number(name, m)
                if numbers.setdefault(_ATTRIBUTES[m.name], value) != value:
                    raise ObjectError(f"read map {name!r}: {m.name} contradicts the size of its type")
            elif m.name in ("key", "value"):
                pointer = btf.type(btf.resolve(m.type_id))
                if pointer.kind != KIND_PTR:
                    raise ObjectError(f"read map {name!r}: {m.name} is no pointer to a type")
                size = btf.size_of(pointer.type_id)
                if numbers.setdefault(f"{m.name}_size", size) != size:
                    raise ObjectError(f"read map {name!r}: {m.name}_size contradicts the type of {m.name}")
                numbers[f"{m.name}_type"] = pointer.type_id
            elif m.name == "values":
                values_at = m.bit_offset // 8
                inner = self._inner(name, m)
            else:
                raise ObjectError(f"read map {name!r}: unknown attribute {m.name!r}")
        if "type" not in numbers:
            raise ObjectError(f"read map {name!r}: no `type` attribute")
        return _spec(name, numbers, inner, values_at), values_at

    def _types(self) -> Btf:
        if self.btf is None:
            raise ObjectError("read object: the object has no BTF")
        return self.btf

    def _number(self, name: str, member: Member) -> int:
        """`int (*attribute)[N]` or, for wide numbers, `enum { unique = N } attribute`."""
        btf = self._types()
        t = btf.type(btf.resolve(member.type_id))
        if t.kind in (KIND_ENUM, KIND_ENUM64) and len(t.values) == 1:
            return t.values[0].value
        array = btf.type(btf.resolve(t.type_id)) if t.kind == KIND_PTR else t
        if t.kind != KIND_PTR or array.kind != KIND_ARRAY:
            raise ObjectError(f"read map {name!r}: attribute {member.name!r} is no pointer to an array")
        return array.count

    def _inner(self, name: str, member: Member) -> MapSpec | None:
        """Template of the maps (None: of the programs) that `values` holds."""
        btf = self._types()
        array = btf.type(btf.resolve(member.type_id))
        pointer = btf.type(btf.resolve(array.type_id)) if array.kind == KIND_ARRAY else array
        if array.kind != KIND_ARRAY or pointer.kind != KIND_PTR:
            raise ObjectError(f"read map {name!r}: `values` is no array of pointers")
        target = btf.type(btf.resolve(pointer.type_id))
        if target.kind == KIND_FUNC_PROTO:
            return None
        spec, _ = self._definition(f"{name}.inner", target.id)
        if spec.inner is not None:
            raise ObjectError(f"read map {name!r}: maps of maps of maps do not exist")
        return spec

    # maps

    def _legacy(self, section: Section) -> None:
        raw = section.data
        kinds = (STT_OBJECT, STT_NOTYPE)
        symbols = [s for s in self.file.symtab if s.section == section.index and s.type in kinds and s.name]
        symbols.sort(key=lambda s: s.value)
        if not symbols:
            return
        size = len(raw) // len(symbols)
        if size < 20 or len(raw) % len(symbols):
            raise ObjectError(f"read object: {len(raw)} bytes of section maps do not hold {len(symbols)} definitions")
        for s in symbols:
            if s.value % size or s.value >= len(raw):
                raise ObjectError(f"read map {s.name!r}: no definition at {s.value:#x}")
            kind, key, value, entries, flags = unpack_from("<5I", raw, s.value)
            if any(raw[s.value + 20 : s.value + size]):
                raise ObjectError(f"read map {s.name!r}: unknown fields", hint="use a BTF definition in .maps")
            self.places[section.index, s.value] = s.name
            self.specs.append(MapSpec(s.name, kind, key, value, entries, flags))


def _spec(name: str, numbers: dict[str, int], inner: MapSpec | None, values_at: int) -> MapSpec:
    if any(not 0 <= v < 1 << 64 or (v >= 1 << 32 and k != "map_extra") for k, v in numbers.items()):
        raise ObjectError(f"read map {name!r}: a number is out of range")
    get = numbers.get
    kind = numbers["type"]
    if kind in STREAMS:
        # Types in their definitions say what records are, to tools; the kernel wants these sizes and nothing else.
        numbers["key_size"] = numbers["value_size"] = STREAMS[kind]
    typed = kind not in UNTYPED
    least = 4 if kind in (ARRAY_OF_MAPS, HASH_OF_MAPS) or values_at >= 0 else 0
    return MapSpec(
        name,
        kind,
        get("key_size", least),
        get("value_size", least),
        get("max_entries", 0),
        get("flags", 0),
        get("key_type", 0) if typed else 0,
        get("value_type", 0) if typed else 0,
        inner=inner,
        pinning=get("pinning", 0),
        numa_node=get("numa_node", 0),
        map_extra=get("map_extra", 0),
    )


def _is_data(section: Section) -> bool:
    """`.rodata`, `.rodata.str1.1`, `.data.mine`, ...; empty ones make no map."""
    known = any(section.name == p or section.name.startswith(f"{p}.") for p in DATA_PREFIXES)
    return known and section.size > 0 and section.type in (1, 8) and bool(section.flags & 2)
