"""The index of a package of split debug information (.dwp): DWARF 5, section 7.3.5; GNU's version 2 before it."""

from __future__ import annotations

from struct import unpack_from

from ..errors import ElfError
from ._dwarf_forms import damage_is_error

# DW_SECT_* of version 2 as those of version 5: info, types, abbrev, line, loc, str_offsets, macro.
_OLD = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 7}


@damage_is_error("the index of a .dwp file")
def contributions(data: bytes) -> dict[int, dict[int, int]]:
    """Signature -> {DW_SECT_*: offset of the unit's part}."""
    version = unpack_from("<I", data, 0)[0] & 0xFFFF
    if version not in (2, 5):
        raise ElfError(f"read .dwp file: version {version} of its index is not known")
    columns, units, slots = unpack_from("<III", data, 4)
    if slots > len(data) // 12 or units > slots or columns > 32:
        raise IndexError(f"{units} units in {slots} slots")
    rows = 16 + 12 * slots
    kinds = unpack_from(f"<{columns}I", data, rows)
    found: dict[int, dict[int, int]] = {}
    for slot in range(slots):
        row = unpack_from("<I", data, 16 + 8 * slots + 4 * slot)[0]
        if not row:
            continue
        if row > units:
            raise IndexError(f"row {row} of {units}")
        signature = unpack_from("<Q", data, 16 + 8 * slot)[0]
        offsets = unpack_from(f"<{columns}I", data, rows + 4 * columns * row)
        found[signature] = {_OLD.get(kind, 0) if version == 2 else kind: offset for kind, offset in zip(kinds, offsets)}
    return found
