"""Cost of an event in the kernel, by the kernel's own count (BPF_ENABLE_STATS): ten scripts, ours and the peer's.

The events are getpgid system calls of a tight loop. Programs that are new while a tracer runs are taken as its own, so
nothing else on the machine may load any.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from _peer import Tracer, ours, peer, row, verdict, with_tracefs
from _workloads import Workload, build

from osmia import kernel, syscalls

CALLS = 200_000
ENTER = "tracepoint:syscalls:sys_enter_getpgid"
LEAVE = "tracepoint:syscalls:sys_exit_getpgid"
SCRIPTS = {
    "count": f"{ENTER} {{ @ = count(); }}",
    "count by name": f"{ENTER} {{ @[comm] = count(); }}",
    "count by pid and name": f"{ENTER} {{ @[pid, comm] = count(); }}",
    "filter, sum": f"{ENTER} /args->pid != 0/ {{ @ = sum(1); }}",
    "stats of an argument": f"{ENTER} {{ @ = stats(args->pid); }}",
    "histogram": f"{ENTER} {{ @ = hist(nsecs & 0xffff); }}",
    "linear histogram": f"{ENTER} {{ @ = lhist(nsecs & 1023, 0, 1024, 64); }}",
    "time per call": f"{ENTER} {{ @s[tid] = nsecs; }} "
    f"{LEAVE} /@s[tid]/ {{ @ = hist(nsecs - @s[tid]); delete(@s[tid]); }}",
    "kernel stack": f"{ENTER} {{ @[kstack(5)] = count(); }}",
    "print one of 64": f'{ENTER} /(nsecs & 63) == 0/ {{ printf("%d %s\\n", pid, comm); }}',
}


def spent_ns(ids: set[int]) -> int:
    """Time that those programs have run since they were loaded."""
    total = 0
    for number in ids:
        with kernel.Program(syscalls.fd_by_id("prog", number), "", 0) as program:
            total += program.info().run_time_ns
    return total


def cost_ns(command: list[str], script: str, storm: Path) -> float:
    """Nanoseconds per event, over all programs of the script."""
    before = set(syscalls.ids("prog"))
    with Tracer(command, script) as tracer, Workload([str(storm), "1", str(CALLS)]) as workload:
        own = set(syscalls.ids("prog")) - before
        start = spent_ns(own)
        workload.finish()
        spent = spent_ns(own) - start
        tracer.end()
        return spent / CALLS


def main() -> int:
    with_tracefs()
    other = peer()
    ratios = []
    row("ns per event", "osmia", "bpftrace", "ratio")
    with tempfile.TemporaryDirectory() as folder, kernel.enable_stats():
        storm = build("storm.c", Path(folder))
        for name, script in SCRIPTS.items():
            mine = statistics.median(cost_ns(ours(), script, storm) for _ in range(3))
            if not other:
                row(name, mine)
                continue
            theirs = statistics.median(cost_ns(other, script, storm) for _ in range(3))
            ratios.append(mine / theirs)
            row(name, mine, theirs, ratios[-1])
    return 0 if not ratios or verdict("median ratio", statistics.median(ratios), 1.0) else 1


if __name__ == "__main__":
    sys.exit(main())
