"""Relocations of arm64 code (ELF for the Arm 64-bit Architecture, "static AArch64 relocations")."""

from __future__ import annotations

from struct import pack_into, unpack_from

from ..errors import NotSupported

_ABS64, _PREL32, _PREL64, _ADR_PAGE, _ADD_LOW = 257, 261, 260, 275, 277
_JUMP26, _CALL26 = 282, 283
_LOAD_LOW = {278: 0, 284: 1, 285: 2, 286: 3, 299: 4}  # LDST8/16/32/64/128_ABS_LO12_NC: shift of the offset


def relocate(
    code: bytearray, where: int, kind: int, target: int | None, addend: int, fixups: list[tuple[int, int, int]]
) -> None:
    """Apply one relocation; images start at page boundaries, so that pages count from the image's start."""
    if target is None:
        raise NotSupported("load native code: reference to address 0", feature=f"relocation {kind}")
    value = target + addend
    if kind == _ABS64:
        fixups.append((where, 8, value))
    elif kind in (_PREL32, _PREL64):
        pack_into("<i" if kind == _PREL32 else "<q", code, where, value - where)
    elif kind in (_JUMP26, _CALL26):
        _insert(code, where, (value - where >> 2) & 0x3FF_FFFF, 0, 26)
    elif kind == _ADR_PAGE:
        pages = (value >> 12) - (where >> 12)
        _insert(code, where, pages & 3, 29, 2)
        _insert(code, where, pages >> 2 & 0x7_FFFF, 5, 19)
    elif kind == _ADD_LOW:
        _insert(code, where, value & 0xFFF, 10, 12)
    elif kind in _LOAD_LOW:
        _insert(code, where, (value & 0xFFF) >> _LOAD_LOW[kind], 10, 12)
    else:
        raise NotSupported(f"load native code: relocation type {kind}", feature=f"relocation {kind}")


def _insert(code: bytearray, where: int, bits: int, shift: int, width: int) -> None:
    (word,) = unpack_from("<I", code, where)
    mask = (1 << width) - 1 << shift
    pack_into("<I", code, where, word & ~mask | bits << shift & mask)
