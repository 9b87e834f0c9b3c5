"""Calls of helpers: who may call what, and what the call leaves behind (kernel: check_helper_call)."""

from __future__ import annotations

from ..isa import op
from ..isa.map_types import PROG_ARRAY
from . import _args
from ._maps_allowed import check as map_takes
from ._precision import mark_precise
from ._prototypes import any_proto, proto, why_not
from ._refs import acquire, check_leaks, forget_packets, release
from ._scalar import UNKNOWN, from_range, from_signed
from ._state import (
    BTF_ID,
    MAP_VALUE,
    MAYBE_NULL,
    MEM,
    RINGBUF,
    SCALAR,
    SOCK_COMMON,
    SOCKET,
    TCP_SOCK,
    TRUSTED,
    UNINIT,
    Reg,
)
from ._structure import GPL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._args import Call
    from ._env import Env
    from ._prototypes import Proto
    from ._scalar import Scalar

TAIL_CALL = 12
ELIDES_NULL = (2, 6)  # array, percpu_array
_RETURNS = {
    "map_value": (MAP_VALUE, 0),
    "map_value_or_null": (MAP_VALUE, MAYBE_NULL),
    "socket_or_null": (SOCKET, MAYBE_NULL),
    "sock_common_or_null": (SOCK_COMMON, MAYBE_NULL),
    "tcp_sock_or_null": (TCP_SOCK, MAYBE_NULL),
    "mem_or_null": (MEM, MAYBE_NULL),
    "ringbuf_mem_or_null": (MEM, MAYBE_NULL | RINGBUF),
    "btf_id": (BTF_ID, TRUSTED),
    "btf_id_or_null": (BTF_ID, TRUSTED | MAYBE_NULL),
    "mem_or_btf_id": (MEM, 0),
    "mem_or_btf_id_or_null": (MEM, MAYBE_NULL),
}
# Helpers whose result is at most the size they were given (kernel: do_refine_retval_range).
_SIZED_RESULTS = frozenset(
    ("get_stack", "get_task_stack", "probe_read_str", "probe_read_kernel_str", "probe_read_user_str")
)
# Helpers that ask which function the program attaches to (`allowed` in the kernel's prototypes).
_ALLOWED_SOMEWHERE = frozenset(("d_path", "ima_inode_hash", "ima_file_hash"))
_CASTS = frozenset(
    (
        "sk_fullsock", "tcp_sock", "get_listener_sock", "skc_to_tcp6_sock", "skc_to_tcp_sock",
        "skc_to_tcp_timewait_sock", "skc_to_tcp_request_sock", "skc_to_udp6_sock", "skc_to_mptcp_sock",
    )
)  # fmt: skip


def helper(env: Env, insn: Instruction, at: int) -> int:
    """`call helper`."""
    found = _find(env, insn.imm)
    call = _args.Call(found)
    state = env.state
    for number, kind in enumerate(found.args, 1):
        _args.check(env, call, number, kind)
    if insn.imm == TAIL_CALL:
        _check_tail_call(env, call)
    if call.raw_reg:
        _args.fill(env, call)
    if call.release_reg:
        _release(env, call, found)
    special = _SPECIAL.get(found.name)
    if special is not None:
        special(env, call, at)
    state = env.state
    regs = env.regs
    result = _result(env, call, found)
    regs[0:6] = [result, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    if call.map is not None:
        refusal = map_takes(call.map.type, insn.imm, env.program.type, env.profile)
        if refusal:
            env.refuse(refusal)
    if found.changes_packet:
        forget_packets(env)
    assert state is env.state
    if call.enters is not None:
        state.frames.append(call.enters)
        env.refresh()
        return env.code.start[call.enters.subprog]
    return at + 1


def _find(env: Env, number: int) -> Proto:
    program = env.program
    found = env.protos.get(number)
    if found is None:
        why = why_not(number, program.type, program.attach_type, env.profile)
        known = any_proto(number) if number > 0 else None
        if number and (why == "unknown" or why.startswith("since") or known is None):
            name = f"bpf_{known.name}" if known is not None else "unknown"
            env.refuse(f"invalid func {name}#{number}")
        found = proto(number, program.type, program.attach_type, env.profile) if not why else None
        if found is None:
            name = f"bpf_{known.name}" if known is not None else "bpf_unspec"
            env.refuse(f"program of this type cannot use helper {name}#{number}")
        env.protos[number] = found
    if found.gpl and program.license not in GPL:
        env.refuse("cannot call GPL-restricted function from non-GPL compatible program")
    if found.name in _ALLOWED_SOMEWHERE:
        from ._hooks import may_call

        if not may_call(env, found.name):
            env.refuse("helper call is not allowed in probe")
    if found.might_sleep and not env.may_sleep:
        env.refuse("helper call might sleep in a non-sleepable prog")
    state = env.state
    if found.might_sleep and (state.rcu or state.preempt):
        region = "rcu_read_lock" if state.rcu else "non-preemptible"
        env.refuse(f"sleepable helper bpf_{found.name}#{number} in {region} region")
    if state.locks and found.name != "spin_unlock":
        env.refuse("function calls are not allowed while holding a lock")
    return found


def argument_count(env: Env, insn: Instruction) -> int:
    """How many registers a call reads."""
    if insn.src == op.PSEUDO_KFUNC_CALL:
        return 5
    found = proto(insn.imm, env.program.type, env.program.attach_type, env.profile) or any_proto(insn.imm)
    return len(found.args) if found is not None else 5


def _check_tail_call(env: Env, call: Call) -> None:
    if call.map is None or call.map.type != PROG_ARRAY:
        env.refuse("expected prog array map for tail call")
    index = env.regs[3]
    if not index.var.mask and index.var.value < call.map.max_entries:
        mark_precise(env, 3)


def _release(env: Env, call: Call, found: Proto) -> None:
    if call.ref and release(env, call.ref):
        return
    reg = env.regs[call.release_reg]
    if not call.ref and reg.kind == SCALAR and not reg.var.mask and not reg.var.value:
        return
    env.refuse(f"func bpf_{found.name}#{found.id} reference has not been acquired before")


def _result(env: Env, call: Call, found: Proto) -> Reg:
    what, _, struct = found.ret.partition(":")
    if what == "integer":
        return Reg(SCALAR, _range_of(env, call, found), env.pc)
    if what == "void":
        return UNINIT
    kind, flags = _RETURNS[what]
    new = Reg(kind, origin=env.pc, flags=flags)
    if kind == MAP_VALUE:
        info = new.map = call.map
        assert info is not None
        if flags and info.type in ELIDES_NULL and 0 <= call.key < info.max_entries and found.id == 1:
            new.flags = flags = 0
        if not flags and info.btf_fields:
            new.id = env.new_id()
    elif kind == MEM:
        new.size = call.size
        if found.name == "dynptr_data":
            from ._dynptr import data

            data(env, call, new)
    elif kind == BTF_ID:
        from ._struct import struct_id

        new.btf = struct_id(env, struct)
    if flags & MAYBE_NULL:
        new.id = env.new_id()
    if found.name in _CASTS:
        new.ref = call.ref
    elif found.acquires:
        new.ref = new.id = acquire(env)
    return new


def _range_of(env: Env, call: Call, found: Proto) -> Scalar:
    if found.name in _SIZED_RESULTS:
        return from_signed(-4095, call.size_max)
    if found.name == "get_smp_processor_id":
        return from_range(0, env.cpus - 1)
    return UNKNOWN


def _tail_call(env: Env, _call: Call, _at: int) -> None:
    check_leaks(env, "tail_call")


def _local_storage(env: Env, _call: Call, _at: int) -> None:
    reg = env.regs[2]
    if reg.kind != SCALAR or reg.var.mask or reg.var.value:
        env.refuse("get_local_storage() doesn't support non-zero flags")


def _callback(env: Env, call: Call, at: int) -> None:
    from ._callback import start

    start(env, call, at)


_SPECIAL = {
    "tail_call": _tail_call,
    "get_local_storage": _local_storage,
    "for_each_map_elem": _callback,
    "loop": _callback,
    "find_vma": _callback,
    "timer_set_callback": _callback,
    "user_ringbuf_drain": _callback,
}
