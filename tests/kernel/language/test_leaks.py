"""What loading and killing leaves behind: nothing."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from _leaks import LeakCheck
from _tracing import start_command

import osmia
from osmia.kernel import KernelTarget

CYCLES = 10_000
KILLS = 50


def mapping_count() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.slow
def test_ten_thousand_loads() -> None:
    obj = osmia.compile('tracepoint:syscalls:sys_enter_getpgid { @[pid] = count(); printf("x"); }')
    target = KernelTarget()
    target.load(obj).close()
    before = LeakCheck()
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    mappings = mapping_count()
    for cycle in range(CYCLES):
        target.load(obj).close()
        if cycle % 1000 == 0:
            assert len(os.listdir("/proc/self/fd")) == descriptors
    assert threading.active_count() == threads
    assert mapping_count() <= mappings + 20
    assert before.leftovers() == []


def test_loads_with_attached_probes() -> None:
    before = LeakCheck()
    for _ in range(50):
        with osmia.trace(
            "tracepoint:syscalls:sys_enter_getpgid { @[pid] = count(); } interval:s:1 { print(@); }"
        ) as trace:
            trace.poll(0)
    assert before.leftovers() == []


def test_loads_that_fail_leave_nothing() -> None:
    before = LeakCheck()
    for script in (
        "BEGIN { nonsense }",
        "tracepoint:syscalls:no_such_event { @ = 1; }",
        "uprobe:/bin/true:no_such_function { @ = 1; }",
        "watchpoint:0x10:3:w { @ = 1; }",
    ):
        for _ in range(5):
            with pytest.raises(osmia.OsmiaError):
                osmia.compile(script)
    with pytest.raises(osmia.OsmiaError), osmia.trace("BEGIN { @ = 1 } interval:s:1 { @ = 2 }", pid=1 << 22):
        pass
    assert before.leftovers() == []


def test_kill_at_random_moments() -> None:
    """SIGKILL from before the first import until well after attaching: the kernel takes everything back."""
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    script = (
        'BEGIN { printf("ready\\n"); } tracepoint:syscalls:sys_enter_getpgid { @[pid] = count(); '
        "@s[kstack] = count(); } "
        "interval:ms:5 { print(@); } uprobe:libc:getpgid { @u = count(); } rawtracepoint:sys_enter { @raw = count(); }"
    )
    before = LeakCheck()
    attached = 0
    for _ in range(KILLS):
        with start_command("trace", "-e", script) as tracer:
            time.sleep(moments.uniform(0, 0.5))
            tracer.send_signal(signal.SIGKILL)
            out, _err = tracer.communicate(timeout=20)
            attached += "ready" in out
            assert tracer.returncode == -signal.SIGKILL
    assert before.leftovers() == [], f"seed {seed}"
    assert attached > 0, "no tracer came to its probes: the test killed too early"


def test_kill_of_many_at_once() -> None:
    before = LeakCheck()
    script = "tracepoint:syscalls:sys_enter_getpgid { @ = count(); }"
    with ExitStack() as stack:
        tracers = [stack.enter_context(start_command("trace", "-e", script)) for _ in range(4)]
        for tracer in tracers:
            assert tracer.stderr is not None
            assert tracer.stderr.readline().startswith("Attached")
        for tracer in tracers:
            tracer.kill()
    assert before.leftovers() == []
