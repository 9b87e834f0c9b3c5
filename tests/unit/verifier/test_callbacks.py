"""Callbacks of bpf_loop as clang -O2 makes them, for every kernel that has bpf_loop."""

from __future__ import annotations

import pytest

from osmia.isa import PROG_TYPES, assemble
from osmia.verifier import Program, Verdict, profile, verify, versions

CALL = """
    *(u64 *)(r10 - 8) = r1
    r3 = r10
    r3 += -16
    r1 = 1048576
    r2 = subprog[each]
    r4 = 0
    call 181
    r0 = *(u64 *)(r10 - 16)
    r0 &= 1
    exit
each:
"""
# struct { u64 sum; u32 stop; } c = { .stop = context->size }; bpf_loop(1 << 20, each, &c, 0); return c.sum & 1;
START = "r1 = *(u32 *)(r1 + 0)\nr2 = 0\n*(u64 *)(r10 - 16) = r2\n" + CALL
SUM = "r1 *= 3\nr1 <<= 32\nr1 >>= 32\nr3 = *(u64 *)(r2 + 0)\nr3 += r1\n*(u64 *)(r2 + 0) = r3\n"
COUNT = "r3 = *(u64 *)(r2 + 0)\nr3 += 1\n*(u64 *)(r2 + 0) = r3\n"
NEXT = "r0 = 0\nexit\n"
STOP = "r0 = 1\nr1 <<= 32\nr1 >>= 32\nr3 = *(u32 *)(r2 + 8)\nif r1 >= r3 goto out\n" + SUM + "r0 = 0\nout: exit\n"
# The sum is the offset of the next store into the caller's stack.
INDEX = "r3 = *(u64 *)(r2 + 0)\nr4 = r2\nr4 += r3\n*(u8 *)(r4 + 8) = r1\nr3 += 8\n*(u64 *)(r2 + 0) = r3\n" + NEXT
HAVE_LOOP = [version for version in versions() if profile(version).has("bpf_loop")]


def ask(callback: str, version: str) -> Verdict:
    return verify(Program(assemble(START + callback), PROG_TYPES["socket_filter"]), profile(version))


@pytest.mark.parametrize("callback", [SUM + NEXT, COUNT + NEXT, STOP], ids=["sum", "count", "stop"])
def test_a_sum_in_the_context(callback: str) -> None:
    """What is added up decides nothing: a few rounds are enough to see that."""
    for version in HAVE_LOOP:
        verdict = ask(callback, version)
        assert verdict.accepted, f"{version}: {verdict.message}"
        assert verdict.processed < 200, version


def test_a_sum_that_is_an_offset() -> None:
    """Kernels that walk callbacks once (before 6.6 stable) do not see that the second round leaves the stack."""
    refused = {version: ask(INDEX, version).message for version in HAVE_LOOP if not ask(INDEX, version).accepted}
    assert list(refused) == [version for version in HAVE_LOOP if profile(version).version >= (6, 6)]
    assert set(refused.values()) == {"invalid write to stack R4 off=0 size=1"}
