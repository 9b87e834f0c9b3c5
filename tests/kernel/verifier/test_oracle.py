"""The running kernel as the oracle: random programs, new ones each run, get the verdict that it gives."""

from __future__ import annotations

import os
import random

import pytest
from _oracle import Score, kernel_says, maps, programs, with_fds
from _random_programs import MAPS

from osmia.isa import MAP_TYPES, PROG_TYPES, assemble
from osmia.verifier import MapInfo, Program, profile, verify

COUNT = 500
INFOS = tuple(MapInfo(MAP_TYPES[kind], key, value, entries) for kind, key, value, entries in MAPS)


def test_verdicts_are_the_kernels() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    live = profile(os.uname().release)
    score = Score()
    with maps() as fds:
        for one, type, text, code in programs(seed, COUNT):
            loads, words = kernel_says(type, with_fds(code, fds))
            if "too large" in words or "too complex" in words:
                continue  # walking a million instructions takes a minute here: loops have tests of their own
            verdict = verify(Program(code, PROG_TYPES[type], maps=INFOS), live)
            score.add(f"seed {one} ({type}):\n{text}", loads, words, verdict.accepted, verdict.message)
    score.check(least=int(COUNT * 0.8))


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
