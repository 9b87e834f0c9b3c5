"""Debian's bpftrace and Osmia watch the same workload at the same time: they print the same numbers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from _tracing import run
from _workloads import Workload, start_activity

SIZES = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987]


@contextmanager
def peer(bpftrace: str, script: str, work: Workload, *params: object) -> Iterator[Callable[[], str]]:
    """bpftrace with all probes attached; what is yielded ends it and gives what it printed."""
    # BEGIN runs first and the interval fires once everything is attached.
    watched = f'{script} interval:ms:100 {{ printf("attached\\n"); }}'
    process = subprocess.Popen([bpftrace, "-B", "line", "-e", watched, str(work.pid), *map(str, params)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "attached\n":
            if not line:
                raise AssertionError(f"bpftrace: {process.communicate()[1]}")

        def result() -> str:
            process.terminate()
            out, _ = process.communicate(timeout=30)
            return out.replace("attached\n", "")

        yield result
    finally:
        process.kill()
        process.communicate()


Printed = dict[str, list[str]]


def both(bpftrace: str, work: Workload, script: str, theirs: str = "", **options: object) -> tuple[Printed, Printed]:
    """The maps that each prints at the end: (ours, theirs). `theirs` is the script in the old syntax."""
    with work, peer(bpftrace, theirs or script.replace("args.", "args->"), work) as result:
        outcome = run(script, work.pid, work=work, **options)
        return maps_of(outcome.final), maps_of(result())


def maps_of(text: str) -> Printed:
    """`@name[key]` -> its value: one line, or the rows of a histogram. Entries of the same value have no order of "
    "their own."""
    found: Printed = {}
    key, stack = "", ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if stack and not line.startswith("]"):
            stack += f" {line}"
        elif stack or (line.startswith("@") and ":" in line):
            place, _, value = f"{stack}{line}".partition(
                "]: " if "[" in stack + line and "]: " in stack + line else ":"
            )
            key, stack = place.removesuffix("]"), ""
            found[key] = [plain(value.strip())] if value.strip() else []
        elif line.startswith("@"):
            stack = line
        else:
            found[key].append(line)
    return found


def plain(value: str) -> str:
    """A value as both spell it: stats have another form since 0.17, and pointers were numbers then."""
    value = re.sub(
        r"^\{ \.count = (\S+), \.average = (\S+), \.total = (\S+) \}$", r"count \1, average \2, total \3", value
    )
    return str(int(value, 16) - (1 << 64)) if value.startswith("0xffff") else value


WRITE = "tracepoint:syscalls:sys_enter_write /pid == $1 && args.fd == 3/"


@pytest.mark.parametrize("body", [
    "@ = count();",
    "@[args.count] = count();",
    "@[comm, pid, tid, uid, gid, args.count % 3] = sum(args.count);",
    "@s = sum(args.count); @a = avg(args.count); @least = min(args.count); @most = max(args.count); "
    "@st = stats(args.count);",
    "@[args.count % 4] = stats(args.count); @a[args.count % 4] = avg(args.count);",
    "@h = hist(args.count); @k[comm] = hist(args.count);",
    "@l = lhist(args.count, 0, 100, 10); @k[args.fd] = lhist(args.count, 10, 510, 50);",
    "@cg = cgroup; @task = curtask; @p[probe] = count();",
    '@t = (args.count, "x", pid); if (args.count > 20) { @large = count(); } else { @small = count(); }',
    "@n = args.count; @neg = -5; @x[(int8)args.count] = count(); @sh = (args.count << 3) | 1;",
    "@tail[kstack(1)] = count(); @buf = buf(args.buf, 4);",
    "$i = 0; while ($i < 5) { $i++; @[$i] = count(); } unroll(3) { @u = count(); }",
])  # fmt: skip
def test_maps_print_alike(bpftrace: str, body: str) -> None:
    ours, theirs = both(bpftrace, start_activity("sizes", *SIZES), f"{WRITE} {{ {body} }}")
    assert ours == theirs


def test_strings_and_paths(bpftrace: str, some_file: Path) -> None:
    ours, theirs = both(
        bpftrace, start_activity("opens", some_file, 20),
        "tracepoint:syscalls:sys_enter_openat /pid == $1/ { @[str(args.filename)] = count(); "
        "@flags[args.flags, args.mode] = count(); "
        "@dfd = args.dfd; }",
    )  # fmt: skip
    assert ours == theirs


def test_fields_of_tracepoints(bpftrace: str) -> None:
    ours, theirs = both(
        bpftrace, start_activity("forks", 9),
        "tracepoint:sched:sched_process_fork /args.parent_pid == $1/ { @[args.child_pid] = count(); } "
        "tracepoint:syscalls:sys_exit_wait4 /pid == $1/ { @ret[args.ret] = count(); }",
    )  # fmt: skip
    assert ours == theirs


def test_functions_of_a_program(bpftrace: str, program: Callable[..., Workload]) -> None:
    work = program("calls.c", 30)
    path = work.argv[0]
    ours, theirs = both(
        bpftrace, work,
        f"uprobe:{path}:add /pid == $1/ {{ @a = sum(arg0); @b[arg1] = count(); }} "
        f"uretprobe:{path}:outer /pid == $1/ {{ @r = sum(retval); @h = hist(retval); }} "
        f"uprobe:{path}:greet /pid == $1/ {{ @who[str(arg0)] = count(); }} "
        f"uprobe:{path}:eight {{ @regs[reg(\"di\"), reg(\"si\")] = count(); }}",
        pid=work.pid,
    )  # fmt: skip
    assert ours == theirs


def test_usdt(bpftrace: str, program: Callable[..., Workload]) -> None:
    work = program("usdt.c", 20)
    path = work.argv[0]
    ours, theirs = both(
        bpftrace, work, f"usdt:{path}:osmia_test:idle /pid == $1/ {{ @ = count(); }} "
        f"usdt:{path}:osmia_test:request /pid == $1/ {{ @i = sum(arg0); @n[str(arg2), arg3] = count(); "
        f"}}", pid=work.pid,
    )  # fmt: skip
    assert ours == theirs


def test_software_events(bpftrace: str) -> None:
    ours, theirs = both(bpftrace, start_activity("faults", 200), "software:page-faults:1 /pid == $1/ { @ = count(); }")
    assert ours == theirs


def test_printed_lines(bpftrace: str) -> None:
    script = (
        f'{WRITE} {{ printf("%d|%5d|%-5d|%x|%s|%-12s|%c|%lu\\n", args.count, args.count, args.count, args.count, '
        f"comm, comm, 65, args.count); "
        'printf("%s %d\\n", probe, args.fd); print(args.count); print((1, comm)); }'
    )
    with start_activity("sizes", *SIZES) as work, peer(bpftrace, script.replace("args.", "args->"), work) as result:
        ours = run(script, work.pid, work=work)
        theirs = result()
    assert [line for line in ours.lines if line] == [line for line in theirs.splitlines() if line]


def test_kernel_stacks(bpftrace: str) -> None:
    """The frames below the tracer's own entry are the same."""
    script = "tracepoint:sched:sched_switch /pid == $1/ { @[kstack] = count(); }"
    ours, theirs = both(bpftrace, start_activity("naps", 8, 3), script)

    def counts(printed: Printed) -> dict[tuple[str, ...], int]:
        found: dict[tuple[str, ...], int] = {}
        for key, (count,) in printed.items():
            frames = [word.split("+")[0] for word in key.split()[1:]]
            below = tuple(frames[frames.index("schedule") :]) if "schedule" in frames else tuple(frames)
            found[below] = found.get(below, 0) + int(count)
        return found

    assert counts(ours) == counts(theirs)
    assert sum(counts(ours).values()) >= 8
