"""Arithmetic on pointers: what is allowed, and where they then point (kernel: adjust_ptr_min_max_vals)."""

from __future__ import annotations

from ..isa import op
from ._env import EACCES, EINVAL
from ._precision import mark_precise
from ._scalar import S64_MIN
from ._state import (
    ARENA,
    BTF_ID,
    BUF,
    CTX,
    DYNPTR,
    FLOW_KEYS,
    FUNC,
    MAP_KEY,
    MAP_PTR,
    MAP_VALUE,
    MAYBE_NULL,
    MEM,
    PACKET,
    PACKET_META,
    SCALAR,
    STACK,
    TP_BUFFER,
    UNTRUSTED,
    Reg,
    unknown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._env import Env

MAX_VAR_OFF = 1 << 29
S32_MAX = (1 << 31) - 1
MOVABLE = frozenset((CTX, MAP_VALUE, MAP_KEY, STACK, PACKET, PACKET_META, TP_BUFFER, BTF_ID, MEM, BUF, FUNC, DYNPTR))
SYMBOLS = {
    op.ADD: "+=",
    op.SUB: "-=",
    op.MUL: "*=",
    op.DIV: "/=",
    op.OR: "|=",
    op.AND: "&=",
    op.LSH: "<<=",
    op.RSH: ">>=",
    op.NEG: "neg",
    op.MOD: "%=",
    op.XOR: "^=",
    op.MOV: "=",
    op.ARSH: "s>>=",
}


def with_pointers(env: Env, insn: Instruction, dst: Reg, src: Reg) -> Reg:
    """The result of `dst operation src` where at least one is no number."""
    kind = insn.opcode & op.OP_MASK
    by_register = bool(insn.opcode & op.X)
    if dst.kind == ARENA or (by_register and src.kind == ARENA):
        new = (dst if dst.kind == ARENA else src).copy()
        return new if insn.opcode & op.CLASS_MASK == op.ALU64 else unknown(env.pc)
    if dst.kind != SCALAR and src.kind != SCALAR:
        if kind == op.SUB and env.privileged:
            return unknown(env.pc)
        env.refuse(f"R{insn.dst} pointer {SYMBOLS[kind]} pointer prohibited", EACCES)
    if dst.kind == SCALAR:
        mark_precise(env, insn.dst)
        return _move(env, insn, src, dst, reverse=True)
    if by_register:
        mark_precise(env, insn.src)
    return _move(env, insn, dst, src, reverse=False)


def _move(env: Env, insn: Instruction, pointer: Reg, by: Reg, *, reverse: bool) -> Reg:
    kind = insn.opcode & op.OP_MASK
    var = by.var
    known = not var.mask
    if var.smin > var.smax or var.umin > var.umax or (known and (var.smin != var.smax or var.umin != var.umax)):
        return unknown(env.pc)  # on a path that cannot be taken
    if insn.opcode & op.CLASS_MASK != op.ALU64:
        if kind == op.SUB and env.privileged:
            return unknown(env.pc)
        env.refuse(f"R{insn.dst} 32-bit pointer arithmetic prohibited", EACCES)
    if pointer.flags & MAYBE_NULL:
        env.refuse(f"R{insn.dst} pointer arithmetic on {pointer.name} prohibited, null-check it first", EACCES)
    if pointer.kind == MEM and pointer.flags & UNTRUSTED:
        return pointer
    if pointer.kind not in MOVABLE and not (
        (pointer.kind == FLOW_KEYS and known)
        or (pointer.kind in (FLOW_KEYS, MAP_PTR) and known and var.smin == 0 and kind == op.ADD)
    ):
        env.refuse(f"R{insn.dst} pointer arithmetic on {pointer.name} prohibited", EACCES)
    _sane(env, by, pointer)
    _sane(env, pointer, pointer)
    if kind == op.ADD:
        new = _add(env, pointer, by)
    elif kind == op.SUB:
        new = _subtract(env, insn, pointer, by, reverse)
    elif kind in (op.AND, op.OR, op.XOR):
        env.refuse(f"R{insn.dst} bitwise operator {SYMBOLS[kind]} on pointer prohibited", EACCES)
    else:
        env.refuse(f"R{insn.dst} pointer arithmetic with {SYMBOLS[kind]} operator prohibited", EACCES)
    _sane(env, new, pointer)
    return new


def _fits(offset: int) -> bool:
    return -(1 << 31) <= offset <= S32_MAX


def _add(env: Env, pointer: Reg, by: Reg) -> Reg:
    new = pointer.copy()
    new.origin = env.pc
    if not by.var.mask and _fits(pointer.off + by.var.smin):
        new.off = pointer.off + by.var.smin
        return new
    new.var = env.rules.alu(op.ADD, pointer.var, by.var, True)
    if pointer.kind in (PACKET, PACKET_META):
        new.id = env.new_id()
        new.size = 0
    return new


def _subtract(env: Env, insn: Instruction, pointer: Reg, by: Reg, reverse: bool) -> Reg:
    if reverse:
        env.refuse(f"R{insn.dst} tried to subtract pointer from scalar", EACCES)
    if pointer.kind == STACK:
        env.refuse(f"R{insn.dst} subtraction from stack pointer prohibited", EACCES)
    new = pointer.copy()
    new.origin = env.pc
    if not by.var.mask and _fits(pointer.off - by.var.smin):
        new.off = pointer.off - by.var.smin
        return new
    new.var = env.rules.alu(op.SUB, pointer.var, by.var, True)
    if pointer.kind in (PACKET, PACKET_META):
        new.id = env.new_id()
        if by.var.smin < 0:
            new.size = 0
    return new


def _sane(env: Env, reg: Reg, pointer: Reg) -> None:
    """Offsets so large that sums of them could wrap are refused at once (kernel: check_reg_sane_offset)."""
    var = reg.var
    smin = var.smin
    if not var.mask and not -MAX_VAR_OFF < smin < MAX_VAR_OFF:
        env.refuse(f"math between {pointer.name} pointer and {smin} is not allowed", EINVAL)
    if (reg.kind != SCALAR or reg.linked) and not -MAX_VAR_OFF < reg.off < MAX_VAR_OFF:
        env.refuse(f"{pointer.name} pointer offset {reg.off} is not allowed", EINVAL)
    if smin == S64_MIN:
        env.refuse(f"math between {pointer.name} pointer and register with unbounded min value is not allowed", EINVAL)
    if not -MAX_VAR_OFF < smin < MAX_VAR_OFF:
        env.refuse(f"value {smin} makes {pointer.name} pointer be out of bounds", EINVAL)
