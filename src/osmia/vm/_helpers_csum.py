"""Internet checksums as the kernel's helpers compute them (include/net/checksum.h); sums are as memory holds them."""

from __future__ import annotations

from ._helpers_packet import current, skb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

EINVAL, EFAULT, EACCES, ENOTSUPP = 22, 14, 13, 524
_U32 = 0xFFFFFFFF
FIELD_MASK, PSEUDO_HDR, MARK_MANGLED_0, MARK_ENFORCE, IPV6 = 0xF, 0x10, 0x20, 0x40, 0x80


def partial(data: bytes, start: int = 0) -> int:
    """csum_partial: the 32-bit ones' complement sum of little-endian words; an odd byte counts as a low one."""
    whole = int.from_bytes(data, "little")
    # 2^32 is 1 modulo 2^32 - 1: the sum of the words is the number's remainder, and 0 only of nothing but zeros.
    total = (whole + start) % _U32
    return total if total or not whole | start else _U32


def add(a: int, b: int) -> int:
    """csum_add."""
    total = a + b
    return (total + (total >> 32)) & _U32


def fold(total: int) -> int:
    """csum_fold: the complement of the sum in 16 bits."""
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def replace(check: int, difference: int) -> int:
    """csum_replace_by_diff."""
    return fold(add(difference, ~check & _U32))


def replace4(check: int, old: int, new: int) -> int:
    """csum_replace4, all as memory holds it."""
    without = add(~check & _U32, ~old & _U32)
    return fold(add(without, new))


def replace2(check: int, old: int, new: int) -> int:
    """csum_replace2."""

    def add16(a: int, b: int) -> int:
        total = (a + b) & 0xFFFF
        return (total + (total < b)) & 0xFFFF

    return ~add16(add16(~check & 0xFFFF, ~old & 0xFFFF), new) & 0xFFFF


def csum_diff(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Since 6.13 the sum is folded to 16 bits on all machines (kernel commit 6a4794d5a3e2)."""
    old_size, new_size = r2 & _U32, r4 & _U32
    seed = r5 & _U32
    if old_size and new_size:
        total = add(partial(m.read(r3, new_size), seed), ~partial(m.read(r1, old_size)) & _U32)
    elif new_size:
        total = partial(m.read(r3, new_size), seed)
    elif old_size:
        total = ~partial(m.read(r1, old_size), ~seed & _U32) & _U32
    else:
        total = seed
    return ~fold(total) & 0xFFFF


def _check_place(m: Machine, offset: int) -> bytes | None:
    packet = current(m)
    if offset > 0xFFFF or offset & 1 or offset + 2 > packet.length:
        return None
    return packet.peek(packet.data + offset, 2)


def _replaced(check: int, old: int, new: int, size: int) -> int:
    if size == 0:
        return -EINVAL if old else replace(check, new)
    if size == 2:
        return replace2(check, old & 0xFFFF, new & 0xFFFF)
    return replace4(check, old & _U32, new & _U32) if size == 4 else -EINVAL


def l3_csum_replace(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    offset = r2 & _U32
    if r5 & ~FIELD_MASK:
        return -EINVAL
    place = _check_place(m, offset)
    if place is None:
        return -EFAULT
    made = _replaced(int.from_bytes(place, "little"), r3, r4 & _U32, r5 & FIELD_MASK)
    if made < 0:
        return made
    packet = current(m)
    packet.poke(packet.data + offset, made.to_bytes(2, "little"))
    return 0


def l4_csum_replace(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    offset = r2 & _U32
    if r5 & ~(MARK_MANGLED_0 | MARK_ENFORCE | PSEUDO_HDR | FIELD_MASK | IPV6):
        return -EINVAL
    place = _check_place(m, offset)
    if place is None:
        return -EFAULT
    check = int.from_bytes(place, "little")
    if r5 & MARK_MANGLED_0 and not r5 & MARK_ENFORCE and not check:
        return 0
    made = _replaced(check, r3, r4 & _U32, r5 & FIELD_MASK)
    if made < 0:
        return made
    if r5 & MARK_MANGLED_0 and not made:
        made = 0xFFFF
    packet = current(m)
    packet.poke(packet.data + offset, made.to_bytes(2, "little"))
    return 0


def csum_update(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Packets here have no hardware checksum (CHECKSUM_NONE)."""
    skb(m)
    return -ENOTSUPP


def csum_level(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    level = r2 & 0xFFFFFFFFFFFFFFFF
    packet = skb(m)
    if level == 0:  # QUERY
        return packet.csum_level if packet.csum_level >= 0 else -EACCES
    if level == 1:  # INC
        packet.csum_level = min(packet.csum_level + 1, 3)
    elif level == 2:  # DEC
        packet.csum_level = max(packet.csum_level - 1, -1)
    elif level == 3:  # RESET
        packet.csum_level = -1
    else:
        return -EINVAL
    return 0


TABLE: dict[str, Helper] = {
    "csum_diff": csum_diff,
    "l3_csum_replace": l3_csum_replace,
    "l4_csum_replace": l4_csum_replace,
    "csum_update": csum_update,
    "csum_level": csum_level,
}
