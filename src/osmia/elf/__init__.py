"""ELF files: sections, symbols, relocations, notes, USDT probes; writing relocatable files; DWARF on demand."""

from ._file import ElfFile, open_elf
from ._records import ElfRelocation, Note, Section, Segment, Symbol
from ._usdt import UsdtArg, UsdtProbe, parse_usdt_args

__all__ = [
    "ElfFile",
    "ElfRelocation",
    "Note",
    "Section",
    "Segment",
    "Symbol",
    "UsdtArg",
    "UsdtProbe",
    "open_elf",
    "parse_usdt_args",
]
