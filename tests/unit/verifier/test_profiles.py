"""What a profile's verdict is: the probes of the feature table are taken from the version on that the table names."""

from __future__ import annotations

import random

import pytest

from osmia.isa import PROG_TYPES, assemble, op
from osmia.verifier import Program, profile, verify, versions
from osmia.verifier._features import FEATURES, Feature
from osmia.verifier._rules import NEWEST_RULES, rules
from osmia.verifier._scalar import Scalar, const, unknown_of, within


def _probe(row: Feature) -> Program:
    kind, text = ("kprobe", row.probe[8:]) if row.probe.startswith("kprobe: ") else ("socket_filter", row.probe)
    return Program(assemble(text), PROG_TYPES[kind])


@pytest.mark.parametrize("row", [row for row in FEATURES.values() if row.probe], ids=lambda row: row.name)
def test_probe(row: Feature) -> None:
    program = _probe(row)
    taken = {version for version in versions() if verify(program, profile(version)).accepted}
    assert taken == {version for version in versions() if profile(version).has(row.name)}


OPERATIONS = (op.ADD, op.SUB, op.MUL, op.AND, op.OR, op.XOR, op.LSH, op.RSH, op.ARSH)
JUMPS = (op.JEQ, op.JNE, op.JSET, op.JGT, op.JGE, op.JLT, op.JLE, op.JSGT, op.JSGE, op.JSLT, op.JSLE)


def _holds(operation: int, a: int, b: int, wide: bool) -> bool:
    bits = 64 if wide else 32
    a, b = a & (1 << bits) - 1, b & (1 << bits) - 1
    sa, sb = (n - (1 << bits) if n >> bits - 1 else n for n in (a, b))
    return {
        op.JEQ: a == b, op.JNE: a != b, op.JSET: bool(a & b), op.JGT: a > b, op.JGE: a >= b, op.JLT: a < b,
        op.JLE: a <= b, op.JSGT: sa > sb, op.JSGE: sa >= sb, op.JSLT: sa < sb, op.JSLE: sa <= sb,
    }[operation]  # fmt: skip


def _sum(operation: int, a: int, b: int, wide: bool) -> int:
    bits = 64 if wide else 32
    full = (1 << bits) - 1
    a, b = a & full, b & full
    by = b % bits
    signed = a - (1 << bits) if a >> bits - 1 else a
    return {
        op.ADD: a + b, op.SUB: a - b, op.MUL: a * b, op.AND: a & b, op.OR: a | b, op.XOR: a ^ b, op.LSH: a << by,
        op.RSH: a >> by, op.ARSH: signed >> by,
    }[operation] & full  # fmt: skip


@pytest.mark.parametrize(
    "version", ["4.19", "5.4", "5.10", "5.15", "6.1", "6.5", "6.8", "6.11", "6.12", "6.14", "6.17"]
)
def test_rules_are_sound(version: str) -> None:
    """The number that a register holds is never outside of what is known of it, whatever was done to it."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    used = rules(profile(version))
    assert used is not NEWEST_RULES
    for _ in range(400):
        number = rng.getrandbits(rng.choice((8, 16, 32, 64)))
        known: Scalar = unknown_of(8) if number >> 32 else unknown_of(4)
        for _ in range(8):
            wide = rng.random() < 0.6
            other = rng.choice((0, 1, 7, 255, -1, -8, rng.getrandbits(31), -(1 << 31), rng.getrandbits(6)))
            if rng.random() < 0.5:
                operation = rng.choice(OPERATIONS)
                if operation in (op.LSH, op.RSH, op.ARSH):
                    other = rng.randrange(64 if wide else 32)
                known = used.alu(operation, known, const(other if wide else other & 0xFFFFFFFF), wide)
                number = _sum(operation, number, other, wide)
            else:
                operation = rng.choice(JUMPS)
                outcome = _holds(operation, number, other, wide)
                decided = used.decide(operation, known, const(other), wide)
                assert decided is None or decided is outcome, f"seed {seed}"
                if decided is None:
                    taken, fallen = used.refine(operation, known, const(other), wide)
                    known = (taken if outcome else fallen)[0]
            assert within(known, const(number)), f"seed {seed}: {number:#x} is not {known}"
