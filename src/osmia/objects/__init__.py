"""BPF objects as plain data: programs, maps, attach points, event formats; ELF in and out; CO-RE; cache.

What a cached run does not need (ELF, CO-RE) is imported on first use.
"""

from __future__ import annotations

from .._lazy import lazy
from ._cache import Cache, cache_dir, cache_key
from ._link import LinkedProgram, line_at, link, set_wide
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
from ._values import AGGREGATIONS, FLOAT_FORMATS, Batch, EventFormat, Field, MapFormat, ValueType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._core import POISON, apply_core, relocated_name, unresolved_at
    from ._encode import Misfit, encode_prefix, encode_value, packed_address
    from ._formats import BtfTypes, derive_formats
    from ._kconfig import at_version, kconfig_contents, version_code
    from ._read_elf import read_elf
    from ._select import select_programs
    from ._variables import Variable, encode_variable, find_variable, set_variables, variables
    from ._write_elf import write_elf

_LAZY = {
    "BtfTypes": "_formats",
    "Misfit": "_encode",
    "POISON": "_core",
    "Variable": "_variables",
    "apply_core": "_core",
    "at_version": "_kconfig",
    "derive_formats": "_formats",
    "encode_prefix": "_encode",
    "encode_value": "_encode",
    "encode_variable": "_variables",
    "find_variable": "_variables",
    "kconfig_contents": "_kconfig",
    "packed_address": "_encode",
    "read_elf": "_read_elf",
    "relocated_name": "_core",
    "select_programs": "_select",
    "set_variables": "_variables",
    "unresolved_at": "_core",
    "variables": "_variables",
    "version_code": "_kconfig",
    "write_elf": "_write_elf",
}

__all__ = [
    "AGGREGATIONS",
    "FLOAT_FORMATS",
    "POISON",
    "AttachPoint",
    "Batch",
    "BtfTypes",
    "Cache",
    "CoreRelocation",
    "EventFormat",
    "Field",
    "Function",
    "LineInfo",
    "LinkedProgram",
    "MapFormat",
    "MapSpec",
    "Misfit",
    "Object",
    "ProgramSpec",
    "Relocation",
    "ValueType",
    "Variable",
    "apply_core",
    "at_version",
    "cache_dir",
    "cache_key",
    "derive_formats",
    "encode_prefix",
    "encode_value",
    "encode_variable",
    "find_variable",
    "kconfig_contents",
    "line_at",
    "link",
    "pack",
    "packed_address",
    "read_elf",
    "relocated_name",
    "select_programs",
    "set_variables",
    "set_wide",
    "unpack",
    "unresolved_at",
    "variables",
    "version_code",
    "write_elf",
]

__getattr__ = lazy(__name__, _LAZY)
