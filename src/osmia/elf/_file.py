"""A small, quick ELF reader: 64-bit little-endian files, read where asked, never whole.

Every offset and size in the file is taken as hostile: what does not fit raises `ElfError`, nothing else.
"""

from __future__ import annotations

import os
from struct import iter_unpack, unpack_from

from ..errors import ElfError
from ._records import (
    ET_REL,
    PT_DYNAMIC,
    PT_LOAD,
    PT_NOTE,
    SHN_XINDEX,
    SHT_DYNAMIC,
    SHT_DYNSYM,
    SHT_NOBITS,
    SHT_NOTE,
    SHT_REL,
    SHT_RELA,
    SHT_SYMTAB,
    SHT_SYMTAB_SHNDX,
    STT_FUNC,
    STT_GNU_IFUNC,
    ElfRelocation,
    Note,
    Section,
    Segment,
    Symbol,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap
    from typing import Self

    from ._usdt import UsdtProbe

DT_STRTAB, DT_STRSZ, DT_SONAME = 5, 10, 14


class ElfFile:
    """An ELF file in memory. `data` is bytes or an mmap; `path` is for messages only.

    type, machine, entry, flags are the header's numbers. Raises ElfError for what is not 64-bit little-endian ELF.
    A file that somebody truncates while it is mapped ends the process (SIGBUS); pass bytes where that may happen.
    """

    def __init__(self, data: bytes | mmap, path: str = "") -> None:
        self._data = data
        self.path = path
        self._len = len(data)
        self._sections: list[Section] | None = None
        self._segments: list[Segment] | None = None
        self._tables: dict[int, list[Symbol]] = {}
        self._by_name: dict[str, Section] | None = None
        self._mini: ElfFile | bool | None = False
        if self._len < 64 or data[:4] != b"\x7fELF":
            raise self._bad("not an ELF file", 0)
        bits, order = data[4], data[5]
        if bits == 1:
            raise self._bad("32-bit ELF is not supported", 4, hint="use the 64-bit build of the file")
        if bits != 2 or order != 1:
            what = "big-endian ELF is not supported" if order == 2 else "unknown class or byte order"
            raise self._bad(what, 4)
        header = unpack_from("<HHIQQQIHHHHHH", data, 16)
        self.type, self.machine, _, self.entry, self._phoff, self._shoff, self.flags = header[:7]
        _, self._phentsize, self._phnum, self._shentsize, self._shnum, self._shstrndx = header[7:]

    def _bad(self, cause: str, offset: int = -1, hint: str = "") -> ElfError:
        return ElfError(f"read {self.path or 'ELF file'}: {cause}", offset=offset, hint=hint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the file. What was read stays valid; reading more raises ElfError."""
        if not isinstance(self._data, bytes):
            self._data.close()
        self._data, self._len = b"", 0

    def read(self, offset: int, size: int, what: str = "data") -> bytes:
        """`size` bytes of the file at `offset`; ElfError when they are not all there."""
        if offset < 0 or size < 0 or offset + size > self._len:
            raise self._bad(f"{what} is cut off", offset)
        return self._data[offset : offset + size]

    # headers

    @property
    def sections(self) -> list[Section]:
        """All section headers in order; number 0 is the empty one. An empty list where the file has none."""
        if self._sections is None:
            self._sections = self._read_sections()
        return self._sections

    def _read_sections(self) -> list[Section]:
        if not self._shoff:
            return []
        if self._shentsize != 64:
            raise self._bad(f"section headers of {self._shentsize} bytes", 58)
        count, names = self._shnum, self._shstrndx
        if not count or names == SHN_XINDEX:
            # Too many for the header: both numbers stand in section 0 (gABI, "Section Header").
            first = unpack_from("<IIQQQQIIQQ", self.read(self._shoff, 64, "section header 0"))
            count = count or first[5]
            names = first[6] if names == SHN_XINDEX else names
        if count > self._len // 64:
            raise self._bad(f"{count} section headers do not fit", self._shoff)
        rows = list(iter_unpack("<IIQQQQIIQQ", self.read(self._shoff, count * 64, "section headers")))
        strings = b""
        if 0 < names < count:
            strings = self.read(rows[names][4], rows[names][5], "section name table")
        return [Section(self, i, self._text(strings, row[0]), row) for i, row in enumerate(rows)]

    def _text(self, strings: bytes, start: int) -> str:
        end = strings.find(0, start)
        if end < 0:
            if start == 0:
                return ""
            raise self._bad(f"string {start:#x} is outside its table")
        return strings[start:end].decode("utf-8", "backslashreplace")

    @property
    def segments(self) -> list[Segment]:
        """All program headers in order."""
        if self._segments is None:
            if self._phnum and self._phentsize != 56:
                raise self._bad(f"program headers of {self._phentsize} bytes", 54)
            raw = self.read(self._phoff, self._phnum * 56, "program headers")
            rows = iter_unpack("<IIQQQQQQ", raw)
            self._segments = [Segment(r[0], r[1], r[2], r[3], r[5], r[6], r[7]) for r in rows]
        return self._segments

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        if self._by_name is None:
            self._by_name = {s.name: s for s in reversed(self.sections)}
        return self._by_name.get(name)

    def _of_type(self, kind: int) -> Section | None:
        return next((s for s in self.sections if s.type == kind), None)

    def _linked(self, section: Section) -> Section:
        if not 0 < section.link < len(self.sections):
            raise self._bad(f"section {section.name!r} links to section {section.link}", section.offset)
        return self.sections[section.link]

    # addresses

    def addr_to_offset(self, addr: int) -> int:
        """File offset of a virtual address (of a relocatable file: section address). ElfError where there is none."""
        for s in self.segments:
            if s.type == PT_LOAD and s.vaddr <= addr < s.vaddr + s.filesz:
                return addr - s.vaddr + s.offset
        for section in self.sections if self.type == ET_REL or not self.segments else ():
            alloc = section.flags & 2 and section.type != SHT_NOBITS
            if alloc and section.addr <= addr < section.addr + section.size:
                return addr - section.addr + section.offset
        raise self._bad(f"address {addr:#x} is not in the file")

    def offset_to_addr(self, offset: int) -> int:
        """Virtual address that a file offset is loaded at. ElfError where it is not loaded."""
        for s in self.segments:
            if s.type == PT_LOAD and s.offset <= offset < s.offset + s.filesz:
                return offset - s.offset + s.vaddr
        raise self._bad(f"offset {offset:#x} is in no loaded segment", offset)

    # symbols

    def _symbol_table(self, section: Section) -> list[Symbol]:
        table = self._tables.get(section.index)
        if table is None:
            table = self._tables[section.index] = self._read_symbols(section)
        return table

    def _read_symbols(self, section: Section) -> list[Symbol]:
        strings = self._linked(section).raw
        versions: list[tuple[str, bool]] = []
        if section.type == SHT_DYNSYM:
            from ._versions import symbol_versions

            versions = symbol_versions(self, section)
        raw = section.raw
        return self._decode_symbols(raw[: len(raw) // 24 * 24], strings, versions, self._wide_indexes(section))

    def _wide_indexes(self, section: Section) -> bytes:
        for other in self.sections:
            if other.type == SHT_SYMTAB_SHNDX and other.link == section.index:
                return other.raw
        return b""

    def _decode_symbols(
        self, raw: bytes, strings: bytes, versions: list[tuple[str, bool]], wide: bytes = b""
    ) -> list[Symbol]:
        out: list[Symbol] = []
        add, find = out.append, strings.find
        limit = len(strings)
        for i, (start, info, other, shndx, value, size) in enumerate(iter_unpack("<IBBHQQ", raw)):
            end = find(0, start)
            if end < 0 and (start or limit):
                raise self._bad(f"name of symbol {i} is outside its table")
            if shndx == SHN_XINDEX and len(wide) >= i * 4 + 4:
                shndx = unpack_from("<I", wide, i * 4)[0]
            version, hidden = versions[i] if i < len(versions) else ("", False)
            name = strings[start:end].decode("utf-8", "backslashreplace") if end > start else ""
            add(Symbol(name, value, size, info & 15, info >> 4, shndx, other & 3, version, hidden))
        return out

    @property
    def symtab(self) -> list[Symbol]:
        """Rows of `.symtab`, row 0 included, as `readelf -s` shows them; empty where it was stripped."""
        section = self._of_type(SHT_SYMTAB)
        return self._symbol_table(section) if section else []

    @property
    def dynsym(self) -> list[Symbol]:
        """Rows of `.dynsym`, row 0 included; found through PT_DYNAMIC where section headers are gone."""
        section = self._of_type(SHT_DYNSYM)
        if section:
            return self._symbol_table(section)
        if -1 not in self._tables:
            from ._dynamic import dynamic_symbols

            self._tables[-1] = dynamic_symbols(self)
        return self._tables[-1]

    def symbols(self, mini: bool = False) -> list[Symbol]:
        """Named rows of `.symtab`, then those only in `.dynsym`; with `mini` also those only in `.gnu_debugdata`."""
        out = [s for s in self.symtab if s[0]]
        seen = {(s[0], s[1]) for s in out}
        more = [self.dynsym]
        if mini and self.minidebug:
            more.append(self.minidebug.symtab)
        for table in more:
            new = [s for s in table if s[0] and (s[0], s[1]) not in seen]
            seen.update((s[0], s[1]) for s in new)
            out += new
        return out

    def functions(self, mini: bool = True) -> list[Symbol]:
        """Defined functions (and indirect ones), by address."""
        kinds = (STT_FUNC, STT_GNU_IFUNC)
        return sorted((s for s in self.symbols(mini) if s[3] in kinds and s[5]), key=lambda s: s[1])

    def find_symbol(self, name: str, mini: bool = True) -> Symbol | None:
        """The defined symbol of that name: global before local, default version before others. Reads no table."""
        from ._lookup import find_symbol

        found = find_symbol(self, name)
        if found is None and mini and self.minidebug:
            found = find_symbol(self.minidebug, name)
        return found

    # relocations

    def relocations(self, section: Section) -> list[ElfRelocation]:
        """Relocations that apply to `section`, from REL and RELA sections, in file order. REL addends are 0."""
        out: list[ElfRelocation] = []
        for s in self.sections:
            if s.info != section.index or s.type not in (SHT_REL, SHT_RELA):
                continue
            raw = s.data
            if s.type == SHT_RELA:
                rows = iter_unpack("<QIIq", raw[: len(raw) // 24 * 24])
                out += [ElfRelocation(where, kind, sym, addend) for where, kind, sym, addend in rows]
            else:
                rows = iter_unpack("<QII", raw[: len(raw) // 16 * 16])
                out += [ElfRelocation(where, kind, sym, 0) for where, kind, sym in rows]
        return out

    # notes and what stands in them

    def notes(self) -> list[Note]:
        """Notes of all SHT_NOTE sections, or of PT_NOTE segments where section headers are gone."""
        out: list[Note] = []
        sections = [s for s in self.sections if s.type == SHT_NOTE]
        for s in sections:
            out += self._split_notes(s.data, s.addralign, s.name)
        if not sections:
            for p in self.segments:
                if p.type == PT_NOTE:
                    out += self._split_notes(self.read(p.offset, p.filesz, "note segment"), p.align, "")
        return out

    def _split_notes(self, raw: bytes, align: int, section: str) -> Iterator[Note]:
        pad = 7 if align == 8 else 3
        at, size = 0, len(raw)
        while at + 12 <= size:
            owner_size, desc_size, kind = unpack_from("<III", raw, at)
            start = (at + 12 + owner_size + pad) & ~pad
            end = start + desc_size
            if end > size:
                raise self._bad(f"note at {at:#x} of {section or 'a note segment'} is cut off")
            owner = raw[at + 12 : at + 12 + owner_size].rstrip(b"\0").decode("utf-8", "backslashreplace")
            yield Note(owner, kind, raw[start:end], section)
            at = (end + pad) & ~pad

    @property
    def build_id(self) -> str:
        """The GNU build id in hex, or ""."""
        for note in self._notes_before(".note.gnu.build-id"):
            if note.type == 3 and note.owner == "GNU":
                return note.desc.hex()
        return ""

    def _notes_before(self, section: str) -> list[Note]:
        found = self.section(section)
        if found and found.type == SHT_NOTE:
            return list(self._split_notes(found.data, found.addralign, section))
        return self.notes()

    def usdt_probes(self) -> list[UsdtProbe]:
        """USDT probes (`.note.stapsdt`), in file order, with addresses as this file lays them out."""
        from ._usdt import read_probes

        return read_probes(self)

    @property
    def debuglink(self) -> tuple[str, int] | None:
        """(file name, CRC-32) of the separate debug file, from `.gnu_debuglink`."""
        section = self.section(".gnu_debuglink")
        if section is None:
            return None
        raw = section.data
        end = raw.find(0)
        at = (end + 4) & ~3
        if end < 0 or at + 4 > len(raw):
            raise self._bad(".gnu_debuglink is cut off", section.offset)
        return raw[:end].decode("utf-8", "backslashreplace"), unpack_from("<I", raw, at)[0]

    @property
    def dynamic(self) -> list[tuple[int, int]]:
        """(tag, value) of the dynamic table up to DT_NULL."""
        raw = b""
        section = self._of_type(SHT_DYNAMIC)
        if section:
            raw = section.raw
        else:
            found = next((p for p in self.segments if p.type == PT_DYNAMIC), None)
            if found:
                raw = self.read(found.offset, found.filesz, "dynamic segment")
        out: list[tuple[int, int]] = []
        for tag, value in iter_unpack("<QQ", raw[: len(raw) // 16 * 16]):
            if not tag:
                break
            out.append((tag, value))
        return out

    @property
    def soname(self) -> str:
        """DT_SONAME, or ""."""
        tags = dict(self.dynamic)
        if DT_SONAME not in tags or DT_STRTAB not in tags:
            return ""
        start = self.addr_to_offset(tags[DT_STRTAB])
        strings = self.read(start, tags.get(DT_STRSZ, 0), "dynamic string table")
        return self._text(strings, tags[DT_SONAME])

    @property
    def minidebug(self) -> ElfFile | None:
        """The ELF file inside `.gnu_debugdata` (symbols that were stripped), or None."""
        if isinstance(self._mini, bool):
            self._mini = self._read_minidebug()
        return self._mini

    def _read_minidebug(self) -> ElfFile | None:
        section = self.section(".gnu_debugdata")
        if section is None:
            return None
        import lzma

        limit = 1 << 28
        try:
            raw = lzma.LZMADecompressor(memlimit=1 << 28).decompress(section.data, limit)
        except (lzma.LZMAError, EOFError) as error:
            raise self._bad(f"unpack .gnu_debugdata: {error}", section.offset) from None
        if len(raw) >= limit:
            raise self._bad(f".gnu_debugdata unpacks to over {limit} bytes", section.offset)
        return ElfFile(raw, f"{self.path} (.gnu_debugdata)")


def open_elf(path: str) -> ElfFile:
    """Map an ELF file; a context manager. Raises ElfError (not ELF) or SymbolError (cannot be opened)."""
    from mmap import ACCESS_READ, mmap

    from ..errors import SymbolError

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SymbolError(f"open {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise SymbolError(f"open {path!r}: {error}") from None
    try:
        data = mmap(fd, 0, access=ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ElfError(f"read {path}: not an ELF file ({error})") from None
    finally:
        os.close(fd)
    try:
        return ElfFile(data, path)
    except ElfError:
        data.close()
        raise
