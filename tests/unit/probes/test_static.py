"""Tracepoints from the table, for whoever may not read tracefs."""

from __future__ import annotations

import pytest

import osmia
from osmia.errors import ProbeError, SourceError
from osmia.probes import Catalogue, StaticTracepoints, parse_probe, traced_syscalls

TABLE = StaticTracepoints()


def test_records_of_system_calls() -> None:
    fields = TABLE.format("syscalls", "sys_enter_openat").args
    assert [(f.declaration, f.offset, f.size) for f in fields] == [
        ("int __syscall_nr", 8, 4), ("int dfd", 16, 8), ("const char * filename", 24, 8), ("int flags", 32, 8),
        ("umode_t mode", 40, 8),
    ]  # fmt: skip
    assert [f.name for f in TABLE.format("syscalls", "sys_exit_openat").args] == ["__syscall_nr", "ret"]
    assert TABLE.format("syscalls", "sys_enter_getpid").size == 12


def test_every_number_has_its_name() -> None:
    x86, arm = traced_syscalls("x86_64"), traced_syscalls("aarch64")
    assert (x86[0], x86[5], x86[257]) == ("read", "newfstat", "openat")
    assert (arm[56], arm[80], arm[63]) == ("openat", "newfstat", "read")
    assert len(x86) > 350 and len(arm) > 300
    assert "open" not in arm.values()  # which has openat alone
    for name in x86.values():
        for side in ("enter", "exit"):
            assert TABLE.has("syscalls", f"sys_{side}_{name}"), name


def test_other_records() -> None:
    fork = TABLE.format("sched", "sched_process_fork")
    assert [(f.name, f.offset, f.dynamic) for f in fork.args if f.name.endswith("comm")] == [
        ("parent_comm", 8, "data_loc"), ("child_comm", 16, "data_loc"),
    ]  # fmt: skip
    switch = TABLE.format("sched", "sched_switch").field("prev_comm")
    assert switch is not None and (switch.count, switch.is_string) == (16, True)
    raw = TABLE.format("raw_syscalls", "sys_enter").field("args")
    assert raw is not None and (raw.count, raw.size) == (6, 48)


def test_what_is_not_there() -> None:
    assert not TABLE.has("syscalls", "sys_enter_none") and not TABLE.has("none", "none")
    with pytest.raises(ProbeError, match="it is in no table"):
        TABLE.format("xfs", "xfs_none")


def test_patterns_and_suggestions() -> None:
    with Catalogue(static=True) as catalogue:
        found = [m.function for m in catalogue.match(parse_probe("tracepoint:syscalls:sys_enter_open*"))]
        assert {"sys_enter_open", "sys_enter_openat", "sys_enter_openat2"} <= set(found)
        with pytest.raises(ProbeError, match="did you mean tracepoint:syscalls:sys_enter_openat"):
            catalogue.require(parse_probe("tracepoint:syscalls:sys_enter_openatt"))


def test_a_script_without_types_of_the_kernel() -> None:
    script = "tracepoint:syscalls:sys_enter_openat { @[comm, str(args.filename), args.flags] = count(); }"
    obj = osmia.compile(script, target="vm", btf="/nonexistent", cache=False)
    assert [p.name for p in obj.attach_points] == ["tracepoint:syscalls:sys_enter_openat"]
    with pytest.raises(SourceError, match="filenam"):
        osmia.compile(script.replace("filename", "filenam"), target="vm", btf="/nonexistent", cache=False)
