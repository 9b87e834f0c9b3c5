"""BPF objects as plain data: programs, maps, attach points, event formats; ELF in and out; CO-RE; cache."""

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
    "CoreRelocation",
    "EventFormat",
    "Field",
    "Function",
    "LineInfo",
    "MapFormat",
    "MapSpec",
    "Object",
    "ProgramSpec",
    "Relocation",
    "ValueType",
]
