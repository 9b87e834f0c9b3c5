"""Instructions that older kernels do not know, and how they say so.

An opcode that a kernel has never heard of is refused before anything else (`unknown`); a field that had to be zero is
refused when the walk comes to the instruction (`reserved`), but of loads at once.
"""

from __future__ import annotations

from ..isa import op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._profile import Profile

_JMP32 = (5, 1)  # 092ed0968bb6
_ATOMICS = (5, 12)  # 5ca419f2864a
_V4 = (6, 6)  # 1f9a1ea821ff, 8100928c8814, 0845c3db7bf5, ec0e2da95f72, 4cd58e9af8b9
_MAY_GOTO = (6, 9)  # 011832b97b31
_ADDRESS_SPACES = (6, 9)  # 6082b6c328b5
_MAY_GOTO_0 = (6, 14)  # may_goto to the next instruction
_ACQUIRE = (6, 15)  # 880442305a39
# 64-bit loads: what `src` says of the number, and since when.
LOADS_SINCE: dict[int, tuple[int, int]] = {
    0: (3, 18), 1: (3, 18), 2: (5, 2), 3: (5, 8), 4: (5, 13), 5: (5, 14), 6: (5, 14),
}  # fmt: skip
_CALLS_SINCE: dict[int, tuple[int, int]] = {0: (3, 18), 1: (4, 16), 2: (5, 13)}


def unknown(insn: Instruction, profile: Profile) -> str:
    """The line that refuses an instruction before the walk, "" if the kernel knows it (or no kernel does)."""
    version, code = profile.version, insn.opcode
    cls = code & op.CLASS_MASK
    missing = (
        (cls == op.JMP32 and version < _JMP32)
        or (code == op.ALU64 | op.END and version < _V4)
        or (code == op.JMP | op.JCOND and version < _MAY_GOTO)
        or (code in (op.STX | op.ATOMIC | op.B, op.STX | op.ATOMIC | op.H) and version < _ACQUIRE)
    )
    if missing:
        return f"unknown opcode {code:02x}"
    if cls == op.LDX and code & op.MODE_MASK == op.MEMSX and version < _V4:
        return "BPF_LDX uses reserved fields"
    if code == op.LD_IMM64 and version < LOADS_SINCE.get(insn.src, (0, 0)):
        return "unrecognized bpf_ld_imm64 insn"
    return ""


def reserved(insn: Instruction, profile: Profile) -> str:
    """The line that refuses an instruction when the walk comes to it, "" if nothing newer than the kernel is in it."""
    version, code = profile.version, insn.opcode
    cls, operation = code & op.CLASS_MASK, code & op.OP_MASK
    if version >= _ACQUIRE:
        return ""
    if cls in (op.ALU, op.ALU64):
        return _alu(insn, version, operation)
    if cls in (op.JMP, op.JMP32):
        return _jump(insn, version, operation)
    if code in (op.STX | op.ATOMIC | op.W, op.STX | op.ATOMIC | op.DW):
        if version < _ATOMICS and insn.imm != op.ADD:
            return "BPF_XADD uses reserved fields"
        if insn.imm in (op.LOAD_ACQ, op.STORE_REL):
            return f"BPF_ATOMIC uses invalid atomic opcode {insn.imm:02x}"
    return ""


def _alu(insn: Instruction, version: tuple[int, int], operation: int) -> str:
    if not insn.off:
        return ""
    if operation == op.MOV and insn.opcode & op.X:
        cast = insn.opcode & op.CLASS_MASK == op.ALU64 and insn.off == 1
        if version < (_ADDRESS_SPACES if cast else _V4):
            return "BPF_MOV uses reserved fields"
    if operation in (op.DIV, op.MOD) and version < _V4:
        return "BPF_ALU uses reserved fields"
    return ""


def _jump(insn: Instruction, version: tuple[int, int], operation: int) -> str:
    cls = insn.opcode & op.CLASS_MASK
    if operation == op.JA and cls == op.JMP32 and insn.imm and version < _V4:
        return "BPF_JA uses reserved fields"
    if cls != op.JMP:
        return ""
    if operation == op.CALL and version < _CALLS_SINCE.get(insn.src, (0, 0)):
        return "BPF_CALL uses reserved fields"
    if insn.opcode == op.JMP | op.JCOND and not insn.off and version < _MAY_GOTO_0:
        return f"invalid may_goto off {insn.off} imm {insn.imm}"
    return ""
