"""An object that the host built for other kernels runs here: members of kernel types are found by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from _workloads import Workload

import osmia
from osmia.btf import load_kernel_btf
from osmia.objects import apply_core, link, read_elf
from osmia.session import Printf

BUILT = Path(os.environ.get("OSMIA_GUEST_SHARED", "/")) / "portable.bpf.o"
N = 7


def test_an_object_of_another_kernel(workload: Callable[..., Workload], tracefs: Path) -> None:
    if not BUILT.exists():
        pytest.skip("the host could not build an object: it has no BTF")
    obj = read_elf(BUILT.read_bytes())
    moved = 0
    btf = load_kernel_btf()
    for program in obj.programs:
        linked = link(program, obj)
        moved += apply_core(linked, obj.btf, btf).insns != linked.insns
    assert moved, "the members stand where they stood on the host: this shows nothing"
    work = workload("opens", "/etc/hostname", N)
    with osmia.trace(obj, duration=60) as trace:
        assert work.finish()["openat"] == N
        trace.stop()
        trace.wait()
        rows = [event.args for event in trace.events() if isinstance(event, Printf)]
    us = Path("/proc/self/comm").read_text().strip()
    # The opens of the workload, and those of its interpreter before the gate do not count: probes came after it.
    mine = [row for row in rows if row[0] == work.pid]
    assert mine == [(work.pid, work.pid, os.getpid(), us, os.getpid(), us, "osmia-work", 0)] * N
