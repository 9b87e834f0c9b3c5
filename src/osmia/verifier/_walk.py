"""The walk: depth first over all paths, one handler per opcode."""

from __future__ import annotations

from ..isa import op
from . import _alu, _branch, _call, _memory, _prune, _subprog
from ._encodings import reserved
from ._env import E2BIG, EACCES, EINVAL
from ._refs import check_leaks
from ._scalar import UNKNOWN, const
from ._state import CTX, MAP_PTR, MAP_VALUE, SCALAR, UNINIT, Frame, History, Reg, State, unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..isa import Instruction
    from ._env import Env

    Handler = Callable[[Env, Instruction, int], int]

ARENA_MAP = 33
READS_SKB = (1, 3, 4)  # socket_filter, sched_cls, sched_act


def load_imm(env: Env, insn: Instruction, at: int) -> int:
    """`dst = imm64`, a map, a map's value or a function."""
    if insn.dst == 10:
        env.target(10)
    src = insn.src
    if src == 0:
        value = insn.imm & 0xFFFFFFFF | env.insns[at + 1].imm << 32
        env.regs[insn.dst] = Reg(SCALAR, const(value), at)
    elif src == op.PSEUDO_FUNC:
        return _subprog.function_address(env, insn, at)
    elif src == op.PSEUDO_BTF_ID:
        from ._struct import kernel_variable

        env.regs[insn.dst] = kernel_variable(env, insn, env.insns[at + 1])
    else:
        env.regs[insn.dst] = _map_register(env, insn, at)
    return at + 2


def _map_register(env: Env, insn: Instruction, at: int) -> Reg:
    info = env.program.maps[insn.imm]
    if insn.src in (op.PSEUDO_MAP_FD, op.PSEUDO_MAP_IDX):
        return Reg(MAP_PTR, origin=at, map=info)
    if info.type == ARENA_MAP:
        return unknown(at)
    # Locks are told apart by the identity of the pointer.
    return Reg(MAP_VALUE, origin=at, off=env.insns[at + 1].imm, map=info, id=env.new_id() if info.btf_fields else 0)


def load_packet(env: Env, insn: Instruction, at: int) -> int:
    """The old loads of packet bytes, r6 being the context."""
    mode = insn.opcode & op.MODE_MASK
    if env.program.type not in READS_SKB:
        env.refuse("BPF_LD_[ABS|IND] instructions not allowed for this program type")
    if insn.dst or insn.off or (mode == op.ABS and insn.src):
        env.refuse("BPF_LD_[ABS|IND] uses reserved fields")
    context = env.source(6)
    check_leaks(env, "BPF_LD_[ABS|IND]")
    if context.kind != CTX:
        env.refuse("at the time of BPF_LD_ABS|IND R6 != pointer to skb")
    if mode == op.IND:
        env.source(insn.src)
    _memory.fixed_offset(env, 6, context)
    env.regs[0:6] = [Reg(SCALAR, UNKNOWN, at)] + [UNINIT] * 5
    return at + 1


def call(env: Env, insn: Instruction, at: int) -> int:
    """`call`, of a helper, a function or a kfunc."""
    if insn.src == 0:
        return _call.helper(env, insn, at)
    if insn.src == op.PSEUDO_CALL:
        return _subprog.call(env, insn, at)
    from ._kfunc import call_kfunc

    return call_kfunc(env, insn, at)


def _handlers() -> list[Handler | None]:
    table: list[Handler | None] = [None] * 256
    for cls in (op.ALU, op.ALU64):
        for kind in (op.ADD, op.SUB, op.MUL, op.DIV, op.OR, op.AND, op.LSH, op.RSH, op.MOD, op.XOR, op.ARSH):
            table[cls | kind] = _alu.binary_imm
            table[cls | kind | op.X] = _alu.binary
        table[cls | op.MOV] = _alu.move_imm
        table[cls | op.NEG] = _alu.negate
        table[cls | op.END] = _alu.convert
    table[op.ALU | op.END | op.X] = _alu.convert
    table[op.ALU64 | op.MOV | op.X] = _alu.move
    table[op.ALU | op.MOV | op.X] = _alu.move32
    for cls in (op.JMP, op.JMP32):
        for kind in _branch.FLIP:
            table[cls | kind] = table[cls | kind | op.X] = _branch.branch
        table[cls | op.JA] = _branch.jump
    table[op.JMP | op.CALL] = call
    table[op.JMP | op.EXIT] = _subprog.leave
    table[op.JMP | op.JCOND] = _branch.may_goto
    for size in (op.B, op.H, op.W, op.DW):
        table[op.LDX | op.MEM | size] = table[op.LDX | op.MEMSX | size] = _memory.load
        table[op.STX | op.MEM | size] = _memory.store
        table[op.ST | op.MEM | size] = _memory.store_imm
        table[op.STX | op.ATOMIC | size] = _memory.atomic
        table[op.LD | op.ABS | size] = table[op.LD | op.IND | size] = load_packet
    table[op.LD_IMM64] = load_imm
    return table


HANDLERS = _handlers()


def check_fields(env: Env, insn: Instruction, at: int) -> None:
    """What can be said of an instruction on the first visit, whatever the state."""
    env.checked[at] = 1
    if env.old_encodings:
        message = reserved(insn, env.profile)
        if message:
            env.refuse(message)
    cls = insn.opcode & op.CLASS_MASK
    if cls in (op.ALU, op.ALU64):
        _alu.check_fields(env, insn)
    elif cls in (op.JMP, op.JMP32):
        _branch.check_fields(env, insn)
    elif cls in (op.ST, op.STX):
        _memory.check_store_fields(env, insn)
    elif insn.opcode == op.LD_IMM64 and insn.off:
        env.refuse("BPF_LD_IMM64 uses reserved fields")
    _check_registers(env, insn, cls)


def _check_registers(env: Env, insn: Instruction, cls: int) -> None:
    """There is no r11; what is read is looked at before what is written."""
    reads_src = cls in (op.LDX, op.STX) or (cls not in (op.LD, op.ST) and insn.opcode & op.X)
    if insn.src > 10 and (reads_src or insn.opcode & ~op.SIZE_MASK == op.LD | op.IND):
        env.refuse(f"R{insn.src} is invalid", EINVAL)
    if insn.dst > 10:
        if reads_src:
            env.source(insn.src)
        env.refuse(f"R{insn.dst} is invalid", EINVAL)


def start(env: Env, subprog: int) -> State:
    """The state in which a function is entered."""
    state = State()
    frame = Frame(subprog, -1)
    state.frames.append(frame)
    state.pc = env.code.start[subprog]
    state.branches = 1
    env.subprog = subprog
    return state


def walk(env: Env, state: State) -> None:
    """Follow every path from `state`; Refused where the kernel refuses."""
    env.pending = []
    env.explored = {}
    env.enter(state)
    run_path(env)
    while env.pending:
        state = env.pending.pop()
        env.enter(state)
        run_path(env)


def run_path(env: Env) -> None:
    """One path to its end, or to a state that is known."""
    state = env.state
    at = state.pc
    insns, code = env.insns, env.code
    prune, jump, checked = code.prune, code.jump, env.checked
    handlers = HANDLERS
    log = env.log if env.log is not None and env.log.level else None
    limit = env.limit
    used = code.used
    if log is not None and state.hist is not None:
        log.say(f"\nfrom {state.hist.insn} to {at}: {log.text_of(env.frame, len(state.frames) - 1)}")
    while True:
        env.pc = at
        env.processed += 1
        if env.processed > limit:
            env.refuse(f"BPF program is too large. Processed {env.processed} insn", E2BIG)
        insn = insns[at]
        if prune[at] and _prune.visited(env, at):
            break
        if jump[at]:
            state.jumps += 1
        state.hist = History(at, state.hist)
        if log is not None:
            log.instruction(env, at)
        if not checked[at]:
            check_fields(env, insn, at)
        if not env.instance.seen[at]:
            env.instance.visit(at)
        if insn.opcode & 7 in (5, 6):
            env.jumps += 1
        handler = handlers[insn.opcode]
        if handler is None:
            env.refuse(f"unknown opcode {insn.opcode:02x}", EACCES)
        walked, at = at, handler(env, insn, at)
        if log is not None:
            log.outcome(env, walked, used[walked])
        if at < 0:
            break
    _prune.finish_path(env)
