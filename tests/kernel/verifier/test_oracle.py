"""The running kernel as the oracle: random programs, new ones each run, get the verdict that it gives."""

from __future__ import annotations

import errno
import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack_into, unpack_from

import pytest
from _random_programs import MAPS, write

from osmia import syscalls
from osmia.errors import IsaError
from osmia.isa import MAP_TYPES, PROG_TYPES, assemble
from osmia.verifier import MapInfo, Program, profile, verify

COUNT = 400
INFOS = tuple(MapInfo(MAP_TYPES[kind], key, value, entries) for kind, key, value, entries in MAPS)
# What a program that loads by mistake could do harm with.
UNSAFE = re.compile(
    r"mem access|stack|packet|!read_ok|type=|expected=|outside of|unbounded|negative|pointer|reference|null|misaligned"
    r"|map value|context access|ctx access|release"
)
# Machines differ in what these answer: it is no matter of the verifier.
SKIPPED = re.compile(r"kernel function|JIT|ENOTSUPP")


@contextmanager
def maps() -> Iterator[list[int]]:
    fds = [
        syscalls.map_create(
            type=info.type, key_size=info.key_size, value_size=info.value_size, max_entries=info.max_entries
        )
        for info in INFOS
    ]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def with_fds(code: bytes, fds: list[int]) -> bytes:
    out = bytearray(code)
    at = 0
    while at < len(out):
        if out[at] == 0x18:
            if out[at + 1] >> 4 == 1:
                pack_into("<i", out, at + 4, fds[unpack_from("<i", out, at + 4)[0]])
            at += 8
        at += 8
    return bytes(out)


def kernel_says(type: str, code: bytes) -> tuple[bool, str]:
    log = syscalls.buffer(1 << 16)
    for _ in range(5):  # a load may also fail for want of memory, or since a signal came
        fd = syscalls.prog_load(type=PROG_TYPES[type], insns=code, log_level=4, log=log)
        if fd >= 0 or -fd in (errno.EACCES, errno.EINVAL, errno.E2BIG, errno.EPERM):
            break
    if fd >= 0:
        os.close(fd)
    words = log.value.decode(errors="replace")
    return fd >= 0, words[-600:]


def programs(seed: int, count: int) -> Iterator[tuple[int, str, str, bytes]]:
    for number in range(count):
        type, text = write(seed + number)
        try:
            yield seed + number, type, text, assemble(text)
        except IsaError:
            continue  # damage that no longer assembles


def test_verdicts_are_the_kernels() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    live = profile(os.uname().release)
    agreed, accepted, wrong, harmful = 0, 0, [], []
    with maps() as fds:
        for one, type, text, code in programs(seed, COUNT):
            loads, words = kernel_says(type, with_fds(code, fds))
            if SKIPPED.search(words):
                continue
            verdict = verify(Program(code, PROG_TYPES[type], maps=INFOS), live)
            accepted += loads
            if verdict.accepted == loads:
                agreed += 1
                continue
            wrong.append(f"seed {one} ({type}): the kernel {'loads' if loads else 'refuses'} it\n{text}\n"
                         f"kernel: {words}\nours: {verdict.message}")  # fmt: skip
            if verdict.accepted and UNSAFE.search(words):
                harmful.append(wrong[-1])
    total = agreed + len(wrong)
    assert total > COUNT * 0.9
    assert 0.2 < accepted / total < 0.9, "the programs are all alike"
    assert not harmful, harmful[0]
    assert agreed >= total * 0.97, f"seed {seed}: {agreed} of {total}\n\n" + "\n\n".join(wrong[:3])


@pytest.mark.parametrize("bound", [300, 100_000])
def test_loops_end_where_the_kernel_says(bound: int) -> None:
    code = assemble(f"r6 = r1\nr7 = 0\nl: r7 += 1\nif r7 < {bound} goto l\nr0 = 0\nexit")
    assert kernel_says("xdp", code)[0]
    assert verify(Program(code, PROG_TYPES["xdp"])).accepted


def test_a_loop_that_is_too_long() -> None:
    code = assemble("r7 = 0\nl: r7 += 1\nif r7 < 600000 goto l\nr0 = 0\nexit")
    assert not kernel_says("xdp", code)[0]
    assert verify(Program(code, PROG_TYPES["xdp"])).message == "BPF program is too large. Processed 1000001 insn"


if __name__ == "__main__":
    for _ in range(20):
        test_verdicts_are_the_kernels()
