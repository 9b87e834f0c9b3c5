"""Read the ELF object that LLVM just wrote for us.

It is trusted (our own process made it a millisecond ago) and of one known shape, so this is a fraction of what
`objects.read_elf` does for files from elsewhere.
"""

from __future__ import annotations

from struct import error as StructError
from struct import iter_unpack, unpack_from

from ..errors import CodegenError
from ..objects import Function, LineInfo, Relocation

_SHT_REL = 9
_R_64_64, _R_64_32 = 1, 10
_CALL, _LD_IMM64 = 0x85, 0x18


class _Section:
    __slots__ = ("base", "data", "info", "kind", "name")

    def __init__(self, name: str, kind: int, info: int, data: bytes) -> None:
        self.name = name
        self.kind = kind
        self.info = info
        self.data = data
        self.base = 0  # where it begins in the joined read-only data


def split(data: bytes, source: dict[str, list[str]]) -> tuple[dict[str, Function], bytes]:
    """Functions by name, and the read-only data. CodegenError for what is no whole object."""
    try:
        return ObjectReader(data, source).split()
    except (StructError, IndexError, KeyError, ValueError, OverflowError) as problem:
        raise CodegenError(f"read the object that LLVM wrote: {type(problem).__name__}: {problem}") from None


class ObjectReader:
    """See `split`."""

    def __init__(self, data: bytes, source: dict[str, list[str]]) -> None:
        if data[:4] != b"\x7fELF" or data[4:6] != b"\x02\x01":
            raise CodegenError("read the object that LLVM wrote: it is no 64-bit little-endian ELF file")
        self._source = source
        offset, count, names_at = unpack_from("<Q", data, 40)[0], *unpack_from("<HH", data, 60)
        headers = [unpack_from("<IIQQQQIIQQ", data, offset + 64 * i) for i in range(count)]
        names = data[headers[names_at][4] : headers[names_at][4] + headers[names_at][5]]
        self._sections = [_Section(_text(names, h[0]), h[1], h[7], data[h[4] : h[4] + h[5]]) for h in headers]
        self._rodata = bytearray()
        self._join_rodata()
        self._symbols: list[tuple[str, int, int, int, int]] = []  # name, info, section, value, size
        for header, section in zip(headers, self._sections):
            if section.name == ".symtab":
                strings = self._sections[header[6]].data
                for name, info, _, shndx, value, size in iter_unpack("<IBBHQQ", section.data):
                    self._symbols.append((_text(strings, name), info, shndx, value, size))

    def split(self) -> tuple[dict[str, Function], bytes]:
        lines = self._line_info()
        functions: dict[str, Function] = {}
        places = [(s[2], s[3], s[4], s[0], s[1] >> 4) for s in self._symbols if s[1] & 15 == 2]
        relocations = self._relocations({(p[0], p[1]): p[3] for p in places})
        for section, start, size, name, binding in sorted(places):
            first, last = start // 8, (start + size) // 8
            functions[name] = Function(
                name=name,
                insns=self._sections[section].data[start : start + size],
                relocations=tuple(
                    r.replace(insn=r.insn - first) for r in relocations.get(section, ()) if first <= r.insn < last
                ),
                lines=tuple(
                    line.replace(insn=line.insn - first)
                    for line in lines.get(self._sections[section].name, ())
                    if first <= line.insn < last
                ),
                is_global=binding == 1,
            )
        return functions, bytes(self._rodata)

    def _join_rodata(self) -> None:
        """LLVM writes several sections for read-only data, some of one name (texts, constants of 8, 16, 32 bytes): as
        one, with where each begins in it."""
        for section in self._sections:
            if section.name.startswith(".rodata"):
                self._rodata += bytes(-len(self._rodata) % 64)
                section.base = len(self._rodata)
                self._rodata += section.data

    def _relocations(self, functions: dict[tuple[int, int], str]) -> dict[int, list[Relocation]]:
        """Section index -> relocations, in instruction order."""
        found: dict[int, list[Relocation]] = {}
        for section in self._sections:
            if section.kind != _SHT_REL or section.name.startswith((".rel.debug", ".rel.BTF")):
                continue
            code = self._sections[section.info].data
            out = found.setdefault(section.info, [])
            for offset, info in iter_unpack("<QQ", section.data):
                out.append(self._relocation(code, offset, info >> 32, functions))
        return found

    def _relocation(self, code: bytes, offset: int, symbol: int, functions: dict[tuple[int, int], str]) -> Relocation:
        name, info, shndx, value, _ = self._symbols[symbol]
        insn = offset // 8
        section = self._sections[shndx] if 0 < shndx < len(self._sections) else None
        if code[offset] == _CALL:
            if section is None or section.name == ".ksyms":
                return Relocation(insn, "kfunc", name)
            imm = unpack_from("<i", code, offset + 4)[0]
            target = (shndx, value if info & 15 == 2 else (imm + 1) * 8)
            return Relocation(insn, "call", functions[target])
        if section is None:  # undefined here: the kernel's
            return Relocation(insn, "ksym", name)
        imm = unpack_from("<I", code, offset + 4)[0]
        if section.name == ".maps":
            return Relocation(insn, "map", name)
        if section.name.startswith(".rodata"):
            return Relocation(insn, "map_value", ".rodata", section.base + value + imm)
        if section.name.startswith((".data", ".bss")):
            return Relocation(insn, "map_value", section.name, value + imm)
        if (shndx, value + imm) in functions:
            return Relocation(insn, "func", functions[shndx, value + imm])
        raise CodegenError(f"link {name or section.name}: unexpected reference at instruction {insn}")

    def _line_info(self) -> dict[str, list[LineInfo]]:
        """.BTF.ext's line info by section name, source text from what the caller compiled."""
        ext = next((s.data for s in self._sections if s.name == ".BTF.ext"), b"")
        btf = next((s.data for s in self._sections if s.name == ".BTF"), b"")
        if not ext or not btf:
            return {}
        header, _, _, strings, _ = unpack_from("<IIIII", btf, 4)
        names = btf[header + strings :]
        base, _, _, start, size = unpack_from("<IIIII", ext, 4)
        at, end = base + start, base + start + size
        record = unpack_from("<I", ext, at)[0]
        at += 4
        out: dict[str, list[LineInfo]] = {}
        while at < end:
            section, count = unpack_from("<II", ext, at)
            at += 8
            if record < 16 or count > (end - at) // record:
                raise ValueError("line info beyond its section")
            lines = out.setdefault(_text(names, section), [])
            for _ in range(count):
                offset, file, _text_at, place = unpack_from("<IIII", ext, at)
                lines.append(self._line(offset // 8, _text(names, file), place))
                at += record
        return out

    def _line(self, insn: int, file: str, place: int) -> LineInfo:
        number, column = place >> 10, place & 0x3FF
        text = self._source.get(file, ())
        return LineInfo(insn, file, number, column, text[number - 1] if 0 < number <= len(text) else "")


def _text(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode("utf-8", "replace")
