"""Read a BPF object file: those of clang for libbpf, and our own."""

from __future__ import annotations

from struct import pack_into, unpack_from

from ..btf import KIND_DATASEC, Btf, ExtInfo, parse_ext
from ..elf import EM_BPF, ET_REL, SHF_EXECINSTR, STB_GLOBAL, STB_WEAK, STT_FUNC, ElfFile
from ..errors import ObjectError
from ._btf_edit import kconfig_places, loadable_btf
from ._read_maps import MapTable
from ._sections import section_attach_point, section_meaning
from ._spec import AttachPoint, CoreRelocation, Function, LineInfo, Object, ProgramSpec, Relocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mmap import mmap

    from ..elf import ElfRelocation, Section, Symbol

CALL, LD_IMM64 = 0x85, 0x18
_PSEUDO_CALL, _PSEUDO_FUNC = 1, 4
_R_64_64, _R_64_32 = 1, 10  # R_BPF_64_64 (ld_imm64) and R_BPF_64_32 (call); kernel docs, bpf/llvm_reloc.rst


def read_elf(data: bytes | mmap, name: str = "") -> Object:
    """Read a relocatable BPF ELF file. `name` is for messages.

    Attach points come from section names, or from what `write_elf` stored. Raises ObjectError, ElfError or BtfError.
    """
    file = ElfFile(data, name or "object")
    if file.type != ET_REL or file.machine != EM_BPF:
        raise ObjectError(
            f"read {name or 'object'}: not a BPF object (ELF type {file.type}, machine {file.machine})",
            hint="compile with clang -target bpf -c",
        )
    reader = _Reader(file)
    obj = reader.read()
    ours = file.section(".osmia")
    if ours is None:
        return obj.replace(
            programs=tuple(reader.typed_programs()), attach_points=tuple(reader.attach_points(obj.programs))
        )
    from ._own_section import restore

    return restore(obj, ours.data)


class _Reader:
    def __init__(self, file: ElfFile) -> None:
        self.file = file
        raw = file.section(".BTF")
        self.raw_btf = b""
        self.kconfig: dict[str, int] = {}
        if raw is not None:
            if file.section(".osmia") is None:
                self.raw_btf, self.kconfig = loadable_btf(raw.data, file)
            else:
                self.raw_btf = raw.data
                self.kconfig = kconfig_places(Btf(self.raw_btf))
        self.btf = Btf(self.raw_btf) if self.raw_btf else None
        self.maps = MapTable(file, self.btf)
        self.code: dict[int, Section] = {
            s.index: s for s in file.sections if s.type == 1 and s.flags & SHF_EXECINSTR and s.size
        }
        self.names: dict[tuple[int, int], str] = {}  # (section, offset) -> function
        self.places: list[tuple[Symbol, int, int]] = []  # function symbol, start, end in bytes
        self.functions: dict[str, Function] = {}
        self.sections: dict[str, str] = {}  # function -> section name

    def read(self) -> Object:
        kconfig_size = self._kconfig_size()
        maps = self.maps.read(kconfig_size)
        self._find_functions()
        self._refuse_pointers_in_data()
        ext = self._ext()
        relocations = {index: self._relocations(section) for index, section in self.code.items()}
        for symbol, start, end in self.places:
            self._function(symbol, start, end, relocations[symbol.section], ext)
        # What stands in .text can be called; what stands elsewhere is an entry.
        programs, subprograms = [], []
        for function in self.functions.values():
            section = self.sections[function.name]
            if section == ".text" or section.startswith(".text."):
                subprograms.append(function)
            else:
                programs.append(ProgramSpec(function.name, section, 0, function))
        return Object(tuple(programs), tuple(maps), tuple(subprograms), self.raw_btf, self._license(), self._version())

    def typed_programs(self) -> list[ProgramSpec]:
        out = []
        for name, section in self.sections.items():
            if section == ".text" or section.startswith(".text."):
                continue
            kind, attach, attach_to, flags, autoload = section_meaning(section)
            out.append(ProgramSpec(name, section, kind, self.functions[name], attach, attach_to, flags, autoload))
        return out

    def attach_points(self, programs: tuple[ProgramSpec, ...]) -> list[AttachPoint]:
        found = [section_attach_point(p.section, p.name) for p in programs]
        return [point for point in found if point is not None]

    def _kconfig_size(self) -> int:
        if self.btf is None or not self.kconfig:
            return 0
        found = self.btf.find(".kconfig", KIND_DATASEC)
        return self.btf.type(found).size if found else 0

    def _license(self) -> str:
        section = self.file.section("license")
        return section.data.partition(b"\0")[0].decode("utf-8", "backslashreplace") if section else ""

    def _version(self) -> int:
        section = self.file.section("version")
        if section is None:
            return 0
        if section.size != 4:
            raise ObjectError(f"read object: section version has {section.size} bytes, not 4")
        return int.from_bytes(section.data, "little")

    def _ext(self) -> ExtInfo:
        section = self.file.section(".BTF.ext")
        if section is None or self.btf is None:
            return ExtInfo()
        return parse_ext(section.data, self.btf)

    # functions

    def _find_functions(self) -> None:
        symbols = [s for s in self.file.symtab if s.section in self.code and s.type == STT_FUNC]
        symbols.sort(key=lambda s: (s.section, s.value))
        taken: set[str] = set()
        for i, s in enumerate(symbols):
            section = self.code[s.section]
            following = symbols[i + 1] if i + 1 < len(symbols) else None
            limit = following.value if following and following.section == s.section else section.size
            end = s.value + s.size if s.size else limit
            if s.value % 8 or end % 8 or not s.value < end <= limit:
                raise ObjectError(f"read object: function {s.name!r} does not fit section {section.name!r}")
            name, n = s.name, 1
            while name in taken:  # static functions of several files, linked into one object
                name, n = f"{s.name}.{n}", n + 1
            taken.add(name)
            self.names[s.section, s.value] = name
            self.places.append((s, s.value, end))

    def _function(
        self, symbol: Symbol, start: int, end: int, relocations: list[tuple[int, Relocation]], ext: ExtInfo
    ) -> None:
        section = self.code[symbol.section]
        name = self.names[symbol.section, start]
        code = bytearray(section.data[start:end])
        own = [r.replace(insn=(at - start) // 8) for at, r in relocations if start <= at < end]
        for r in own:
            _clear(code, r)
        first = start // 8
        infos = [f for f in ext.funcs.get(section.name, ()) if f.insn_off == start]
        lines = [
            LineInfo(i.insn_off // 8 - first, i.file, i.line, i.col, i.text)
            for i in ext.lines.get(section.name, ())
            if start <= i.insn_off < end
        ]
        core = [
            CoreRelocation(c.insn_off // 8 - first, c.type_id, c.access, c.kind)
            for c in ext.core.get(section.name, ())
            if start <= c.insn_off < end
        ]
        visible = symbol.bind in (STB_GLOBAL, STB_WEAK) and symbol.visibility == 0
        type_id = infos[0].type_id if infos else 0
        function = Function(name, bytes(code), tuple(own), type_id, tuple(lines), tuple(core), visible)
        self.functions[name] = function
        self.sections[name] = section.name

    # relocations

    def _refuse_pointers_in_data(self) -> None:
        for index in self.maps.data:
            if self.file.relocations(self.file.sections[index]):
                raise ObjectError(
                    f"read object: section {self.file.sections[index].name!r} holds addresses, which a map cannot",
                    hint="replace tables of pointers by arrays or a switch",
                )

    def _relocations(self, section: Section) -> list[tuple[int, Relocation]]:
        """(byte offset, relocation) of one section of code, in order; calls that the compiler resolved included."""
        code = section.data
        if len(code) % 8:
            raise ObjectError(f"read object: section {section.name!r} has {len(code)} bytes")
        out = [(r.offset, self._relocation(section, code, r)) for r in self.file.relocations(section)]
        done = {at for at, _ in out}
        at = 0
        while at < len(code):
            op, source = code[at], code[at + 1] >> 4
            if op == CALL and source == _PSEUDO_CALL and at not in done:
                target = at + 8 + unpack_from("<i", code, at + 4)[0] * 8
                out.append((at, Relocation(0, "call", self._function_at(section, target))))
            at += 16 if op == LD_IMM64 else 8
        return sorted(out, key=lambda row: row[0])

    def _relocation(self, section: Section, code: bytes, r: ElfRelocation) -> Relocation:
        where = f"instruction {r.offset // 8} of section {section.name!r}"
        symbols = self.file.symtab
        if r.offset % 8 or r.offset >= len(code) or r.symbol >= len(symbols):
            raise ObjectError(f"read object: relocation at {where} is damaged")
        symbol, op = symbols[r.symbol], code[r.offset]
        if op == LD_IMM64 and r.offset + 16 <= len(code):
            low, high = unpack_from("<I", code, r.offset + 4)[0], unpack_from("<i", code, r.offset + 12)[0]
            return self._address(symbol, low | high << 32, where)
        if op != CALL:
            raise ObjectError(f"read object: relocation at {where} stands on opcode {op:#x}")
        if not symbol.section:
            return Relocation(0, "kfunc", symbol.name, 0, symbol.bind == STB_WEAK)
        imm = unpack_from("<i", code, r.offset + 4)[0]
        target = self.file.sections[symbol.section] if symbol.section < len(self.file.sections) else section
        return Relocation(0, "call", self._function_at(target, symbol.value + (imm + 1) * 8))

    def _function_at(self, section: Section, offset: int) -> str:
        name = self.names.get((section.index, offset))
        if name is None:
            raise ObjectError(f"read object: call into section {section.name!r} at {offset:#x}, where no function is")
        return name

    def _address(self, symbol: Symbol, addend: int, where: str) -> Relocation:
        weak = symbol.bind == STB_WEAK
        if not symbol.section:
            if symbol.name in self.kconfig:
                return Relocation(0, "kconfig", symbol.name, self.kconfig[symbol.name] + addend, weak)
            return Relocation(0, "ksym", symbol.name, addend, weak)
        place = symbol.value + addend
        data = self.maps.data.get(symbol.section)
        if data is not None:
            if not 0 <= place <= data.value_size:
                raise ObjectError(f"read object: {where} points {place} bytes into {data.name}, outside it")
            return Relocation(0, "map_value", data.name, place)
        if (symbol.section, place) in self.maps.places:
            return Relocation(0, "map", self.maps.places[symbol.section, place])
        if symbol.section in self.code:
            return Relocation(0, "func", self._function_at(self.code[symbol.section], place))
        what = symbol.name or f"section {symbol.section}"
        raise ObjectError(f"read object: {where} refers to {what!r}, which is neither map, function nor data")


def _clear(code: bytearray, relocation: Relocation) -> None:
    """Take out of the instruction what now stands in the relocation."""
    at = relocation.insn * 8
    if code[at] == LD_IMM64:
        code[at + 1] &= 0x0F
        pack_into("<i", code, at + 4, 0)
        pack_into("<i", code, at + 12, 0)
    else:
        code[at + 1] = code[at + 1] & 0x0F | (_PSEUDO_CALL << 4 if relocation.kind == "call" else 0)
        pack_into("<i", code, at + 4, -1)
