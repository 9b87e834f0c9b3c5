"""One instruction slot, and programs from and to bytes."""

from __future__ import annotations

from struct import Struct, error

from ..errors import IsaError
from ._opcodes import LD_IMM64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SLOT = 8
_SLOT = Struct("<BBhi")


class Instruction:
    """One 8-byte slot: `opcode`, `dst` and `src` registers, signed 16-bit `off`, signed 32-bit `imm`.

    A 64-bit load (`is_wide`) fills two slots; the second has opcode 0 and the upper half of the number in `imm`,
    so that indices and jump offsets count slots, as the kernel's do.
    """

    __slots__ = ("dst", "imm", "off", "opcode", "src")

    def __init__(self, opcode: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        self.opcode = opcode
        self.dst = dst
        self.src = src
        self.off = off
        self.imm = imm

    @property
    def is_wide(self) -> bool:
        """Whether this is the first slot of a 64-bit immediate load."""
        return self.opcode == LD_IMM64

    def encode(self) -> bytes:
        """The 8 bytes; IsaError when a field does not fit. An unsigned 32-bit `imm` is taken as its bits."""
        imm = self.imm
        if not (0 <= self.dst < 16 and 0 <= self.src < 16):
            raise IsaError(f"encode instruction {self!r}: a register number does not fit 4 bits")
        if 1 << 31 <= imm < 1 << 32:
            imm -= 1 << 32
        try:
            return _SLOT.pack(self.opcode, self.dst | self.src << 4, self.off, imm)
        except error as e:
            raise IsaError(f"encode instruction {self!r}: {e}") from None

    def __repr__(self) -> str:
        return f"Instruction({self.opcode:#04x}, dst={self.dst}, src={self.src}, off={self.off}, imm={self.imm})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Instruction):
            return NotImplemented
        return (self.opcode, self.dst, self.src, self.off, self.imm) == (
            other.opcode,
            other.dst,
            other.src,
            other.off,
            other.imm,
        )

    def __hash__(self) -> int:
        return hash((self.opcode, self.dst, self.src, self.off, self.imm))


def decode(data: bytes) -> list[Instruction]:
    """One Instruction per slot. IsaError unless `data` is whole slots and every 64-bit load has both of its own.

    Opcodes are not judged: that is the verifier's work (and the disassembler's).
    """
    if len(data) % SLOT:
        raise IsaError(f"decode program: {len(data)} bytes are no whole number of instructions", offset=len(data))
    out = [Instruction(op, regs & 15, regs >> 4, off, imm) for op, regs, off, imm in _SLOT.iter_unpack(data)]
    at = 0
    while at < len(out):
        if out[at].opcode == LD_IMM64:
            at += 1
            if at == len(out):
                raise IsaError("decode program: the last instruction is half a 64-bit load", offset=len(data) - SLOT)
            second = out[at]
            if second.opcode or second.dst or second.src or second.off:
                raise IsaError(f"decode program: slot {at} is no second half of a 64-bit load", offset=at * SLOT)
        at += 1
    return out


def encode(instructions: Iterable[Instruction]) -> bytes:
    """The bytes of a program; IsaError when a field of an instruction does not fit."""
    return b"".join([i.encode() for i in instructions])


def load_imm64(dst: int, value: int, src: int = 0) -> list[Instruction]:
    """Both slots of `dst = value` with a 64-bit number, signed or unsigned; `src` is a PSEUDO_*."""
    if not -(1 << 63) <= value < 1 << 64:
        raise IsaError(f"encode instruction: {value} does not fit 64 bits")
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    low -= low >> 31 << 32
    high -= high >> 31 << 32
    return [Instruction(LD_IMM64, dst, src, 0, low), Instruction(0, 0, 0, 0, high)]
