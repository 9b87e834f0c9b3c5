"""Object x target -> running trace: load, attach, poll, decode, account for losses.

Events and values are plain Python objects (`Printf`, `MapSnapshot`, `Histogram`, ...); sinks print them.
"""

from __future__ import annotations

from ._events import (
    Attached,
    BenchResult,
    Cat,
    Ended,
    Event,
    Join,
    Lost,
    MapSnapshot,
    Message,
    Print,
    Printf,
    RingRecord,
    RuntimeFault,
    System,
    TestResult,
    Text,
    Time,
    TraceLine,
)
from ._format import escape_bytes, render
from ._maps import MapView
from ._model import Array, Enum, Histogram, Pointer, Record, Stack, Stats, TimeSeries
from ._session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._child import Child
    from ._selftest import run_benches, run_tests

__all__ = [
    "Array",
    "Attached",
    "BenchResult",
    "Cat",
    "Child",
    "Ended",
    "Enum",
    "Event",
    "Histogram",
    "Join",
    "Lost",
    "MapSnapshot",
    "MapView",
    "Message",
    "Pointer",
    "Print",
    "Printf",
    "Record",
    "RingRecord",
    "RuntimeFault",
    "Session",
    "Stack",
    "Stats",
    "System",
    "TestResult",
    "Text",
    "Time",
    "TimeSeries",
    "TraceLine",
    "escape_bytes",
    "render",
    "run_benches",
    "run_tests",
]


def __getattr__(name: str) -> object:
    if name == "Child":
        from ._child import Child

        return Child
    if name in ("run_benches", "run_tests"):
        from . import _selftest

        return getattr(_selftest, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
