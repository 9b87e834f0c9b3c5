"""How probes are spelled."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osmia.errors import ProbeError
from osmia.probes import expand_probe, parse_probe


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("begin", "begin"),
        ("BEGIN", "begin"),
        ("END", "end"),
        ("self:signal:SIGUSR1", "self:signal:SIGUSR1"),
        ("test:adds", "test:adds"),
        ("bench:adds", "bench:adds"),
        ("i:s:1", "interval:s:1"),
        ("interval:ms:10", "interval:ms:10"),
        ("interval:1s", "interval:us:1000000"),
        ("interval:10ms", "interval:us:10000"),
        ("interval:1000000", "interval:us:1000"),
        ("p:hz:99", "profile:hz:99"),
        ("t:sched:sched_switch", "tracepoint:sched:sched_switch"),
        ("t:sched_*", "tracepoint:*:sched_*"),
        ("rt:sys_enter", "rawtracepoint:sys_enter"),
        ("rt:vmlinux:sys_enter", "rawtracepoint:vmlinux:sys_enter"),
        ("k:vfs_read", "kprobe:vfs_read"),
        ("kprobe:vfs_read+0x8", "kprobe:vfs_read+8"),
        ("kprobe:vfs_read+0", "kprobe:vfs_read"),
        ("kr:ext4:ext4_sync_file", "kretprobe:ext4:ext4_sync_file"),
        ("f:vfs_read", "fentry:vfs_read"),
        ("kfunc:vfs_read", "fentry:vfs_read"),
        ("kretfunc:vfs_read", "fexit:vfs_read"),
        ("fentry:bpf:7:prog", "fentry:bpf:prog"),
        ("u:/bin/bash:readline", "uprobe:/bin/bash:readline"),
        ('u:/bin/bash:"readline"+4', "uprobe:/bin/bash:readline+4"),
        ("ur:libc:malloc", "uretprobe:libc:malloc"),
        ("uprobe:/bin/sh:0x1234", "uprobe:/bin/sh:4660"),
        ('uprobe:/bin/x:cpp:"A::b"', "uprobe:/bin/x:cpp:A::b"),
        ("uprobe:/bin/x@main.c:12", "uprobe:/bin/x@main.c:12"),
        ("uprobe:/bin/x@main.c:12:3", "uprobe:/bin/x@main.c:12:3"),
        ("U:/bin/x:tick", "usdt:/bin/x:tick"),
        ("U:/bin/x:prov:tick", "usdt:/bin/x:prov:tick"),
        ("s:cpu:1000", "software:cpu:1000"),
        ("software:faults:", "software:faults"),
        ("h:cache-misses:1e6", "hardware:cache-misses:1000000"),
        ("it:task", "iter:task"),
        ("iter:task:list", "iter:task:list"),
        ("w:0x10000000:8:wr", "watchpoint:268435456:8:rw"),
        ("mine=kprobe:vfs_read", "mine"),
    ],
)
def test_canonical_name(text: str, name: str) -> None:
    assert parse_probe(text).name == name


def test_parts() -> None:
    spec = parse_probe('uprobe:"/tmp/a:b c@d":"f,\\"g\\""+0x10')
    assert (spec.target, spec.function, spec.offset) == ("/tmp/a:b c@d", 'f,"g"', 16)
    assert spec.quoted == ("/tmp/a:b c@d", 'f,"g"+0x10')
    place = parse_probe("u:/bin/x@/src/main.c:12:3")
    assert (place.target, place.file, place.line, place.col) == ("/bin/x", "/src/main.c", 12, 3)
    assert parse_probe("u:/bin/x:cpp:f*").lang == "cpp"
    assert parse_probe("usdt:/b:p:n").namespace == "p"
    assert parse_probe("fexit:bpf:12:prog").prog_id == 12
    assert parse_probe("iter:task:/sys/fs/bpf/x").pin == "/sys/fs/bpf/x"
    assert parse_probe("kprobe:0xffffffff81000000", unsafe=True).address == 0xFFFFFFFF81000000


@pytest.mark.parametrize(
    ("text", "period", "frequency"),
    [
        ("i:s:2", 2_000_000_000, 0),
        ("i:us:7", 7_000, 0),
        ("i:ns:5000", 5_000, 0),
        ("p:hz:49", 0, 49),
        ("i:1s", 10**9, 0),
        ("p:10ms", 10**7, 0),
        ("i:1_000_000", 10**6, 0),
        ("i:1e6", 10**6, 0),
    ],
)
def test_timers(text: str, period: int, frequency: int) -> None:
    spec = parse_probe(text)
    assert (spec.period, spec.frequency) == (period, frequency)


def test_process_may_stand_for_the_file() -> None:
    assert parse_probe("u:main", pid=7).target == ""
    assert parse_probe('u:cpp:"A::b"', pid=7).lang == "cpp"
    assert parse_probe("usdt:tick", pid=7).function == "tick"
    assert parse_probe("usdt::prov:tick", pid=7).namespace == "prov"
    with pytest.raises(ProbeError):
        parse_probe("usdt::prov:tick")


def test_positional_parameters() -> None:
    spec = parse_probe("uprobe:$1:$2_x+$3", params=("/bin/sh", "main", "4"))
    assert (spec.target, spec.function, spec.offset) == ("/bin/sh", "main_x", 4)
    assert parse_probe("i:s:$1$2", params=("1", "0")).period == 10 * 10**9
    assert parse_probe('u:/bin/sh:"$1"', params=("x",)).function == "$1"
    with pytest.raises(ProbeError, match="positional"):
        parse_probe("k:$x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no provider"),
        ("kprob:f", "there is no provider 'kprob'"),
        ("k", "0 parts follow the provider, not 1 or 2"),
        ("k:a:b:c", "3 parts follow"),
        ("k:", "function is empty"),
        ("k:f+", "number is missing"),
        ("k:f+1+2", "there are two"),
        ("k:f+x", "'x' is not a number"),
        ("kr:f+4", "takes no offset"),
        ("k:0x1234", "would not check it"),
        ("t:sched", "1 parts follow the provider, not 2"),
        ("t::x", "event is empty"),
        ("u:/bin/sh", "not 2 or 3"),
        ("u::f", "file is empty"),
        ("u:/bin/sh:", "function is empty"),
        ("u:/bin/sh:rust:f", "not known"),
        ("u:/bin/*:0x10", "means one file"),
        ("u:/bin/*@a.c:1", "means one file"),
        ("u:/bin/sh@a.c", "line is missing"),
        ("u:/bin/sh@a.c:x", "read source line"),
        ("ur:/bin/sh@a.c:1", "no source line"),
        ("i:s:0", "more than 0"),
        ("i:h:1", "no unit 'h'"),
        ("i:999", "below the least period"),
        ("i:s:x", "read interval rate"),
        ("i:s:99999999999999999999999", "too big"),
        ("p", "0 parts follow"),
        ("s:cpuclock", "no event 'cpuclock'"),
        ("s:cpu*", "cannot be a pattern"),
        ("h:cycles:x", "read hardware count"),
        ("iter:ta*", "cannot be a pattern"),
        ("iter:", "iterator is empty"),
        ("w:0:8:w", "address is 0"),
        ("w:0x10:3:w", "3 bytes cannot be watched"),
        ("w:0x10:8:q", "'q' is no mode"),
        ("w:0x10:8:ww", "repeats a letter"),
        ("self:signal:SIGKILL", "the signal 'SIGKILL'"),
        ("self:timer:x", "cannot wait for 'timer'"),
        ("test:", "has no name"),
        ("begin:x", "1 parts follow the provider, not 0"),
        ("fentry:bpf", "not named"),
        ("fentry:bpf:x:p", "id of a BPF program"),
        ("fentry:a:b:c", "only with bpf"),
        ('u:"/bin/sh:f', "does not end"),
        ("*probe:f", "no provider matches"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ProbeError) as caught:
        parse_probe(text)
    assert message in caught.value.message
    assert not caught.value.message.endswith(".")


def test_suggestions() -> None:
    with pytest.raises(ProbeError) as caught:
        parse_probe("tracepoin:a:b")
    assert caught.value.suggestions[0] == "tracepoint"
    assert "did you mean tracepoint" in str(caught.value)
    with pytest.raises(ProbeError) as caught:
        parse_probe("software:page-fault:1")
    assert "page-faults" in caught.value.suggestions


def test_wildcard_providers() -> None:
    assert [s.provider for s in expand_probe("*probe:vfs_read")] == ["kprobe"]
    assert [s.provider for s in expand_probe("u*:/bin/sh:f")] == ["uprobe", "usdt"]
    assert [s.provider for s in expand_probe("*tracepoint:sched:sched_switch")] == ["rawtracepoint", "tracepoint"]
    assert [s.provider for s in expand_probe("kprobe:f")] == ["kprobe"]
    with pytest.raises(ProbeError):
        expand_probe("zz*:f")


@given(st.text(alphabet=string.ascii_letters + string.digits + ':@"\\$+*?[]_=/. ', max_size=40))
def test_any_text_gives_a_spec_or_a_probe_error(text: str) -> None:
    for prefix in ("", "u:", "k:", "i:", "w:", "usdt:", "software:"):
        try:
            spec = parse_probe(prefix + text, params=("a:b", "$1"[1:]))
        except ProbeError:
            continue
        assert spec.name
