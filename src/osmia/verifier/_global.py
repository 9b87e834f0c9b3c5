"""Global functions: verified once on their own, by the BTF of their arguments."""

from __future__ import annotations

from ..btf import KIND_ENUM, KIND_ENUM64, KIND_INT, KIND_PTR, KIND_STRUCT, KIND_UNION, Btf
from ._env import EACCES
from ._state import (
    CTX,
    MAP_KEY,
    MAP_VALUE,
    MAYBE_NULL,
    MEM,
    PACKET,
    SCALAR,
    STACK,
    UNINIT,
    Reg,
    unknown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._env import Env
    from ._state import State
    from ._types import Subprogram

_NUMBERS = (KIND_INT, KIND_ENUM, KIND_ENUM64)
# Structs that stand for the context of a program type in the program's own source.
CONTEXTS = frozenset(
    (
        "__sk_buff", "xdp_md", "bpf_sock", "bpf_sock_addr", "bpf_sock_ops", "sk_msg_md", "pt_regs", "user_pt_regs",
        "bpf_perf_event_data", "bpf_raw_tracepoint_args", "bpf_cgroup_dev_ctx", "bpf_sysctl", "bpf_sockopt",
        "sk_reuseport_md", "bpf_sk_lookup", "bpf_nf_ctx", "bpf_flow_keys", "bpf_user_pt_regs_t",
    )
)  # fmt: skip


def _subprogram(env: Env, subprog: int) -> Subprogram:
    start = env.code.start[subprog]
    return next(s for s in env.program.subprograms if s.start == start)


def _parameters(env: Env, subprog: int) -> list[tuple[str, int]]:
    """("number", 0), ("context", 0) or ("memory", size) for each argument."""
    btf = Btf(env.program.btf)
    func = btf.type(_subprogram(env, subprog).btf_id)
    out: list[tuple[str, int]] = []
    for param in btf.type(func.type_id).params:
        target = btf.type(btf.resolve(param.type_id))
        if target.kind in _NUMBERS:
            out.append(("number", 0))
            continue
        if target.kind != KIND_PTR:
            env.refuse(
                f"Arg#{len(out)} type {target.kind_name} in {_subprogram(env, subprog).name}() is not supported yet."
            )
        pointee = btf.resolve(target.type_id)
        made = btf.type(pointee) if pointee else None
        if made is not None and made.kind in (KIND_STRUCT, KIND_UNION) and made.name in CONTEXTS:
            out.append(("context", 0))
        else:
            out.append(("memory", btf.size_of(pointee) if pointee else 0))
    return out


def call_global(env: Env, subprog: int, at: int) -> int:
    """A call of a global function: the arguments fit, and any number comes back."""
    name = _subprogram(env, subprog).name
    for number, (kind, size) in enumerate(_parameters(env, subprog), 1):
        reg = env.source(number)
        if kind == "number":
            if reg.kind != SCALAR:
                env.refuse(f"R{number} is not a scalar")
        elif kind == "context":
            if reg.kind != CTX:
                env.refuse(f"R{number} type={reg.name} expected=ctx")
        elif size and not _memory_ok(env, number, reg, size):
            env.refuse(f"Caller passes invalid args into func#{subprog} ('{name}')")
    env.clobber(env.frame)
    env.regs[0] = unknown(at)
    return at + 1


def _memory_ok(env: Env, number: int, reg: Reg, size: int) -> bool:
    from . import _args

    if reg.kind == SCALAR and not reg.var.mask and not reg.var.value:
        return True
    if reg.kind not in (STACK, MAP_VALUE, MAP_KEY, MEM, PACKET):
        return False
    if reg.flags & MAYBE_NULL:
        reg = reg.copy()
        reg.flags &= ~MAYBE_NULL
        env.regs[number] = reg
    call = _args.Call.__new__(_args.Call)
    _args.memory(env, call, number, size, writes=True, zero_ok=False, raw=False)
    return True


def entry(env: Env, state: State, subprog: int) -> None:
    """The state in which a global function is entered."""
    frame = state.frames[0]
    frame.regs = [UNINIT] * 11
    frame.regs[10] = Reg(STACK)
    for number, (kind, size) in enumerate(_parameters(env, subprog), 1):
        if number > 5:
            env.refuse(f"Global function {_subprogram(env, subprog).name}() with more than 5 args", EACCES)
        if kind == "context":
            frame.regs[number] = Reg(CTX)
        elif kind == "memory":
            frame.regs[number] = Reg(MEM, flags=MAYBE_NULL, size=size, id=env.new_id())
        else:
            frame.regs[number] = unknown(-1)
