"""ELF files: sections, symbols, relocations, notes, USDT probes; writing relocatable files; DWARF on demand."""

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
    from ._dwarf import DwarfParam, dwarf_functions, lines_to_addrs
    from ._writer import ElfWriter

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
    "DwarfParam",
    "ElfFile",
    "ElfRelocation",
    "ElfWriter",
    "Note",
    "Section",
    "Segment",
    "Symbol",
    "UsdtArg",
    "UsdtProbe",
    "dwarf_functions",
    "lines_to_addrs",
    "open_elf",
    "parse_usdt_args",
]


_LAZY = {
    "DwarfParam": "_dwarf",
    "ElfWriter": "_writer",
    "dwarf_functions": "_dwarf",
    "lines_to_addrs": "_dwarf",
}


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'osmia.elf' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
