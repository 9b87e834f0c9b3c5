"""Helpers that call functions of the program: the callback is walked with what the helper will hand it."""

from __future__ import annotations

from ._env import E2BIG, MAX_FRAMES
from ._precision import mark_precise
from ._state import (
    BTF_ID,
    DYNPTR,
    MAP_KEY,
    MAP_PTR,
    MAP_VALUE,
    STACK,
    TRUSTED,
    UNINIT,
    Frame,
    Reg,
    State,
    unknown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._args import Call
    from ._env import Env

# Map types whose elements can be walked: array, percpu_array, hash, percpu_hash, lru_hash, lru_percpu_hash, ...
_WALKED = frozenset((1, 2, 5, 6, 9, 10))
DYNPTR_LOCAL = 1


def start(env: Env, call: Call, at: int) -> None:
    """Keep a state that enters the callback; the one at hand goes on behind the call (kernel: push_callback_call).

    Before 6.7 (ab5cfac139ab) the state at hand enters the callback, once, as if it were a function of its own.
    """
    name = call.proto.name
    subprog = call.func
    if name == "timer_set_callback":
        _asynchronous(env, call, subprog)
        return
    if not env.code.callback[at]:
        call.enters = _frame(env, env.state, _arguments(env, call, name), subprog, at)
        return
    if name == "loop":
        mark_precise(env, 1)
        if env.frame.rounds >= env.regs[1].var.umax:
            env.frame.rounds = 0
            return
    given = _arguments(env, call, name)
    other = env.push(env.code.start[subprog])
    other.callback_depth += 1
    other.frames[-1].rounds += 1
    env.frame.rounds = 0
    other.frames.append(_frame(env, other, given, subprog, at))


def _frame(env: Env, state: State, given: list[Reg], subprog: int, at: int) -> Frame:
    """The callback's frame, to be put upon those of the state."""
    if len(state.frames) >= MAX_FRAMES:
        env.refuse(f"the call stack of {len(state.frames) + 1} frames is too deep", E2BIG)
    frame = Frame(subprog, at)
    frame.callback = True
    frame.return_range = (0, 1)
    frame.held = state.refs
    frame.regs[10] = Reg(STACK, frame=len(state.frames))
    frame.regs[1 : 1 + len(given)] = given
    return frame


def _arguments(env: Env, call: Call, name: str) -> list[Reg]:
    regs = env.regs
    at = env.pc
    if name == "loop":
        return [unknown(at), regs[3]]
    if name == "for_each_map_elem":
        info = call.map
        if info is not None and info.type not in _WALKED:
            env.refuse("callback function not allowed for map")
        return [*_element(regs[1], at), regs[3]]
    if name == "find_vma":
        from ._struct import struct_id

        return [regs[1], Reg(BTF_ID, origin=at, flags=TRUSTED, btf=struct_id(env, "vm_area_struct")), regs[4]]
    return [Reg(DYNPTR, origin=at, size=DYNPTR_LOCAL, id=env.new_id()), regs[3]]


def _element(owner: Reg, at: int) -> list[Reg]:
    return [Reg(kind, origin=at, map=owner.map) for kind in (MAP_PTR, MAP_KEY, MAP_VALUE)]


def _asynchronous(env: Env, call: Call, subprog: int) -> None:
    """A timer's callback runs later, with a stack of its own."""
    if subprog in env.async_callbacks:
        return
    env.async_callbacks.add(subprog)
    state = State()
    frame = Frame(subprog, -1)
    frame.async_callback = True
    frame.return_range = (0, 0)
    frame.regs[10] = Reg(STACK)
    frame.regs[1:4] = _element(env.regs[1], env.pc)
    frame.regs[4:6] = [UNINIT, UNINIT]
    state.frames.append(frame)
    state.pc = env.code.start[subprog]
    state.branches = 1
    env.pending.append(state)
