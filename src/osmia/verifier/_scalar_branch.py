"""Conditional jumps on scalars: is the outcome known, and what does each outcome teach?

As the kernel's is_branch_taken and reg_set_min_max (6.18). Operation numbers are those of `isa.op` (JEQ, JGT, ...).
"""

from __future__ import annotations

from ..isa import op
from . import _tnum as tnum
from ._scalar import UNKNOWN, Impossible, Scalar, sync
from ._tnum import U32, U64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from ._scalar import Bounds

    Pair: TypeAlias = tuple[Scalar, Scalar]
    Sync: TypeAlias = Callable[..., Scalar]

_NOT_SET = -1  # "none of these bits is set": the other outcome of JSET, no operation of the machine


def decide(operation: int, a: Scalar, b: Scalar, wide: bool) -> bool | None:
    """Whether `if a operation b` is always taken (True), never (False), or may go either way (None).

    An outcome that leaves no number for an operand is none (newer than 6.18.0, and in its stable tree)."""
    known = known_outcome(operation, a, b, wide)
    if known is None:
        taken, fallen = refine(operation, a, b, wide)
        if _impossible(taken):
            return False
        if _impossible(fallen):
            return True
    return known


def _impossible(pair: Pair) -> bool:
    return isinstance(pair[0], Impossible) or isinstance(pair[1], Impossible)


def known_outcome(operation: int, a: Scalar, b: Scalar, wide: bool, tnums: bool = True) -> bool | None:
    """The same without a look at what the outcomes leave; with `tnums` false, numbers differ by their ranges only."""
    if operation == op.JEQ or operation == op.JNE:
        known = _equal(a, b, wide, tnums)
        return known if known is None or operation == op.JEQ else not known
    if operation == op.JSET:
        return _any_set(a, b, wide)
    signed, flip, strict = ORDER[operation]
    if flip:
        a, b = b, a
    # now: is a < b (strict), or a <= b?
    if signed:
        amin, amax, bmin, bmax = (a.smin, a.smax, b.smin, b.smax) if wide else (a.s32min, a.s32max, b.s32min, b.s32max)
    else:
        amin, amax, bmin, bmax = (a.umin, a.umax, b.umin, b.umax) if wide else (a.u32min, a.u32max, b.u32min, b.u32max)
    if strict:
        return True if amax < bmin else False if amin >= bmax else None
    return True if amax <= bmin else False if amin > bmax else None


def refine(operation: int, a: Scalar, b: Scalar, wide: bool) -> tuple[Pair, Pair]:
    """What `a` and `b` are when the jump is taken, and what they are when it is not."""
    global _last
    asked, answer = _last
    if asked[0] is a and asked[1] is b and asked[2:] == (operation, wide):
        return answer  # `decide` has asked the same
    answer = learn_both(operation, a, b, wide, sync)
    _last = (a, b, operation, wide), answer
    return answer


def learn_both(operation: int, a: Scalar, b: Scalar, wide: bool, keep: Sync) -> tuple[Pair, Pair]:
    """The same with another way to keep ranges in step."""
    return _learn(operation, a, b, wide, keep), _learn(_OPPOSITE[operation], a, b, wide, keep)


def _equal(a: Scalar, b: Scalar, wide: bool, tnums: bool) -> bool | None:
    if wide:
        if not a.mask and not b.mask:
            return a.value == b.value
        if tnums and not tnum.overlap((a.value, a.mask), (b.value, b.mask)):
            return False
        if a.umin > b.umax or a.umax < b.umin or a.smin > b.smax or a.smax < b.smin:
            return False
    elif not a.mask & U32 and not b.mask & U32:
        return a.value & U32 == b.value & U32
    elif tnums and not tnum.overlap((a.value & U32, a.mask & U32), (b.value & U32, b.mask & U32)):
        return False
    if a.u32min > b.u32max or a.u32max < b.u32min or a.s32min > b.s32max or a.s32max < b.s32min:
        return False
    return None


def _any_set(a: Scalar, b: Scalar, wide: bool) -> bool | None:
    full = U64 if wide else U32
    if b.mask & full:
        a, b = b, a
    if b.mask & full:
        return None
    bits = b.value & full
    if a.value & ~a.mask & bits:
        return True
    return False if not (a.value | a.mask) & bits else None


def _learn(operation: int, a: Scalar, b: Scalar, wide: bool, keep: Sync) -> Pair:
    rule = _RULES.get(operation)
    if rule is not None:
        return rule(a, b, wide, keep)
    signed, flip, strict = ORDER[operation]
    low, high = (b, a) if flip else (a, b)
    low, high = _below(low, high, signed, strict, wide, keep)
    return (high, low) if flip else (low, high)


def _below(a: Scalar, b: Scalar, signed: bool, strict: bool, wide: bool, keep: Sync) -> Pair:
    """a < b or a <= b: b's most bounds a, a's least bounds b."""
    at = (2 if signed else 4) if wide else (6 if signed else 8)  # place of the range's least in `Scalar.key`
    first, second = list(a.key()), list(b.key())
    most = second[at + 1] - strict
    least = first[at] + strict
    first[at + 1] = min(first[at + 1], most)
    second[at] = max(second[at], least)
    return keep(*first), keep(*second)


def _same(a: Scalar, b: Scalar, wide: bool, keep: Sync) -> Pair:
    first, second = list(a.key()), list(b.key())
    for at in (2, 4) if wide else (6, 8):
        first[at] = second[at] = max(first[at], second[at])
        first[at + 1] = second[at + 1] = min(first[at + 1], second[at + 1])
    if wide:
        known = tnum.intersect((a.value, a.mask), (b.value, b.mask))
        first[0:2] = second[0:2] = known
    else:
        value, mask = tnum.intersect((a.value & U32, a.mask & U32), (b.value & U32, b.mask & U32))
        for side in (first, second):
            side[0] = side[0] & ~U32 | value
            side[1] = side[1] & ~U32 | mask
    return keep(*first), keep(*second)


def _different(a: Scalar, b: Scalar, wide: bool, keep: Sync) -> Pair:
    """Only a constant at the edge of a range takes something away."""
    full = U64 if wide else U32
    if b.mask & full:
        if a.mask & full:
            return a, b
        second, first = _different(b, a, wide, keep)
        return first, second
    value = b.value & full
    sides = list(a.key())
    bits = 64 if wide else 32
    for at, edge in (
        ((2, tnum.signed(value, bits)), (4, value)) if wide else ((6, tnum.signed(value, bits)), (8, value))
    ):
        if sides[at] == edge:
            sides[at] += 1
        if sides[at + 1] == edge:
            sides[at + 1] -= 1
    return keep(*sides), b


def _some_set(a: Scalar, b: Scalar, wide: bool, keep: Sync) -> Pair:
    """One bit asked for is that bit set; of several, none is sure."""
    return _with_bits(a, b, wide, keep, lambda held, bits: held if bits & bits - 1 else tnum.or_(held, (bits, 0)))


def _none_set(a: Scalar, b: Scalar, wide: bool, keep: Sync) -> Pair:
    """The kernel forgets the ranges before it narrows the bits (6279846b9b25, 6.17)."""
    full = U64 if wide else U32
    if not b.mask & full:
        a = Scalar(a.value, a.mask)
    elif not a.mask & full:
        b = Scalar(b.value, b.mask)
    return _with_bits(a, b, wide, keep, lambda known, bits: tnum.and_(known, (~bits & U64, 0)))


def _with_bits(a: Scalar, b: Scalar, wide: bool, keep: Sync, change: Callable[[tnum.Tnum, int], tnum.Tnum]) -> Pair:
    full = U64 if wide else U32
    if b.mask & full:
        if a.mask & full:
            return a, b
        second, first = _with_bits(b, a, wide, keep, change)
        return first, second
    sides: Bounds = a.key()
    value, mask = change((a.value & full, a.mask & full), b.value & full)
    return keep(a.value & ~full | value, a.mask & ~full | mask, *sides[2:]), b


# operation: (signed, a and b change places, strict): each is "first < second" or "first <= second".
ORDER = {
    op.JLT: (False, False, True), op.JLE: (False, False, False),
    op.JGT: (False, True, True), op.JGE: (False, True, False),
    op.JSLT: (True, False, True), op.JSLE: (True, False, False),
    op.JSGT: (True, True, True), op.JSGE: (True, True, False),
}  # fmt: skip
_OPPOSITE = {
    op.JEQ: op.JNE, op.JNE: op.JEQ, op.JSET: _NOT_SET, op.JLT: op.JGE, op.JGE: op.JLT, op.JLE: op.JGT, op.JGT: op.JLE,
    op.JSLT: op.JSGE, op.JSGE: op.JSLT, op.JSLE: op.JSGT, op.JSGT: op.JSLE,
}  # fmt: skip
_RULES: dict[int, Callable[[Scalar, Scalar, bool, Sync], Pair]] = {
    op.JEQ: _same, op.JNE: _different, op.JSET: _some_set, _NOT_SET: _none_set,
}  # fmt: skip
_last: tuple[tuple[Scalar, Scalar, int, bool], tuple[Pair, Pair]] = (
    (UNKNOWN, UNKNOWN, -2, True), ((UNKNOWN, UNKNOWN), (UNKNOWN, UNKNOWN)),
)  # fmt: skip
