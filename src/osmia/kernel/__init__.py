"""The running kernel: load objects, attach programs, read maps and rings, ask what it can do."""

from __future__ import annotations

from ._close import close_links
from ._link import Link
from ._map import Map, possible_cpus
from ._program import Program, ProgramInfo, enable_stats
from ._target import KernelTarget, LoadedObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._perf_buffer import PerfReader
    from ._ring import Batch, RingReader

# Imported on first use: not every trace needs them.
_LAZY = {
    "Batch": "_ring",
    "PerfReader": "_perf_buffer",
    "RingReader": "_ring",
}

__all__ = [
    "Batch",
    "KernelTarget",
    "Link",
    "LoadedObject",
    "Map",
    "PerfReader",
    "Program",
    "ProgramInfo",
    "RingReader",
    "close_links",
    "enable_stats",
    "possible_cpus",
]


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'osmia.kernel' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
