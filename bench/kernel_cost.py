"""What an event costs in the kernel: run time of our programs beside the peer's, for the same ten scripts.

The kernel itself keeps the time (BPF_ENABLE_STATS: run_time_ns / run_cnt). This process makes the calls that the
scripts trace. Each round starts both tracers anew, because where code and maps happen to lie matters; the least of the
rounds counts, which is the one that others disturbed least.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

from _peer import ROOT, Tracer, ours, peer, row, verdict, with_tracefs

sys.path.insert(0, str(ROOT / "src"))

SCRIPTS = {
    "count by comm": "tracepoint:syscalls:sys_enter_read { @[comm] = count(); }",
    "count by pid": "tracepoint:syscalls:sys_enter_read { @[pid] = count(); }",
    "count by two keys": "tracepoint:syscalls:sys_enter_read { @[pid, args->fd] = count(); }",
    "sum by comm": "tracepoint:syscalls:sys_enter_read { @[comm] = sum(args->count); }",
    "stats by pid": "tracepoint:syscalls:sys_enter_read { @[pid] = stats(args->count); }",
    "hist": "tracepoint:syscalls:sys_enter_read { @ = hist(args->count); }",
    "lhist, filtered": "tracepoint:syscalls:sys_enter_read /args->count > 10/ "
    "{ @ = lhist(args->count, 0, 4096, 128); }",
    "latency: store, hist, delete": "tracepoint:syscalls:sys_enter_read { @start[tid] = nsecs; } "
    "tracepoint:syscalls:sys_exit_read /@start[tid]/ { @ns = hist(nsecs - @start[tid]); delete(@start[tid]); }",
    "count by kernel stack": "tracepoint:syscalls:sys_enter_read { @[kstack] = count(); }",
    "printf with str": "tracepoint:syscalls:sys_enter_openat "
    '{ printf("%d %s %s\\n", pid, comm, str(args->filename)); }',
}
ROUNDS = 3
CALLS = 20_000
BURST = 100  # calls between pauses where each one makes an event, so that none is lost
LIMIT = 1.0


def program_ids(pid: int) -> set[int]:
    """The BPF programs that a process holds."""
    found = set()
    folder = f"/proc/{pid}/fdinfo"
    for name in os.listdir(folder):
        with open(f"{folder}/{name}") as f:
            found |= {int(line.split()[1]) for line in f if line.startswith("prog_id:")}
    return found


def work(script: str) -> None:
    """The calls that `script` traces, a thousand different sizes of reads among them."""
    if "printf" in script:
        for i in range(CALLS // 10):
            os.close(os.open("/etc/hostname", os.O_RDONLY))
            if i % BURST == 0:
                time.sleep(0.002)
        return
    fd = os.open("/dev/zero", os.O_RDONLY)
    for i in range(CALLS):
        os.read(fd, i & 1023)
    os.close(fd)


def cost_ns(command: list[str], script: str) -> float:
    """Mean run time of an event: of all the script's programs together where it has several."""
    from osmia.kernel import list_programs

    with Tracer(command, script) as tracer:
        mine = program_ids(tracer.pid)
        before = {p.id: p for p in list_programs() if p.id in mine}
        work(script)
        after = {p.id: p for p in list_programs() if p.id in mine}
        ran = {id: p.run_count - before[id].run_count for id, p in after.items()}
        least = max(ran.values()) // 2  # not what begins and ends the script
        cost = sum((p.run_time_ns - before[id].run_time_ns) / ran[id] for id, p in after.items() if ran[id] > least)
        tracer.end()
        return cost


def main() -> int:
    with_tracefs()
    from osmia.kernel import enable_stats

    other = peer()
    quiet = [[*ours(), "--output-file", os.devnull], *([[*other, "-o", os.devnull]] if other else [])]
    row("ns an event", "osmia", "bpftrace", "ratio")
    ratios = []
    with enable_stats():
        for name, script in SCRIPTS.items():
            rounds = [[cost_ns(command, script) for command in quiet] for _ in range(ROUNDS)]
            best = [min(column) for column in zip(*rounds)]
            if other:
                ratios.append(best[0] / best[1])
            row(name, *best, *ratios[-1:])
    return 0 if not ratios or verdict("median ratio", statistics.median(ratios), LIMIT) else 1


if __name__ == "__main__":
    sys.exit(main())
