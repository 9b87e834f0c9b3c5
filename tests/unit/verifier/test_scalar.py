"""The scalar domain holds every number that can come out of an operation."""

from __future__ import annotations

import random

import pytest

from osmia.isa import op
from osmia.verifier import _scalar as sc
from osmia.verifier._scalar_alu import alu, mov32, movsx, neg, truncate
from osmia.verifier._scalar_branch import decide, refine

U64, U32 = (1 << 64) - 1, (1 << 32) - 1
EDGES = [0, 1, 2, 7, 31, 63, 255, 1 << 15, (1 << 31) - 1, 1 << 31, U32, 1 << 32, (1 << 63) - 1, 1 << 63, U64 - 1, U64]
OPERATIONS = {
    op.ADD: int.__add__, op.SUB: int.__sub__, op.MUL: int.__mul__,
    op.AND: int.__and__, op.OR: int.__or__, op.XOR: int.__xor__,
}  # fmt: skip


def s64(n: int) -> int:
    n &= U64
    return n - (1 << 64) if n >> 63 else n


def s32(n: int) -> int:
    n &= U32
    return n - (1 << 32) if n >> 31 else n


def holds(s: sc.Scalar, n: int) -> bool:
    return (
        n & ~s.mask == s.value
        and s.umin <= n <= s.umax
        and s.smin <= s64(n) <= s.smax
        and s.u32min <= n & U32 <= s.u32max
        and s.s32min <= s32(n) <= s.s32max
    )


def some(r: random.Random) -> tuple[sc.Scalar, list[int]]:
    """A scalar and numbers that are in it."""
    kind = r.randrange(4)
    if kind == 0:
        n = r.choice([*EDGES, r.getrandbits(64), r.getrandbits(8)])
        return sc.const(n), [n]
    if kind == 1:
        low, high = sorted((r.choice([*EDGES, r.getrandbits(64)]), r.choice([*EDGES, r.getrandbits(33)])))
        return sc.from_range(low, high), [low, high, r.randint(low, high), r.randint(low, high)]
    if kind == 2:
        low, high = sorted((s64(r.choice([*EDGES, r.getrandbits(64)])), s64(r.choice([*EDGES, r.getrandbits(40)]))))
        return sc.from_signed(low, high), [n & U64 for n in (low, high, r.randint(low, high), r.randint(low, high))]
    mask = r.getrandbits(64) & r.getrandbits(64)
    value = r.getrandbits(64) & ~mask
    s = sc.sync(value, mask, sc.S64_MIN, sc.S64_MAX, 0, U64, sc.S32_MIN, sc.S32_MAX, 0, U32)
    return s, [value | r.getrandbits(64) & mask for _ in range(4)] + [value, value | mask]


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("wide", [True, False])
def test_arithmetic_holds_every_result(operation: int, wide: bool, rng: random.Random) -> None:
    full = U64 if wide else U32
    for _ in range(1500):
        (a, a_numbers), (b, b_numbers) = some(rng), some(rng)
        out = alu(operation, a, b, wide)
        for x in a_numbers:
            for y in b_numbers:
                n = OPERATIONS[operation](x & full, y & full) & full
                assert holds(out, n), (operation, wide, a, b, hex(x), hex(y), out)


@pytest.mark.parametrize("operation", [op.LSH, op.RSH, op.ARSH])
@pytest.mark.parametrize("wide", [True, False])
def test_shifts_hold_every_result(operation: int, wide: bool, rng: random.Random) -> None:
    bits = 64 if wide else 32
    full = (1 << bits) - 1
    for _ in range(3000):
        a, numbers = some(rng)
        by = rng.randrange(bits)
        out = alu(operation, a, sc.const(by), wide)
        for x in numbers:
            if operation == op.LSH:
                n = x << by
            elif operation == op.RSH:
                n = (x & full) >> by
            else:
                n = (s64(x) if wide else s32(x)) >> by
            assert holds(out, n & full), (operation, wide, a, by, hex(x), out)


def test_moves_hold_every_result(rng: random.Random) -> None:
    for _ in range(3000):
        a, numbers = some(rng)
        for n in numbers:
            assert holds(mov32(a), n & U32)
            assert holds(neg(a, True), -n & U64)
            assert holds(neg(a, False), -n & U32)
            for size in (1, 2, 4):
                assert holds(truncate(a, size), n & (1 << 8 * size) - 1)
            for bits in (8, 16, 32):
                m = n & (1 << bits) - 1
                m = m - (1 << bits) if m >> (bits - 1) else m
                assert holds(movsx(a, bits, True), m & U64), (a, bits, n)
                if bits < 32:
                    assert holds(movsx(a, bits, False), m & U32)


COMPARE = {
    op.JEQ: lambda a, b, s: a == b, op.JNE: lambda a, b, s: a != b, op.JSET: lambda a, b, s: bool(a & b),
    op.JGT: lambda a, b, s: a > b, op.JGE: lambda a, b, s: a >= b,
    op.JLT: lambda a, b, s: a < b, op.JLE: lambda a, b, s: a <= b,
    op.JSGT: lambda a, b, s: s(a) > s(b), op.JSGE: lambda a, b, s: s(a) >= s(b),
    op.JSLT: lambda a, b, s: s(a) < s(b), op.JSLE: lambda a, b, s: s(a) <= s(b),
}  # fmt: skip


@pytest.mark.parametrize("operation", sorted(COMPARE))
@pytest.mark.parametrize("wide", [True, False])
def test_branches_keep_every_number_that_goes_their_way(operation: int, wide: bool, rng: random.Random) -> None:
    full = U64 if wide else U32
    for _ in range(1500):
        (a, a_numbers), (b, b_numbers) = some(rng), some(rng)
        answer = decide(operation, a, b, wide)
        taken, fallen = refine(operation, a, b, wide)
        for x in a_numbers:
            for y in b_numbers:
                truth = COMPARE[operation](x & full, y & full, s64 if wide else s32)
                assert answer is None or answer == truth, (a, b, x, y)
                first, second = taken if truth else fallen
                assert holds(first, x), (operation, wide, truth, a, b, hex(x), hex(y), first)
                assert holds(second, y), (operation, wide, truth, a, b, hex(x), hex(y), second)


def test_within(rng: random.Random) -> None:
    for _ in range(2000):
        a, numbers = some(rng)
        assert sc.within(sc.UNKNOWN, a)
        assert sc.within(a, a)
        for n in numbers:
            assert sc.within(a, sc.const(n))


def test_a_constant_folds() -> None:
    assert alu(op.ADD, sc.const(U64), sc.const(2), True) is sc.const(1)
    assert alu(op.MUL, sc.const(1 << 31), sc.const(2), False) is sc.const(0)


def test_it_is_written_as_the_kernel_writes_it() -> None:
    assert sc.describe(sc.unknown_of(1)) == "smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff)"
    assert sc.describe(sc.const(-5)) == "-5"
    assert sc.describe(sc.UNKNOWN) == ""
