"""Loads and stores through any pointer: alignment, bounds, what is read (kernel: check_mem_access)."""

from __future__ import annotations

from ..isa import op
from . import _stack
from . import _tnum as tnum
from ._context import Access, has_layout
from ._context import access as context_access
from ._env import EACCES
from ._scalar import const, sync, unknown_of
from ._state import (
    ARENA,
    BTF_ID,
    BUF,
    CTX,
    FLOW_KEYS,
    MAP_KEY,
    MAP_PTR,
    MAP_VALUE,
    MAYBE_NULL,
    MEM,
    PACKET,
    PACKET_END,
    PACKET_META,
    RDONLY,
    SCALAR,
    SOCK_COMMON,
    SOCKET,
    STACK,
    TCP_SOCK,
    TP_BUFFER,
    TRUSTED,
    UNTRUSTED,
    XDP_SOCK,
    Reg,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ..isa import Instruction
    from ._env import Env
    from ._scalar import Scalar

MAX_VAR_OFF = 1 << 29
S64_MIN = -(1 << 63)
SIZES = op.SIZE_BYTES
PACKETS = (PACKET, PACKET_META)
SOCKETS = (SOCKET, SOCK_COMMON, TCP_SOCK, XDP_SOCK)
_ALIGNED_NAMES = {
    PACKET: "packet ",
    PACKET_META: "packet ",
    FLOW_KEYS: "flow keys ",
    MAP_KEY: "key ",
    MAP_VALUE: "value ",
    CTX: "context ",
    STACK: "stack ",
    SOCKET: "sock ",
    SOCK_COMMON: "sock_common ",
    TCP_SOCK: "tcp_sock ",
    XDP_SOCK: "xdp_sock ",
}
# Program types that write packets directly, and those that only read them (kernel: may_access_direct_pkt_data).
WRITES_PACKETS = frozenset((3, 4, 6, 12, 14, 16, 25))
READS_PACKETS = frozenset((8, 10, 11, 19, 21, 22)) | WRITES_PACKETS
TRACEPOINT = 5
LSM = 29
RDONLY_PROG = 1 << 7  # BPF_F_RDONLY_PROG
WRONLY_PROG = 1 << 8  # BPF_F_WRONLY_PROG
_CONTEXT_KINDS = {
    "pkt": (PACKET, 0),
    "pkt_end": (PACKET_END, 0),
    "pkt_meta": (PACKET_META, 0),
    "sock": (SOCKET, 0),
    "sock_or_null": (SOCKET, MAYBE_NULL),
    "sock_common": (SOCK_COMMON, 0),
    "sock_common_or_null": (SOCK_COMMON, MAYBE_NULL),
    "tp_buffer": (TP_BUFFER, 0),
    "flow_keys": (FLOW_KEYS, 0),
    "rdonly_buf_or_null": (BUF, RDONLY | MAYBE_NULL),
    "rdwr_buf_or_null": (BUF, MAYBE_NULL),
    "buf_or_null": (BUF, MAYBE_NULL),
    "btf": (BTF_ID, TRUSTED),
    "btf_or_null": (BTF_ID, TRUSTED | MAYBE_NULL),
}


def offset_text(var: Scalar) -> str:
    """A variable offset in a message."""
    return tnum.text((var.value, var.mask)) if var.mask else f"{var.value:#x}" if var.value else "0"


def load(env: Env, insn: Instruction, at: int) -> int:
    """`dst = *(size *)(src + off)`."""
    reg = env.source(insn.src)
    if insn.dst == 10:
        env.target(10)
    size = SIZES[insn.opcode & op.SIZE_MASK]
    signed = insn.opcode & op.MODE_MASK == op.MEMSX
    access(env, insn, insn.src, insn.off, size, False, insn.dst)
    if size < 8 or signed:
        got = env.regs[insn.dst]
        if got.kind == SCALAR:
            _narrow(env, insn.dst, got, size, signed)
    _same_kind(env, reg)
    return at + 1


def _narrow(env: Env, number: int, reg: Reg, size: int, signed: bool) -> None:
    if signed:
        fits = reg.var.umax < 1 << size * 8 - 1
        var = env.rules.movsx(reg.var, size * 8, True)
        env.regs[number] = Reg(
            SCALAR, var, reg.origin, reg.off, reg.id if fits else 0, linked=reg.linked if fits else 0
        )
        return
    var = env.rules.truncate(reg.var, size)
    if var is not reg.var:
        env.regs[number] = Reg(SCALAR, var, reg.origin, reg.off, reg.id, linked=reg.linked)


def store(env: Env, insn: Instruction, at: int) -> int:
    """`*(size *)(dst + off) = src`."""
    env.source(insn.src)
    reg = env.source(insn.dst)
    mask = access(env, insn, insn.dst, insn.off, SIZES[insn.opcode & op.SIZE_MASK], True, insn.src)
    env.instance.wrote(at, mask)
    _same_kind(env, reg)
    return at + 1


def store_imm(env: Env, insn: Instruction, at: int) -> int:
    """`*(size *)(dst + off) = imm`."""
    reg = env.source(insn.dst)
    if reg.kind == CTX and env.old_encodings and not env.profile.has("context_immediates"):
        env.refuse(f"BPF_ST stores into R{insn.dst} ctx is not allowed", EACCES)
    mask = access(env, insn, insn.dst, insn.off, SIZES[insn.opcode & op.SIZE_MASK], True, -1)
    env.instance.wrote(at, mask)
    _same_kind(env, reg)
    return at + 1


def check_store_fields(env: Env, insn: Instruction) -> None:
    """Fields that stores do not use are zero."""
    if insn.opcode & op.CLASS_MASK == op.ST:
        if insn.src or insn.opcode & op.MODE_MASK != op.MEM:
            env.refuse("BPF_ST uses reserved fields")
    elif insn.opcode & op.MODE_MASK != op.ATOMIC and insn.imm:
        env.refuse("BPF_STX uses reserved fields")


_OWN_CODE = frozenset((CTX, SOCKET, SOCK_COMMON, TCP_SOCK, XDP_SOCK, BTF_ID, ARENA))


def _same_kind(env: Env, reg: Reg) -> None:
    """An access that the kernel rewrites cannot be rewritten in two ways."""
    before = env.access_kinds.get(env.pc)
    kind = (reg.kind, reg.flags)
    if before is None:
        env.access_kinds[env.pc] = kind
    elif before != kind and (kind[0] in _OWN_CODE or before[0] in _OWN_CODE):
        env.refuse("same insn cannot be used with different pointers")


def access(
    env: Env, insn: Instruction, number: int, off: int, size: int, write: bool, value: int, strict: bool = False
) -> int:
    """Judge one access through register `number`; a load sets register `value` (-1: none).

    Gives the mask of stack slots that are overwritten whole.
    """
    reg = env.regs[number]
    check_alignment(env, reg, off, size, strict)
    check = _KINDS.get(reg.kind)
    if check is None or (reg.flags & MAYBE_NULL and reg.kind != MEM):
        env.refuse(f"R{number} invalid mem access '{reg.name}'", EACCES)
    off += reg.off
    if reg.kind == STACK:
        if write:
            return _stack.store(env, number, reg, off, size, value, insn)
        _stack.load(env, number, reg, off, size, value)
        return 0
    if write and value >= 0 and not env.privileged and env.regs[value].kind != SCALAR:
        _leak(env, reg, value)
    got = check(env, number, reg, off, size, write)
    if not write and value >= 0:
        env.regs[value] = got if got is not None else Reg(SCALAR, unknown_of(size), env.pc)
    return 0


def _leak(env: Env, reg: Reg, value: int) -> None:
    where = {MAP_VALUE: "map", CTX: "ctx", PACKET: "packet", PACKET_META: "packet"}.get(reg.kind, "mem")
    env.refuse(f"R{value} leaks addr into {where}", EACCES)


def check_alignment(env: Env, reg: Reg, off: int, size: int, strict: bool) -> None:
    """The stack is aligned always; other memory where the processor asks for it, which x86 does not."""
    if size == 1 or not (strict or reg.kind == STACK) or reg.kind == ARENA:
        return
    var = reg.var
    total = reg.off + off
    if reg.kind in PACKETS:
        total += 2  # NET_IP_ALIGN of the strict mode
    if not tnum.aligned(tnum.add((var.value, var.mask), (total & (1 << 64) - 1, 0)), size):
        name = _ALIGNED_NAMES.get(reg.kind, "")
        text = offset_text(var)
        if reg.kind in PACKETS:
            env.refuse(f"misaligned packet access off 2+{text}+{reg.off}+{off} size {size}", EACCES)
        env.refuse(f"misaligned {name}access off {text}+{reg.off}+{off} size {size}", EACCES)


def region(env: Env, number: int, reg: Reg, off: int, size: int, total: int, zero_ok: bool = False) -> None:
    """`size` bytes at `off` lie within `total`, wherever the variable part points (check_mem_region_access)."""
    var = reg.var
    if var.smin < 0 and (var.smin == S64_MIN or not -(1 << 31) <= off + var.smin < 1 << 31 or var.smin + off < 0):
        env.refuse(f"R{number} min value is negative, either use unsigned index or do a if (index >=0) check.", EACCES)
    if not _inside(env, number, reg, var.smin + off, size, total, zero_ok):
        env.refuse(f"R{number} min value is outside of the allowed memory range", EACCES)
    if var.umax >= MAX_VAR_OFF:
        env.refuse(f"R{number} unbounded memory access, make sure to bounds check any such access", EACCES)
    if not _inside(env, number, reg, var.umax + off, size, total, zero_ok):
        env.refuse(f"R{number} max value is outside of the allowed memory range", EACCES)


def _inside(env: Env, number: int, reg: Reg, off: int, size: int, total: int, zero_ok: bool) -> bool:
    if off >= 0 and (size > 0 or (size == 0 and zero_ok)) and off + size <= total:
        return True
    if env.log is not None:
        if reg.kind == MAP_KEY:
            env.log.say(f"invalid access to map key, key_size={total} off={off} size={size}")
        elif reg.kind == MAP_VALUE:
            env.log.say(f"invalid access to map value, value_size={total} off={off} size={size}")
        elif reg.kind in PACKETS:
            place = f"R{number}(id={reg.id},off={off},r={total})"
            env.log.say(f"invalid access to packet, off={off} size={size}, {place}")
        else:
            env.log.say(f"invalid access to memory, mem_size={total} off={off} size={size}")
    return False


def packet(env: Env, number: int, reg: Reg, off: int, size: int, zero_ok: bool = False) -> None:
    """The bytes were shown to lie before the packet's end."""
    if reg.var.smin < 0:
        env.refuse(f"R{number} min value is negative, either use unsigned index or do a if (index >=0) check.", EACCES)
    if reg.size < 0 or not _inside(env, number, reg, off, size, reg.size, zero_ok):
        env.refuse(f"R{number} offset is outside of the packet", EACCES)


def fixed_offset(env: Env, number: int, reg: Reg, fixed_ok: bool = False) -> None:
    """The pointer was not moved (kernel: check_ptr_off_reg)."""
    if reg.off < 0:
        env.refuse(f"negative offset {reg.name} ptr R{number} off={reg.off} disallowed", EACCES)
    if not fixed_ok and reg.off:
        env.refuse(f"dereference of modified {reg.name} ptr R{number} off={reg.off} disallowed", EACCES)
    if reg.var.mask or reg.var.value:
        text = offset_text(reg.var)
        env.refuse(f"variable {reg.name} access var_off={text} disallowed", EACCES)


def map_value(env: Env, number: int, reg: Reg, off: int, size: int, write: bool, zero_ok: bool = False) -> None:
    """An access to a map's value: within it, allowed, and not to its lock or timer."""
    info = reg.map
    assert info is not None
    if info.flags & (RDONLY_PROG if write else WRONLY_PROG):
        what = "write into" if write else "read from"
        env.refuse(f"{what} map forbidden, value_size={info.value_size} off={off} size={size}", EACCES)
    region(env, number, reg, off, size, info.value_size, zero_ok)
    low, high = off + reg.var.smin, off + reg.var.umax + size
    for start, length, kind in info.btf_fields:
        if low < start + length and start < high and not kind.startswith("kptr"):
            env.refuse(f"{_FIELD_NAMES.get(kind, 'bpf_' + kind)} cannot be accessed directly by load/store", EACCES)


_FIELD_NAMES = {"spin_lock": "bpf_spin_lock", "timer": "bpf_timer"}


def _map_value(env: Env, number: int, reg: Reg, off: int, size: int, write: bool) -> Reg | None:
    map_value(env, number, reg, off, size, write)
    info = reg.map
    if write or info is None or info.frozen is None or reg.var.mask:
        return None
    if not info.flags & RDONLY_PROG:
        return None
    start = off + reg.var.smin
    return Reg(SCALAR, const(int.from_bytes(info.frozen[start : start + size], "little")), env.pc)


def _map_key(env: Env, number: int, reg: Reg, off: int, size: int, write: bool) -> Reg | None:
    if write:
        env.refuse(f"write to change key R{number} not allowed", EACCES)
    assert reg.map is not None
    region(env, number, reg, off, size, reg.map.key_size)
    return None


def _mem(env: Env, number: int, reg: Reg, off: int, size: int, write: bool) -> Reg | None:
    if reg.flags & MAYBE_NULL:
        env.refuse(f"R{number} invalid mem access '{reg.name}'", EACCES)
    if write and reg.flags & RDONLY:
        env.refuse(f"R{number} cannot write into {reg.name}", EACCES)
    if not reg.flags & UNTRUSTED:
        region(env, number, reg, off, size, reg.size)
    return None


def _context(env: Env, number: int, reg: Reg, off: int, size: int, write: bool) -> Reg | None:
    fixed_offset(env, number, reg)
    program = env.program
    found: Access | None = None
    if not has_layout(program.type):
        found = _argument(env, off, size, write)
    elif off >= 0:
        found = context_access(program.type, program.attach_type, off, size, write, env.profile)
    elif program.type == TRACEPOINT and not write and off % size == 0:
        return None  # tp_prog_is_valid_access compares a negative offset as an unsigned one, and lets it pass
    if found is None:
        env.refuse(f"invalid bpf_context access off={off} size={size}", EACCES)
    if write or found.kind in ("scalar", ""):
        return _given_result(env, off) if program.type == LSM and not write else None
    kind, flags = _CONTEXT_KINDS[found.kind]
    if kind == BTF_ID and not found.trusted:
        flags &= ~TRUSTED
    btf = 0
    if kind == BTF_ID:
        from ._struct import struct_id

        btf = struct_id(env, found.struct)
    return Reg(kind, origin=env.pc, flags=flags, id=env.new_id() if flags & MAYBE_NULL else 0, btf=btf)


def _given_result(env: Env, off: int) -> Reg | None:
    """The last argument of an LSM program: what the hook has returned so far, which has the range of its results."""
    args = env.arguments
    if args is None or off != 8 * len(args.types) or args.result <= 0:
        return None
    from ._hooks import lsm_range

    found = lsm_range(env)
    if found is None or found.wide:
        return None
    low, high = found.low, found.high
    return Reg(SCALAR, sync(0, (1 << 64) - 1, low, high, 0, (1 << 64) - 1, low, high, 0, (1 << 32) - 1), env.pc)


def _argument(env: Env, off: int, size: int, write: bool) -> Access | None:
    """The context of tracing, LSM and struct_ops programs: the arguments of what they attach to."""
    from ._context_btf import btf_access, why_no_access
    from ._struct import kernel_types

    types = kernel_types(env)
    if types is None or env.arguments is None:
        # Nothing is known of the function: every slot is taken for a number.
        return Access("scalar", size) if not write and off >= 0 and off % size == 0 and off < 12 * 8 else None
    found = btf_access(types, env.arguments, off, size, write)
    if found is None and env.log is not None:
        why = why_no_access(types, env.arguments, off, size)
        if why:
            env.log.say(why)
    return found


def _packet(env: Env, number: int, reg: Reg, off: int, size: int, write: bool) -> Reg | None:
    if write and env.program.type not in WRITES_PACKETS:
        env.refuse("cannot write into packet", EACCES)
    packet(env, number, reg, off, size)
    return None


def _flow_keys(env: Env, number: int, reg: Reg, off: int, size: int, _write: bool) -> Reg | None:
    if off < 0 or off + size > 56:  # sizeof(struct bpf_flow_keys)
        env.refuse(f"invalid access to flow keys off={off} size={size}", EACCES)
    return None


_SOCKET_SIZE = {SOCKET: 80, SOCK_COMMON: 56, TCP_SOCK: 104, XDP_SOCK: 4}


def _socket(env: Env, number: int, reg: Reg, off: int, size: int, write: bool) -> Reg | None:
    if write:
        env.refuse(f"R{number} cannot write into {reg.name}", EACCES)
    if reg.var.smin < 0:
        env.refuse(f"R{number} min value is negative, either use unsigned index or do a if (index >=0) check.", EACCES)
    if reg.var.mask or off < 0 or off + size > _SOCKET_SIZE[reg.kind] or off % size:
        env.refuse(f"R{number} invalid {reg.name} access off={off} size={size}", EACCES)
    return None


def _tp_buffer(env: Env, number: int, reg: Reg, off: int, size: int, _write: bool) -> Reg | None:
    _at_fixed_offset(env, number, reg, off, size, "tracepoint buffer")
    return None


def _buffer(env: Env, number: int, reg: Reg, off: int, size: int, write: bool) -> Reg | None:
    if write and reg.flags & RDONLY:
        env.refuse(f"R{number} cannot write into {reg.name}", EACCES)
    _at_fixed_offset(env, number, reg, off, size, "buffer")
    return None


def _at_fixed_offset(env: Env, number: int, reg: Reg, off: int, size: int, what: str) -> None:
    if off < 0:
        env.refuse(f"R{number} invalid {what} access: off={off}, size={size}", EACCES)
    if reg.var.mask or reg.var.value:
        text = offset_text(reg.var)
        env.refuse(f"R{number} invalid variable buffer offset: off={off}, var_off={text}", EACCES)


def _kernel_struct(env: Env, number: int, reg: Reg, off: int, size: int, write: bool) -> Reg | None:
    from ._struct import access_struct

    return access_struct(env, number, reg, off, size, write)


def _arena(_env: Env, _number: int, _reg: Reg, _off: int, _size: int, _write: bool) -> Reg | None:
    return None


def _never(env: Env, number: int, reg: Reg, _off: int, _size: int, _write: bool) -> NoReturn:
    env.refuse(f"R{number} invalid mem access '{reg.name}'", EACCES)


_KINDS: dict[int, Callable[[Env, int, Reg, int, int, bool], Reg | None]] = {
    CTX: _context,
    MAP_KEY: _map_key,
    MAP_VALUE: _map_value,
    MEM: _mem,
    STACK: _never,
    PACKET: _packet,
    PACKET_META: _packet,
    FLOW_KEYS: _flow_keys,
    SOCKET: _socket,
    SOCK_COMMON: _socket,
    TCP_SOCK: _socket,
    XDP_SOCK: _socket,
    TP_BUFFER: _tp_buffer,
    BTF_ID: _kernel_struct,
    MAP_PTR: _kernel_struct,
    BUF: _buffer,
    ARENA: _arena,
}

ATOMICS = frozenset((op.ADD, op.OR, op.AND, op.XOR, op.ADD | 1, op.OR | 1, op.AND | 1, op.XOR | 1, op.XCHG, op.CMPXCHG))
_NO_ATOMICS = frozenset((CTX, PACKET, PACKET_META, PACKET_END, FLOW_KEYS, *SOCKETS))


def atomic(env: Env, insn: Instruction, at: int) -> int:
    """Read-modify-write, load-acquire and store-release."""
    size = SIZES[insn.opcode & op.SIZE_MASK]
    if insn.imm not in ATOMICS:
        return _acquire_release(env, insn, at, size)
    if size < 4:
        env.refuse("invalid atomic operand size")
    env.source(insn.src)
    reg = env.source(insn.dst)
    if insn.imm == op.CMPXCHG:
        env.source(0)
    if not env.privileged and env.regs[insn.src].kind != SCALAR:
        env.refuse(f"R{insn.src} leaks addr into mem", EACCES)
    _allowed(env, insn.dst, reg)
    loaded = -1
    if insn.imm & op.FETCH:
        loaded = 0 if insn.imm == op.CMPXCHG else insn.src
        if loaded == 10:
            env.target(10)
    access(env, insn, insn.dst, insn.off, size, False, -1, True)
    if loaded >= 0:
        saved = env.regs[insn.dst]
        access(env, insn, insn.dst, insn.off, size, False, loaded, True)
        got = env.regs[loaded]
        if size < 8 and got.kind == SCALAR:
            _narrow(env, loaded, got, size, False)
        if loaded == insn.dst:  # the kernel judges the store with what was loaded
            del saved
    mask = access(env, insn, insn.dst, insn.off, size, True, -1, True)
    env.instance.wrote(at, mask)
    return at + 1


def _allowed(env: Env, number: int, reg: Reg) -> None:
    if reg.kind in _NO_ATOMICS:
        env.refuse(f"BPF_ATOMIC stores into R{number} {reg.name} is not allowed", EACCES)


def _acquire_release(env: Env, insn: Instruction, at: int, size: int) -> int:
    if insn.imm == op.LOAD_ACQ and env.profile.has("load_acquire"):
        reg = env.source(insn.src)
        if reg.kind in _NO_ATOMICS:
            env.refuse(f"BPF_ATOMIC loads from R{insn.src} {reg.name} is not allowed", EACCES)
        return _plain(env, insn, at, insn.src, size)
    if insn.imm == op.STORE_REL and env.profile.has("load_acquire"):
        env.source(insn.src)
        reg = env.source(insn.dst)
        _allowed(env, insn.dst, reg)
        mask = access(env, insn, insn.dst, insn.off, size, True, insn.src, True)
        env.instance.wrote(at, mask)
        return at + 1
    env.refuse(f"BPF_ATOMIC uses invalid atomic opcode {insn.imm & 0xFFFFFFFF:02x}")
    return None


def _plain(env: Env, insn: Instruction, at: int, number: int, size: int) -> int:
    access(env, insn, number, insn.off, size, False, insn.dst, True)
    got = env.regs[insn.dst]
    if size < 8 and got.kind == SCALAR:
        _narrow(env, insn.dst, got, size, False)
    return at + 1
