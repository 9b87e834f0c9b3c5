"""Conditional jumps: is the outcome known, and what does each outcome teach (kernel: check_cond_jmp_op)."""

from __future__ import annotations

from ..isa import op
from ._env import EACCES, EINVAL
from ._precision import mark_precise
from ._prune import widen_from_entry
from ._refs import drop_reference
from ._scalar import Scalar, const
from ._state import (
    FUNC,
    MAP_PTR,
    MAP_VALUE,
    MAYBE_NULL,
    PACKET,
    PACKET_END,
    PACKET_META,
    S_SPILL,
    SCALAR,
    XDP_SOCK,
    ZERO,
    Reg,
    Slot,
    each_reg,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._env import Env
    from ._rules import Rules
    from ._state import State

    Linked = tuple[tuple[int, bool, int], ...]

MAX_PACKET_OFF = 0xFFFF
AT_END, BEYOND_END = -1, -2  # ranges of a packet pointer that was shown to be no pointer to a byte
FLIP = {
    op.JEQ: op.JEQ, op.JNE: op.JNE, op.JSET: op.JSET, op.JGE: op.JLE, op.JGT: op.JLT, op.JLE: op.JGE, op.JLT: op.JGT,
    op.JSGE: op.JSLE, op.JSGT: op.JSLT, op.JSLE: op.JSGE, op.JSLT: op.JSGT,
}  # fmt: skip
U32 = (1 << 32) - 1
# Map types whose values read through a look-up are something else than memory.
INNER_MAPS = (12, 13)
XSKMAP, SOCKMAPS = 17, (15, 18)


def check_fields(env: Env, insn: Instruction) -> None:
    """Fields that jumps do not use are zero."""
    kind = insn.opcode & op.OP_MASK
    cls = insn.opcode & op.CLASS_MASK
    if kind == op.CALL:
        if (insn.off and insn.src != op.PSEUDO_KFUNC_CALL) or insn.dst or insn.src > 2 or insn.opcode & op.X:
            env.refuse("BPF_CALL uses reserved fields")
    elif kind == op.JA:
        if insn.src or insn.dst or (insn.imm if cls == op.JMP else insn.off):
            env.refuse("BPF_JA uses reserved fields")
    elif kind == op.EXIT:
        if insn.src or insn.dst or insn.imm:
            env.refuse("BPF_EXIT uses reserved fields")
    elif kind == op.JCOND:
        if insn.src or insn.dst or insn.imm:
            env.refuse(f"invalid may_goto imm {insn.imm}" if insn.imm else "BPF_JCOND uses reserved fields")
    elif insn.imm if insn.opcode & op.X else insn.src:
        env.refuse("BPF_JMP/JMP32 uses reserved fields")


def jump(env: Env, insn: Instruction, at: int) -> int:
    """`goto`."""
    return at + 1 + (insn.imm if insn.opcode & op.CLASS_MASK == op.JMP32 else insn.off)


def branch(env: Env, insn: Instruction, at: int) -> int:
    """`if dst condition src goto`."""
    opcode = insn.opcode
    by_register = bool(opcode & op.X)
    if by_register:
        src = env.source(insn.src)
        dst = env.source(insn.dst)
    else:
        dst = env.source(insn.dst)
        src = Reg(SCALAR, const(insn.imm), at)
    kind = opcode & op.OP_MASK
    wide = opcode & op.CLASS_MASK == op.JMP
    taken = _outcome(env, dst, src, kind, wide)
    if taken is not None:
        if dst.kind == SCALAR:
            mark_precise(env, insn.dst)
        if by_register and src.kind == SCALAR:
            mark_precise(env, insn.src)
        return at + 1 + insn.off if taken else at + 1
    return _both(env, insn, at, dst, src, kind, wide, by_register)


def _both(env: Env, insn: Instruction, at: int, dst: Reg, src: Reg, kind: int, wide: bool, by_register: bool) -> int:
    state = env.state
    linked: Linked = ()
    if by_register and src.kind == SCALAR and src.id:
        linked = linked_to(state, src.id)
    if dst.kind == SCALAR and dst.id and not (by_register and dst.id == src.id and linked):
        linked += linked_to(state, dst.id)
    if len(linked) > 1 and state.hist is not None:
        state.hist.linked = linked
    other = env.push(at + 1 + insn.off)
    if dst.kind == SCALAR and src.kind == SCALAR:
        (a, b), (c, d) = env.rules.refine(kind, dst.var, src.var, wide)
        if by_register and insn.src == insn.dst:  # the kernel narrows the one register from both sides
            a = b = _common(env.rules, a, b)
            c = d = _common(env.rules, c, d)
        _learn(other, insn, a, b, by_register)
        _learn(state, insn, c, d, by_register)
        for which in (state, other) if linked else ():
            regs = which.frames[-1].regs
            if by_register and src.id:
                sync(env.rules, which, regs[insn.src], linked)
            if dst.id:
                sync(env.rules, which, regs[insn.dst], linked)
        return at + 1
    _pointers(env, insn, state, other, dst, src, kind, wide, by_register)
    return at + 1


def _common(rules: Rules, a: Scalar, b: Scalar) -> Scalar:
    return rules.sync(
        a.value, a.mask, max(a.smin, b.smin), min(a.smax, b.smax), max(a.umin, b.umin), min(a.umax, b.umax),
        max(a.s32min, b.s32min), min(a.s32max, b.s32max), max(a.u32min, b.u32min), min(a.u32max, b.u32max),
    )  # fmt: skip


def _learn(state: State, insn: Instruction, a: Scalar, b: Scalar, by_register: bool) -> None:
    regs = state.frames[-1].regs
    _set(regs, insn.dst, a)
    if by_register:
        _set(regs, insn.src, b)


def _set(regs: list[Reg], number: int, var: Scalar) -> None:
    reg = regs[number]
    if reg.var is not var:
        regs[number] = Reg(SCALAR, var, reg.origin, reg.off, reg.id, linked=reg.linked)


def linked_to(state: State, id: int) -> Linked:
    """Where the scalars of that identity are: registers, then spilled ones, frame by frame (at most 6)."""
    out = []
    for n, frame in enumerate(state.frames):
        for number in range(10):
            reg = frame.regs[number]
            if reg.id == id and reg.kind == SCALAR:
                out.append((n, False, number))
        for spi, slot in frame.stack.items():
            spilled = slot.reg
            if spilled is not None and spilled.id == id and spilled.kind == SCALAR and slot.types[7] == S_SPILL:
                out.append((n, True, spi))
    return tuple(out)


def sync(rules: Rules, state: State, known: Reg, linked: Linked) -> None:
    """What was learnt of `known` holds for its copies, and for copies that a constant was added to."""
    for n, is_slot, number in linked:
        frame = state.frames[n]
        if is_slot:
            slot = frame.stack[number]
            old = slot.reg
        else:
            old = frame.regs[number]
        if old is None or old is known or old.kind != SCALAR or old.id != known.id or not known.id:
            continue
        new = _moved(rules, old, known)
        if is_slot:
            frame.stack[number] = Slot(slot.types, new)
        else:
            frame.regs[number] = new


def _moved(rules: Rules, old: Reg, known: Reg) -> Reg:
    if old.linked and known.linked and old.linked != known.linked:
        return old  # what was added to 32 bits says nothing of what was added to 64
    delta = (old.off if old.linked else 0) - (known.off if known.linked else 0)
    if not delta:
        return Reg(SCALAR, known.var, old.origin, known.off, known.id, linked=known.linked)
    if 32 in (old.linked, known.linked):
        var = rules.alu(op.ADD, known.var, const(delta & U32), False)
    else:
        var = rules.moved(known.var, delta)
    return Reg(SCALAR, var, old.origin, old.off, old.id, linked=old.linked)


def _outcome(env: Env, dst: Reg, src: Reg, kind: int, wide: bool) -> bool | None:
    if dst.kind == SCALAR and src.kind == SCALAR:
        return env.rules.decide(kind, dst.var, src.var, wide)
    if wide and dst.kind in (PACKET, PACKET_META, PACKET_END) and src.kind in (PACKET, PACKET_META, PACKET_END):
        return _packet_outcome(dst, src, kind)
    if dst.kind == SCALAR:
        dst, src = src, dst
        kind = FLIP[kind]
    if src.kind != SCALAR or (src.var.mask if wide else src.var.mask & U32):
        return None
    if not not_null(dst, env.profile.version) or (src.var.value if wide else src.var.value & U32):
        return None
    return False if kind == op.JEQ else True if kind == op.JNE else None


def not_null(reg: Reg, version: tuple[int, int]) -> bool:
    """Whether the pointer cannot be 0 (kernel: reg_not_null)."""
    from ._state import BTF_ID, MAP_KEY, MEM, SOCK_COMMON, SOCKET, STACK, TCP_SOCK, TRUSTED

    if reg.flags & MAYBE_NULL:
        return False
    if reg.kind in (SOCKET, TCP_SOCK, MAP_VALUE, MAP_KEY, SOCK_COMMON):
        return True
    if version < (6, 4):
        return False
    if reg.kind in (STACK, MAP_PTR, FUNC):  # of these 6.12 knows maps only
        return version > (6, 12) or (reg.kind == MAP_PTR and version == (6, 12))
    if reg.kind == BTF_ID:
        return bool(reg.flags & TRUSTED or reg.ref)
    return reg.kind == MEM and not reg.flags & 8


def _packet_outcome(dst: Reg, src: Reg, kind: int) -> bool | None:
    if src.kind == PACKET_END:
        pointer = dst
    elif dst.kind == PACKET_END:
        pointer = src
        kind = FLIP[kind]
    else:
        return None
    if pointer.size >= 0:
        return None
    if kind in (op.JLE, op.JGT) and pointer.size == BEYOND_END:
        return kind == op.JGT
    if kind in (op.JLT, op.JGE):
        return kind == op.JGE
    return None


def _pointers(
    env: Env,
    insn: Instruction,
    state: State,
    other: State,
    dst: Reg,
    src: Reg,
    kind: int,
    wide: bool,
    by_register: bool,
) -> None:
    if by_register and wide and kind in (op.JEQ, op.JNE) and _lift_null(state, other, dst, src, kind):
        return
    null_check = not by_register and wide and not insn.imm and kind in (op.JEQ, op.JNE)
    if null_check and dst.flags & MAYBE_NULL and dst.kind != SCALAR:
        null_branch, other_branch = (other, state) if kind == op.JEQ else (state, other)
        settle_null(env, null_branch, dst, is_null=True)
        settle_null(env, other_branch, dst, is_null=False)
        return
    if by_register and wide and _packet_range(state, other, insn, dst, src, kind):
        return
    if not env.privileged and dst.kind != SCALAR:
        env.refuse(f"R{insn.dst} pointer comparison prohibited", EACCES)


def _lift_null(state: State, other: State, dst: Reg, src: Reg, kind: int) -> bool:
    """Equal to a pointer that is not null means not null (kernel: befae75856ab, 6.1)."""
    if dst.kind == SCALAR or src.kind == SCALAR or dst.kind != src.kind:
        return False
    if bool(dst.flags & MAYBE_NULL) == bool(src.flags & MAYBE_NULL):
        return False
    from ._state import BTF_ID

    if dst.kind == BTF_ID:
        return False
    equal = other if kind == op.JEQ else state
    pointer = dst if dst.flags & MAYBE_NULL else src
    settle_null(None, equal, pointer, is_null=False)
    return True


def settle_null(env: Env | None, state: State, pointer: Reg, *, is_null: bool) -> None:
    """In `state` the pointer and its copies are 0, or are not."""
    id = pointer.id
    if is_null and env is not None and pointer.ref and pointer.ref == id:
        state.refs = drop_reference(state.refs, id)

    def settle(reg: Reg) -> Reg:
        if reg.id != id or not reg.flags & MAYBE_NULL or reg.kind == SCALAR:
            return reg
        if is_null:
            return Reg(SCALAR, ZERO, reg.origin)
        return _not_null(reg)

    each_reg(state, settle)


def _not_null(reg: Reg) -> Reg:
    new = reg.copy()
    new.flags = reg.flags & ~MAYBE_NULL
    info = reg.map
    if reg.kind == MAP_VALUE and info is not None:
        if info.inner is not None and info.type in INNER_MAPS:
            new.kind = MAP_PTR
            new.map = info.inner
            return new
        if info.type == XSKMAP:
            new.kind = XDP_SOCK
            new.map = None
        elif info.type in SOCKMAPS:
            from ._state import SOCKET

            new.kind = SOCKET
            new.map = None
        elif info.btf_fields:
            return new
    new.id = 0
    return new


_RANGES = {  # operation with the end on the right: (which branch gains, open on the right)
    op.JGT: (False, False),
    op.JLT: (True, True),
    op.JGE: (False, True),
    op.JLE: (True, False),
}


def _packet_range(state: State, other: State, insn: Instruction, dst: Reg, src: Reg, kind: int) -> bool:
    """`data + n > data_end` and its like: how many bytes are there where the pointer is not behind the end."""
    if kind not in _RANGES:
        return False
    if _is_end(dst, src):
        pointer, number = dst, insn.dst
    elif _is_end(src, dst):
        pointer, number = src, insn.src
        kind = FLIP[kind]
    else:
        return False
    on_taken, open_right = _RANGES[kind]
    good, bad = (other, state) if on_taken else (state, other)
    _gain(good, pointer, open_right)
    if pointer.kind == PACKET:
        new = bad.frames[-1].regs[number].copy()
        new.size = AT_END if open_right else BEYOND_END
        bad.frames[-1].regs[number] = new
    return True


def _is_end(pointer: Reg, end: Reg) -> bool:
    if pointer.kind == PACKET:
        return end.kind == PACKET_END
    if pointer.kind == PACKET_META and end.kind == PACKET:
        return not end.off and not end.var.mask and not end.var.value
    return False


def _gain(state: State, pointer: Reg, open_right: bool) -> None:
    if pointer.off < 0 or (pointer.off == 0 and open_right):
        return
    if pointer.var.umax > MAX_PACKET_OFF or pointer.var.umax + pointer.off > MAX_PACKET_OFF:
        return
    size = pointer.off + open_right
    kind, id = pointer.kind, pointer.id

    def widen(reg: Reg) -> Reg:
        if reg.kind != kind or reg.id != id or reg.size >= size:
            return reg
        new = reg.copy()
        new.size = size
        return new

    each_reg(state, widen)


def may_goto(env: Env, insn: Instruction, at: int) -> int:
    """A jump that the kernel takes when its counter runs out: the way out of loops without a bound."""
    if not env.profile.has("may_goto"):
        env.refuse(f"unknown opcode {insn.opcode:02x}", EINVAL)
    state = env.state
    # The way out is kept for later; the loop goes on with a deeper counter.
    other = env.push(at + 1)
    other.may_goto = state.may_goto + 1
    if state.parent is not None:
        widen_from_entry(env, other, at, state.parent.depth)
    return at + 1 + insn.off
