"""The log: the kernel's manner of writing states, instructions and the last words."""

from __future__ import annotations

from ..errors import IsaError
from ..isa import Instruction, format_instruction
from ._scalar import describe
from ._state import (
    MAP_KEY,
    MAP_PTR,
    MAP_VALUE,
    MEM,
    PACKET,
    PACKET_META,
    S_SPILL,
    SCALAR,
    STACK,
    Frame,
    Reg,
    Slot,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._env import Env
    from ._types import Program

LIMIT = 1 << 20  # characters
_BYTES = "?rm0diq"


class Log:
    """Lines as they come; with `level` 1 every instruction walked, with 2 the state before each as well."""

    def __init__(self, level: int, program: Program) -> None:
        self.level = level
        self.lines: list[str] = []
        self._size = 0
        self._source = {line.insn: line for line in program.lines}
        self._shown = ""

    def say(self, line: str) -> None:
        """One more line; beyond the limit the oldest go."""
        self.lines.append(line)
        self._size += len(line) + 1
        while self._size > LIMIT:
            self._size -= len(self.lines.pop(0)) + 1

    def instruction(self, env: Env, at: int) -> None:
        """The instruction about to be walked, with its source line."""
        if self.level < 1:
            return
        line = self._source.get(at)
        if line is not None:
            text = f"; {line.text.strip()} @ {line.file.rsplit('/', 1)[-1]}:{line.line}"
            if text != self._shown:
                self._shown = text
                self.say(text)
        insn = env.insns[at]
        second = env.insns[at + 1] if insn.is_wide and at + 1 < len(env.insns) else None
        self.say(f"{at}: ({insn.opcode:02x}) {_format(insn, second)}")

    def outcome(self, env: Env, at: int, used: int) -> None:
        """Behind the instruction's line: the registers it used, and the stack slot."""
        frame = env.frame
        parts = [f"R{n}={describe_reg(reg)}" for n, reg in enumerate(frame.regs) if used >> n & 1 and reg.kind]
        hist = env.state.hist
        if hist is not None and hist.slot >= 0 and hist.frame < len(env.state.frames):
            slot = env.state.frames[hist.frame].stack.get(hist.slot)
            if slot is not None:
                parts.append(_describe_slot(hist.slot, slot))
        if env.state.refs:
            parts.append("refs=" + ",".join([str(r[0]) for r in env.state.refs]))
        if parts and self.lines:
            self.lines[-1] = f"{self.lines[-1]:<38}; {' '.join(parts)}"

    def state(self, at: int, frame: Frame, number: int) -> None:
        """All that is known, as `3: R0=... R1=ctx() R10=fp0`."""
        self.say(f"{at}: {describe_frame(frame, number)}")

    def text_of(self, frame: Frame, number: int) -> str:
        """The state of a frame, on one line."""
        return describe_frame(frame, number)

    def text(self) -> str:
        """The whole log."""
        return "\n".join(self.lines) + "\n" if self.lines else ""


def _format(insn: Instruction, second: Instruction | None) -> str:
    try:
        return format_instruction(insn, second)
    except IsaError:
        return "invalid instruction"


def describe_frame(frame: Frame, number: int) -> str:
    """Registers that hold something, then stack slots."""
    parts = [f"frame{number}:"] if number else []
    parts += [f"R{n}={describe_reg(reg)}" for n, reg in enumerate(frame.regs) if reg.kind]
    for spi in sorted(frame.stack):
        if any(frame.stack[spi].types):
            parts.append(_describe_slot(spi, frame.stack[spi]))
    return " ".join(parts)


def _describe_slot(spi: int, slot: Slot) -> str:
    if slot.types[7] == S_SPILL and slot.reg is not None:
        return f"fp-{spi * 8 + 8}={describe_reg(slot.reg)}"
    return f"fp-{spi * 8 + 8}=" + "".join([_BYTES[t] for t in slot.types])


def describe_reg(reg: Reg) -> str:
    """One register as the kernel prints it, such as `map_value(off=8,ks=4,vs=16)` or `scalar(umax=255)`."""
    if reg.kind == SCALAR:
        known = describe(reg.var)
        if not reg.var.mask:
            return known
        parts = [f"id={reg.id}{f'+{reg.off}' if reg.linked else ''}"] if reg.id else []
        return f"scalar({','.join(parts + ([known] if known else []))})"
    if reg.kind == STACK and not reg.var.mask and not reg.var.value:
        return f"fp{reg.off}"
    parts = []
    if reg.id:
        parts.append(f"id={reg.id}")
    if reg.ref:
        parts.append(f"ref_obj_id={reg.ref}")
    if reg.off:
        parts.append(f"off={reg.off}")
    parts += _details(reg)
    if reg.var.mask or reg.var.value:
        parts.append(describe(reg.var))
    return f"{reg.name}({','.join(parts)})"


def _details(reg: Reg) -> list[str]:
    if reg.kind in (PACKET, PACKET_META):
        return [f"r={reg.size}"]
    if reg.kind in (MAP_PTR, MAP_VALUE, MAP_KEY) and reg.map is not None:
        return [f"map={reg.map.name}"] * bool(reg.map.name) + [f"ks={reg.map.key_size}", f"vs={reg.map.value_size}"]
    if reg.kind == MEM:
        return [f"sz={reg.size}"]
    return []
