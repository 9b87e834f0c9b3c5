"""Programs that tests trace: each does a known amount of work and says exactly what it did.

A workload starts, gets ready, prints `{"ready": PID}` and waits at a gate. The test attaches its probes and calls
`finish()`: the work runs between the gate and the result line, so that the process' own start-up is never counted.
The result is what the program counted itself (or what getrusage says), never what a tracer saw.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
LINE_TIMEOUT_S = 60


class WorkloadError(Exception):
    """A workload could not be built, or ended without saying what it did."""


class MissingTool(Exception):
    """This machine lacks a compiler or a header; the message names the package that has it."""


class Workload:
    """A started workload, waiting at its gate. `pid` is the process itself, never a shell around it."""

    def __init__(self, argv: list[str], *, env: dict[str, str] | None = None) -> None:
        self.argv = argv
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
        )
        try:
            self.pid: int = self._read()["ready"]
        except WorkloadError:
            self.close()
            raise
        if self.pid != self._process.pid:
            raise WorkloadError(f"start {argv}: pid {self._process.pid} says that it is {self.pid}")

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkloadError(f"read from {self.argv}: ended with status {self._process.wait(LINE_TIMEOUT_S)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def release(self) -> None:
        """Open the gate and return at once."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Wait for the counts that the workload reports, and for its end."""
        answer = self._read()
        self.wait()
        return answer

    def finish(self) -> dict[str, Any]:
        """Open the gate, wait for the end, return the counts."""
        self.release()
        return self.result()

    def wait(self) -> int:
        """Wait for the end; the exit status, negative for a signal."""
        return self._process.wait(LINE_TIMEOUT_S)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """Send `sig`; nothing happens when the process has gone."""
        self._process.send_signal(sig)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(LINE_TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:  # an unread newline for a process that was killed at its gate
                    continue

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def start_activity(what: str, *args: object) -> Workload:
    """Start one of the system-call workloads of `activity.py`, e.g. `start_activity("opens", path, 100)`."""
    # -I -S: no site packages, so that start-up is short and the same everywhere.
    return Workload([sys.executable, "-I", "-S", str(HERE / "activity.py"), what, *map(str, args)])


def build(name: str, folder: Path, *flags: str) -> Path:
    """Compile `name` (`calls.c`, `shop.cpp`, ...) into `folder` once; the path of the program.

    Not optimised, with frame pointers and DWARF, so that every function is called as written.
    """
    source = HERE / name
    compiler = {".c": "gcc", ".cpp": "g++"}[source.suffix]
    if not shutil.which(compiler):
        raise MissingTool(f"{compiler} is not installed (apt-get install {compiler})")
    target = folder / "-".join([source.stem, *(flag.strip("-").replace("/", "_") for flag in flags)])
    if not target.exists():
        options = ["-O0", "-g", "-fno-omit-frame-pointer", "-fcf-protection=none", "-pthread", *flags]
        done = subprocess.run(
            [compiler, *options, "-o", str(target), str(source)], capture_output=True, text=True, timeout=120
        )
        if done.returncode and "sys/sdt.h" in done.stderr:
            raise MissingTool("sys/sdt.h is not installed (apt-get install systemtap-sdt-dev)")
        if done.returncode:
            raise WorkloadError(f"compile {name}: {done.stderr}")
    return target
