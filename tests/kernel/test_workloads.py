"""The workloads themselves, and the leak check, judged without any tracer."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from _leaks import LeakCheck, _bpf
from _workloads import Workload, WorkloadError

Start = Callable[..., Workload]
BPF_MAP_CREATE = 0


@pytest.mark.parametrize(
    "argv, counts",
    [
        (("opens", "/etc/hostname", 5), {"openat": 5, "failed": 0}),
        (("opens", "/nonexistent/bee", 3), {"openat": 3, "failed": 3, "errno": 2}),
        (("reads", 77, 9), {"read": 9, "bytes": 693}),
        (("writes", 77, 9), {"write": 9, "bytes": 693}),
        (("sizes", 1, 2, 4096), {"write": 3, "bytes": 4099}),
        (("forks", 9), {"fork": 9, "statuses": [0, 1, 2, 3, 4, 5, 6, 0, 1]}),
        (("execs", 2), {"execve": 2}),
        (("connects", 4), {"connect": 4, "accept4": 4}),
        (("refusals", 3), {"connect": 3, "refused": 3}),
        (("signals", 4), {"kill": 4, "handled": 4}),
    ],
)
def test_activity_reports_what_it_did(workload: Start, argv: tuple[object, ...], counts: dict[str, object]) -> None:
    done = workload(*argv).finish()
    assert {key: done[key] for key in counts} == counts


def test_page_faults_are_at_least_the_touched_pages(workload: Start) -> None:
    done = workload("faults", 500).finish()
    assert 500 <= done["minflt"] < 600


def test_burner_uses_the_cpu_time_it_was_asked_for(workload: Start) -> None:
    assert 20e6 <= workload("burns", 20).finish()["cpu_ns"] < 200e6


def test_a_workload_that_dies_says_so(workload: Start) -> None:
    dying = workload("dies", int(signal.SIGTERM))
    with pytest.raises(WorkloadError, match="-15"):
        dying.finish()
    assert dying.wait() == -signal.SIGTERM


@pytest.mark.parametrize(
    "name, args, counts",
    [
        ("calls.c", (10,), {"calls": 10, "inner": 20, "add": 145, "outer": 240, "fibonacci": 55, "calls_made": 10}),
        ("shop.cpp", (5,), {"total": 30, "largest": 25}),
        ("usdt.c", (7,), {"calls": 7, "odd": 3, "enabled": 0}),
        ("threads.c", (3, 10), {"threads": 3, "steps": 30, "sums": [45, 55, 65]}),
        ("storm.c", (2, 1000), {"getpgid": 2000}),
    ],
)
def test_compiled_workloads(program: Start, name: str, args: tuple[int, ...], counts: dict[str, object]) -> None:
    done = program(name, *args).finish()
    assert {key: done[key] for key in counts} == counts


def test_the_leak_check_sees_descriptors_and_maps() -> None:
    before = LeakCheck()
    attr = b"".join(n.to_bytes(4, "little") for n in (2, 4, 8, 1))  # array, key 4, value 8, one entry
    map_fd, _ = _bpf(BPF_MAP_CREATE, attr)
    assert map_fd >= 0
    left, right = socket.socketpair()
    try:
        found = before.leftovers()
    finally:
        os.close(map_fd)
        left.close()
        right.close()
    assert sum("socket" in line for line in found) == 2
    assert any("bpf-map" in line for line in found)
    assert any(line.startswith("BPF map ") for line in found)
    assert before.leftovers() == []


def test_tracefs_is_there(tracefs: Path) -> None:
    assert (tracefs / "events/syscalls/sys_enter_openat/format").is_file()
