"""Calls of kernel functions by their BTF id: arguments by their types and the suffixes of their names."""

from __future__ import annotations

from ..btf import KIND_ENUM, KIND_ENUM64, KIND_INT, KIND_PTR, KIND_STRUCT, KIND_UNION
from ..errors import BtfError
from . import _args, _iterator
from ._env import EACCES
from ._global import CONTEXTS
from ._precision import mark_precise
from ._refs import acquire, release
from ._state import (
    BTF_ID,
    CTX,
    MAP_PTR,
    MAYBE_NULL,
    MEM,
    PACKET,
    PACKET_META,
    RDONLY,
    SCALAR,
    TRUSTED,
    UNINIT,
    Reg,
    unknown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf, BtfType
    from ..isa import Instruction
    from ._env import Env
    from ._types import Program

_NUMBERS = (KIND_INT, KIND_ENUM, KIND_ENUM64)
_STRUCTS = (KIND_STRUCT, KIND_UNION)
# What BTF does not say (KF_ACQUIRE, KF_RELEASE, KF_RET_NULL, KF_SLEEPABLE of include/linux/btf.h), by function.
_FLAGS: dict[str, str] = {
    "bpf_task_acquire": "acquire null",
    "bpf_task_from_pid": "acquire null",
    "bpf_task_from_vpid": "acquire null",
    "bpf_task_release": "release",
    "bpf_cgroup_acquire": "acquire null",
    "bpf_cgroup_ancestor": "acquire null",
    "bpf_cgroup_from_id": "acquire null",
    "bpf_cgroup_release": "release",
    "bpf_task_get_cgroup1": "acquire null",
    "bpf_cpumask_create": "acquire null",
    "bpf_cpumask_acquire": "acquire",
    "bpf_cpumask_release": "release",
    "bpf_get_task_exe_file": "acquire null",
    "bpf_put_file": "release",
    "bpf_crypto_ctx_create": "acquire null sleeps",
    "bpf_crypto_ctx_acquire": "acquire null",
    "bpf_crypto_ctx_release": "release",
    "bpf_skb_ct_alloc": "acquire null",
    "bpf_skb_ct_lookup": "acquire null",
    "bpf_xdp_ct_alloc": "acquire null",
    "bpf_xdp_ct_lookup": "acquire null",
    "bpf_ct_insert_entry": "acquire null release",
    "bpf_ct_release": "release",
    "bpf_obj_drop_impl": "release",
    "bpf_dynptr_slice": "null",
    "bpf_dynptr_slice_rdwr": "null",
    "bpf_lookup_user_key": "acquire null sleeps",
    "bpf_lookup_system_key": "acquire null",
    "bpf_key_put": "release",
    "bpf_copy_from_user_str": "sleeps",
    "bpf_copy_from_user_task_str": "sleeps",
}


# Functions of generic_btf_ids in kernel/bpf/helpers.c, and who may call them: sched_cls, sched_act, tracepoint, xdp,
# perf_event, cgroup_*, sock_ops, tracing, struct_ops, lsm, syscall.
_GENERIC = ("bpf_task_", "bpf_cgroup_", "bpf_obj_", "bpf_list_", "bpf_rbtree_", "bpf_refcount_", "bpf_throw")
_GENERIC_TYPES = frozenset((3, 4, 5, 6, 7, 8, 9, 13, 15, 18, 23, 25, 26, 27, 29, 31))


def callback_kind(program: Program, insn: Instruction) -> str:
    """ "iter" for calls of bpf_iter_*_next, else ""."""
    name = dict(program.kfuncs).get(insn.imm, "")
    return "iter" if name.startswith("bpf_iter_") and name.endswith("_next") else ""


def call_kfunc(env: Env, insn: Instruction, at: int) -> int:
    """`call kfunc`."""
    if not env.profile.has("kfuncs"):
        env.refuse("invalid func kernel function: kfuncs are called since 5.13")
    name = dict(env.program.kfuncs).get(insn.imm)
    if name is None:
        env.refuse("invalid kernel function call not eliminated in verifier pass")
    if name.startswith(_GENERIC) and env.program.type not in _GENERIC_TYPES:
        env.refuse(f"calling kernel function {name} is not allowed", EACCES)
    flags = _FLAGS.get(name, "").split()
    state = env.state
    if "sleeps" in flags and not env.may_sleep:
        env.refuse(f"program must be sleepable to call sleepable kfunc {name}", EACCES)
    if state.locks:
        env.refuse("function calls are not allowed while holding a lock")
    if name in _REGIONS:
        _REGIONS[name](env, name)
        env.after_call(state, UNINIT)
        return at + 1
    call = _Kfunc(env, name, insn.imm)
    call.check_arguments()
    result = call.result(flags)
    env.after_call(state, result)
    return at + 1


def _rcu(env: Env, name: str) -> None:
    if name.endswith("_lock") and not name.endswith("unlock"):
        env.state.rcu += 1
        return
    if not env.state.rcu:
        env.refuse(f"unmatched rcu read unlock (kernel function {name})")
    env.state.rcu -= 1


def _preempt(env: Env, name: str) -> None:
    if name.endswith("disable"):
        env.state.preempt += 1
        return
    if not env.state.preempt:
        env.refuse(f"unmatched attempt to enable preemption (kernel function {name})")
    env.state.preempt -= 1


_REGIONS = {
    "bpf_rcu_read_lock": _rcu,
    "bpf_rcu_read_unlock": _rcu,
    "bpf_preempt_disable": _preempt,
    "bpf_preempt_enable": _preempt,
}


class _Kfunc:
    """One call under way."""

    def __init__(self, env: Env, name: str, id: int) -> None:
        from ._struct import kernel_types

        types = kernel_types(env)
        if types is None:
            env.refuse("calling kernel function is not supported without CONFIG_DEBUG_INFO_BTF")
        self.env = env
        self.name = name
        self.types: Btf = types
        try:
            self.proto: BtfType = types.type(types.type(id).type_id)
        except BtfError:
            env.refuse(f"kernel btf_id {id} is not a function")
        self.release = 0
        self.size = 0
        self.iterator: tuple[int, Reg, int, int] | None = None

    def check_arguments(self) -> None:
        """Each register holds what the function wants."""
        for number, param in enumerate(self.proto.params, 1):
            if number > 5:
                self.env.refuse(f"Function {self.name} has {len(self.proto.params)} > 5 args")
            if param.name.endswith("__ign"):
                continue
            reg = self.env.source(number)
            target = self.types.type(self.types.resolve(param.type_id))
            if target.kind in _NUMBERS:
                self._number(number, reg, param.name)
            elif target.kind == KIND_PTR:
                self._pointer(number, reg, param.name, self.types.resolve(target.type_id))
            else:
                self.env.refuse(f"Unrecognized arg#{number - 1} type {target.kind_name}")

    def _number(self, number: int, reg: Reg, name: str) -> None:
        if reg.kind != SCALAR:
            self.env.refuse(f"R{number} is not a scalar")
        if name.endswith(("__k", "__szk", "__rdonly_buf_size", "__rdwr_buf_size")):
            if reg.var.mask:
                self.env.refuse(f"R{number} must be a known constant")
            self.size = reg.var.value
            mark_precise(self.env, number)

    def _pointer(self, number: int, reg: Reg, name: str, pointee: int) -> None:
        env = self.env
        made = self.types.type(pointee) if pointee else None
        struct = made.name if made is not None and made.kind in _STRUCTS else ""
        null = _args.is_null(reg)
        nullable = name.endswith(("__nullable", "__opt"))
        if (null or reg.flags & MAYBE_NULL) and not nullable and (struct or reg.kind != SCALAR):
            env.refuse(f"Possibly NULL pointer passed to trusted arg{number - 1}", EACCES)
        if reg.ref:
            self.release = self.release or number
        if null:
            return
        if struct in CONTEXTS and reg.kind == CTX:
            return
        if struct.startswith("bpf_iter_") and self.name.startswith("bpf_iter_") and number == 1:
            self._iterator(number, reg, pointee)
        elif struct == "bpf_dynptr":
            from ._dynptr import argument

            call = _args.Call.__new__(_args.Call)
            argument(env, call, number, reg, "dynptr_uninit" if name.endswith("__uninit") else "dynptr")
        elif struct == "bpf_map" or name.endswith("__map"):
            if reg.kind not in (MAP_PTR, BTF_ID):
                env.refuse(f"arg#{number - 1} expected pointer to map")
        elif reg.kind == BTF_ID:
            if reg.off and not reg.ref:
                return
        elif struct and reg.kind in (SCALAR, CTX, PACKET, PACKET_META):
            env.refuse(f"arg#{number - 1} is {reg.name} expected ptr_{struct} or socket")
        else:
            self._memory(number, reg, pointee)

    def _memory(self, number: int, reg: Reg, pointee: int) -> None:
        params = self.proto.params
        if reg.kind == SCALAR:
            self.env.refuse(f"arg#{number - 1} pointer type must point to memory, but R{number} has scalar")
        size = self.types.size_of(pointee) if pointee else 0
        zero_ok = False
        if number < len(params) and params[number].name.endswith(("__sz", "__szk")):
            given = self.env.source(number + 1)
            if given.kind == SCALAR:
                size, zero_ok = given.var.umax, True
                mark_precise(self.env, number + 1)
                if given.var.smin < 0 or size >= 1 << 29:
                    self.env.refuse(f"arg#{number - 1} arg#{number} memory, len pair leads to invalid memory access")
        if size or zero_ok:
            call = _args.Call.__new__(_args.Call)
            _args.memory(self.env, call, number, size, writes=True, zero_ok=zero_ok, raw=False)

    def _iterator(self, number: int, reg: Reg, type_id: int) -> None:
        size = self.types.size_of(type_id)
        if self.name.endswith("_new"):
            _iterator.new(self.env, number, reg, size, type_id)
        elif self.name.endswith("_destroy"):
            _iterator.destroy(self.env, number, reg, size, type_id)
        elif self.name.endswith("_next"):
            self.iterator = (number, reg, size, type_id)

    def result(self, flags: list[str]) -> Reg:
        """What r0 is behind the call."""
        env = self.env
        if "release" in flags:
            held = env.regs[self.release].ref if self.release else 0
            if not held or not release(env, held):
                env.refuse(f"kfunc {self.name}#{env.insns[env.pc].imm} reference has not been acquired before")
        resolved = self.types.resolve(self.proto.type_id)
        target = self.types.type(resolved) if resolved else None
        if target is None:
            return UNINIT
        if target.kind in _NUMBERS:
            return unknown(env.pc)
        pointee = self.types.resolve(target.type_id)
        made = self._returned(pointee, flags)
        if self.iterator is not None:
            return _iterator.advance(env, *self.iterator, made)
        return made

    def _returned(self, pointee: int, flags: list[str]) -> Reg:
        env = self.env
        null = MAYBE_NULL if "null" in flags else 0
        struct = bool(pointee) and self.types.kind(pointee) in _STRUCTS
        if struct:
            made = Reg(BTF_ID, origin=env.pc, flags=null | TRUSTED, btf=pointee)
        else:
            size = self.size or (self.types.size_of(pointee) if pointee else 0)
            writable = self.name.endswith("_rdwr") or self.iterator is not None
            made = Reg(MEM, origin=env.pc, flags=null | (0 if writable else RDONLY), size=size)
        if "acquire" in flags:
            made.ref = made.id = acquire(env)
        elif null:
            made.id = env.new_id()
        return made
