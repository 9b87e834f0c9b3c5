"""What a session hands to sinks and to users of the library."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class Event:
    """Base of all events. `probe` is the probe that made it, "" where the script does not record it."""

    __slots__ = ()
    probe: str = ""


class Printf(Event):
    """`printf()`: `args` are the values as Python objects, `text` the formatted text (made on first use)."""

    __slots__ = ("_format", "_text", "args", "probe")

    def __init__(self, format: Callable[[tuple[Any, ...]], str], args: tuple[Any, ...], probe: str = "") -> None:
        self._format = format
        self.args = args
        self.probe = probe

    @property
    def text(self) -> str:
        try:
            return self._text
        except AttributeError:
            self._text: str = self._format(self.args)
            return self._text

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_printf, (self.text, self.args, self.probe)

    def __repr__(self) -> str:
        return f"Printf({self.text!r}, args={self.args!r})"


def _restore_printf(text: str, args: tuple[Any, ...], probe: str) -> Printf:
    return Printf(lambda _args: text, args, probe)


class Message(Event):
    """`errorf()` (severity "error") or `warnf()` ("warning") with the place of the call in the script.

    `trail` tells the places of the macros around it, as messages do.
    """

    __slots__ = ("col", "end_col", "file", "line", "severity", "text", "trail")

    def __init__(
        self,
        severity: str,
        text: str,
        file: str = "",
        line: int = 0,
        col: int = 0,
        end_col: int = 0,
        trail: str = "",
    ) -> None:
        self.severity = severity
        self.text = text
        self.file = file
        self.line = line
        self.col = col
        self.end_col = end_col
        self.trail = trail

    def __repr__(self) -> str:
        return f"Message({self.severity!r}, {self.text!r})"


class RuntimeFault(Event):
    """A helper failed, or the script did something undefined, at a place of the script.

    `helper` is the helper's name ("" when it is no helper), `code` its return value (0 or minus an errno).
    """

    __slots__ = ("code", "col", "end_col", "file", "helper", "line", "source", "text")

    def __init__(
        self,
        text: str,
        *,
        helper: str = "",
        code: int = 0,
        file: str = "",
        line: int = 0,
        col: int = 0,
        end_col: int = 0,
        source: str = "",
    ) -> None:
        self.text = text
        self.helper = helper
        self.code = code
        self.file = file
        self.line = line
        self.col = col
        self.end_col = end_col
        self.source = source

    def __repr__(self) -> str:
        return f"RuntimeFault({self.text!r}, helper={self.helper!r}, code={self.code})"


class Print(Event):
    """`print(value)`."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Print({self.value!r})"


class MapSnapshot(Event):
    """A map's contents when `print(@map)` was called, or when the trace ended.

    `kind` is map, hist, stats or tseries; `scalar` says that the map has no key. `entries()` yields (key, value)
    in printing order and looks up names as it goes, so that the first line of a large map of stacks is out at once.
    `columns` are all keys and all values, where keys are plain numbers or texts and values plain numbers; else None.
    """

    __slots__ = ("_entries", "columns", "kind", "name", "scalar")

    def __init__(
        self,
        name: str,
        kind: str,
        scalar: bool,
        entries: Callable[[], Iterator[tuple[Any, Any]]],
        columns: tuple[list[Any], list[int]] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.scalar = scalar
        self._entries = entries
        self.columns = columns

    def entries(self) -> Iterator[tuple[Any, Any]]:
        return self._entries()

    @property
    def value(self) -> Any:
        """The value of a scalar map (None when it has none); a dict otherwise."""
        if not self.scalar:
            return dict(self._entries())
        return next((value for _key, value in self._entries()), None)

    def __reduce__(self) -> tuple[Any, ...]:
        return fixed_snapshot, (self.name, self.kind, self.scalar, list(self._entries()), self.columns)

    def __repr__(self) -> str:
        return f"MapSnapshot({self.name!r}, {self.value!r})"


def fixed_snapshot(
    name: str,
    kind: str,
    scalar: bool,
    entries: list[tuple[Any, Any]],
    columns: tuple[list[Any], list[int]] | None = None,
) -> MapSnapshot:
    """A snapshot of these entries."""
    return MapSnapshot(name, kind, scalar, lambda: iter(entries), columns)


class Text(Event):
    """Base of events that are one text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


class Time(Text):
    """`time()`: the formatted wall-clock time."""

    __slots__ = ()


class Join(Text):
    """`join()`: the joined strings."""

    __slots__ = ()


class Cat(Text):
    """`cat()`: what the file held."""

    __slots__ = ()


class System(Text):
    """`system()`: what the command wrote."""

    __slots__ = ()


class RingRecord(Event):
    """A record of the ring buffer or perf event array `name` of a C program: its value, or its bytes."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def __repr__(self) -> str:
        return f"RingRecord({self.name!r}, {self.value!r})"


class TraceLine(Text):
    """A line that a program wrote with bpf_trace_printk(): `text`, and what the kernel puts before it.

    `time` is seconds of the trace clock, as text; `line` the whole line.
    """

    __slots__ = ("comm", "cpu", "flags", "function", "line", "pid", "time")

    def __init__(
        self, text: str, comm: str, pid: int, cpu: int, flags: str, time: str, function: str, line: str
    ) -> None:
        super().__init__(text)
        self.comm = comm
        self.pid = pid
        self.cpu = cpu
        self.flags = flags
        self.time = time
        self.function = function
        self.line = line


class Attached(Event):
    """All probes are attached; `count` of them."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count

    def __repr__(self) -> str:
        return f"Attached({self.count})"


class Lost(Event):
    """Events that did not fit the buffer since the last report: `count` in all, `by_probe` where known."""

    __slots__ = ("by_probe", "count")

    def __init__(self, count: int, by_probe: dict[str, int]) -> None:
        self.count = count
        self.by_probe = by_probe

    def __repr__(self) -> str:
        return f"Lost({self.count}, {self.by_probe})"


class Ended(Event):
    """The trace is over; final map snapshots follow. `status` is what `exit(status)` said, else 0."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status = status

    def __repr__(self) -> str:
        return f"Ended({self.status})"


class TestResult(Event):
    """A `test:` probe ran: `duration` in nanoseconds, `events` what it made; it is number `index` of `total`."""

    __slots__ = ("duration", "events", "index", "name", "passed", "total")
    __test__ = False  # not a test class, whatever its name says

    def __init__(self, name: str, index: int, total: int, passed: bool, duration: int, events: list[Event]) -> None:
        self.name = name
        self.index = index
        self.total = total
        self.passed = passed
        self.duration = duration
        self.events = events

    def __repr__(self) -> str:
        return f"TestResult({self.name!r}, passed={self.passed})"


class BenchResult(Event):
    """A `bench:` probe ran `iterations` times, `average` nanoseconds each. `names` are all that will run."""

    __slots__ = ("average", "index", "iterations", "name", "names")

    def __init__(self, name: str, index: int, names: tuple[str, ...], average: int, iterations: int) -> None:
        self.name = name
        self.index = index
        self.names = names
        self.average = average
        self.iterations = iterations

    def __repr__(self) -> str:
        return f"BenchResult({self.name!r}, {self.average} ns x {self.iterations})"
