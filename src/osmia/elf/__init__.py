"""ELF files: sections, symbols, relocations, notes, USDT probes; writing relocatable files; DWARF on demand."""

from __future__ import annotations

from .._lazy import lazy
from ._file import ElfFile, open_elf
from ._records import (
    EM_AARCH64,
    EM_BPF,
    EM_X86_64,
    ET_DYN,
    ET_EXEC,
    ET_REL,
    PF_X,
    PT_LOAD,
    SHF_EXECINSTR,
    SHF_WRITE,
    STB_GLOBAL,
    STB_LOCAL,
    STB_WEAK,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_NOTYPE,
    STT_OBJECT,
    STT_SECTION,
    ElfRelocation,
    Note,
    Section,
    Segment,
    Symbol,
)
from ._usdt import UsdtArg, UsdtProbe, parse_usdt_args

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._debugfile import find_debug_file
    from ._dwarf import Dwarf, DwarfFrame, open_dwarf
    from ._dwarf_types import DwarfMember, DwarfType, language_of
    from ._dwarf_unit import Die
    from ._writer import ElfWriter
    from ._x86 import instruction_length, is_boundary

__all__ = [
    "EM_AARCH64",
    "EM_BPF",
    "EM_X86_64",
    "ET_DYN",
    "ET_EXEC",
    "ET_REL",
    "PF_X",
    "PT_LOAD",
    "SHF_EXECINSTR",
    "SHF_WRITE",
    "STB_GLOBAL",
    "STB_LOCAL",
    "STB_WEAK",
    "STT_FUNC",
    "STT_GNU_IFUNC",
    "STT_NOTYPE",
    "STT_OBJECT",
    "STT_SECTION",
    "Die",
    "Dwarf",
    "DwarfFrame",
    "DwarfMember",
    "DwarfType",
    "ElfFile",
    "ElfRelocation",
    "ElfWriter",
    "Note",
    "Section",
    "Segment",
    "Symbol",
    "UsdtArg",
    "UsdtProbe",
    "find_debug_file",
    "instruction_length",
    "is_boundary",
    "language_of",
    "open_dwarf",
    "open_elf",
    "parse_usdt_args",
]


_LAZY = {
    "Die": "_dwarf_unit",
    "Dwarf": "_dwarf",
    "DwarfFrame": "_dwarf",
    "DwarfMember": "_dwarf_types",
    "DwarfType": "_dwarf_types",
    "ElfWriter": "_writer",
    "find_debug_file": "_debugfile",
    "instruction_length": "_x86",
    "is_boundary": "_x86",
    "language_of": "_dwarf_types",
    "open_dwarf": "_dwarf",
}

__getattr__ = lazy(__name__, _LAZY)
