"""Calls of the program's own functions, returns, and the stack they need together."""

from __future__ import annotations

from ._env import E2BIG, EACCES, EINVAL, MAX_FRAMES
from ._precision import mark_precise
from ._prune import widen_from_entry
from ._refs import check_leaks
from ._returns import check_exit, refuse_range
from ._state import FUNC, SCALAR, STACK, Frame, Reg
from ._structure import is_pseudo_call, is_pseudo_func
from ._types import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._env import Env

MAX_STACK = 512
PRIVATE_STACKS = (2, 5, 7, 17)  # kprobe, tracepoint, perf_event, raw_tracepoint
PRIVATE_FROM = 64  # bytes
TAIL_CALL_STACK = 256


def call(env: Env, insn: Instruction, at: int) -> int:
    """`call pc+imm`."""
    start = at + 1 + insn.imm
    subprog = env.code.subprog_at[start]
    if env.state.locks and env.profile.version < (6, 9):
        env.refuse("function calls are not allowed while holding a lock")
    if subprog in env.globals:
        from ._global import call_global

        return call_global(env, subprog, at)
    frame = push_frame(env, subprog, at)
    caller = env.state.frames[-2]
    frame.regs[1:6] = caller.regs[1:6]
    env.clobber(caller)
    return start


def push_frame(env: Env, subprog: int, callsite: int) -> Frame:
    """A new innermost frame with r10 only."""
    frames = env.state.frames
    if len(frames) >= MAX_FRAMES:
        env.refuse(f"the call stack of {len(frames) + 1} frames is too deep", E2BIG)
    frame = Frame(subprog, callsite)
    frame.regs[10] = Reg(STACK, frame=len(frames))
    frames.append(frame)
    env.refresh()
    return frame


def leave(env: Env, _insn: Instruction, at: int) -> int:
    """`exit`: -1 at the end of the program."""
    state = env.state
    frame = env.frame
    inner = len(state.frames) > 1
    if not inner or frame.callback:
        held = frame.held
        if not inner or held is None or state.refs != held:
            check_leaks(env, "BPF_EXIT instruction in main prog", locks=not inner)
    if not inner:
        check_exit(env)
        return -1
    result = env.regs[0]
    if result.kind == STACK:
        env.refuse("cannot return stack pointer to the caller", EINVAL)
    site = frame.callsite
    if frame.callback:
        if result.kind != SCALAR:
            env.refuse("R0 not a scalar value", EACCES)
        mark_precise(env, 0)
        low, high = frame.return_range or (0, 1)
        if not (low <= result.var.smin and result.var.smax <= high):
            refuse_range(env, result, low, high, "At callback return the register")
        state.frames.pop()
        env.refresh()
        if not env.code.callback[site]:
            return site + 1
        widen_from_entry(env, state, site, 1 << 30)
        return site
    state.frames.pop()
    env.refresh()
    env.regs[0] = result
    return site + 1


def function_address(env: Env, insn: Instruction, at: int) -> int:
    """`dst = func`."""
    subprog = env.code.subprog_at[at + 1 + insn.imm]
    env.regs[insn.dst] = Reg(FUNC, origin=at, frame=subprog)
    return at + 2


def check_stack(env: Env) -> tuple[int, ...]:
    """The chains of calls need no more than 512 bytes (kernel: check_max_stack_depth). Gives the depths."""
    rounded = [_round(env, d) for d in env.depths]
    seen_async: set[int] = set()
    starts = [0, *sorted(env.async_callbacks)]
    # Functions with much stack get one of their own, but those that timers call (a76ab5731e32, 6.13).
    private = env.program.type in PRIVATE_STACKS and env.profile.has("private_stacks")
    for start in starts:
        if start not in seen_async:
            seen_async.add(start)
            _chain(env, rounded, start, 0, 1, private and not start and not env.async_callbacks)
    return tuple(env.depths)


def _round(env: Env, depth: int) -> int:
    unit = 16 if env.profile.version >= (6, 5) else 32
    return (max(depth, 1 if unit == 32 else 0) + unit - 1) // unit * unit


def _chain(env: Env, rounded: list[int], subprog: int, depth: int, count: int, private: bool) -> None:
    code = env.code
    if count > 1 and code.has_tail_call[subprog] and depth >= TAIL_CALL_STACK:
        raise Refused(
            f"tail_calls are not allowed when call stack of previous frames is {depth} bytes. Too large",
            code.start[subprog],
            EACCES,
        )
    if not private or rounded[subprog] < PRIVATE_FROM:
        depth += rounded[subprog]
    if depth > MAX_STACK:
        raise Refused(f"combined stack size of {count} calls is {depth}. Too large", code.start[subprog], EACCES)
    for at in range(code.start[subprog], code.end[subprog]):
        insn = code.insns[at]
        if not (is_pseudo_call(insn) or is_pseudo_func(insn)):
            continue
        callee = code.subprog_at[at + 1 + insn.imm]
        if is_pseudo_func(insn) and callee in env.async_callbacks:
            continue
        if count + 1 > MAX_FRAMES:
            raise Refused(f"the call stack of {count + 1} frames is too deep !", at, E2BIG)
        _chain(env, rounded, callee, depth, count + 1, private)


def entry_registers(env: Env, frame: Frame) -> None:
    """What the program finds: r1 is the context."""
    from ._state import CTX

    frame.regs[1] = Reg(CTX)
    frame.regs[10] = Reg(STACK)
