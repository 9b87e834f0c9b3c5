"""Events as text, as the bpftrace language prints them: data on one stream, talk on another."""

from __future__ import annotations

from ..session import (
    Attached,
    BenchResult,
    Cat,
    Ended,
    Event,
    Histogram,
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
    Time,
    TimeSeries,
    TraceLine,
    render,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BAR = 52
LINES = 2000  # of a map of numbers that are written at once
E2BIG, ENOENT = 7, 2


class TextSink:
    """Writes events to `out` (data) and `err` (talk); both are functions that take text.

    `quiet` leaves out the line that counts attached probes. `paint(text, colour)` colours messages, or is None.
    """

    def __init__(
        self,
        out: Callable[[str], object],
        err: Callable[[str], object],
        *,
        quiet: bool = False,
        paint: Callable[[str, str], str] | None = None,
    ) -> None:
        self._out = out
        self._err = err
        self._quiet = quiet
        self._paint = paint or (lambda text, _colour: text)
        self._failed: list[str] = []
        self._handlers: dict[type, Callable[[Any], object]] = {
            Print: lambda e: out(self._print(e.value)),
            MapSnapshot: self._map,
            Time: lambda e: out(e.text),
            Join: lambda e: out(e.text + "\n"),
            Cat: lambda e: out(e.text),
            System: lambda e: out(e.text + "\n"),
            Message: self._message,
            RuntimeFault: self._fault,
            Attached: self._attached,
            Lost: self._lost,
            Ended: lambda e: out("\n\n"),
            RingRecord: lambda e: out(f"{e.name}: {record_text(e.value)}\n"),
            TraceLine: lambda e: out(e.line + "\n"),
            TestResult: self._test_result,
            BenchResult: self._bench_result,
        }

    def __call__(self, event: Event) -> None:
        if isinstance(event, Printf):
            self._out(event.text)
            return
        self._handlers[type(event)](event)

    def _print(self, value: Any) -> str:
        if type(value) is Histogram:
            return histogram(value) + "\n"
        return render(value) + "\n"

    def _map(self, shot: MapSnapshot) -> None:
        if shot.columns:
            self._rows(shot.name, *shot.columns)
            return
        out = self._out
        for key, value in shot.entries():
            place = shot.name if shot.scalar else f"{shot.name}[{key_text(key)}]"
            if type(value) is Histogram:
                out(f"{place}:\n{histogram(value)}\n")
            elif type(value) is TimeSeries:
                from ._series import time_series

                out(f"{place}:\n{time_series(value)}\n")
            else:
                out(f"{place}: {render(value)}\n")

    def _rows(self, name: str, keys: list[Any], values: list[int]) -> None:
        """A map of numbers: a call for each key or value would take longer than all the rest."""
        ends = {value: f"]: {value}\n" for value in set(values)}
        for at in range(0, len(keys), LINES):
            rows = zip(keys[at : at + LINES], values[at : at + LINES])
            self._out("".join([f"{name}[{key}{ends[value]}" for key, value in rows]))

    def _attached(self, event: Attached) -> None:
        if not self._quiet:
            self._err(f"Attached {event.count} probe{'' if event.count == 1 else 's'}\n")

    def _lost(self, event: Lost) -> None:
        self._err(f"Lost {event.count} events\n")
        for probe, count in event.by_probe.items():
            if probe:
                self._err(f"  {count} by {probe}\n")

    def _message(self, event: Message) -> None:
        self._say(event.severity, event.text, event)
        if event.trail:
            self._err(event.trail + "\n")

    def _fault(self, event: RuntimeFault) -> None:
        text = event.text
        if event.helper:
            text = f"{fault_text(event)}\nAdditional Info - helper: {event.helper}, retcode: {event.code}"
        self._say("warning", text, event)
        if event.source:
            marker = " " * (event.col - 1) + "~" * max(1, event.end_col - event.col)
            self._err(f"{event.source}\n{marker}\n")

    def _say(self, severity: str, text: str, at: Message | RuntimeFault) -> None:
        place = f"{at.file}:{at.line}:{at.col}-{max(at.end_col, at.col + 1)}: " if at.line else ""
        if text.endswith("\n"):
            text = text[:-1]
        colour = "red" if severity == "error" else "yellow"
        self._err(self._paint(f"{place}{severity.upper()}: {text}", colour) + "\n")

    def _test_result(self, event: TestResult) -> None:
        out = self._out
        if event.index == 0:
            self._failed = []
            out(f"\033[32m[==========]\033[0m Running {event.total} tests.\n")
        out(f"\033[32m[ RUN      ]\033[0m {event.name}\n")
        if event.passed:
            out(f"\033[32m[       OK ]\033[0m {event.name}")
        else:
            self._failed.append(event.name)
            said: list[str] = []
            inner = TextSink(said.append, said.append)
            for each in event.events:
                inner(each)
            out("".join(line + "\n" for line in "".join(said).split("\n") if line))
            out(f"\033[31m[  FAILED  ]\033[0m {event.name}")
        out(f" ({duration_text(event.duration)})\n")
        if event.index == event.total - 1:
            self._test_summary(event.total)

    def _test_summary(self, total: int) -> None:
        out, failed = self._out, self._failed
        out(f"\033[32m[==========]\033[0m {_tests(total)} ran.\n")
        out(f"\033[32m[  PASSED  ]\033[0m {_tests(total - len(failed))}.\n")
        if failed:
            out(f"\033[31m[  FAILED  ]\033[0m {_tests(len(failed))}, listed below:\n")
            for name in failed:
                out(f"\033[31m[  FAILED  ]\033[0m {name}\n")

    def _bench_result(self, event: BenchResult) -> None:
        wide = max(40, *(len(name) for name in event.names))
        if event.index == 0:
            self._out(f"{'Benchmark':<{wide + 1}}{'Time(ns)':<15}Iterations\n")
            self._out("-" * (wide + 1 + 15 + len("Iterations")) + "\n")
        self._out(f"{event.name:<{wide + 1}}{event.average:<15}{event.iterations}\n")


def _tests(count: int) -> str:
    return f"{count} test" if count == 1 else f"{count} tests"


def duration_text(nanoseconds: int) -> str:
    """A duration in the largest unit of which it has at least one."""
    for size, unit in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")):
        if nanoseconds >= size:
            return f"{nanoseconds // size} {unit}"
    return f"{nanoseconds} ns"


def fault_text(event: RuntimeFault) -> str:
    """What a failed helper means to the author of the script."""
    if event.helper == "map_update_elem" and event.code == -E2BIG:
        return (
            "Map full; can't update element. Try increasing max_map_keys config or manually setting the max entries "
            "in a map declaration e.g. `let @a = hash(5000)`"
        )
    if event.helper == "map_delete_elem" and event.code == -ENOENT:
        return "Can't delete map element because it does not exist."
    if event.helper == "map_lookup_elem":
        return "Can't lookup map element because it does not exist."
    return event.text


def record_text(value: Any) -> str:
    """A record of a ring buffer: its bytes in hexadecimal where their type is not known."""
    return value.hex(" ") if isinstance(value, bytes) else render(value)


def key_text(key: Any) -> str:
    """A map's key as it stands between the brackets: a tuple without its parentheses."""
    text = render(key)
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text


def histogram(h: Histogram) -> str:
    """One line a bucket: range, count, bar."""
    lines = []
    most = max((count for _low, _high, count in h.buckets), default=0)
    for low, high, count in h.buckets:
        bar = "@" * (count * BAR // most if most else 0)
        lines.append(f"{_range(h, low, high):<16}{count:>8} |{bar:<{BAR}}|\n")
    return "".join(lines)


def _range(h: Histogram, low: int | None, high: int | None) -> str:
    if low is None:
        return f"(..., {_label(h, high or 0)})"
    if high is None:
        return f"[{_label(h, low)}, ...)"
    if high == low + 1 and not (h.bits < 0 and h.step % 1024 == 0):
        return f"[{low}]"
    return f"[{_label(h, low)}, {_label(h, high)})"


def _label(h: Histogram, value: int) -> str:
    """A bound, with K, M, ... where the bucket's own power of two reaches 2**10, 2**20, ..."""
    if h.bits < 0:
        if h.step % 1024 or not value:
            return str(value)
        if value % (1 << 20) == 0:
            return f"{value >> 20}M"
        return f"{value >> 10}K" if value % 1024 == 0 else str(value)
    if value <= 2 << h.bits:
        return str(value)
    decade = (value.bit_length() - 1 - h.bits) // 10
    return f"{value >> 10 * decade}{' KMGTPE'[decade].strip()}"
