"""Which opcodes there are and which fields each uses: what neither engine could run is refused when code is loaded.

This is not verification: it makes sure that every slot that can be reached is an instruction and that control stays
inside of its function, so that engines need no such checks of their own.
"""

from __future__ import annotations

from ..errors import NotSupported, VmError
from ..isa import op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction

D, S, O, I, WRITES = 1, 2, 4, 8, 16  # noqa: E741 - the fields' usual letters
_ATOMIC_PLAIN = (op.ADD, op.OR, op.AND, op.XOR)
_ATOMICS = frozenset([*_ATOMIC_PLAIN, *[a | op.FETCH for a in _ATOMIC_PLAIN], op.XCHG, op.CMPXCHG])
_ORDERED = (op.LOAD_ACQ, op.STORE_REL)
MAY_GOTO = op.JMP | op.JCOND
CALL, CALLX, EXIT = op.JMP | op.CALL, op.JMP | op.CALL | op.X, op.JMP | op.EXIT
JA, JA32 = op.JMP | op.JA, op.JMP32 | op.JA


def _fields() -> dict[int, int]:
    out: dict[int, int] = {op.LD_IMM64: D | S | I | WRITES}
    for cls in (op.ALU, op.ALU64):
        for code in range(0, 0xE0, 0x10):
            sub = O if code in (op.DIV, op.MOD) else 0
            out[cls | code | op.K] = D | I | sub | WRITES
            out[cls | code | op.X] = D | S | (O if code == op.MOV else sub) | WRITES
        out[cls | op.NEG] = D | WRITES
        del out[cls | op.NEG | op.X]
    out[op.ALU | op.END] = out[op.ALU | op.END | op.X] = out[op.ALU64 | op.END] = D | I | WRITES
    del out[op.ALU64 | op.END | op.X]
    for cls in (op.JMP, op.JMP32):
        for code in (*range(op.JEQ, op.CALL, 0x10), *range(op.JLT, op.JCOND, 0x10)):
            out[cls | code | op.K] = D | I | O
            out[cls | code | op.X] = D | S | O
    out |= {JA: O, JA32: I, CALL: S | I, CALLX: D, EXIT: 0, MAY_GOTO: O}
    for size in (op.W, op.H, op.B, op.DW):
        out[op.LDX | op.MEM | size] = D | S | O | WRITES
        out[op.ST | op.MEM | size] = D | O | I
        out[op.STX | op.MEM | size] = out[op.STX | op.ATOMIC | size] = D | S | O
        if size != op.DW:
            out[op.LDX | op.MEMSX | size] = D | S | O | WRITES
            out[op.LD | op.ABS | size] = I
            out[op.LD | op.IND | size] = S | I
    for size in (op.W, op.H, op.B, op.DW):
        out[op.STX | op.ATOMIC | size] = D | S | O | I
    return out


FIELDS = _fields()


def check(i: Instruction, slot: int, program: str) -> None:
    """VmError unless `i` is an instruction whose unused fields are zero, and that leaves r10 alone."""
    fields = FIELDS.get(i.opcode)
    if fields is None:
        raise _bad(i, slot, program, "no such instruction")
    if i.dst > 10 or i.src > 10:
        raise _bad(i, slot, program, "registers are r0 to r10")
    if not ((fields & D or not i.dst) and (fields & S or not i.src) and (fields & O or not i.off)):
        raise _bad(i, slot, program, "a field that it does not use is not zero")
    if i.imm and not fields & I:
        raise _bad(i, slot, program, "a field that it does not use is not zero")
    if i.dst == 10 and fields & WRITES:
        raise _bad(i, slot, program, "the frame pointer cannot be changed")
    special = _SPECIAL.get(i.opcode & (op.CLASS_MASK if i.opcode & op.CLASS_MASK == op.STX else 0xFF))
    if special is not None:
        why = special(i)
        if why:
            raise _bad(i, slot, program, why)


def _bad(i: Instruction, slot: int, program: str, why: str) -> VmError:
    return VmError(f"load {program}: instruction {slot} (opcode {i.opcode:#04x}): {why}", program=program)


def _move(i: Instruction) -> str:
    wide = i.opcode & op.CLASS_MASK == op.ALU64
    if wide and i.off in (op.ADDR_SPACE_CAST, op.ADDR_PERCPU):
        raise NotSupported("load program: casts between address spaces need an arena", feature="arena")
    return "" if i.off in ((0, 8, 16, 32) if wide else (0, 8, 16)) else "no such width of a sign extension"


def _divide(i: Instruction) -> str:
    return "" if i.off in (0, 1) else "the offset of a division is 0 or 1 (signed)"


def _swap(i: Instruction) -> str:
    return "" if i.imm in (16, 32, 64) else "bytes are swapped in 16, 32 or 64 bits"


def _store(i: Instruction) -> str:
    if i.opcode & op.MODE_MASK != op.ATOMIC:
        return ""
    if i.imm in _ORDERED:
        return "the frame pointer cannot be changed" if i.imm == op.LOAD_ACQ and i.dst == 10 else ""
    if i.imm not in _ATOMICS:
        return "no such atomic operation"
    if i.src == 10 and i.imm & op.FETCH and i.imm != op.CMPXCHG:
        return "the frame pointer cannot be changed"
    return "" if i.opcode & op.SIZE_MASK in (op.W, op.DW) else "atomic operations are on 4 or 8 bytes"


def _call(i: Instruction) -> str:
    if i.src == op.PSEUDO_KFUNC_CALL:
        raise NotSupported(f"load program: kernel function {i.imm} does not exist in user space", feature="kfunc")
    return "" if i.src in (0, op.PSEUDO_CALL) else "no such kind of call"


_SPECIAL = {
    op.STX: _store,
    CALL: _call,
    op.ALU64 | op.END: _swap,
    op.ALU | op.END: _swap,
    op.ALU | op.END | op.X: _swap,
    **{c | op.MOV | op.X: _move for c in (op.ALU, op.ALU64)},
    **{c | o | s: _divide for c in (op.ALU, op.ALU64) for o in (op.DIV, op.MOD) for s in (op.K, op.X)},
}


def target(i: Instruction, slot: int) -> int | None:
    """Where a jump may go, None for what is no jump."""
    cls = i.opcode & op.CLASS_MASK
    if cls not in (op.JMP, op.JMP32) or i.opcode in (CALL, CALLX, EXIT):
        return None
    return slot + 1 + (i.imm if i.opcode == JA32 else i.off)


def falls_through(i: Instruction) -> bool:
    """Whether the next slot may follow."""
    return i.opcode not in (JA, JA32, EXIT)
