"""x86-64 instructions that a breakpoint may stand on, carried out here: functions begin with few kinds of them.

What is carried out needs no single step, so that other threads of the process need not be stopped while the original
instruction is in place. From the Intel SDM, volume 2; flags as its volume 1, appendix A has them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Memory(Protocol):
        def read(self, address: int, size: int) -> bytes: ...
        def write(self, address: int, data: bytes) -> None: ...


MASK = 0xFFFF_FFFF_FFFF_FFFF
RIP, FLAGS, RSP = 16, 18, 19
# Number of a register in an instruction -> word of user_regs_struct
_WORD = (10, 11, 12, 5, RSP, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0)
_CF, _PF, _AF, _ZF, _SF, _OF = 1, 4, 0x10, 0x40, 0x80, 0x800
_ARITHMETIC = _CF | _PF | _AF | _ZF | _SF | _OF
_ENDBR64 = b"\xf3\x0f\x1e\xfa"


def emulate(code: bytes, words: memoryview[int], memory: Memory) -> bool:
    """Carry out the instruction that `code` begins with on the registers; False: it is none of those known here.

    OSError where it touches memory that is not there: the instruction itself is to fault.
    """
    if code.startswith(_ENDBR64):
        words[RIP] += 4
        return True
    at = rex = 0
    if code[0] & 0xF0 == 0x40:
        rex, at = code[0], 1
    opcode = code[at]
    if 0x50 <= opcode <= 0x5F:
        return _push_pop(opcode, rex, at, words, memory)
    if opcode in (0x89, 0x8B, 0x8D, 0x31, 0x85, 0x83, 0x81):
        return _with_modrm(code, opcode, rex, at, words, memory)
    if opcode == 0x90 and not rex:
        words[RIP] += 1
        return True
    if 0xB8 <= opcode <= 0xBF and not rex & 8:
        words[_WORD[opcode & 7 | (rex & 1) << 3]] = int.from_bytes(code[at + 1 : at + 5], "little")
        words[RIP] += at + 5
        return True
    return not at and _jump(code, opcode, words, memory)


def _jump(code: bytes, opcode: int, words: memoryview[int], memory: Memory) -> bool:
    """Relative jumps and calls, and returns: what would go wrong anywhere but in its own place."""
    if opcode == 0xC3:
        data = memory.read(words[RSP], 8)
        if len(data) < 8:
            raise OSError(14, "read the stack")
        words[RSP] = words[RSP] + 8 & MASK
        words[RIP] = int.from_bytes(data, "little")
        return True
    at, size = 1, 4
    taken = True
    if opcode == 0xEB or opcode & 0xF0 == 0x70:
        size = 1
    if opcode & 0xF0 == 0x70:
        taken = _condition(opcode & 15, words[FLAGS])
    elif opcode == 0x0F and code[1] & 0xF0 == 0x80:
        at, taken = 2, _condition(code[1] & 15, words[FLAGS])
    elif opcode not in (0xEB, 0xE9, 0xE8):
        return False
    after = words[RIP] + at + size
    if opcode == 0xE8:
        memory.write(words[RSP] - 8 & MASK, (after & MASK).to_bytes(8, "little"))
        words[RSP] = words[RSP] - 8 & MASK
    distance = int.from_bytes(code[at : at + size], "little", signed=True)
    words[RIP] = after + (distance if taken else 0) & MASK
    return True


def _condition(number: int, flags: int) -> bool:
    cf, zf, sf, of = (bool(flags & bit) for bit in (_CF, _ZF, _SF, _OF))
    kinds = (of, cf, zf, cf or zf, sf, bool(flags & _PF), sf != of, zf or sf != of)
    return kinds[number >> 1] != bool(number & 1)


def moved(code: bytes, by: int) -> bytes | None:
    """The instruction `code` as it has to be `by` bytes further on, or None: it can only run where it is."""
    from ..elf import instruction_length
    from ..errors import ElfError

    try:
        length = instruction_length(code)
    except ElfError:
        return None
    out = bytearray(code[:length])
    at = _modrm_place(out)
    if at < 0:
        return None
    if at and out[at] & 0xC7 == 5:  # relative to the instruction pointer
        distance = int.from_bytes(out[at + 1 : at + 5], "little", signed=True) - by
        if not -(1 << 31) <= distance < 1 << 31:
            return None
        out[at + 1 : at + 5] = distance.to_bytes(4, "little", signed=True)
    return bytes(out)


def _modrm_place(code: bytes | bytearray) -> int:
    """Where the ModRM byte is, 0 when there is none, -1 for what may not be moved (relative branches, traps)."""
    at = 0
    while code[at] in (0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x36, 0x3E, 0x26, 0x64, 0x65):
        at += 1
    if code[at] & 0xF0 == 0x40:
        at += 1
    opcode = code[at]
    if opcode in (0xC4, 0xC5, 0x62) and len(code) - at > 3:  # VEX, EVEX
        at += {0xC5: 2, 0xC4: 3, 0x62: 4}[opcode]
        return at + 1
    if opcode == 0x0F:
        second = code[at + 1]
        if second & 0xF0 == 0x80:
            return -1
        if second in (0x05, 0x34, 0x0B, 0xA2, 0x31, 0x77) or 0xC8 <= second <= 0xCF:
            return 0
        return at + (3 if second in (0x38, 0x3A) else 2)
    if opcode in (0xE8, 0xE9, 0xEB, 0xCC, 0xCD, 0xCE, 0xCF) or opcode & 0xF0 == 0x70 or 0xE0 <= opcode <= 0xE3:
        return -1
    has = (
        opcode & 0xC4 == 0 or opcode in (0x63, 0x69, 0x6B, 0xC0, 0xC1, 0xC6, 0xC7, 0xF6, 0xF7, 0xFE, 0xFF)
        or 0x80 <= opcode <= 0x8F or 0xD0 <= opcode <= 0xD3 or 0xD8 <= opcode <= 0xDF
    )  # fmt: skip
    return at + 1 if has else 0


def pushes_return(code: bytes) -> bool:
    """Whether it is an indirect call: the return address that it leaves is that of the place it ran in."""
    at = _modrm_place(code)
    return at > 0 and code[at - 1] == 0xFF and code[at] >> 3 & 7 == 2


def _push_pop(opcode: int, rex: int, at: int, words: memoryview[int], memory: Memory) -> bool:
    word = _WORD[opcode & 7 | (rex & 1) << 3]
    if opcode < 0x58:
        value = words[word]
        memory.write(words[RSP] - 8 & MASK, value.to_bytes(8, "little"))
        words[RSP] = words[RSP] - 8 & MASK
    else:
        data = memory.read(words[RSP], 8)
        if len(data) < 8:
            raise OSError(14, "read the stack")
        words[RSP] = words[RSP] + 8 & MASK
        words[word] = int.from_bytes(data, "little")
    words[RIP] += at + 1
    return True


def _with_modrm(code: bytes, opcode: int, rex: int, at: int, words: memoryview[int], memory: Memory) -> bool:
    modrm = code[at + 1]
    mode, reg, rm = modrm >> 6, modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7 | (rex & 1) << 3
    size = 8 if rex & 8 else 4
    limit = (1 << 8 * size) - 1
    if mode == 3:
        end = at + 2
        if opcode in (0x89, 0x8B):  # mov between registers
            to, source = (rm, reg) if opcode == 0x89 else (reg, rm)
            words[_WORD[to]] = words[_WORD[source]] & limit
        elif opcode == 0x31 and reg == rm:  # xor of a register with itself
            words[_WORD[rm]] = 0
            _set_flags(words, _ZF | _PF)
        elif opcode == 0x85:  # test
            _set_flags(words, _logic(words[_WORD[rm]] & words[_WORD[reg]] & limit, size))
        elif opcode in (0x83, 0x81) and modrm >> 3 & 7 in (0, 5, 7):  # add, sub, cmp with a number
            end += 1 if opcode == 0x83 else 4
            number = int.from_bytes(code[at + 2 : end], "little", signed=True) & limit
            _add_sub(modrm >> 3 & 7, rm, number, size, words)
        else:
            return False
        words[RIP] += end
        return True
    if opcode not in (0x89, 0x8B, 0x8D):
        return False
    address, end = _effective(code, at + 1, rex, words)
    if opcode == 0x8D:
        words[_WORD[reg]] = address & limit
    elif opcode == 0x89:
        memory.write(address, (words[_WORD[reg]] & limit).to_bytes(size, "little"))
    else:
        data = memory.read(address, size)
        if len(data) < size:
            raise OSError(14, "read memory")
        words[_WORD[reg]] = int.from_bytes(data, "little")
    words[RIP] += end
    return True


def _effective(code: bytes, at: int, rex: int, words: memoryview[int]) -> tuple[int, int]:
    """(address that the ModRM byte at `at` means, length of the instruction so far)."""
    mode, rm = code[at] >> 6, code[at] & 7
    end = at + 1
    base: int | None = words[_WORD[rm | (rex & 1) << 3]] if rm != 4 else None
    index = 0
    wide = mode == 2
    if rm == 4:
        sib = code[end]
        end += 1
        number = sib >> 3 & 7 | (rex & 2) << 2
        if number != 4:
            index = words[_WORD[number]] << (sib >> 6)
        if sib & 7 == 5 and mode == 0:
            base, wide = 0, True
        else:
            base = words[_WORD[sib & 7 | (rex & 1) << 3]]
    relative = mode == 0 and rm == 5
    size = 4 if wide or relative else mode
    distance = int.from_bytes(code[end : end + size], "little", signed=True) if size else 0
    end += size
    if relative:
        base = words[RIP] + end
    return (base or 0) + index + distance & MASK, end


def _add_sub(kind: int, rm: int, number: int, size: int, words: memoryview[int]) -> None:
    limit, top = (1 << 8 * size) - 1, 1 << 8 * size - 1
    a = words[_WORD[rm]] & limit
    result = (a + number if kind == 0 else a - number) & limit
    flags = _logic(result, size)
    if kind == 0:
        flags |= _CF if a + number > limit else 0
        flags |= _OF if ~(a ^ number) & (a ^ result) & top else 0
    else:
        flags |= _CF if a < number else 0
        flags |= _OF if (a ^ number) & (a ^ result) & top else 0
    flags |= (a ^ number ^ result) & _AF
    _set_flags(words, flags)
    if kind != 7:
        words[_WORD[rm]] = result


def _logic(result: int, size: int) -> int:
    flags = 0 if result else _ZF
    flags |= _SF if result >> 8 * size - 1 else 0
    return flags | (0 if (result & 0xFF).bit_count() & 1 else _PF)


def _set_flags(words: memoryview[int], flags: int) -> None:
    words[FLAGS] = words[FLAGS] & ~_ARITHMETIC | flags
