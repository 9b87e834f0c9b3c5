"""Probes on kernel functions: entry, return, arguments, wildcards, offsets, modules; counted by the workload too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _workloads import Workload

import osmia
from osmia.errors import OsmiaError, ProbeError
from osmia.session import Printf, Stats

Start = Callable[..., Workload]


@pytest.fixture
def watch(workload: Start) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """`watch(script, "opens", path, 20)`: run the script over that workload; ($1 is its pid) -> (maps, counts)."""

    def run(script: str, *argv: object) -> tuple[dict[str, Any], dict[str, Any]]:
        target = workload(*argv)
        with osmia.trace(script, str(target.pid)) as t:
            done = target.finish()
            maps = {name: m.value if m.scalar else dict(m.items()) for name, m in t.maps.items()}
        return maps, done

    return run


PREFIX = "osmia-guest-"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file to open, on the root file system."""
    file = tmp_path / f"{PREFIX}file"
    file.touch()
    return str(file)


def test_kprobe_sees_each_call_and_its_arguments(watch: Any) -> None:
    # A file on tmpfs: overlayfs opens the file below it as well.
    # Of kernel memory: user memory cannot be read from a kprobe under QEMU's emulation, by bpftrace neither.
    script = """
    kprobe:do_sys_openat2 /pid == $1/ { @at[(int32)arg0] = count(); }
    kprobe:vfs_open /pid == $1/ { @[str(((struct path *)arg0)->dentry->d_name.name)] = count(); }"""
    path = Path(f"/dev/shm/{PREFIX}file")
    path.touch()
    maps, done = watch(script, "opens", path, 20)
    assert maps["@"] == {path.name: done["openat"]}
    assert maps["@at"] == {-100: 20}  # AT_FDCWD


def test_kretprobe_sees_each_return_value(watch: Any) -> None:
    script = "kretprobe:do_sys_openat2 /pid == $1/ { @[(int32)retval] = count(); }"
    maps, done = watch(script, "opens", "/nonexistent/bee", 15)
    assert maps["@"] == {-done["errno"]: done["failed"]} == {-2: 15}


def test_time_per_call_is_between_entry_and_return(watch: Any) -> None:
    script = """
    kprobe:hrtimer_nanosleep /pid == $1/ { @start[tid] = nsecs; }
    kretprobe:hrtimer_nanosleep /@start[tid]/ { @ns = stats(nsecs - @start[tid]); delete(@start, tid); }"""
    maps, done = watch(script, "naps", 5, 20)
    assert isinstance(maps["@ns"], Stats)
    assert maps["@ns"].count == done["clock_nanosleep"] == 5
    assert 5 * 20_000_000 <= maps["@ns"].total <= done["wall_ns"]


def test_fentry_has_typed_arguments_and_fexit_the_result_too(watch: Any) -> None:
    script = """
    fentry:vfs_read /pid == $1/ {
        @asked = sum(args.count);
        @files[str(args.file->f_path.dentry->d_name.name)] = count();
    }
    fexit:vfs_read /pid == $1 && args.count == 77/ { @got = sum(retval); @calls = count(); }"""
    maps, done = watch(script, "reads", 77, 30)
    assert maps["@asked"] == maps["@got"] == done["bytes"] == 77 * 30
    assert maps["@calls"] == done["read"]
    assert maps["@files"] == {"zero": 30}


def test_a_wildcard_is_one_probe_per_function(watch: Any) -> None:
    script = (
        "kprobe:vfs_rea* /pid == $1/ { @[func] = count(); } kretprobe:vfs_rea* /pid == $1/ { @back[func] = count(); }"
    )
    maps, done = watch(script, "reads", 10, 25)
    assert maps["@"] == {"vfs_read": done["read"]}
    assert maps["@back"]["vfs_read"] >= done["read"]  # and the one of the gate, which began before


def test_a_function_of_a_module(watch: Any, path: str) -> None:
    script = """
    kprobe:ovl_open /pid == $1/ { @k = count(); }
    fentry:overlay:ovl_open /pid == $1/ { @f[str(args.file->f_path.dentry->d_name.name)] = count(); }"""
    maps, done = watch(script, "opens", path, 12)
    assert maps["@k"] == done["openat"]
    assert maps["@f"] == {f"{PREFIX}file": 12}


def test_an_offset_inside_of_a_function(watch: Any, path: str) -> None:
    maps, done = watch("kprobe:do_sys_openat2+0 /pid == $1/ { @ = count(); }", "opens", path, 9)
    assert maps["@"] == done["openat"]


def test_an_offset_inside_of_an_instruction_is_refused(tracefs: Path) -> None:
    with pytest.raises(OsmiaError, match=r"do_sys_openat2\+"), osmia.trace("kprobe:do_sys_openat2+1 { @ = count(); }"):
        pass


def test_an_unknown_function_is_refused_with_a_suggestion(tracefs: Path) -> None:
    with pytest.raises((ProbeError, OsmiaError), match="vfs_read"), osmia.trace("kprobe:vfs_raed { @ = count(); }"):
        pass


def test_kernel_stacks_of_dropped_packets_by_the_old_name(workload: Start, tracefs: Path) -> None:
    """`kfree_skb` became `kfree_skb_reason` (5.17) and `sk_skb_reason_drop` (6.11): the old name still works."""
    target = workload("refusals", 4)
    with osmia.trace(r'kprobe:kfree_skb /comm == "osmia-work"/ { printf("kstack: %s\n", kstack); }') as t:
        assert target.finish()["refused"] == 4
        stacks = [e.text for e in t.events(timeout=1) if isinstance(e, Printf)]
    assert sum("tcp_v4_rcv+" in text for text in stacks) >= 4
    assert all("tcp_v4_connect+" in text for text in stacks if "tcp_v4_rcv+" in text)


def test_nothing_stays_registered(tracefs: Path) -> None:
    with osmia.trace("kprobe:do_sys_openat2 { @ = count(); } kretprobe:do_sys_openat2 { @r = count(); }"):
        pass
    assert (tracefs / "kprobe_events").read_text() == ""
