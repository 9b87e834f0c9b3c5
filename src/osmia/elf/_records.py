"""The records that the reader hands out: sections, segments, symbols, relocations, notes.

Symbols and relocations come by the ten thousand, so they are tuples with names; a `Data` would cost 2 us each.
"""

from __future__ import annotations

from operator import itemgetter

from .._data import Data
from ..errors import ElfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from ._file import ElfFile

    class Symbol(NamedTuple):
        """A row of a symbol table. `section` is the section index (0: undefined, 0xFFF1: absolute).

        `version` is the symbol version without `@`, `hidden` says that it is not the default one.
        """

        name: str
        value: int
        size: int
        type: int
        bind: int
        section: int
        visibility: int
        version: str
        hidden: bool

    class ElfRelocation(NamedTuple):
        """A row of a REL or RELA section; `symbol` is an index into the linked symbol table."""

        offset: int
        type: int
        symbol: int
        addend: int

else:

    def _record(name, doc, fields):
        space = {field: property(itemgetter(i)) for i, field in enumerate(fields)}

        def show(self):
            return f"{name}({', '.join(f'{f}={v!r}' for f, v in zip(fields, self))})"

        space |= {"__slots__": (), "__doc__": doc, "__repr__": show, "_fields": fields, "__module__": __name__}
        space["__new__"] = lambda cls, *values: tuple.__new__(cls, values)
        space["__getnewargs__"] = tuple
        return type(name, (tuple,), space)

    Symbol = _record(
        "Symbol",
        "A row of a symbol table: name, value, size, type, bind, section, visibility, version, hidden.",
        ("name", "value", "size", "type", "bind", "section", "visibility", "version", "hidden"),
    )
    ElfRelocation = _record(
        "ElfRelocation",
        "A row of a REL or RELA section: offset, type, symbol (index), addend.",
        ("offset", "type", "symbol", "addend"),
    )

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
EM_X86_64, EM_AARCH64, EM_BPF = 62, 183, 247
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_HASH, SHT_DYNAMIC, SHT_NOTE, SHT_NOBITS, SHT_REL = range(1, 10)
SHT_DYNSYM, SHT_SYMTAB_SHNDX = 11, 18
SHT_GNU_HASH, SHT_GNU_VERDEF, SHT_GNU_VERNEED, SHT_GNU_VERSYM = 0x6FFFFFF6, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_COMPRESSED = 1, 2, 4, 0x800
PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
PF_X, PF_W, PF_R = 1, 2, 4
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_TLS, STT_GNU_IFUNC = 0, 1, 2, 3, 4, 6, 10
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
SHN_UNDEF, SHN_ABS, SHN_XINDEX = 0, 0xFFF1, 0xFFFF

# A section may claim to unpack to anything; nothing real exceeds this.
_UNPACKED_LIMIT = 1 << 30


class Segment(Data):
    """A program header. `vaddr`/`memsz` place it in memory, `offset`/`filesz` in the file, in bytes."""

    type: int
    flags: int
    offset: int
    vaddr: int
    filesz: int
    memsz: int
    align: int


class Note(Data):
    """An ELF note: owner, type, content. `section` is "" where it was found through a program header."""

    owner: str
    type: int
    desc: bytes
    section: str = ""


class Section:
    """A section header; `data` reads (and, where compressed, unpacks) the content."""

    __slots__ = (
        "_file", "addr", "addralign", "entsize", "flags", "index", "info", "link", "name", "offset", "size", "type",
    )  # fmt: skip

    def __init__(self, file: ElfFile, index: int, name: str, row: tuple[int, ...]) -> None:
        self._file = file
        self.index = index
        self.name = name
        (_, self.type, self.flags, self.addr, self.offset, self.size, self.link, self.info, self.addralign,
         self.entsize) = row  # fmt: skip

    def __repr__(self) -> str:
        return f"Section({self.index}, {self.name!r}, type={self.type}, addr={self.addr:#x}, size={self.size})"

    @property
    def raw(self) -> bytes:
        """The bytes as they stand in the file; empty for NOBITS. Raises ElfError when they are cut off."""
        if self.type == SHT_NOBITS:
            return b""
        return self._file.read(self.offset, self.size, f"section {self.name!r}")

    @property
    def data(self) -> bytes:
        """The content, unpacked. NOBITS sections have none."""
        return _unpack(self) if self.flags & SHF_COMPRESSED else self.raw


def _unpack(section: Section) -> bytes:
    from struct import unpack_from

    raw = section.raw
    if len(raw) < 24:
        raise ElfError(f"unpack section {section.name!r}: compression header is cut off", offset=section.offset)
    kind, _, size, _ = unpack_from("<IIQQ", raw)
    if size > _UNPACKED_LIMIT:
        raise ElfError(f"unpack section {section.name!r}: claims {size} bytes", offset=section.offset)
    if kind == 1:
        out = _inflate(section, raw[24:], size)
    elif kind == 2:
        out = _unzstd(section, raw[24:], size)
    else:
        raise ElfError(f"unpack section {section.name!r}: unknown compression {kind}", offset=section.offset)
    if len(out) != size:
        raise ElfError(f"unpack section {section.name!r}: {len(out)} bytes instead of {size}", offset=section.offset)
    return out


def _inflate(section: Section, raw: bytes, size: int) -> bytes:
    import zlib

    try:
        return zlib.decompressobj().decompress(raw, size + 1)
    except zlib.error as error:
        raise ElfError(f"unpack section {section.name!r}: {error}", offset=section.offset) from None


def _unzstd(section: Section, raw: bytes, size: int) -> bytes:
    try:
        from importlib import import_module

        zstd = import_module("compression.zstd")  # Python 3.14
    except ImportError:
        raise ElfError(
            f"unpack section {section.name!r}: zstd is not in this Python",
            offset=section.offset,
            hint="use Python 3.14, or rewrite the file with objcopy --decompress-debug-sections",
        ) from None
    try:
        return bytes(zstd.ZstdDecompressor().decompress(raw, size + 1))
    except zstd.ZstdError as error:
        raise ElfError(f"unpack section {section.name!r}: {error}", offset=section.offset) from None
