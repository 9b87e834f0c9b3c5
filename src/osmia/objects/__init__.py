"""BPF objects as plain data: programs, maps, attach points, event formats; ELF in and out; CO-RE; cache.

What a cached run does not need (ELF, CO-RE) is imported on first use.
"""

from __future__ import annotations

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
from ._values import AGGREGATIONS, EventFormat, Field, MapFormat, ValueType

__all__ = [
    "AGGREGATIONS",
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
    "cache_dir",
    "cache_key",
    "link",
    "pack",
    "unpack",
]
