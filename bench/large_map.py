"""A map of 100,000 keys, read from the kernel and printed: from the call that asks for it to the last line."""

from __future__ import annotations

import os
import statistics
import sys
import time

from _peer import Tracer, cpu_ms, ours, peer, row, verdict, with_tracefs

KEYS = 100_000
ROUNDS = 5
LIMIT = 5.0
# lseek() fills the map: its offsets are the keys. umask() has it printed.
SCRIPT = """
tracepoint:syscalls:sys_enter_lseek /pid == PID/ { @[args->offset] = count(); }
tracepoint:syscalls:sys_enter_umask /pid == PID/ { print(@); printf("printed\\n"); }
"""
LIMITS = {"BPFTRACE_MAP_KEYS_MAX": str(KEYS), "BPFTRACE_MAX_MAP_KEYS": str(KEYS)}


def measure(command: list[str]) -> tuple[float, float]:
    """Milliseconds that it takes, and milliseconds of the tracer's CPU time."""
    with Tracer(command, SCRIPT.replace("PID", str(os.getpid())), LIMITS) as tracer:
        fd = os.open("/dev/zero", os.O_RDONLY)
        for offset in range(KEYS):
            os.lseek(fd, offset, os.SEEK_SET)
        os.close(fd)
        time.sleep(0.2)
        cpu, began = cpu_ms(tracer.pid), time.perf_counter()
        os.umask(0o22)
        printed = tracer.read_until(b"printed")
        took = (time.perf_counter() - began) * 1000
        cpu = cpu_ms(tracer.pid) - cpu
        tracer.kill()
        total = printed.count(b"@[")
        if total != KEYS:
            raise RuntimeError(f"{command[0]} printed {total} of {KEYS} keys")
        return took, cpu


def main() -> int:
    with_tracefs()
    other = peer()
    commands = [ours(), *([other] if other else [])]
    rounds = [[measure(command) for command in commands] for _ in range(ROUNDS)]
    wall, cpu = ([statistics.median(run[i] for run in column) for column in zip(*rounds)] for i in (0, 1))
    row(f"{KEYS:,} keys", "osmia", "bpftrace", "ratio")
    ratio = [wall[1] / wall[0]] if other else []
    row("ms", *wall, *ratio)
    row("CPU ms", *cpu, *([cpu[1] / cpu[0]] if other else []))
    return 0 if not ratio or verdict("times as fast as the peer", ratio[0], LIMIT, least=True) else 1


if __name__ == "__main__":
    sys.exit(main())
