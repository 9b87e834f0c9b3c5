"""Events that a test makes happen, and what programs find then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from osmia.errors import UsageError, VmFault
from osmia.testing import Vm

Make = Callable[..., Vm]
OPENAT = "tracepoint:syscalls:sys_enter_openat"


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_tracepoint_by_name_of_its_fields(osmia_vm: Make, engine: str) -> None:
    vm = osmia_vm(
        OPENAT + " { @[comm, pid, tid, uid, str(args.filename)] = count(); @flags = args.flags; @dfd = args.dfd; }",
        engine=engine,
    )
    vm.fire(OPENAT, {"filename": "/etc/passwd", "flags": 0o102, "dfd": -100}, comm="cat", pid=7, tid=8, uid=3)
    vm.fire("t:syscalls:sys_enter_openat", {"filename": "/etc/passwd"}, comm="cat", pid=7, tid=8, uid=3)
    assert dict(vm.maps["@"]) == {("cat", 7, 8, 3, "/etc/passwd"): 2}
    assert vm.maps["@flags"].value == 0  # of the second
    assert vm.maps["@dfd"].value == 0


def test_predicates_and_order_of_blocks(osmia_vm: Make) -> None:
    vm = osmia_vm(OPENAT + ' /pid == 7/ { printf("a"); } ' + OPENAT + ' { printf("b"); }')
    vm.fire(OPENAT, pid=7)
    vm.fire(OPENAT, pid=8)
    assert vm.output == "abb"


def test_fields_of_other_tracepoints(osmia_vm: Make) -> None:
    vm = osmia_vm(
        "tracepoint:sched:sched_process_exec { @exec[str(args.filename), args.pid] = count(); }"
        "tracepoint:sched:sched_process_exit { @exit[args.comm] = count(); }"
        "tracepoint:raw_syscalls:sys_enter { @raw[args.id, args.args[1]] = count(); }"
        "tracepoint:syscalls:sys_enter_execve { @argv[str(args.argv[1])] = count(); }"
    )
    vm.fire("tracepoint:sched:sched_process_exec", {"filename": "/bin/true", "pid": 5})
    vm.fire("tracepoint:sched:sched_process_exit", {"comm": "a-name-of-sixteen-bytes"})
    vm.fire("tracepoint:raw_syscalls:sys_enter", {"id": 257, "args": [1, 2, 3]})
    vm.fire("tracepoint:syscalls:sys_enter_execve", {"filename": "/bin/ls", "argv": ["ls", "-l"]})
    assert dict(vm.maps["@exec"]) == {("/bin/true", 5): 1}
    assert dict(vm.maps["@exit"]) == {"a-name-of-sixte": 1}
    assert dict(vm.maps["@raw"]) == {(257, 2): 1}
    assert dict(vm.maps["@argv"]) == {"-l": 1}


def test_wrong_names_say_what_there_is(osmia_vm: Make) -> None:
    vm = osmia_vm(OPENAT + " { @ = count(); }")
    with pytest.raises(UsageError, match=r"no field 'filenam'.*filename"):
        vm.fire(OPENAT, {"filenam": "x"})
    with pytest.raises(UsageError, match="got 'x'"):
        vm.fire(OPENAT, {"flags": "x"})
    with pytest.raises(UsageError, match=r"no program is attached there.*openat"):
        vm.fire("tracepoint:syscalls:sys_enter_close")
    with pytest.raises(UsageError, match="have names"):
        vm.fire(OPENAT, [1, 2])


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_functions(osmia_vm: Make, engine: str) -> None:
    vm = osmia_vm(
        "uprobe:libc:malloc { @size[arg0] = count(); } uretprobe:libc:malloc { @ret = retval; }"
        'uprobe:libc:puts { @text = str(arg0); @r = reg("di") == arg0; }'
        if os.uname().machine == "x86_64"
        else "",
        engine=engine,
    )
    vm.fire("uprobe:libc:malloc", [128])
    vm.fire("uretprobe:libc:malloc", ret=0xABC0)
    vm.fire("uprobe:libc:puts", ["hello"])
    assert dict(vm.maps["@size"]) == {128: 1}
    assert vm.maps["@ret"].value == 0xABC0
    assert vm.maps["@text"].value == "hello"
    assert vm.maps["@r"].value == 1


def test_an_address_that_an_earlier_event_gave(osmia_vm: Make) -> None:
    vm = osmia_vm(
        OPENAT + " { @name[tid] = args.filename; } tracepoint:syscalls:sys_exit_openat /@name[tid]/ "
        '{ printf("%s = %d\\n", str(@name[tid]), args.ret); delete(@name, tid); }'
    )
    for i in range(3):
        vm.fire(OPENAT, {"filename": f"/tmp/{i}"})
        vm.fire("tracepoint:syscalls:sys_exit_openat", {"ret": -2})
    assert vm.lines == ["/tmp/0 = -2", "/tmp/1 = -2", "/tmp/2 = -2"]


def test_what_cannot_be_read(osmia_vm: Make) -> None:
    """As in the kernel: reading fails, the program goes on."""
    vm = osmia_vm(OPENAT + ' { printf("[%s]\\n", str(args.filename)); @ = buf(args.filename, 4); }')
    vm.fire(OPENAT, {"filename": 0x10})
    assert vm.lines == ["[]"]


def test_clock_and_timers(osmia_vm: Make) -> None:
    vm = osmia_vm(
        'begin { @start = nsecs; } interval:s:1 { printf("%lu\\n", nsecs - @start); } '
        "interval:ms:400 { @fast = count(); } profile:hz:10 { @p = count(); }"
    )
    assert vm.advance(0.999) == 2 + 9
    assert vm.output == ""
    vm.advance(2.001)
    assert vm.lines == ["1000000000", "2000000000", "3000000000"]
    assert vm.maps["@fast"].value == 7
    assert vm.maps["@p"].value == 30
    vm.fire("interval:s:1")
    assert len(vm.lines) == 4


def test_exit_ends_it(osmia_vm: Make) -> None:
    vm = osmia_vm('interval:s:1 { @n++; if (@n == 3) { exit(4); } } end { printf("bye\\n"); }')
    assert vm.advance(60) == 3
    assert (vm.ended, vm.status) == (True, 4)
    assert [line for line in vm.lines if line] == ["bye", "@n: 3"]
    with pytest.raises(UsageError, match="the script has ended"):
        vm.advance(1)


def test_finish_prints_maps(osmia_vm: Make) -> None:
    vm = osmia_vm(OPENAT + " { @[comm] = count(); }")
    vm.fire(OPENAT, comm="a")
    vm.fire(OPENAT, comm="b")
    assert vm.finish() == 0
    assert vm.output.strip().splitlines() == ["@[a]: 1", "@[b]: 1"]
    vm.close()
    assert dict(vm.maps["@"]) == {"a": 1, "b": 1}


def test_signals(osmia_vm: Make) -> None:
    vm = osmia_vm('self:signal:SIGUSR1 { printf("poked\\n"); } interval:s:1 { @ = count(); }')
    vm.signal("SIGUSR1")
    assert vm.lines == ["poked"]
    with pytest.raises(UsageError, match="no probe"):
        vm.signal("SIGUSR2")


def test_deterministic(osmia_vm: Make) -> None:
    script = OPENAT + ' { printf("%d %d %d %s %u\\n", pid, uid, cpu, comm, rand); printf("%lu\\n", nsecs); }'
    outputs = []
    for _ in range(2):
        vm = osmia_vm(script)
        vm.fire(OPENAT)
        vm.advance(0.25)
        vm.fire(OPENAT)
        outputs.append(vm.output)
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith("1000 1000 0 test ")
    assert osmia_vm(script, seed=1).fire(OPENAT) == 0


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_helpers_can_be_replaced(osmia_vm: Make, engine: str) -> None:
    script = OPENAT + " { @ = rand; @t = nsecs; }"
    vm = osmia_vm(script, helpers={"get_prandom_u32": 7}, engine=engine)
    vm.fire(OPENAT)
    assert vm.maps["@"].value == 7


def test_helpers_can_be_replaced_later(osmia_vm: Make) -> None:
    vm = osmia_vm(OPENAT + " { @ = rand; }")
    vm.fire(OPENAT)
    calls: list[int] = []

    def chance(machine: Any, *arguments: int) -> int:
        calls.append(1)
        return 9

    vm.mock("get_prandom_u32", chance)
    vm.fire(OPENAT)
    assert (vm.maps["@"].value, calls) == (9, [1])
    assert vm.coverage.line_rate == 1.0


def test_a_fault_is_raised_where_it_was_made(osmia_vm: Make) -> None:
    vm = osmia_vm(OPENAT + " { @ = rand; }", helpers={"get_prandom_u32": _fault})
    with pytest.raises(VmFault, match="wild"):
        vm.fire(OPENAT)
    vm.mock("get_prandom_u32", 1)
    vm.fire(OPENAT)
    assert vm.maps["@"].value == 1


def _fault(machine: Any, *arguments: int) -> int:
    raise VmFault("wild", kind="call")


def test_script_in_a_file_with_parameters(osmia_vm: Make, tmp_path: Path) -> None:
    path = tmp_path / "count.bt"
    path.write_text(OPENAT + ' { @[$1, str($2), getopt("x", 5)] = count(); }')
    vm = osmia_vm(path, params=[3, "name"], options={"x": 6})
    vm.fire(OPENAT)
    assert dict(vm.maps["@"]) == {(3, "name", 6): 1}


def test_stacks_and_names_of_functions(osmia_vm: Make) -> None:
    vm = osmia_vm(
        "kprobe:vfs_read { @k[kstack, func] = count(); @u[ustack(2)] = count(); } "
        'uprobe:libc:malloc { @m[func, usym(reg("ip"))] = count(); }'
    )
    frames = ["vfs_read", "ksys_read+16", "do_syscall_64+0x20"]
    for _ in range(2):
        vm.fire("kprobe:vfs_read", kstack=frames, ustack=["read", "main+4", "_start"])
    vm.fire("uprobe:libc:malloc", [8])
    ((stack, func),) = vm.maps["@k"]
    assert stack.frames == ["vfs_read+0", "ksys_read+16", "do_syscall_64+32"]
    assert (str(func), vm.maps["@k"][stack, func]) == ("vfs_read", 2)
    assert [stack.frames for stack in vm.maps["@u"]] == [["read+0", "main+4"]]
    assert [[str(part) for part in key] for key in vm.maps["@m"]] == [["malloc", "malloc"]]


def test_one_of_many_functions(osmia_vm: Make) -> None:
    vm = osmia_vm("kprobe:vfs_rea* { @[probe, func] = count(); } uprobe:libc:mall* { @u[probe] = count(); }")
    vm.fire("kprobe:vfs_read")
    vm.fire("kprobe:vfs_readv")
    vm.fire("kprobe:vfs_read")
    assert {(probe, str(func)): n for (probe, func), n in vm.maps["@"].items()} == {
        ("kprobe:vfs_read", "vfs_read"): 2, ("kprobe:vfs_readv", "vfs_readv"): 1,
    }  # fmt: skip
    vm.fire("uprobe:libc:malloc")
    ((name, count),) = vm.maps["@u"].items()
    assert (name.rsplit(":", 1)[1], count) == ("malloc", 1)


def test_typed_arguments_of_functions(osmia_vm: Make) -> None:
    if not os.access("/sys/kernel/btf/vmlinux", os.R_OK):
        pytest.skip("needs the types of this kernel")
    vm = osmia_vm(
        "fentry:vfs_read { @in[args.count] = count(); } fexit:vfs_read { @out[args.count, retval] = count(); }"
        "rawtracepoint:sched_switch { @raw[arg0] = count(); } software:faults:1 { @faults = count(); }"
    )
    vm.fire("fentry:vfs_read", {"count": 77, "file": 0})
    vm.fire("fexit:vfs_read", [0, 0, 77, 0], ret=5)
    vm.fire("rawtracepoint:sched_switch", [1, 2, 3])
    vm.fire("software:faults:1")
    assert dict(vm.maps["@in"]) == {77: 1}
    assert dict(vm.maps["@out"]) == {(77, 5): 1}
    assert dict(vm.maps["@raw"]) == {1: 1}
    assert vm.maps["@faults"].value == 1


def test_names_that_a_function_has_not_are_no_arguments() -> None:
    from osmia.errors import UsageError
    from osmia.vm import _events

    if _events._parameters("vfs_read") is None:
        pytest.skip("no kernel types here to name the arguments of functions")
    with Vm("kprobe:vfs_read { @a = arg0; @c = arg2; }") as vm:
        with pytest.raises(UsageError, match="no argument 'cuont'"):
            vm.fire("kprobe:vfs_read", {"cuont": 3})
        vm.fire("kprobe:vfs_read", {"count": 3})
        assert vm.maps["@a"].value == 0
        assert vm.maps["@c"].value == 3
        vm.fire("kprobe:vfs_read", {"arg0": 9})
        assert vm.maps["@a"].value == 9
        with pytest.raises(UsageError, match="turn it back"):
            vm.advance(-3)
    with Vm("rawtracepoint:sched_switch { @preempt = arg0; @next = arg2; }") as vm:
        vm.fire("rawtracepoint:sched_switch", {"preempt": 1, "next": 7})
        assert (vm.maps["@preempt"].value, vm.maps["@next"].value) == (1, 7)
        with pytest.raises(UsageError, match="no argument 'preemt'"):
            vm.fire("rawtracepoint:sched_switch", {"preemt": 1})
