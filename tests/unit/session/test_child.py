from __future__ import annotations

import os
import signal
import subprocess
import sys
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


KILLED = """
import os, sys, threading, time
from osmia.session import Child
def start():
    child = Child(["sleep", "60"])
    if sys.argv[1] != "held":
        child.release()
    print(child.pid, flush=True)
if sys.argv[1] == "thread":
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    print("ended", flush=True)
else:
    start()
time.sleep(60)
"""


def alive(pid):
    """Whether the process runs; one that nobody has reaped yet has ended."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", ["held", "released"])
def test_it_ends_with_a_parent_that_is_killed(how):
    with subprocess.Popen([sys.executable, "-c", KILLED, how], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    left = alive(pid)
    if left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_it_outlives_the_thread_that_started_it():
    with subprocess.Popen([sys.executable, "-c", KILLED, "thread"], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ended\n"
        time.sleep(0.1)
        still = alive(pid)
        parent.kill()
    if still:
        os.kill(pid, signal.SIGKILL)
    assert still


def test_it_starts_with_the_signals_of_a_shell(tmp_path):
    out = tmp_path / "out"
    with Child(["sh", "-c", f"grep SigIgn /proc/self/status > {out}"]) as child:
        child.release()
        assert wait(child) == 0
    ignored = int(out.read_text().split()[1], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


@pytest.mark.parametrize("given", [{}, {"LC_CTYPE": "C.UTF-8"}, {"LANG": "C"}])
def test_the_environment_is_the_one_that_was_given(given):
    """Python sets LC_CTYPE in the C locale: commands would open files that they do not open by themselves."""
    code = (
        "import os; from osmia.session import Child\n"
        "with Child(['/usr/bin/env']) as child:\n"
        "    child.release()\n"
        "    while not child.poll(): pass"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **given}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    shown = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert shown == environment
