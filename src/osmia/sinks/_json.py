"""Events as NDJSON: one object a line, {"type": ..., "data": ...}.

Numbers that a double cannot hold exactly are written as strings (RFC 8259, section 6: readers use doubles).
"""

from __future__ import annotations

from ..session import (
    Array,
    Attached,
    BenchResult,
    Cat,
    Ended,
    Enum,
    Event,
    Histogram,
    Join,
    Lost,
    MapSnapshot,
    Message,
    Pointer,
    Print,
    Printf,
    Record,
    RingRecord,
    RuntimeFault,
    Stats,
    System,
    TestResult,
    Time,
    TimeSeries,
    TraceLine,
    render,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
ESCAPES |= {chr(c): f"\\u{c:04x}" for c in range(32) if chr(c) not in ESCAPES}
TABLE = str.maketrans(ESCAPES)


class JsonSink:
    """Writes events to `out`, a function that takes text.

    With `as_bpftrace`, keys lose their blanks, commas in texts of a key look as those between them, and floating-point
    numbers are null: what bpftrace writes, where different keys can have one name.
    """

    def __init__(self, out: Callable[[str], object], *, quiet: bool = False, as_bpftrace: bool = False) -> None:
        self._out = out
        write = _without_floats if as_bpftrace else to_json
        self._quiet = quiet
        self._handlers: dict[type, Callable[[Any], str]] = {
            Print: lambda e: line("value", write(e.value)),
            MapSnapshot: lambda e: _map(e, key_text if as_bpftrace else key_name, write),
            Time: lambda e: line("time", string(e.text)),
            Join: lambda e: line("join", string(e.text)),
            Cat: lambda e: line("cat", string(e.text)),
            System: lambda e: line("syscall", string(e.text)),
            Message: _message,
            RuntimeFault: _fault,
            Attached: lambda e: "" if quiet else counted("attached_probes", "probes", e.count),
            Lost: _lost,
            Ended: lambda e: "",
            RingRecord: _record,
            TraceLine: lambda e: line("trace_pipe", members([(name, getattr(e, name)) for name in TRACE_LINE])),
            TestResult: _test_result,
            BenchResult: lambda e: line(
                "benchmark_result", named(e.name, members((("average", e.average), ("iters", e.iterations))))
            ),
        }

    def __call__(self, event: Event) -> None:
        if isinstance(event, Printf):
            self._out(line("printf", string(event.text)))
            return
        text = self._handlers[type(event)](event)
        if text:
            self._out(text)


TRACE_LINE = ("comm", "pid", "cpu", "flags", "time", "function", "text")


def _record(event: RingRecord) -> str:
    value = event.value
    return line("record", named(event.name, to_json(value.hex(" ") if isinstance(value, bytes) else value)))


def line(kind: str, data: str) -> str:
    return f'{{"type": "{kind}", "data": {data}}}\n'


def named(name: str, value: str) -> str:
    return f"{{{string(name)}: {value}}}"


def counted(kind: str, name: str, count: int) -> str:
    return f'{{"type": "{kind}", "count": {count}, "data": {{"{name}": {count}}}}}\n'


def _lost(event: Lost) -> str:
    probes = members(event.by_probe.items())
    data = f'{{"events": {event.count}, "probes": {probes}}}'
    return f'{{"type": "lost_events", "count": {event.count}, "data": {data}}}\n'


def _map(shot: MapSnapshot, name_of: Callable[[Any], str], write: Callable[[Any], str]) -> str:
    if shot.scalar:
        for _key, value in shot.entries():
            return line(shot.kind, named(shot.name, write(value)))
        return ""
    rows = [f"{string(name_of(key))}: {write(value)}" for key, value in shot.entries()]
    return line(shot.kind, named(shot.name, "{" + ", ".join(rows) + "}")) if rows else ""


def _place(event: Message | RuntimeFault) -> str:
    return f'"filename": {string(event.file)}, "line": {event.line}, "col": {event.col}'


def _message(event: Message) -> str:
    kind = "errorf" if event.severity == "error" else "warnf"
    return f'{{"type": "{kind}", "msg": {string(event.text)}, {_place(event)}}}\n'


def _fault(event: RuntimeFault) -> str:
    if event.helper:
        what = f'"helper": {string(event.helper)}, "retcode": {event.code}, '
        return f'{{"type": "helper_error", "msg": {string(event.text)}, {what}{_place(event)}}}\n'
    return f'{{"type": "runtime_error", "msg": {string(event.text)}, {_place(event)}}}\n'


def _test_result(event: TestResult) -> str:
    from ._text import TextSink

    said: list[str] = []
    inner = TextSink(said.append, said.append)
    for each in event.events:
        inner(each)
    data = members((("duration", event.duration), ("passed", event.passed), ("output", "".join(said))))
    return line("test_result", named(event.name, data))


def key_name(key: Any) -> str:
    """A key as the name of a JSON member, which no other key of the map has.

    A tuple's parts are joined by commas; a comma or backslash in a text of it has a backslash before it.
    """
    return ",".join([_part(v) for v in key]) if type(key) is tuple else key if type(key) is str else _part(key)


def _part(value: Any) -> str:
    if type(value) is str:
        return value.replace("\\", "\\\\").replace(",", "\\,")
    if type(value) is tuple:
        return "(" + ",".join([_part(v) for v in value]) + ")"
    if isinstance(value, Record):
        return "{" + ",".join([f".{n}={_part(v)}" for n, v in zip(value._fields, value)]) + "}"
    if isinstance(value, Array):
        return "[" + ",".join([_part(v) for v in value]) + "]"
    return render(value).replace(" ", "")


def key_text(key: Any) -> str:
    """A key as bpftrace names it: a tuple without parentheses, and without blanks."""
    text = render(key)
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    return text.replace(" ", "")


def string(text: str) -> str:
    """A JSON string. Bytes that were no UTF-8 become U+FFFD: a line is always valid JSON."""
    if not text.isascii():
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return f'"{text.translate(TABLE)}"'


def number(value: int) -> str:
    return str(value) if int(float(value)) == value else f'"{value}"'


def members(pairs: Iterable[tuple[str, Any]]) -> str:
    return "{" + ", ".join([f"{string(name)}: {to_json(value)}" for name, value in pairs]) + "}"


def to_json(value: Any) -> str:
    """Any decoded value. Pointers and enumerations are numbers, buffers the text that `print` shows of them."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Pointer, Enum, int)):
        return number(int(value))
    if isinstance(value, str):
        return string(value)
    if isinstance(value, float):
        return str(value) if value - value == 0 else string(str(value))  # JSON has no infinity, and no "not a number"
    if isinstance(value, bytes):
        return string(render(value))
    if isinstance(value, Record):
        return members(zip(value._fields, value))
    if isinstance(value, (Array, tuple)):
        return "[" + ",".join([to_json(v) for v in value]) + "]"
    if isinstance(value, Stats):
        return members((("count", value.count), ("average", value.average), ("total", value.total)))
    if isinstance(value, Histogram):
        return "[" + ",".join([_bucket(*bucket) for bucket in value.buckets]) + "]"
    if isinstance(value, TimeSeries):
        from ._series import json_points

        return json_points(value)
    return string(str(value))


def _without_floats(value: Any) -> str:
    return to_json(_nulled(value))


def _nulled(value: Any) -> Any:
    if isinstance(value, float):
        return None
    return tuple.__new__(type(value), [_nulled(v) for v in value]) if isinstance(value, tuple) else value


def _bucket(low: int | None, high: int | None, count: int) -> str:
    bounds = (("min", low), ("max", None if high is None else high - 1))
    return "{" + "".join([f'"{n}": {number(b)}, ' for n, b in bounds if b is not None]) + f'"count": {count}}}'
