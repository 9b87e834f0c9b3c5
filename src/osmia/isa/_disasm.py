"""Instructions as text, in the syntax of the kernel's verifier log (kernel/bpf/disasm.c).

Where the log does not say enough to get the instruction back, the text says more:
    r1 = map[fd:5]           r1 = map[fd:5][0]+8         64-bit load of a map or of an address in its value
    r1 = map[idx:5]          r1 = map[idx:5][0]+8        the same by index into fd_array
    r1 = subprog[+7]         r1 = btf_id[123]            r1 = btf_id[123:4]  (4: fd of the module's BTF)
    call kernel-function#123                             call kernel-function#123:2  (2: index into fd_array)
"""

from __future__ import annotations

from ..errors import IsaError
from . import _opcodes as op
from ._instruction import SLOT, Instruction, decode
from ._tables import helper_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ALU_SIGNS = {
    op.ADD: "+=", op.SUB: "-=", op.MUL: "*=", op.DIV: "/=", op.OR: "|=", op.AND: "&=", op.LSH: "<<=",
    op.RSH: ">>=", op.MOD: "%=", op.XOR: "^=", op.MOV: "=", op.ARSH: "s>>=",
}  # fmt: skip
SIGNED_ALU = {op.DIV: "s/=", op.MOD: "s%="}
JUMP_SIGNS = {
    op.JEQ: "==", op.JGT: ">", op.JGE: ">=", op.JSET: "&", op.JNE: "!=", op.JSGT: "s>", op.JSGE: "s>=",
    op.JLT: "<", op.JLE: "<=", op.JSLT: "s<", op.JSLE: "s<=",
}  # fmt: skip
UNSIGNED = {op.W: "u32", op.H: "u16", op.B: "u8", op.DW: "u64"}
SIGNED = {op.W: "s32", op.H: "s16", op.B: "s8"}
FETCH_NAMES = {op.ADD: "add", op.OR: "or", op.AND: "and", op.XOR: "xor"}
MOVSX = {8: "(s8)", 16: "(s16)", 32: "(s32)"}
NOSPEC = op.ST | 0xC0  # speculation barrier; only in translated programs


class _Unknown(Exception):
    """No such instruction."""


def format_instruction(
    instruction: Instruction, second: Instruction | None = None, *, kfuncs: Mapping[int, str] | None = None
) -> str:
    """One instruction as text; `second` is the other slot of a 64-bit load. `kfuncs` names kfuncs by BTF id.

    IsaError if there is no such instruction or a field that it does not use is not zero.
    """
    i = instruction
    try:
        if i.dst > op.MAX_REGISTER or i.src > op.MAX_REGISTER:
            raise _Unknown
        return _CLASSES[i.opcode & op.CLASS_MASK](i, second, kfuncs or {})
    except (_Unknown, KeyError):
        raise IsaError(f"disassemble {i!r}: no such instruction, or a reserved field is not zero") from None


def disassemble(
    data: bytes, *, numbered: bool = False, start: int = 0, kfuncs: Mapping[int, str] | None = None
) -> list[str]:
    """One line per instruction (a 64-bit load is one). `numbered` puts `slot: (opcode)` before it, as the log does.

    `start` is the number of the first slot. IsaError names the slot that is no instruction.
    """
    slots = decode(data)
    out = []
    at = 0
    while at < len(slots):
        i = slots[at]
        try:
            text = format_instruction(i, slots[at + 1] if i.is_wide else None, kfuncs=kfuncs)
        except IsaError as e:
            raise IsaError(f"disassemble slot {at + start}: {e.message}", offset=at * SLOT) from None
        out.append(f"{at + start}: ({i.opcode:02x}) {text}" if numbered else text)
        at += 2 if i.is_wide else 1
    return out


def _zero(*fields: int) -> None:
    if any(fields):
        raise _Unknown


def _alu(i: Instruction, _second: Instruction | None, _kfuncs: Mapping[int, str]) -> str:
    wide = i.opcode & op.CLASS_MASK == op.ALU64
    operation = i.opcode & op.OP_MASK
    by_register = i.opcode & op.X
    r = "r" if wide else "w"
    if operation == op.END:
        _zero(i.src, i.off)
        if i.imm not in (16, 32, 64) or (wide and by_register):
            raise _Unknown
        name = "bswap" if wide else "be" if by_register else "le"
        return f"r{i.dst} = {name}{i.imm} r{i.dst}"
    if operation == op.NEG:
        _zero(by_register, i.src, i.off, i.imm)
        return f"{r}{i.dst} = -{r}{i.dst}"
    if operation == op.MOV and by_register and i.off:
        return _special_move(i, wide, r)
    if i.off == 1 and operation in SIGNED_ALU:
        sign = SIGNED_ALU[operation]
    else:
        _zero(i.off)
        sign = ALU_SIGNS[operation]
    if by_register:
        _zero(i.imm)
        return f"{r}{i.dst} {sign} {r}{i.src}"
    _zero(i.src)
    return f"{r}{i.dst} {sign} {i.imm}"


def _special_move(i: Instruction, wide: bool, r: str) -> str:
    if wide and i.off == op.ADDR_SPACE_CAST:
        imm = i.imm & 0xFFFFFFFF
        return f"r{i.dst} = addr_space_cast(r{i.src}, {imm >> 16}, {imm & 0xFFFF})"
    _zero(i.imm)
    if wide and i.off == op.ADDR_PERCPU:
        return f"r{i.dst} = &(void __percpu *)(r{i.src})"
    if i.off == 32 and not wide:
        raise _Unknown
    return f"{r}{i.dst} = {MOVSX[i.off]}{r}{i.src}"


def _load(i: Instruction, second: Instruction | None, _kfuncs: Mapping[int, str]) -> str:
    size = UNSIGNED[i.opcode & op.SIZE_MASK]
    mode = i.opcode & op.MODE_MASK
    if i.opcode == op.LD_IMM64 and second is not None:
        _zero(i.off)
        return f"r{i.dst} = {_number64(i, second)}"
    if i.opcode & op.SIZE_MASK == op.DW:
        raise _Unknown
    _zero(i.dst, i.off)
    if mode == op.ABS:
        _zero(i.src)
        return f"r0 = *({size} *)skb[{i.imm}]"
    if mode == op.IND:
        return f"r0 = *({size} *)skb[r{i.src} + {i.imm}]"
    raise _Unknown


def _number64(i: Instruction, second: Instruction) -> str:
    if i.src == 0:
        return f"{(second.imm & 0xFFFFFFFF) << 32 | (i.imm & 0xFFFFFFFF):#x}"
    if i.src in (op.PSEUDO_MAP_VALUE, op.PSEUDO_MAP_IDX_VALUE):
        by = "fd" if i.src == op.PSEUDO_MAP_VALUE else "idx"
        return f"map[{by}:{i.imm}][0]{second.imm & 0xFFFFFFFF:+d}"
    if i.src == op.PSEUDO_BTF_ID:
        return f"btf_id[{i.imm}:{second.imm}]" if second.imm else f"btf_id[{i.imm}]"
    _zero(second.imm)
    if i.src == op.PSEUDO_FUNC:
        return f"subprog[{i.imm:+d}]"
    if i.src in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_IDX):
        return f"map[{'fd' if i.src == op.PSEUDO_MAP_FD else 'idx'}:{i.imm}]"
    raise _Unknown


def _load_memory(i: Instruction, _second: Instruction | None, _kfuncs: Mapping[int, str]) -> str:
    sizes = {op.MEM: UNSIGNED, op.MEMSX: SIGNED}[i.opcode & op.MODE_MASK]
    _zero(i.imm)
    return f"r{i.dst} = *({sizes[i.opcode & op.SIZE_MASK]} *)(r{i.src} {i.off:+d})"


def _store(i: Instruction, _second: Instruction | None, _kfuncs: Mapping[int, str]) -> str:
    _zero(i.src)
    if i.opcode == NOSPEC:
        _zero(i.dst, i.off, i.imm)
        return "nospec"
    if i.opcode & op.MODE_MASK != op.MEM:
        raise _Unknown
    return f"*({UNSIGNED[i.opcode & op.SIZE_MASK]} *)(r{i.dst} {i.off:+d}) = {i.imm}"


def _store_register(i: Instruction, _second: Instruction | None, _kfuncs: Mapping[int, str]) -> str:
    size = i.opcode & op.SIZE_MASK
    mode = i.opcode & op.MODE_MASK
    place = f"({UNSIGNED[size]} *)(r{i.dst} {i.off:+d})"
    if mode == op.MEM:
        _zero(i.imm)
        return f"*{place} = r{i.src}"
    if mode != op.ATOMIC:
        raise _Unknown
    if i.imm == op.LOAD_ACQ:
        return f"r{i.dst} = load_acquire(({UNSIGNED[size]} *)(r{i.src} {i.off:+d}))"
    if i.imm == op.STORE_REL:
        return f"store_release({place}, r{i.src})"
    if size not in (op.W, op.DW):
        raise _Unknown
    atomic = "atomic64" if size == op.DW else "atomic"
    if i.imm == op.XCHG:
        return f"r{i.src} = {atomic}_xchg({place}, r{i.src})"
    if i.imm == op.CMPXCHG:
        return f"r0 = {atomic}_cmpxchg({place}, r0, r{i.src})"
    if i.imm & op.FETCH:
        return f"r{i.src} = {atomic}_fetch_{FETCH_NAMES[i.imm & ~op.FETCH]}({place}, r{i.src})"
    if i.imm not in FETCH_NAMES:
        raise _Unknown
    return f"lock *{place} {ALU_SIGNS[i.imm]} r{i.src}"


def _jump(i: Instruction, _second: Instruction | None, kfuncs: Mapping[int, str]) -> str:
    wide = i.opcode & op.CLASS_MASK == op.JMP
    operation = i.opcode & op.OP_MASK
    if operation in JUMP_SIGNS:
        r = "r" if wide else "w"
        if i.opcode & op.X:
            _zero(i.imm)
            right = f"{r}{i.src}"
        else:
            _zero(i.src)
            right = f"{i.imm & 0xFFFFFFFF:#x}"
        return f"if {r}{i.dst} {JUMP_SIGNS[operation]} {right} goto pc{i.off:+d}"
    if i.opcode == op.JMP | op.CALL:
        return _call(i, kfuncs)
    if i.opcode == op.JMP32 | op.JA:
        _zero(i.dst, i.src, i.off)
        return f"gotol pc{i.imm:+d}"
    if i.opcode in (op.JMP | op.CALL | op.X, op.JMP | op.JA | op.X):
        _zero(i.src, i.off, i.imm)
        return f"{'callx' if operation == op.CALL else 'gotox'} r{i.dst}"
    _zero(i.dst, i.src, i.imm)
    if i.opcode == op.JMP | op.EXIT:
        _zero(i.off)
        return "exit"
    return f"{ {op.JMP | op.JA: 'goto', op.JMP | op.JCOND: 'may_goto'}[i.opcode] } pc{i.off:+d}"


def _call(i: Instruction, kfuncs: Mapping[int, str]) -> str:
    _zero(i.dst)
    if i.src == op.PSEUDO_KFUNC_CALL:
        name = kfuncs.get(i.imm, "kernel-function")
        return f"call {name}#{i.imm}:{i.off}" if i.off else f"call {name}#{i.imm}"
    _zero(i.off)
    if i.src == op.PSEUDO_CALL:
        return f"call pc{i.imm:+d}"
    _zero(i.src)
    known = helper_name(i.imm)
    return f"call bpf_{known}#{i.imm}" if known else f"call unknown#{i.imm}"


_CLASSES = {
    op.LD: _load,
    op.LDX: _load_memory,
    op.ST: _store,
    op.STX: _store_register,
    op.ALU: _alu,
    op.ALU64: _alu,
    op.JMP: _jump,
    op.JMP32: _jump,
}
