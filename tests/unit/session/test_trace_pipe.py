"""Lines of trace_pipe: events of every shape, losses, and what is neither."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osmia.session import _trace_pipe
from osmia.session._trace_pipe import TracePipe, parse_lost_line, parse_trace_line


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("         python3-26438   [001] ...21  5315.906570: bpf_trace_printk: hello 7",
         ("python3", 26438, 1, "...21", "5315.906570", "bpf_trace_printk", "hello 7")),
        ("           <...>-1       [000] d...1   100.000001: bpf_trace_printk: Hello, World!",
         ("<...>", 1, 0, "d...1", "100.000001", "bpf_trace_printk", "Hello, World!")),
        (" Web Content-a-3-99 [120] d..31 1.5: bpf_trace_printk: a: b-1 [2] x 3.4: c: d",
         ("Web Content-a-3", 99, 120, "d..31", "1.5", "bpf_trace_printk", "a: b-1 [2] x 3.4: c: d")),
        ("    sh-12  (     12) [003] ....1  7.000000: bpf_trace_printk: with a tgid",
         ("sh", 12, 3, "....1", "7.000000", "bpf_trace_printk", "with a tgid")),
        ("    sh-12  (-------) [003] ....1  7.000000: bpf_trace_printk: ",
         ("sh", 12, 3, "....1", "7.000000", "bpf_trace_printk", "")),
        ("          <idle>-0       [001] dNh4.  5.1: sched_wakeup: comm=x pid=1",
         ("<idle>", 0, 1, "dNh4.", "5.1", "sched_wakeup", "comm=x pid=1")),
    ],
)  # fmt: skip
def test_the_six_fields(line: str, fields: tuple[object, ...]) -> None:
    found = parse_trace_line(line)
    assert found is not None and found.line == line
    assert (found.comm, found.pid, found.cpu, found.flags, found.time, found.function, found.text) == fields


@pytest.mark.parametrize(
    "line", ["", "CPU:1 [LOST 127 EVENTS]", "# tracer: nop", "x", "-", "a-1 [x] y 1: z: w", "\x00\xff", "sh-1 [000] d"]
)
def test_lines_that_are_no_event(line: str) -> None:
    assert parse_trace_line(line) is None


def test_lost_lines() -> None:
    assert parse_lost_line("CPU:1 [LOST 127 EVENTS]") == (1, 127)
    assert parse_lost_line("CPU:12 [LOST EVENTS]\n") == (12, 0)
    assert parse_lost_line("CPU:x [LOST 1 EVENTS]") is None


def test_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before is dropped, lines may come in pieces, losses are counted, other tracers left out."""
    os.mkfifo(tmp_path / "trace_pipe")
    monkeypatch.setattr(_trace_pipe, "tracefs", lambda: str(tmp_path))
    write = os.open(tmp_path / "trace_pipe", os.O_RDWR)
    os.write(write, b"  old-1 [000] d...1 1.0: bpf_trace_printk: before\n")
    events: list[object] = []
    pipe = TracePipe(events.append)
    try:
        assert pipe.drain() == 0
        os.write(write, b"  sh-2 [000] d...1 2.0: bpf_trace_printk: on")
        assert pipe.drain() == 0
        os.write(
            write,
            b"e\nCPU:1 [LOST 127 EVENTS]\nCPU:0 [LOST EVENTS]\n  sh-2 [000] d...1 2.1: sys_enter: NR 1\n\xff\xfe\n"
            b"  sh-2 [000] d...1 2.2: bpf_trace_printk: two\n",
        )
        assert pipe.drain() == 2
        assert [getattr(e, "text", "") for e in events][0::2] == ["one", "two"]
        assert pipe.lost == 127 and "CPU 0" in events[1].text  # type: ignore[attr-defined]
    finally:
        pipe.close()
        pipe.close()
        os.close(write)
