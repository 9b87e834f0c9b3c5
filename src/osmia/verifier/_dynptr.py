"""Dynamic pointers: two stack slots that only their helpers touch."""

from __future__ import annotations

from ._refs import acquire, release
from ._stack import slot_read, within_bounds
from ._state import (
    DYNPTR,
    INVALID8,
    MEM,
    RDONLY,
    S_DYNPTR,
    STACK,
    UNINIT,
    Reg,
    Slot,
    each_reg,
    unknown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._args import Call
    from ._env import Env
    from ._state import Frame

LOCAL, RING, SKB, XDP = 1, 2, 3, 4
NAMES = {LOCAL: "local", RING: "ringbuf", SKB: "skb_", XDP: "xdp_"}
_DYNPTR8 = bytes([S_DYNPTR]) * 8
# What an uninitialized dynptr argument of these becomes.
_MAKES = {"dynptr_from_mem": LOCAL, "ringbuf_reserve_dynptr": RING}
FIRST = 1  # Reg.frame of the first of the two slots


def argument(env: Env, call: Call, number: int, reg: Reg, arg: str) -> None:
    """A dynptr argument: one to be made, or one that is there."""
    if "uninit" in arg:
        _make(env, call, number, reg)
        return
    found = _initialized(env, number, reg)
    if "ringbuf" in arg and found.size != RING:
        env.refuse(f"Expected a dynptr of type ringbuf as arg #{number - 1}")
    call.dynptr = found
    if "release" in arg:
        _unmake(env, number, reg, found)
        call.release_reg = 0


def _slot_of(env: Env, number: int, reg: Reg) -> int:
    if reg.var.mask:
        env.refuse("dynptr has to be at a constant offset")
    off = reg.off + reg.var.smin
    if off % 8 or off > -16:
        env.refuse(f"cannot pass in dynptr at an offset={off}")
    within_bounds(env, number, reg, reg.off, 16, " write to")
    return -off // 8 - 1


def _make(env: Env, call: Call, number: int, reg: Reg) -> None:
    if reg.kind != STACK:
        env.refuse(f"arg#{number - 1} expected pointer to stack or const struct bpf_dynptr")
    spi = _slot_of(env, number, reg)
    frame = env.state.frames[reg.frame]
    for at in (spi, spi - 1):
        slot = frame.stack.get(at)
        if slot is not None and slot.types[7] == S_DYNPTR:
            destroy(env, frame, at)
    kind = _MAKES.get(call.proto.name, LOCAL)
    ref = acquire(env) if kind == RING else 0
    id = env.new_id()
    for first in (FIRST, 0):
        made = Reg(DYNPTR, origin=env.pc, size=kind, id=id, ref=ref, frame=first)
        frame.stack[spi if first else spi - 1] = Slot(_DYNPTR8, made)
    if ref:
        call.ref = 0


def _initialized(env: Env, number: int, reg: Reg) -> Reg:
    if reg.kind == DYNPTR:
        return reg
    spi = _slot_of(env, number, reg)
    frame = env.state.frames[reg.frame]
    upper, lower = frame.stack.get(spi), frame.stack.get(spi - 1)
    for at in (spi, spi - 1):
        slot_read(env, reg.frame, at)
    if (
        upper is None
        or lower is None
        or upper.types != _DYNPTR8
        or lower.types != _DYNPTR8
        or upper.reg is None
        or not upper.reg.frame
        or lower.reg is None
        or lower.reg.id != upper.reg.id
    ):
        env.refuse(f"Expected an initialized dynptr as arg #{number - 1}")
    return upper.reg


def _unmake(env: Env, number: int, reg: Reg, found: Reg) -> None:
    if reg.kind != STACK:
        env.refuse("CONST_PTR_TO_DYNPTR cannot be released")
    if not found.ref or not release(env, found.ref):
        env.refuse(f"arg {number} is an unacquired reference")
    for frame in env.state.frames:
        for spi, slot in list(frame.stack.items()):
            if slot.types == _DYNPTR8 and slot.reg is not None and slot.reg.id == found.id:
                frame.stack[spi] = Slot(INVALID8)
    forget_slices(env, found.id)


def forget_slices(env: Env, id: int) -> None:
    """Memory that was reached through the dynptr is out of reach."""
    gone = unknown(env.pc) if env.privileged else UNINIT
    each_reg(env.state, lambda r: gone if r.kind == MEM and r.frame == id and id else r)


def destroy(env: Env, frame: Frame, spi: int) -> Slot:
    """A store into one of its slots ends a dynptr; one that holds a reference must not be lost."""
    slot = frame.stack[spi]
    reg = slot.reg
    assert reg is not None
    if reg.ref:
        env.refuse("cannot overwrite referenced dynptr")
    for at in (spi - 1, spi, spi + 1):
        other = frame.stack.get(at)
        if other is not None and other.reg is not None and other.types == _DYNPTR8 and other.reg.id == reg.id:
            frame.stack[at] = Slot(INVALID8)
    forget_slices(env, reg.id)
    return Slot(INVALID8)


def data(env: Env, call: Call, result: Reg) -> Reg:
    """What bpf_dynptr_data returns is memory that lives as long as the dynptr."""
    found = call.dynptr
    if found is not None:
        result.ref = found.ref
        result.frame = found.id
        if found.size in (SKB, XDP):
            result.flags |= RDONLY
    return result
