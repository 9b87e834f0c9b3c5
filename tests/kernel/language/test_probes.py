"""Every probe type that runs on this kernel: how often it fires, against what the workload did."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from _tracing import command, run, start_command
from _workloads import Workload, start_activity

Program = Callable[..., Workload]


@pytest.mark.parametrize("names", [("begin", "end"), ("BEGIN", "END")])
def test_begin_and_end(names: tuple[str, str]) -> None:
    begin, end = names
    outcome = run(
        f'{begin} {{ printf("first\\n"); @n = count(); @pid = pid; }} {begin} {{ printf("second\\n"); @n = count(); }} '
        f'{end} {{ printf("last %d\\n", @n); }} interval:ms:20 {{ exit(); }}'
    )
    assert outcome.lines == ["first", "second", "last 2"]
    assert outcome.maps == {"@n": 2, "@pid": os.getpid()}


def test_signals_to_the_tracer() -> None:
    tracer = start_command(
        "trace", "-q", "-e",
        'BEGIN { printf("ready\\n"); } self:signal:SIGUSR1 { @one = count(); printf("%d\\n", @one); }',
    )  # fmt: skip
    with tracer:
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == "ready\n"
        for number in (1, 2, 3):
            tracer.send_signal(signal.SIGUSR1)
            assert tracer.stdout.readline() == f"{number}\n"
        tracer.send_signal(signal.SIGTERM)
        out, err = tracer.communicate(timeout=20)
    assert (out.split(), err, tracer.returncode) == (["@one:", "3"], "", 0)


@pytest.mark.parametrize(
    ("spec", "period_ms"), [("interval:ms:20", 20), ("interval:hz:100", 10), ("interval:30ms", 30)]
)
def test_interval_against_the_clock(spec: str, period_ms: int) -> None:
    maps = run(f"{spec} {{ @n = count(); @cpus[cpu] = count(); @end = nsecs; if (@n == 1) {{ @start = nsecs; }} "
               "if (@n >= 25) { exit(); } }").maps  # fmt: skip
    assert len(maps["@cpus"]) == 1
    span_ms = (maps["@end"] - maps["@start"]) / 1e6
    assert span_ms == pytest.approx((maps["@n"] - 1) * period_ms, rel=0.1, abs=period_ms)


@pytest.mark.parametrize(("spec", "hz"), [("profile:hz:499", 499), ("profile:ms:5", 200), ("profile:us:2500", 400)])
def test_profile_against_cpu_time(spec: str, hz: int) -> None:
    with start_activity("burns", 400) as work:
        outcome = run(f"{spec} /pid == $1/ {{ @ = count(); @user[usermode] = count(); }}", work.pid, work=work)
    expected = outcome.done["cpu_ns"] * hz / 1e9
    assert outcome.maps["@"] == pytest.approx(expected, rel=0.2)
    assert outcome.maps["@user"][1] > 0.5 * outcome.maps["@"]


def test_tracepoint(some_file: Path) -> None:
    with start_activity("opens", some_file, 100) as work:
        maps = run("tracepoint:syscalls:sys_enter_openat /pid == $1/ { @ = count(); }", work.pid, work=work).maps
    assert maps["@"] == 100


def test_tracepoint_wildcard_and_short_name() -> None:
    with start_activity("naps", 7, 1) as work:
        maps = run("t:syscalls:sys_*_clock_nanosleep /pid == $1/ { @[probe] = count(); }", work.pid, work=work).maps
    assert maps["@"] == {f"tracepoint:syscalls:sys_{side}_clock_nanosleep": 7 for side in ("enter", "exit")}


def test_tracepoints_of_all_system_calls() -> None:
    """Several hundred probes in one block."""
    with start_activity("becomes", 0, 0, 30) as work:
        maps = run("tracepoint:syscalls:sys_enter_* /pid == $1/ { @[probe] = count(); }", work.pid, work=work).maps
    counts = {name.removeprefix("tracepoint:syscalls:sys_enter_"): n for name, n in maps["@"].items()}
    assert counts.pop("getppid") == 30
    assert counts.pop("write") == 1
    assert counts.pop("exit_group") == 1
    assert "openat" not in counts


def test_rawtracepoint(program: Program) -> None:
    storm = program("storm.c", 2, 500)
    maps = run(
        "rawtracepoint:sys_enter /pid == $1 && arg1 == 121/ { $regs = (struct pt_regs *)arg0; "
        "@[$regs->orig_ax] = count(); "
        "@sum = sum(-(int32)$regs->di); } rt:sys_exit /pid == $1/ { if ((int64)args.ret == -3) { @failed = count(); "
        "} } "
        "rawtracepoint:sys_enter /pid == $1/ { if (args.id == 121) { @named = count(); } }",
        storm.pid, work=storm,
    ).maps  # fmt: skip
    assert maps["@"] == {121: 1000}  # getpgid on x86-64
    assert maps["@sum"] == sum(range(1, 1001))
    assert maps["@failed"] == maps["@named"] == 1000


def test_rawtracepoint_of_the_scheduler() -> None:
    with start_activity("forks", 12) as work:
        outcome = run(
            "rawtracepoint:sched_process_fork { $parent = (struct task_struct *)arg0; "
            "$child = (struct task_struct *)arg1; "
            "if ($parent->pid == $1) { @[$child->pid] = count(); } }",
            work.pid, work=work,
        )  # fmt: skip
    assert outcome.maps["@"] == dict.fromkeys(outcome.done["pids"], 1)


def test_uprobe_and_uretprobe(program: Program) -> None:
    work = program("calls.c", 40)
    path = work.argv[0]
    outcome = run(
        f"uprobe:{path}:add {{ @add = count(); }} u:{path}:inner {{ @inner = count(); }} "
        f"uretprobe:{path}:fibonacci {{ @fib = count(); }} "
        f"ur:{path}:outer {{ @outer = sum((int32)retval); }} uprobe:{path}:hidden {{ @hidden = count(); }}",
        work=work,
    )  # fmt: skip
    maps, done = outcome.maps, outcome.done
    assert (maps["@add"], maps["@hidden"], maps["@inner"]) == (40, 40, done["inner"])
    assert maps["@outer"] == done["outer"]
    assert maps["@fib"] == 177  # calls that fibonacci(10) makes


def test_uprobe_wildcard(program: Program) -> None:
    work = program("calls.c", 15)
    path = work.argv[0]
    outcome = run(f"uprobe:{path}:*e* /pid == $1/ {{ @[probe] = count(); }}", work.pid, work=work)
    names = {name.rpartition(":")[2]: n for name, n in outcome.maps["@"].items()}
    expected = {"negative": 15, "eight": 15, "greet": 15, "take_order": 15, "take_point": 15, "middle": 30, "inner": 30,
                "outer": 15, "hidden": 15}  # fmt: skip
    assert {name: names.get(name, 0) for name in expected} == expected
    assert "add" not in names and "narrow" not in names and "main" not in names


def test_uretprobe_wildcard(program: Program) -> None:
    work = program("calls.c", 15)
    maps = run(f"uretprobe:{work.argv[0]}:take_* {{ @[func] = sum((int32)retval); }}", work=work, pid=work.pid)
    assert {str(name): n for name, n in maps.maps["@"].items()} == {
        name: maps.done[name] for name in ("take_order", "take_point")
    }


def test_uprobe_of_one_process_and_of_an_offset(program: Program) -> None:
    first, second = program("calls.c", 10), program("calls.c", 20)
    path = first.argv[0]
    nm = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    address = int(next(line for line in nm.splitlines() if line.endswith(" T add")).split()[0], 16)
    script = (
        f"uprobe:{path}:add {{ @name[pid] = count(); }} uprobe:{path}:add+4 {{ @plus[pid] = count(); }} "
        f"uprobe:{path}:{address} {{ @at[pid] = count(); }}"
    )
    outcome = run(script, work=first, pid=first.pid)
    second.finish()
    assert outcome.maps == {"@name": {first.pid: 10}, "@plus": {first.pid: 10}, "@at": {first.pid: 10}}


def test_uprobe_of_mangled_names(program: Program) -> None:
    work = program("shop.cpp", 8)
    maps = run(
        f'uprobe:{work.argv[0]}:cpp:"shop::Basket::add" {{ @both = count(); }} '
        f"uprobe:{work.argv[0]}:_ZN4shop6Basket3addEi {{ @one = sum(arg1); }}",
        work=work,
    ).maps
    assert (maps["@both"], maps["@one"]) == (16, sum(range(8)))


def test_uprobe_in_a_shared_library() -> None:
    with start_activity("becomes", 0, 0, 9) as work:
        maps = run("uprobe:libc:getppid /pid == $1/ { @ = count(); }", work.pid, work=work).maps
    assert maps["@"] == 9


def test_usdt_with_semaphore_and_arguments(program: Program) -> None:
    work = program("usdt.c", 21)
    outcome = run(
        f"usdt:{work.argv[0]}:osmia_test:request {{ @i = sum(arg0); @bytes = sum((int64)arg1); "
        f"@[str(arg2), arg3] = count(); }} "
        f"usdt:{work.argv[0]}:osmia_test:idle {{ @idle = count(); }}",
        work=work,
    )  # fmt: skip
    maps, done = outcome.maps, outcome.done
    assert done["enabled"] == done["calls"] == 21  # the semaphore was up all the time
    assert maps["@i"] == sum(range(21)) and maps["@bytes"] == -sum(range(21))
    assert maps["@"] == Counter(("/odd" if i % 2 else "/even", i % 4) for i in range(21))
    assert maps["@idle"] == done["idle"]


def test_usdt_by_process_and_without_provider(program: Program) -> None:
    work, other = program("usdt.c", 21), program("usdt.c", 5)
    outcome = run(
        f"usdt:{work.argv[0]}:request {{ @[pid] = count(); }} U:*:idle {{ @idle[probe] = count(); }}",
        work=work,
        pid=work.pid,
    )
    other.finish()
    assert outcome.maps["@"] == {work.pid: 21}
    assert list(outcome.maps["@idle"].values()) == [21]


def test_software_page_faults() -> None:
    with start_activity("faults", 400) as work:
        outcome = run(
            "software:page-faults:1 /pid == $1/ { @ = count(); } s:minor-faults:1 /pid == $1/ { @m = count(); }",
            work.pid,
            work=work,
        )
    at_least = outcome.done["minflt"]
    assert 400 <= at_least <= outcome.maps["@"] <= at_least + 25  # the process' end is not in getrusage's count
    assert outcome.maps["@"] == outcome.maps["@m"]


def test_software_context_switches() -> None:
    with start_activity("naps", 40, 2) as work:
        outcome = run("software:context-switches:1 /pid == $1/ { @ = count(); }", work.pid, work=work)
    switches = outcome.done["switches"]
    assert 40 <= switches <= outcome.maps["@"] <= switches + 12


def test_software_cpu_clock_against_cpu_time() -> None:
    with start_activity("burns", 300) as work:
        outcome = run("software:cpu-clock:2000000 /pid == $1/ { @ = count(); }", work.pid, work=work)
    assert outcome.maps["@"] == pytest.approx(outcome.done["cpu_ns"] / 2e6, rel=0.2)


def test_watchpoint_on_a_variable(compiled: Callable[..., Path]) -> None:
    path = compiled("calls.c", "-no-pie")
    nm = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout
    address = next(line for line in nm.splitlines() if line.endswith(" calls_made")).split()[0]
    with Workload([str(path), "33"]) as work:
        outcome = run(f"watchpoint:0x{address}:8:w {{ @ = count(); @pid[pid] = count(); }}", work=work, pid=work.pid)
    assert outcome.maps == {"@": outcome.done["calls_made"], "@pid": {work.pid: 33}}


def test_iter_task_lists_the_processes() -> None:
    with start_activity("waits") as work:
        outcome = run('iter:task { printf("%d:%d:%s\\n", ctx.task.tgid, ctx.task.pid, ctx.task.comm); }')
        listed = {tuple(line.split(":", 2)) for line in outcome.lines}
    me = str(os.getpid())
    threads = {int(tid) for tgid, tid, _comm in listed if tgid == me}
    assert (str(work.pid), str(work.pid), "osmia-work") in listed
    assert threads == {int(tid) for tid in os.listdir("/proc/self/task")}


def test_iter_task_file_lists_descriptors() -> None:
    with start_activity("waits") as work:
        outcome = run(f'iter:task_file {{ if (ctx.task.tgid == {work.pid}) {{ printf("fd %d\\n", ctx.fd); }} }}')
        expected = sorted(int(fd) for fd in os.listdir(f"/proc/{work.pid}/fd"))
    assert sorted(int(line.split()[1]) for line in outcome.lines) == expected


def test_begin_alone_needs_nothing_attached() -> None:
    start = time.monotonic()
    done = command("trace", "-e", 'BEGIN { printf("%d\\n", 6 * 7); }')
    assert re.findall(r"\d+", done.stdout) == ["42"]
    assert done.returncode == 0 and time.monotonic() - start < 5
