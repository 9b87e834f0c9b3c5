"""What the verifier knows of a number: a tnum and four ranges, kept in step with one another.

`Scalar` is immutable, so registers and states share it. The rules are those of the kernel's reg_bounds_sync (6.17: the
three deductions, 00bf8d0c6c9b): a verdict is to be the kernel's, so nothing here knows more than it does.
"""

from __future__ import annotations

from . import _tnum as tnum
from ._tnum import U32, U64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Bounds: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, int]

S64_MIN, S64_MAX = -(1 << 63), (1 << 63) - 1
S32_MIN, S32_MAX = -(1 << 31), (1 << 31) - 1


class Scalar:
    """A set of 64-bit numbers: `value`/`mask` is the tnum; smin..smax and umin..umax bound all 64 bits (signed,
    unsigned), the *32 ranges the low half. Compare with `==`; make one with `const`, `unknown_of` or an operation."""

    __slots__ = ("mask", "s32max", "s32min", "smax", "smin", "u32max", "u32min", "umax", "umin", "value")

    def __init__(
        self,
        value: int = 0,
        mask: int = U64,
        smin: int = S64_MIN,
        smax: int = S64_MAX,
        umin: int = 0,
        umax: int = U64,
        s32min: int = S32_MIN,
        s32max: int = S32_MAX,
        u32min: int = 0,
        u32max: int = U32,
    ) -> None:
        self.value = value
        self.mask = mask
        self.smin = smin
        self.smax = smax
        self.umin = umin
        self.umax = umax
        self.s32min = s32min
        self.s32max = s32max
        self.u32min = u32min
        self.u32max = u32max

    def key(self) -> Bounds:
        """All ten numbers, in the order of the constructor."""
        return (
            self.value, self.mask, self.smin, self.smax, self.umin, self.umax,
            self.s32min, self.s32max, self.u32min, self.u32max,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Scalar) and self.key() == other.key())

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        return f"Scalar({describe(self) or 'unknown'})"


class Impossible(Scalar):
    """No number: the ranges contradict each other. On a path that is walked all the same it counts as unknown."""

    __slots__ = ()


UNKNOWN = Scalar()
_CONSTS: dict[int, Scalar] = {}


def const(number: int) -> Scalar:
    """Exactly `number`, taken modulo 2**64."""
    number &= U64
    found = _CONSTS.get(number)
    if found is None:
        low = number & U32
        s64 = number - (1 << 64) if number >> 63 else number
        s32 = low - (1 << 32) if low >> 31 else low
        found = Scalar(number, 0, s64, s64, number, number, s32, s32, low, low)
        if len(_CONSTS) < 4096:
            _CONSTS[number] = found
    return found


def is_const(s: Scalar, wide: bool = True) -> bool:
    """Whether one number only is possible; with `wide` false, in the low 32 bits."""
    return not s.mask if wide else not s.mask & U32


def const_value(s: Scalar, wide: bool = True) -> int:
    """The number of a scalar that `is_const`."""
    return s.value if wide else s.value & U32


def unknown_of(size: int) -> Scalar:
    """Any number of `size` bytes, zero-extended: what a load gives."""
    return _LOADS[size]


def from_range(umin: int, umax: int) -> Scalar:
    """Any number of umin..umax (unsigned)."""
    return sync(0, U64, S64_MIN, S64_MAX, umin, umax, S32_MIN, S32_MAX, 0, U32)


def from_signed(smin: int, smax: int) -> Scalar:
    """Any number of smin..smax (signed)."""
    return sync(0, U64, smin, smax, 0, U64, S32_MIN, S32_MAX, 0, U32)


def within(old: Scalar, new: Scalar) -> bool:
    """Whether every number of `new` is in `old`."""
    return old is new or (
        old.umin <= new.umin
        and new.umax <= old.umax
        and old.smin <= new.smin
        and new.smax <= old.smax
        and old.u32min <= new.u32min
        and new.u32max <= old.u32max
        and old.s32min <= new.s32min
        and new.s32max <= old.s32max
        and not new.mask & ~old.mask
        and new.value & ~old.mask == old.value
    )


def sync(*bounds: int) -> Scalar:
    """Let each of the five descriptions sharpen the others. Contradictions give ranges that are unbounded."""
    value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max = by_bits(*bounds)
    only = _only(value, mask, umin, umax)
    if only is not None:
        return const(only)
    ranges = (smin, smax, umin, umax, s32min, s32max, u32min, u32max)
    for _ in range(3):
        before = ranges
        value, mask, ranges = deduce(value, mask, *ranges)
        if ranges == before:
            break
    smin, smax, umin, umax, s32min, s32max, u32min, u32max = ranges
    both = tnum.intersect((value, mask), tnum.span(umin, umax) if umin <= umax else tnum.ANY)
    low_range = tnum.span(u32min, u32max) if u32min <= u32max else (0, U32)
    low = tnum.intersect((both[0] & U32, both[1] & U32), low_range)
    value = both[0] & ~U32 | low[0]
    mask = both[1] & ~U32 | low[1]
    value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max = by_bits(
        value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max
    )
    only = _only(value, mask, umin, umax)
    if only is not None:
        return const(only)
    return sane(value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max)


def _only(value: int, mask: int, umin: int, umax: int) -> int | None:
    """The one number that the known bits and the unsigned range have in common.

    Newer than 6.18.0, and in its stable tree."""
    if not mask or umin > umax:
        return None
    following = tnum.following((value, mask), umin)
    if umin & ~mask == value:
        return umin if following > umax else None
    if following == value | mask:
        return following
    return following if following <= umax < tnum.following((value, mask), following) else None


def by_bits(value: int, mask: int, smin: int, smax: int, umin: int, umax: int, s32min: int, s32max: int, u32min: int,
             u32max: int) -> Bounds:  # fmt: skip
    """The ranges, cut to what the known bits allow."""
    low, low_mask = value & U32, mask & U32
    most = low | low_mask & S32_MAX
    least = low | low_mask & 0x8000_0000
    s32min = max(s32min, least - (1 << 32) if least >> 31 else least)
    s32max = min(s32max, most - (1 << 32) if most >> 31 else most)
    u32min = max(u32min, low)
    u32max = min(u32max, low | low_mask)
    most = value | mask & S64_MAX
    least = value | mask & 1 << 63
    smin = max(smin, least - (1 << 64) if least >> 63 else least)
    smax = min(smax, most - (1 << 64) if most >> 63 else most)
    return (
        value, mask, smin, smax, max(umin, value), min(umax, value | mask), s32min, s32max, u32min, u32max,
    )  # fmt: skip


def _s32(number: int) -> int:
    number &= U32
    return number - (1 << 32) if number >> 31 else number


def deduce(value: int, mask: int, smin: int, smax: int, umin: int, umax: int, s32min: int, s32max: int, u32min: int,
            u32max: int) -> tuple[int, int, tuple[int, int, int, int, int, int, int, int]]:  # fmt: skip
    """One round: 64 bits to 32, signed to unsigned and back, 32 bits to 64."""
    s32min, s32max, u32min, u32max = _deduce_low(smin, smax, umin, umax, s32min, s32max, u32min, u32max)
    if umin >> 63 == umax >> 63:  # the unsigned range is one signed range
        smin = max(smin, umin - (1 << 64) if umin >> 63 else umin)
        smax = min(smax, umax - (1 << 64) if umax >> 63 else umax)
    if smin & U64 <= smax & U64:
        umin = max(umin, smin & U64)
        umax = min(umax, smax & U64)
    elif umax < smin & U64:  # across the sign, and no unsigned number in the negative part
        smin = umin - (1 << 64) if umin >> 63 else umin
        umax = min(umax, smax & U64)
    elif smax & U64 < umin:  # ... in the positive part
        smax = umax - (1 << 64) if umax >> 63 else umax
        umin = max(umin, smin & U64)
    umin = max(umin, umin & ~U32 | u32min)
    umax = min(umax, umax & ~U32 | u32max)
    smin = max(smin, smin & ~U32 | u32min)
    smax = min(smax, smax & ~U32 | u32max)
    if s32min >= 0 and smin >= S32_MIN and smax <= S32_MAX:
        # The low half is positive, and no 64-bit number of the range has an upper half of ones with such a low half.
        smin, smax, umin, umax = s32min, s32max, s32min, s32max
        if smin <= smax:
            value, mask = tnum.intersect((value, mask), tnum.span(smin, smax))
    return value, mask, (smin, smax, umin, umax, s32min, s32max, u32min, u32max)


def _deduce_low(smin: int, smax: int, umin: int, umax: int, s32min: int, s32max: int, u32min: int,
                u32max: int) -> tuple[int, int, int, int]:  # fmt: skip
    """The low half's ranges from the whole's, and from one another."""
    if umin >> 32 == umax >> 32:
        u32min = max(u32min, umin & U32)
        u32max = min(u32max, umax & U32)
        if _s32(umin) <= _s32(umax):
            s32min = max(s32min, _s32(umin))
            s32max = min(s32max, _s32(umax))
    if smin >> 32 == smax >> 32:
        if smin & U32 <= smax & U32:
            u32min = max(u32min, smin & U32)
            u32max = min(u32max, smax & U32)
        if _s32(smin) <= _s32(smax):
            s32min = max(s32min, _s32(smin))
            s32max = min(s32max, _s32(smax))
    # Upper halves that follow one another, with the low half going from negative to positive.
    if (umin >> 32) + 1 & U32 == umax >> 32 and _s32(umin) < 0 <= _s32(umax):
        s32min = max(s32min, _s32(umin))
        s32max = min(s32max, _s32(umax))
    if (smin >> 32) + 1 & U32 == smax >> 32 & U32 and _s32(smin) < 0 <= _s32(smax):
        s32min = max(s32min, _s32(smin))
        s32max = min(s32max, _s32(smax))
    if u32min >> 31 == u32max >> 31:
        s32min = max(s32min, _s32(u32min))
        s32max = min(s32max, _s32(u32max))
    if s32min & U32 <= s32max & U32:
        u32min = max(u32min, s32min & U32)
        u32max = min(u32max, s32max & U32)
    elif u32max < s32min & U32:  # as for 64 bits, below
        s32min = _s32(u32min)
        u32max = min(u32max, s32max & U32)
    elif s32max & U32 < u32min:
        s32max = _s32(u32max)
        u32min = max(u32min, s32min & U32)
    return s32min, s32max, u32min, u32max


def sane(value: int, mask: int, smin: int, smax: int, umin: int, umax: int, s32min: int, s32max: int, u32min: int,
          u32max: int) -> Scalar:  # fmt: skip
    """A path that cannot be taken may still be walked; the kernel then forgets the ranges (5f99f312bd3b, 6.8)."""
    broken = umin > umax or smin > smax or u32min > u32max or s32min > s32max
    if not broken and not mask:
        broken = umin != value or umax != value or smin & U64 != value or smax & U64 != value
    if not broken and not mask & U32:
        low = value & U32
        broken = u32min != low or u32max != low or s32min & U32 != low or s32max & U32 != low
    if broken:
        return Impossible(value, mask)
    if not mask:
        return const(value)
    return Scalar(value, mask, smin, smax, umin, umax, s32min, s32max, u32min, u32max)


def describe(s: Scalar) -> str:
    """The kernel's words between the brackets of `scalar(...)`: ranges that say something, then the tnum."""
    if not s.mask:
        return str(s.smin)
    parts = []
    groups = (
        ("smin", s.smin, S64_MIN), ("smax", s.smax, S64_MAX), ("umin", s.umin, 0), ("umax", s.umax, U64),
        ("smin32", _low(s.s32min), _low(S32_MIN)), ("smax32", _low(s.s32max), S32_MAX),
        ("umin32", s.u32min, 0), ("umax32", s.u32max, U32),
    )  # fmt: skip
    left = {name: value for name, value, default in groups if value != default}
    while left:
        first, value = next(iter(left.items()))
        bound = "min" if "min" in first else "max"
        same = [n for n, v in left.items() if v == value and bound in n]
        for n in same:
            del left[n]
        parts.append("=".join(same) + f"={_number(value, 0x7FFF if first[0] == 's' else 0xFFFF)}")
    if s.mask != U64:
        parts.append(f"var_off={tnum.text((s.value, s.mask))}")
    return ",".join(parts)


def _number(value: int, most: int) -> str:
    """Small numbers in decimal, large ones in hexadecimal, as the kernel's log since 6.8 (0f8dbdbc641f)."""
    return str(value) if -0x8000 <= value <= most else hex(value & U64)


def _low(value: int) -> int:
    """A signed low half as the log takes it: large ones are written without their sign."""
    return value if -0x8000 <= value <= 0x7FFF else value & U32


_LOADS = {size: from_range(0, (1 << 8 * size) - 1) for size in (1, 2, 4)} | {8: UNKNOWN}
