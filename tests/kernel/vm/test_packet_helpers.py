"""Helpers on packets give what the kernel's give: results, the packet afterwards, the context's fields."""

from __future__ import annotations

from random import Random

import pytest
from kernel.vm.twin_runs import CGROUP_SKB, SCHED_CLS, XDP, in_kernel, in_vm, results_shape, words, wrap

_IPV4 = bytes.fromhex("4500005400004000400126a50a0000010a000002")
_IPV6 = bytes.fromhex("6000000000203a40") + bytes(15) + b"\1" + bytes(15) + b"\2"


def _ethernet(kind: int, payload: bytes) -> bytes:
    return bytes.fromhex("000000000000 020000000001") + kind.to_bytes(2, "big") + payload


def _packet(random: Random) -> bytes:
    body = random.randbytes(random.choice((0, 1, 20, 46, 80, 300)))
    kind = random.choice((0x0800, 0x0800, 0x86DD, 0x8100, 0x1234))
    if kind == 0x0800:
        return _ethernet(kind, _IPV4 + body)
    if kind == 0x86DD:
        return _ethernet(kind, _IPV6 + body)
    if kind == 0x8100:
        return _ethernet(kind, bytes.fromhex("00070800") + _IPV4 + body)
    return _ethernet(kind, bytes(20) + body)


def _stack_data(random: Random, size: int) -> str:
    """`size` (up to 32) random bytes at r10 - 64."""
    return "\n".join(
        f"r1 = {random.getrandbits(63):#x} ll\n*(u64 *)(r10 - {64 - 8 * i}) = r1" for i in range((size + 7) // 8)
    )


def _call(helper: str, *arguments: str | int) -> str:
    """Arguments from r2 on; r1 is the context."""
    lines = ["r1 = r6"]
    for register, value in enumerate(arguments, 2):
        if isinstance(value, str):
            lines += [f"r{register} = r10", f"r{register} += {value}"]
        else:
            lines.append(
                f"r{register} = {value & 0xFFFFFFFFFFFFFFFF:#x} ll" if abs(value) >> 31 else f"r{register} = {value}"
            )
    return "\n".join([*lines, f"call {helper}", "save"])


_LOADED = "r0 = *(u64 *)(r10 - 64)\nsave"


def _xdp_step(random: Random) -> str:
    delta = random.choice((0, 1, -1, 4, -4, 8, -8, 14, -14, 40, -40, -216, -217, 300, 4000))
    where, size = random.choice((0, 1, 13, 60, 200, 0x10000)), random.choice((1, 2, 7, 8))
    return random.choice(
        (
            lambda: _call("bpf_xdp_adjust_head#44", delta),
            lambda: _call("bpf_xdp_adjust_tail#65", delta),
            lambda: _call("bpf_xdp_adjust_meta#54", delta),
            lambda: _call("bpf_xdp_get_buff_len#188"),
            lambda: (
                _stack_data(random, 8) + "\n" + _call("bpf_xdp_load_bytes#189", where, "-64", size) + "\n" + _LOADED
            ),
            lambda: _stack_data(random, 8) + "\n" + _call("bpf_xdp_store_bytes#190", where, "-64", size),
        )
    )()


@pytest.mark.parametrize("seed", range(25))
def test_xdp(seed: int) -> None:
    random = Random(seed)
    text = wrap([_xdp_step(random) for _ in range(10)], "r0 = 2")
    packet = _packet(random)
    kernel = in_kernel(XDP, text, [results_shape()], packet)
    vm = in_vm(XDP, text, [results_shape()], packet)
    assert words(vm.results) == words(kernel.results), text
    assert (vm.retval, vm.packet.hex()) == (kernel.retval, kernel.packet.hex()), text


def _csum_step(random: Random) -> str:
    old, new = random.choice((0, 4, 8, 16, 5)), random.choice((0, 4, 8, 16, 6))
    seed = random.choice((0, 0xFFFF, 0xFFFFFFFF, random.getrandbits(32)))
    lines = [_stack_data(random, 32)]
    lines += [f"r1 = r10\nr1 += -64\nr2 = {old}\nr3 = r10\nr3 += -48\nr4 = {new}\nr5 = {seed:#x} ll"]
    return "\n".join([*lines, "call bpf_csum_diff#28\nsave"])


def _skb_step(random: Random) -> str:
    where, size = random.choice((0, 1, 12, 14, 30, 60, 1000, 0x7FFFFFFF)), random.choice((1, 2, 7, 8))
    even = random.choice((10, 14, 24, 36, 37, 500, 0x10000))
    value, other = random.getrandbits(16), random.getrandbits(32)
    room = random.choice((4, 8, 20, 28, -4, -20, -28, 0x1000, -0x1000))
    encap = random.choice((0, 0, 2, 4, 2 | 8, 4 | 16, 2 | 4, 8, 0x80, 0x100, 1 << 20))
    return random.choice(
        (
            lambda: _stack_data(random, 8) + "\n" + _call("bpf_skb_load_bytes#26", where, "-64", size) + "\n" + _LOADED,
            lambda: (
                _stack_data(random, 8)
                + "\n"
                + _call("bpf_skb_load_bytes_relative#68", where, "-64", size, random.choice((0, 1, 2)))
                + "\n"
                + _LOADED
            ),
            lambda: (
                _stack_data(random, 8)
                + "\n"
                + _call("bpf_skb_store_bytes#9", where, "-64", size, random.choice((0, 1, 2, 4)))
            ),
            lambda: _call("bpf_l3_csum_replace#10", even, value, value >> 3, random.choice((2, 2, 3, 16))),
            lambda: _call("bpf_l3_csum_replace#10", even, other, other >> 3, random.choice((4, 4, 0))),
            lambda: _call("bpf_l3_csum_replace#10", even, 0, other, 0),
            lambda: _call(
                "bpf_l4_csum_replace#11", even, other, other >> 5, random.choice((4, 0x14, 0x24, 0x64, 0x34))
            ),
            lambda: _call("bpf_l4_csum_replace#11", even, value, value >> 5, random.choice((2, 0x12, 0x22))),
            lambda: _csum_step(random),
            lambda: _call("bpf_skb_pull_data#39", random.choice((0, 1, 20, 5000))),
            lambda: _call(
                "bpf_skb_change_tail#38", random.choice((0, 13, 14, 60, 300, 20000)), random.choice((0, 0, 1))
            ),
            lambda: _call("bpf_skb_change_type#32", random.choice((0, 1, 2, 3, 4))),
            lambda: _call("bpf_skb_vlan_push#18", random.choice((0x81, 0xA888, 0x8)), random.getrandbits(12)),
            lambda: _call("bpf_skb_vlan_pop#19"),
            lambda: _call("bpf_skb_adjust_room#50", room, random.choice((0, 0, 1, 1, 2)), encap),
            lambda: _call("bpf_skb_change_proto#31", random.choice((0x0008, 0xDD86)), 0),
            lambda: _call("bpf_skb_change_head#43", random.choice((0, 4, 14, 40)), 0),
            lambda: _call("bpf_set_hash_invalid#41"),
            lambda: _call("bpf_csum_update#40", other),
            lambda: _call("bpf_csum_level#135", random.choice((0, 1, 2, 3, 4))),
            lambda: _call("bpf_skb_ecn_set_ce#97"),
        )
    )()


# Offsets in struct __sk_buff that do not depend on the kernel's addresses
_FIELDS = {"len": 0, "pkt_type": 4, "protocol": 16, "vlan_present": 20, "vlan_tci": 24, "vlan_proto": 28}


def _fields() -> str:
    """Store the context's fields as results."""
    return "\n".join(f"r0 = *(u32 *)(r6 + {offset})\nsave" for offset in _FIELDS.values())


@pytest.mark.parametrize("seed", range(60))
def test_sched_cls(seed: int) -> None:
    random = Random(seed)
    text = wrap([*(_skb_step(random) for _ in range(6)), _fields()])
    packet = _packet(random)
    kernel = in_kernel(SCHED_CLS, text, [results_shape()], packet)
    vm = in_vm(SCHED_CLS, text, [results_shape()], packet)
    assert words(vm.results) == words(kernel.results), text
    assert (vm.retval, vm.packet.hex()) == (kernel.retval, kernel.packet.hex()), text


def _tunnel_step(random: Random) -> str:
    size = random.choice((8, 22, 24, 28, 44, 44, 44, 44, 16, 12))
    flags = random.choice((0, 0, 1, 1, 2, 4, 8, 16, 31, 32))
    # struct bpf_tunnel_key: id, remote address, ToS, TTL, ext, label, local address
    ext, label = random.choice((0, 0, 0, 1)), random.choice((0, 0, 0, 0x12345, 0xFFFFFFFF))
    words = [random.getrandbits(63) for _ in range(6)]
    words[2] = words[2] & 0x0000FFFFFFFFFFFF | ext << 48
    words[3] = words[3] & ~0xFFFFFFFF | label
    key = "\n".join(f"r1 = {word:#x} ll\n*(u64 *)(r10 - {64 - 8 * i}) = r1" for i, word in enumerate(words))
    loads = "\n".join(f"r0 = *(u64 *)(r10 - {64 - 8 * i})\nsave" for i in range(3))
    more = "\n".join(f"r0 = *(u64 *)(r10 - {64 - 8 * i})\nsave" for i in range(3, 6))
    return random.choice(
        (
            lambda: key + "\n" + _call("bpf_skb_set_tunnel_key#21", "-64", size, flags),
            lambda: key + "\n" + _call("bpf_skb_set_tunnel_key#21", "-64", 44, flags & 1),
            lambda: key + "\n" + _call("bpf_skb_get_tunnel_key#20", "-64", size, flags) + "\n" + loads + "\n" + more,
            lambda: key + "\n" + _call("bpf_skb_get_tunnel_key#20", "-64", 44, flags & 17) + "\n" + loads + "\n" + more,
            lambda: key + "\n" + _call("bpf_skb_set_tunnel_opt#30", "-64", random.choice((4, 8, 7, 12))),
            lambda: key + "\n" + _call("bpf_skb_get_tunnel_opt#29", "-64", random.choice((4, 8, 20))) + "\n" + loads,
            lambda: key + "\n" + _call("bpf_skb_get_xfrm_state#66", 0, "-64", 16, 0) + "\n" + loads,
        )
    )()


@pytest.mark.parametrize("seed", range(40))
def test_tunnels(seed: int) -> None:
    random = Random(seed)
    text = wrap([_tunnel_step(random) for _ in range(8)])
    packet = _packet(random)
    kernel = in_kernel(SCHED_CLS, text, [results_shape()], packet)
    vm = in_vm(SCHED_CLS, text, [results_shape()], packet)
    assert words(vm.results) == words(kernel.results), text


def test_cgroup_skb_begins_at_the_network_header() -> None:
    load = "*(u64 *)(r10 - 64) = 0\n" + _call("bpf_skb_load_bytes#26", 0, "-64", 8) + "\n" + _LOADED
    text = wrap([load, _fields()], "r0 = 1")
    packet = _ethernet(0x0800, _IPV4 + bytes(20))
    kernel = in_kernel(CGROUP_SKB, text, [results_shape()], packet)
    vm = in_vm(CGROUP_SKB, text, [results_shape()], packet)
    assert words(vm.results) == words(kernel.results)
    assert vm.packet == kernel.packet
