"""Names of processes that ended before anybody asked: what the kernel noted of them meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import osmia
from osmia.kernel import ExecLog
from osmia.symbols import History, UserSymbols


def test_records_of_a_process_that_has_ended() -> None:
    with ExecLog() as log:
        history = History(log.take)
        done = subprocess.Popen(["/bin/true"])
        done.wait()
        images = history.images(done.pid)
        files = {m.file: m for m in images[0][0]}
        path = os.path.realpath("/bin/true")
        assert files[path].inode == os.stat(path).st_ino
        assert any("libc" in file for file in files) and "[vdso]" in files
        # Before that it was a copy of us.
        assert os.path.realpath(sys.executable) not in files
        log.close()
        assert log.take() == b""


def test_nothing_is_left_open() -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        ExecLog().close()
    assert os.listdir("/proc/self/fd") == before


def test_functions_of_short_processes_have_names(compiled: Any) -> None:
    """None is followed, and all have ended by the time that anybody looks."""
    path = compiled("calls.c")
    script = f"uprobe:{path}:inner, uprobe:{path}:middle, uprobe:{path}:outer {{ @[func, pid] = count(); }}"
    stack = f" uprobe:{path}:inner {{ @s[ustack(3), pid] = count(); }}"
    pids = []
    with osmia.trace(script + stack) as trace:
        for _ in range(20):
            process = subprocess.Popen([path, "3"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            process.communicate(b"\n")
            pids.append(process.pid)
        names = dict(trace.maps["@"].items())
        stacks = [stack.frames for (stack, _pid), _count in trace.maps["@s"].items()]
    assert names == {(name, pid): 3 if name == "outer" else 6 for pid in pids for name in ("inner", "middle", "outer")}
    assert len(stacks) == 40  # outer calls middle from two places
    assert {tuple(frame.split("+")[0] for frame in frames) for frames in stacks} == {("inner", "middle", "outer")}


def test_a_program_that_was_replaced_has_no_names(compiled: Any, tmp_path: Path) -> None:
    program = tmp_path / "calls"
    program.write_bytes(Path(compiled("calls.c")).read_bytes())
    program.chmod(0o755)
    with ExecLog() as log, UserSymbols() as symbols:
        history = History(log.take)
        symbols.remember(history)
        process = subprocess.Popen([program, "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        process.communicate(b"\n")
        code = next(m for m in history.images(process.pid)[0][0] if m.file == str(program))
        other = tmp_path / "other"
        other.write_bytes(program.read_bytes())
        other.chmod(0o755)
        other.rename(program)
        found = symbols.resolve(process.pid, code.start + 0x200)
        assert (found.name, found.module) == ("", str(program))
