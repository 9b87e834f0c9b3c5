"""Loops that will use up the budget: seen early instead of walked a million instructions long.

The walk is periodic when the last rounds through a checkpoint's instruction took the same path at the same cost.
Whatever changes from round to round either decides nothing, or counts in even steps towards a bound that is too far
away. Then the kernel, which walks all of it, refuses: the limits on instructions and on pending branches are the only
ways out.
"""

from __future__ import annotations

import itertools

from ..isa import op
from ._env import E2BIG, PENDING_LIMIT
from ._scalar import S64_MAX, S64_MIN, Scalar, const
from ._scalar_branch import decide
from ._state import SCALAR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._env import Env
    from ._state import Checkpoint, History, Reg

    Place = tuple[int, bool, int]  # frame, is slot, number
    Linear = tuple[Place, int]

FROM = 20_000  # instructions walked before the first look
ROUNDS = 8
_BAD = ((-1, False, -1), 0)


def look(env: Env, last: Checkpoint) -> None:
    """Called when a checkpoint was made: refuse if the loop it lies in cannot end within the limits."""
    rounds = _rounds(last)
    if rounds is None:
        env.next_look[last.pc] = env.processed * 5 // 4
        return
    newest, before = rounds[0], rounds[1]
    cost = newest.walked - before.walked
    more = newest.waiting - before.waiting
    left = (env.limit - env.processed) // cost + 2
    if more > 0:
        left = min(left, (PENDING_LIMIT - len(env.pending)) // more + 2)
    if not _goes_on(env, rounds, left):
        env.next_look[last.pc] = env.processed * 5 // 4
        return
    if more > 0 and (PENDING_LIMIT - len(env.pending)) // more * cost < env.limit - env.processed:
        env.refuse(f"The sequence of {PENDING_LIMIT + 1} jumps is too complex.", E2BIG)
    env.processed = env.limit + 1
    env.refuse(f"BPF program is too large. Processed {env.processed} insn", E2BIG)


def _rounds(last: Checkpoint) -> list[Checkpoint] | None:
    """The last checkpoints at this instruction on the path, newest first, if they are evenly spaced."""
    found = [last]
    kept = last.parent
    while kept is not None and len(found) < ROUNDS:
        if kept.pc == last.pc and len(kept.frames) == len(last.frames):
            found.append(kept)
        kept = kept.parent
    if len(found) < ROUNDS:
        return None
    costs = {(a.walked - b.walked, a.waiting - b.waiting) for a, b in itertools.pairwise(found)}
    if len(costs) != 1:
        return None
    path = _path(found[1], found[0])
    insns = [h.insn for h in path]
    for new, old in itertools.pairwise(found):
        if [h.insn for h in _path(old, new)] != insns:
            return None
    return found


def _path(old: Checkpoint, new: Checkpoint) -> list[History]:
    out: list[History] = []
    kept: Checkpoint | None = new
    while kept is not None and kept is not old:
        hist = kept.hist
        while hist is not None:
            out.append(hist)
            hist = hist.before
        kept = kept.parent
    out.reverse()
    return out


def _places(state: Checkpoint) -> dict[Place, Reg]:
    out: dict[Place, Reg] = {}
    for n, frame in enumerate(state.frames):
        for number in range(10):
            out[n, False, number] = frame.regs[number]
        for spi, slot in frame.stack.items():
            if slot.reg is not None:
                out[n, True, spi] = slot.reg
    return out


def _goes_on(env: Env, rounds: list[Checkpoint], left: int) -> bool:
    """Whether no branch of the round can turn out differently within `left` more rounds."""
    newest, before = _places(rounds[0]), _places(rounds[1])
    values: dict[Place, Linear] = {}
    for place, reg in newest.items():
        old = before.get(place)
        if old is None or not (old is reg or old.same(reg)):
            values[place] = (place, 0)
    steps = _Steps(rounds, left)
    path = _path(rounds[1], rounds[0])
    depth = len(rounds[0].frames) - 1
    for at, hist in enumerate(path):
        after = path[at + 1].insn if at + 1 < len(path) else rounds[0].pc
        insn = env.insns[hist.insn]
        cls = insn.opcode & op.CLASS_MASK
        if cls in (op.JMP, op.JMP32):
            kind = insn.opcode & op.OP_MASK
            if kind == op.CALL:
                depth = _call(values, depth, insn.src == op.PSEUDO_CALL and after != hist.insn + 1)
            elif kind == op.EXIT:
                depth = _return(values, depth)
            elif kind != op.JA and not _same_outcome(env, hist.insn, values, depth, steps):
                return False
        else:
            _effect(env, hist, values, depth)
    return True


def _call(values: dict[Place, Linear], depth: int, enters: bool) -> int:
    if enters:
        for number in range(1, 6):
            value = values.get((depth, False, number))
            if value is not None:
                values[depth + 1, False, number] = value
    for number in range(6):
        values.pop((depth, False, number), None)
    return depth + 1 if enters else depth


def _return(values: dict[Place, Linear], depth: int) -> int:
    result = values.get((depth, False, 0))
    for place in [p for p in values if p[0] >= depth]:
        del values[place]
    if result is not None:
        values[depth - 1, False, 0] = result
    return depth - 1


def _effect(env: Env, hist: History, values: dict[Place, Linear], depth: int) -> None:
    insn = env.insns[hist.insn]
    cls = insn.opcode & op.CLASS_MASK
    dst = (depth, False, insn.dst)
    src = values.get((depth, False, insn.src))
    slot = (hist.frame, True, hist.slot) if hist.slot >= 0 else None
    new: Linear | None
    if cls in (op.ALU, op.ALU64):
        new = _arithmetic(insn.opcode, insn.imm, values.get(dst), src, insn.off)
    elif cls == op.LDX:
        new = values.get(slot) if slot is not None else None
    elif cls in (op.ST, op.STX):
        if slot is not None:
            _set(values, slot, src if cls == op.STX and insn.opcode & op.MODE_MASK == op.MEM else None)
        if cls != op.STX or insn.opcode & op.MODE_MASK == op.MEM or not insn.imm & op.FETCH:
            return
        dst, new = (depth, False, 0 if insn.imm == op.CMPXCHG else insn.src), None
    else:
        new = None
    _set(values, dst, new)


def _set(values: dict[Place, Linear], place: Place, value: Linear | None) -> None:
    if value is None:
        values.pop(place, None)
    else:
        values[place] = value


def _arithmetic(opcode: int, imm: int, dst: Linear | None, src: Linear | None, off: int) -> Linear | None:
    kind = opcode & op.OP_MASK
    wide = opcode & op.CLASS_MASK == op.ALU64
    by_register = opcode & op.X and kind not in (op.NEG, op.END)
    if kind == op.MOV:
        if not by_register:
            return None
        return src if wide and not off else (_BAD if src is not None else None)
    if dst is None and not (by_register and src is not None):
        return None
    if wide and not by_register and dst is not None and dst is not _BAD and kind in (op.ADD, op.SUB):
        return dst[0], dst[1] + (imm if kind == op.ADD else -imm)
    return _BAD


def _same_outcome(env: Env, at: int, values: dict[Place, Linear], depth: int, steps: _Steps) -> bool:
    insn = env.insns[at]
    kind = insn.opcode & op.OP_MASK
    if kind == op.JCOND:
        return False
    value = values.get((depth, False, insn.dst))
    other = values.get((depth, False, insn.src)) if insn.opcode & op.X else None
    if value is None and other is None:
        return True
    if value is None or value is _BAD or insn.opcode & op.X or insn.opcode & op.CLASS_MASK != op.JMP:
        return False
    return steps.keeps(value, kind, insn.imm)


class _Steps:
    """How places changed over the last rounds, and where they will be after `left` more."""

    def __init__(self, rounds: list[Checkpoint], left: int) -> None:
        self._history = [_places(r) for r in rounds]
        self._left = left

    def keeps(self, value: Linear, kind: int, imm: int) -> bool:
        """Whether `place + offset kind imm` comes out the same in every one of the coming rounds."""
        place, offset = value
        regs = [h.get(place) for h in self._history]
        scalars = [r.var for r in regs if r is not None and r.kind == SCALAR]
        if len(scalars) != len(regs):
            return False
        if all(not s.mask for s in scalars):
            return self._constant(scalars, offset, kind, imm)
        return self._range(scalars, offset, kind, imm)

    def _constant(self, scalars: list[Scalar], offset: int, kind: int, imm: int) -> bool:
        numbers = [s.smin for s in scalars]
        steps = {a - b for a, b in itertools.pairwise(numbers)}
        if len(steps) != 1:
            return False
        step = steps.pop()
        first = numbers[0] + offset
        last = first + step * self._left
        if not (S64_MIN <= last <= S64_MAX and (first < 0) == (last < 0)):
            return False
        if kind in (op.JEQ, op.JNE):
            away = imm - first
            return not (step and away % step == 0 and 0 <= away // step <= self._left)
        if kind == op.JSET:
            return False
        bound = const(imm)
        return decide(kind, const(first), bound, True) == decide(kind, const(last), bound, True)

    def _range(self, scalars: list[Scalar], offset: int, kind: int, imm: int) -> bool:
        """Ranges that shrink or move slowly keep both outcomes possible."""
        if offset:
            scalars = [_shifted(s, offset) for s in scalars]
        now, then = scalars[0], scalars[1]
        if now.mask != then.mask or now.value != then.value:
            return False
        if decide(kind, now, const(imm), True) is not None:
            return False
        ends = []
        for name in ("smin", "smax", "umin", "umax"):
            numbers = [getattr(s, name) for s in scalars]
            steps = {a - b for a, b in itertools.pairwise(numbers)}
            if len(steps) != 1:
                return False
            ends.append(numbers[0] + steps.pop() * self._left)
        smin, smax, umin, umax = ends
        if not (S64_MIN <= smin <= smax <= S64_MAX and 0 <= umin <= umax < 1 << 64):
            return False
        after = Scalar(now.value, now.mask, smin, smax, umin, umax, now.s32min, now.s32max, now.u32min, now.u32max)
        return decide(kind, after, const(imm), True) is None


def _shifted(s: Scalar, offset: int) -> Scalar:
    from ._scalar_alu import alu

    return alu(op.ADD, s, const(offset), True)
