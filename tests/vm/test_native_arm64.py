"""Relocations of arm64 code, on any machine: fields of instruction words as the ABI says."""

from __future__ import annotations

import struct

import pytest

from osmia.errors import NotSupported
from osmia.vm._native_arm64 import relocate


def _apply(word: int, kind: int, where: int, target: int, addend: int = 0) -> int:
    code = bytearray(where) + bytearray(struct.pack("<Q", word))
    relocate(code, where, kind, target, addend, [])
    return int(struct.unpack_from("<I", code, where)[0])


def test_branches() -> None:
    assert _apply(0x94000000, 283, 0x100, 0x200) == 0x94000040  # bl .+0x100
    assert _apply(0x14000000, 282, 0x200, 0x100) == 0x14000000 | 0x3FFFFFF & -0x40  # b .-0x100


def test_pages_and_offsets() -> None:
    assert _apply(0x90000000, 275, 0x10, 0x5678) == 0xB0000020  # adrp x0, 5 pages on: low two bits 1, rest 1
    assert _apply(0x91000000, 277, 0x14, 0x5678) == 0x91000000 | 0x678 << 10  # add x0, x0, #0x678
    assert _apply(0xF9400000, 286, 0x14, 0x5678) == 0xF9400000 | 0x678 >> 3 << 10  # ldr x0, [x0, #0x678]
    assert _apply(0xB9400000, 285, 0x14, 0x5678, 4) == 0xB9400000 | 0x67C >> 2 << 10


def test_data() -> None:
    fixups: list[tuple[int, int, int]] = []
    relocate(bytearray(16), 8, 257, 0x40, 2, fixups)
    assert fixups == [(8, 8, 0x42)]
    code = bytearray(16)
    relocate(code, 8, 261, 0x4, 0, fixups)
    assert struct.unpack_from("<i", code, 8) == (-4,)


def test_others_are_refused() -> None:
    with pytest.raises(NotSupported, match="relocation type 311"):
        relocate(bytearray(8), 0, 311, 0, 0, [])
    with pytest.raises(NotSupported, match="address 0"):
        relocate(bytearray(8), 0, 257, None, 0, [])
