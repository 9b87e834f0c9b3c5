"""Moves and arithmetic: the handlers of classes ALU and ALU64."""

from __future__ import annotations

from ..isa import op
from ._pointer import with_pointers
from ._scalar import UNKNOWN, const, sync
from ._scalar_alu import endian, fork, mov32
from ._state import ARENA, SCALAR, Reg, unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._env import Env
    from ._scalar import Scalar

S32_MIN, S32_MAX = -(1 << 31), (1 << 31) - 1
U32 = (1 << 32) - 1
_CONVERSIONS = {op.ALU | op.END: "le", op.ALU | op.END | op.X: "be", op.ALU64 | op.END: "swap"}


def with_id(env: Env, number: int) -> Reg:
    """The register about to be copied, with an identity so that what is learnt of one holds for the other."""
    reg = env.regs[number] = env.identified(env.regs[number])
    return reg


def move_imm(env: Env, insn: Instruction, at: int) -> int:
    """`dst = imm`."""
    if insn.dst == 10:
        env.target(10)
    value = insn.imm if insn.opcode & op.CLASS_MASK == op.ALU64 else insn.imm & U32
    env.regs[insn.dst] = Reg(SCALAR, const(value), at)
    return at + 1


def move(env: Env, insn: Instruction, at: int) -> int:
    """`dst = src`, 64 bits wide, perhaps sign-extended."""
    src = env.source(insn.src)
    if insn.dst == 10:
        env.target(10)
    off = insn.off
    regs = env.regs
    if not off:
        regs[insn.dst] = with_id(env, insn.src)
    elif off == op.ADDR_SPACE_CAST:
        regs[insn.dst] = Reg(ARENA, UNKNOWN, at) if insn.imm == 1 else unknown(at)
    elif src.kind != SCALAR:
        regs[insn.dst] = unknown(at)
    else:
        regs[insn.dst] = _extended(env, insn, at, True)
    return at + 1


def _extended(env: Env, insn: Instruction, at: int, wide: bool) -> Reg:
    src = env.regs[insn.src]
    unchanged = src.var.umax < 1 << insn.off - 1
    if unchanged:
        src = with_id(env, insn.src)
    new = Reg(SCALAR, env.rules.movsx(src.var, insn.off, wide), at)
    if unchanged:
        new.id = src.id
        new.off = src.off
        new.linked = src.linked
    return new


def move32(env: Env, insn: Instruction, at: int) -> int:
    """`wdst = wsrc`, perhaps sign-extended."""
    src = env.source(insn.src)
    if insn.dst == 10:
        env.target(10)
    if src.kind != SCALAR:
        env.regs[insn.dst] = Reg(SCALAR, mov32(UNKNOWN), at)
    elif insn.off:
        env.regs[insn.dst] = _extended(env, insn, at, False)
    elif src.var.umax <= U32 and env.links_narrow_moves:
        env.regs[insn.dst] = with_id(env, insn.src)
    else:
        env.regs[insn.dst] = Reg(SCALAR, env.rules.mov32(src.var), at)
    return at + 1


def negate(env: Env, insn: Instruction, at: int) -> int:
    """`dst = -dst`."""
    reg = env.source(insn.dst)
    if insn.dst == 10:
        env.target(10)
    wide = insn.opcode & op.CLASS_MASK == op.ALU64
    env.regs[insn.dst] = Reg(SCALAR, env.rules.neg(reg.var if reg.kind == SCALAR else UNKNOWN, wide), at)
    return at + 1


def convert(env: Env, insn: Instruction, at: int) -> int:
    """Byte order."""
    reg = env.source(insn.dst)
    if insn.dst == 10:
        env.target(10)
    kind = _CONVERSIONS[insn.opcode]
    if reg.kind == SCALAR and env.rules.byte_order:
        if kind == "le" and insn.imm == 64:
            return at + 1
        env.regs[insn.dst] = Reg(SCALAR, converted(reg.var, kind, insn.imm), at)
    else:
        env.regs[insn.dst] = Reg(SCALAR, endian(UNKNOWN, kind, insn.imm), at)
    return at + 1


def converted(var: Scalar, kind: str, width: int) -> Scalar:
    """Known bits move with their bytes (seen on 6.18.44; before, nothing is known of the result)."""
    full = (1 << width) - 1
    value, mask = var.value & full, var.mask & full
    if kind != "le":
        value, mask = _swap(value, width), _swap(mask, width)
    return sync(value, mask, *UNKNOWN.key()[2:])


def _swap(number: int, width: int) -> int:
    return int.from_bytes(number.to_bytes(width // 8, "little"), "big")


def binary_imm(env: Env, insn: Instruction, at: int) -> int:
    """`dst operation= imm`."""
    dst = env.source(insn.dst)
    if insn.dst == 10:
        env.target(10)
    opcode = insn.opcode
    wide = opcode & op.CLASS_MASK == op.ALU64
    by = const(insn.imm if wide else insn.imm & U32)
    if dst.kind != SCALAR:
        env.regs[insn.dst] = with_pointers(env, insn, dst, Reg(SCALAR, by, at))
        return at + 1
    kind = opcode & op.OP_MASK
    if kind in (op.AND, op.OR):
        dst = _split(env, insn, dst, by, at)
    new = Reg(SCALAR, env.rules.alu(kind, dst.var, by, wide), at)
    if dst.id and not dst.linked and kind in (op.ADD, op.SUB):
        _link(env, new, dst, kind, insn.imm, wide)
    env.regs[insn.dst] = new
    return at + 1


def binary(env: Env, insn: Instruction, at: int) -> int:
    """`dst operation= src`."""
    src = env.source(insn.src)
    dst = env.source(insn.dst)
    if insn.dst == 10:
        env.target(10)
    if dst.kind != SCALAR or src.kind != SCALAR:
        env.regs[insn.dst] = with_pointers(env, insn, dst, src)
        return at + 1
    opcode = insn.opcode
    kind = opcode & op.OP_MASK
    wide = opcode & op.CLASS_MASK == op.ALU64
    if kind in (op.AND, op.OR):
        dst = _split(env, insn, dst, src.var, at)
    new = Reg(SCALAR, env.rules.alu(kind, dst.var, src.var, wide), at)
    if dst.id and not dst.linked and kind in (op.ADD, op.SUB) and insn.src != insn.dst:
        by = src.var
        if not (by.mask if wide else by.mask & U32):
            _link(env, new, dst, kind, by.smin if wide else by.s32min, wide)
    env.regs[insn.dst] = new
    return at + 1


def _link(env: Env, new: Reg, old: Reg, kind: int, by: int, wide: bool) -> None:
    """What is learnt of the sum holds for the number it came from.

    Of negative offsets, differences and sums of 32 bits (of numbers that have no more), in 6.18.44 (7a433e519364).
    """
    off = by if kind == op.ADD else -by
    if not env.links_offsets or not S32_MIN <= by <= S32_MAX or off > S32_MAX:
        return
    if (by < 0 or kind == op.SUB or not wide) and env.profile.version < (6, 18):
        return
    if not wide and old.var.umax > U32:
        return
    new.id = old.id
    new.off = off
    new.linked = 64 if wide else 32


def _split(env: Env, insn: Instruction, dst: Reg, by: Scalar, at: int) -> Reg:
    """-1 or 0, as an arithmetic shift leaves it, is walked as two paths (seen on 6.18.44 and 6.12.117)."""
    if not env.rules.forks:
        return dst
    paths = fork(insn.opcode & op.OP_MASK, dst.var, by)
    if paths is None:
        return dst
    other = env.push(at)
    other.frames[-1].regs[insn.dst] = Reg(SCALAR, paths[1], dst.origin, dst.off, dst.id, linked=dst.linked)
    return Reg(SCALAR, paths[0], dst.origin, dst.off, dst.id, linked=dst.linked)


def check_fields(env: Env, insn: Instruction) -> None:
    """Fields an instruction does not use are zero; constants are in range (kernel: check_alu_op)."""
    opcode = insn.opcode
    kind = opcode & op.OP_MASK
    by_register = opcode & op.X
    wide = opcode & op.CLASS_MASK == op.ALU64
    if kind == op.NEG:
        if insn.src or insn.off or insn.imm or by_register:
            env.refuse("BPF_NEG uses reserved fields")
    elif kind == op.END:
        if insn.src or insn.off or insn.imm not in (16, 32, 64) or (wide and by_register):
            env.refuse("BPF_END uses reserved fields")
    elif kind == op.MOV:
        _check_move(env, insn, wide)
    else:
        signed_ok = kind in (op.DIV, op.MOD)
        unused = insn.imm if by_register else insn.src
        if unused or insn.off not in (0, 1) or (insn.off == 1 and not signed_ok):
            env.refuse("BPF_ALU uses reserved fields")
        _read(env, insn)
        if by_register:
            return
        if signed_ok and insn.imm == 0:
            env.refuse("div by zero")
        if kind in (op.LSH, op.RSH, op.ARSH) and not 0 <= insn.imm < (64 if wide else 32):
            env.refuse(f"invalid shift {insn.imm}")


def _read(env: Env, insn: Instruction) -> None:
    if insn.opcode & op.X:
        env.source(insn.src)
    env.source(insn.dst)


def _check_move(env: Env, insn: Instruction, wide: bool) -> None:
    off, imm = insn.off, insn.imm
    if not insn.opcode & op.X:
        if insn.src or off:
            env.refuse("BPF_MOV uses reserved fields")
    elif wide and off == op.ADDR_SPACE_CAST:
        if imm not in (1, 1 << 16):
            env.refuse("addr_space_cast insn can only convert between address space 1 and 0")
        if not any(m.type == ARENA_MAP for m in env.program.maps):
            env.refuse("addr_space_cast insn can only be used in a program that has an associated arena")
    elif off not in ((0, 8, 16, 32) if wide else (0, 8, 16)) or imm:
        env.refuse("BPF_MOV uses reserved fields")


ARENA_MAP = 33
