"""A map of 100,000 keys, read and printed at the end: from SIGINT to exit, less the same with an empty map."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from _peer import Tracer, ours, peer, row, verdict, with_tracefs
from _workloads import Workload, build

KEYS = 100_000
SCRIPT = 'tracepoint:syscalls:sys_enter_getpgid /comm == "storm"/ { @[args->pid] = count(); }'
ROUNDS = 3


def end_ms(command: list[str], storm: Path, calls: int) -> float:
    limit = {"BPFTRACE_MAX_MAP_KEYS": str(2 * KEYS), "BPFTRACE_MAP_KEYS_MAX": str(2 * KEYS)}  # new name, old name
    with Tracer(command, SCRIPT, limit) as tracer:
        with Workload([str(storm), "1", str(calls)]) as workload:
            workload.finish()
        took = tracer.end(patience_s=30)
        printed = sum(line.startswith("@[") for line in tracer.output.splitlines())
        if printed != calls:
            raise RuntimeError(f"{command[0]} printed {printed:,} of {calls:,} keys")
        return took


def main() -> int:
    with_tracefs()
    other = peer()
    times = []
    row("", "full ms", "empty ms", "difference")
    with tempfile.TemporaryDirectory() as folder:
        storm = build("storm.c", Path(folder))
        for name, command in (("osmia", ours()), ("bpftrace", other)):
            if command:
                full, empty = (statistics.median(end_ms(command, storm, n) for _ in range(ROUNDS)) for n in (KEYS, 0))
                times.append(full - empty)
                row(name, full, empty, times[-1])
    return 0 if len(times) < 2 or verdict("bpftrace / osmia", times[1] / times[0], 5, least=True) else 1


if __name__ == "__main__":
    sys.exit(main())
