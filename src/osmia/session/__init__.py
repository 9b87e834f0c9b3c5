"""Object x target -> running trace: load, attach, poll, decode, account for losses.

Events and values are plain Python objects (`Printf`, `MapSnapshot`, `Histogram`, ...); sinks print them.
"""

from __future__ import annotations

from .._lazy import lazy
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
    from ._replay import Replay, replay
    from ._selftest import run_benches, run_tests
    from ._tape import Recorder

_LAZY = {
    "Child": "_child",
    "Recorder": "_tape",
    "Replay": "_replay",
    "replay": "_replay",
    "run_benches": "_selftest",
    "run_tests": "_selftest",
}

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
    "Recorder",
    "Replay",
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
    "replay",
    "run_benches",
    "run_tests",
]


__getattr__ = lazy(__name__, _LAZY)
