"""References: what a helper acquired has to be released on every path."""

from __future__ import annotations

from ._env import EINVAL
from ._state import PACKET, PACKET_END, PACKET_META, UNINIT, Reg, each_reg, unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._env import Env
    from ._state import Reference, State


def acquire(env: Env, kind: str = "ref") -> int:
    """A new reference; its identity."""
    id = env.new_id()
    env.state.refs = (*env.state.refs, (id, env.pc, kind))
    return id


def drop_reference(refs: tuple[Reference, ...], id: int) -> tuple[Reference, ...]:
    """Those without that one."""
    return tuple([r for r in refs if r[0] != id])


def release(env: Env, id: int) -> bool:
    """Give the reference back; every copy of the pointer becomes a number. False if it is not held."""
    state = env.state
    left = drop_reference(state.refs, id)
    if len(left) == len(state.refs):
        return False
    state.refs = left
    invalid = _invalid(env)
    each_reg(state, lambda reg: invalid if reg.ref == id else reg)
    return True


def _invalid(env: Env) -> Reg:
    return unknown(env.pc) if env.privileged else UNINIT


def forget_packets(env: Env) -> None:
    """A helper may have moved the packet: pointers into it point nowhere (kernel: clear_all_pkt_pointers)."""
    invalid = _invalid(env)
    each_reg(env.state, lambda reg: invalid if reg.kind in (PACKET, PACKET_META, PACKET_END) else reg)


def check_leaks(env: Env, what: str, *, locks: bool = True) -> None:
    """Nothing is held where `what` ends the program (kernel: check_resource_leak)."""
    state = env.state
    held = _held(state)
    if held:
        for id, insn, _ in held:
            if env.log is not None:
                env.log.say(f"Unreleased reference id={id} alloc_insn={insn}")
        env.refuse(f"{what} would lead to reference leak", EINVAL)
    if locks and state.locks:
        env.refuse(f"{what} cannot be used inside bpf_spin_lock-ed region", EINVAL)
    if any(r[2] == "irq" for r in state.refs):
        env.refuse(f"{what} cannot be used inside bpf_local_irq_save-ed region", EINVAL)
    if state.rcu:
        env.refuse(f"{what} cannot be used inside bpf_rcu_read_lock-ed region", EINVAL)
    if state.preempt:
        env.refuse(f"{what} cannot be used inside bpf_preempt_disable-ed region", EINVAL)


def _held(state: State) -> list[Reference]:
    return [r for r in state.refs if r[2] == "ref"]
