"""A kernel without BTF: what needs no kernel types works, what does says what is missing and what to do."""

from __future__ import annotations

import json

import pytest
from _environment import NOBODY, Place, refused

NO_BTF = {"cover": ["/sys/kernel/btf"]}
WORK = (
    "begin { @a = 1; exit(); }",
    "interval:s:9 { @ = count(); }",
    "profile:hz:9 { @[kstack, ustack] = count(); }",
    "tracepoint:syscalls:sys_enter_openat { @[str(args.filename)] = count(); }",
    "rawtracepoint:sched_process_exec { @[comm, pid] = hist(nsecs); }",
    "uprobe:libc:getppid { @[func] = count(); }",
    "struct mine { int a; long b; } uprobe:libc:malloc { @ = ((struct mine *)arg0)->b; }",
)
NEED = (
    ("fentry:vfs_read { @ = count(); }", "match fentry:vfs_read: the kernel's types (BTF) are not available"),
    ("iter:task { @ = count(); }", "match iter:task: the kernel's types (BTF) are not available"),
    ("rawtracepoint:sched_* { @ = count(); }", "match rawtracepoint:sched_*: the kernel's types (BTF) are not"),
    ("rawtracepoint:sched_switch { @ = args.prev.pid; }", "sched_switch"),
    ("begin { print(curtask->pid); }", "'pid'"),
    ("begin { print(((struct task_struct *)curtask)->pid); }", 'unknown type "struct task_struct"'),
)


@pytest.mark.parametrize("script", WORK)
def test_what_needs_no_types_works(place: Place, script: str) -> None:
    done = place.trace(script, "--no-cache", **NO_BTF)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("script", "message"), NEED)
def test_what_needs_types_says_so(place: Place, script: str, message: str) -> None:
    done = place.trace(script, "--no-cache", **NO_BTF)
    assert (done.returncode, done.stdout) == (1, "") and "internal error" not in done.stderr
    assert message in done.stderr
    last = done.stderr.splitlines()[-2:]
    assert (
        last[0] == "osmia: read kernel types: this kernel has no BTF, so its structs and functions have no types here"
    )
    assert last[1].startswith("hint: osmia doctor shows")


def test_objects(place: Place) -> None:
    """One compiled elsewhere for a function of the kernel cannot be loaded."""
    out = place.home(0) + "/f.bpf.o"
    assert place.run("build", "-o", out, "-e", "iter:task { @ = count(); }").returncode == 0
    text = refused(place.run("run", "--dry-run", out, **NO_BTF))
    assert "kernel types" in text and "CONFIG_DEBUG_INFO_BTF" in text


def test_lists(place: Place) -> None:
    for pattern in ("fentry:vfs_re*", "iter:*", "rawtracepoint:sched_*", "struct task_struct"):
        text = refused(place.run("list", pattern, **NO_BTF))
        assert "/sys/kernel/btf/vmlinux" in text and "CONFIG_DEBUG_INFO_BTF" in text
    for pattern in ("tracepoint:sched:*", "kprobe:vfs_rea*", "software:*"):
        done = place.run("list", pattern, **NO_BTF)
        assert done.returncode == 0 and done.stdout and not done.stderr
    done = place.run("list", "*getppid*", **NO_BTF)
    assert "tracepoint:syscalls:sys_enter_getppid" in done.stdout and "not all probes are listed" in done.stderr


def test_doctor(place: Place) -> None:
    done = place.run("doctor", "-o", "json", **NO_BTF)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["tracepoint_scripts"]
    check = next(c for c in told["checks"] if c["name"] == "kernel BTF")
    assert (check["state"], check["value"]) == ("warn", "missing") and "CONFIG_DEBUG_INFO_BTF" in check["fix"]
    assert not told["probes"]["iter"]["works"] and not told["probes"]["fentry"]["works"]
    assert "BTF" in told["probes"]["iter"]["problem"]
    assert told["probes"]["rawtracepoint"]["works"]


def test_types_that_may_not_be_read(place: Place) -> None:
    """BTF is there, but not for this user (0400)."""
    how = {
        "cover": ["/sys/kernel/btf"],
        "private": ["/sys/kernel/btf/vmlinux"],
        "uid": NOBODY,
        "keep": ["CAP_BPF", "CAP_PERFMON"],
    }
    done = place.trace("begin { @a = 1; exit(); }", **how)
    assert done.returncode == 0, done.stderr
    done = place.trace("iter:task { @ = count(); }", **how)
    assert done.returncode == 1 and "internal error" not in done.stderr
    told = json.loads(place.run("doctor", "-o", "json", **how).stdout)
    check = next(c for c in told["checks"] if c["name"] == "kernel BTF")
    assert (check["value"], check["fix"]) == ("not readable", "sudo chmod a+r /sys/kernel/btf/vmlinux")
