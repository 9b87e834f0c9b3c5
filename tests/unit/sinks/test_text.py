from __future__ import annotations

import pytest

from osmia.session import (
    Attached,
    BenchResult,
    Cat,
    Ended,
    Histogram,
    Join,
    Lost,
    MapSnapshot,
    Message,
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
from osmia.sinks import TextSink


def show(*events, **options):
    out, err = [], []
    sink = TextSink(out.append, err.append, **options)
    for event in events:
        sink(event)
    return "".join(out), "".join(err)


def shot(entries, kind="map", scalar=False, name="@m"):
    return MapSnapshot(name, kind, scalar, lambda: iter(entries))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Printf(lambda args: f"<{args[0]}>", (3,)), "<3>"),
        (Print((1, "a")), "(1, a)\n"),
        (Time("12:00\n"), "12:00\n"),
        (Join("a b"), "a b\n"),
        (Cat("text"), "text"),
        (System("out\n"), "out\n\n"),
        (Ended(0), "\n\n"),
        (shot([(None, 5)], scalar=True), "@m: 5\n"),
        (shot([(1, 5), (2, 6)]), "@m[1]: 5\n@m[2]: 6\n"),
        (shot([((1, "a b"), 5)]), "@m[1, a b]: 5\n"),
        (shot([("(", 5)]), "@m[(]: 5\n"),
        (shot([((), Stats(1, 2, 3))]), "@m[]: { .count = 1, .average = 2, .total = 3 }\n"),
        (shot([(Stack((1, 2)), 5)]), "@m[\n        0x1\n        0x2\n]: 5\n"),
        (shot([]), ""),
    ],
)
def test_data(event, text):
    assert show(event) == (text, "")


def test_histograms():
    h = Histogram(
        ((None, 0, 1), (0, 1, 0), (1, 2, 0), (2, 4, 2), (512, 1024, 1), (1024, 2048, 2), (1 << 20, 1 << 21, 1)), bits=0
    )
    out, _ = show(shot([(None, h)], scalar=True))
    half, full, none = "@" * 26 + " " * 26, "@" * 52, " " * 52
    assert out.split("\n") == [
        "@m:",
        f"(..., 0)               1 |{half}|",
        f"[0]                    0 |{none}|",
        f"[1]                    0 |{none}|",
        f"[2, 4)                 2 |{full}|",
        f"[512, 1K)              1 |{half}|",
        f"[1K, 2K)               2 |{full}|",
        f"[1M, 2M)               1 |{half}|",
        "",
        "",
    ]
    keyed, _ = show(shot([("k", Histogram(((None, 0, 4), (0, 2048, 0), (4096, None, 1)), step=2048))]))
    assert keyed.startswith("@m[k]:\n(..., 0)               4 |")
    assert "\n[0, 2K)                0 |" in keyed
    assert "\n[4K, ...)              1 |@@@@@@@@@@@@@  " in keyed
    fine, _ = show(Print(Histogram(((1024, 1152, 1),), bits=3)))
    assert fine.startswith("[1024, 1152)           1 |")


def test_talk_goes_to_the_other_stream():
    assert show(Attached(1)) == ("", "Attached 1 probe\n")
    assert show(Attached(2)) == ("", "Attached 2 probes\n")
    assert show(Attached(2), quiet=True) == ("", "")
    assert show(Lost(5, {"begin": 5})) == ("", "Lost 5 events\n  5 by begin\n")
    assert show(Message("error", "bad\n", "stdin", 1, 3, 9)) == ("", "stdin:1:3-9: ERROR: bad\n")
    assert show(Message("warning", "hm")) == ("", "WARNING: hm\n")
    painted = show(Message("warning", "hm"), paint=lambda text, colour: f"<{colour}>{text}")
    assert painted == ("", "<yellow>WARNING: hm\n")


def test_faults_show_their_place():
    fault = RuntimeFault(
        "Bad address", helper="probe_read_user", code=-14, file="stdin", line=1, col=3, end_col=5, source="a bc d"
    )
    assert show(fault)[1] == (
        "stdin:1:3-5: WARNING: Bad address\nAdditional Info - helper: probe_read_user, retcode: -14\na bc d\n  ~~\n"
    )
    full = RuntimeFault("x", helper="map_update_elem", code=-7, file="f", line=1, col=1)
    assert "Map full; can't update element" in show(full)[1]


def test_tests_and_benchmarks():
    out, _ = show(
        TestResult("a", 0, 2, True, 1500, []),
        TestResult("b", 1, 2, False, 10, [Message("error", "broken")]),
    )
    assert "[       OK ]\033[0m a (1 us)" in out
    assert "ERROR: broken\n\033[31m[  FAILED  ]\033[0m b (10 ns)" in out
    assert "1 test, listed below" in out
    out, _ = show(BenchResult("x", 0, ("x",), 26, 4000))
    assert out.split("\n")[2].split() == ["x", "26", "4000"]


def test_time_series(monkeypatch):
    series = TimeSeries(((0, 0), (100_000_000, 5), (200_000_000, None)), 100_000_000)
    out, _ = show(shot([(None, series)], scalar=True))
    lines = out.split("\n")
    assert lines[0] == "@m:"
    assert lines[1] == " " * 13 + "0" + " " * 51 + "5"
    assert lines[2] == "hh:mm:ss.ms  |" + "_" * 51 + "|"
    assert lines[3].endswith("00.000 *" + " " * 51 + "| 0")
    assert lines[4].endswith(".100 |" + " " * 51 + "* 5")
    assert lines[5].endswith("| -")
    assert lines[6] == " " * 13 + "v" + "_" * 51 + "v"
    assert show(shot([(None, TimeSeries((), 1))], scalar=True))[0] == "@m:\n<no data>\n"


def test_a_large_map_is_written_while_it_is_read():
    written = []

    def entries():
        yield 1, 1
        assert written == ["@m[1]: 1\n"]
        yield 2, 2

    TextSink(written.append, written.append)(MapSnapshot("@m", "map", False, entries))
    assert len(written) == 2
