"""Loops that will use up the budget: seen early instead of walked a million instructions long.

The walk is periodic when the last rounds through a checkpoint's instruction took the same path at the same cost.
Whatever changes from round to round either decides nothing, or counts in even steps towards a bound that is too far
away: a number, or a register of which one possible value (a witness) keeps the loop going for long enough, whatever
comparisons teach of it. Then the kernel, which walks all of it, refuses: the limits on instructions and on pending
branches are the only ways out. Paths that leave the loop do not count, since they may become cheaper.
"""

from __future__ import annotations

import itertools

from ..isa import op
from ._env import E2BIG, PENDING_LIMIT
from ._scalar import S64_MAX, S64_MIN, Scalar, const
from ._scalar_branch import decide
from ._state import SCALAR
from ._tnum import U32, U64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._env import Env
    from ._state import Checkpoint, History, Reg

    Place = tuple[int, bool, int]  # frame, is slot, number
    Linear = tuple[Place, int]

FROM = 20_000  # instructions walked before the first look
ROUNDS = 8
_BAD = ((-1, False, -1), 0)
_BACK = {op.ALU64 | op.RSH: U32, op.ALU64 | op.ARSH: U32 >> 1}  # the largest number that comes back by a shift by 32
FLIP = {
    op.JEQ: op.JEQ, op.JNE: op.JNE, op.JSET: op.JSET, op.JGE: op.JLE, op.JGT: op.JLT, op.JLE: op.JGE, op.JLT: op.JGT,
    op.JSGE: op.JSLE, op.JSGT: op.JSLT, op.JSLE: op.JSGE, op.JSLT: op.JSGT,
}  # fmt: skip


def look(env: Env, last: Checkpoint) -> None:
    """Called when a checkpoint was made: refuse if the loop it lies in cannot end within the limits."""
    rounds = _rounds(last)
    if rounds is None:
        env.next_look[last.pc] = env.processed * 5 // 4
        return
    newest, before = rounds[0], rounds[1]
    cost = newest.walked - before.walked
    more = newest.waiting - before.waiting
    path = _path(before, newest)
    left = (env.limit - env.processed) // len(path) + 2
    soon = min(left, (PENDING_LIMIT - len(env.pending)) // more + 2) if more > 0 else left
    if _may_be_known(env, rounds, path) or not (
        _Round(env, rounds, soon, sure=True).goes_on(path) or _Round(env, rounds, left, sure=False).goes_on(path)
    ):
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


def _may_be_known(env: Env, rounds: list[Checkpoint], path: list[History]) -> bool:
    """Whether a coming round may end at a state that is explored to its end: of another path through the loop."""
    return any(
        kept.branches == 0 for at in {h.insn for h in path} | {rounds[0].pc} for kept in env.explored.get(at, ())
    )


class _Round:
    """One round, and whether no branch of it can turn out differently within `left` more.

    `sure`: both outcomes of each branch stay as possible as they are; otherwise those on the path do.
    """

    def __init__(self, env: Env, rounds: list[Checkpoint], left: int, *, sure: bool) -> None:
        self._env = env
        self._sure = sure
        self._depth = len(rounds[0].frames) - 1
        self._end = rounds[0].pc
        self._newest = _places(rounds[0])
        self._steps = _Steps(rounds, left)
        self._touched: set[Place] = set()
        self._witnesses: dict[Place, int] = {}
        self._values: dict[Place, Linear] = {}
        self._shifted: dict[Place, Linear] = {}  # what was shifted to the left by 32, to be shifted back
        before = _places(rounds[1])
        for place, reg in self._newest.items():
            old = before.get(place)
            if old is None or not (old is reg or old.same(reg)):
                self._values[place] = (place, 0)

    def goes_on(self, path: list[History]) -> bool:
        """Whether the round will be gone through again and again."""
        values = self._values
        for n, hist in enumerate(path):
            after = path[n + 1].insn if n + 1 < len(path) else self._end
            insn = self._env.insns[hist.insn]
            if insn.opcode & op.CLASS_MASK not in (op.JMP, op.JMP32):
                self._effect(hist)
                continue
            kind = insn.opcode & op.OP_MASK
            if kind in (op.CALL, op.EXIT):
                self._shifted.clear()
            if kind == op.CALL:
                self._touched |= {(self._depth, False, number) for number in range(6)}
                self._depth = _call(values, self._depth, insn.src == op.PSEUDO_CALL and after != hist.insn + 1)
            elif kind == op.EXIT:
                self._depth = _return(values, self._depth)
                self._touched |= {(self._depth, False, number) for number in range(6)}
            elif kind != op.JA and not self._same_outcome(hist.insn, after != hist.insn + 1):
                return False
        return not self._touched & self._witnesses.keys()

    def _effect(self, hist: History) -> None:
        insn = self._env.insns[hist.insn]
        values, depth = self._values, self._depth
        cls = insn.opcode & op.CLASS_MASK
        dst = (depth, False, insn.dst)
        src = values.get((depth, False, insn.src))
        slot = (hist.frame, True, hist.slot) if hist.slot >= 0 else None
        new: Linear | None
        if cls in (op.ALU, op.ALU64):
            shifted = self._shifted.pop(dst, None)
            new = self._arithmetic(insn, values.get(dst), src)
            if insn.opcode == op.ALU64 | op.LSH and insn.imm == 32:
                if values.get(dst, _BAD) is not _BAD:
                    self._shifted[dst] = values[dst]
            elif shifted is not None and insn.imm == 32 and insn.opcode in _BACK:
                new = shifted if self._steps.fits(shifted, _BACK[insn.opcode]) else _BAD
        elif cls == op.LDX:
            new = values.get(slot) if slot is not None else None
            self._shifted.pop(dst, None)
        elif cls in (op.ST, op.STX):
            if slot is not None:
                self._set(slot, src if cls == op.STX and insn.opcode & op.MODE_MASK == op.MEM else None)
            if cls != op.STX or insn.opcode & op.MODE_MASK == op.MEM or not insn.imm & op.FETCH:
                return
            dst, new = (depth, False, 0 if insn.imm == op.CMPXCHG else insn.src), None
        else:
            new = None
        self._set(dst, new)

    def _set(self, place: Place, value: Linear | None) -> None:
        self._touched.add(place)
        if value is not _BAD:
            self._shifted.pop(place, None)
        if value is None:
            self._values.pop(place, None)
        else:
            self._values[place] = value

    def _arithmetic(self, insn: Instruction, dst: Linear | None, src: Linear | None) -> Linear | None:
        kind = insn.opcode & op.OP_MASK
        wide = insn.opcode & op.CLASS_MASK == op.ALU64
        by_register = insn.opcode & op.X and kind not in (op.NEG, op.END)
        if kind == op.MOV:
            if not by_register or src is None:
                return None
            return src if not insn.off and (wide or self._steps.fits(src)) else _BAD
        if dst is None and not (by_register and src is not None):
            return None
        if by_register or dst is None or dst is _BAD or kind not in (op.ADD, op.SUB):
            return _BAD
        new = dst[0], dst[1] + (insn.imm if kind == op.ADD else -insn.imm)
        # In 32 bits it is the same as long as nothing wraps.
        return new if wide or (self._steps.fits(dst) and self._steps.fits(new)) else _BAD

    def _same_outcome(self, at: int, taken: bool) -> bool:
        insn = self._env.insns[at]
        kind = insn.opcode & op.OP_MASK
        if kind == op.JCOND:
            return False
        place = (self._depth, False, insn.dst)
        other = (self._depth, False, insn.src)
        values, wide = self._values, insn.opcode & op.CLASS_MASK == op.JMP
        value = values.get(place)
        if not insn.opcode & op.X:
            if value is None or (value is not _BAD and self._steps.keeps(value, kind, insn.imm, wide)):
                return True
            return value is not _BAD and not value[1] and self._holds(place, value, kind, taken, (insn.imm,) * 2, wide)
        bound = values.get(other)
        if value is None and bound is None:
            return True
        for a, b, here, how in ((value, bound, other, kind), (bound, value, place, FLIP[kind])):
            if a is None or a is _BAD or (b is not None and b != (here, 0)):
                continue
            ends = self._steps.ends(a, wide)
            if ends is not None and self._holds(here, b, FLIP[how], taken, ends, wide):
                return True
        return False

    def _holds(
        self, place: Place, value: Linear | None, kind: int, taken: bool, ends: tuple[int, int], wide: bool
    ) -> bool:
        """Whether `place kind x` can go on to turn out as it did, x going evenly from one end to the other.

        One value of the place that allows it is enough: what a comparison teaches never excludes what is possible.
        """
        reg = self._newest.get(place)
        if self._sure or place in self._touched or reg is None or reg.kind != SCALAR:
            return False
        if value is not None and value != (place, 0):
            return False
        if reg.id and any(self._newest[p].id == reg.id for p in self._witnesses if p != place):
            return False  # the two are one number
        known = self._witnesses.get(place)
        for w in _candidates(reg.var) if known is None else (known,):
            if _contains(reg.var, w) and all(decide(kind, const(w), const(x), wide) is taken for x in ends):
                if kind in (op.JEQ, op.JNE, op.JSET) and ends[0] != ends[1]:
                    return False  # the ends do not tell about what lies between them
                self._witnesses[place] = w
                return True
        return False


def _candidates(s: Scalar) -> tuple[int, ...]:
    """Some values that are as far away as any, as they would be written in 64 unsigned bits."""
    return tuple(w & U64 for w in (s.umax, s.umin, s.smax, s.smin, s.u32max, s.s32max, s.value | s.mask, s.value))


def _contains(s: Scalar, w: int) -> bool:
    signed, low = w - (w >> 63 << 64), w & U32
    return (
        w & ~s.mask & U64 == s.value
        and s.umin <= w <= s.umax
        and s.smin <= signed <= s.smax
        and s.u32min <= low <= s.u32max
        and s.s32min <= low - (low >> 31 << 32) <= s.s32max
    )


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


class _Steps:
    """How places changed over the last rounds, and where they will be after `left` more."""

    def __init__(self, rounds: list[Checkpoint], left: int) -> None:
        self._history = [_places(r) for r in rounds]
        self._left = left

    def _numbers(self, place: Place) -> list[Scalar] | None:
        regs = [h.get(place) for h in self._history]
        scalars = [r.var for r in regs if r is not None and r.kind == SCALAR]
        return scalars if len(scalars) == len(regs) else None

    def ends(self, value: Linear, wide: bool) -> tuple[int, int] | None:
        """The first and the last of the coming rounds' values, if it counts in even steps without a wrap."""
        place, offset = value
        scalars = self._numbers(place)
        if scalars is None or any(s.mask for s in scalars):
            return None
        numbers = [s.smin for s in scalars]
        steps = {a - b for a, b in itertools.pairwise(numbers)}
        if len(steps) != 1:
            return None
        first = numbers[0] + offset
        last = first + steps.pop() * self._left
        if wide:
            return (first, last) if S64_MIN <= last <= S64_MAX and (first < 0) == (last < 0) else None
        fine = 0 <= first <= U32 and 0 <= last <= U32 and first >> 31 == last >> 31
        return (first, last) if fine else None

    def fits(self, value: Linear, most: int = U32) -> bool:
        """Whether it is a number of 32 unsigned bits (or less than that), and will be."""
        ends = None if value is _BAD else self.ends(value, True)
        return ends is not None and min(ends) >= 0 and max(ends) <= most

    def keeps(self, value: Linear, kind: int, imm: int, wide: bool) -> bool:
        """Whether `place + offset kind imm` comes out the same in every one of the coming rounds."""
        ends = self.ends(value, wide)
        if ends is not None:
            return self._constant(ends, kind, imm if wide else imm & U32, wide)
        scalars = self._numbers(value[0])
        if scalars is None or not wide or all(not s.mask for s in scalars):
            return False
        return self._range(scalars, value[1], kind, imm)

    def _constant(self, ends: tuple[int, int], kind: int, imm: int, wide: bool) -> bool:
        first, last = ends
        if kind in (op.JEQ, op.JNE):
            step = (last - first) // self._left
            away = imm - first
            return not (step and away % step == 0 and 0 <= away // step <= self._left)
        if kind == op.JSET:
            return False
        bound = const(imm)
        return decide(kind, const(first), bound, wide) == decide(kind, const(last), bound, wide)

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
