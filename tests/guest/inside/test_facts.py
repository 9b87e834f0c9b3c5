"""What the test kernels must have for the other tests here to mean anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from _leaks import _bpf
from _workloads import Workload

BPF_MAP_CREATE = 0


def test_the_series_that_was_asked_for_is_running(series: str) -> None:
    assert os.uname().release.startswith(f"{series}.")


@pytest.mark.parametrize("pmu", ["kprobe", "uprobe", "tracepoint"])
def test_perf_has_the_pmu(pmu: str) -> None:
    assert int(Path(f"/sys/bus/event_source/devices/{pmu}/type").read_text()) > 0


def test_functions_can_be_traced(tracefs: Path) -> None:
    names = {line.split()[0] for line in (tracefs / "available_filter_functions").read_text().splitlines()}
    assert {"vfs_read", "do_sys_openat2", "tcp_v4_connect"} <= names


def test_the_kernel_describes_itself() -> None:
    assert Path("/sys/kernel/btf/vmlinux").stat().st_size > 4_000_000
    assert "bpf" in Path("/sys/kernel/security/lsm").read_text().split(",")


def test_a_map_can_be_made() -> None:
    fd, _ = _bpf(BPF_MAP_CREATE, b"".join(n.to_bytes(4, "little") for n in (2, 4, 8, 1)))
    assert fd >= 0
    os.close(fd)


def test_workloads_run(workload: Callable[..., Workload], program: Callable[..., Workload]) -> None:
    assert workload("opens", "/etc/hostname", 20).finish()["openat"] == 20
    assert program("calls.c", 3).finish()["inner"] == 6
