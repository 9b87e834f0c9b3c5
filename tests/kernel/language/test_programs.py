"""Programs that people write down when they explain eBPF: stacks of the network path, latencies, time per call, "
"listings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from _tracing import SOURCES, command, run, start_command
from _workloads import Workload, start_activity

LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
SIZE = 1237  # of datagrams: nobody else on this machine sends packets of just this length
ON_WIRE = SIZE + 8 + 20  # UDP and IP headers
Program = Callable[..., Workload]


def listed(*argv: str) -> list[str]:
    return command("bpftrace", "-l", *argv).stdout.splitlines()


# P7


def test_who_is_in_the_network_path() -> None:
    script = 'tracepoint:net:* { printf("%s(%d): %s %s\\n", comm, pid, probe, kstack()); }'
    with start_activity("datagrams", SIZE, 25) as work:
        outcome = run(script, work=work)
    blocks = re.split(r"^(?=\S+\(\d+\): )", outcome.text, flags=re.M)
    own = [block for block in blocks if block.startswith(f"osmia-work({work.pid}): ")]
    queued = [block for block in own if "tracepoint:net:net_dev_queue " in block]
    assert len(queued) == outcome.done["sendto"] == 25
    for block in queued:
        frames = [line.strip().split("+")[0] for line in block.splitlines()[1:] if line.strip()]
        assert frames[0].startswith("__dev_queue_xmit")
        assert frames.index("udp_sendmsg") < frames.index("__x64_sys_sendto") < frames.index("do_syscall_64")
        assert all(re.fullmatch(r" {8}\S+\+\d+", line) for line in block.splitlines()[1:] if line.strip())
    probes = {block.split()[1] for block in own}
    assert {
        "tracepoint:net:net_dev_queue",
        "tracepoint:net:net_dev_start_xmit",
        "tracepoint:net:net_dev_xmit",
    } <= probes


def test_the_network_script_matches_every_event_of_the_folder(tracefs: Path) -> None:
    events = {f"tracepoint:net:{path.parent.name}" for path in tracefs.glob("events/net/*/format")}
    assert set(listed("tracepoint:net:*")) == events and events
    done = command("trace", "--dry-run", "-e", "tracepoint:net:* { @[probe] = count(); }")
    assert done.returncode == 0 and done.stderr == ""


# P8


def test_lists_tracepoints(tracefs: Path) -> None:
    syscalls = {f"tracepoint:syscalls:{path.parent.name}" for path in tracefs.glob("events/syscalls/*/format")}
    assert set(listed("tracepoint:syscalls:*")) == syscalls and len(syscalls) > 500
    everything = {
        f"tracepoint:{path.parent.parent.name}:{path.parent.name}" for path in tracefs.glob("events/*/*/format")
    }
    everything = {name for name in everything if not name.startswith("tracepoint:ftrace:")}
    whole = listed()
    assert {line for line in whole if line.startswith("tracepoint:")} == everything
    opening = listed("*open*")
    assert {line for line in opening if line.startswith("tracepoint:")} == {
        name for name in everything if "open" in name
    }
    assert command("list", "tracepoint:syscalls:*").stdout.splitlines() == listed("tracepoint:syscalls:*")


def test_lists_the_fields_of_a_tracepoint() -> None:
    assert command("bpftrace", "-lv", "tracepoint:syscalls:sys_enter_openat").stdout.splitlines() == [
        "tracepoint:syscalls:sys_enter_openat",
        "    int __syscall_nr",
        "    int dfd",
        "    const char * filename",
        "    int flags",
        "    umode_t mode",
    ]


def test_lists_the_functions_of_a_library() -> None:
    if not Path(LIBC).exists():
        pytest.skip(f"{LIBC} is not there")
    names = {line.removeprefix(f"uprobe:{LIBC}:") for line in listed(f"uprobe:{LIBC}:*")}
    rows = subprocess.run(["readelf", "-Ws", "--dyn-syms", LIBC], capture_output=True, text=True, check=True).stdout
    functions = {
        row.split()[7].split("@")[0]
        for row in rows.splitlines()
        if len(row.split()) > 7 and row.split()[3] in ("FUNC", "IFUNC") and row.split()[6] != "UND"
    }
    assert len(functions) > 1500
    assert functions - names == set()  # names also holds local functions, where the library has debug symbols


def test_lists_the_usdt_probes_of_a_library() -> None:
    if not Path(LIBC).exists():
        pytest.skip(f"{LIBC} is not there")
    notes = subprocess.run(["readelf", "-n", LIBC], capture_output=True, text=True, check=True).stdout
    providers, names = re.findall(r"^\s*Provider: (\S+)", notes, re.M), re.findall(r"^\s*Name: (\S+)", notes, re.M)
    assert set(listed(f"usdt:{LIBC}:*")) == {f"usdt:{LIBC}:{p}:{n}" for p, n in zip(providers, names)}


def test_lists_what_the_peer_lists(bpftrace: str) -> None:
    for pattern in ("tracepoint:sched:*", "tracepoint:syscalls:*open*", f"uprobe:{LIBC}:*getp*", f"usdt:{LIBC}:*"):
        theirs = subprocess.run([bpftrace, "-l", pattern], capture_output=True, text=True, timeout=60).stdout
        assert set(listed(pattern)) == set(theirs.splitlines()), pattern


# P10


def test_reads_every_format_file(tracefs: Path) -> None:
    """`cat .../format` and the listing name the same fields, in their order."""
    shown: dict[str, list[str]] = {}
    for line in listed("-v", "tracepoint:*"):
        if line.startswith("tracepoint:"):
            fields = shown.setdefault(line, [])
        elif line.strip():
            fields.append(re.sub(r"(\[\w*\])+$", "", line.strip()).split()[-1].lstrip("*"))
    assert len(shown) > 500
    for name, fields in shown.items():
        _, category, event = name.split(":")
        text = (tracefs / "events" / category / event / "format").read_text()
        declared = [m.strip() for m in re.findall(r"^\tfield:([^;]*);", text, re.M)]
        named = [re.sub(r"(\[[^]]*\])+$", "", d).split()[-1].lstrip("*") for d in declared]
        assert fields == [field for field in named if not field.startswith("common_")], name


# P12


def test_the_four_steps_of_attaching_are_seen_by_strace(program: Program) -> None:
    """Load, remember the descriptor, open the event, attach: a uprobe as perf event."""
    try:
        subprocess.run(["strace", "-V"], capture_output=True, check=True)
    except OSError:
        pytest.skip("strace is not installed (apt-get install strace)")
    path = program("calls.c", 1).argv[0]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=bpf,perf_event_open,ioctl", sys.executable, "-m", "osmia", "trace",
         "--dry-run", "-e", f"uprobe:{path}:add {{ @ = count(); }}"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": SOURCES},
    )  # fmt: skip
    loads = re.findall(r"bpf\(BPF_PROG_LOAD, .*prog_type=BPF_PROG_TYPE_KPROBE.*\) = (\d+)", done.stderr)
    events = re.findall(r"perf_event_open\(.*\) = (\d+)", done.stderr)
    attached = re.findall(
        r"(?:ioctl\((\d+), PERF_EVENT_IOC_SET_BPF, (\d+)\)|bpf\(BPF_LINK_CREATE, .*?prog_fd=(\d+).*?target_fd=(\d+))",
        done.stderr,
    )
    assert loads and events and attached, done.stderr
    pairs = [(event, prog) if event else (target, linked) for event, prog, linked, target in attached]
    assert any(event in events and prog in loads for event, prog in pairs), done.stderr
    steps = [done.stderr.index(step) for step in ("BPF_PROG_LOAD", "perf_event_open(")]
    assert steps == sorted(steps)


# P13


def test_packets_received_by_size_and_latency() -> None:
    with start_activity("datagrams", SIZE, 60) as work:
        outcome = run(
            f"tracepoint:net:net_dev_queue /args.len == {ON_WIRE + 14}/ {{ @queued[args.skbaddr] = nsecs; "
            f"@sent = count(); }} "
            f"tracepoint:net:netif_receive_skb /args.len == {ON_WIRE}/ {{ @received = count(); @bytes = sum(args.len); "
            "@size = hist(args.len); @average = avg(args.len); @device[str(args.name)] = count(); "
            "$start = @queued[args.skbaddr]; "
            "if ($start) { $ns = nsecs - $start; @latency = hist($ns); @mean = avg($ns); @most = max($ns); "
            "@paired = count(); "
            "delete(@queued, args.skbaddr); } }",
            work=work,
        )  # fmt: skip
    maps = outcome.maps
    assert outcome.done["sendto"] == 60
    assert (maps["@sent"], maps["@received"], maps["@paired"]) == (60, 60, 60)
    assert maps["@bytes"] == 60 * ON_WIRE and maps["@average"] == ON_WIRE
    assert maps["@size"].buckets == ((1024, 2048, 60),)
    assert maps["@device"] == {"lo": 60}
    assert maps["@latency"].total == 60 and 0 < maps["@mean"] <= maps["@most"] < 1e9
    assert maps["@queued"] == {}


# P14


def test_system_calls_by_name_argument_and_result(tmp_path: Path) -> None:
    missing = tmp_path / "not-there"
    with start_activity("opens", missing, 30) as work:
        outcome = run(
            "tracepoint:syscalls:sys_enter_* /pid == $1/ { @calls[probe] = count(); } "
            "tracepoint:syscalls:sys_enter_openat /pid == $1/ { @start[tid] = nsecs; "
            "@name[str(args.filename)] = count(); } "
            "tracepoint:syscalls:sys_exit_openat /pid == $1 && @start[tid]/ { @ret[args.ret] = count(); "
            "@ns = stats(nsecs - @start[tid]); delete(@start, tid); }",
            work.pid, work=work,
        )  # fmt: skip
    maps = outcome.maps
    assert outcome.done["failed"] == 30
    assert maps["@calls"]["tracepoint:syscalls:sys_enter_openat"] == 30
    assert maps["@name"] == {str(missing): 30}
    assert maps["@ret"] == {-outcome.done["errno"]: 30}
    assert maps["@ns"].count == 30 and maps["@ns"].total > 0
    assert maps["@start"] == {}


@pytest.mark.parametrize(("what", "arguments", "call", "total"), [
    ("reads", (77, 50), "read", "bytes"), ("writes", (33, 50), "write", "bytes"), ("signals", (20,), "kill", None),
])  # fmt: skip
def test_results_of_system_calls_add_up(what: str, arguments: tuple[int, ...], call: str, total: str | None) -> None:
    with start_activity(what, *arguments) as work:
        outcome = run(
            f"tracepoint:syscalls:sys_exit_{call} /pid == $1 && args.ret >= 0/ {{ @[args.ret] = count(); "
            f"@sum = sum(args.ret); }}",
            work.pid, work=work,
        )  # fmt: skip
    done, ret = outcome.done, arguments[0] if total else 0
    assert outcome.maps["@"][ret] == done[call]
    if total:
        others = sum(value * n for value, n in outcome.maps["@"].items() if value != ret)
        assert outcome.maps["@sum"] - others == done[total]


# P15


def test_function_time_arguments_and_calls(program: Program) -> None:
    work = program("calls.c", 50)
    path = work.argv[0]
    outcome = run(
        f"uprobe:{path}:outer {{ @start[tid] = nsecs; @argument = sum((int32)arg0); }} "
        f"uretprobe:{path}:outer /@start[tid]/ {{ @ns = hist(nsecs - @start[tid]); "
        f"@time[func] = sum(nsecs - @start[tid]); "
        "@result = sum((int32)retval); delete(@start, tid); } "
        f"uprobe:{path}:inner, uprobe:{path}:middle {{ @calls[probe] = count(); }}",
        work=work, pid=work.pid,
    )  # fmt: skip
    maps, done = outcome.maps, outcome.done
    assert maps["@argument"] == sum(range(50))
    assert maps["@result"] == done["outer"]
    assert maps["@ns"].total == 50
    assert {str(name) for name in maps["@time"]} == {"outer"} and min(maps["@time"].values()) > 0
    assert maps["@calls"] == {f"uprobe:{path}:{name}": done[name] for name in ("inner", "middle")}


def test_local_values_of_a_function(program: Program) -> None:
    """What a caller holds in a local variable, through the pointer that it hands on."""
    work = program("calls.c", 9)
    outcome = run(
        "struct where { int x; int y; }; struct order { uint64_t id; char customer[16]; struct where place; }; "
        f"uprobe:{work.argv[0]}:take_order {{ $o = (struct order *)arg0; @id = sum($o->id); @x = sum($o->place.x); "
        f"@y = sum($o->place.y); }}",
        work=work,
    )
    assert (outcome.maps["@id"], outcome.maps["@x"], outcome.maps["@y"]) == (36, 36, 72)


# P16


def test_processes_that_begin_and_end() -> None:
    with start_activity("forks", 14) as work:
        outcome = run(
            "tracepoint:sched:sched_process_fork /args.parent_pid == $1/ { @children[args.child_pid] = count(); "
            "@parent[str(args.parent_comm)] = count(); } "
            "tracepoint:sched:sched_process_exit /ppid == $1/ { @ended[args.pid] = args.prio; "
            "@who[str(args.comm)] = count(); }",
            work.pid, work=work,
        )  # fmt: skip
    pids = outcome.done["pids"]
    assert outcome.maps["@children"] == dict.fromkeys(pids, 1)
    assert outcome.maps["@parent"] == {"osmia-work": 14}
    assert outcome.maps["@ended"] == dict.fromkeys(pids, 120)
    assert outcome.maps["@who"] == {"osmia-work": 14}


def test_programs_that_are_executed() -> None:
    with start_activity("execs", 6, "/bin/true", "osmia-marker") as work:
        outcome = run(
            "tracepoint:sched:sched_process_exec /ppid == $1/ { @[str(args.filename), args.pid == pid] = count(); "
            "@pids[args.pid] = count(); }",
            work.pid, work=work,
        )  # fmt: skip
    assert outcome.maps["@"] == {("/bin/true", True): 6}
    assert outcome.maps["@pids"] == dict.fromkeys(outcome.done["pids"], 1)


def test_events_as_they_happen() -> None:
    """The command prints while the trace runs, not at its end."""
    script = 'tracepoint:syscalls:sys_enter_getppid /pid == $1/ { printf("%s %d\\n", comm, pid); }'
    with start_activity("becomes", 0, 0, 3) as work, start_command("trace", "-e", script, str(work.pid)) as tracer:
        assert tracer.stdout is not None and tracer.stderr is not None
        assert tracer.stderr.readline() == "Attached 1 probe\n"
        work.finish()
        assert [tracer.stdout.readline() for _ in range(3)] == [f"osmia-work {work.pid}\n"] * 3
        assert tracer.poll() is None
        tracer.terminate()
        tracer.communicate(timeout=20)
