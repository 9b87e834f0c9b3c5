"""What every tracepoint and iterator hands over: BTF and our lists against the running kernel."""

from __future__ import annotations

import os

import pytest
from _tables import measure, wrong_arguments

from osmia.btf import KIND_TYPEDEF
from osmia.verifier._gen.arguments import ITERATORS
from osmia.verifier._profile import profile

M = measure()
LIVE = profile(os.uname().release)
PARTS = 8


@pytest.fixture(scope="module")
def kernel() -> object:
    return M.Kernel()


@pytest.mark.parametrize("part", range(PARTS))
def test_tracepoints(kernel: object, part: int) -> None:
    btf = kernel.btf  # type: ignore[attr-defined]
    types = map(btf.type, range(1, len(btf)))
    names = sorted(t.name for t in types if t.kind == KIND_TYPEDEF and t.name.startswith("btf_trace_"))
    assert len(names) > 100
    wrong = []
    for name in names[part::PARTS]:
        wrong += wrong_arguments(kernel, ("tracing", "trace_raw_tp"), name, LIVE)
    assert wrong == []


@pytest.mark.parametrize("name", ITERATORS)
def test_iterators(kernel: object, name: str) -> None:
    if kernel.btf.find(f"bpf_iter_{name}") is None:  # type: ignore[attr-defined]
        pytest.skip(f"this kernel has no iterator {name}")
    assert wrong_arguments(kernel, ("tracing", "trace_iter"), f"bpf_iter_{name}", LIVE) == []
