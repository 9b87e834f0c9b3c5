"""Run the ptrace source against workloads, as an ordinary user wherever that is possible."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
DRIVER = HERE / "_ptrace_driver.py"
NOBODY = 65534
LIMIT_S = 60


@cache
def ordinary() -> tuple[list[str], str]:
    """(command prefix, interpreter) that make an ordinary user without capabilities.

    With OSMIA_PTRACE_AS_IS=1 everything runs as we are, by our own interpreter: it has LLVM, which the system's lacks.
    """
    if os.getuid() or os.environ.get("OSMIA_PTRACE_AS_IS") == "1":
        return [], sys.executable
    setpriv = shutil.which("setpriv")
    prefix = [
        setpriv or "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all",
        "--bounding-set=-all",
    ]  # fmt: skip
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        # setpriv still has its capabilities when it looks the interpreter up; those that come later have none.
        check = (
            "import os, sys; sys.path.insert(0, sys.argv[1]); import osmia.vm; "
            "sys.exit(sys.version_info < (3, 11) or not os.access(sys.argv[2], os.X_OK))"
        )
        command = [*prefix, python, "-c", check, str(SOURCE), python]
        if setpriv and not subprocess.run(command, capture_output=True).returncode:
            return prefix, python
    pytest.skip("no interpreter and sources that user 65534 may read, or no setpriv (util-linux)")


class Traced:
    """A running driver; `result` waits for what it counted."""

    def __init__(self, wanted: dict[str, Any], prefix: list[str], python: str) -> None:
        self.process = subprocess.Popen(
            [*prefix, python, str(DRIVER), json.dumps(wanted)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
            env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert self.process.stdout is not None
        self._lines: list[str] = []
        self.first = self._next("tracing", "error")

    def _next(self, *keys: str) -> dict[str, Any]:
        """The next line of the driver's: commands write to the same standard output."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                if any(key in found for key in keys):
                    return found
            self._lines.append(line)
        raise AssertionError(f"the driver ended with {self.process.wait(LIMIT_S)}: {''.join(self._lines)}")

    @property
    def output(self) -> str:
        """What the command wrote."""
        return "".join(self._lines)

    def result(self) -> dict[str, Any]:
        found = self._next("counts")
        assert not found["error"], found["error"]
        return found

    def stop(self) -> dict[str, Any]:
        """End the tracing now, and say what was counted."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.result()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe and not pipe.closed:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def trace(hooks: list[str], *, user: bool = True, **wanted: Any) -> Traced:
    """Start tracing: `pid=` or `cmd=`; as an ordinary user unless `user` is False."""
    prefix, python = ordinary() if user else ([], sys.executable)
    return Traced({"hooks": hooks, **wanted}, prefix, python)


class Running:
    """A workload of an ordinary user that waits at its gate."""

    def __init__(self, argv: list[str], *, user: bool = True) -> None:
        prefix = ordinary()[0] if user else []
        self.process = subprocess.Popen([*prefix, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.pid: int = json.loads(self.process.stdout.readline())["ready"]

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.process.wait(LIMIT_S)
        return found

    def finish(self) -> dict[str, Any]:
        self.release()
        return self.result()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def activity(what: str, *args: object, user: bool = True) -> Running:
    """One of the workloads of tests/_workloads/activity.py."""
    path = HERE.parent / "_workloads" / "activity.py"
    python = ordinary()[1] if user else sys.executable
    return Running([python, "-I", "-S", str(path), what, *map(str, args)], user=user)
