"""BPF objects as plain data: programs, maps, attach points, event formats; ELF in and out; CO-RE; cache.

What a cached run does not need (ELF, CO-RE) is imported on first use.
"""

from __future__ import annotations

from .._lazy import lazy
from ._cache import Cache, cache_dir, cache_key
from ._link import LinkedProgram, link
from ._pack import pack, unpack
from ._spec import (
    AttachPoint,
    CoreRelocation,
    Function,
    LineInfo,
    MapSpec,
    Object,
    ProgramSpec,
    Relocation,
)
from ._values import AGGREGATIONS, FLOAT_FORMATS, EventFormat, Field, MapFormat, ValueType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._core import POISON, apply_core, unresolved_at
    from ._formats import derive_formats
    from ._read_elf import read_elf
    from ._variables import Variable, set_variables, variables
    from ._write_elf import write_elf

_LAZY = {
    "POISON": "_core",
    "Variable": "_variables",
    "apply_core": "_core",
    "derive_formats": "_formats",
    "read_elf": "_read_elf",
    "set_variables": "_variables",
    "unresolved_at": "_core",
    "variables": "_variables",
    "write_elf": "_write_elf",
}

__all__ = [
    "AGGREGATIONS",
    "FLOAT_FORMATS",
    "POISON",
    "AttachPoint",
    "Cache",
    "CoreRelocation",
    "EventFormat",
    "Field",
    "Function",
    "LineInfo",
    "LinkedProgram",
    "MapFormat",
    "MapSpec",
    "Object",
    "ProgramSpec",
    "Relocation",
    "ValueType",
    "Variable",
    "apply_core",
    "cache_dir",
    "cache_key",
    "derive_formats",
    "link",
    "pack",
    "read_elf",
    "set_variables",
    "unpack",
    "unresolved_at",
    "variables",
    "write_elf",
]

__getattr__ = lazy(__name__, _LAZY)
