# ruff: noqa: E402
"""Feed bad input to the user-space target: bytecode, objects, BTF, captures, recordings, policies.

Only Osmia's own errors may come out, in bounded time and memory. Inputs are run by forked processes that may use 1 GiB
of address space more than they begin with; one that dies or hangs costs its input alone, which is printed and kept.

python tests/fuzz/fuzz_target.py COUNT [SEED] [--only KIND,...] [--jobs N] [--seconds PER_INPUT]
python tests/fuzz/fuzz_target.py --again KIND SEED NUMBER      (one input, in this process)
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
from collections import Counter

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "src")]

from _fuzz_inputs import KINDS

BATCH = 500
ROOM = 1 << 30
# How many of a thousand inputs are of a kind: as fast as each is.
SHARE = {
    "verified": 200, "interpreted": 150, "native": 15, "elf": 15, "btf": 180, "captures": 200, "recordings": 55,
    "replays": 5, "policies": 180,
}  # fmt: skip


class Slow(BaseException):
    """No handler within takes it for an error of its own."""


def address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * mmap.PAGESIZE


def child(kind: str, seed: int, first: int, count: int, progress: mmap.mmap, out: int, seconds: float) -> None:
    """Run inputs, noting where it is; outcomes and findings go to `out`."""

    def too_slow(*_: object) -> None:
        raise Slow

    signal.signal(signal.SIGPROF, too_slow)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit = address_space() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seen: Counter[str] = Counter()
    findings: list[tuple[int, str]] = []
    slowest = (0.0, 0)
    for number in range(first, first + count):
        progress[:8] = struct.pack("<q", number)
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            seen[KINDS[kind].attempt(kind, seed, number)] += 1
        except Slow:
            findings.append((number, f"more than {seconds} s of CPU time"))
        except BaseException:
            findings.append((number, traceback.format_exc()[-1500:]))
        signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, (time.process_time() - began, number))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    text = json.dumps([seen, findings[:50], slowest, most]).encode()
    if os.write(out, text) != len(text):
        raise OSError("the answer does not fit")


class Worker:
    """A forked process and the batch it works on."""

    def __init__(self, kind: str, seed: int, first: int, count: int, seconds: float) -> None:
        self.kind, self.seed, self.first, self.count, self.seconds = kind, seed, first, count, seconds
        self.progress = mmap.mmap(-1, 4096)
        self.seen = -1, time.monotonic()  # the last input it was seen at, and since when
        self.out = os.memfd_create("answer")
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                with open(os.devnull, "w") as nothing:
                    os.dup2(nothing.fileno(), 1)
                child(kind, seed, first, count, self.progress, self.out, seconds)
                status = 0
            finally:
                os._exit(status)

    def finished(self) -> int | None:
        """Its wait status; one that hangs outside of Python is killed."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            return status
        number = self.at()
        if number != self.seen[0]:
            self.seen = number, time.monotonic()
        elif time.monotonic() - self.seen[1] > 8 * self.seconds:
            os.kill(self.pid, signal.SIGKILL)
        return None

    def at(self) -> int:
        (number,) = struct.unpack("<q", self.progress[:8])
        return int(number)

    def answer(self) -> list[object] | None:
        with os.fdopen(self.out, "rb") as file:
            file.seek(0)
            data = file.read()
        return json.loads(data) if data else None


class Run:
    def __init__(self, seed: int, seconds: float) -> None:
        self.seed, self.seconds = seed, seconds
        self.seen: dict[str, Counter[str]] = {}
        self.findings: list[str] = []
        self.slowest: dict[str, tuple[float, int]] = {}
        self.memory = 0

    def take(self, worker: Worker, status: int) -> list[tuple[str, int, int]]:
        """What a worker found; what of its batch is left to do."""
        answer = worker.answer()
        if answer is None:
            number = max(worker.at(), worker.first)
            self.find(worker.kind, number, f"process died, wait status {status:#x}")
            done, rest = number - worker.first, worker.first + worker.count - number - 1
            left = [(worker.kind, worker.first, done)] if done else []  # counted again: its counts were lost
            return left + ([(worker.kind, number + 1, rest)] if rest else [])
        seen, findings, slowest, memory = answer
        self.seen.setdefault(worker.kind, Counter()).update(seen)  # type: ignore[arg-type]
        for number, text in findings:  # type: ignore[attr-defined]
            self.find(worker.kind, number, text)
        self.slowest[worker.kind] = max(self.slowest.get(worker.kind, (0.0, 0)), tuple(slowest))  # type: ignore
        self.memory = max(self.memory, memory)  # type: ignore[call-overload]
        return []

    def find(self, kind: str, number: int, text: str) -> None:
        self.findings.append(kind)
        print(f"--again {kind!r} {self.seed} {number}\n{text}", flush=True)

    def report(self, seconds: float) -> None:
        total = 0
        for kind, seen in self.seen.items():
            count = seen.total()
            total += count
            words = ", ".join(f"{what} {n}" for what, n in seen.most_common())
            slow, number = self.slowest[kind]
            print(f"{kind:22} {count:8}  slowest {slow:.2f} s ({number}); {words}")
        print(f"{total} inputs, seed {self.seed}, {len(self.findings)} findings, {seconds:.0f} s, {self.memory} MiB")


def batches(count: int, only: list[str]) -> list[tuple[str, int, int]]:
    """(kind, first number, how many), kinds mixed."""
    whole = sum(SHARE[kind] for kind in only)
    out = []
    for kind in only:
        wanted = max(1, count * SHARE[kind] // whole)
        out += [(n / wanted, kind, n, min(BATCH, wanted - n)) for n in range(0, wanted, BATCH)]
    return [(kind, first, n) for _, kind, first, n in sorted(out, reverse=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=2000)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--again", nargs=3)
    options = parser.parse_args()
    if options.again:
        kind, seed, number = options.again
        KINDS[kind].setup()
        print(KINDS[kind].attempt(kind, int(seed), int(number)))
        return 0
    only = [kind for kind in KINDS if not options.only or kind in options.only.split(",")]
    for kind in only:
        KINDS[kind].setup()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # then what was done so far is reported
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    run, left, workers = Run(options.seed, options.seconds), batches(options.count, only), []
    try:
        while left or workers:
            while left and len(workers) < options.jobs:
                workers.append(Worker(left[-1][0], options.seed, *left.pop()[1:], options.seconds))
            time.sleep(0.02)
            for worker in list(workers):
                status = worker.finished()
                if status is not None:
                    workers.remove(worker)
                    left += run.take(worker, status)
    except KeyboardInterrupt:
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
    run.report(time.monotonic() - began)
    return 1 if run.findings else 0


if __name__ == "__main__":
    sys.exit(main())
