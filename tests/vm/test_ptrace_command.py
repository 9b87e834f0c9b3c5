"""A command (`-c`), held before its exec: with a seccomp filter and without one."""

from __future__ import annotations

import collections
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from _ptrace import SOURCE, ordinary, trace

ENTER, LEAVE = "tracepoint:syscalls:sys_enter_", "tracepoint:syscalls:sys_exit_"
SCHED = [f"tracepoint:sched:sched_process_{what}" for what in ("fork", "exec", "exit")]


@pytest.fixture(params=[True, False], ids=["filter", "every-call"])
def filtered(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def python(text: str) -> list[str]:
    return [ordinary()[1], "-I", "-S", "-c", text]


def test_calls_of_a_command_and_its_children(filtered: bool) -> None:
    text = (
        "import os\n"
        "for i in range(200): os.close(os.open('/dev/null', 0))\n"
        "for i in range(5):\n"
        "    if not os.fork():\n"
        "        for i in range(10): os.close(os.open('/dev/zero', 0))\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    hooks = [ENTER + "openat", LEAVE + "openat", *SCHED]
    with trace(hooks, cmd=python(text), filtered=filtered, keep={ENTER + "openat": "string24"}) as traced:
        found = traced.result()
    paths = collections.Counter(r[7] for r in found["records"])
    assert (paths["/dev/null"], paths["/dev/zero"]) == (200, 50)
    counts = found["counts"]
    assert counts[ENTER + "openat"] == counts[LEAVE + "openat"] == sum(paths.values())
    assert [counts[name] for name in SCHED] == [5, 1, 6]
    assert found["status"] == 0


def test_counts_are_those_of_strace() -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed (apt-get install strace)")
    command = ["/bin/sh", "-c", "ls -l / >/dev/null; cat /etc/passwd | head -n 1 >/dev/null; true"]
    prefix, _ = ordinary()
    done = subprocess.run(
        [*prefix, "strace", "-f", "-e", "trace=openat,read,write,execve,clone,clone3,vfork", *command],
        capture_output=True, text=True, timeout=60, cwd="/",
    )  # fmt: skip
    theirs = collections.Counter(
        word
        for word in ("openat(", "write(", "execve(")
        for line in done.stderr.splitlines()
        if f" {word}" in f" {line}" and "resumed" not in line
    )
    with trace([ENTER + "openat", ENTER + "write", LEAVE + "execve"], cmd=command) as traced:
        counts = traced.result()["counts"]
    assert counts == {
        ENTER + "openat": theirs["openat("], ENTER + "write": theirs["write("], LEAVE + "execve": theirs["execve("],
    }  # fmt: skip


def test_exec_by_another_thread(filtered: bool) -> None:
    text = (
        "import _thread, os, time\n"
        "for i in range(3): _thread.start_new_thread(time.sleep, (60,))\n"
        "_thread.start_new_thread(os.execv, ('/bin/sh', ['sh', '-c', 'exec /bin/cat /dev/null']))\n"
        "time.sleep(60)\n"
    )
    hooks = [SCHED[1], LEAVE + "execve", ENTER + "exit_group"]
    keep = {SCHED[1]: "plain"}
    with trace(hooks, cmd=python(text), filtered=filtered, keep=keep) as traced:
        found = traced.result()
    assert found["counts"] == {SCHED[1]: 3, LEAVE + "execve": 3, ENTER + "exit_group": 1}
    assert {r[1] for r in found["records"]} == {traced.first["tracing"]}
    assert [r[3] for r in found["records"]][1:] == ["sh", "cat"]
    olds = [int.from_bytes(bytes.fromhex(r[5])[16:20], "little") for r in found["records"]]
    assert olds[0] == olds[2] == traced.first["tracing"] != olds[1]


def test_a_leader_that_leaves_first(filtered: bool) -> None:
    text = (
        "import _thread, ctypes, os, time\n"
        "def work():\n"
        "    time.sleep(0.2)\n"
        "    for i in range(50): os.close(os.open('/dev/null', 0))\n"
        "    os._exit(3)\n"
        "_thread.start_new_thread(work, ())\n"
        "ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)\n"
    )
    keep = {ENTER + "openat": "string24"}
    with trace([ENTER + "openat", SCHED[2]], cmd=python(text), filtered=filtered, keep=keep) as traced:
        found = traced.result()
    mine = [r for r in found["records"] if r[7] == "/dev/null"]
    assert len(mine) == 50
    assert {r[2] for r in mine} == {traced.first["tracing"]} != {r[1] for r in mine}
    assert found["counts"][SCHED[2]] == 2
    assert os.waitstatus_to_exitcode(found["status"]) in (3, 0)


def test_many_threads_and_forks_at_once(filtered: bool) -> None:
    text = (
        "import os, threading\n"
        "def work():\n"
        "    for i in range(20):\n"
        "        pid = os.fork()\n"
        "        if not pid:\n"
        "            for j in range(3): os.close(os.open('/dev/null', 0))\n"
        "            os._exit(0)\n"
        "        os.waitpid(pid, 0)\n"
        "ts = [threading.Thread(target=work) for i in range(4)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
    )
    keep = {ENTER + "openat": "string24"}
    argv = [ordinary()[1], "-W", "ignore", "-I", "-c", text]
    with trace([ENTER + "openat", SCHED[0]], cmd=argv, filtered=filtered, keep=keep) as traced:
        found = traced.result()
    assert sum(r[7] == "/dev/null" for r in found["records"]) == 240
    assert found["counts"][SCHED[0]] == 84


def test_a_child_that_is_killed_at_any_moment(filtered: bool) -> None:
    text = (
        "import os, signal, time\n"
        "for i in range(40):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        while True: os.close(os.open('/dev/null', 0))\n"
        "    time.sleep(i / 4000)\n"
        "    os.kill(pid, signal.SIGKILL)\n"
        "    os.waitpid(pid, 0)\n"
    )
    hooks = [ENTER + "openat", LEAVE + "openat", *SCHED]
    with trace(hooks, cmd=python(text), filtered=filtered) as traced:
        counts = traced.result()["counts"]
    assert [counts[name] for name in SCHED] == [40, 1, 41]
    assert 0 <= counts[ENTER + "openat"] - counts[LEAVE + "openat"] <= 40


def test_users_are_seen_as_they_change() -> None:
    if os.getuid():
        pytest.skip("changing the user needs root")
    text = "import os\nos.getppid(); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534); os.getppid()"
    hook = ENTER + "getppid"
    command = [sys.executable, "-I", "-S", "-c", text]
    with trace([hook], cmd=command, keep={hook: "plain"}, user=False) as traced:
        found = traced.result()
    assert [r[4] for r in found["records"]] == [0, 65534]


def test_what_is_left_behind_goes_on_while_we_live() -> None:
    text = (
        "import os, sys, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    time.sleep(0.5)\n"
        "    os.close(os.open('/dev/null', 0))\n"
        "    os.write(1, b'{\"left\": 1}\\n')\n"
    )
    with trace([ENTER + "openat"], cmd=python(text), descendants=False, linger=True) as traced:
        found = traced.result()
        assert any("still run" in text for text in found["warnings"])
        assert traced._next("left") == {"left": 1}


def test_killed_with_its_tracer() -> None:
    """A command with a filter cannot outlive its tracer: its calls would fail."""
    text = "import os, time\nos.write(1, b'{\"pid\": %d}\\n' % os.getpid())\ntime.sleep(60)"
    with trace([ENTER + "openat"], cmd=python(text)) as traced:
        pid = traced._next("pid")["pid"]
        traced.process.send_signal(signal.SIGKILL)
        traced.process.wait(20)
        end = time.monotonic() + 5
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
            time.sleep(0.02)
        assert not os.path.exists(f"/proc/{pid}")


def test_a_setuid_program_is_told_of() -> None:
    if not os.getuid() and not ordinary()[0]:
        pytest.skip("root keeps all privileges")
    program = shutil.which("su") or "/bin/su"
    if not os.path.exists(program) or not os.stat(program).st_mode & 0o4000:
        pytest.skip("there is no setuid program here")
    with trace([ENTER + "openat"], cmd=[program, "--version"]) as traced:
        found = traced.result()
    assert any("setuid" in text for text in found["warnings"])


# Before its exec the command is a copy of us, whose calls depend on what runs meanwhile. 335 is a system call that the
# kernel's own return probes make the program do (x86-64, since 6.11). No paths: the kernel reads "" from pages that are
# not in memory.
SCRIPT = """
tracepoint:syscalls:sys_enter_openat /comm == "ls" && pid == cpid/ { @opened[args.flags] = count(); }
tracepoint:syscalls:sys_exit_openat /comm == "ls" && pid == cpid/ { @result[args.ret] = count(); }
tracepoint:sched:sched_process_exec /pid == cpid/ { @ran[str(args.filename), comm] = count(); }
tracepoint:raw_syscalls:sys_enter /comm == "ls" && pid == cpid && args.id != 335/ { @calls[args.id] = count(); }
uprobe:libc:malloc /comm == "ls" && pid == cpid/ { @size = hist(arg0); }
uretprobe:libc:malloc /comm == "ls" && pid == cpid && retval != 0/ { @got = count(); }
"""


def test_the_kernel_says_the_same() -> None:
    if os.getuid():
        pytest.skip("the kernel's target needs root")
    lines = {}
    for target in ("kernel", "vm"):
        done = subprocess.run(
            [sys.executable, "-m", "osmia", "trace", "--target", target, "-c", "/bin/ls /", "-e", SCRIPT],
            capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )  # fmt: skip
        if done.returncode and target == "kernel":
            pytest.skip(f"the kernel's target does not work here: {done.stderr}")
        assert not done.returncode, done.stderr
        lines[target] = sorted(line for line in done.stdout.splitlines() if line.startswith(("@", "[")))
    assert len(lines["kernel"]) > 20
    assert lines["vm"] == lines["kernel"]
