"""Start to attached, of a one-liner that counts: cold (it has to be compiled) and warm (it comes from the cache)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _peer import Start, alternate, measure_start, ours, peer, row, verdict, with_tracefs

SCRIPT = "tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }"
ROUNDS = 9


def main() -> int:
    with_tracefs()
    other = peer()
    with tempfile.TemporaryDirectory() as cache:

        def cold() -> Start:
            for path in Path(cache).glob("osmia/*.obj"):
                path.unlink()
            return measure_start(ours(), SCRIPT, {"XDG_CACHE_HOME": cache})

        def warm() -> Start:
            return measure_start(ours(), SCRIPT, {"XDG_CACHE_HOME": cache})

        cold(), warm()  # fill the page cache, write .pyc files
        contenders = [cold, warm, *([lambda: measure_start(other, SCRIPT)] if other else [])]
        medians = alternate(ROUNDS, *contenders)
    row("", "wall ms", "CPU ms", "peak MiB", "SIGINT-exit ms")
    for name, start in zip(("osmia, cold", "osmia, warm", "bpftrace"), medians):
        row(name, *start)
    first, second = medians[:2]
    good = [
        verdict("cold, wall ms", first.wall_ms, 120),
        verdict("warm / cold, CPU", second.cpu_ms / first.cpu_ms, 0.6),
        verdict("peak MiB, cold", first.rss_mib, 100),
        verdict("peak MiB, warm", second.rss_mib, 40),
    ]
    if other:
        good.append(verdict("cold / bpftrace, CPU", first.cpu_ms / medians[2].cpu_ms, 1.5))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
