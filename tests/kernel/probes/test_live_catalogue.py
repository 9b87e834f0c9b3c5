"""The catalogue against what the running kernel and other tools list."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from osmia.btf import Btf, load_kernel_btf
from osmia.probes import Catalogue, describe_args, list_probes, parse_probe

BPFTRACE = shutil.which("bpftrace")


@pytest.fixture(scope="module")
def btf() -> Btf:
    # It keeps the kernel's BTF mapped, so it must be there before a test is checked for leaks.
    return load_kernel_btf()


@pytest.fixture
def catalogue(tracefs: Path, btf: Btf) -> Catalogue:
    return Catalogue(btf)


def bpftrace(*args: str) -> list[str]:
    if BPFTRACE is None:
        pytest.skip("bpftrace is not installed")
    return subprocess.run([BPFTRACE, *args], capture_output=True, text=True, timeout=60).stdout.splitlines()


def test_same_tracepoints_as_the_folders(catalogue: Catalogue, tracefs: Path) -> None:
    folders = {
        f"tracepoint:{event.parent.parent.name}:{event.parent.name}" for event in tracefs.glob("events/*/*/format")
    }
    expected = {name for name in folders if not name.startswith("tracepoint:ftrace:")}
    listed = list(list_probes(catalogue, "tracepoint:*"))
    assert set(listed) == expected and len(listed) == len(expected) > 100
    assert {
        f"tracepoint:{c}:{e}" for c, names in catalogue.tracefs._scan(str(tracefs)).items() for e in names
    } == expected


def test_every_format_file_is_understood(catalogue: Catalogue, tracefs: Path) -> None:
    for category, events in catalogue.tracefs.events().items():
        for event in events:
            text = (tracefs / "events" / category / event / "format").read_text()
            lines = [line.split(";")[0].partition(":")[2] for line in text.splitlines() if line.startswith("\tfield:")]
            fields = catalogue.tracefs.format(category, event).fields
            assert len(fields) == len(lines)
            for field, line in zip(fields, lines):
                # An enumerator as the length of an array becomes its number.
                written = line.split() if "[" not in line or line[line.index("[") + 1] in "]0123456789" else None
                assert written is None or field.declaration.split() == written, (category, event, line)
                assert field.size >= 0 and field.offset >= 0


@pytest.mark.parametrize("pattern", ["tracepoint:*", "tracepoint:syscalls:*", "tracepoint:s*:*enter*"])
def test_same_listing_as_bpftrace(catalogue: Catalogue, pattern: str) -> None:
    expected = bpftrace("-l", pattern)
    if not expected:
        pytest.skip("bpftrace lists nothing here")
    assert sorted(list_probes(catalogue, pattern)) == sorted(expected)


def test_same_tracepoint_arguments_as_bpftrace(catalogue: Catalogue) -> None:
    pattern = "tracepoint:syscalls:sys_enter_*"
    expected = bpftrace("-lv", pattern)
    if not expected:
        pytest.skip("bpftrace lists nothing here")
    assert list(list_probes(catalogue, pattern, verbose=True)) == expected


def test_same_user_functions_as_bpftrace(catalogue: Catalogue) -> None:
    expected = bpftrace("-l", "uprobe:/bin/bash:*read*")
    if not expected:
        pytest.skip("bpftrace lists nothing here")
    with catalogue:
        assert sorted(list_probes(catalogue, "uprobe:/bin/bash:*read*")) == sorted(expected)


def test_one_word_searches_all(catalogue: Catalogue) -> None:
    found = list(list_probes(catalogue, "*openat*"))
    assert "tracepoint:syscalls:sys_enter_openat" in found
    assert all("openat" in name for name in found)
    assert any(name.startswith("kprobe:") for name in found)


@pytest.mark.parametrize(("pattern", "limit_ms"), [("tracepoint:*", 60), ("kprobe:*", 400)])
def test_listing_is_quick(tracefs: Path, btf: Btf, pattern: str, limit_ms: int) -> None:
    best = 1e9
    for _ in range(4):
        fresh = Catalogue(btf)
        start = time.process_time()
        count = sum(1 for _ in list_probes(fresh, pattern))
        best = min(best, (time.process_time() - start) * 1000)
    assert count > 1000
    assert best < limit_ms


def test_an_exact_probe_reads_no_list(catalogue: Catalogue) -> None:
    for text in ("t:syscalls:sys_enter_openat", "k:vfs_read", "rt:sched_switch", "iter:task"):
        assert len(catalogue.require(parse_probe(text))) == 1
    assert catalogue.tracefs._events is None and catalogue.functions._modules is None


def test_functions_are_those_of_ftrace_where_it_tells(catalogue: Catalogue, tracefs: Path) -> None:
    try:
        text = (tracefs / "available_filter_functions").read_text()
    except OSError as error:
        pytest.skip(f"available_filter_functions cannot be read: {error.strerror}")
    names = {line.split()[0] for line in text.splitlines() if len(line.split()) == 1}
    listed = set(catalogue.functions.modules()["vmlinux"])
    assert listed <= names and len(listed) > 0.8 * len(names)


def test_raw_tracepoints_have_named_arguments(catalogue: Catalogue) -> None:
    names = list(list_probes(catalogue, "rawtracepoint:sched_*"))
    assert "rawtracepoint:vmlinux:sched_switch" in names
    (match,) = catalogue.match(parse_probe("rt:sched_process_exec"))
    assert describe_args(catalogue, match)[0].text == "struct task_struct * p"


def test_moved_kernel_functions(catalogue: Catalogue) -> None:
    match = catalogue.require(parse_probe("kprobe:kfree_skb"))[0]
    assert match.function in ("kfree_skb", "kfree_skb_reason", "sk_skb_reason_drop")
    assert bool(match.note) == (match.function != "kfree_skb")
