"""`osmia` started in poor environments: without capabilities, mounts or limits that it would like to have.

The interpreter and the sources are bound to a folder that every user can read, so that a test may leave root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite

import osmia

CONFINE = str(Path(__file__).parent / "kernel" / "environment" / "_confine.py")
SETTINGS = ("drop", "keep", "uid", "cover", "unmount", "bind", "files", "private", "limits", "close")
NOBODY = 65534
LIMIT_S = 60
CAPABILITIES = (
    "CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYSLOG",
    "CAP_SYS_RESOURCE",
)  # fmt: skip
TRACEFS_MOUNTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


class Place:
    """A folder that everybody can read, with an interpreter and what it imports; `run` starts `osmia` there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        self._binds = []
        self.mountpoints: list[Path] = []
        for name, source in (
            ("python", Path(sys.base_prefix)),
            ("src", Path(osmia.__file__).parents[1]),
            ("site", Path(llvmlite.__file__).parents[1]),
        ):
            (folder / name).mkdir()
            self.mountpoints.append(folder / name)
            self._binds.append([str(source.resolve()), str(folder / name)])
        program = Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
        self.python = str(folder / "python" / program)
        self.path = f"{folder}/src:{folder}/site"

    def home(self, uid: int) -> str:
        """A home directory of that user, empty for each kind of user at first."""
        home = self.folder / f"home-{uid}"
        if not home.exists():
            home.mkdir(mode=0o700)
            os.chown(home, uid, uid)
        return str(home)

    def popen(self, *words: str, env: dict[str, str | None] | None = None, **how: Any) -> subprocess.Popen[str]:
        """Start `osmia WORDS...`. `how`: settings of _confine.py, `wrap` (a command before it), options of Popen."""
        settings = {k: how.pop(k) for k in list(how) if k in SETTINGS}
        settings["bind"] = self._binds + list(settings.get("bind", ()))
        whole: dict[str, str | None] = {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": self.path, "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": self.home(settings.get("uid", 0)), **(env or {}),
        }  # fmt: skip
        command = [*how.pop("wrap", ()), self.python, "-m", "osmia", *words]
        argv = [sys.executable, CONFINE, json.dumps(settings), *command]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True} | how
        return subprocess.Popen(argv, env={k: v for k, v in whole.items() if v is not None}, cwd="/", **how)

    def run(self, *words: str, input: str | bytes | None = None, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run `osmia WORDS...` to its end; never longer than a minute."""
        if input is not None:
            how["stdin"] = subprocess.PIPE
            how["text"] = isinstance(input, str)
        with self.popen(*words, **how) as child:
            try:
                out, err = child.communicate(input, timeout=LIMIT_S)  # type: ignore[arg-type]
            except subprocess.TimeoutExpired:
                child.kill()
                raise
        if isinstance(input, bytes):
            out, err = os.fsdecode(out), os.fsdecode(err)
        return subprocess.CompletedProcess(list(words), child.returncode, out or "", err or "")

    def trace(self, script: str, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """`osmia trace --dry-run -e SCRIPT`: attached, and ended."""
        return self.run("trace", "--dry-run", *words, "-e", script, **how)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The message of a run that failed as it should: status 1, one message, a hint, nothing on stdout, no traceback."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("osmia: ")]
    assert len(lines) == 1, done.stderr
    return done.stderr
