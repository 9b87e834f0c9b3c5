"""`osmia doctor` under these kernels: a probe type works by its word exactly where a script with it attaches."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
from _tracing import command

import osmia
from osmia.errors import OsmiaError
from osmia.isa import HELPERS, PROG_TYPES
from osmia.kernel import helper_support

SCRIPTS = {
    "begin": "begin { @a = 1; }",
    "end": "end { @a = 1; }",
    "self": "self:signal:SIGUSR1 { @a = 1; }",
    "tracepoint": "tracepoint:syscalls:sys_enter_getppid { @ = count(); }",
    "rawtracepoint": "rawtracepoint:sched_process_exec { @ = count(); }",
    "interval": "interval:s:9 { @ = count(); }",
    "profile": "profile:hz:9 { @ = count(); }",
    "software": "software:cpu-clock:1000000000 { @ = count(); }",
    "hardware": "hardware:cycles:1000000000 { @ = count(); }",
    "watchpoint": "watchpoint:0x10000000:8:w { @ = count(); }",
    "uprobe": "uprobe:libc:getppid { @ = count(); }",
    "uretprobe": "uretprobe:libc:getppid { @ = count(); }",
    "kprobe": "kprobe:vfs_read { @ = count(); }",
    "kretprobe": "kretprobe:vfs_read { @ = count(); }",
    "fentry": "fentry:vfs_read { @ = count(); }",
    "fexit": "fexit:vfs_read { @ = count(); }",
    "iter": "iter:task { @ = count(); }",
}


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    done = command("doctor", "-o", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_knows_all_probe_types(told: dict[str, Any]) -> None:
    assert set(told["probes"]) == {*SCRIPTS, "usdt"}  # no file with such notes is in the guests
    assert told["tracepoint_scripts"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_it_says_is_so(told: dict[str, Any], name: str) -> None:
    try:
        with osmia.trace(SCRIPTS[name]):
            works = True
    except OsmiaError:
        works = False
    assert told["probes"][name]["works"] == works


def test_what_these_kernels_have(told: dict[str, Any], series: str) -> None:
    for name in ("kprobe", "kretprobe", "fentry", "fexit", "uprobe", "tracepoint", "iter"):
        assert told["probes"][name]["works"], told["probes"][name]
    features = told["features"]
    assert features["lsm_attach"]["supported"], features["lsm_attach"]
    # Debian builds 6.1 without it.
    assert features["kprobe_multi"]["supported"] or "CONFIG_FPROBE=y" in features["kprobe_multi"]["reason"]
    assert features["uprobe_multi"]["supported"] == (series == "6.12")
    assert series == "6.12" or "Linux 6.6 and newer" in features["uprobe_multi"]["reason"]


def test_helpers_are_those_of_bpftool(series: str) -> None:
    """Debian's bpftool 7.1 is of Linux 6.1, whose messages it understands."""
    if series != "6.1":
        pytest.skip("bpftool 7.1 misreads the verifier of newer kernels")
    if not shutil.which("bpftool"):
        pytest.skip("needs bpftool")
    done = subprocess.run(["bpftool", "-j", "feature", "probe"], capture_output=True, text=True, timeout=200)
    theirs = json.loads(done.stdout)
    told = {name.removesuffix("_available_helpers"): set(found) for name, found in theirs["helpers"].items()}
    known = set().union(*told.values())
    for name in ("kprobe", "tracepoint", "xdp", "sched_cls", "cgroup_skb", "sk_msg"):
        ours = {f"bpf_{h}" for h, id in HELPERS.items() if helper_support(PROG_TYPES[name], id)} & known
        assert ours == told[name], (name, ours ^ told[name])
