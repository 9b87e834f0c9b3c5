"""Pruning: a path that comes to a state no wider than one already explored ends there (kernel: is_state_visited)."""

from __future__ import annotations

from ._hopeless import FROM, look
from ._precision import propagate
from ._scalar import UNKNOWN, within
from ._state import (
    ARENA,
    BUF,
    MAP_KEY,
    MAP_VALUE,
    MEM,
    NOT_INIT,
    PACKET,
    PACKET_META,
    S_DYNPTR,
    S_INVALID,
    S_IRQ,
    S_ITER,
    S_MISC,
    S_SPILL,
    S_ZERO,
    SCALAR,
    TP_BUFFER,
    Checkpoint,
    Reg,
    Slot,
)
from ._structure import ITERATOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._env import Env
    from ._state import Frame, State

NOT_EXACT, EXACT, RANGE = range(3)
_RANGED = frozenset((MAP_VALUE, MAP_KEY, MEM, BUF, TP_BUFFER))
_UNKNOWN = Reg(SCALAR, UNKNOWN)
_registers: dict[int, tuple[int, ...]] = {}


class Ids:
    """Pairs of identities of the old and the new state; each may have one partner only."""

    __slots__ = ("fresh", "new", "old", "scalars")

    def __init__(self, scalars: bool = True) -> None:
        self.scalars = scalars
        self.old: dict[int, int] = {}
        self.new: dict[int, int] = {}
        self.fresh = -1

    def match(self, old: int, new: int) -> bool:
        """Whether the two can be the same; both or none are 0."""
        if not old or not new:
            return not old and not new
        seen = self.old.get(old)
        if seen is not None:
            return seen == new
        if new in self.new:
            return False
        self.old[old] = new
        self.new[new] = old
        return True

    def match_scalar(self, old: int, new: int) -> bool:
        """The same for scalars, where 0 is an identity that nothing else has; before 6.5 they were not compared."""
        if not self.scalars:
            return True
        if not old:
            self.fresh -= 1
            old = self.fresh
        if not new:
            self.fresh -= 1
            new = self.fresh
        return self.match(old, new)


def visited(env: Env, at: int) -> bool:
    """Whether the state at hand is covered by an explored one at `at`; if not, it may be kept as a checkpoint."""
    state = env.state
    forced = env.code.force[at]
    keep = bool(forced) or state.jumps > 40
    if env.jumps - env.jumps_at_checkpoint >= 2 and env.processed - env.processed_at_checkpoint >= 8:
        keep = True
    known = env.explored.get(at)
    if known:
        forced_now = keep and (bool(forced) or state.jumps > 40)
        index = 0
        while index < len(known):
            old = known[index]
            verdict, keep = _compare(env, at, old, keep, forced_now)
            if verdict:
                return True
            if keep:
                old.misses += 1
            limit = 64 if forced and old.branches > 0 else 3
            if old.misses > old.hits * limit + limit:
                del known[index]
                continue
            index += 1
    if keep:
        _keep(env, at)
    return False


def _compare(env: Env, at: int, old: Checkpoint, keep: bool, forced: bool) -> tuple[bool, bool]:
    state = env.state
    if old.branches:
        if env.code.force[at] and _converged(env, at, old):
            return True, keep
        if _is_endless(env, at, old):
            env.refuse(f"infinite loop detected at insn {at}")
        near = env.jumps - env.jumps_at_checkpoint < 20 and env.processed - env.processed_at_checkpoint < 100
        return False, keep and (forced or not near)
    entry = old.loop_entry
    if entry is not None and entry.branches:
        if equal(env, old, state, RANGE):
            _hit(env, old)
            _back_to(env, at, old, entry)
            return True, keep
    elif equal(env, old, state, NOT_EXACT):
        _hit(env, old)
        return True, keep
    return False, keep


def _back_to(env: Env, at: int, old: Checkpoint, entry: Checkpoint) -> None:
    """The path ends at a state whose own marks are not complete before the loop at `entry` is."""
    state = env.state
    kept: Checkpoint | None = state.parent
    while kept is not None and kept.depth > entry.depth:
        if kept.loop_entry is None or kept.loop_entry.depth > entry.depth:
            kept.loop_entry = entry
        kept = kept.parent
    entry.back.append((old, state.hist, state.parent, at))
    if entry.loop_entry is None:
        entry.loop_entry = entry


def depths_differ(old: State, state: State) -> bool:
    """Whether an iterator has moved between two states."""
    from ._iterator import depths_differ as differ

    return differ(old, state)


def _is_endless(env: Env, at: int, old: Checkpoint) -> bool:
    """Whether the path came back to a state of its own. Loops over callbacks end by convergence instead."""
    state = env.state
    if env.code.force[at] == ITERATOR or (env.iterates and depths_differ(old, state)):
        return False
    return (
        not env.code.callback[at]
        and _may_loop(old, state)
        and equal(env, old, state, env.loop_level)
        and old.may_goto == state.may_goto
        and old.callback_depth == state.callback_depth
    )


def _may_loop(old: State, state: State) -> bool:
    if len(old.frames) != len(state.frames):
        return False
    old_regs, regs = old.frames[-1].regs, state.frames[-1].regs
    for number in range(10):
        a, b = old_regs[number], regs[number]
        if a is not b:
            if a.kind != b.kind or a.id != b.id or a.var.value != b.var.value or a.var.umax != b.var.umax:
                return False
            if a.ref != b.ref or not a.same(b):
                return False
    return True


def _converged(env: Env, at: int, old: Checkpoint) -> bool:
    """At may_goto, iterators and calls with callbacks, a state in progress ends the path if it is wide enough."""
    state = env.state
    if env.code.force[at] == ITERATOR:
        from ._iterator import is_active

        if not is_active(old):
            return False
    elif not env.code.callback[at] and old.may_goto == state.may_goto:
        return False
    if not equal(env, old, state, RANGE):
        return False
    _hit(env, old)
    _back_to(env, at, old, old)
    return True


def _hit(env: Env, old: Checkpoint) -> None:
    old.hits += 1
    state = env.state
    propagate(env, old, state.hist, state.parent, env.pc)


def _keep(env: Env, at: int) -> None:
    state = env.state
    kept = Checkpoint(state)
    kept.pc = at
    kept.branches = 1
    kept.walked = env.processed
    kept.waiting = len(env.pending)
    state.parent = kept
    state.hist = None
    state.jumps = 0
    env.jumps_at_checkpoint = env.jumps
    env.processed_at_checkpoint = env.processed
    env.explored.setdefault(at, []).insert(0, kept)
    if env.processed >= FROM and env.processed >= env.next_look.get(at, 0):
        look(env, kept)


def finish_path(env: Env) -> None:
    """The path at hand ended: checkpoints that nothing is pending behind are complete."""
    parent = env.state.parent
    while parent is not None:
        parent.branches -= 1
        if parent.branches:
            break
        if parent.back:
            _settle(env, parent)
        parent = parent.parent
    env.liveness.update()


def _settle(env: Env, entry: Checkpoint) -> None:
    """Marks of states within a loop hold for the paths that came back to them, until nothing new is learnt."""
    for _ in range(64):
        changed = False
        for old, hist, parent, at in entry.back:
            changed = propagate(env, old, hist, parent, at) or changed
        if not changed:
            break
    entry.back = []


def equal(env: Env, old: Checkpoint, state: State, level: int) -> bool:
    """Whether everything safe from `old` is safe from `state` (kernel: states_equal)."""
    frames, old_frames = state.frames, old.frames
    if len(frames) != len(old_frames):
        return False
    if (
        len(old.locks) != len(state.locks)
        or old.rcu != state.rcu
        or old.preempt != state.preempt
        or len(old.refs) != len(state.refs)
    ):
        return False
    ids = Ids(env.scalar_ids)
    if (old.refs or old.locks) and not _same_held(env, old, state, ids):
        return False
    last = len(frames) - 1
    for n in range(last + 1):
        old_frame, frame = old_frames[n], frames[n]
        if old_frame.callsite != frame.callsite or old_frame.callback != frame.callback:
            return False
        if n < last:
            at = frames[n + 1].callsite
        else:
            at = env.pc
        precise = old.precise_regs[n]
        old_regs, regs = old_frame.regs, frame.regs
        for number in _numbers(env.code.live[at]):
            a, b = old_regs[number], regs[number]
            if a is b:
                if not a.id and not a.ref:
                    continue
            elif not level and a.kind == SCALAR == b.kind and not precise >> number & 1:
                continue
            if not same(a, b, precise >> number & 1, ids, level):
                return False
    if not last:
        return _stacks(env, old, state, 0, ids, level)
    return all(_stacks(env, old, state, n, ids, level) for n in range(last + 1))


def _same_held(env: Env, old: Checkpoint, state: State, ids: Ids) -> bool:
    """Whether as many references and locks are held, of the same kinds."""
    for (old_id, _, old_kind), (id, _, kind) in zip(old.refs, state.refs, strict=True):
        if kind != old_kind or not ids.match(old_id, id) or (env.exact_refs and old_id != id):
            return False
    for (old_id, old_lock), (id, lock) in zip(old.locks, state.locks, strict=True):
        if old_lock is not lock or not ids.match(old_id, id):
            return False
    return True


def _numbers(live: int) -> tuple[int, ...]:
    """The registers of a set of bits."""
    found = _registers.get(live)
    if found is None:
        found = _registers[live] = tuple(n for n in range(11) if live >> n & 1)
    return found


def same(old: Reg, new: Reg, precise: int, ids: Ids, level: int) -> bool:
    """Whether a register that is safe as `old` is safe as `new` (kernel: regsafe)."""
    if level == EXACT:
        return old.same(new) and ids.match(old.id, new.id) and ids.match(old.ref, new.ref)
    kind = old.kind
    if kind == NOT_INIT:
        return level == NOT_EXACT or new.kind == NOT_INIT
    if kind != new.kind or old.flags != new.flags:
        return False
    if kind == SCALAR:
        if not precise and level == NOT_EXACT:
            return True
        if old.linked != new.linked or (old.linked and old.off != new.off):
            return False
        return within(old.var, new.var) and ids.match_scalar(old.id, new.id)
    if kind in _RANGED:
        return (
            old.off == new.off
            and old.map is new.map
            and old.size == new.size
            and within(old.var, new.var)
            and ids.match(old.id, new.id)
            and ids.match(old.ref, new.ref)
        )
    if kind in (PACKET, PACKET_META):
        if old.size != new.size and (old.size < 0 or new.size < 0 or old.size > new.size):
            return False  # a pointer known to be at the end or behind it decides comparisons
        return old.off == new.off and ids.match(old.id, new.id) and within(old.var, new.var)
    if kind == ARENA:
        return True
    return old.same(new) and ids.match(old.id, new.id) and ids.match(old.ref, new.ref)


def _alive(env: Env, state: State, n: int) -> int:
    """Slots of frame `n` that anything reads behind the state's instruction, in the function at hand or a caller."""
    frames = state.frames
    alive = env.instance.live.get(env.pc, 0)
    for m in range(n, len(frames) - 1):
        site = frames[m + 1].callsite
        chain = (*[f.callsite for f in frames[1 : m + 1]], env.code.start[frames[m].subprog])
        alive |= env.liveness.instance(chain).live.get(site if env.code.callback[site] else site + 1, 0)
    return alive >> n * 64


def _stacks(env: Env, old: Checkpoint, state: State, n: int, ids: Ids, level: int) -> bool:
    old_frame, frame = old.frames[n], state.frames[n]
    stack = frame.stack
    complete = not old.branches and level == NOT_EXACT
    precise = old.precise_slots[n]
    alive = _alive(env, state, n) if complete else -1
    for spi, slot in old_frame.stack.items():
        now = stack.get(spi)
        if now is slot and level != EXACT and (slot.reg is None or not slot.reg.id):
            continue
        if not alive >> spi & 1:
            continue
        if now is None:
            if not _all_forgettable(env, slot.types) or (level == EXACT and any(slot.types)):
                return False
            continue
        if not _same_slot(env, slot, now, precise >> spi & 1, ids, level):
            return False
    return True


def _all_forgettable(env: Env, types: bytes) -> bool:
    return all(t == S_INVALID or (t == S_MISC and env.uninit_stack) for t in types)


def _as_scalar(slot: Slot, privileged: bool) -> Reg | None:
    """The slot as a 64-bit number: a whole spilled one, or eight bytes of anything."""
    types = slot.types
    if types[7] == S_SPILL and types[0] == S_SPILL:
        return slot.reg if slot.reg is not None and slot.reg.kind == SCALAR else None
    if all(t == S_MISC or (t == S_INVALID and privileged) for t in types):
        return _UNKNOWN
    return None


def _same_slot(env: Env, old: Slot, new: Slot, precise: int, ids: Ids, level: int) -> bool:
    if level == EXACT and old.types != new.types:
        return False
    privileged = env.uninit_stack
    if level != EXACT and not env.old_spills:
        a, b = _as_scalar(old, privileged), _as_scalar(new, privileged)
        if a is not None and b is not None:
            return same(a, b, precise, ids, level)
        if a is _UNKNOWN and all(t in (S_MISC, S_INVALID) for t in old.types):
            return True
    for at in range(8):
        kind, now = old.types[at], new.types[at]
        if (kind == S_INVALID or (kind == S_MISC and privileged)) and level != EXACT:
            continue
        if kind == S_MISC and now == S_ZERO:
            continue
        if kind != now:
            return False
    kind = old.types[7]
    if kind == S_SPILL and new.types[7] == S_SPILL:
        assert old.reg is not None and new.reg is not None
        return same(old.reg, new.reg, precise, ids, level)
    if kind in (S_DYNPTR, S_ITER, S_IRQ):
        assert old.reg is not None and new.reg is not None
        if kind == S_ITER and (old.reg.btf, old.reg.size, old.reg.frame) == (new.reg.btf, new.reg.size, new.reg.frame):
            return ids.match(old.reg.ref, new.reg.ref)  # how far it went does not matter
        return old.reg.same(new.reg) and ids.match(old.reg.id, new.reg.id) and ids.match(old.reg.ref, new.reg.ref)
    return True


def widen_from_entry(env: Env, state: State, at: int, below: int) -> None:
    """Forget scalars of `state` that changed since the loop's previous round and decided nothing, so that it converges.

    The round began at a checkpoint at `at` whose depth is less than `below`.
    """
    for old in env.explored.get(at, ()):
        if old.branches and old.depth < below and len(old.frames) == len(state.frames) and _same_sites(old, state):
            widen_imprecise(old, state)
            return


def _same_sites(old: State, state: State) -> bool:
    return all(a.callsite == b.callsite for a, b in zip(old.frames, state.frames, strict=True))


def widen_imprecise(old: Checkpoint, state: State) -> None:
    """Make scalars of `state` that differ from the old state's and are not precise there unknown."""
    for n, (old_frame, frame) in enumerate(zip(old.frames, state.frames, strict=True)):
        precise, slots = old.precise_regs[n], old.precise_slots[n]
        for number in range(10):
            new = _widened(old_frame.regs[number], frame.regs[number], precise >> number & 1)
            if new is not None:
                frame.regs[number] = new
        _widen_stack(old_frame, frame, slots)


def _widen_stack(old_frame: Frame, frame: Frame, precise: int) -> None:
    for spi, slot in frame.stack.items():
        old = old_frame.stack.get(spi)
        if old is None or old.reg is None or slot.reg is None:
            continue
        if old.types[7] == S_SPILL and slot.types[7] == S_SPILL:
            new = _widened(old.reg, slot.reg, precise >> spi & 1)
            if new is not None:
                frame.stack[spi] = Slot(slot.types, new)


def _widened(old: Reg, new: Reg, precise: int) -> Reg | None:
    if old.kind != SCALAR or new.kind != SCALAR or precise:
        return None
    if old.var == new.var and old.id == new.id and old.off == new.off:
        return None
    return Reg(SCALAR, UNKNOWN, new.origin)
