"""What can be said of a program without walking it: encodings, jumps, functions, reachability, live registers.

The order of the checks is the kernel's, so that a program with two faults is refused with the same words.
"""

from __future__ import annotations

from struct import iter_unpack

from ..isa import Instruction, op
from ._types import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._types import Program

LD_ABS_IND = (op.LD | op.ABS, op.LD | op.IND)
ALL_CALLER_SAVED = 0x3F
ITERATOR = 2  # in Code.force: a call of bpf_iter_*_next
JUMPS = (op.JMP, op.JMP32)
GPL = frozenset(("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"))
CONDITIONS = frozenset((op.JEQ, op.JGT, op.JGE, op.JSET, op.JNE, op.JSGT, op.JSGE, op.JLT, op.JLE, op.JSLT, op.JSLE))


def _opcodes() -> frozenset[int]:
    out: set[int] = set()
    binary = (op.ADD, op.SUB, op.MUL, op.DIV, op.OR, op.AND, op.LSH, op.RSH, op.MOD, op.XOR, op.MOV, op.ARSH)
    for cls in (op.ALU, op.ALU64):
        out.update(cls | o | s for o in binary for s in (op.K, op.X))
        out.add(cls | op.NEG)
        out.add(cls | op.END)
    out.add(op.ALU | op.END | op.X)
    for cls in JUMPS:
        out.update(cls | o | s for o in CONDITIONS for s in (op.K, op.X))
        out.add(cls | op.JA)
    out.update((op.JMP | op.CALL, op.JMP | op.EXIT, op.JMP | op.JCOND))
    sizes = (op.B, op.H, op.W, op.DW)
    out.update(cls | op.MEM | s for cls in (op.LDX, op.ST, op.STX) for s in sizes)
    out.update(op.STX | op.ATOMIC | s for s in sizes)
    out.update(op.LDX | op.MEMSX | s for s in (op.B, op.H, op.W))
    out.update(op.LD | mode | s for mode in (op.ABS, op.IND) for s in (op.B, op.H, op.W))
    out.add(op.LD_IMM64)
    return frozenset(out)


OPCODES = _opcodes()


class Code:
    """A decoded program with what the walk asks of every instruction.

    `start`/`end` of each function, `subprog_of[insn]`; `prune`, `jump`, `force`, `callback` mark instructions as the
    kernel's flags of these names do; `live[insn]` is the set of bits of registers read behind it before written.
    """

    __slots__ = (
        "callback",
        "end",
        "force",
        "has_tail_call",
        "insns",
        "jump",
        "live",
        "preds",
        "prune",
        "start",
        "subprog_at",
        "subprog_of",
        "succs",
        "used",
    )

    def __init__(self, insns: list[Instruction]) -> None:
        self.insns = insns
        count = len(insns)
        self.start: list[int] = [0]
        self.end: list[int] = [count]
        self.subprog_at: dict[int, int] = {0: 0}
        self.subprog_of = [0] * count
        self.prune = bytearray(count + 1)
        self.jump = bytearray(count + 1)
        self.force = bytearray(count + 1)
        self.callback = bytearray(count + 1)
        self.has_tail_call: list[bool] = [False]
        self.succs: list[tuple[int, ...]] = [()] * count
        self.preds: list[list[int]] = []
        self.live: list[int] = [0] * count
        self.used: list[int] = [0] * count  # registers an instruction reads or writes, as bits


def read(data: bytes) -> list[Instruction]:
    """The slots of a program; unlike isa.decode it takes broken ones, which are judged later."""
    if not data or len(data) % 8:
        raise Refused("the program is empty or not a whole number of instructions", 0)
    return [Instruction(code, regs & 15, regs >> 4, off, imm) for code, regs, off, imm in iter_unpack("<BBhi", data)]


def is_pseudo_call(insn: Instruction) -> bool:
    """Whether it calls a function of the program."""
    return insn.opcode == op.JMP | op.CALL and insn.src == op.PSEUDO_CALL


def is_pseudo_func(insn: Instruction) -> bool:
    """Whether it loads the address of a function of the program."""
    return insn.opcode == op.LD_IMM64 and insn.src == op.PSEUDO_FUNC


def target(insn: Instruction, at: int) -> int:
    """Where a jump leads."""
    return at + 1 + (insn.imm if insn.opcode == op.JMP32 | op.JA else insn.off)


def find_functions(code: Code, program: Program) -> None:
    """Split the program at the targets of its calls."""
    insns = code.insns
    starts = {0}
    for at, insn in enumerate(insns):
        if is_pseudo_call(insn) or is_pseudo_func(insn):
            to = at + 1 + insn.imm
            if not 0 <= to < len(insns):
                raise Refused(f"call to invalid destination {to}", at)
            starts.add(to)
        elif insn.opcode == op.JMP | op.CALL and insn.src == op.PSEUDO_KFUNC_CALL:
            _check_kfunc(program, insn, at)
    if any(not 0 <= s.start < len(insns) for s in program.subprograms):
        raise Refused("func_info BTF section doesn't match subprog layout in BPF program", 0)
    starts.update(s.start for s in program.subprograms)
    code.start = sorted(starts)
    code.end = [*code.start[1:], len(insns)]
    code.subprog_at = {at: n for n, at in enumerate(code.start)}
    code.has_tail_call = [False] * len(code.start)
    for n, (start, end) in enumerate(zip(code.start, code.end, strict=True)):
        for at in range(start, end):
            code.subprog_of[at] = n


def _check_kfunc(program: Program, insn: Instruction, at: int) -> None:
    """Even one that is never reached has to exist; number 0 may stand where code is dead."""
    if program.license not in GPL:
        raise Refused("cannot call kernel function from non-GPL compatible program", at)
    if (insn.imm or insn.off) and insn.imm not in dict(program.kfuncs):
        raise Refused(f"kernel btf_id {insn.imm} is not a function", at)


def check_functions(code: Code) -> None:
    """Jumps stay within their function, and no function runs into the next."""
    last_ok = (op.JMP | op.EXIT, op.JMP32 | op.JA, op.JMP | op.JA)
    for n, (start, end) in enumerate(zip(code.start, code.end, strict=True)):
        for at in range(start, end):
            insn = code.insns[at]
            opcode = insn.opcode
            if opcode == op.JMP | op.CALL and insn.src == 0 and insn.imm == 12:
                code.has_tail_call[n] = True
            if opcode & op.CLASS_MASK in JUMPS and opcode & op.OP_MASK not in (op.EXIT, op.CALL):
                to = target(insn, at)
                if not start <= to < end:
                    raise Refused(f"jump out of range from insn {at} to {to}", at)
        if code.insns[end - 1].opcode not in last_ok:
            raise Refused("last insn is not an exit or jmp", end - 1)


def check_loads(
    code: Code,
    check_map: Callable[[Instruction, Instruction, int], None],
    unknown: Callable[[Instruction], str] | None = None,
) -> None:
    """Every opcode exists, and every 64-bit load is whole; `check_map` judges those of maps and functions, `unknown`
    those that came after the kernel at hand."""
    insns = code.insns
    at = 0
    while at < len(insns):
        insn = insns[at]
        opcode = insn.opcode
        if unknown is not None:
            message = unknown(insn)
            if message:
                raise Refused(message, at)
        if opcode & op.CLASS_MASK == op.LDX and (opcode & op.MODE_MASK not in (op.MEM, op.MEMSX) or insn.imm):
            raise Refused("BPF_LDX uses reserved fields", at)
        if opcode == op.LD_IMM64:
            second = insns[at + 1] if at + 1 < len(insns) else None
            if second is None or second.opcode or second.dst or second.src or second.off:
                raise Refused("invalid bpf_ld_imm64 insn", at)
            if insn.src:
                check_map(insn, second, at)
            at += 2
            continue
        if opcode not in OPCODES:
            raise Refused(f"unknown opcode {opcode:02x}", at)
        at += 1


def successors(insn: Instruction, at: int) -> tuple[int, ...]:
    """Where control may go next within the function."""
    opcode = insn.opcode
    cls = opcode & op.CLASS_MASK
    if cls not in JUMPS:
        return (at + 2,) if opcode == op.LD_IMM64 else (at + 1,)
    kind = opcode & op.OP_MASK
    if kind == op.EXIT:
        return ()
    if kind == op.CALL:
        return (at + 1,)
    if kind == op.JA:
        return (target(insn, at),)
    return (at + 1, at + 1 + insn.off)


def walk_graph(code: Code, callback_kind: Callable[[Instruction], str], *, loops: bool) -> None:
    """Follow every edge once: mark pruning points, refuse what is unreachable (and loops, before Linux 5.3)."""
    insns = code.insns
    state = bytearray(len(insns))  # 1: on the path, 2: done
    stack: list[tuple[int, int]] = [(0, 0)]
    state[0] = 1
    while stack:
        at, edge = stack.pop()
        if edge == 0:
            _mark(code, at, callback_kind)
        edges = code.succs[at]
        insn = insns[at]
        if is_pseudo_call(insn) or is_pseudo_func(insn):
            edges = (*edges, at + 1 + insn.imm)
        if edge == len(edges):
            state[at] = 2
            continue
        stack.append((at, edge + 1))
        to = edges[edge]
        if to >= len(insns):
            raise Refused(f"jump out of range from insn {at} to {to}", at)
        if not state[to]:
            state[to] = 1
            stack.append((to, 0))
        elif state[to] == 1 and not loops:
            raise Refused(f"back-edge from insn {at} to {to}", at)
    _check_reached(insns, state)
    code.preds = [[] for _ in insns]
    for at, succs in enumerate(code.succs):
        for to in succs:
            code.preds[to].append(at)


def _check_reached(insns: list[Instruction], state: bytearray) -> None:
    at = 0
    while at < len(insns):
        if not state[at]:
            raise Refused(f"unreachable insn {at}", at)
        if insns[at].opcode == op.LD_IMM64:
            if state[at + 1]:
                raise Refused(f"jump into the middle of ldimm64 insn {at}", at)
            at += 1
        at += 1


def _mark(code: Code, at: int, callback_kind: Callable[[Instruction], str]) -> None:
    insn = code.insns[at]
    code.succs[at] = succs = successors(insn, at)
    if insn.opcode & op.CLASS_MASK not in JUMPS:
        if is_pseudo_func(insn):
            to = at + 1 + insn.imm
            code.prune[at] = code.prune[at + 2] = code.jump[at + 2] = code.prune[to] = code.jump[to] = 1
        return
    kind = insn.opcode & op.OP_MASK
    if kind == op.CALL:
        calls = callback_kind(insn)
        if calls:
            code.prune[at] = 1
        if calls == "sync":
            code.callback[at] = code.force[at] = code.jump[at] = 1
        if calls == "once":
            code.jump[at] = 1
        if calls == "iter":
            code.force[at] = ITERATOR
        code.prune[at + 1] = code.jump[at + 1] = 1
        if insn.src == op.PSEUDO_CALL:
            code.prune[at] = 1
            to = at + 1 + insn.imm
            code.prune[to] = code.jump[to] = 1
    elif kind == op.JA:
        code.prune[succs[0]] = code.jump[succs[0]] = 1
    elif kind != op.EXIT:
        code.prune[at] = 1
        if kind == op.JCOND:
            code.force[at] = 1
        code.prune[succs[1]] = code.jump[succs[1]] = 1


def uses_and_writes(insn: Instruction, arguments: Callable[[Instruction], int]) -> tuple[int, int]:
    """Registers read and registers written, as bits; `arguments` counts those of a helper or kfunc."""
    opcode = insn.opcode
    cls = opcode & op.CLASS_MASK
    dst, src = 1 << insn.dst, 1 << insn.src
    if cls == op.LD:
        if opcode == op.LD_IMM64:
            return 0, dst
        return 0x7FF, 0  # the kernel does not look closer at these
    if cls == op.LDX:
        return src, dst
    if cls == op.ST:
        return dst, 0
    if cls == op.STX:
        return _store_uses(insn, dst, src)
    if cls in (op.ALU, op.ALU64):
        kind = opcode & op.OP_MASK
        if kind == op.END or kind == op.NEG:
            return dst, dst
        if kind == op.MOV:
            return (src if opcode & op.X else 0), dst
        return (dst | src if opcode & op.X else dst), dst
    kind = opcode & op.OP_MASK
    if kind in (op.JA, op.JCOND):
        return 0, 0
    if kind == op.EXIT:
        return 1, 0
    if kind == op.CALL:
        if insn.src == op.PSEUDO_CALL:
            return 0x3E, ALL_CALLER_SAVED
        return (1 << arguments(insn) + 1) - 2, ALL_CALLER_SAVED
    return (dst | src if opcode & op.X else dst), 0


def _store_uses(insn: Instruction, dst: int, src: int) -> tuple[int, int]:
    if insn.opcode & op.MODE_MASK != op.ATOMIC:
        return dst | src, 0
    if insn.imm == op.CMPXCHG:
        return dst | src | 1, 1
    if insn.imm == op.LOAD_ACQ:
        return src, dst
    return dst | src, src if insn.imm & op.FETCH else 0


def find_live_registers(code: Code, arguments: Callable[[Instruction], int]) -> None:
    """Backward data flow to a fixpoint, as the kernel's compute_live_registers (6.15, 14c8552db644)."""
    live = code.live
    table = [uses_and_writes(i, arguments) for i in code.insns]
    code.used = [(1 if use == 0x3E or write == ALL_CALLER_SAVED else use | write) for use, write in table]
    succs, preds = code.succs, code.preds
    work = list(range(len(live)))
    queued = bytearray(b"\1") * len(live)
    while work:
        at = work.pop()
        queued[at] = 0
        after = 0
        for to in succs[at]:
            after |= live[to]
        use, write = table[at]
        before = after & ~write | use
        if before != live[at]:
            live[at] = before
            for p in preds[at]:
                if not queued[p]:
                    queued[p] = 1
                    work.append(p)
