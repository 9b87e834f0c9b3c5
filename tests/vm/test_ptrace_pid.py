"""A process that is there already (`-p`): counts equal what the workload did, and it goes on by itself afterwards."""

from __future__ import annotations

import os
import signal
import struct
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from _ptrace import NOBODY, activity, ordinary, trace

ENTER, LEAVE = "tracepoint:syscalls:sys_enter_", "tracepoint:syscalls:sys_exit_"


def test_system_calls_are_counted_as_they_are_made() -> None:
    with (
        activity("opens", "/etc/passwd", 1000) as work,
        trace([ENTER + "openat", LEAVE + "openat"], pid=work.pid, keep={ENTER + "openat": "string24"}) as traced,
    ):
        done = work.finish()
        found = traced.result()
    assert found["counts"] == {ENTER + "openat": done["openat"], LEAVE + "openat": done["openat"]}
    _, pid, tgid, comm, uid, record, _, path = found["records"][0]
    assert (pid, tgid, comm, path) == (work.pid, work.pid, "osmia-work", "/etc/passwd")
    assert uid == (NOBODY if ordinary()[0] else os.getuid())
    fields = struct.unpack("<HBBiixxxxQQQQ", bytes.fromhex(record)[:48])
    assert fields[3] == work.pid
    assert fields[4] in (257, 56)
    assert fields[7] & os.O_CLOEXEC


def test_results_of_failed_calls() -> None:
    with (
        activity("opens", "/nothing/there", 20) as work,
        trace([LEAVE + "openat"], pid=work.pid, keep={LEAVE + "openat": "plain"}) as traced,
    ):
        work.finish()
        found = traced.result()
    results = {struct.unpack_from("<q", bytes.fromhex(r[5]), 16)[0] for r in found["records"]}
    assert results == {-2}


def test_raw_system_calls_are_all_of_them() -> None:
    with (
        activity("reads", 64, 500) as work,
        trace(
            ["tracepoint:raw_syscalls:sys_enter", ENTER + "read", "tracepoint:raw_syscalls:sys_exit"], pid=work.pid
        ) as traced,
    ):
        work.finish()
        counts = traced.result()["counts"]
    assert counts[ENTER + "read"] in (500, 501)  # the gate's read may be entered again after the first stop
    assert counts["tracepoint:raw_syscalls:sys_enter"] > 500
    assert counts["tracepoint:raw_syscalls:sys_enter"] - counts["tracepoint:raw_syscalls:sys_exit"] in (0, 1)


def test_children_are_followed() -> None:
    hooks = [f"tracepoint:sched:sched_process_{what}" for what in ("fork", "exec", "exit")]
    hooks.append("tracepoint:signal:signal_deliver")
    with activity("execs", 30) as work, trace(hooks, pid=work.pid) as traced:
        done = work.finish()
        counts = traced.result()["counts"]
    # SIGCHLD that nobody handles is never delivered.
    assert counts == {hooks[0]: done["fork"], hooks[1]: done["execve"], hooks[2]: done["fork"] + 1}


def test_both_sides_return_from_fork() -> None:
    clone = LEAVE + "clone"
    with activity("forks", 40) as work, trace([clone], pid=work.pid, keep={clone: "plain"}) as traced:
        done = work.finish()
        found = traced.result()
    if not found["counts"]:
        pytest.skip("this C library forks by another system call")
    results = [struct.unpack_from("<q", bytes.fromhex(r[5]), 16)[0] for r in found["records"]]
    assert sorted(r for r in results if r) == sorted(done["pids"])
    assert results.count(0) == 40
    assert {r[1] for r, value in zip(found["records"], results) if not value} == set(done["pids"])


def test_signals_reach_their_handlers() -> None:
    deliver, generate = "tracepoint:signal:signal_deliver", "tracepoint:signal:signal_generate"
    with activity("signals", 300) as work, trace([deliver, generate, ENTER + "kill"], pid=work.pid) as traced:
        done = work.finish()
        counts = traced.result()["counts"]
    assert done["handled"] == 300
    assert counts == {deliver: 300, generate: 300, ENTER + "kill": 300}


def test_a_signal_that_kills() -> None:
    with activity("dies", 9) as work, trace(["tracepoint:sched:sched_process_exit"], pid=work.pid) as traced:
        work.release()
        found = traced.result()
        assert work.process.wait(20) == -9
    assert found["counts"] == {"tracepoint:sched:sched_process_exit": 1}


def test_samples_follow_the_time_on_the_cpu() -> None:
    with activity("burns", 600) as work, trace(["profile:hz:99"], pid=work.pid) as traced:
        work.finish()
        found = traced.result()
    assert 35 <= found["counts"]["profile:hz:99"] <= 75  # 59 periods in 600 ms


def test_a_process_that_sleeps_has_no_samples() -> None:
    with activity("naps", 1, 300) as work, trace(["profile:hz:99"], pid=work.pid) as traced:
        work.finish()
        found = traced.result()
    assert found["counts"].get("profile:hz:99", 0) <= 3


def test_detached_in_the_middle_it_goes_on() -> None:
    with activity("naps", 100, 10) as work, trace([ENTER + "clock_nanosleep"], pid=work.pid) as traced:
        work.release()
        time.sleep(0.3)
        found = traced.stop()
        assert found["stop_s"] < 1
        done = work.result()
    assert done["clock_nanosleep"] == 100
    assert 0 < found["counts"][ENTER + "clock_nanosleep"] < 100
    assert work.process.returncode == 0


def test_what_happened_before_the_end_counts() -> None:
    hook = "tracepoint:syscalls:sys_exit_read"
    with activity("naps", 1, 1) as work, trace([hook], pid=work.pid, late=True) as traced:
        assert traced.process.stdin is not None
        traced.process.stdin.close()
        assert traced._next("held") == {"held": True}
        work.release()  # it returns from its read, and stops there
        assert traced.result()["counts"] == {hook: 1}
        work.result()


def test_the_tracer_is_killed_and_the_process_goes_on() -> None:
    with activity("naps", 60, 10) as work, trace([ENTER + "clock_nanosleep"], pid=work.pid) as traced:
        work.release()
        time.sleep(0.2)
        traced.process.kill()
        traced.process.wait(20)
        done = work.result()
    assert done["clock_nanosleep"] == 60
    assert work.process.returncode == 0


def test_a_stopped_process_stays_stopped_until_it_is_continued() -> None:
    with activity("naps", 50, 10) as work, trace([ENTER + "clock_nanosleep"], pid=work.pid) as traced:
        work.release()
        time.sleep(0.1)
        os.kill(work.pid, signal.SIGSTOP)
        time.sleep(0.2)
        with open(f"/proc/{work.pid}/stat", encoding="utf-8") as file:
            before = file.read().split(")")[1].split()
        time.sleep(0.2)
        with open(f"/proc/{work.pid}/stat", encoding="utf-8") as file:
            after = file.read().split(")")[1].split()
        assert before[0] in ("t", "T")
        assert before[11:13] == after[11:13]
        os.kill(work.pid, signal.SIGCONT)
        done = work.result()
        found = traced.result()
    assert done["clock_nanosleep"] == 50
    # The kernel makes the call again that was interrupted.
    assert found["counts"][ENTER + "clock_nanosleep"] in (50, 51)


def test_detached_while_stopped_it_stays_stopped() -> None:
    with activity("naps", 50, 10) as work, trace([ENTER + "clock_nanosleep"], pid=work.pid) as traced:
        work.release()
        time.sleep(0.1)
        os.kill(work.pid, signal.SIGSTOP)
        time.sleep(0.1)
        traced.stop()
        time.sleep(0.1)
        with open(f"/proc/{work.pid}/stat", encoding="utf-8") as file:
            assert file.read().split(")")[1].split()[0] == "T"
        os.kill(work.pid, signal.SIGCONT)
        assert work.result()["clock_nanosleep"] == 50


def test_a_second_tracer_is_told_who_is_first() -> None:
    hooks = [ENTER + "openat"]
    with activity("waits") as work, trace(hooks, pid=work.pid), trace(hooks, pid=work.pid) as second:
        assert second.first["type"] == "PermissionDenied"
        assert "traces it already" in second.first["error"]
        assert second.first["hint"].startswith("end that tracer first: kill ")


def test_no_such_process() -> None:
    with trace([ENTER + "openat"], pid=2**22 - 3) as traced:
        assert traced.first["type"] == "AttachError"
        assert "no such process" in traced.first["error"]


@pytest.mark.skipif(os.getuid() != 0, reason="a process of another user needs root to be there")
def test_a_process_of_somebody_else() -> None:
    if not ordinary()[0]:
        pytest.skip("root may trace everybody")
    with activity("waits", user=False) as work, trace([ENTER + "openat"], pid=work.pid) as traced:
        assert traced.first["type"] == "PermissionDenied"
        assert "belongs to user 0" in traced.first["error"]


def test_the_native_loop_sees_what_the_other_sees() -> None:
    """Our own interpreter has LLVM: calls that nobody wants are passed on by native code."""
    pytest.importorskip("llvmlite")
    hooks = [ENTER + "execve", LEAVE + "execve", LEAVE + "clone", LEAVE + "wait4", ENTER + "wait4"]
    with activity("execs", 40, user=False) as work, trace(hooks, pid=work.pid, user=False) as traced:
        done = work.finish()
        found = traced.result()
    assert found["native"]
    counts = found["counts"]
    assert [counts[name] for name in hooks[:2]] == [done["execve"]] * 2
    assert counts.get(hooks[2], 80) == 2 * done["fork"]
    assert [counts[name] for name in hooks[3:]] == [done["fork"]] * 2
