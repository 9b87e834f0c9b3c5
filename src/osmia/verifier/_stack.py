"""Loads from and stores to the stack: spills, fills, zeros, and what a helper may read there."""

from __future__ import annotations

from ..isa import op
from . import _tnum as tnum
from ._env import EACCES, EINVAL, stack_access
from ._precision import mark_precise
from ._scalar import UNKNOWN, const
from ._state import (
    INVALID8,
    S_DYNPTR,
    S_INVALID,
    S_IRQ,
    S_ITER,
    S_MISC,
    S_SPILL,
    S_ZERO,
    SCALAR,
    SPILL8,
    STACK,
    ZERO,
    Reg,
    Slot,
    is_spill,
    unknown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._env import Env
    from ._state import Frame

MAX_STACK = 512
MAX_VAR_OFF = 1 << 29
SPECIAL = (S_DYNPTR, S_ITER, S_IRQ)
_EMPTY = Slot(INVALID8)


def within_bounds(env: Env, number: int, reg: Reg, off: int, size: int, access: str) -> None:
    """Refuse an access beside the stack; `access` is " read from", " write to" or " indirect access to"."""
    var = reg.var
    if not var.mask:
        low = var.smin + off
        high = low + size
    else:
        if var.smax >= MAX_VAR_OFF or var.smin <= -MAX_VAR_OFF:
            env.refuse(f"invalid unbounded variable-offset{access} stack R{number}", EACCES)
        low = var.smin + off
        high = var.smax + off + size
    if not env.variable_stack:
        _within_bounds_as_before(env, number, reg, off, size, access)
    if low < -MAX_STACK or high > 0 or size < 0:
        if not var.mask:
            env.refuse(f"invalid{access} stack R{number} off={low} size={size}", EACCES)
        text = tnum.text((var.value, var.mask))
        env.refuse(f"invalid variable-offset{access} stack R{number} var_off={text} off={off} size={size}", EACCES)
    frame = env.state.frames[reg.frame]
    depth = -low
    if depth > frame.allocated:
        frame.allocated = depth + 7 & ~7
    if depth > env.depths[frame.subprog]:
        env.depths[frame.subprog] = depth


def _within_bounds_as_before(env: Env, number: int, reg: Reg, off: int, size: int, access: str) -> None:
    """Before 5.12 (01f810ace9ed) programs access the stack at fixed offsets only."""
    var = reg.var
    indirect = "indirect" in access
    if var.mask and not indirect:
        env.refuse(f"variable stack access var_off={tnum.text((var.value, var.mask))} off={off} size={size}", EACCES)
    low, high = var.smin + off, var.smax + off
    if low >= -MAX_STACK and high + size <= 0 and size >= 0:
        return
    if not indirect:
        env.refuse(f"invalid stack off={low} size={size}", EACCES)
    if not var.mask:
        env.refuse(f"invalid stack type R{number} off={low} access_size={size}", EACCES)
    env.refuse(f"R{number} {'min' if low < -MAX_STACK else 'max'} value is outside of stack bound", EACCES)


def slot_read(env: Env, frame: int, spi: int) -> None:
    """The slot matters before this instruction."""
    env.instance.read(env.pc, 1 << frame * 64 + spi)


def load(env: Env, number: int, reg: Reg, off: int, size: int, dst: int) -> None:
    """Read `size` bytes through a stack pointer into register `dst` (-1: into none)."""
    within_bounds(env, number, reg, off, size, " read from")
    var = reg.var
    if not var.mask:
        _load_fixed(env, reg.frame, off + var.smin, size, dst)
        return
    if dst < 0:
        text = tnum.text((var.value, var.mask))
        env.refuse(
            "variable offset stack pointer cannot be passed into helper function; "
            f"var_off={text} off={off} size={size}",
            EACCES,
        )
    initialized(env, number, reg, off, size, writes=False)
    env.regs[dst] = _bytes_value(env, reg.frame, off + var.smin, off + var.smax + size)


def _bytes_value(env: Env, frame: int, low: int, high: int) -> Reg:
    """What bytes that are no spill give: zero if all are, else anything."""
    stack = env.state.frames[frame].stack
    for at in range(low, high):
        slot = stack.get((-at - 1) // 8)
        if slot is None or slot.types[(-at - 1) % 8] != S_ZERO:
            return unknown(env.pc)
    return Reg(SCALAR, ZERO, env.pc)


def _load_fixed(env: Env, frame_number: int, off: int, size: int, dst: int) -> None:
    at = -off - 1
    spi = at // 8
    slot_read(env, frame_number, spi)
    frame = env.state.frames[frame_number]
    slot = frame.stack.get(spi, _EMPTY)
    if is_spill(slot):
        if size == 8 and slot.types == SPILL8:
            _fill(env, frame, frame_number, spi, slot, dst)
        else:
            _fill_part(env, frame, frame_number, slot, off, size, dst)
        return
    for n in range(size):
        kind = slot.types[(at - n) % 8]
        if kind not in (S_MISC, S_ZERO) and not (kind == S_INVALID and env.uninit_stack):
            env.refuse(f"invalid read from stack off {off}+{n} size {size}", EACCES)
    if dst >= 0:
        env.regs[dst] = _bytes_value(env, frame_number, off, off + size)


def _spilled(slot: Slot) -> Reg:
    assert slot.reg is not None
    return slot.reg


def _fill(env: Env, frame: Frame, frame_number: int, spi: int, slot: Slot, dst: int) -> None:
    reg = _spilled(slot)
    if dst < 0:
        if reg.kind != SCALAR and not env.privileged:
            env.refuse(f"leaking pointer from stack off {-spi * 8 - 8}", EACCES)
        return
    if not env.old_spills:
        named = env.identified(reg)
        if named is not reg:
            reg = named
            frame.stack[spi] = Slot(slot.types, reg)
    env.regs[dst] = reg
    stack_access(env, frame_number, spi)


def _width(reg: Reg) -> int:
    """Bits the value needs."""
    return reg.var.umax.bit_length()


def _fill_part(env: Env, frame: Frame, frame_number: int, slot: Slot, off: int, size: int, dst: int) -> None:
    reg = _spilled(slot)
    types = slot.types
    if reg.kind != SCALAR:
        env.refuse("invalid size of register fill", EACCES)
    if dst < 0:
        return
    spill_size = 1
    while spill_size < 8 and types[7 - spill_size] == S_SPILL:
        spill_size += 1
    spi = (-off - 1) // 8
    if env.old_spills:
        _fill_as_before(env, frame_number, slot, off, size, spill_size, dst)
        return
    if size <= spill_size and off % 8 == 0:
        if size == 4 and spill_size == 4 and _width(reg) <= 32:
            named = env.identified(reg)
            if named is not reg:
                reg = named
                frame.stack[spi] = Slot(types, reg)
        env.regs[dst] = reg if _width(reg) <= size * 8 else Reg(SCALAR, reg.var, reg.origin)
        stack_access(env, frame_number, spi)
        return
    kinds = [types[(-off - 1 - n) % 8] for n in range(size)]
    for n, kind in enumerate(kinds):
        if kind not in (S_SPILL, S_MISC, S_ZERO) and not (kind == S_INVALID and env.uninit_stack):
            env.refuse(f"invalid read from stack off {off}+{n} size {size}", EACCES)
    if not reg.var.mask and not reg.var.value and all(k == S_SPILL for k in kinds):
        env.regs[dst] = Reg(SCALAR, ZERO, env.pc)
        stack_access(env, frame_number, spi)
    elif all(k == S_ZERO for k in kinds):
        env.regs[dst] = Reg(SCALAR, ZERO, env.pc)
    else:
        env.regs[dst] = unknown(env.pc)


def _fill_as_before(env: Env, frame_number: int, slot: Slot, off: int, size: int, spill_size: int, dst: int) -> None:
    """Before 6.9 only a fill of the spill's size gives it back."""
    reg = _spilled(slot)
    if off % 8 == 0 and size == spill_size:
        env.regs[dst] = reg
        stack_access(env, frame_number, (-off - 1) // 8)
        return
    for n in range(size):
        kind = slot.types[(-off - 1 - n) % 8]
        if kind not in (S_SPILL, S_MISC) and not (kind == S_INVALID and env.uninit_stack):
            env.refuse(f"invalid read from stack off {off}+{n} size {size}", EACCES)
    env.regs[dst] = unknown(env.pc)


def store(env: Env, number: int, reg: Reg, off: int, size: int, value: int, insn: Instruction) -> int:
    """Write register `value` (-1: the immediate, or anything); gives the mask of slots that are overwritten whole."""
    within_bounds(env, number, reg, off, size, " write to")
    var = reg.var
    if var.mask:
        _store_variable(env, reg, off, size, value, insn)
        return 0
    return _store_fixed(env, reg.frame, off + var.smin, size, value, insn)


def is_immediate(insn: Instruction) -> bool:
    """Whether it stores a constant."""
    return insn.opcode & (op.CLASS_MASK | op.MODE_MASK) == op.ST | op.MEM


def _store_fixed(env: Env, frame_number: int, off: int, size: int, value: int, insn: Instruction) -> int:
    at = -off - 1
    spi = at // 8
    frame = env.state.frames[frame_number]
    old = frame.stack.get(spi)
    if old is not None:
        if not env.privileged and is_spill(old) and size != 8 and _spilled(old).kind != SCALAR:
            env.refuse("attempt to corrupt spilled pointer on stack", EACCES)
        if old.types[7] == S_DYNPTR:
            old = _destroy_dynptr(env, frame, spi)
    aligned = not off % 8
    if value >= 0:
        reg = env.regs[value]
        if reg.kind == SCALAR and aligned and (not env.old_spills or kept_by_older(env, reg, size)):
            _spill_scalar(env, frame, frame_number, spi, size, value, old)
        elif reg.kind != SCALAR and reg.kind:
            _spill_pointer(env, frame, frame_number, spi, size, reg)
        else:
            _store_bytes(env, frame, at, size, value, reg.kind == SCALAR and not reg.var.mask and not reg.var.value)
    elif aligned and is_immediate(insn) and (not env.old_spills or (env.immediate_spills and insn.imm)):
        _save(env, frame, spi, Reg(SCALAR, const(insn.imm), env.pc), size, old)
        stack_access(env, frame_number, spi)
    else:
        _store_bytes(env, frame, at, size, -1, is_immediate(insn) and insn.imm == 0)
    return 1 << frame_number * 64 + spi if size == 8 else 0


def _save(env: Env, frame: Frame, spi: int, reg: Reg, size: int, old: Slot | None) -> None:
    if size == 8:
        frame.stack[spi] = Slot(SPILL8, reg)
        return
    types = bytearray(old.types if old is not None else INVALID8)
    for n in range(8):
        if n >= 8 - size:
            types[n] = S_SPILL
        elif env.old_spills:
            types[n] = S_MISC if types[n] != S_INVALID else S_INVALID
        elif types[n] != S_ZERO and not (types[n] == S_INVALID and env.privileged):
            types[n] = S_MISC
    frame.stack[spi] = Slot(bytes(types), reg)


def kept_by_older(env: Env, reg: Reg, size: int) -> bool:
    """Whether a kernel before 6.9 remembers the number: not 0, which makes bytes of zero, nor one without any bound."""
    var = reg.var
    if not var.mask and not var.value:
        return False
    profile = env.profile
    if size != 8 and not profile.has("narrow_spills"):
        return False
    if var.mask and not profile.has("bounded_spills"):
        return False
    return profile.has("constant_spills") and var != UNKNOWN


def _spill_scalar(env: Env, frame: Frame, frame_number: int, spi: int, size: int, value: int, old: Slot | None) -> None:
    reg = env.regs[value]
    if _width(reg) <= size * 8:
        if not env.old_spills:
            reg = env.regs[value] = env.identified(reg)
    elif reg.id:
        reg = Reg(SCALAR, reg.var, reg.origin)
    _save(env, frame, spi, reg, size, old)
    stack_access(env, frame_number, spi)


def _spill_pointer(env: Env, frame: Frame, frame_number: int, spi: int, size: int, reg: Reg) -> None:
    if size != 8:
        env.refuse("invalid size of register spill", EACCES)
    if reg.kind == STACK and frame is not env.frame:
        env.refuse("cannot spill pointers to stack into stack frame of the caller", EINVAL)
    frame.stack[spi] = Slot(SPILL8, reg)
    stack_access(env, frame_number, spi)


def _store_bytes(env: Env, frame: Frame, at: int, size: int, value: int, zero: bool) -> None:
    spi = at // 8
    old = frame.stack.get(spi)
    types = bytearray(old.types if old is not None else INVALID8)
    if types[7] in (S_SPILL, S_DYNPTR, S_ITER, S_IRQ):
        scrub(types)
    if zero and value >= 0:
        mark_precise(env, value)
    for n in range(size):
        types[(at - n) % 8] = S_ZERO if zero else S_MISC
    frame.stack[spi] = Slot(bytes(types))


def scrub(types: bytearray) -> None:
    """Bytes of a spill (or of an object on the stack) are bytes like any other from now on."""
    for n, kind in enumerate(types):
        if kind not in (S_INVALID, S_MISC, S_ZERO):
            types[n] = S_MISC


def _destroy_dynptr(env: Env, frame: Frame, spi: int) -> Slot:
    from ._dynptr import destroy

    return destroy(env, frame, spi)


def _is_zero(reg: Reg | None) -> bool:
    return reg is not None and reg.kind == SCALAR and not reg.var.mask and not reg.var.value


def _store_variable(env: Env, reg: Reg, off: int, size: int, value: int, insn: Instruction) -> None:
    frame = env.state.frames[reg.frame]
    low, high = reg.var.smin + off, reg.var.smax + off + size
    if value >= 0:
        source = env.regs[value]
        zero = source.kind == SCALAR and not source.var.mask and not source.var.value
    else:
        zero = is_immediate(insn) and insn.imm == 0
    used = False
    for at in range(low, high):
        spi, byte = (-at - 1) // 8, (-at - 1) % 8
        slot = frame.stack.get(spi, _EMPTY)
        if slot.types[7] == S_DYNPTR:
            slot = _destroy_dynptr(env, frame, spi)
        kind = slot.types[byte]
        if not env.privileged and kind not in (S_MISC, S_ZERO):
            env.refuse(f"spilled ptr in range of var-offset stack write; insn {env.pc}, ptr off: {at}", EINVAL)
        if zero and kind == S_SPILL and is_spill(slot) and _is_zero(slot.reg):
            used = True
            continue
        types = bytearray(slot.types)
        if slot.reg is not None:
            scrub(types)
        if zero and kind == S_ZERO:
            used = True
        types[byte] = S_ZERO if zero and kind == S_ZERO else S_MISC
        frame.stack[spi] = Slot(bytes(types))
    if used and value >= 0:
        mark_precise(env, value)


def initialized(
    env: Env,
    number: int,
    reg: Reg,
    off: int,
    size: int,
    *,
    writes: bool,
    zero_ok: bool = False,
    raw: bool = False,
    helper: bool = False,
) -> bool:
    """Bytes of stack that are read as memory. With `raw` they need not be set; True if they then count as written."""
    if size == 0 and not zero_ok:
        env.refuse("invalid zero-sized read", EACCES)
    # Before 6.14 any helper might write what it is given (37cce22dbd51).
    indirect = helper and env.helpers_write
    writes = writes or indirect
    within_bounds(
        env, number, reg, off, size, " indirect access to" if indirect else " write to" if writes else " read from"
    )
    var = reg.var
    low, high = var.smin + off, var.smax + off
    if raw and not var.mask:
        return True
    frame = env.state.frames[reg.frame]
    for at in range(low, high + size):
        spi = (-at - 1) // 8
        slot = frame.stack.get(spi, _EMPTY)
        kind = slot.types[(-at - 1) % 8]
        if kind != S_MISC:
            _check_byte(env, frame, slot, number, reg, off, at - low, size, writes, indirect)
        slot_read(env, reg.frame, spi)
    return False


def _check_byte(
    env: Env,
    frame: Frame,
    slot: Slot,
    number: int,
    reg: Reg,
    off: int,
    nth: int,
    size: int,
    writes: bool,
    indirect: bool,
) -> None:
    var = reg.var
    at = var.smin + off + nth
    spi, byte = (-at - 1) // 8, (-at - 1) % 8
    kind = slot.types[byte]
    if kind == S_ZERO or (kind == S_INVALID and env.uninit_stack):
        if writes:
            types = bytearray(slot.types)
            types[byte] = S_MISC
            frame.stack[spi] = Slot(bytes(types), slot.reg)
        return
    if is_spill(slot) and (env.privileged or _spilled(slot).kind == SCALAR):
        if writes:
            types = bytearray(slot.types)
            scrub(types)
            frame.stack[spi] = Slot(bytes(types))
        return
    what = "invalid indirect read from stack" if indirect else "invalid read from stack"
    if env.variable_stack:
        what = f"{what} R{number}"
    if not var.mask:
        env.refuse(f"{what} off {var.smin + off}+{nth} size {size}", EACCES)
    env.refuse(f"{what} var_off {tnum.text((var.value, var.mask))}+{nth} size {size}", EACCES)


def written(env: Env, reg: Reg, off: int, size: int) -> None:
    """A helper filled these bytes with something."""
    frame = env.state.frames[reg.frame]
    low = reg.var.smin + off
    at = low
    while at < low + size:
        spi, byte = (-at - 1) // 8, (-at - 1) % 8
        count = min(byte + 1, low + size - at)
        slot = frame.stack.get(spi, _EMPTY)
        if slot.types[7] == S_DYNPTR:
            slot = _destroy_dynptr(env, frame, spi)
        types = bytearray(slot.types)
        if types[7] in (S_SPILL, S_ITER, S_IRQ):
            scrub(types)
        for n in range(count):
            types[byte - n] = S_MISC
        frame.stack[spi] = Slot(bytes(types))
        at += count
