"""How older kernels keep what is known of a number in step: their reg_bounds_sync.

Each of these knows less than `_scalar.sync`, and a profile must not know more than its kernel. Arguments are those of
`sync`: value, mask, then least and most of the signed, unsigned, low signed and low unsigned ranges.
"""

from __future__ import annotations

from . import _tnum as tnum
from ._scalar import S32_MAX, S32_MIN, Scalar, by_bits, deduce, sane
from ._tnum import U32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._scalar import Bounds

    Half = tuple[int, int, int, int]  # signed least and most, unsigned least and most


def sync_classic(*bounds: int) -> Scalar:
    """5.7 (3f50f132d840) to 6.7: each half learns of its own sign, nothing of the other half but through the bits.

    Contradictions of paths that cannot be taken stay as they are."""
    value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max = by_bits(*bounds)
    s32min, s32max, u32min, u32max = _sign(s32min, s32max, u32min, u32max, 32)
    smin, smax, umin, umax = _sign(smin, smax, umin, umax, 64)
    return Scalar(*_finish(value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max))


def sync_wide(*bounds: int) -> Scalar:
    """Before 5.7: 64-bit ranges only; those of the low half are what follows from them."""
    value, mask, smin, smax, umin, umax = by_bits(*bounds)[:6]
    smin, smax, umin, umax = _sign(smin, smax, umin, umax, 64)
    low = low_of_wide(smin, smax, umin, umax)
    return Scalar(*_finish(value, mask, smin, smax, umin, umax, *low))


def sync_two_rounds(*bounds: int) -> Scalar:
    """6.8 to 6.16: the halves learn of one another, in two rounds."""
    value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max = by_bits(*bounds)
    full, low = (smin, smax, umin, umax), (s32min, s32max, u32min, u32max)
    for _ in range(2):
        low = _from_wide(*full, *low)
        full = _mixed(*_half(*full, 64), *low)
    return sane(*_finish(value, mask, *full, *low))


def sync_two_rounds_extended(*bounds: int) -> Scalar:
    """6.12 to 6.16: as before, and a positive low half tells the upper one of a sign-extended number (9f5469b84577)."""
    value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max = by_bits(*bounds)
    full, low = (smin, smax, umin, umax), (s32min, s32max, u32min, u32max)
    for _ in range(2):
        low = _from_wide(*full, *low)
        full = _mixed(*_half(*full, 64), *low)
        if low[0] >= 0 and full[0] >= S32_MIN and full[1] <= S32_MAX:
            full = low[0], low[1], low[0], low[1]
            if low[0] <= low[1]:
                value, mask = tnum.intersect((value, mask), tnum.span(low[0], low[1]))
    return sane(*_finish(value, mask, *full, *low))


def sync_three_rounds(*bounds: int) -> Scalar:
    """6.17, and the stable tree of 6.12: ranges across the sign, too (00bf8d0c6c9b)."""
    value, mask, *rest = by_bits(*bounds)
    smin, smax, umin, umax, s32min, s32max, u32min, u32max = rest
    ranges = (smin, smax, umin, umax, s32min, s32max, u32min, u32max)
    for _ in range(3):
        value, mask, ranges = deduce(value, mask, *ranges)
    return sane(*_finish(value, mask, *ranges))


def low_of_wide(smin: int, smax: int, umin: int, umax: int) -> Half:
    """The low half's ranges where all of a 64-bit range fits into 32 bits; else none."""
    s32min, s32max = (smin, smax) if S32_MIN <= smin <= S32_MAX and S32_MIN <= smax <= S32_MAX else (S32_MIN, S32_MAX)
    u32min, u32max = (umin, umax) if umin <= U32 and umax <= U32 else (0, U32)
    return s32min, s32max, u32min, u32max


def broken(s: Scalar, wide: bool) -> bool:
    """Whether the ranges of a path that cannot be taken contradict each other."""
    if wide:
        return s.smin > s.smax or s.umin > s.umax or (not s.mask and (s.smin != s.smax or s.umin != s.umax))
    low = s.s32min > s.s32max or s.u32min > s.u32max
    return low or (not s.mask & U32 and (s.s32min != s.s32max or s.u32min != s.u32max))


def _finish(value: int, mask: int, smin: int, smax: int, umin: int, umax: int, s32min: int, s32max: int, u32min: int,
            u32max: int) -> Bounds:  # fmt: skip
    """The bits from the ranges, and the ranges from the bits once more."""
    both = tnum.intersect((value, mask), tnum.span(umin, umax))
    low = tnum.intersect((both[0] & U32, both[1] & U32), tnum.span(u32min, u32max))
    value, mask = both[0] & ~U32 | low[0], both[1] & ~U32 | low[1]
    return by_bits(value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max)


def _sign(smin: int, smax: int, umin: int, umax: int, bits: int) -> Half:
    """What the signed range tells the unsigned one, or else the other way round."""
    full = (1 << bits) - 1
    if smin >= 0 or smax < 0:
        umin, umax = max(smin & full, umin), min(smax & full, umax)
        return tnum.signed(umin, bits), tnum.signed(umax, bits), umin, umax
    if not umax >> bits - 1:
        umax = min(smax & full, umax)
        return tnum.signed(umin, bits), tnum.signed(umax, bits), umin, umax
    if umin >> bits - 1:
        umin = max(smin & full, umin)
        return tnum.signed(umin, bits), tnum.signed(umax, bits), umin, umax
    return smin, smax, umin, umax


def _half(smin: int, smax: int, umin: int, umax: int, bits: int) -> Half:
    """Signed and unsigned range of one half, where one of them does not cross the sign."""
    full = (1 << bits) - 1
    least, most = tnum.signed(umin, bits), tnum.signed(umax, bits)
    if least <= most:
        smin, smax = max(smin, least), min(smax, most)
    if smin & full <= smax & full:
        umin, umax = max(umin, smin & full), min(umax, smax & full)
    return smin, smax, umin, umax


def _from_wide(smin: int, smax: int, umin: int, umax: int, s32min: int, s32max: int, u32min: int, u32max: int) -> Half:
    for least, most, low in ((umin, umax, True), (smin, smax, False)):
        signed_least, signed_most = tnum.signed(least, 32), tnum.signed(most, 32)
        if least >> 32 == most >> 32:
            if low or least & U32 <= most & U32:
                u32min, u32max = max(u32min, least & U32), min(u32max, most & U32)
            if signed_least <= signed_most:
                s32min, s32max = max(s32min, signed_least), min(s32max, signed_most)
    for least, most in ((umin, umax), (smin, smax)):
        signed_least, signed_most = tnum.signed(least, 32), tnum.signed(most, 32)
        if (least >> 32) + 1 & U32 == most >> 32 & U32 and signed_least < 0 <= signed_most:
            s32min, s32max = max(s32min, signed_least), min(s32max, signed_most)
    return _half(s32min, s32max, u32min, u32max, 32)


def _mixed(smin: int, smax: int, umin: int, umax: int, _s32min: int, _s32max: int, u32min: int, u32max: int) -> Half:
    """The ends of the 64-bit ranges with the low half's ends in them."""
    umin, umax = max(umin, umin & ~U32 | u32min), min(umax, umax & ~U32 | u32max)
    smin, smax = max(smin, smin & ~U32 | u32min), min(smax, smax & ~U32 | u32max)
    return smin, smax, umin, umax
