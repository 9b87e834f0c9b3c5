"""What redirect helpers return, and what bpf_get_* say of packets without a socket or route."""

from __future__ import annotations

import pytest
from kernel.vm.twin_runs import MAP, SCHED_CLS, XDP, in_kernel, in_vm, results_shape, words, wrap

from osmia.isa.map_types import CPUMAP, DEVMAP, DEVMAP_HASH, XSKMAP
from osmia.vm._map_base import Shape

_PACKET = bytes.fromhex("000000000000 020000000001 0800") + bytes.fromhex(
    "4500005400004000400126a50a0000010a000002"
) + bytes(64)  # fmt: skip


@pytest.mark.parametrize("type", [XDP, SCHED_CLS])
def test_redirect(type: int) -> None:
    steps = [
        f"r1 = {ifindex}\nr2 = {flags}\ncall bpf_redirect#23\nsave" for ifindex in (1, 7) for flags in (0, 1, 2, 8)
    ]
    if type == SCHED_CLS:
        steps += [f"r1 = 1\nr2 = {flags}\ncall bpf_redirect_peer#155\nsave" for flags in (0, 1)]
        steps += [
            f"*(u64 *)(r10 - 64) = 0\n*(u64 *)(r10 - 56) = 0\n*(u64 *)(r10 - 48) = 0\nr1 = 1\nr2 = r10\nr2 += -64\n"
            f"r3 = {size}\nr4 = {flags}\ncall bpf_redirect_neigh#152\nsave"
            for size, flags in ((20, 0), (4, 0), (20, 1))
        ]
        steps += [f"r1 = r6\nr2 = 0\nr3 = {flags}\ncall bpf_clone_redirect#13\nsave" for flags in (0, 1, 2)]
        steps += [f"r1 = r6\ncall {name}\nsave" for name in ("bpf_get_cgroup_classid#17", "bpf_get_route_realm#24")]
    text = wrap(steps)
    kernel, vm = in_kernel(type, text, [results_shape()], _PACKET), in_vm(type, text, [results_shape()], _PACKET)
    assert words(vm.results) == words(kernel.results)


@pytest.mark.parametrize("type", [DEVMAP, DEVMAP_HASH, CPUMAP, XSKMAP])
def test_redirect_map_without_a_target(type: int) -> None:
    steps = [
        f"r1 = {MAP + 1:#x} ll\nr2 = {key}\nr3 = {flags:#x} ll\ncall bpf_redirect_map#51\nsave"
        for key in (0, 3, 99)
        for flags in (0, 1, 2, 3, 4, 8, 16, 24, 1 << 32)
    ]
    text = wrap(steps)
    shapes = [results_shape(), Shape(type, 4, 4, 4)]
    kernel, vm = in_kernel(XDP, text, shapes, _PACKET), in_vm(XDP, text, shapes, _PACKET)
    assert words(vm.results) == words(kernel.results)
