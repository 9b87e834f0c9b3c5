"""Tristate numbers: what is known of each bit of a 64-bit value, as (value, mask) pairs.

A bit set in `mask` is unknown, its place in `value` is 0; any other bit is as in `value`. Pairs are plain tuples of
unsigned ints. Vishwanathan et al., "Sound, Precise, and Fast Abstract Interpretation with Tristate Numbers" (2021).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Tnum: TypeAlias = tuple[int, int]

U64 = 0xFFFF_FFFF_FFFF_FFFF
U32 = 0xFFFF_FFFF
ANY: Tnum = (0, U64)


def span(low: int, high: int) -> Tnum:
    """The smallest tnum with every number of low..high (unsigned): the common leading bits are known."""
    unknown = (1 << (low ^ high).bit_length()) - 1
    return low & ~unknown, unknown


def add(a: Tnum, b: Tnum) -> Tnum:
    least = a[0] + b[0]
    most = least + a[1] + b[1]
    unknown = ((most ^ least) | a[1] | b[1]) & U64
    return least & ~unknown & U64, unknown


def sub(a: Tnum, b: Tnum) -> Tnum:
    base = a[0] - b[0]
    unknown = (((base + a[1]) ^ (base - b[1])) | a[1] | b[1]) & U64
    return base & ~unknown & U64, unknown


def and_(a: Tnum, b: Tnum) -> Tnum:
    sure = a[0] & b[0]
    return sure, (a[0] | a[1]) & (b[0] | b[1]) & ~sure


def or_(a: Tnum, b: Tnum) -> Tnum:
    sure = a[0] | b[0]
    return sure, (a[1] | b[1]) & ~sure


def xor(a: Tnum, b: Tnum) -> Tnum:
    unknown = a[1] | b[1]
    return (a[0] ^ b[0]) & ~unknown, unknown


def mul(a: Tnum, b: Tnum) -> Tnum:
    """Schoolbook, one bit of `a` a step; a step whose bit is unknown adds b or nothing: the union of both."""
    total: Tnum = (0, 0)
    a_value, a_mask = a
    value, mask = b
    while a_value or a_mask:
        if a_value & 1:
            total = add(total, (value, mask))
        elif a_mask & 1:
            total = union(total, add(total, (value, mask)))
        a_value >>= 1
        a_mask >>= 1
        value = value << 1 & U64
        mask = mask << 1 & U64
    return total


def union(a: Tnum, b: Tnum) -> Tnum:
    """Known where both are known and equal."""
    unknown = a[1] | b[1] | (a[0] ^ b[0])
    return a[0] & b[0] & ~unknown, unknown


def intersect(a: Tnum, b: Tnum) -> Tnum:
    """Known where either is known. Where they contradict, the value's bit is set."""
    unknown = a[1] & b[1]
    return (a[0] | b[0]) & ~unknown, unknown


def overlap(a: Tnum, b: Tnum) -> bool:
    """Whether some number is in both."""
    known = ~(a[1] | b[1])
    return (a[0] & known) == (b[0] & known)


def contains(outer: Tnum, inner: Tnum) -> bool:
    """Whether every number of `inner` is in `outer`."""
    return not inner[1] & ~outer[1] and inner[0] & ~outer[1] == outer[0]


def following(a: Tnum, number: int) -> int:
    """The smallest number of `a` above `number`; its largest where there is none."""
    value, mask = a
    if number >= value | mask:
        return value | mask
    least = number + 1
    wrong = (least ^ value) & ~mask
    if not wrong:
        return least
    at = wrong.bit_length() - 1  # the highest known bit that `least` has otherwise
    if least >> at & 1:  # it has to be 0: a bit above, unknown and 0 in `least`, becomes 1
        free = mask & ~least & ~((1 << at) - 1)
        at = (free & -free).bit_length() - 1
    above = least >> at + 1 << at + 1
    return above | 1 << at | value & (1 << at) - 1


def shift_left(a: Tnum, by: int) -> Tnum:
    return a[0] << by & U64, a[1] << by & U64


def shift_right(a: Tnum, by: int) -> Tnum:
    return a[0] >> by, a[1] >> by


def shift_arithmetic(a: Tnum, by: int, bits: int) -> Tnum:
    """Both parts keep their sign: an unknown sign bit spreads as unknown bits. Result in `bits` bits."""
    full = (1 << bits) - 1
    return signed(a[0], bits) >> by & full, signed(a[1], bits) >> by & full


def signed(number: int, bits: int) -> int:
    """The low `bits` bits of `number`, read as two's complement."""
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def aligned(a: Tnum, size: int) -> bool:
    """Whether every number of `a` is a multiple of `size` (a power of two)."""
    return not (a[0] | a[1]) & (size - 1)


def text(a: Tnum) -> str:
    """As the kernel's log writes it: (0x10; 0xff)."""
    return f"({a[0]:#x}; {a[1]:#x})" if a[0] else f"(0x0; {a[1]:#x})"
