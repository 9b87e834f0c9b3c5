"""Which scalars mattered: walk the history backwards and mark them in the checkpoints it passes.

A checkpoint's scalar without a mark is taken for equal to any other, which is what makes pruning work
(kernel: mark_chain_precision).
"""

from __future__ import annotations

from ..isa import op
from ._state import SCALAR, is_spill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._env import Env
    from ._state import Checkpoint, History

ARGS = 0x3E
_ALWAYS = 1 << 16


def mark_precise(env: Env, number: int) -> None:
    """The value of this register of the innermost frame decides something at the instruction at hand."""
    if env.regs[number].kind != SCALAR:
        return
    parent = env.state.parent
    if parent is None:
        return
    count = len(env.state.frames)
    regs = [0] * count
    regs[-1] = 1 << number
    hist = env.state.hist
    Backtrack(env, regs, [0] * count).run(hist.before if hist is not None else None, parent, env.pc)


def mark_slot_precise(env: Env, frame: int, slot: int) -> None:
    """The same for a stack slot."""
    parent = env.state.parent
    if parent is None:
        return
    count = len(env.state.frames)
    slots = [0] * count
    slots[frame] = 1 << slot
    hist = env.state.hist
    Backtrack(env, [0] * count, slots).run(hist.before if hist is not None else None, parent, env.pc)


def propagate(env: Env, old: Checkpoint, hist: History | None, parent: Checkpoint | None, pc: int) -> bool:
    """A path ended at `old`: what mattered behind it matters on this path too. False if there was nothing."""
    regs, slots = old.precise_regs.copy(), old.precise_slots.copy()
    if parent is None or not (any(regs) or any(slots)):
        return False
    return Backtrack(env, regs, slots).run(hist, parent, pc)


def _backward(insn: Instruction) -> tuple[int, int, int]:
    """What an instruction is to backtracking, as sets of registers of the innermost frame: those that make it matter if
    one of them is tracked, or _ALWAYS; then those that stay tracked, and those that are tracked as well.

    Nothing stays where there is more to be done. Spills and fills matter for the slot, too.
    """
    opcode = insn.opcode
    cls, kind = opcode & op.CLASS_MASK, opcode & op.OP_MASK
    dst = 1 << insn.dst
    src = 1 << insn.src if opcode & op.X and insn.src != 10 else 0
    if cls in (op.ALU, op.ALU64):
        if kind in (op.END, op.NEG):
            return 0, -1, 0
        if kind == op.MOV:
            return dst, ~dst, src
        return (dst, -1, src) if src else (0, -1, 0)
    if cls in (op.JMP, op.JMP32):
        if kind in (op.CALL, op.EXIT):
            return _ALWAYS, 0, 0
        return (dst | src, ~(1 << 10), dst & ~(1 << 10) | src) if opcode & op.X and kind != op.JA else (0, -1, 0)
    if cls == op.LDX or opcode == op.LD_IMM64:
        return dst, ~dst, 0
    return dst, 0, 0


class Backtrack:
    """Registers and slots that still have to be tracked, per frame; frames grow and shrink on the way back."""

    __slots__ = ("changed", "code", "env", "regs", "slots")

    def __init__(self, env: Env, regs: list[int], slots: list[int]) -> None:
        self.env = env
        self.code = env.code
        self.regs = regs
        self.slots = slots
        self.changed = False

    def run(self, hist: History | None, parent: Checkpoint | None, after: int) -> bool:
        """Go back from `hist` through `parent` and those before; `after` is the instruction executed next.

        Returns whether any mark was new.
        """
        if self.env.backward is None:
            self.env.backward = [_backward(insn) for insn in self.code.insns]
        backward, regs, slots = self.env.backward, self.regs, self.slots
        while True:
            own = regs[-1] | _ALWAYS
            while hist is not None:
                at = hist.insn
                touched, kept, added = backward[at]
                # Most instructions have nothing to do with what is tracked.
                if touched & own or hist.linked or (hist.slot >= 0 and slots[hist.frame] >> hist.slot & 1):
                    if kept and hist.slot < 0 and not hist.linked:
                        own = own & kept | added
                    else:
                        regs[-1] = own ^ _ALWAYS
                        if not self._step(hist, after):
                            self._mark_all(parent)
                            return True
                        own = regs[-1] | _ALWAYS
                    if own == _ALWAYS:
                        regs[-1] = 0
                        if not any(regs) and not any(slots):
                            return self.changed
                after = at
                hist = hist.before
            regs[-1] = own ^ _ALWAYS
            if parent is None:
                return self.changed
            if not self._mark(parent):
                return self.changed
            hist = parent.hist
            parent = parent.parent

    def _mark(self, state: Checkpoint) -> bool:
        """Set the marks in a checkpoint; whether there is more to do."""
        if len(state.frames) != len(self.regs):
            self._mark_all(state)
            return False
        more = False
        for n, frame in enumerate(state.frames):
            regs, slots = self.regs[n], self.slots[n]
            if regs:
                regs &= ~state.precise_regs[n]
                for number in range(10):
                    if regs >> number & 1 and frame.regs[number].kind != SCALAR:
                        regs &= ~(1 << number)
                state.precise_regs[n] |= regs
                self.regs[n] = regs
            if slots:
                slots &= ~state.precise_slots[n]
                for spi in range(64):
                    if slots >> spi & 1:
                        slot = frame.stack.get(spi)
                        if slot is None or not is_spill(slot) or slot.reg is None or slot.reg.kind != SCALAR:
                            slots &= ~(1 << spi)
                state.precise_slots[n] |= slots
                self.slots[n] = slots
            more = more or bool(regs or slots)
        if more:
            self.changed = True
        return more

    def _mark_all(self, state: Checkpoint | None) -> None:
        """Tracking lost its way: every scalar of every earlier state counts."""
        while state is not None and not state.all_precise:
            state.all_precise = True
            for n, frame in enumerate(state.frames):
                state.precise_regs[n] |= sum(1 << r for r in range(10) if frame.regs[r].kind == SCALAR)
                for spi, slot in frame.stack.items():
                    if is_spill(slot) and slot.reg is not None and slot.reg.kind == SCALAR:
                        state.precise_slots[n] |= 1 << spi
            state = state.parent

    def _step(self, hist: History, after: int) -> bool:
        """Undo one instruction; False if that cannot be done."""
        if hist.linked:
            self._sync(hist)
        insn = self.code.insns[hist.insn]
        cls = insn.opcode & op.CLASS_MASK
        regs = self.regs
        ok = True
        if cls in (op.ALU, op.ALU64):
            if regs[-1] >> insn.dst & 1:
                self._arithmetic(insn.opcode, insn.dst, insn.src)
        elif cls == op.LDX:
            if regs[-1] >> insn.dst & 1:
                self._load(hist, insn.dst)
        elif cls in (op.ST, op.STX):
            ok = self._store(hist, cls, insn.dst, insn.src, insn.opcode, insn.imm)
        elif cls in (op.JMP, op.JMP32):
            ok = self._jump(hist, after)
        elif regs[-1] >> insn.dst & 1:
            regs[-1] &= ~(1 << insn.dst)
            ok = insn.opcode & op.MODE_MASK not in (op.IND, op.ABS)
        if hist.linked:
            self._sync(hist)
        return ok

    def _sync(self, hist: History) -> None:
        """What was learnt of one register was learnt of all that shared its identity."""
        for frame, is_slot, number in hist.linked:
            if (self.slots if is_slot else self.regs)[frame] >> number & 1:
                break
        else:
            return
        for frame, is_slot, number in hist.linked:
            (self.slots if is_slot else self.regs)[frame] |= 1 << number

    def _arithmetic(self, opcode: int, dst: int, src: int) -> None:
        kind = opcode & op.OP_MASK
        if kind in (op.END, op.NEG):
            return
        regs = self.regs
        if kind == op.MOV:
            regs[-1] &= ~(1 << dst)
        if opcode & op.X and src != 10:
            regs[-1] |= 1 << src

    def _load(self, hist: History, dst: int) -> None:
        self.regs[-1] &= ~(1 << dst)
        if hist.slot >= 0:
            self.slots[hist.frame] |= 1 << hist.slot

    def _store(self, hist: History, cls: int, dst: int, src: int, opcode: int, imm: int) -> bool:
        if opcode & op.MODE_MASK == op.ATOMIC and imm == op.LOAD_ACQ:
            if self.regs[-1] >> dst & 1:
                self._load(hist, dst)
            return True
        if self.regs[-1] >> dst & 1:
            return False
        if hist.slot >= 0 and self.slots[hist.frame] >> hist.slot & 1:
            self.slots[hist.frame] &= ~(1 << hist.slot)
            if cls == op.STX:
                self.regs[-1] |= 1 << src
        return True

    def _jump(self, hist: History, after: int) -> bool:
        insn = self.code.insns[hist.insn]
        kind = insn.opcode & op.OP_MASK
        regs = self.regs
        if kind == op.CALL:
            return self._call(hist.insn, after)
        if kind == op.EXIT:
            return self._exit(after)
        if kind != op.JA and insn.opcode & op.X and regs[-1] & (1 << insn.dst | 1 << insn.src):
            regs[-1] |= 1 << insn.src | 1 << insn.dst
            regs[-1] &= ~(1 << 10)
        return True

    def _call(self, at: int, after: int) -> bool:
        insn = self.code.insns[at]
        regs = self.regs
        if insn.src == op.PSEUDO_CALL and after != at + 1:
            if regs[-1] & ~ARGS or self.slots[-1] or len(regs) < 2:
                return False
            given = regs.pop() & ARGS
            regs[-1] |= given
            self.slots.pop()
            return True
        if insn.src != op.PSEUDO_CALL and after != at + 1:  # into a callback
            if regs[-1] & ~ARGS or self.slots[-1] or len(regs) < 2:
                return False
            regs.pop()
            self.slots.pop()
            return True
        regs[-1] &= ~1
        return not regs[-1] & ARGS

    def _exit(self, after: int) -> bool:
        regs = self.regs
        if self.code.callback[after]:
            regs[-1] &= ~ARGS
        if regs[-1] & ARGS:
            return False
        before = self.code.insns[after - 1] if after else None
        result = before is not None and before.opcode == op.JMP | op.CALL and before.src == op.PSEUDO_CALL
        inner = 1 if result and regs[-1] & 1 else 0
        regs[-1] &= ~1
        regs.append(inner)
        self.slots.append(0)
        return True
