"""Every kind of attach point that this kernel has: the program ran as often as the workload says."""

from __future__ import annotations

import ctypes
import os
import time
from struct import unpack

import pytest
from kernel.target.bytecode import PERF_EVENT, RAW_TP, TRACEPOINT, TRACING, count_object

from osmia.errors import AttachError, NotSupported, ObjectError
from osmia.kernel import KernelTarget, probe_feature
from osmia.objects import AttachPoint

OPENS = 100


def count(loaded) -> int:
    return unpack("<Q", loaded.maps["counts"].lookup(bytes(4)))[0]


def opens() -> None:
    for _ in range(OPENS):
        os.close(os.open("/dev/null", os.O_RDONLY))


def test_begin_runs_when_fired():
    with KernelTarget().load(count_object(RAW_TP, result=7)) as loaded:
        link = loaded.attach(AttachPoint("begin", "count"))
        assert [link.fire() for _ in range(5)] == [7] * 5
        assert count(loaded) == 5


def test_interval_fires_once_per_period():
    with KernelTarget().load(count_object(PERF_EVENT)) as loaded:
        start = time.monotonic()
        loaded.attach(AttachPoint("interval", "count", period=10_000_000))
        time.sleep(0.3)
        fired, elapsed = count(loaded), time.monotonic() - start
    assert abs(fired - elapsed * 100) <= 3 + elapsed * 20


def test_profile_of_a_process_counts_its_cpu_time():
    with KernelTarget().load(count_object(PERF_EVENT)) as loaded:
        start = time.process_time()
        loaded.attach(AttachPoint("profile", "count", frequency=1000, pid=os.getpid()))
        while time.process_time() - start < 0.2:
            continue
        fired, spent = count(loaded), time.process_time() - start
    # An emulated guest cannot keep up with 1000 Hz; too many is wrong anywhere.
    assert 0.2 * spent * 1000 < fired < 1.2 * spent * 1000


@pytest.mark.parametrize("provider", ["tracepoint", "tp_btf"])
def test_tracepoint_counts_every_open(provider):
    if provider == "tracepoint":
        obj = count_object(TRACEPOINT)
        point = AttachPoint("tracepoint", "count", target="syscalls", function="sys_enter_openat")
    else:
        obj = count_object(TRACING, 23, "sys_enter")
        point = AttachPoint("rawtracepoint", "count", function="sys_enter")
    with KernelTarget().load(obj) as loaded:
        loaded.attach(point)
        opens()
        assert count(loaded) >= OPENS


def test_raw_tracepoint_stops_when_the_link_is_closed():
    with KernelTarget().load(count_object(RAW_TP)) as loaded:
        link = loaded.attach(AttachPoint("rawtracepoint", "count", function="sys_enter"))
        opens()
        loaded.detach(link)
        time.sleep(0.05)
        before = count(loaded)
        opens()
        assert before >= OPENS
        assert count(loaded) == before


def libc_offset(name: str) -> tuple[str, int]:
    """(path, file offset) of a libc function: its address less where the file is mapped."""
    libc = ctypes.CDLL(None)
    address = ctypes.cast(libc[name], ctypes.c_void_p).value or 0
    with open("/proc/self/maps") as file:
        for line in file:
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if low <= address < high:
                fields = line.split()
                return fields[5], address - low + int(fields[2], 16)
    raise AssertionError(f"{name} is not mapped")


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("provider", ["uprobe", "uretprobe"])
def test_uprobe_counts_calls_of_this_process(provider, multi):
    if multi and not probe_feature("uprobe_multi").supported:
        pytest.skip("uprobe_multi is not supported here")
    path, offset = libc_offset("getppid")
    point = AttachPoint(provider, "count", target=path, pid=os.getpid(), offset=0 if multi else offset)
    attach_type = 0
    if multi:
        point, attach_type = point.replace(offsets=(offset,)), 48
    libc = ctypes.CDLL(None)
    with KernelTarget().load(count_object(2, attach_type)) as loaded:
        loaded.attach(point)
        for _ in range(50):
            libc.getppid()
        assert count(loaded) == 50


def test_uprobe_by_name():
    path, _ = libc_offset("getppid")
    with KernelTarget().load(count_object(2)) as loaded:
        loaded.attach(AttachPoint("uprobe", "count", target=path, pid=os.getpid(), function="getppid"))
        ctypes.CDLL(None).getppid()
        assert count(loaded) == 1
        with pytest.raises(AttachError, match="has no function 'no_such'"):
            loaded.attach(AttachPoint("uprobe", "count", target=path, function="no_such"))


def test_uprobe_takes_a_cookie():
    path, offset = libc_offset("getppid")
    point = AttachPoint("uprobe", "count", target=path, pid=os.getpid(), offset=offset, cookie=42)
    with KernelTarget().load(count_object(2)) as loaded:
        loaded.attach(point)
        ctypes.CDLL(None).getppid()
        assert count(loaded) == 1


def test_software_event_counts_page_faults():
    with KernelTarget().load(count_object(PERF_EVENT)) as loaded:
        loaded.attach(AttachPoint("software", "count", function="page-faults", period=1, pid=os.getpid()))
        import mmap

        with mmap.mmap(-1, 1 << 20) as area:
            area.madvise(mmap.MADV_NOHUGEPAGE)
            for at in range(0, 1 << 20, 4096):
                area[at] = 1
        assert count(loaded) >= 256


def test_watchpoint_counts_writes():
    cell = ctypes.c_uint64(0)
    point = AttachPoint("watchpoint", "count", address=ctypes.addressof(cell), length=8, mode="w", pid=os.getpid())
    with KernelTarget().load(count_object(PERF_EVENT)) as loaded:
        try:
            loaded.attach(point)
        except AttachError as error:
            pytest.skip(f"no hardware breakpoints here: {error}")
        for i in range(10):
            cell.value = i
        assert count(loaded) >= 10


def test_iterator_is_read():
    with KernelTarget().load(count_object(TRACING, 28, "task")) as loaded:
        link = loaded.attach(AttachPoint("iter", "count", function="task"))
        assert link.read() == b""  # it writes nothing, it only counts
        # one call for every task and one at the end
        assert count(loaded) > 10
        first = count(loaded)
        link.read()
        assert count(loaded) > first


def test_a_missing_tracepoint_is_named():
    with KernelTarget().load(count_object(TRACEPOINT)) as loaded:
        with pytest.raises(AttachError, match="no such tracepoint") as caught:
            loaded.attach(AttachPoint("tracepoint", "count", target="syscalls", function="sys_enter_opent"))
        assert caught.value.errno == 2
        assert "osmia list" in caught.value.hint
        assert loaded.links == []


def test_attach_many_is_all_or_nothing():
    good = AttachPoint("rawtracepoint", "count", function="sys_enter")
    bad = AttachPoint("rawtracepoint", "count", function="no_such_point")
    with KernelTarget().load(count_object(RAW_TP)) as loaded:
        with pytest.raises(AttachError, match="no such raw tracepoint"):
            loaded.attach_many([good, bad])
        assert loaded.links == []
        assert len(loaded.attach_many([good, bad.replace(optional=True)])) == 1
        assert "no_such_point" in loaded.notes[0]


def test_unknown_events_and_programs_are_refused():
    with KernelTarget().load(count_object(PERF_EVENT)) as loaded:
        with pytest.raises(AttachError, match="no event 'cache'"):
            loaded.attach(AttachPoint("hardware", "count", function="cache", period=1))
        with pytest.raises(ObjectError, match="not loaded"):
            loaded.attach(AttachPoint("begin", "other"))
        with pytest.raises(NotSupported):
            loaded.attach(AttachPoint("struct_ops", "count"))
