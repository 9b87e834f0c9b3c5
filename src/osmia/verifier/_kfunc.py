"""Calls of kernel functions by their BTF id, and the loops over open-coded iterators."""

from __future__ import annotations

from ._env import EACCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..isa import Instruction
    from ._env import Env
    from ._types import Program


def callback_kind(program: Program, insn: Instruction) -> str:
    """ "iter" for calls of bpf_iter_*_next, else ""."""
    name = dict(program.kfuncs).get(insn.imm, "")
    return "iter" if name.startswith("bpf_iter_") and name.endswith("_next") else ""


def call_kfunc(env: Env, insn: Instruction, _at: int) -> NoReturn:
    """`call kfunc`."""
    if not env.profile.has("kfuncs"):
        env.refuse("invalid func kernel function: kfuncs are called since 5.13")
    name = dict(env.program.kfuncs).get(insn.imm)
    if name is None:
        env.refuse("invalid kernel function call not eliminated in verifier pass")
    env.refuse(f"calling kernel function {name} is not allowed", EACCES)
