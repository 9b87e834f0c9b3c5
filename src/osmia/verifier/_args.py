"""Arguments of helpers: type of the register, offset, memory behind it (kernel: check_func_arg)."""

from __future__ import annotations

from . import _memory, _stack
from ._env import EACCES, EINVAL
from ._precision import mark_precise, mark_slot_precise
from ._state import (
    ALLOC,
    ARENA,
    BTF_ID,
    BUF,
    CTX,
    DYNPTR,
    FUNC,
    MAP_KEY,
    MAP_PTR,
    MAP_VALUE,
    MAYBE_NULL,
    MEM,
    PACKET,
    PACKET_META,
    PERCPU,
    RCU,
    RDONLY,
    RINGBUF,
    S_SPILL,
    S_ZERO,
    SCALAR,
    SOCK_COMMON,
    SOCKET,
    STACK,
    TCP_SOCK,
    TRUSTED,
    XDP_SOCK,
    Reg,
    is_spill,
    kind_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._env import Env
    from ._prototypes import Proto
    from ._state import Frame
    from ._types import MapInfo

MAX_VAR_SIZE = 1 << 29
_SCALAR = ((SCALAR, 0),)
_MEMORY = (
    (STACK, 0), (PACKET, 0), (PACKET_META, 0), (MAP_KEY, 0), (MAP_VALUE, 0), (MEM, 0), (MEM, RINGBUF), (BUF, 0),
    (BTF_ID, TRUSTED),
)  # fmt: skip
_SOCKETS = ((SOCK_COMMON, 0), (SOCKET, 0), (TCP_SOCK, 0), (XDP_SOCK, 0))
_STRUCTS = ((BTF_ID, 0), (BTF_ID, TRUSTED), (BTF_ID, RCU))
# What may be passed for each kind of argument.
COMPATIBLE: dict[str, tuple[tuple[int, int], ...]] = {
    "map_key": _MEMORY,
    "map_value": _MEMORY,
    "map_value_uninit": _MEMORY,
    "size": _SCALAR,
    "size_or_zero": _SCALAR,
    "alloc_size_or_zero": _SCALAR,
    "scalar": _SCALAR,
    "const_map_ptr": ((MAP_PTR, 0),),
    "ctx": ((CTX, 0),),
    "sock_common": _SOCKETS,
    "btf_id_sock_common": (*_SOCKETS, (BTF_ID, 0), (BTF_ID, TRUSTED)),
    "socket": ((SOCKET, 0),),
    "btf_id": _STRUCTS,
    "spin_lock": ((MAP_VALUE, 0), (BTF_ID, ALLOC)),
    "mem_rd": _MEMORY,
    "mem_wr": _MEMORY,
    "mem_wr_init": _MEMORY,
    "ringbuf_mem": ((MEM, RINGBUF),),
    "percpu_btf_id": ((BTF_ID, PERCPU), (BTF_ID, PERCPU | RCU), (BTF_ID, PERCPU | TRUSTED)),
    "func": ((FUNC, 0),),
    "stack": ((STACK, 0),),
    "const_str": ((MAP_VALUE, 0),),
    "timer": ((MAP_VALUE, 0),),
    "kptr_xchg_dest": ((MAP_VALUE, 0), (BTF_ID, ALLOC)),
    "dynptr": ((STACK, 0), (DYNPTR, 0)),
}
_FREE_OFFSET = frozenset((STACK, PACKET, PACKET_META, MAP_KEY, MAP_VALUE, MEM, BUF, ARENA, SCALAR))
# Types whose context is plain to the kernel: a helper may read it as memory.
_PLAIN_CONTEXT = frozenset((2, 5, 17, 24, 26, 27, 29, 31))
_WRITES = frozenset(("mem_wr", "mem_wr_init", "map_value_uninit"))
_MEM = frozenset(("mem_rd", "mem_wr", "mem_wr_init"))


class Call:
    """What the arguments of one call told so far."""

    __slots__ = (
        "dynptr", "enters", "func", "key", "map", "proto", "raw", "raw_reg", "raw_size", "ref", "release_reg", "size",
        "size_max",
    )  # fmt: skip

    def __init__(self, proto: Proto) -> None:
        self.proto = proto
        self.map: MapInfo | None = None
        self.ref = 0
        self.release_reg = 0
        self.raw = False
        self.raw_reg = 0
        self.raw_size = 0
        self.size = 0
        self.size_max = 0
        self.key = -1
        self.func = -1
        self.dynptr: Reg | None = None
        self.enters: Frame | None = None  # of a callback that is walked like any function


def is_null(reg: Reg) -> bool:
    """A known zero."""
    return reg.kind == SCALAR and not reg.var.mask and not reg.var.value


def check(env: Env, call: Call, number: int, arg: str) -> None:
    """Argument `number` of kind `arg` (as in Proto.args)."""
    reg = env.source(number)
    if arg == "anything":
        if not env.privileged and reg.kind != SCALAR:
            env.refuse(f"R{number} leaks addr into helper function", EACCES)
        return
    kind, _, detail = arg.partition(":")
    nullable = kind.endswith("_or_null")
    kind = kind.removesuffix("_or_null")
    releases = "release" in detail
    if reg.kind in (PACKET, PACKET_META) and not _packet_ok(env, call):
        env.refuse("helper access to the packet is not allowed", EACCES)
    base = "dynptr" if kind.startswith("dynptr") else kind
    if not (nullable and is_null(reg)):
        _check_type(env, number, reg, base, nullable)
        _check_offset(env, number, reg, releases, base)
    if releases:
        if not reg.ref and not is_null(reg) and base != "dynptr":
            env.refuse(f"R{number} must be referenced when passed to release function")
        call.release_reg = number
    if reg.ref and base != "kptr_xchg_dest":
        if call.ref:
            env.refuse(f"more than one arg with ref_obj_id R{number} {reg.ref} {call.ref}")
        call.ref = reg.ref
    handler = _HANDLERS.get(base)
    if handler is not None and not (nullable and is_null(reg) and base not in _MEM):
        handler(env, call, number, reg, arg)


def _packet_ok(env: Env, call: Call) -> bool:
    kind = env.program.type
    if kind in _memory.WRITES_PACKETS:
        return call.proto.pkt_access
    return kind in _memory.READS_PACKETS and call.proto.pkt_access


def _check_type(env: Env, number: int, reg: Reg, base: str, nullable: bool) -> None:
    allowed = COMPATIBLE.get(base)
    if allowed is None:
        return
    kind, flags = reg.kind, reg.flags
    if base in ("mem_rd", "map_key", "map_value"):
        flags &= ~RDONLY
    if nullable:
        flags &= ~MAYBE_NULL
    if base in _MEM:
        flags &= ~RINGBUF
    for expected in allowed:
        if expected == (kind, flags):
            return
    names = ", ".join([kind_name(k, f) for k, f in allowed])
    env.refuse(f"R{number} type={reg.name} expected={names}", EACCES)


def _check_offset(env: Env, number: int, reg: Reg, releases: bool, base: str) -> None:
    if releases:
        if base == "dynptr" and reg.kind == STACK:
            return
        if reg.off and env.profile.version < (6, 2):
            env.refuse(f"dereference of modified {reg.name} ptr R{number} off={reg.off} disallowed", EACCES)
        if reg.off:
            env.refuse(f"R{number} must have zero offset when passed to release func or trusted arg to kfunc")
        _memory.fixed_offset(env, number, reg)
    elif reg.kind not in _FREE_OFFSET:
        _memory.fixed_offset(env, number, reg, reg.kind == BTF_ID)


def memory(env: Env, call: Call, number: int, size: int, *, writes: bool, zero_ok: bool, raw: bool) -> None:
    """A helper reads or writes `size` bytes behind register `number` (kernel: check_helper_mem_access)."""
    reg = env.regs[number]
    kind = reg.kind
    if kind == STACK:
        if _stack.initialized(env, number, reg, reg.off, size, writes=writes, zero_ok=zero_ok, raw=raw, helper=True):
            call.raw_reg, call.raw_size = number, size
    elif kind in (PACKET, PACKET_META):
        _memory.packet(env, number, reg, reg.off, size, zero_ok)
    elif kind == MAP_VALUE:
        _memory.map_value(env, number, reg, reg.off, size, writes, zero_ok)
    elif kind == MAP_KEY:
        if writes:
            env.refuse(f"R{number} cannot write into {reg.name}", EACCES)
        assert reg.map is not None
        _memory.region(env, number, reg, reg.off, size, reg.map.key_size)
    elif kind == MEM:
        if writes and reg.flags & RDONLY:
            env.refuse(f"R{number} cannot write into {reg.name}", EACCES)
        _memory.region(env, number, reg, reg.off, size, reg.size, zero_ok)
    elif kind in (BUF, BTF_ID):
        _object(env, number, reg, size, writes)
    elif kind == CTX and env.program.type in _PLAIN_CONTEXT and (size or zero_ok):
        if size:
            _memory.access(env, env.insns[env.pc], number, size - 1, 1, writes, -1)
    elif not (zero_ok and not size and is_null(reg)):
        env.refuse(f"R{number} type={reg.name} expected=fp", EACCES)


def _object(env: Env, number: int, reg: Reg, size: int, writes: bool) -> None:
    if writes and reg.flags & RDONLY:
        env.refuse(f"R{number} cannot write into {reg.name}", EACCES)
    if reg.kind == BTF_ID:
        from ._struct import access_struct

        access_struct(env, number, reg, reg.off, size, writes)
    elif reg.off < 0 or reg.var.mask or reg.var.value:
        env.refuse(f"R{number} invalid buffer access: off={reg.off}, size={size}", EACCES)


def fill(env: Env, call: Call) -> None:
    """The helper wrote memory on the stack that need not have been written before."""
    reg = env.regs[call.raw_reg]
    _stack.written(env, reg, reg.off, call.raw_size)


def _map_ptr(env: Env, call: Call, number: int, reg: Reg, _arg: str) -> None:
    if call.map is not None and call.map is not reg.map:
        env.refuse(f"R{number} is a pointer to another map")
    call.map = reg.map


def _map_key(env: Env, call: Call, number: int, reg: Reg, _arg: str) -> None:
    if call.map is None:
        env.refuse("invalid map_ptr to access map->key", EACCES)
    size = call.map.key_size
    memory(env, call, number, size, writes=False, zero_ok=False, raw=False)
    if call.map.type in (2, 6) and env.profile.version >= (6, 14):
        call.key = _constant_key(env, reg, size)


def _constant_key(env: Env, reg: Reg, size: int) -> int:
    """The key if it is known, or -1: a look-up within an array never fails (kernel: d2102f2f5d75, 6.14)."""
    if reg.kind != STACK or reg.var.mask or not env.privileged:
        return -1
    at = -(reg.off + reg.var.smin) - 1
    spi, byte = at // 8, at % 8
    slot = env.state.frames[reg.frame].stack.get(spi)
    if slot is None:
        return -1
    below = bytes(reversed(slot.types[: byte + 1]))
    zeros = len(below) - len(below.lstrip(bytes([S_ZERO])))
    if zeros >= size:
        return 0
    if not is_spill(slot) or slot.reg is None or slot.reg.kind != SCALAR or slot.reg.var.mask:
        return -1
    if len(below) - len(below.lstrip(bytes([S_SPILL]))) != size:
        return -1
    mark_slot_precise(env, reg.frame, spi)
    return slot.reg.var.value


def _map_value(env: Env, call: Call, number: int, _reg: Reg, arg: str) -> None:
    if call.map is None:
        env.refuse("invalid map_ptr to access map->value", EACCES)
    writes = arg.startswith("map_value_uninit")
    memory(env, call, number, call.map.value_size, writes=writes, zero_ok=False, raw=writes)


def _mem(env: Env, call: Call, number: int, _reg: Reg, arg: str) -> None:
    kind, _, detail = arg.partition(":")
    call.raw = kind.startswith("mem_wr") and not kind.startswith("mem_wr_init")
    if detail.isdigit():
        memory(env, call, number, int(detail), writes="_wr" in kind, zero_ok=False, raw=call.raw)


def _size(env: Env, call: Call, number: int, reg: Reg, arg: str) -> None:
    var = reg.var
    call.size_max = var.umax
    zero_ok = arg == "size_or_zero"
    raw = call.raw and not var.mask
    if var.smin < 0:
        env.refuse(f"R{number} min value is negative, either use unsigned or 'var &= const'", EACCES)
    if var.umin == 0 and not zero_ok:
        env.refuse(f"R{number} invalid zero-sized read: u64=[{var.umin},{var.umax}]", EACCES)
    if var.umax >= MAX_VAR_SIZE:
        env.refuse(f"R{number} unbounded memory access, use 'var &= const' or 'if (var < const)'", EACCES)
    before = call.proto.args[number - 2]
    memory(env, call, number - 1, var.umax, writes="_wr" in before, zero_ok=zero_ok, raw=raw)
    mark_precise(env, number)


def _alloc_size(env: Env, call: Call, number: int, reg: Reg, _arg: str) -> None:
    if reg.var.mask:
        env.refuse(f"R{number} is not a known constant'", EACCES)
    call.size = reg.var.value
    mark_precise(env, number)


def _func(_env: Env, call: Call, _number: int, reg: Reg, _arg: str) -> None:
    call.func = reg.frame


def _lock(env: Env, call: Call, number: int, reg: Reg, _arg: str) -> None:
    from ._locks import spin_lock

    spin_lock(env, number, reg, call.proto.name == "spin_lock")


def _timer(env: Env, call: Call, number: int, reg: Reg, _arg: str) -> None:
    from ._locks import timer

    timer(env, call, number, reg)


def _dynptr(env: Env, call: Call, number: int, reg: Reg, arg: str) -> None:
    from ._dynptr import argument

    argument(env, call, number, reg, arg)


def _const_str(env: Env, _call: Call, number: int, reg: Reg, _arg: str) -> None:
    info = reg.map
    if info is None or not info.flags & _memory.RDONLY_PROG or info.frozen is None:
        env.refuse(f"R{number} does not point to a readonly map'", EACCES)
    if reg.var.mask:
        env.refuse(f"R{number} is not a constant address'", EACCES)
    start = reg.off + reg.var.smin
    _memory.map_value(env, number, reg, reg.off, info.value_size - start, False)
    if 0 not in info.frozen[start:]:
        env.refuse("string is not zero-terminated", EINVAL)


_HANDLERS = {
    "const_map_ptr": _map_ptr,
    "map_key": _map_key,
    "map_value": _map_value,
    "map_value_uninit": _map_value,
    "mem_rd": _mem,
    "mem_wr": _mem,
    "mem_wr_init": _mem,
    "size": _size,
    "size_or_zero": _size,
    "alloc_size_or_zero": _alloc_size,
    "func": _func,
    "spin_lock": _lock,
    "timer": _timer,
    "dynptr": _dynptr,
    "const_str": _const_str,
}
