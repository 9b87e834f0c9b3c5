"""Write an object as an ELF file that libbpf, bpftool and `read_elf` load."""

from __future__ import annotations

from struct import pack_into

from ..elf import EM_BPF, STB_GLOBAL, STB_LOCAL, STB_WEAK, STT_FUNC, STT_OBJECT, ElfWriter
from ..errors import ObjectError
from ._own_section import own_section
from ._read_elf import CALL, LD_IMM64, _clear
from ._read_maps import DATA_PREFIXES
from ._spec import Function, MapSpec, Object, Relocation
from ._write_btf import BtfWriter

_ALLOC, _WRITE_ALLOC, _CODE = 2, 3, 6  # section flags
_NOBITS = 8
_R_64_64, _R_64_ABS64, _R_64_32 = 1, 2, 10


def write_elf(obj: Object) -> bytes:
    """The object as an ELF file. `read_elf` of it gives an equal object.

    Raises ObjectError for what the format cannot hold: a program whose section is `.text`, data in `.bss`, the address
    of a value in a map that is no data section.
    """
    return _Writer(obj).write()


class _Writer:
    def __init__(self, obj: Object) -> None:
        self.obj = obj
        self.elf = ElfWriter(EM_BPF)
        self.btf = BtfWriter(obj.btf)
        self.names: dict[str, str] = {}  # map -> its name in the file
        self.data: dict[str, int] = {}  # data map -> section
        self.maps: dict[str, int] = {}  # other map -> symbol
        self.placed: list[tuple[str, int, Function]] = []  # section name, byte offset
        self.place: dict[str, tuple[str, int]] = {}  # function -> the same
        self.code: dict[str, int] = {}  # section name -> index
        self.symbols: dict[str, int] = {}  # function -> symbol
        self.externs: dict[str, int] = {}
        self.patches: list[tuple[str, int, bytes]] = []

    def write(self) -> bytes:
        obj, elf = self.obj, self.elf
        self._lay_out()
        self._code_sections()
        self._map_sections()
        self._relocations()
        if obj.license:
            elf.section("license", obj.license.encode("utf-8", "replace") + b"\0", flags=_WRITE_ALLOC)
        if obj.version:
            elf.section("version", obj.version.to_bytes(4, "little"), flags=_WRITE_ALLOC, align=4)
        btf, ext, added = self.btf.build(self.placed)
        elf.section(".BTF", btf, align=4)
        if ext:
            elf.section(".BTF.ext", ext, align=4)
        renamed = tuple([(new, old) for old, new in self.names.items() if new != old])
        elf.section(".osmia", own_section(obj, btf, renamed, tuple(self.patches), added), align=4)
        return elf.build()

    # code

    def _lay_out(self) -> None:
        """One section for each name, functions in order; subprograms in `.text`."""
        ends: dict[str, int] = {}
        rows = [(".text", f) for f in self.obj.subprograms]
        for program in self.obj.programs:
            if program.section.startswith((".text", ".rel")) or not program.section:
                raise ObjectError(f"write program {program.name}: its section cannot be {program.section!r}")
            rows.append((program.section, program.function))
        for section, function in rows:
            if function.name in self.place:
                raise ObjectError(f"write object: two functions are called {function.name!r}")
            at = ends.get(section, 0)
            self.place[function.name] = section, at
            self.placed.append((section, at, function))
            ends[section] = at + len(function.insns)

    def _local(self, function: Function) -> bool:
        return not function.is_global and self.place[function.name][0] == ".text"

    def _code_sections(self) -> None:
        code: dict[str, bytes] = {}
        for section, _, function in self.placed:
            code[section] = code.get(section, b"") + self._code(function)
        for section, raw in code.items():
            self.code[section] = self.elf.section(section, raw, flags=_CODE, align=8)
        for section, at, f in self.placed:
            bind = STB_LOCAL if self._local(f) else STB_GLOBAL
            size = len(f.insns)
            self.symbols[f.name] = self.elf.symbol(f.name, self.code[section], at, size, type=STT_FUNC, bind=bind)

    def _code(self, function: Function) -> bytes:
        """Instructions as compilers leave them where a relocation says the rest; keeps the bytes that this changes."""
        code = bytearray(function.insns)
        for r in function.relocations:
            at = r.insn * 8
            wanted = CALL if r.kind in ("call", "kfunc") else LD_IMM64
            size = 8 if wanted == CALL else 16
            if not 0 <= at <= len(code) - size or code[at] != wanted:
                raise ObjectError(f"write function {function.name}: relocation of {r.symbol!r} fits no instruction")
            _clear(code, r)
            if code[at : at + size] != function.insns[at : at + size]:
                self.patches.append((function.name, at, function.insns[at : at + size]))
            if wanted == CALL:
                code[at + 1] = code[at + 1] & 0x0F | 0x10
            elif r.kind in ("map_value", "ksym"):
                pack_into("<q", wide := bytearray(8), 0, r.addend)
                code[at + 4 : at + 8], code[at + 12 : at + 16] = wide[:4], wide[4:]
            self._aim_local(code, at, r)
        return bytes(code)

    def _aim_local(self, code: bytearray, at: int, r: Relocation) -> None:
        """Static functions are reached through their section's symbol: libbpf takes no other local symbol."""
        if r.kind not in ("call", "func"):
            return
        if r.symbol not in self.place:
            raise ObjectError(f"write object: function {r.symbol!r} is missing", hint="is it in Object.subprograms?")
        if r.addend:
            raise ObjectError(f"write object: relocation of {r.symbol!r} points into the function")
        start = self._section_relative(r.symbol)
        if start is not None:
            pack_into("<i", code, at + 4, start // 8 - 1 if r.kind == "call" else start)

    def _section_relative(self, name: str) -> int | None:
        """Byte offset in `.text` of a static function, None for others."""
        section, at = self.place[name]
        static = section == ".text" and any(f.name == name and not f.is_global for f in self.obj.subprograms)
        return at if static else None

    # maps

    def _map_sections(self) -> None:
        taken = {*self.place}
        defined: list[tuple[str, MapSpec]] = []
        for spec in self.obj.maps:
            if spec.name == ".kconfig":
                self.names[spec.name] = spec.name
            elif spec.contents is not None:
                self._data_section(spec, spec.contents)
            else:
                name = self.names[spec.name] = _identifier(spec.name, taken)
                taken.add(name)
                defined.append((name, spec))
        if not defined:
            return
        defined.sort(key=lambda row: bool(row[1].values))  # libbpf creates in this order, and fills at once
        offsets, size = self.btf.maps(defined)
        index = self.elf.section(".maps", bytes(size), flags=_WRITE_ALLOC, align=8)
        ends = [*sorted(offsets.values()), size]
        for name, spec in defined:
            at = offsets[name]
            length = next(end for end in ends if end > at) - at
            self.maps[spec.name] = self.elf.symbol(name, index, at, length, type=STT_OBJECT)
        for name, spec in defined:
            slots = max((i for i, _ in spec.values), default=-1) + 1
            end = next(end for end in ends if end > offsets[name])
            for i, symbol in spec.values:
                handle = self.maps.get(symbol, self.symbols.get(symbol))
                if handle is None:
                    raise ObjectError(f"write map {spec.name}: {symbol!r} is not in the object")
                self.elf.relocation(index, end - 8 * (slots - i), _R_64_ABS64, handle)

    def _data_section(self, spec: MapSpec, contents: bytes) -> None:
        """A data section by the name of the map, or by a name from which libbpf sees what it is."""
        name = spec.name
        if not any(name == p or name.startswith(f"{p}.") for p in DATA_PREFIXES):
            name = f"{'.rodata' if spec.frozen else '.data'}.{_identifier(name, set())}"
        if name in self.names.values():
            raise ObjectError(f"write object: two data sections are called {name!r}")
        self.names[spec.name] = name
        if name == ".bss":
            if any(contents):
                raise ObjectError("write object: .bss has contents", hint="name the map .data")
            index = self.elf.section(name, type=_NOBITS, flags=_WRITE_ALLOC, align=8, size=len(contents))
        else:
            flags = _ALLOC if name.startswith(".rodata") else _WRITE_ALLOC
            index = self.elf.section(name, contents, flags=flags, align=8)
        self.data[spec.name] = index
        self.elf.section_symbol(index)

    # relocations

    def _relocations(self) -> None:
        rows = [(section, at + r.insn * 8, r) for section, at, f in self.placed for r in f.relocations]
        kconfig: dict[str, int] = {}
        for _, _, r in rows:
            if r.kind == "kconfig" and kconfig.setdefault(r.symbol, r.addend) != r.addend:
                raise ObjectError(f"write object: {r.symbol} has two places in the kconfig map")
        kfuncs, ksyms = ({r.symbol for _, _, r in rows if r.kind == kind} for kind in ("kfunc", "ksym"))
        self.btf.externals(kfuncs, ksyms, kconfig)
        for section, at, r in rows:
            kind = _R_64_32 if r.kind in ("call", "kfunc") else _R_64_64
            self.elf.relocation(self.code[section], at, kind, self._symbol(r))

    def _symbol(self, r: Relocation) -> int:
        if r.kind in ("call", "func"):
            if self._section_relative(r.symbol) is not None:
                return self.elf.section_symbol(self.code[".text"])
            return self.symbols[r.symbol]
        if r.kind in ("map", "map_value"):
            found = self.maps.get(r.symbol) if r.kind == "map" else None
            if r.kind == "map_value" and r.symbol in self.data:
                found = self.elf.section_symbol(self.data[r.symbol])
            if found is None:
                what = "map" if r.kind == "map" else "data section"
                raise ObjectError(f"write object: {r.symbol!r} is not a {what} of the object")
            return found
        if r.symbol not in self.externs:
            bind = STB_WEAK if r.weak else STB_GLOBAL
            self.externs[r.symbol] = self.elf.symbol(r.symbol, bind=bind)
        return self.externs[r.symbol]


def _identifier(name: str, taken: set[str]) -> str:
    """A C identifier: BTF takes no other names of variables."""
    base = "".join([c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name])
    if not base or base[0].isdigit():
        base = f"_{base}"
    out, n = base, 1
    while out in taken:
        out, n = f"{base}_{n}", n + 1
    return out
