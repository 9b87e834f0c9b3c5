"""SYN cookies stand for the kernel's segment sizes, fail where its own do, and come back."""

from __future__ import annotations

from random import Random

import pytest
from kernel.vm.twin_runs import XDP, in_kernel, in_vm, results_shape, words, wrap


def _store(data: bytes, at: int) -> str:
    data = data.ljust(-(-len(data) // 8) * 8, b"\0")
    return "\n".join(
        f"r1 = {int.from_bytes(data[i : i + 8], 'little'):#x} ll\n*(u64 *)(r10 - {at - i}) = r1"
        for i in range(0, len(data), 8)
    )


def _options(random: Random) -> bytes:
    out = b""
    while len(out) < 40 and random.random() < 0.7:
        size = random.choice((0, 1, 536, 1300, 1380, 1440, 1460, 8940, 65535)).to_bytes(2, "big")
        out += random.choice((b"\1", b"\2\4" + size, b"\2\4" + size, b"\2\3\7", b"\3\3\7", b"\0", b"\5\1", b"\x22\x30"))
    out = out[:40]
    return out + bytes(-len(out) % 4)


def _step(random: Random, number: int) -> str:
    options = _options(random)
    version, sequence = random.choice((4, 6)), random.getrandbits(32)
    ip = random.randbytes(20 if version == 4 else 40)
    size = 20 + len(options)
    head = random.randbytes(4) + sequence.to_bytes(4, "big") + bytes(4) + bytes([size // 4 << 4, 2]) + bytes(6)
    given = random.choice((size, size, size, size, 20, 24, 60))
    after = ((sequence + 1) & 0xFFFFFFFF).to_bytes(4, "big")
    off = random.choice((1, 1, 1, 0x5001))
    return f"""
        {_store((head + options).ljust(64, bytes(1)), 128)}
        {_store(ip, 64)}
        r1 = r10
        r1 += -64
        r2 = r10
        r2 += -128
        r3 = {given}
        call bpf_tcp_raw_gen_syncookie_ipv{version}#{204 if version == 4 else 205}
        r8 = r0
        if r0 s< 0 goto failed{number}
        r0 >>= 32
        failed{number}:
        save
        r8 += {off}
        r8 = be32 r8
        *(u32 *)(r10 - 120) = r8
        *(u32 *)(r10 - 124) = {int.from_bytes(after, "little", signed=True)}
        r1 = r10
        r1 += -64
        r2 = r10
        r2 += -128
        call bpf_tcp_raw_check_syncookie_ipv{version}#{206 if version == 4 else 207}
        save
    """


@pytest.mark.parametrize("seed", range(25))
def test_raw_cookies(seed: int) -> None:
    random = Random(seed)
    text = wrap([_step(random, i) for i in range(6)], "r0 = 2")
    kernel = in_kernel(XDP, text, [results_shape()], bytes(64))
    vm = in_vm(XDP, text, [results_shape()], bytes(64))
    assert words(vm.results) == words(kernel.results), text
