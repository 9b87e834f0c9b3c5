"""Lengths of x86-64 instructions: a breakpoint in the middle of one would corrupt the program that runs it.

From the opcode maps of the Intel SDM (volume 2, appendix A) and the VEX and EVEX prefixes of volume 2, chapter 2.
"""

from __future__ import annotations

from ..errors import ElfError

_PREFIXES = frozenset((0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65))
# One-byte opcodes without ModRM, by what follows: i8, i16, i32 ("z": 16 bits with a 66 prefix), none.
_NONE = frozenset((*range(0x50, 0x60), *range(0x6C, 0x70), *range(0x90, 0x9A), *range(0x9B, 0xA0), *range(0xA4, 0xA8),
                   *range(0xAA, 0xB0), 0xC3, 0xC9, 0xCB, 0xCC, 0xCF, 0xD7, *range(0xEC, 0xF0), 0xF1, 0xF4, 0xF5,
                   *range(0xF8, 0xFE)))  # fmt: skip
_IMM8 = frozenset((0x6A, *range(0x70, 0x80), 0xA8, *range(0xB0, 0xB8), 0xCD, *range(0xE0, 0xE8), 0xEB))
_IMM16 = frozenset((0xC2, 0xCA))
_IMMZ = frozenset((0x68, 0xA9))
_REL32 = frozenset((0xE8, 0xE9))  # a 66 prefix does not shorten these in 64-bit mode
# With ModRM: all others but the invalid ones; some with an immediate.
_MODRM_IMM8 = frozenset((0x6B, 0x80, 0x83, 0xC0, 0xC1, 0xC6))
_MODRM_IMMZ = frozenset((0x69, 0x81, 0xC7))
_INVALID = frozenset((0x60, 0x61, 0x82, 0x9A, 0xCE, 0xD4, 0xD5, 0xD6, 0xEA))
# Two-byte opcodes (0F xx).
_0F_NONE = frozenset((*range(0x05, 0x0A), 0x0B, 0x0E, *range(0x30, 0x38), 0x77, 0xA0, 0xA1, 0xA2, 0xA8, 0xA9, 0xAA,
                      *range(0xC8, 0xD0)))  # fmt: skip
_0F_IMM8 = frozenset((0x0F, 0x70, 0x71, 0x72, 0x73, 0xA4, 0xAC, 0xBA, 0xC2, 0xC4, 0xC5, 0xC6))


def instruction_length(code: bytes, at: int = 0) -> int:
    """Bytes of the instruction at `code[at]`. ElfError for what is no instruction, or is cut off."""
    try:
        end = _end(code, at)
    except IndexError:
        end = len(code) + 1
    if end > len(code) or end - at > 15:
        raise ElfError(f"decode instruction at offset {at}: it does not end", offset=at)
    return end - at


def is_boundary(code: bytes, offset: int) -> bool:
    """Whether an instruction starts `offset` bytes into a function, read from its start.

    False too where the way there cannot be decoded (data between the instructions).
    """
    at = 0
    while at < offset:
        try:
            at += instruction_length(code, at)
        except ElfError:
            return False
    return at == offset


def _end(code: bytes, at: int) -> int:
    start, narrow, short_address = at, False, False
    while code[at] in _PREFIXES:
        narrow |= code[at] == 0x66
        short_address |= code[at] == 0x67
        at += 1
    wide = False
    if 0x40 <= code[at] <= 0x4F:
        wide = bool(code[at] & 8)
        at += 1
    opcode = code[at]
    at += 1
    immz = 2 if narrow and not wide else 4
    if opcode == 0x0F:
        return _two_bytes(code, at)
    if opcode in (0xC4, 0xC5, 0x62):
        return _vector(code, at, opcode)
    if opcode < 0x40:
        return _arithmetic(code, at, opcode, immz, start)
    if opcode in _NONE:
        return at
    if opcode in _IMM8:
        return at + 1
    if opcode in _IMM16:
        return at + 2
    if opcode in _IMMZ:
        return at + immz
    if opcode in _REL32:
        return at + 4
    if 0xA0 <= opcode <= 0xA3:
        return at + (4 if short_address else 8)
    if 0xB8 <= opcode <= 0xBF:
        return at + (8 if wide else immz)
    if opcode == 0xC8:
        return at + 3
    if opcode in _INVALID:
        raise ElfError(f"decode instruction at offset {start}: opcode {opcode:#04x} is invalid", offset=start)
    register = code[at] >> 3 & 7
    at = _modrm(code, at)
    if opcode in _MODRM_IMM8 or (opcode == 0xF6 and register < 2):
        return at + 1
    if opcode in _MODRM_IMMZ or (opcode == 0xF7 and register < 2):
        return at + immz
    return at


def _arithmetic(code: bytes, at: int, opcode: int, immz: int, start: int) -> int:
    """add, or, adc, sbb, and, sub, xor, cmp: six forms each."""
    form = opcode & 7
    if form < 4:
        return _modrm(code, at)
    if form > 5:
        raise ElfError(f"decode instruction at offset {start}: opcode {opcode:#04x} is invalid", offset=start)
    return at + (1 if form == 4 else immz)


def _modrm(code: bytes, at: int) -> int:
    mode, memory = code[at] >> 6, code[at] & 7
    at += 1
    if mode == 3:
        return at
    if memory == 4:
        base = code[at] & 7
        at += 1
        if mode == 0 and base == 5:
            return at + 4
    elif mode == 0 and memory == 5:
        return at + 4
    return at + (0, 1, 4)[mode]


def _two_bytes(code: bytes, at: int) -> int:
    opcode = code[at]
    at += 1
    if opcode == 0x38:
        return _modrm(code, at + 1)
    if opcode == 0x3A:
        return _modrm(code, at + 1) + 1
    if 0x80 <= opcode <= 0x8F:
        return at + 4
    if opcode in _0F_NONE:
        return at
    return _modrm(code, at) + (opcode in _0F_IMM8)


def _vector(code: bytes, at: int, prefix: int) -> int:
    """VEX (C5, C4) and EVEX (62): the prefix names the opcode map."""
    if prefix == 0xC5:
        table, at = 1, at + 1
    elif prefix == 0xC4:
        table, at = code[at] & 0x1F, at + 2
    else:
        table, at = code[at] & 7, at + 3
    opcode = code[at]
    at += 1
    if table == 1 and opcode == 0x77:
        return at
    return _modrm(code, at) + (table == 3 or (table == 1 and opcode in _0F_IMM8))
