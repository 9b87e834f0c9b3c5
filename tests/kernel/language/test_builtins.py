"""Builtins: what the probe saw of the thread, against what the workload and /proc say."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest
from _tracing import command, run
from _workloads import start_activity

import osmia

PPID = "tracepoint:syscalls:sys_enter_getppid /pid == $1/"


def traced(body: str, *params: object, uid: int = 0, gid: int = 0, count: int = 20):
    """Run `body` for `count` calls of getppid by a process of that user."""
    with start_activity("becomes", uid, gid, count) as work:
        outcome = run(f"{PPID} {{ {body} }}", work.pid, *params, work=work)
    assert outcome.done["getppid"] == count
    return outcome


def field_of(pid: int | str, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{name}:"))


def test_pid_tid_comm_ppid_pcomm() -> None:
    outcome = traced("@[pid, tid, comm, ppid, pcomm] = count();")
    me, pid = os.getpid(), outcome.done["pid"]
    assert outcome.done["ppid"] == me
    assert outcome.maps["@"] == {(pid, pid, "osmia-work", me, field_of(me, "Name")): 20}


def test_threads_have_their_own_tid_and_comm(program) -> None:
    work = program("threads.c", 3, 10)
    path = work.argv[0]
    outcome = run(f"uprobe:{path}:step {{ @[pid, tid, comm] = count(); @lead[leader_tid] = count(); }}", work=work)
    assert outcome.maps["@"] == {
        (work.pid, tid, f"worker-{number}"): 10 for number, tid in enumerate(outcome.done["tids"])
    }
    assert outcome.maps["@lead"] == {work.pid: 30}


def test_uid_gid_username() -> None:
    outcome = traced("@[uid, gid] = count(); @name[username] = count();", uid=65534, gid=4321)
    assert outcome.maps["@"] == {(65534, 4321): 20}
    assert {str(name) for name in outcome.maps["@name"]} == {"nobody"}


def test_nsecs_and_elapsed_against_the_clock() -> None:
    clocks = {"boot": time.CLOCK_BOOTTIME, "mono": time.CLOCK_MONOTONIC, "tai": time.CLOCK_TAI}
    before = {name: time.clock_gettime_ns(clock) for name, clock in clocks.items()}
    outcome = traced(
        "@least = min(nsecs); @most = max(nsecs); @mono = max(nsecs(monotonic)); @tai = max(nsecs(tai)); "
        "@boot = max(nsecs(boot)); @first = min(elapsed); @last = max(elapsed); $a = nsecs; $b = elapsed; "
        "@start = $a - $b;"
    )
    after = {name: time.clock_gettime_ns(clock) for name, clock in clocks.items()}
    maps = outcome.maps
    for name, value in (("boot", "@least"), ("boot", "@most"), ("boot", "@boot"), ("mono", "@mono"), ("tai", "@tai")):
        assert before[name] < maps[value] < after[name], value
    assert maps["@most"] - maps["@least"] < maps["@last"] < after["boot"] - before["boot"]
    assert maps["@first"] <= maps["@last"]
    assert before["boot"] < maps["@start"] < maps["@least"]  # the trace began in between


def test_elapsed_and_nsecs_run_at_the_same_rate() -> None:
    with start_activity("naps", 10, 10) as work:
        outcome = run(
            "tracepoint:syscalls:sys_enter_clock_nanosleep /pid == $1/ { if (!@n0) { @n0 = nsecs; @e0 = elapsed; } "
            "@n = nsecs; @e = elapsed; @c = count(); }",
            work.pid, work=work,
        )  # fmt: skip
    maps = outcome.maps
    assert maps["@c"] == outcome.done["clock_nanosleep"] == 10
    by_nsecs, by_elapsed = maps["@n"] - maps["@n0"], maps["@e"] - maps["@e0"]
    assert 90e6 <= by_nsecs <= outcome.done["wall_ns"]
    assert abs(by_nsecs - by_elapsed) < 1e6


def test_cpu_of_a_pinned_process() -> None:
    for cpu in sorted(os.sched_getaffinity(0))[:2]:
        with start_activity("becomes", 0, 0, 20) as work:
            os.sched_setaffinity(work.pid, {cpu})
            assert run(f"{PPID} {{ @[cpu] = count(); }}", work.pid, work=work).maps["@"] == {cpu: 20}
    assert traced("@ = ncpus;").maps["@"] == os.cpu_count()


def test_rand_is_spread_over_32_bits() -> None:
    values = list(traced("@[rand] = count();", count=500).maps["@"])
    assert len(values) > 495  # two alike among 500 of 2**32: one run in 30,000
    assert all(0 <= value < 1 << 32 for value in values)
    assert 0.4 < sum(values) / len(values) / (1 << 32) < 0.6


def test_curtask_is_the_task_of_the_thread(clock_ticks: int) -> None:
    """Struct access through BTF: pointers, structs in structs, arrays of structs, char arrays."""
    with start_activity("becomes", 0, 0, 20) as work:
        _, hard = resource.prlimit(work.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(work.pid, resource.RLIMIT_NOFILE, (199, hard))
        stat = Path(f"/proc/{work.pid}/stat").read_text().rsplit(")", 1)[1].split()
        outcome = run(
            f"{PPID} {{ $t = (struct task_struct *)curtask; @[$t->pid, $t->tgid, $t->comm, "
            f"$t->real_parent->tgid] = count(); "
            "@same[$t == curtask] = count(); @files = $t->signal->rlim[7].rlim_cur; @start = $t->start_boottime; "
            "@uid = $t->cred->uid.val; @nice = $t->static_prio - 120; @pid1 = curtask.group_leader.pid; "
            "@comm = str($t->comm); @first = $t->comm[0]; @one[curtask] = count(); }",
            work.pid, work=work,
        )  # fmt: skip
    maps, pid = outcome.maps, work.pid
    assert maps["@"] == {(pid, pid, "osmia-work", os.getpid()): 20}
    assert maps["@same"] == {True: 20}
    assert maps["@files"] == 199
    assert maps["@start"] * clock_ticks // 10**9 == int(stat[19])  # field 22: start time since boot
    assert (maps["@uid"], maps["@nice"]) == (0, int(stat[16]))
    assert maps["@pid1"] == pid
    assert (maps["@comm"], maps["@first"]) == ("osmia-work", ord("o"))
    assert list(maps["@one"].values()) == [20]


def test_bit_fields_of_the_kernel() -> None:
    script = f"{PPID} {{ @[curtask.sched_reset_on_fork, curtask.in_execve] = count(); }}"
    for flag, bit in ((0, 0), (os.SCHED_RESET_ON_FORK, 1)):
        with start_activity("becomes", 0, 0, 5) as work:
            os.sched_setscheduler(work.pid, os.SCHED_OTHER | flag, os.sched_param(0))
            assert run(script, work.pid, work=work).maps["@"] == {(bit, 0): 5}


def test_structs_and_bit_fields_of_a_program(program) -> None:
    """The program's own struct, declared in the script: bit fields, nested structs, arrays, pointers."""
    work = program("calls.c", 16)
    outcome = run(
        "struct point { int x; int y; }; struct order { uint64_t id; char customer[16]; struct point place; "
        "uint32_t flags : 3; uint32_t priority : 5; const char *note; }; "
        f"uprobe:{work.argv[0]}:take_order {{ $o = (struct order *)arg0; @flags[$o->flags] = count(); "
        f"@p[$o->priority] = count(); "
        "@who[$o->customer] = count(); @sum = sum($o->place.x + $o->place.y); @notes[str($o->note)] = count(); "
        "@size = sizeof(struct order); @at = offsetof(struct order, note); @third[$o->customer[4]] = count(); "
        "$copy = *$o; @ids = sum($copy.id); }",
        work=work,
    )  # fmt: skip
    maps = outcome.maps
    assert maps["@flags"] == dict.fromkeys(range(8), 2)
    assert maps["@p"] == {9: 16}
    assert maps["@who"] == {f"bee-{i}": len(range(i, 16, 3)) for i in range(3)}
    assert maps["@third"] == {ord(str(i)): len(range(i, 16, 3)) for i in range(3)}
    assert maps["@sum"] + maps["@ids"] == outcome.done["take_order"]
    assert maps["@notes"] == {"urgent": 16}
    assert (maps["@size"], maps["@at"]) == (48, 40)


def test_probe_and_func(program) -> None:
    work = program("calls.c", 10)
    path = work.argv[0]
    maps = run(
        f"uprobe:{path}:inner, uprobe:{path}:middle, uretprobe:{path}:outer {{ @[probe, func] = count(); }}", work=work
    ).maps
    assert maps["@"] == {
        (f"uprobe:{path}:inner", "inner"): 20, (f"uprobe:{path}:middle", "middle"): 20,
        (f"uretprobe:{path}:outer", "outer"): 10,
    }  # fmt: skip


def test_args_of_a_tracepoint(some_file: Path) -> None:
    with start_activity("opens", some_file, 10) as work:
        outcome = run(
            "tracepoint:syscalls:sys_enter_openat /pid == $1/ { @[str(args.filename), args.flags, (int32)args.dfd, "
            "args.mode] "
            "= count(); } tracepoint:syscalls:sys_exit_openat /pid == $1/ { @ret[args.ret] = count(); }",
            work.pid, work=work,
        )  # fmt: skip
    assert outcome.maps["@"] == {(str(some_file), os.O_RDONLY | os.O_CLOEXEC, -100, 0): 10}
    assert list(outcome.maps["@ret"].values()) == [10]


def test_arguments_and_retval(program) -> None:
    work = program("calls.c", 25)
    path, n = work.argv[0], 25
    outcome = run(
        f"uprobe:{path}:add {{ @a = sum((int32)arg0); @b[arg1] = count(); @named = sum(args.a + args.b); }} "
        f"uretprobe:{path}:add {{ @ret = sum((int32)retval); }} uretprobe:{path}:negative {{ @neg = "
        f"sum((int64)retval); }} "
        f"uprobe:{path}:eight {{ @sixth[arg5] = count(); @args[arg0, arg1, arg2, arg3, arg4] = count(); }} "
        f"uretprobe:{path}:eight {{ @eight = sum(retval); }} uretprobe:{path}:narrow {{ @narrow = "
        f"sum((uint8)retval); }} "
        f"uprobe:{path}:greet {{ @who[str(arg0)] = count(); }} uretprobe:{path}:greet {{ @said[str(retval)] = "
        f"count(); }}",
        work=work,
    )  # fmt: skip
    maps, done = outcome.maps, outcome.done
    assert maps["@a"] == sum(range(n)) and maps["@b"] == {10: n}
    assert maps["@named"] == maps["@ret"] == done["add"]
    assert maps["@neg"] == done["negative"]
    assert maps["@args"] == {(1, 2, 3, 4, 5): n} and maps["@sixth"] == {6: n}
    assert maps["@eight"] == done["eight"]
    assert maps["@narrow"] == done["narrow"]
    assert maps["@who"] == {f"bee-{i}": len(range(i, n, 3)) for i in range(3)}
    assert maps["@said"] == {f"hello bee-{i}": len(range(i, n, 3)) for i in range(3)}


def test_usermode() -> None:
    assert traced("@[usermode] = count();").maps["@"] == {0: 20}


def test_jiffies_run_as_the_clock_does() -> None:
    with start_activity("naps", 10, 20) as work:
        maps = run(
            "tracepoint:syscalls:sys_enter_clock_nanosleep /pid == $1/ { if (!@j0) { @j0 = jiffies; @n0 = nsecs; } "
            "@j = jiffies; @n = nsecs; }",
            work.pid, work=work,
        ).maps  # fmt: skip
    ticks, seconds = maps["@j"] - maps["@j0"], (maps["@n"] - maps["@n0"]) / 1e9
    assert any(abs(ticks - seconds * hz) <= 2 for hz in (100, 250, 300, 1000))  # what kernels are built with


def test_the_command_that_is_traced() -> None:
    done = command(
        "trace", "-q", "-c", "/bin/sleep 0.01", "-e",
        "tracepoint:syscalls:sys_enter_clock_nanosleep /pid == cpid/ { @[comm, has_cpid, ppid] = count(); } "
        'BEGIN { printf("%d\\n", pid); }',
    )  # fmt: skip
    tracer, final = done.stdout.split()[0], done.stdout.splitlines()[-1]
    assert final == f"@[sleep, true, {tracer}]: 1" or final == f"@[sleep, 1, {tracer}]: 1"


def test_numbers_of_the_machine_and_types_of_probes(program) -> None:
    work = program("calls.c", 5)
    maps = run(
        f"uprobe:{work.argv[0]}:add {{ @type[probetype] = count(); @node[numaid] = count(); @cpus = ncpus; }}",
        work=work,
    ).maps
    assert maps["@type"] == {"uprobe": 5}
    assert maps["@node"].keys() <= {
        int(path.name[4:]) for path in Path("/sys/devices/system/node").glob("node[0-9]*")
    } | {0}
    assert maps["@cpus"] == os.cpu_count()


def test_comm_of_another_process() -> None:
    """By number, where the kernel lets programs look tasks up; elsewhere it is an error, never an empty name."""
    with start_activity("waits") as work:
        number = f"(uint32){work.pid}"
        outcome = run(f'iter:task {{ if (ctx.task.pid == {os.getpid()}) {{ printf("%s\\n", comm({number})); }} }}')
    assert outcome.lines == ["osmia-work"]
    with pytest.raises(osmia.OsmiaError, match="comm"):
        osmia.compile(f"BEGIN {{ @ = comm({number}); }}")
