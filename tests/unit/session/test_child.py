from __future__ import annotations

import os
import time

import pytest

from osmia.errors import UsageError
from osmia.session import Child


def wait(child):
    deadline = time.monotonic() + 5
    while not child.poll() and time.monotonic() < deadline:
        time.sleep(0.005)
    return child.status


def test_it_waits_at_the_gate(tmp_path):
    out = tmp_path / "out"
    with Child(["touch", str(out)]) as child:
        time.sleep(0.05)
        assert not out.exists() and not child.poll()
        child.release()
        assert wait(child) == 0
        assert out.exists()


def test_close_ends_one_that_was_never_released():
    child = Child(["true"])
    child.close()
    child.close()
    assert child.status is not None
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_close_ends_one_that_runs_and_ignores_sigterm():
    child = Child(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    child.release()
    time.sleep(0.1)
    child.close()
    assert os.WIFSIGNALED(child.status)


def test_program_that_cannot_be_executed(tmp_path):
    path = tmp_path / "prog"
    path.write_text("not an ELF file")
    path.chmod(0o755)
    with Child([str(path)]) as child, pytest.raises(UsageError, match="Exec format"):
        child.release()


@pytest.mark.parametrize("argv", [[], [""], ["no-such-program-here"], ["/no/such"]])
def test_programs_that_are_not_there(argv):
    with pytest.raises(UsageError):
        Child(argv)


def test_no_descriptor_stays_open():
    before = len(os.listdir("/proc/self/fd"))
    with Child(["true"]) as child:
        child.release()
        wait(child)
    assert len(os.listdir("/proc/self/fd")) == before
