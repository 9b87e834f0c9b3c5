"""Run the same script with Osmia and with Debian's bpftrace, and measure both alike.

Both print a line when all probes are attached (`__BPFTRACE_NOTIFY_PROBES_ATTACHED`; ours on standard output, the peer
of Debian 12 on standard error). At that moment CPU time and peak memory of the process are read from /proc. Runs
alternate, so that a busy machine is busy for both; medians are compared. Numbers of one run on one machine: compare
ratios, not milliseconds.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the workloads

NOTIFY = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"
LIMIT_S = 60
# A Python that may not write its compiled modules compiles them at every start.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Start(NamedTuple):
    """From exec to all probes attached. `end_ms` is from SIGINT to the exit of the process."""

    wall_ms: float
    cpu_ms: float
    rss_mib: float
    end_ms: float


class Tracer:
    """A running `osmia trace` or `bpftrace`, attached. `close()` interrupts it and collects its output."""

    def __init__(self, command: list[str], script: str, env: dict[str, str] | None = None) -> None:
        self.output = b""
        self._began = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, "-e", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env={**ENVIRONMENT, NOTIFY: "1", **(env or {})},
        )
        self.pid = self._process.pid
        try:
            self.output = self.read_until(NOTIFY.encode())
        except RuntimeError as error:
            raise RuntimeError(f"{shlex.join(command)} did not attach: {error}") from None
        self.wall_ms = (time.perf_counter() - self._began) * 1000
        self.cpu_ms = cpu_ms(self.pid)

    def read_until(self, end: bytes) -> bytes:
        """Read output up to a line that ends with `end`, and return it."""
        assert self._process.stdout is not None
        said = bytearray()
        while not said.endswith(end + b"\n"):
            piece = os.read(self._process.stdout.fileno(), 1 << 20)
            if not piece:
                raise RuntimeError(f"process {self.pid} ended:\n{said.decode(errors='replace')}")
            said += piece
        return bytes(said)

    def peak_mib(self) -> float:
        """Most memory resident so far. Not rusage: its ru_maxrss begins with that of the parent."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def kill(self) -> None:
        """End it without its final output."""
        self._process.kill()

    def end(self, patience_s: float = 3) -> float:
        """Interrupt, wait for the end; the milliseconds that it took. The output stands in `output`.

        bpftrace 0.17 misses a signal that comes outside of its epoll_wait, and then never ends: after `patience_s`
        the signal is sent again, and the time counts from there.
        """
        for wait in (patience_s, patience_s, LIMIT_S):
            began = time.perf_counter()
            self._process.send_signal(signal.SIGINT)
            try:
                self.output, _ = self._process.communicate(timeout=wait)
            except subprocess.TimeoutExpired:
                continue
            if self._process.returncode:
                raise RuntimeError(f"ended with status {self._process.returncode}:\n{self.output!r}")
            return (time.perf_counter() - began) * 1000
        raise RuntimeError(f"process {self.pid} does not end on SIGINT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=LIMIT_S)


def cpu_ms(pid: int) -> float:
    """CPU time that all threads of a process have used so far. (/proc/PID/stat would count in ticks of 10 ms.)"""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e6


def ours() -> list[str]:
    """The command line of Osmia's tracer; $OSMIA replaces `osmia`."""
    script = Path(sys.executable).parent / "osmia"
    words = os.environ.get("OSMIA", "")
    return [
        *(shlex.split(words) if words else [str(script)] if script.exists() else [sys.executable, "-m", "osmia"]),
        "trace",
    ]


def peer() -> list[str] | None:
    """The command line of the peer; None, with a remark, where it is not installed."""
    path = shutil.which("bpftrace")
    if not path:
        print("bpftrace is not installed (apt-get install bpftrace): no comparison")
    return [path] if path else None


def with_tracefs() -> None:
    """Start this benchmark again as root with tracefs and debugfs mounted (the peer needs both)."""
    if os.geteuid():
        sys.exit("benchmarks need root: they trace")
    needed = [("tracefs", "/sys/kernel/tracing"), ("debugfs", "/sys/kernel/debug")]
    missing = [(kind, path) for kind, path in needed if not os.path.ismount(path)]
    if not missing:
        return
    if os.environ.get("OSMIA_BENCH_MOUNTED"):
        sys.exit(f"cannot mount {', '.join(kind for kind, _ in missing)}")
    os.environ["OSMIA_BENCH_MOUNTED"] = "1"
    mounts = "".join(f"mount -t {kind} {kind} {path}; " for kind, path in missing)
    again = shlex.join([sys.executable, *sys.argv])
    os.execvp("unshare", ["unshare", "-m", "--propagation", "private", "sh", "-c", f"{mounts}exec {again}"])


def measure_start(command: list[str], script: str, env: dict[str, str] | None = None) -> Start:
    with Tracer(command, script, env) as tracer:
        rss = tracer.peak_mib()
        time.sleep(0.2)  # both poll by now
        end = tracer.end()
        return Start(tracer.wall_ms, tracer.cpu_ms, rss, end)


def median_start(runs: list[Start]) -> Start:
    return Start(*(statistics.median(values) for values in zip(*runs)))


def alternate(count: int, *what: Callable[[], Start]) -> list[Start]:
    """Call each of `what` in turn, `count` rounds; the medians, in their order."""
    rounds = [[f() for f in what] for _ in range(count)]
    return [median_start(list(column)) for column in zip(*rounds)]


def row(name: str, *cells: object) -> None:
    """One line of a table on standard output."""
    print(f"{name:<34}" + "".join(f"{cell:>14.2f}" if isinstance(cell, float) else f"{cell:>14}" for cell in cells))


def verdict(what: str, value: float, limit: float, *, least: bool = False) -> bool:
    """Print a figure beside its goal; whether it is reached."""
    reached = value >= limit if least else value <= limit
    print(f"{'ok  ' if reached else 'MISS'} {what}: {value:,.2f} (goal {'>=' if least else '<='} {limit:,g})")
    return reached
