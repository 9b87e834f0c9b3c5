"""Arithmetic on scalars as older kernels do it: what they cannot tell, a profile must not know."""

from __future__ import annotations

from ..isa import op
from . import _tnum as tnum
from ._scalar import S32_MAX, S32_MIN, S64_MAX, S64_MIN, UNKNOWN, Scalar, const
from ._scalar_alu import extend_bounds, multiply, shifted_low, wrapping_add, wrapping_sub
from ._scalar_older import broken, low_of_wide, sync_classic, sync_wide
from ._tnum import U32, U64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Four: TypeAlias = tuple[int, int, int, int]  # signed least and most, unsigned least and most

_PLAIN = (op.ADD, op.SUB, op.AND)
_MORE = (*_PLAIN, op.OR, op.XOR, op.MUL)
_SHIFTS = (op.LSH, op.RSH, op.ARSH)
_KNOWN = (*_MORE, *_SHIFTS)
_BITS: dict[int, Callable[[tnum.Tnum, tnum.Tnum], tnum.Tnum]] = {
    op.ADD: tnum.add, op.SUB: tnum.sub, op.AND: tnum.and_, op.OR: tnum.or_, op.XOR: tnum.xor,
}  # fmt: skip


class Arithmetic:
    """The arithmetic of one kernel version; the methods have the signatures of the functions of `_scalar_alu`."""

    def __init__(self, version: tuple[int, int], sync: Callable[..., Scalar]) -> None:
        self._sync = sync
        self._classic = sync in (sync_classic, sync_wide)
        self._halves = sync is not sync_wide
        # Bitwise operations and products of two unknown numbers (6.10).
        self._any_source = version >= (6, 10)
        self._signed_products = version >= (6, 14)  # 9aa0ebde0014
        self._wraps = version >= (6, 17)  # 7a998a731627
        self._negates = version >= (6, 17)  # aced132599b3

    def alu(self, operation: int, a: Scalar, b: Scalar, wide: bool) -> Scalar:
        """`a operation b`."""
        if self._classic and broken(b, wide):
            return UNKNOWN
        if not self._halves and not wide:
            a, b = self.truncate(a, 4), self.truncate(b, 4)
            if operation == op.ARSH:
                if b.mask or b.value >= 32:
                    return UNKNOWN
                bits = tnum.shift_arithmetic((a.value, a.mask), b.value, 32)
                return self._sync(*bits, *UNKNOWN.key()[2:])
            return self.truncate(self.alu(operation, a, b, True), 4)
        known = not (b.mask if wide else b.mask & U32)
        if operation not in _KNOWN:
            return self._any(known and not wide)
        if operation in _SHIFTS:
            return self._shift(operation, a, b, wide) if known else UNKNOWN
        if not known and operation not in (_MORE if self._any_source else _PLAIN):
            return UNKNOWN
        return self._combine(operation, a, b, wide)

    def _any(self, low: bool) -> Scalar:
        """What comes of a division: before 6.10 the upper half is 0 where 32 bits are divided by a constant."""
        return self.mov32(UNKNOWN) if low and not self._any_source else UNKNOWN

    def moved(self, a: Scalar, delta: int) -> Scalar:
        """`a + delta`; the ranges are not brought in step with one another then (seen on 6.12.117)."""
        b = const(delta)
        value, mask = tnum.add((a.value, a.mask), (b.value, 0))
        ours, theirs = (a.s32min, a.s32max, a.u32min, a.u32max), (b.s32min, b.s32max, b.u32min, b.u32max)
        low = self._ranges(op.ADD, ours, theirs, 0, 0, 32)
        full = self._ranges(op.ADD, (a.smin, a.smax, a.umin, a.umax), (b.smin, b.smax, b.umin, b.umax), 0, 0, 64)
        return Scalar(value, mask, *full, *low)

    def neg(self, a: Scalar, wide: bool) -> Scalar:
        """0 - a; before 6.17 any number, even in the upper half."""
        return self.alu(op.SUB, const(0), a, wide) if self._negates else UNKNOWN

    def mov32(self, a: Scalar) -> Scalar:
        """The low half, zero-extended."""
        if not self._halves:
            return self.truncate(a, 4)
        return self._zero_extended(a.value & U32, a.mask & U32, (a.s32min, a.s32max, a.u32min, a.u32max))

    def truncate(self, a: Scalar, size: int) -> Scalar:
        """The low `size` bytes, zero-extended: a narrow load of a spilled number."""
        if size == 8:
            return a
        full = (1 << 8 * size) - 1
        same = a.umin & ~full == a.umax & ~full
        low, high = (a.umin & full, a.umax & full) if same else (0, full)
        value, mask = a.value & full, a.mask & full
        if size == 4 and self._halves:
            made = (value, mask, low, high, low, high, a.s32min, a.s32max, a.u32min, a.u32max)
            return Scalar(*made) if self._classic else self._sync(*made)
        half = low_of_wide(low, high, low, high) if self._classic else (S32_MIN, S32_MAX, 0, U32)
        return self._sync(value, mask, low, high, low, high, *half)

    def movsx(self, a: Scalar, bits: int, wide: bool) -> Scalar:
        """The low `bits` bits, sign-extended to 64, or to 32 and then zero-extended."""
        if wide:
            return self._sync(*extend_bounds(a.smin, a.smax, a.value, a.mask, bits))
        made = extend_bounds(a.s32min, a.s32max, a.value & U32, a.mask & U32, bits)
        return self._zero_extended(made[0] & U32, made[1] & U32, (made[6], made[7], made[8], made[9]))

    def _combine(self, operation: int, a: Scalar, b: Scalar, wide: bool) -> Scalar:
        value, mask = self._bits(operation, (a.value, a.mask), (b.value, b.mask))
        ours, theirs = (a.s32min, a.s32max, a.u32min, a.u32max), (b.s32min, b.s32max, b.u32min, b.u32max)
        low = self._ranges(operation, ours, theirs, value & U32, mask & U32, 32)
        if not a.mask & U32 and not b.mask & U32 and operation in (op.AND, op.OR, op.XOR):
            low = _exactly(value, 32)
        if not wide:
            return self._zero_extended(value & U32, mask & U32, low)
        if not a.mask and not b.mask and operation in (op.AND, op.OR, op.XOR):
            return const(value)
        full = self._ranges(
            operation, (a.smin, a.smax, a.umin, a.umax), (b.smin, b.smax, b.umin, b.umax), value, mask, 64
        )
        return self._sync(value, mask, *full, *low)

    def _bits(self, operation: int, a: tnum.Tnum, b: tnum.Tnum) -> tnum.Tnum:
        return _BITS[operation](a, b) if operation in _BITS else _product(a, b)

    def _ranges(self, operation: int, a: Four, b: Four, value: int, mask: int, bits: int) -> Four:
        if operation == op.ADD:
            return (wrapping_add if self._wraps else _add)(a, b, value, mask, bits)
        if operation == op.SUB:
            return (wrapping_sub if self._wraps else _sub)(a, b, value, mask, bits)
        if operation == op.MUL:
            return (multiply if self._signed_products else _mul)(a, b, value, mask, bits)
        if operation == op.AND:
            umin, umax = value, min(a[3], b[3])
        elif operation == op.OR:
            umin, umax = max(a[2], b[2]), value | mask
        else:
            umin, umax = value, value | mask
        least, most = tnum.signed(umin, bits), tnum.signed(umax, bits)
        # Before 6.10 the signed range is kept where both operands are positive, instead of where it is a range.
        keep = least <= most if self._any_source else a[0] >= 0 and b[0] >= 0
        return (least, most, umin, umax) if keep else (*_any(bits)[:2], umin, umax)

    def _shift(self, operation: int, a: Scalar, b: Scalar, wide: bool) -> Scalar:
        bits = 64 if wide else 32
        by = b.value if wide else b.value & U32
        if by >= bits or b.umax >= bits:
            return self._any(not wide)
        if not wide:
            return self._shift32(operation, a, by)
        if operation == op.LSH:
            value, mask = tnum.shift_left((a.value, a.mask), by)
            unsigned = (a.umin << by, a.umax << by) if a.umax <= 1 << 63 - by else (0, U64)
            signed = (a.s32min << 32, a.s32max << 32) if by == 32 and self._halves else (S64_MIN, S64_MAX)
            low = (a.u32min << by, a.u32max << by) if by <= 31 and a.u32max <= 1 << 31 - by else (0, U32)
            return self._sync(value, mask, *signed, *unsigned, S32_MIN, S32_MAX, *low)
        if operation == op.RSH:
            value, mask = tnum.shift_right((a.value, a.mask), by)
            return self._sync(value, mask, S64_MIN, S64_MAX, a.umin >> by, a.umax >> by, S32_MIN, S32_MAX, 0, U32)
        value, mask = tnum.shift_arithmetic((a.value, a.mask), by, 64)
        return self._sync(value, mask, a.smin >> by, a.smax >> by, 0, U64, S32_MIN, S32_MAX, 0, U32)

    def _shift32(self, operation: int, a: Scalar, by: int) -> Scalar:
        value, mask, low = shifted_low(operation, a, by)
        return self._zero_extended(value, mask, _by_low_bits(value, mask, low))

    def _zero_extended(self, value: int, mask: int, low: Four) -> Scalar:
        s32min, s32max, u32min, u32max = low
        smin, smax = (s32min, s32max) if s32min >= 0 and s32max >= 0 else (0, U32)
        return self._sync(value, mask, smin, smax, u32min, u32max, s32min, s32max, u32min, u32max)


def _by_low_bits(value: int, mask: int, low: Four) -> Four:
    """The ranges of the low half, cut to what its known bits allow."""
    least, most = tnum.signed(value | mask & 0x8000_0000, 32), tnum.signed(value | mask & S32_MAX, 32)
    return max(low[0], least), min(low[1], most), max(low[2], value), min(low[3], value | mask)


def _exactly(value: int, bits: int) -> Four:
    number, unsigned = tnum.signed(value, bits), value & (1 << bits) - 1
    return number, number, unsigned, unsigned


def _any(bits: int) -> Four:
    return (S32_MIN, S32_MAX, 0, U32) if bits == 32 else (S64_MIN, S64_MAX, 0, U64)


def _product(a: tnum.Tnum, b: tnum.Tnum) -> tnum.Tnum:
    """Before 6.18: the product of the known bits, and every unknown bit of either may add to it."""
    unknown: tnum.Tnum = (0, 0)
    known = a[0] * b[0] & U64
    a_value, a_mask = a
    value, mask = b
    while a_value or a_mask:
        if a_value & 1:
            unknown = tnum.add(unknown, (0, mask))
        elif a_mask & 1:
            unknown = tnum.add(unknown, (0, value | mask))
        a_value >>= 1
        a_mask >>= 1
        value = value << 1 & U64
        mask = mask << 1 & U64
    return tnum.add((known, 0), unknown)


def _add(a: Four, b: Four, _value: int, _mask: int, bits: int) -> Four:
    """Any sum that wraps makes the range unbounded."""
    least, most, zero, full = _any(bits)
    smin, smax, umin, umax = a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]
    if smin < least or smin > most or smax > most or smax < least:
        smin, smax = least, most
    return (smin, smax, umin, umax) if umin <= full and umax <= full else (smin, smax, zero, full)


def _sub(a: Four, b: Four, _value: int, _mask: int, bits: int) -> Four:
    least, most, zero, full = _any(bits)
    smin, smax, umin, umax = a[0] - b[1], a[1] - b[0], a[2] - b[3], a[3] - b[2]
    if smin < least or smin > most or smax > most or smax < least:
        smin, smax = least, most
    return (smin, smax, umin, umax & full) if umin >= 0 else (smin, smax, zero, full)


def _mul(a: Four, b: Four, _value: int, _mask: int, bits: int) -> Four:
    """Of positive numbers that fit in half the bits."""
    least, most, _, _ = _any(bits)
    half = (1 << bits // 2) - 1
    if a[0] < 0 or b[0] < 0 or a[3] > half or b[3] > half:
        return _any(bits)
    umin, umax = a[2] * b[2], a[3] * b[3]
    return (umin, umax, umin, umax) if umax <= most else (least, most, umin, umax)
