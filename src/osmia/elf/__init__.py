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
    "ElfFile",
    "ElfRelocation",
    "ElfWriter",
    "Note",
    "Section",
    "Segment",
    "Symbol",
    "UsdtArg",
    "UsdtProbe",
    "open_elf",
    "parse_usdt_args",
]


def __getattr__(name: str) -> object:
    if name != "ElfWriter":
        raise AttributeError(f"module 'osmia.elf' has no attribute {name!r}")
    from ._writer import ElfWriter

    return ElfWriter
