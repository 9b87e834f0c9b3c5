"""64-byte events from a tight loop of system calls: counted in batches, and as Python objects.

The producer makes getpgid() calls without end; a raw tracepoint writes a record of 64 bytes (format id and seven
numbers) for each. The producer's own speed, without and with the probe, limits what can come through; so the reader's
CPU time for each event is shown too: what it could take with faster producers, or more of them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from _peer import ROOT, row, verdict, with_tracefs

sys.path.insert(0, str(ROOT / "src"))

SCRIPT = """
config = { perf_rb_pages = PAGES }
rawtracepoint:sys_enter /pid == $1/ {
    printf("%lu %lu %lu %lu %lu %lu %lu\\n", nsecs, arg1, arg0, 4, 5, 6, 7);
    COUNT
}
"""
THREADS = os.cpu_count() or 1  # the reader needs a tenth of one
COUNTED, OBJECTS = 2_000_000, 500_000  # goals, events a second
CALLS = {"count": 4_000_000, "objects": 1_000_000, "overload": 1_000_000}


class Run(NamedTuple):
    made: int
    seen: int
    lost: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.seen / self.seconds

    @property
    def capacity(self) -> float:
        return self.seen / self.cpu_seconds


def run(program: Path, how: str, calls: int, rate: int = 0, pages: int = 4096) -> Run:
    """Trace one storm of `calls` calls at `rate` a second (0: flat out, and not counted in the kernel besides)."""
    from _workloads import Workload

    import osmia
    from osmia.session import Printf

    balance = bool(rate) or how == "overload"
    script = SCRIPT.replace("PAGES", str(pages)).replace("COUNT", "@made = count();" if balance else "")
    threads = 1 if rate else THREADS
    command = [str(program), str(threads), str(calls // threads), str(rate)]
    with Workload(command) as storm, osmia.trace(script, str(storm.pid)) as t:
        seen = 0
        began, cpu = time.perf_counter(), time.process_time()
        last = began
        storm.release()
        while True:
            running = storm.running
            if how == "count":
                got = sum(t.drain(0.05).values())
            else:
                got = sum(isinstance(event, Printf) for event in t.poll(0.05))
            if got:
                seen, last = seen + got, time.perf_counter()
            elif not running:
                break
            if how == "overload":
                time.sleep(0.05)
        cpu = time.process_time() - cpu
        lost = sum(t.lost.values())
        made = t.maps["@made"].value if balance else seen + lost
        return Run(made, seen, lost, last - began, cpu)


def untraced(program: Path, calls: int) -> float:
    """Calls a second without any probe."""
    from _workloads import Workload

    with Workload([str(program), str(THREADS), str(calls // THREADS)]) as storm:
        done = storm.finish()
        return float(done["getpgid"] / done["seconds"])


def main() -> int:
    with_tracefs()
    sys.path.insert(0, str(ROOT / "tests"))
    from _workloads import build

    if not shutil.which("gcc"):
        sys.exit("this benchmark compiles its producer: gcc is not installed (apt-get install gcc)")
    good = []
    with tempfile.TemporaryDirectory() as folder:
        program = build("storm.c", Path(folder), "-O2")
        bare = untraced(program, CALLS["count"])
        runs = {
            "counted, flat out": run(program, "count", CALLS["count"]),
            "counted, at half the goal": run(program, "count", CALLS["count"] // 2, COUNTED // 2),
            "objects, flat out": run(program, "objects", CALLS["objects"]),
            "objects, at half the goal": run(program, "objects", CALLS["objects"] // 2, OBJECTS // 2),
            "objects, small ring, slow reader": run(program, "overload", CALLS["overload"], pages=64),
        }
    print(f"the producer makes {bare:,.0f} calls a second without a probe ({THREADS} thread(s))")
    row("", "made", "seen", "lost", "events/s", "CPU ns/event")
    for name, result in runs.items():
        row(name, result.made, result.seen, result.lost, round(result.rate), result.cpu_seconds / result.seen * 1e9)
        if result.seen + result.lost != result.made:
            good.append(verdict(f"unaccounted, {name}", result.made - result.seen - result.lost, 0))
        elif "half" in name:
            good.append(verdict(f"lost, {name}", result.lost, 0))
    for name, goal in (("counted, flat out", COUNTED), ("objects, flat out", OBJECTS)):
        good.append(verdict(f"{name}: events a second", runs[name].rate, goal, least=True))
        print(f"     {name}: the reader could take {runs[name].capacity:,.0f} a second")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
