from __future__ import annotations

import json

import pytest

from osmia.session import (
    Array,
    Attached,
    BenchResult,
    Cat,
    Ended,
    Enum,
    Histogram,
    Join,
    Lost,
    MapSnapshot,
    Message,
    Pointer,
    Print,
    Printf,
    RuntimeFault,
    Stack,
    Stats,
    System,
    TestResult,
    Time,
    TimeSeries,
)
from osmia.session._model import Single, record_class
from osmia.sinks import JsonSink


def show(event, **options):
    out = []
    JsonSink(out.append, **options)(event)
    return "".join(out)


def shot(entries, kind="map", scalar=False):
    return MapSnapshot("@m", kind, scalar, lambda: iter(entries))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Attached(2), '{"type": "attached_probes", "count": 2, "data": {"probes": 2}}'),
        (Printf(lambda a: 'a"\n\t\\\x01', ()), '{"type": "printf", "data": "a\\"\\n\\t\\\\\\u0001"}'),
        (Time("t"), '{"type": "time", "data": "t"}'),
        (Join("t"), '{"type": "join", "data": "t"}'),
        (Cat("t"), '{"type": "cat", "data": "t"}'),
        (System("t"), '{"type": "syscall", "data": "t"}'),
        (Print(5), '{"type": "value", "data": 5}'),
        (Print((1, "x", (True, None))), '{"type": "value", "data": [1,"x",[true,null]]}'),
        (Print(record_class("r", ("a", "b"))((1, Array((2, 3))))), '{"type": "value", "data": {"a": 1, "b": [2,3]}}'),
        (Print((1.5, Single(0.1), 1e300)), '{"type": "value", "data": [1.5,0.1,1e+300]}'),
        (Print(float("-inf")), '{"type": "value", "data": "-inf"}'),
        (Print(Pointer(50)), '{"type": "value", "data": 50}'),
        (Print(Enum(3, "X")), '{"type": "value", "data": 3}'),
        (Print(b"\x01\xffa"), '{"type": "value", "data": "\\\\x01\\\\xffa"}'),
        (Print(2**63 - 1), '{"type": "value", "data": "9223372036854775807"}'),
        (Print(2**63), '{"type": "value", "data": 9223372036854775808}'),
        (
            Message("error", "m", "stdin", 2, 3),
            '{"type": "errorf", "msg": "m", "filename": "stdin", "line": 2, "col": 3}',
        ),
        (
            RuntimeFault("Bad address", helper="probe_read_user", code=-14, file="stdin", line=1, col=87),
            '{"type": "helper_error", "msg": "Bad address", "helper": "probe_read_user", "retcode": -14, '
            '"filename": "stdin", "line": 1, "col": 87}',
        ),
        (
            RuntimeFault("div", file="f", line=1, col=2),
            '{"type": "runtime_error", "msg": "div", "filename": "f", "line": 1, "col": 2}',
        ),
        (
            Lost(3, {"begin": 3}),
            '{"type": "lost_events", "count": 3, "data": {"events": 3, "probes": {"begin": 3}}}',
        ),
        (shot([(None, 5)], scalar=True), '{"type": "map", "data": {"@m": 5}}'),
        (shot([(("a b", 2), 5), ("k", 6)]), '{"type": "map", "data": {"@m": {"a b,2": 5, "k": 6}}}'),
        (
            shot([(None, Stats(1, 2, 3))], "stats", True),
            '{"type": "stats", "data": {"@m": {"count": 1, "average": 2, "total": 3}}}',
        ),
        (
            shot([(None, Histogram(((None, 0, 1), (0, 10, 2), (10, None, 3)), step=10))], "hist", True),
            '{"type": "hist", "data": {"@m": [{"max": -1, "count": 1},{"min": 0, "max": 9, "count": 2},'
            '{"min": 10, "count": 3}]}}',
        ),
        (shot([(None, Histogram(()))], "hist", True), '{"type": "hist", "data": {"@m": []}}'),
        (BenchResult("b", 0, ("b",), 5, 6), '{"type": "benchmark_result", "data": {"b": {"average": 5, "iters": 6}}}'),
        (
            TestResult("t", 0, 1, True, 5, []),
            '{"type": "test_result", "data": {"t": {"duration": 5, "passed": true, "output": ""}}}',
        ),
    ],
)
def test_lines(event, line):
    text = show(event)
    assert text == line + "\n"
    json.loads(text)


@pytest.mark.parametrize("event", [Ended(0), shot([]), shot([], scalar=True)])
def test_nothing_to_say(event):
    assert show(event) == ""


def test_quiet():
    assert show(Attached(1), quiet=True) == ""


def test_every_line_is_json_whatever_the_bytes():
    for text in ("\udcff\udcfe", "é\udc80", "\x00\x1f\x7f", "\ud83d\ude00"):
        line = show(Print(text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")))
        line.encode()
        json.loads(line)


def test_different_keys_have_different_names():
    record = record_class("r", ("x", "y"))
    keys = [("a,b", "c"), ("a", "b,c"), ("a b", "c"), ("ab", "c"), ("a\\", "b"), ("a\\,b", ""), ("a\\\\", "b")]
    nested = [(("a,b", "c"), 1), (("a", "b,c"), 1), (record(("a,.y=b", "c")), 1), (record(("a", "b,.y=c")), 1)]
    arrays = [(Array(("a,b", "c")), 1), (Array(("a", "b,c")), 1)]
    for some in (keys, nested, arrays, ["a b", "ab", "a,b", "a\\,b"]):
        shown = json.loads(show(shot([(key, i) for i, key in enumerate(some)])))["data"]["@m"]
        assert list(shown.values()) == list(range(len(some)))
    assert list(json.loads(show(shot([(("a,b", "c"), 1), ("a, b", 2)])))["data"]["@m"]) == ["a\\,b,c", "a, b"]


def test_as_bpftrace_writes_it():
    """Keys without blanks, and null for what it cannot read (bpftrace's tests of --format json)."""
    record = record_class("Foo", ("m", "n"))
    assert show(shot([(("a b", 2), 1.5), ("a,b", 6)]), as_bpftrace=True) == (
        '{"type": "map", "data": {"@m": {"ab,2": null, "a,b": 6}}}\n'
    )
    shown = show(Print(record((2, record((5, 1.5))))), as_bpftrace=True)
    assert shown == '{"type": "value", "data": {"m": 2, "n": {"m": 5, "n": null}}}\n'


def test_stacks_and_time_series():
    text = show(shot([(Stack((1,)), 2)]))
    assert json.loads(text)["data"] == {"@m": {"\n0x1\n": 2}}
    series = TimeSeries(((500_000_000, 9), (600_000_000, None)), 100_000_000)
    points = json.loads(show(shot([(None, series)], "tseries", True)))["data"]["@m"]
    assert len(points) == 1 and points[0]["value"] == 9
    assert points[0]["interval_start"].endswith(".500000000")
