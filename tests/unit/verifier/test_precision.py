"""Backtracking: marks where it must, and no more work than that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from osmia.isa import PROG_TYPES, assemble
from osmia.verifier import Program, verify
from osmia.verifier._precision import Backtrack
from osmia.verifier._state import SCALAR, Checkpoint, Frame, Reg, State

# What the packet's byte was cannot be tracked back: all scalars of all states before count.
LOOP = """
    r6 = r1
    r7 = 0
    *(u64 *)(r10 - 8) = 0
l:
    r0 = *(u8 *)skb[12]
    r0 &= 7
    r2 = r10
    r2 += r0
    *(u8 *)(r2 - 8) = 1
    r7 += 1
    if r7 < 2000 goto l
    r0 = 0
    exit
"""


def test_a_loop_that_loses_track_each_round() -> None:
    verdict = verify(Program(assemble(LOOP), PROG_TYPES["socket_filter"]))
    assert (verdict.accepted, verdict.message) == (True, "")


def test_what_counts_whole_is_not_marked_again() -> None:
    """Else a loop takes the square of its rounds."""
    first, second, third = (_kept(None) for _ in range(3))
    second.parent, third.parent = first, second
    env = cast("Any", SimpleNamespace(code=None))
    Backtrack(env, [0], [0])._mark_all(second)
    assert first.precise_regs == second.precise_regs == [1]
    first.precise_regs = [0]
    Backtrack(env, [0], [0])._mark_all(third)
    assert third.precise_regs == [1]
    assert first.precise_regs == [0]


def _kept(parent: Checkpoint | None) -> Checkpoint:
    state = State()
    frame = Frame(0, -1)
    frame.regs[0] = Reg(SCALAR)
    state.frames.append(frame)
    state.parent = parent
    return Checkpoint(state)
