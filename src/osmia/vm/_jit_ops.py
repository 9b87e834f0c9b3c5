"""Arithmetic and conditions in LLVM IR, and the book-keeping of registers within a basic block."""

from __future__ import annotations

from ..isa import op

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction

_SIMPLE = {op.ADD: "add", op.SUB: "sub", op.MUL: "mul", op.OR: "or", op.AND: "and", op.XOR: "xor"}
_SHIFTS = {op.LSH: "shl", op.RSH: "lshr", op.ARSH: "ashr"}
_COMPARE = {
    op.JEQ: "eq", op.JGT: "ugt", op.JGE: "uge", op.JNE: "ne", op.JSGT: "sgt", op.JSGE: "sge", op.JLT: "ult",
    op.JLE: "ule", op.JSLT: "slt", op.JSLE: "sle",
}  # fmt: skip


class JumpsAndArithmetic:
    """Text of one function as it grows. `values` holds what each register is now, where this block knows."""

    on_stack = True

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[int, str] = {}
        self.dirty: set[int] = set()
        self.used: set[int] = set()
        self.unwinds = False
        self.has_may_goto = False
        self.has_clock = False
        self._names = 0

    # Text

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def let(self, text: str) -> str:
        """A new name for the value of `text`."""
        self._names += 1
        name = f"%v{self._names}"
        self.lines.append(f"  {name} = {text}")
        return name

    def label(self) -> str:
        """A name for a block."""
        self._names += 1
        return f"l{self._names}"

    def begin(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    # Registers

    def get(self, register: int) -> str:
        """The register's value, 64 bits."""
        if register == 10 and self.on_stack:
            return "%fp"
        value = self.values.get(register)
        if value is None:
            self.used.add(register)
            value = self.values[register] = self.let(f"load i64, ptr %r{register}")
        return value

    def set(self, register: int, value: str) -> None:
        self.used.add(register)
        self.values[register] = value
        self.dirty.add(register)

    def flush(self) -> None:
        """Store what the block changed, before it ends."""
        for register in sorted(self.dirty):
            self.line(f"store i64 {self.values[register]}, ptr %r{register}")
        self.dirty.clear()

    def half(self, value: str) -> str:
        """The low 32 bits."""
        return self.let(f"trunc i64 {value} to i32")

    # Arithmetic

    def arithmetic(self, i: Instruction) -> None:
        code, wide = i.opcode & op.OP_MASK, i.opcode & op.CLASS_MASK == op.ALU64
        if code == op.END:
            self.set(i.dst, self._swap(i))
            return
        if code == op.MOV:
            self.set(i.dst, self._move(i, wide))
            return
        type = "i64" if wide else "i32"
        a = self.get(i.dst) if wide else self.half(self.get(i.dst))
        if code == op.NEG:
            value = self.let(f"sub {type} 0, {a}")
        elif code in _SHIFTS:
            value = self.let(f"{_SHIFTS[code]} {type} {a}, {self._shift(i, wide, type)}")
        else:
            b = self.operand(i, wide)
            if code in _SIMPLE:
                value = self.let(f"{_SIMPLE[code]} {type} {a}, {b}")
            else:
                value = self._divide(code == op.DIV, i.off == 1, type, a, b)
        self.set(i.dst, value if wide else self.let(f"zext i32 {value} to i64"))

    def operand(self, i: Instruction, wide: bool) -> str:
        """The second operand: a constant or a register."""
        if not i.opcode & op.X:
            return str(i.imm)
        return self.get(i.src) if wide else self.half(self.get(i.src))

    def _shift(self, i: Instruction, wide: bool, type: str) -> str:
        limit = 63 if wide else 31
        if not i.opcode & op.X:
            return str(i.imm & limit)
        return self.let(f"and {type} {self.operand(i, wide)}, {limit}")

    def _move(self, i: Instruction, wide: bool) -> str:
        if not i.opcode & op.X:
            return str(i.imm & (0xFFFF_FFFF_FFFF_FFFF if wide else 0xFFFF_FFFF))
        value = self.get(i.src)
        if i.off:
            value = self.let(f"trunc i64 {value} to i{i.off}")
            value = self.let(f"sext i{i.off} {value} to {'i64' if wide else 'i32'}")
            return value if wide else self.let(f"zext i32 {value} to i64")
        return value if wide else self.let(f"zext i32 {self.half(value)} to i64")

    def _swap(self, i: Instruction) -> str:
        value, type = self.get(i.dst), f"i{i.imm}"
        if i.opcode == op.ALU | op.END:
            if i.imm == 64:
                return value
            return self.let(f"and i64 {value}, {(1 << i.imm) - 1}")
        if i.imm < 64:
            value = self.let(f"trunc i64 {value} to {type}")
        value = self.let(f"call {type} @llvm.bswap.{type}({type} {value})")
        return value if i.imm == 64 else self.let(f"zext {type} {value} to i64")

    def _divide(self, quotient: bool, signed: bool, type: str, a: str, b: str) -> str:
        """Division by zero gives 0, its remainder the dividend; the least number by -1 is itself, remainder 0."""
        zero = self.let(f"icmp eq {type} {b}, 0")
        trap = zero
        if signed:
            minus = self.let(f"icmp eq {type} {b}, -1")
            trap = self.let(f"or i1 {zero}, {minus}")
        safe = self.let(f"select i1 {trap}, {type} 1, {type} {b}")
        what = ("s" if signed else "u") + ("div" if quotient else "rem")
        value = self.let(f"{what} {type} {a}, {safe}")
        if quotient and signed:
            negated = self.let(f"sub {type} 0, {a}")
            value = self.let(f"select i1 {minus}, {type} {negated}, {type} {value}")
        return self.let(f"select i1 {zero}, {type} {'0' if quotient else a}, {type} {value}")

    def condition(self, i: Instruction) -> str:
        """The i1 of a conditional jump."""
        code, wide = i.opcode & op.OP_MASK, i.opcode & op.CLASS_MASK == op.JMP
        type = "i64" if wide else "i32"
        a = self.get(i.dst) if wide else self.half(self.get(i.dst))
        b = self.operand(i, wide)
        if code == op.JSET:
            both = self.let(f"and {type} {a}, {b}")
            return self.let(f"icmp ne {type} {both}, 0")
        return self.let(f"icmp {_COMPARE[code]} {type} {a}, {b}")
