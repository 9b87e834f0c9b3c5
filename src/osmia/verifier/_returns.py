"""What a program may return (kernel: check_return_code)."""

from __future__ import annotations

from ._env import EACCES, EINVAL
from ._precision import mark_precise
from ._scalar import S64_MAX, S64_MIN
from ._state import SCALAR, Reg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._env import Env

# BPF_PROG_TYPE_*: cgroup_skb, cgroup_sock, sock_ops, cgroup_device, cgroup_sysctl, cgroup_sockopt, sk_lookup, netfilter
_YES_OR_NO = frozenset((8, 9, 13, 15, 23, 25, 30, 32))
_CGROUP_SKB, _SOCK_ADDR, _TRACING, _KPROBE = 8, 18, 26, 2
_EGRESS, _INET4_BIND, _INET6_BIND = 1, 8, 9
# Attach types: recvmsg, getpeername, getsockname (also of unix sockets) always let the call go on.
_ALWAYS_ONE = frozenset((19, 20, 29, 30, 31, 32, 51, 52, 53))
_FENTRY, _FEXIT, _ITER, _KPROBE_SESSION = 24, 25, 28, 56


def result_range(prog: int, attach: int) -> tuple[int, int] | None:
    """The range r0 must lie in at exit, or None."""
    if prog == _CGROUP_SKB and attach == _EGRESS:
        return 0, 3
    if prog in _YES_OR_NO:
        return 0, 1
    if prog == _SOCK_ADDR:
        if attach in _ALWAYS_ONE:
            return 1, 1
        return (0, 3) if attach in (_INET4_BIND, _INET6_BIND) else (0, 1)
    if prog == _TRACING:
        if attach in (_FENTRY, _FEXIT):
            return 0, 0
        return (0, 1) if attach == _ITER else None
    if prog == _KPROBE and attach == _KPROBE_SESSION:
        return 0, 1
    return None


def check_exit(env: Env) -> None:
    """Judge r0 where the program ends."""
    result = env.source(0)
    if not env.privileged and result.kind != SCALAR:
        env.refuse("R0 leaks addr as return value", EACCES)
    if env.subprog:
        if result.kind != SCALAR:
            env.refuse(f"At subprogram exit the register R0 is not a scalar value ({result.name})")
        return
    wanted = result_range(env.program.type, env.program.attach_type)
    if wanted is None:
        return
    if result.kind != SCALAR:
        env.refuse(f"At program exit the register R0 is not a known value ({result.name})")
    mark_precise(env, 0)
    low, high = wanted
    if not (low <= result.var.smin and result.var.smax <= high):
        refuse_range(env, result, low, high, "At program exit the register")


def refuse_range(env: Env, result: Reg, low: int, high: int, where: str) -> None:
    """r0 is known to be, or may be, beside the range."""
    var = result.var
    text = ""
    if var.smin > S64_MIN:
        text += f" smin={var.smin}"
    if var.smax < S64_MAX:
        text += f" smax={var.smax}"
    if not text:
        text = " unknown scalar value"
    env.refuse(f"{where} R0 has{text} should have been in [{low}, {high}]", EINVAL)
