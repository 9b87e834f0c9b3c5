"""Matching against a machine made of files, and against the running kernel's BTF."""

from __future__ import annotations

from pathlib import Path

import pytest

from osmia.btf import Btf
from osmia.errors import NotSupported, ProbeError
from osmia.probes import Catalogue, attach_multi, describe_args, list_probes, parse_probe, similar_probes


@pytest.fixture
def catalogue(fake_tracefs: str, fake_kallsyms: bytes) -> Catalogue:
    return Catalogue(None, fake_tracefs, fake_kallsyms)


def names(catalogue: Catalogue, text: str) -> list[str]:
    return [match.name for match in catalogue.match(parse_probe(text))]


def test_tracepoints(catalogue: Catalogue) -> None:
    assert names(catalogue, "t:sched:sched_switch") == ["tracepoint:sched:sched_switch"]
    assert names(catalogue, "t:s*:sys_*_openat") == [
        "tracepoint:syscalls:sys_enter_openat",
        "tracepoint:syscalls:sys_exit_openat",
    ]
    assert names(catalogue, "t:sched:nope") == []
    assert names(catalogue, "t:ftrace:print") == []
    assert names(catalogue, "t:..:events") == []
    assert names(catalogue, "t:*:*") == list(list_probes(catalogue, "tracepoint:*"))


def test_no_match_suggests(catalogue: Catalogue) -> None:
    with pytest.raises(ProbeError) as caught:
        catalogue.require(parse_probe("t:sched:sched_swich"))
    assert caught.value.message == "No matches for tracepoint sched:sched_swich."
    assert caught.value.suggestions == ("tracepoint:sched:sched_switch",)
    with pytest.raises(ProbeError) as caught:
        catalogue.require(parse_probe("t:syscall:sys_enter_openat"))
    assert caught.value.suggestions == ("tracepoint:syscalls:sys_enter_openat",)
    with pytest.raises(ProbeError) as caught:
        catalogue.require(parse_probe("k:vfs_raed"))
    assert "kprobe:vfs_read" in caught.value.suggestions


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("tracepoint:syscalls:sys_enter_opnat", "tracepoint:syscalls:sys_enter_openat"),
        ("t:syscalls:sys_enter_opena_*", "tracepoint:syscalls:sys_enter_openat"),
        ("tracepoint:syscall:sys_enter_openat", "tracepoint:syscalls:sys_enter_openat"),
        ("tracepoint:sced:sched_swich", "tracepoint:sched:sched_switch"),
        ("kprobe:vfs_reed", "kprobe:vfs_read"),
        ("kretprobe:tiny:mod_wrk", "kretprobe:tiny:mod_work"),
        ("software:page-fault", "software:page-faults:"),
        ("tracepoint:nothing:at_all", ""),
        ("uprobe:/no/such/file:f", ""),
        ("begin", ""),
        ("interval:*", ""),
    ],
)
def test_a_listing_that_finds_nothing_suggests(catalogue: Catalogue, pattern: str, near: str) -> None:
    assert similar_probes(catalogue, pattern)[:1] == ((near,) if near else ())


def test_kernel_functions_from_kallsyms(catalogue: Catalogue) -> None:
    assert catalogue.functions.modules() == {
        "vmlinux": ["gone.constprop.0", "local_helper", "local_helper.isra.0",
                    "sk_skb_reason_drop", "vfs_read", "weak_one"],
        "tiny": ["mod_init", "mod_work"],
    }  # fmt: skip
    assert names(catalogue, "k:vfs_*") == ["kprobe:vfs_read"]
    assert names(catalogue, "k:tiny:mod_*") == ["kprobe:tiny:mod_init", "kprobe:tiny:mod_work"]
    assert names(catalogue, "k:vmlinu*:vfs_read") == ["kprobe:vmlinux:vfs_read"]
    assert names(catalogue, "k:mod_work") == ["kprobe:mod_work"]
    assert names(catalogue, "k:rcu_*") == []
    assert names(catalogue, "k:some_data") == []
    with pytest.raises(ProbeError, match="specified module nope in probe kprobe:nope:f is not loaded"):
        names(catalogue, "k:nope:f")


def test_moved_functions(catalogue: Catalogue) -> None:
    (moved,) = catalogue.match(parse_probe("k:kfree_skb"))
    assert moved.function == "sk_skb_reason_drop"
    assert "kfree_skb" in moved.note
    (clone,) = catalogue.match(parse_probe("k:gone"))
    assert clone.function == "gone.constprop.0" and "clone" in clone.note
    (plain,) = catalogue.match(parse_probe("k:vfs_read"))
    assert plain.note == ""


def test_running_bpf_programs(catalogue: Catalogue) -> None:
    assert catalogue.bpf_programs() == ["myprog"]
    assert names(catalogue, "fentry:bpf:my*") == ["fentry:bpf:myprog"]


def test_what_needs_btf_says_so(catalogue: Catalogue) -> None:
    for text in ("rt:sys_*", "fentry:vfs_read", "iter:task"):
        with pytest.raises(NotSupported, match="BTF"):
            catalogue.match(parse_probe(text))


def test_attach_points(catalogue: Catalogue) -> None:
    def points(text: str, **settings: int) -> list[tuple[object, ...]]:
        match = catalogue.require(parse_probe(text))[0]
        return [
            (p.provider, p.target, p.function, p.offset, p.address, p.period, p.frequency)
            for p in match.attach_points("prog", **settings)
        ]

    assert points("k:vfs_read+8") == [("kprobe", "", "vfs_read", 8, 0, 0, 0)]
    assert points("i:ms:3") == [("interval", "", "", 0, 0, 3_000_000, 0)]
    assert points("p:hz:99") == [("profile", "", "", 0, 0, 0, 99)]
    assert points("s:cpu:7") == [("software", "", "cpu-clock", 0, 0, 7, 0)]
    assert points("s:faults") == [("software", "", "page-faults", 0, 0, 100, 0)]
    assert points("w:0x100:4:w") == [("watchpoint", "", "", 0, 0x100, 0, 0)]
    assert points("self:signal:SIGUSR1") == [("self", "signal", "SIGUSR1", 0, 0, 0, 0)]
    point = catalogue.require(parse_probe("t:sched:sched_switch"))[0].attach_points("prog", pid=9, source=2)[0]
    assert (point.program, point.pid, point.source) == ("prog", 9, 2)
    assert point.name == "tracepoint:sched:sched_switch"


def test_multi_attach_groups_kernel_functions(catalogue: Catalogue) -> None:
    (point,) = attach_multi(catalogue.require(parse_probe("k:tiny:*")), "prog")
    assert point.functions == ("mod_init", "mod_work") and point.name == "kprobe:tiny:*"
    (single,) = attach_multi(catalogue.require(parse_probe("k:vfs_*")), "prog")
    assert single.function == "vfs_read" and single.functions == ()


def test_kernel_types(kernel_btf: Btf, fake_tracefs: str, fake_kallsyms: bytes) -> None:
    catalogue = Catalogue(kernel_btf, fake_tracefs, fake_kallsyms)
    assert names(catalogue, "fentry:vfs_read") == ["fentry:vmlinux:vfs_read"]
    assert names(catalogue, "rt:sched_switch") == ["rawtracepoint:vmlinux:sched_switch"]
    assert "rawtracepoint:vmlinux:sched_switch" in names(catalogue, "rt:sched_*")
    assert names(catalogue, "iter:task") == ["iter:task"]
    assert "task" in catalogue.iterators() and "task__safe_trusted" not in catalogue.iterators()
    assert names(catalogue, "rt:nope_nope") == []
    with pytest.raises(ProbeError) as caught:
        catalogue.require(parse_probe("iter:tasks"))
    assert "iter:task" in caught.value.suggestions


def test_arguments(kernel_btf: Btf, fake_tracefs: str, fake_kallsyms: bytes) -> None:
    catalogue = Catalogue(kernel_btf, fake_tracefs, fake_kallsyms)

    def args(text: str) -> list[str]:
        return [arg.text for arg in describe_args(catalogue, catalogue.require(parse_probe(text))[0])]

    assert args("t:syscalls:sys_enter_openat") == [
        "int __syscall_nr", "int dfd", "const char * filename", "int flags", "umode_t mode",
    ]  # fmt: skip
    assert args("k:vfs_read") == ["struct file * file", "char * buf", "size_t count", "loff_t * pos"]
    assert args("fexit:vfs_read")[-1] == "ssize_t retval"
    assert args("kr:vfs_read") == ["ssize_t retval"]
    assert args("iter:task_file")[0] == "struct task_struct * task"
    switch = args("rt:sched_switch")
    assert "struct task_struct * prev" in switch and not any("__data" in arg for arg in switch)
    assert args("i:s:1") == []


def test_listing(kernel_btf: Btf, fake_tracefs: str, fake_kallsyms: bytes) -> None:
    catalogue = Catalogue(kernel_btf, fake_tracefs, fake_kallsyms)

    def listed(pattern: str, **settings: bool) -> list[str]:
        return list(list_probes(catalogue, pattern, **settings))

    assert listed("t:sched:*") == ["tracepoint:sched:sched_switch", "tracepoint:sched:sched_wakeup"]
    assert listed("tracepoint:*openat")[0] == "tracepoint:syscalls:sys_enter_openat"
    assert listed("*sched_wakeu*") == ["rawtracepoint:vmlinux:sched_wakeup" + end for end in ("", "_new")] + [
        "tracepoint:sched:sched_wakeup"
    ]
    assert listed("kprobe:vfs_read,kprobe:mod_*") == ["kprobe:vfs_read", "kprobe:mod_init", "kprobe:mod_work"]
    assert listed("kretprobe:vfs_*") == ["kretprobe:vfs_read"]
    assert "software:cpu:" in listed("*ware:*") and "hardware:cycles:" in listed("*ware:*")
    assert listed("interval:*") == [f"interval:{unit}:" for unit in ("hz", "ms", "ns", "s", "us")]
    assert listed("fentry:vfs_*") == ["fentry:vmlinux:vfs_read"]
    assert "iter:task" in listed("iter:*")
    verbose = listed("t:syscalls:sys_enter_openat", verbose=True)
    assert verbose[0] == "tracepoint:syscalls:sys_enter_openat" and verbose[3] == "    const char * filename"
    everything = listed("")
    assert {line.split(":")[0] for line in everything} == {
        "fentry", "hardware", "iter", "kprobe", "rawtracepoint", "software", "tracepoint",
    }  # fmt: skip
    with pytest.raises(ProbeError, match="there is no provider"):
        listed("tracepoin:a:b")


def test_a_list_of_functions_replaces_the_kernels(fake_tracefs: str, fake_kallsyms: bytes, tmp_path: Path) -> None:
    listed = tmp_path / "functions"
    listed.write_text("vfs_read\nmod_work [tiny]\n")
    catalogue = Catalogue(None, fake_tracefs, fake_kallsyms, traceable=str(listed))
    assert names(catalogue, "k:*") == ["kprobe:mod_work", "kprobe:vfs_read"]
    assert names(catalogue, "k:weak_one") == []
    listed.write_text("")
    empty = Catalogue(None, fake_tracefs, fake_kallsyms, traceable=str(listed))
    assert names(empty, "k:vfs_read") == [] and names(empty, "k:*") == []


def test_symbols_of_any_kind(catalogue: Catalogue) -> None:
    assert catalogue.functions.has_symbol("some_data") and catalogue.functions.has_symbol("mod_work")
    assert catalogue.functions.has_symbol("some_dat") is False
    assert Catalogue(None, "", b"").functions.has_symbol("some_data") is None
