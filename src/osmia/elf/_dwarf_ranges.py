"""Range lists: .debug_ranges (before DWARF 5), .debug_rnglists, and the index of addresses, .debug_aranges."""

from __future__ import annotations

from struct import iter_unpack, unpack_from

from ._dwarf_forms import damage_is_error, uleb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TOP = (1 << 64) - 1


def ranges_before_5(data: bytes, at: int, base: int) -> list[tuple[int, int]]:
    """The list at `at` of .debug_ranges; `base` is the unit's first address."""
    found: list[tuple[int, int]] = []
    while True:
        low, high = unpack_from("<QQ", data, at)
        at += 16
        if not low and not high:
            return found
        if low == _TOP:
            base = high
        else:
            found.append(((base + low) & _TOP, (base + high) & _TOP))


def range_list(data: bytes, at: int, base: int, indexed: Callable[[int], int]) -> list[tuple[int, int]]:
    """The list at `at` of .debug_rnglists (DWARF 5, 7.25); `indexed` reads .debug_addr."""
    found: list[tuple[int, int]] = []
    while True:
        kind = data[at]
        at += 1
        if kind == 0:  # DW_RLE_end_of_list
            return found
        if kind == 1:  # base_addressx
            index, at = uleb(data, at)
            base = indexed(index)
        elif kind in (2, 3):  # startx_endx, startx_length
            first, at = uleb(data, at)
            second, at = uleb(data, at)
            low = indexed(first)
            found.append((low, indexed(second) if kind == 2 else low + second))
        elif kind == 4:  # offset_pair
            first, at = uleb(data, at)
            second, at = uleb(data, at)
            found.append((base + first, base + second))
        elif kind == 5:  # base_address
            base = unpack_from("<Q", data, at)[0]
            at += 8
        elif kind == 6:  # start_end
            found.append(unpack_from("<QQ", data, at))
            at += 16
        elif kind == 7:  # start_length
            low = unpack_from("<Q", data, at)[0]
            size, at = uleb(data, at + 8)
            found.append((low, low + size))
        else:
            raise IndexError(f"kind {kind} of a range")


@damage_is_error(".debug_aranges")
def address_index(data: bytes) -> list[tuple[int, int, int]]:
    """(first address, end, offset of the unit) of all sets, by address."""
    found: list[tuple[int, int, int]] = []
    at = 0
    while at + 12 <= len(data):
        start = at
        length = unpack_from("<I", data, at)[0]
        at += 4
        word, size = "<I", 4
        if length == 0xFFFFFFFF:
            length = unpack_from("<Q", data, at)[0]
            at += 8
            word, size = "<Q", 8
        end = at + length
        if end > len(data) or not length:
            raise IndexError(f"a set of {length} bytes")
        unit = unpack_from(word, data, at + 2)[0]
        address_size, segment_size = data[at + 2 + size], data[at + 3 + size]
        if address_size == 8 and not segment_size:
            first = (
                start + -(-(at + 4 + size - start) // 16) * 16
            )  # rows are aligned to their size from the set's start
            rows = data[first : first + (end - first) // 16 * 16]
            found += [(low, low + count, unit) for low, count in iter_unpack("<QQ", rows) if low and count]
        at = end
    found.sort()
    return found
