"""Conditional jumps on scalars as older kernels judge them: which outcome is known, and what each outcome teaches."""

from __future__ import annotations

from ..isa import op
from . import _tnum as tnum
from ._scalar import UNKNOWN, Scalar, const
from ._scalar_branch import ORDER, known_outcome, learn_both
from ._scalar_older import low_of_wide, sync_wide
from ._tnum import U32, U64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._scalar_branch import Pair

FLIP = {
    op.JEQ: op.JEQ, op.JNE: op.JNE, op.JSET: op.JSET, op.JGE: op.JLE, op.JGT: op.JLT, op.JLE: op.JGE, op.JLT: op.JGT,
    op.JSGE: op.JSLE, op.JSGT: op.JSLT, op.JSLE: op.JSGE, op.JSLT: op.JSGT,
}  # fmt: skip


class Branches:
    """6.8 to 6.17: as now, but an outcome that leaves no number is walked; `tnums` are compared, too, if set."""

    def __init__(self, sync: Callable[..., Scalar], tnums: bool) -> None:
        self._sync = sync
        self._tnums = tnums

    def decide(self, operation: int, a: Scalar, b: Scalar, wide: bool) -> bool | None:
        """As `_scalar_branch.decide`."""
        return known_outcome(operation, a, b, wide, self._tnums)

    def refine(self, operation: int, a: Scalar, b: Scalar, wide: bool) -> tuple[Pair, Pair]:
        """As `_scalar_branch.refine`."""
        return learn_both(operation, a, b, wide, self._sync)


class ClassicBranches:
    """Before 6.8: one of the two has to be a constant, but for equality (67420501e868)."""

    def __init__(self, version: tuple[int, int], sync: Callable[..., Scalar]) -> None:
        self._sync = sync
        self._halves = sync is not sync_wide
        # A constant on the left (953d9f5beaf7), and ranges that tell that numbers differ (13fbcee55706).
        self._more = version >= (6, 4)

    def decide(self, operation: int, a: Scalar, b: Scalar, wide: bool) -> bool | None:
        """Whether the jump is always taken, never, or may go either way."""
        full = U64 if wide else U32
        if b.mask & full:
            if a.mask & full or not self._more:
                return None
            a, b, operation = b, a, FLIP[operation]
        if not self._halves and not wide:
            return self._decide_low(operation, a, b.value & U32)
        if operation == op.JEQ or operation == op.JNE:
            equal = self._equal(a, b.value & full, full)
            return equal if equal is None or operation == op.JEQ else not equal
        return known_outcome(operation, a, b, wide, False)

    def _equal(self, a: Scalar, number: int, full: int) -> bool | None:
        if not a.mask & full:
            return a.value & full == number
        if not self._more:
            return None
        if full == U64:
            signed = tnum.signed(number, 64)
            return None if a.umin <= number <= a.umax and a.smin <= signed <= a.smax else False
        signed = tnum.signed(number, 32)
        return None if a.u32min <= number <= a.u32max and a.s32min <= signed <= a.s32max else False

    def _decide_low(self, operation: int, a: Scalar, number: int) -> bool | None:
        """Without ranges of the low half: of one that is known, or of a number that is below 2**31 as a whole."""
        if not a.mask & U32:
            return known_outcome(operation, const(a.value & U32), const(number), False, False)
        if a.umax >= 1 << 31 or number >= 1 << 31 or operation in (op.JEQ, op.JNE):
            return None
        return known_outcome(operation, a, const(number), True, False)

    def refine(self, operation: int, a: Scalar, b: Scalar, wide: bool) -> tuple[Pair, Pair]:
        """What `a` and `b` are when the jump is taken, and what they are when it is not."""
        if not b.mask or (not wide and not b.mask & U32):
            taken, fallen = self._by_constant(operation, a, b, wide)
            return (taken, b), (fallen, b)
        if not a.mask or (not wide and not a.mask & U32):
            taken, fallen = self._by_constant(FLIP[operation], b, a, wide)
            return (a, taken), (a, fallen)
        if wide and operation in (op.JEQ, op.JNE):
            one = self._combined(a, b)
            return ((one, one), (a, b)) if operation == op.JEQ else ((a, b), (one, one))
        return (a, b), (a, b)

    def _combined(self, a: Scalar, b: Scalar) -> Scalar:
        value, mask = tnum.intersect((a.value, a.mask), (b.value, b.mask))
        ranges = max(a.smin, b.smin), min(a.smax, b.smax), max(a.umin, b.umin), min(a.umax, b.umax)
        return self._sync(value, mask, *ranges, a.s32min, a.s32max, a.u32min, a.u32max)

    def _by_constant(self, operation: int, a: Scalar, b: Scalar, wide: bool) -> tuple[Scalar, Scalar]:
        if not self._halves and not wide and a.umax > U32:
            return a, a
        if operation in (op.JEQ, op.JNE):
            same = self._is(a, b.value, wide)
            other = self._settled(list(a.key()), wide)
            return (same, other) if operation == op.JEQ else (other, same)
        taken, fallen = list(a.key()), list(a.key())
        if operation == op.JSET:
            self._bits(a, b.value & (U64 if wide else U32), taken, fallen)
        else:
            _ranges(operation, b, wide, taken, fallen)
        return self._settled(taken, wide), self._settled(fallen, wide)

    def _is(self, a: Scalar, number: int, wide: bool) -> Scalar:
        if wide:
            return const(number)
        low = number & U32
        signed = tnum.signed(low, 32)
        known = [a.value & ~U32 | low, a.mask & ~U32, a.smin, a.smax, a.umin, a.umax, signed, signed, low, low]
        return self._settled(known, False)

    def _bits(self, a: Scalar, bits: int, taken: list[int], fallen: list[int]) -> None:
        """None of the bits is set where it falls through; the ranges are forgotten there (6279846b9b25)."""
        fallen[:] = [a.value & ~bits, a.mask & ~bits, *UNKNOWN.key()[2:]]
        if bits and not bits & bits - 1:
            taken[0] |= bits
            taken[1] &= ~bits

    def _settled(self, sides: list[int], wide: bool) -> Scalar:
        """The half that was not compared follows from the one that was."""
        if wide or not self._halves:
            sides[6:10] = low_of_wide(*sides[2:6])
        elif not (sides[0] | sides[1]) >> 32:
            s32min, s32max, u32min, u32max = sides[6:10]
            positive = s32min >= 0 and s32max >= 0
            sides[2:6] = [*((s32min, s32max) if positive else (0, U32)), u32min, u32max]
        else:
            sides[2:6] = UNKNOWN.key()[2:6]
        return self._sync(*sides)


def _ranges(operation: int, b: Scalar, wide: bool, taken: list[int], fallen: list[int]) -> None:
    signed, flip, strict = ORDER[operation]
    bits = 64 if wide else 32
    full = (1 << bits) - 1

    def moved(by: int) -> int:
        """The constant plus one or less one, which may wrap on a path that cannot be taken."""
        number = b.value + by & full
        return tnum.signed(number, bits) if signed else number

    at = (2 if signed else 4) if wide else (6 if signed else 8)
    if flip:  # a > number, or a >= number
        taken[at] = max(taken[at], moved(strict))
        fallen[at + 1] = min(fallen[at + 1], moved(-(not strict)))
    else:
        taken[at + 1] = min(taken[at + 1], moved(-strict))
        fallen[at] = max(fallen[at], moved(not strict))
