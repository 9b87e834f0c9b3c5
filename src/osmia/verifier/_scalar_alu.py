"""Arithmetic on scalars, as the kernel's adjust_scalar_min_max_vals does it (6.18).

Operation numbers are those of `isa.op` (ADD, SUB, ...). Every function is pure.
"""

from __future__ import annotations

from ..isa import op
from . import _tnum as tnum
from ._scalar import (
    S32_MAX,
    S32_MIN,
    S64_MAX,
    S64_MIN,
    UNKNOWN,
    Scalar,
    const,
    from_range,
    from_signed,
    sync,
)
from ._tnum import U32, U64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from ._scalar import Bounds

    Four: TypeAlias = tuple[int, int, int, int]  # signed least and most, unsigned least and most

_SHIFTS = (op.LSH, op.RSH, op.ARSH)


def alu(operation: int, a: Scalar, b: Scalar, wide: bool) -> Scalar:
    """`a operation b`; not `wide` takes the low halves and clears the upper one. Division, and a shift by what is not
    known, give any number, even in the upper half (as in the kernel up to 6.18)."""
    if operation in _SHIFTS:
        return _shift(operation, a, b, wide)
    combine = _COMBINE.get(operation)
    if combine is None:
        return UNKNOWN
    if not a.mask and not b.mask:
        return const(_EXACT[operation](a.value, b.value) & (U64 if wide else U32))
    value, mask = _BITS[operation]((a.value, a.mask), (b.value, b.mask))
    low = combine((a.s32min, a.s32max, a.u32min, a.u32max), (b.s32min, b.s32max, b.u32min, b.u32max), value, mask, 32)
    if not wide:
        return _zero_extended(value & U32, mask & U32, low)
    full = combine((a.smin, a.smax, a.umin, a.umax), (b.smin, b.smax, b.umin, b.umax), value, mask, 64)
    return sync(value, mask, *full, *low)


def moved(a: Scalar, delta: int) -> Scalar:
    """`a + delta`, for a copy that was so much larger when `a` was learnt of."""
    return alu(op.ADD, a, const(delta), True)


def fork(operation: int, a: Scalar, b: Scalar) -> tuple[Scalar, Scalar] | None:
    """What an arithmetic shift leaves of a sign, -1 or 0, becomes two paths where AND or OR takes it with a constant:
    the `a` to go on with and the one to walk later; None where there is but one path. Newer than 6.18.0, and in its
    stable tree."""
    if operation not in (op.AND, op.OR) or b.mask:
        return None
    if a.smin == -1 and a.smax == 0:
        return const(-1), const(0)
    if a.s32min == -1 and a.s32max == 0:
        return _with_low(a, U32), _with_low(a, 0)
    return None


def _with_low(a: Scalar, low: int) -> Scalar:
    signed = -1 if low else 0
    return Scalar(a.value & ~U32 | low, a.mask & ~U32, a.smin, a.smax, a.umin, a.umax, signed, signed, low, low)


def neg(a: Scalar, wide: bool) -> Scalar:
    """0 - a (6.17: aced132599b3; before, any number)."""
    return alu(op.SUB, const(0), a, wide)


def mov32(a: Scalar) -> Scalar:
    """The low half, zero-extended."""
    if a.umax <= U32:
        return a
    return _zero_extended(a.value & U32, a.mask & U32, (a.s32min, a.s32max, a.u32min, a.u32max))


def truncate(a: Scalar, size: int) -> Scalar:
    """The low `size` bytes, zero-extended: a narrow load of a spilled number."""
    if size == 8:
        return a
    if size == 4:
        return mov32(a)
    full = (1 << 8 * size) - 1
    keep = a.umin & ~full == a.umax & ~full
    low, high = (a.umin & full, a.umax & full) if keep else (0, full)
    return sync(a.value & full, a.mask & full, low, high, low, high, S32_MIN, S32_MAX, 0, U32)


def movsx(a: Scalar, bits: int, wide: bool) -> Scalar:
    """The low `bits` bits, sign-extended to 64, or to 32 and then zero-extended."""
    if not wide:
        return mov32(_extend(a.s32min, a.s32max, a.value & U32, a.mask & U32, bits))
    return _extend(a.smin, a.smax, a.value, a.mask, bits)


def sign_extended_load(size: int) -> Scalar:
    """Any number of `size` bytes, sign-extended."""
    half = 1 << 8 * size - 1
    return from_signed(-half, half - 1)


def endian(a: Scalar, kind: str, width: int) -> Scalar:
    """Byte order changes give any number, as in the kernel."""
    del a, kind, width
    return UNKNOWN


def _extend(smin: int, smax: int, value: int, mask: int, bits: int) -> Scalar:
    return sync(*extend_bounds(smin, smax, value, mask, bits)) if mask else const(tnum.signed(value, bits))


def extend_bounds(smin: int, smax: int, value: int, mask: int, bits: int) -> Bounds:
    """What sign extension of the low `bits` bits leaves, not in step yet."""
    if not mask:
        number = tnum.signed(value, bits)
        least, low = number & U64, number & U32
        return least, 0, number, number, least, least, number, number, low, low
    if smin >> bits == smax >> bits:
        first, last = tnum.signed(smin, bits), tnum.signed(smax, bits)
        least, most = min(first, last), max(first, last)
        if (least >= 0) == (most >= 0):
            known = tnum.span(least & U64, most & U64)
            return *known, least, most, least & U64, most & U64, least, most, least & U32, most & U32
    half = 1 << bits - 1
    return 0, U64, -half, half - 1, 0, U64, max(-half, S32_MIN), min(half - 1, S32_MAX), 0, U32


def _zero_extended(value: int, mask: int, low: Four) -> Scalar:
    s32min, s32max, u32min, u32max = low
    smin, smax = (s32min, s32max) if s32min >= 0 else (0, U32)
    return sync(value, mask, smin, smax, u32min, u32max, s32min, s32max, u32min, u32max)


def _any(bits: int) -> Four:
    return (S32_MIN, S32_MAX, 0, U32) if bits == 32 else (S64_MIN, S64_MAX, 0, U64)


def wrapping_add(a: Four, b: Four, _value: int, _mask: int, bits: int) -> Four:
    least, most, zero, full = _any(bits)
    smin, smax, umin, umax = a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]
    if smin < least or smax > most:
        smin, smax = least, most
    if umin <= full < umax:  # some sums wrap, some do not (7a998a731627, 6.17)
        umin, umax = zero, full
    return smin, smax, umin & full, umax & full


def wrapping_sub(a: Four, b: Four, _value: int, _mask: int, bits: int) -> Four:
    least, most, zero, full = _any(bits)
    smin, smax, umin, umax = a[0] - b[1], a[1] - b[0], a[2] - b[3], a[3] - b[2]
    if smin < least or smax > most:
        smin, smax = least, most
    if umin < 0 <= umax:
        umin, umax = zero, full
    return smin, smax, umin & full, umax & full


def multiply(a: Four, b: Four, _value: int, _mask: int, bits: int) -> Four:
    least, most, zero, full = _any(bits)
    products = (a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1])
    smin, smax = min(products), max(products)
    if smin < least or smax > most:
        smin, smax = least, most
    umin, umax = a[2] * b[2], a[3] * b[3]
    if umax > full:
        umin, umax = zero, full
    return smin, smax, umin, umax


def _bitwise(umin: int, umax: int, bits: int) -> Four:
    """Signed bounds are the unsigned ones where these do not cross the sign."""
    least, most, _, _ = _any(bits)
    first, last = tnum.signed(umin, bits), tnum.signed(umax, bits)
    return (first, last, umin, umax) if first <= last else (least, most, umin, umax)


def _and(a: Four, b: Four, value: int, _mask: int, bits: int) -> Four:
    return _bitwise(value & (1 << bits) - 1, min(a[3], b[3]), bits)


def _or(a: Four, b: Four, value: int, mask: int, bits: int) -> Four:
    return _bitwise(max(a[2], b[2]), (value | mask) & (1 << bits) - 1, bits)


def _xor(_a: Four, _b: Four, value: int, mask: int, bits: int) -> Four:
    full = (1 << bits) - 1
    return _bitwise(value & full, (value | mask) & full, bits)


def _shift(operation: int, a: Scalar, b: Scalar, wide: bool) -> Scalar:
    bits = 64 if wide else 32
    by = b.value if wide else b.value & U32
    if (b.mask if wide else b.mask & U32) or by >= bits or b.umax >= bits:
        return UNKNOWN
    if wide:
        return _SHIFT64[operation](a, by)
    value, mask, low = shifted_low(operation, a, by)
    s32min, s32max, u32min, u32max = low
    held = sync(value, mask, S64_MIN, S64_MAX, 0, U64, s32min, s32max, u32min, u32max)
    return mov32(held)


def shifted_low(operation: int, a: Scalar, by: int) -> tuple[int, int, Four]:
    """Value and mask of the low half, shifted, and its bounds, which do not yet know of one another."""
    value, mask = a.value & U32, a.mask & U32
    if operation == op.LSH:
        fits = a.u32max <= 1 << 31 - by
        low = (S32_MIN, S32_MAX, a.u32min << by, a.u32max << by) if fits else _any(32)
        return value << by & U32, mask << by & U32, low
    if operation == op.RSH:
        return value >> by, mask >> by, (S32_MIN, S32_MAX, a.u32min >> by, a.u32max >> by)
    value, mask = tnum.shift_arithmetic((value, mask), by, 32)
    return value, mask, (a.s32min >> by, a.s32max >> by, 0, U32)


def _left64(a: Scalar, by: int) -> Scalar:
    value, mask = tnum.shift_left((a.value, a.mask), by)
    umin, umax = (a.umin << by, a.umax << by) if a.umax <= 1 << 63 - by else (0, U64)
    smin, smax = S64_MIN, S64_MAX
    if by == 32:  # half of the idiom << 32, s>> 32, which sign-extends the low half
        smin = a.s32min << 32
        smax = a.s32max << 32
    low = (a.u32min << by, a.u32max << by) if by <= 31 and a.u32max <= 1 << 31 - by else (0, U32)
    return sync(value, mask, smin, smax, umin, umax, S32_MIN, S32_MAX, *low)


def _right64(a: Scalar, by: int) -> Scalar:
    value, mask = tnum.shift_right((a.value, a.mask), by)
    return sync(value, mask, S64_MIN, S64_MAX, a.umin >> by, a.umax >> by, S32_MIN, S32_MAX, 0, U32)


def _arithmetic64(a: Scalar, by: int) -> Scalar:
    value, mask = tnum.shift_arithmetic((a.value, a.mask), by, 64)
    return sync(value, mask, a.smin >> by, a.smax >> by, 0, U64, S32_MIN, S32_MAX, 0, U32)


_COMBINE: dict[int, Callable[[Four, Four, int, int, int], Four]] = {
    op.ADD: wrapping_add, op.SUB: wrapping_sub, op.MUL: multiply, op.AND: _and, op.OR: _or, op.XOR: _xor,
}  # fmt: skip
_BITS: dict[int, Callable[[tnum.Tnum, tnum.Tnum], tnum.Tnum]] = {
    op.ADD: tnum.add, op.SUB: tnum.sub, op.MUL: tnum.mul, op.AND: tnum.and_, op.OR: tnum.or_, op.XOR: tnum.xor,
}  # fmt: skip
_EXACT: dict[int, Callable[[int, int], int]] = {
    op.ADD: int.__add__, op.SUB: int.__sub__, op.MUL: int.__mul__,
    op.AND: int.__and__, op.OR: int.__or__, op.XOR: int.__xor__,
}  # fmt: skip
_SHIFT64: dict[int, Callable[[Scalar, int], Scalar]] = {op.LSH: _left64, op.RSH: _right64, op.ARSH: _arithmetic64}

__all__ = ["alu", "endian", "fork", "from_range", "mov32", "moved", "movsx", "neg", "sign_extended_load", "truncate"]
