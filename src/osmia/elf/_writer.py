"""Write a small ELF64 file: sections, one symbol table, REL relocations."""

from __future__ import annotations

from struct import error, pack

from ..errors import ElfError
from ._records import (
    ET_REL,
    SHT_NOBITS,
    SHT_PROGBITS,
    SHT_REL,
    SHT_STRTAB,
    SHT_SYMTAB,
    STB_GLOBAL,
    STB_LOCAL,
    STT_NOTYPE,
    STT_SECTION,
)


class ElfWriter:
    """Collects sections, symbols and relocations; `build` lays them out. Little endian, no program headers."""

    def __init__(self, machine: int, type: int = ET_REL) -> None:
        self.machine = machine
        self.type = type
        # name, type, flags, data, size, align; index 0 is the null section
        self._sections: list[tuple[str, int, int, bytes, int, int]] = [("", 0, 0, b"", 0, 0)]
        self._symbols: list[tuple[str, int, int, int, int, int, int]] = []
        self._section_symbols: dict[int, int] = {}
        self._relocations: dict[int, list[tuple[int, int, int]]] = {}

    def section(
        self, name: str, data: bytes = b"", *, type: int = SHT_PROGBITS, flags: int = 0, align: int = 1, size: int = 0
    ) -> int:
        """Add a section and return its index. `size` is for NOBITS, which have no data."""
        self._sections.append((name, type, flags, data, size if type == SHT_NOBITS else len(data), align))
        return len(self._sections) - 1

    def symbol(
        self,
        name: str,
        section: int = 0,
        value: int = 0,
        size: int = 0,
        *,
        type: int = STT_NOTYPE,
        bind: int = STB_GLOBAL,
        visibility: int = 0,
    ) -> int:
        """Add a symbol and return the handle that `relocation` takes. Section 0: undefined."""
        self._symbols.append((name, section, value, size, type, bind, visibility))
        return len(self._symbols) - 1

    def section_symbol(self, section: int) -> int:
        """The symbol that stands for a section's start."""
        handle = self._section_symbols.get(section)
        if handle is None:
            handle = self._section_symbols[section] = self.symbol("", section, type=STT_SECTION, bind=STB_LOCAL)
        return handle

    def relocation(self, section: int, offset: int, type: int, symbol: int) -> None:
        """Relocate what is at byte `offset` of `section`."""
        self._relocations.setdefault(section, []).append((offset, type, symbol))

    def build(self) -> bytes:
        """The file. ElfError for numbers that do not fit."""
        try:
            return self._build()
        except error as e:
            raise ElfError(f"write ELF file: a number does not fit ({e})") from None

    def _build(self) -> bytes:
        strings = _Strings()
        symtab, first_global, rows = self._symbol_rows(strings)
        sections = [(*s, 0, 0, 0) for s in self._sections]  # ... link, info, entsize
        table = len(sections) + len(self._relocations)
        for target in sorted(self._relocations):
            raw = b"".join(
                [pack("<QII", at, kind, rows[symbol]) for at, kind, symbol in sorted(self._relocations[target])]
            )
            name = f".rel{self._sections[target][0]}"
            sections.append((name, SHT_REL, 0x40, raw, len(raw), 8, table, target, 16))  # SHF_INFO_LINK
        sections.append((".symtab", SHT_SYMTAB, 0, symtab, len(symtab), 8, table + 1, first_global, 24))
        names = [strings.add(s[0]) for s in sections] + [strings.add(".strtab")]
        sections.append((".strtab", SHT_STRTAB, 0, bytes(strings.data), len(strings.data), 1, 0, 0, 0))
        body = bytearray(64)
        headers = []
        for name_at, (_, kind, flags, data, size, align, link, info, entsize) in zip(names, sections):
            body += bytes(-len(body) % max(align, 1))
            headers.append(pack("<IIQQQQIIQQ", name_at, kind, flags, 0, len(body), size, link, info, align, entsize))
            body += data
        headers[0] = bytes(64)
        body += bytes(-len(body) % 8)
        head = b"\x7fELF\2\1\1" + bytes(9)
        head += pack(
            "<HHIQQQIHHHHHH",
            self.type, self.machine, 1, 0, 0, len(body), 0, 64, 0, 0, 64, len(sections), len(sections) - 1,
        )  # fmt: skip
        body[:64] = head
        return bytes(body) + b"".join(headers)

    def _symbol_rows(self, strings: _Strings) -> tuple[bytes, int, dict[int, int]]:
        """Symbol table with local symbols first, index of the first other one, handle -> row."""
        order = sorted(range(len(self._symbols)), key=lambda i: self._symbols[i][5] != STB_LOCAL)
        rows = {handle: row for row, handle in enumerate(order, 1)}
        out = [bytes(24)]
        for handle in order:
            name, section, value, size, kind, bind, visibility = self._symbols[handle]
            out.append(pack("<IBBHQQ", strings.add(name), bind << 4 | kind, visibility, section, value, size))
        local = sum(s[5] == STB_LOCAL for s in self._symbols)
        return b"".join(out), local + 1, rows


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(1)
        self._at: dict[str, int] = {"": 0}

    def add(self, text: str) -> int:
        at = self._at.get(text)
        if at is None:
            if "\0" in text:
                raise ElfError(f"write ELF file: name {text!r} contains NUL")
            at = self._at[text] = len(self.data)
            self.data += text.encode("utf-8", "backslashreplace") + b"\0"
        return at
