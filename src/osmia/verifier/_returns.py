"""What a program may return (kernel: check_return_code)."""

from __future__ import annotations

from ._env import EACCES, EINVAL
from ._precision import mark_precise
from ._return_ranges import return_range
from ._scalar import S64_MAX, S64_MIN
from ._state import SCALAR, Reg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._env import Env

LSM = 29  # BPF_PROG_TYPE_LSM


def check_exit(env: Env) -> None:
    """Judge r0 where the program ends."""
    lsm = env.program.type == LSM and not env.subprog
    if lsm and not env.frame.async_callback:
        from ._hooks import returns_nothing

        if returns_nothing(env):
            return
    result = env.source(0)
    if not env.privileged and result.kind != SCALAR:
        env.refuse("R0 leaks addr as return value", EACCES)
    if env.subprog:
        if result.kind != SCALAR:
            env.refuse(f"At subprogram exit the register R0 is not a scalar value ({result.name})")
        return
    where = "At program exit"
    wanted = return_range(env.program.type, env.program.attach_type, env.profile)
    low_half = False
    if env.frame.async_callback:
        where, wanted = "At async callback return", env.frame.return_range
    elif lsm:
        from ._hooks import lsm_range

        found = lsm_range(env)
        wanted, low_half = ((found.low, found.high), not found.wide) if found is not None else (None, False)
    if wanted is None:
        return
    if result.kind != SCALAR:
        env.refuse(f"{where} the register R0 is not a known value ({result.name})")
    mark_precise(env, 0)
    low, high = wanted
    var = result.var
    first, last = (var.s32min, var.s32max) if low_half else (var.smin, var.smax)
    if not (low <= first and last <= high):
        refuse_range(env, result, low, high, f"{where} the register")


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
