"""The running kernel: load objects, attach programs, read maps and rings, ask what it can do."""

from __future__ import annotations

from .._lazy import lazy
from ..objects import Batch
from ._close import close_links
from ._link import Link
from ._map import Map
from ._program import Program, ProgramInfo, enable_stats
from ._target import KernelTarget, LoadedObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._exec_log import ExecLog
    from ._features import FEATURES, Answer, Feature, capabilities_for, helper_support, probe_feature
    from ._ids import LinkInfo, MapInfo, list_links, list_maps, list_programs
    from ._kconfig import lacking_options
    from ._perf_buffer import PerfReader
    from ._report import Check, Report, report
    from ._ring import RingReader

# Imported on first use: not every trace needs them.
_LAZY = {
    "ExecLog": "_exec_log",
    "FEATURES": "_features",
    "Answer": "_features",
    "Feature": "_features",
    "capabilities_for": "_features",
    "helper_support": "_features",
    "lacking_options": "_kconfig",
    "probe_feature": "_features",
    "LinkInfo": "_ids",
    "MapInfo": "_ids",
    "list_links": "_ids",
    "list_maps": "_ids",
    "list_programs": "_ids",
    "Check": "_report",
    "Report": "_report",
    "report": "_report",
    "PerfReader": "_perf_buffer",
    "RingReader": "_ring",
}

__all__ = [
    "FEATURES",
    "Answer",
    "Batch",
    "Check",
    "ExecLog",
    "Feature",
    "KernelTarget",
    "Link",
    "LinkInfo",
    "LoadedObject",
    "Map",
    "MapInfo",
    "PerfReader",
    "Program",
    "ProgramInfo",
    "Report",
    "RingReader",
    "capabilities_for",
    "close_links",
    "enable_stats",
    "helper_support",
    "lacking_options",
    "list_links",
    "list_maps",
    "list_programs",
    "probe_feature",
    "report",
]

__getattr__ = lazy(__name__, _LAZY)
