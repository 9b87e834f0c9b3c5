"""The ring buffer with 64-byte events from a tight loop of system calls: counted in batches, and as Python objects.

`seen + lost` must be what the loop made, at any rate; at half the rate that is reached nothing may be lost.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _peer import row, verdict, with_tracefs
from _workloads import Workload, build

import osmia
from osmia.session import Printf

# With its header of format id: 64 bytes. One value, seven times: helper calls would measure the program, not the ring.
VALUES = ", ".join(["args->pid"] * 7)
SCRIPT = f'tracepoint:syscalls:sys_enter_getpgid /pid == $1/ {{ printf("%d %d %d %d %d %d %d", {VALUES}); }}'


def batches(trace: osmia.Trace) -> int:
    """Take what waits in the ring without making objects; how many."""
    return sum(trace.drain(0.1).values())


def objects(trace: osmia.Trace) -> int:
    """Take what waits in the ring, each event a Python object; how many."""
    return sum(type(event) is Printf for event in trace.poll(0.1))


def measure(take: Callable[[osmia.Trace], int], storm: Path, calls: int, rate: int) -> tuple[float, int, int]:
    """(events a second, seen, lost) while the storm makes that many calls, flat out when `rate` is 0."""
    with Workload([str(storm), "1", str(calls), str(rate)]) as load, osmia.trace(SCRIPT, str(load.pid)) as t:
        seen = 0
        load.release()
        began = last = time.perf_counter()
        while True:
            running = load.running
            got = take(t)
            if got:
                seen += got
                last = time.perf_counter()
            elif not running:
                break
        load.result()
        return seen / (last - began), seen, sum(t.lost.values())


def main() -> int:
    with_tracefs()
    good = []
    row("", "events/s", "seen", "lost")
    with tempfile.TemporaryDirectory() as folder:
        storm = build("storm.c", Path(folder))
        for name, take, calls, goal in (("batches", batches, 5_000_000, 2e6), ("objects", objects, 1_000_000, 5e5)):
            flat = [measure(take, storm, calls, 0) for _ in range(3)]
            half = measure(take, storm, calls // 2, int(goal / 2))
            for what, result in (("flat out", flat[0]), ("half the goal's rate", half)):
                row(f"{name}, {what}", *result)
            good += [
                verdict(f"{name}, events/s", statistics.median(r[0] for r in flat), goal, least=True),
                verdict(f"{name}, lost at half the rate", half[2], 0),
                verdict(f"{name}, unaccounted", max(abs(calls - r[1] - r[2]) for r in flat), 0),
            ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
