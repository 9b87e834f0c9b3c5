"""Closures for the interpreter: each does one instruction on the state `r` and returns the next slot."""

from __future__ import annotations

from struct import Struct

from ..errors import VmFault
from ..isa import op
from ._code_check import CALL, CALLX, EXIT, JA, JA32, MAY_GOTO
from ._interpreter_ops import ALU, ALU_SIGNED, JUMPS, M, W, expression, signed_divide, signed_modulo, swap
from ._machine import FRAME_SIZE, FRAMES, TAIL_CALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..isa import Instruction
    from ._interpreter import Interpreter
    from ._machine import Machine
    from ._memory import Region

    Step = Callable[[list[Any]], int]

_FORMATS = {op.B: "B", op.H: "<H", op.W: "<I", op.DW: "<Q"}
STRUCTS = {size: Struct(text) for size, text in _FORMATS.items()}
_factories: dict[tuple[str, bool, bool, str], Any] = {}


def place(error: BaseException, machine: Machine, program: str, at: int) -> BaseException:
    """A fault that a helper found belongs to the instruction that called it.

    A map that lacks what the helper does with it is of another type than the verifier would have allowed: a fault too.
    """
    if isinstance(error, AttributeError) and any(error.obj is made for made in machine.maps):
        found: Any = error.obj
        error = VmFault(
            f"run {program}: instruction {at}: map {found.name} (type {found.type}) is not of a type for this helper",
            kind="call",
        )
    if isinstance(error, VmFault) and error.insn < 0:
        error.insn, error.program = at, program
    return error


class Done(Exception):
    """The outermost frame has exited; r[0] is the result."""


class _Whole:
    """Stands for a region when accesses are not checked."""

    __slots__ = ("base", "end", "view", "writable")

    def __init__(self) -> None:
        from ..syscalls.native import whole_memory

        self.view = whole_memory()
        self.base, self.end, self.writable = 0, len(self.view), True


_NOWHERE: Any = type("Nowhere", (), {"base": 1, "end": 0, "writable": False})()


def build(engine: Interpreter) -> list[Step]:
    """One closure per slot of the program (the second half of a 64-bit load is never stepped on)."""
    region: Any = _NOWHERE if engine.checked else _Whole()
    out: list[Step] = []
    for at, i in enumerate(engine.code.slots):
        cls = i.opcode & op.CLASS_MASK
        out.append(_BUILDERS[cls](engine, i, at, region))
    return out


def _factory(kind: str, wide: bool, immediate: bool, text: str) -> Any:
    """A maker of closures for one operation, compiled from its expression once per process."""
    key = (kind, wide, immediate, text)
    found = _factories.get(key)
    if found is None:
        body = expression(text, wide, immediate)
        if kind == "alu":
            step = f"  r[d] = {body}\n  return n\n"
        else:
            step = f"  return t if {body} else n\n"
        source = f"def make(d, s, k, n, t):\n def step(r):\n{step} return step\n"
        scope: dict[str, Any] = {"signed_divide": signed_divide, "signed_modulo": signed_modulo}
        exec(compile(source, "<instruction>", "exec"), scope)
        found = _factories[key] = scope["make"]
    return found


def _alu(engine: Interpreter, i: Instruction, at: int, region: Any) -> Step:
    code, wide = i.opcode & op.OP_MASK, i.opcode & op.CLASS_MASK == op.ALU64
    immediate = not i.opcode & op.X
    if code == op.END:
        return _swap(i, at)
    if code == op.MOV and i.off:
        return _sign_extend(i, at, M if wide else W)
    table = ALU_SIGNED if i.off == 1 and code in ALU_SIGNED else ALU
    make = _factory("alu", wide, immediate, table[code])
    step: Step = make(i.dst, i.src, i.imm & (M if wide else W), at + 1, 0)
    return step


def _swap(i: Instruction, at: int) -> Step:
    """le16 .. le64 (this machine is little-endian: they cut), be16 .. be64 and bswap."""
    d, n, width = i.dst, at + 1, i.imm
    if i.opcode == op.ALU | op.END:
        mask = (1 << width) - 1

        def cut(r: list[Any]) -> int:
            r[d] &= mask
            return n

        return cut

    def reverse(r: list[Any]) -> int:
        r[d] = swap(r[d], width)
        return n

    return reverse


def _sign_extend(i: Instruction, at: int, mask: int) -> Step:
    d, s, n, half = i.dst, i.src, at + 1, 1 << i.off - 1
    low = (1 << i.off) - 1

    def step(r: list[Any]) -> int:
        r[d] = (((r[s] & low) ^ half) - half) & mask
        return n

    return step


def _jump(engine: Interpreter, i: Instruction, at: int, region: Any) -> Step:
    opcode, n = i.opcode, at + 1
    if opcode in (JA, JA32):
        t = n + (i.imm if opcode == JA32 else i.off)
        return lambda r: t
    if opcode == EXIT:
        return _exit
    if opcode == CALL:
        return _local_call(engine, at, n + i.imm) if i.src else _helper_call(engine, i.imm, at)
    if opcode == CALLX:
        return _indirect_call(engine, i.dst, at)
    if opcode == MAY_GOTO:
        return _may_goto(n, n + i.off)
    wide = opcode & op.CLASS_MASK == op.JMP
    make = _factory("jump", wide, not opcode & op.X, JUMPS[opcode & op.OP_MASK])
    step: Step = make(i.dst, i.src, i.imm & (M if wide else W), n, n + i.off)
    return step


def _exit(r: list[Any]) -> int:
    frames = r[11]
    if not frames:
        raise Done
    at: int
    at, r[6], r[7], r[8], r[9], r[10], r[12] = frames.pop()
    return at


def _may_goto(n: int, t: int) -> Step:
    def step(r: list[Any]) -> int:
        if r[12]:
            r[12] -= 1
            return n
        return t

    return step


def _local_call(engine: Interpreter, at: int, t: int) -> Step:
    n = at + 1
    from ._interpreter import MAY_GOTO_BUDGET

    def step(r: list[Any]) -> int:
        frames = r[11]
        if len(frames) >= FRAMES - 1:
            raise engine.fault(f"more than {FRAMES} frames: endless recursion?", "depth", at)
        frames.append((n, r[6], r[7], r[8], r[9], r[10], r[12]))
        r[6] = r[7] = r[8] = r[9] = 0
        r[10] -= FRAME_SIZE
        r[12] = MAY_GOTO_BUDGET
        return t

    return step


def _helper_call(engine: Interpreter, number: int, at: int) -> Step:
    n, machine = at + 1, engine.machine
    if number == TAIL_CALL:

        def tail_call(r: list[Any]) -> int:
            try:
                return _exit(r) if engine.tail_call(r) else n
            except (VmFault, AttributeError) as error:
                raise place(error, machine, engine.code.name, at) from None

        return tail_call
    helper = machine.helper(number, engine.code.name)

    def step(r: list[Any]) -> int:
        try:
            r[0] = helper(machine, r[1], r[2], r[3], r[4], r[5]) & M
        except (VmFault, AttributeError) as error:
            raise place(error, machine, engine.code.name, at) from None
        return n

    return step


def _indirect_call(engine: Interpreter, register: int, at: int) -> Step:
    """callx: a function of this program by its handle, or a helper by its number."""
    code = engine.code
    calls = {code.handle(start): _local_call(engine, at, start) for start in code.callbacks}
    helpers: dict[int, Step] = {}

    def step(r: list[Any]) -> int:
        value = r[register]
        call = calls.get(value) or helpers.get(value)
        if call is None:
            if value > W or value == TAIL_CALL:
                raise engine.fault(f"call of {value:#x}, which is no function of this program", "call", at)
            call = helpers[value] = _helper_call(engine, value, at)
        return call(r)

    return step


def _wide_load(engine: Interpreter, i: Instruction, at: int, region: Any) -> Step:
    if i.opcode != op.LD_IMM64:
        return _packet_load(engine, i, at)
    d, n, value = i.dst, at + 2, engine.code.constants[at]

    def step(r: list[Any]) -> int:
        r[d] = value
        return n

    return step


def _packet_load(engine: Interpreter, i: Instruction, at: int) -> Step:
    """LD_ABS, LD_IND: big-endian from the packet of the context in r6; the program ends with 0 when out of bounds."""
    from ._packet_load import load

    if i.opcode == 0:
        return _second_half(engine, at)
    n, machine, base, size = at + 1, engine.machine, i.imm, op.SIZE_BYTES[i.opcode & op.SIZE_MASK]
    index = i.src if i.opcode & op.MODE_MASK == op.IND else -1

    def step(r: list[Any]) -> int:
        offset = base if index < 0 else base + (r[index] & W)
        try:
            value = load(machine, r[6], offset, size)
        except (VmFault, AttributeError) as error:
            raise place(error, machine, engine.code.name, at) from None
        if value < 0:
            r[0] = 0
            return _exit(r)
        r[0] = value
        return n

    return step


def _second_half(engine: Interpreter, at: int) -> Step:
    def step(r: list[Any]) -> int:
        raise engine.fault("the second half of a 64-bit load", "instruction", at)

    return step


def _load(engine: Interpreter, i: Instruction, at: int, region: Region) -> Step:
    d, s, off, n = i.dst, i.src, i.off, at + 1
    layout = STRUCTS[i.opcode & op.SIZE_MASK]
    unpack, size = layout.unpack_from, layout.size
    find = engine.machine.memory.region
    half = 1 << size * 8 - 1 if i.opcode & op.MODE_MASK == op.MEMSX else 0

    def step(r: list[Any]) -> int:
        nonlocal region
        address = (r[s] + off) & M
        if not region.base <= address <= region.end - size:
            region = find(address, size, False, at)
        (r[d],) = unpack(region.view, address - region.base)
        return n

    if not half:
        return step

    def extend(r: list[Any]) -> int:
        step(r)
        r[d] = ((r[d] ^ half) - half) & M
        return n

    return extend


def _store(engine: Interpreter, i: Instruction, at: int, region: Region) -> Step:
    if i.opcode & op.MODE_MASK == op.ATOMIC:
        from ._interpreter_atomic import atomic

        return atomic(engine, i, at, region)
    d, s, off, n = i.dst, i.src, i.off, at + 1
    layout = STRUCTS[i.opcode & op.SIZE_MASK]
    pack, size = layout.pack_into, layout.size
    find = engine.machine.memory.region
    mask = (1 << size * 8) - 1
    immediate = i.opcode & op.CLASS_MASK == op.ST
    constant = i.imm & mask

    def step(r: list[Any]) -> int:
        nonlocal region
        address = (r[d] + off) & M
        if not region.base <= address <= region.end - size:
            region = find(address, size, True, at)
        pack(region.view, address - region.base, constant if immediate else r[s] & mask)
        return n

    return step


_BUILDERS: dict[int, Callable[[Interpreter, Instruction, int, Any], Step]] = {
    op.LD: _wide_load,
    op.LDX: _load,
    op.ST: _store,
    op.STX: _store,
    op.ALU: _alu,
    op.JMP: _jump,
    op.JMP32: _jump,
    op.ALU64: _alu,
}
