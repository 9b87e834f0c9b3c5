"""Spin locks and timers in map values."""

from __future__ import annotations

from ._state import MAP_VALUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._args import Call
    from ._env import Env
    from ._state import Reg


def _field(env: Env, number: int, reg: Reg, kind: str) -> None:
    """The register points to the field of that kind of its map's value."""
    if reg.var.mask:
        env.refuse(f"R{number} doesn't have constant offset. bpf_{kind} has to be at the constant offset")
    info = reg.map
    if reg.kind != MAP_VALUE or info is None:
        return
    if not info.btf_fields:
        env.refuse(f"map '{info.name}' has no valid bpf_{kind}")
    at = info.field_offset(kind)
    if at < 0:
        env.refuse(f"map '{info.name}' has no valid bpf_{kind}")
    off = reg.off + reg.var.smin
    if off != at:
        env.refuse(f"off {off} doesn't point to 'struct bpf_{kind}' that is at {at}")


def spin_lock(env: Env, number: int, reg: Reg, takes: bool) -> None:
    """bpf_spin_lock and bpf_spin_unlock: one lock at a time, and the same one."""
    _field(env, number, reg, "spin_lock")
    state = env.state
    lock = (reg.id, reg.map)
    if takes:
        if state.locks:
            env.refuse("Locking two bpf_spin_locks are not allowed")
        state.locks = (lock,)
        return
    if not state.locks:
        env.refuse("bpf_spin_unlock without taking a lock")
    if state.locks[-1] != lock:
        env.refuse("bpf_spin_unlock of different lock")
    state.locks = ()


def timer(env: Env, call: Call, number: int, reg: Reg) -> None:
    """The argument of bpf_timer_*."""
    _field(env, number, reg, "timer")
    call.map = reg.map
