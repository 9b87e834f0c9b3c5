"""Open-coded iterators: objects on the stack that bpf_iter_*_new makes, _next moves and _destroy ends.

Every call of _next goes two ways: the iterator is drained and NULL comes back, or an element does and the loop goes on.
The loop ends when a round brings nothing new (kernel: process_iter_next_call).
"""

from __future__ import annotations

from ._prune import widen_from_entry
from ._refs import acquire, release
from ._stack import slot_read, within_bounds
from ._state import INVALID8, ITER, S_ITER, SCALAR, STACK, ZERO, Reg, Slot, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._env import Env

ACTIVE, DRAINED = 1, 2  # Reg.size of the first slot
_ITER8 = bytes([S_ITER]) * 8


def _first(env: Env, number: int, reg: Reg, size: int) -> int:
    if reg.kind != STACK:
        env.refuse(f"arg#{number - 1} expected pointer to an iterator on stack")
    if reg.var.mask:
        env.refuse("iter has to be at a constant offset")
    off = reg.off + reg.var.smin
    if off % 8 or off > -size:
        env.refuse(f"cannot pass in iter at an offset={off}")
    within_bounds(env, number, reg, reg.off, size, " write to")
    return -off // 8 - 1


def new(env: Env, number: int, reg: Reg, size: int, type_id: int) -> None:
    """bpf_iter_*_new: the slots become an iterator, which has to be destroyed."""
    spi = _first(env, number, reg, size)
    frame = env.state.frames[reg.frame]
    for n in range(size // 8):
        slot = frame.stack.get(spi - n)
        if slot is not None and slot.types[7] == S_ITER:
            env.refuse(f"expected uninitialized iter as arg #{number - 1}")
    ref = acquire(env)
    for n in range(size // 8):
        made = Reg(ITER, origin=env.pc, size=ACTIVE, btf=type_id, ref=ref if not n else 0, frame=1 - bool(n))
        frame.stack[spi - n] = Slot(_ITER8, made)


def _existing(env: Env, number: int, reg: Reg, size: int, type_id: int) -> tuple[int, Reg]:
    spi = _first(env, number, reg, size)
    frame = env.state.frames[reg.frame]
    for n in range(size // 8):
        slot = frame.stack.get(spi - n)
        fits = slot is not None and slot.types == _ITER8 and slot.reg is not None and slot.reg.btf == type_id
        if not fits or slot is None or slot.reg is None or bool(slot.reg.frame) == bool(n):
            env.refuse(f"expected an initialized iter as arg #{number - 1}")
        slot_read(env, reg.frame, spi - n)
    found = frame.stack[spi].reg
    assert found is not None
    return spi, found


def destroy(env: Env, number: int, reg: Reg, size: int, type_id: int) -> None:
    """bpf_iter_*_destroy: the slots are plain stack again."""
    spi, found = _existing(env, number, reg, size, type_id)
    release(env, found.ref)
    frame = env.state.frames[reg.frame]
    for n in range(size // 8):
        frame.stack[spi - n] = Slot(INVALID8)


def advance(env: Env, number: int, reg: Reg, size: int, type_id: int, element: Reg) -> Reg:
    """bpf_iter_*_next: the state at hand goes on with NULL, a second one with `element`. Gives r0."""
    spi, found = _existing(env, number, reg, size, type_id)
    if found.size == ACTIVE:
        other = env.push(env.pc + 1)
        _set(other, reg.frame, spi, ACTIVE, found.off + 1)
        if env.state.parent is not None:
            widen_from_entry(env, other, env.pc, env.state.parent.depth)
        env.after_call(other, element)
    _set(env.state, reg.frame, spi, DRAINED, found.off)
    return Reg(SCALAR, ZERO, env.pc)


def _set(state: State, frame: int, spi: int, status: int, depth: int) -> None:
    slot = state.frames[frame].stack[spi]
    assert slot.reg is not None
    made = slot.reg.copy()
    made.size = status
    made.off = depth
    state.frames[frame].stack[spi] = Slot(slot.types, made)


def is_active(state: State) -> bool:
    """Whether the iterator that r1 points to has elements left."""
    reg = state.frames[-1].regs[1]
    if reg.kind != STACK or reg.var.mask:
        return False
    slot = state.frames[reg.frame].stack.get(-(reg.off + reg.var.smin) // 8 - 1)
    return slot is not None and slot.reg is not None and slot.reg.kind == ITER and slot.reg.size == ACTIVE


def depths_differ(old: State, state: State) -> bool:
    """Whether an active iterator has moved between two states."""
    for before, now in zip(old.frames, state.frames, strict=False):
        for spi, slot in before.stack.items():
            if slot.types[7] != S_ITER or slot.reg is None or slot.reg.size != ACTIVE or not slot.reg.frame:
                continue
            other = now.stack.get(spi)
            if other is not None and other.reg is not None and other.reg.off != slot.reg.off:
                return True
    return False
