"""One function of a program as LLVM IR.

Registers are stack slots that LLVM's mem2reg turns into values; within a basic block the current value is known here,
so that most loads and stores of them are never written. r10 is an own `alloca` as long as the frame's address stays in
the function; otherwise the frame lies on the machine's stack, where helpers find it.
"""

from __future__ import annotations

from ..isa import op
from . import _jit_state as slot
from ._code_check import CALL, CALLX, EXIT, JA, JA32, MAY_GOTO, falls_through, target
from ._jit_ops import JumpsAndArithmetic
from ._machine import FRAME_SIZE, FRAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._jit_module import ModuleWriter

_SIZES = {op.B: "i8", op.H: "i16", op.W: "i32", op.DW: "i64"}
_MAY_GOTO_BUDGET = 8 << 20
_RMW = {op.ADD: "add", op.OR: "or", op.AND: "and", op.XOR: "xor", op.XCHG & ~op.FETCH: "xchg"}


class FunctionWriter(JumpsAndArithmetic):
    """Writes the function of slots `start` to `end`."""

    def __init__(self, module: ModuleWriter, start: int, end: int) -> None:
        super().__init__()
        self.module = module
        self.code = module.code
        self.checked = module.checked
        self.start, self.end = start, end
        self.on_stack = module.escapes[start]
        self.known: dict[int, tuple[str, int]] = {}  # register -> ("map" | "function", slot or start)
        self.backward: dict[int, int] = {}
        self.leaders = self._leaders()

    def _leaders(self) -> set[int]:
        out, at = {self.start}, self.start
        while at < self.end:
            i = self.code.slots[at]
            to = target(i, at)
            if i.opcode == EXIT:
                out.add(at + 1)
            elif to is not None:
                out |= {to, at + 1}
                if to <= at:
                    self.backward[to] = max(self.backward.get(to, 0), at - to + 1)
            at += 2 if i.is_wide else 1
        return out

    # What every part of it uses

    def state(self, index: int) -> str:
        """A pointer to a slot of the state block."""
        if index == 0:
            return "%s"
        return self.let(f"getelementptr i64, ptr %s, i64 {index}")

    def constant(self, kind: str, number: int, type: str = "i64") -> str:
        """A constant of the state block: the same for as long as the code lives."""
        place = self.state(self.module.constant(kind, number))
        return self.let(f"load {type}, ptr {place}, align 8, !invariant.load !0")

    def call_python(self, kind: str, number: int, arguments: list[str], at: int) -> str:
        """Call a Python function of the state block with up to six numbers; the caller checks PENDING."""
        index = self.module.constant(kind, number)
        self.line(f"store i64 {at}, ptr {self.state(slot.INSN)}")
        given = ", ".join(f"i64 {a}" for a in [*arguments, *"000000"][:6])
        return self.let(f"call i64 {self.module.python()}(i64 {index}, {given}, ptr %s)")

    def pointer(self, base: str, offset: int = 0) -> str:
        """The pointer for a number plus an offset."""
        if not self.module.direct:
            if offset:
                base = self.let(f"add i64 {base}, {offset}")
            return self.let(f"inttoptr i64 {base} to ptr")
        place = self.let(f"getelementptr i8, ptr @osmia_memory, i64 {base}")
        return self.let(f"getelementptr i8, ptr {place}, i64 {offset}") if offset else place

    def unwind_if(self, condition: str) -> None:
        """Leave the function when `condition` (i1) holds; what called it looks at PENDING."""
        go_on = self.label()
        self.line(f"br i1 {condition}, label %unwind, label %{go_on}, !prof !1")
        self.begin(go_on)
        self.unwinds = True

    def check_pending(self) -> None:
        """After a call that may have raised."""
        self.forget_regions()
        pending = self.let("load i64, ptr %s, align 8")
        self.unwind_if(self.let(f"icmp ne i64 {pending}, 0"))

    def check_access(self, address: str, size: int, mode: int, at: int) -> None:
        """Leave with a fault unless the bytes lie in a region. Mode: 1 write, 2 atomic (aligned), 3 both."""
        if not self.checked:
            return
        slow, go_on = self.label(), self.label()
        if mode < 2 and size <= 8:
            base = self.let(f"load i64, ptr {self.state(slot.WRITE_BASE if mode else slot.READ_BASE)}")
            limit = self.let(f"load i64, ptr {self.state(slot.WRITE_LIMIT if mode else slot.READ_LIMIT)}")
            offset = self.let(f"sub i64 {address}, {base}")
            inside = self.let(f"icmp ult i64 {offset}, {limit}")
            self.line(f"br i1 {inside}, label %{go_on}, label %{slow}")
            self.begin(slow)
        ok = self.let(f"call i1 @search(i64 {address}, i64 {size}, i64 {mode}, i64 {at}, ptr %s)")
        self.line(f"br i1 {ok}, label %{go_on}, label %unwind")
        self.begin(go_on)
        self.unwinds = True

    def forget_regions(self) -> None:
        """After a helper, which may have freed memory."""
        if self.checked:
            self.line(f"store i64 0, ptr {self.state(slot.READ_LIMIT)}")
            self.line(f"store i64 0, ptr {self.state(slot.WRITE_LIMIT)}")

    def fail_if(self, condition: str, kind: str, at: int) -> None:
        """Leave with a fault of `kind` when `condition` holds (checked code only)."""
        bad, go_on = self.label(), self.label()
        self.line(f"br i1 {condition}, label %{bad}, label %{go_on}, !prof !1")
        self.begin(bad)
        self.line(f"call void @fault(i64 {slot.KINDS.index(kind)}, i64 {at}, i64 0, i64 0, ptr %s)")
        self.line("br label %unwind")
        self.begin(go_on)
        self.unwinds = True

    # The function

    def text(self) -> str:
        """`define ... { ... }`."""
        at = self.start
        while at < self.end:
            if at in self.leaders:
                self._begin_block(at)
            i = self.code.slots[at]
            self._instruction(i, at)
            step = 2 if i.is_wide else 1
            if at + step in self.leaders and falls_through(i) and target(i, at) is None:
                self.flush()
                self.line(f"br label %b{at + step}")
            at += step
        from ._jit_module import PARAMETERS

        linkage = "" if self.start == 0 or self.start in self.code.callbacks else "internal "
        out = [f"define {linkage}i64 @f{self.start}({PARAMETERS}) #0 {{", *self._prologue(), *self.lines]
        if self.unwinds:
            out += ["unwind:", "  ret i64 0"]
        return "\n".join([*out, "}"])

    def _prologue(self) -> list[str]:
        out = []
        for register in sorted(self.used - {10}):
            out.append(f"  %r{register} = alloca i64")
            start = f"%a{register}" if 1 <= register <= 5 else "0"
            out.append(f"  store i64 {start}, ptr %r{register}")
        if self.has_may_goto:
            out += ["  %budget = alloca i64", f"  store i64 {_MAY_GOTO_BUDGET}, ptr %budget"]
        if self.has_clock:
            out.append("  %clock = alloca [2 x i64], align 16")
        if self.start in self.module.needs_stack:
            out += [f"  %fps = getelementptr i64, ptr %s, i64 {slot.STACK}", "  %fp = load i64, ptr %fps, align 8"]
        if not self.on_stack:
            out.append(f"  %frame = alloca [{FRAME_SIZE} x i8], align 16")
        if self.checked:
            out.append(f"  %fuel = getelementptr i64, ptr %s, i64 {slot.FUEL}")
        return [*out, f"  br label %b{self.start}"]

    def _begin_block(self, at: int) -> None:
        self.begin(f"b{at}")
        self.values.clear()
        self.dirty.clear()
        self.known.clear()
        if self.checked:
            cost = self.backward.get(at, 0) + (self.end - self.start if at == self.start else 0)
            if cost:
                self.burn(cost, at)

    def rename_in_phi(self, old: str, new: str, name: str) -> None:
        """Correct a block's name in the phi that defines `name`."""
        for k, text in enumerate(self.lines):
            if text.startswith(f"  {name} = phi"):
                self.lines[k] = text.replace(old, new)

    def burn(self, cost: int, at: int) -> None:
        fuel = self.let("load i64, ptr %fuel")
        left = self.let(f"sub i64 {fuel}, {cost}")
        self.line(f"store i64 {left}, ptr %fuel")
        self.fail_if(self.let(f"icmp slt i64 {left}, 0"), "fuel", at)

    def _instruction(self, i: Instruction, at: int) -> None:
        cls = i.opcode & op.CLASS_MASK
        if cls in (op.ALU, op.ALU64):
            known = self.known.get(i.src) if i.opcode == op.ALU64 | op.MOV | op.X and not i.off else None
            self.arithmetic(i)
            self.known.pop(i.dst, None)
            if known:
                self.known[i.dst] = known
        elif cls in (op.JMP, op.JMP32):
            self._jump(i, at)
        elif cls == op.LD:
            self._load_wide(i, at)
        elif cls == op.LDX:
            self._load(i, at)
        elif i.opcode & op.MODE_MASK == op.ATOMIC:
            self._atomic(i, at)
        else:
            self._store(i, at)

    def _jump(self, i: Instruction, at: int) -> None:
        if i.opcode in (JA, JA32):
            self.flush()
            self.line(f"br label %b{target(i, at)}")
        elif i.opcode == EXIT:
            self.line(f"ret i64 {self.get(0)}")
        elif i.opcode == CALL and i.src:
            self.local_call(at + 1 + i.imm, at)
        elif i.opcode in (CALL, CALLX):
            from ._jit_calls import helper_call, indirect_call

            if i.opcode == CALL:
                helper_call(self, i.imm, at)
            else:
                indirect_call(self, i.dst, at)
        elif i.opcode == MAY_GOTO:
            self.has_may_goto = True
            self.flush()
            left = self.let("load i64, ptr %budget")
            some = self.let(f"icmp ne i64 {left}, 0")
            less = self.let(f"sub i64 {left}, 1")
            less = self.let(f"select i1 {some}, i64 {less}, i64 0")
            self.line(f"store i64 {less}, ptr %budget")
            self.line(f"br i1 {some}, label %b{at + 1}, label %b{at + 1 + i.off}")
        else:
            condition = self.condition(i)
            self.flush()
            self.line(f"br i1 {condition}, label %b{at + 1 + i.off}, label %b{at + 1}")

    def call_function(self, start: int, arguments: list[str], at: int) -> str:
        """Call a function of this program in a frame below this one."""
        if self.checked:
            place = self.state(slot.DEPTH)
            depth = self.let(f"load i64, ptr {place}")
            self.fail_if(self.let(f"icmp uge i64 {depth}, {FRAMES - 1}"), "depth", at)
            deeper = self.let(f"add i64 {depth}, 1")
            self.line(f"store i64 {deeper}, ptr {place}")
        if start in self.module.needs_stack:
            below = self.let(f"sub i64 %fp, {FRAME_SIZE}")
            self.line(f"store i64 {below}, ptr %fps")
        given = ", ".join(f"i64 {a}" for a in arguments)
        result = self.let(f"call i64 @f{start}({given}, ptr %s)")
        if start in self.module.needs_stack:
            self.line("store i64 %fp, ptr %fps")
        if self.checked:
            self.line(f"store i64 {depth}, ptr {place}")
        if start in self.module.unwinds:
            self.check_pending()
        return result

    def local_call(self, start: int, at: int) -> None:
        self.set(0, self.call_function(start, [self.get(r) for r in range(1, 6)], at))
        self.known.pop(0, None)

    # Memory

    def _place(self, register: int, offset: int, size: int, mode: int, at: int) -> str:
        if register == 10 and not self.on_stack:
            return self.let(f"getelementptr i8, ptr %frame, i64 {FRAME_SIZE + offset}")
        base = self.get(register)
        framed = register == 10 and -FRAME_SIZE <= offset <= -size and mode < 2
        if self.checked and not framed:
            address = self.let(f"add i64 {base}, {offset}") if offset else base
            self.check_access(address, size, mode, at)
        return self.pointer(base, offset)

    def _load_wide(self, i: Instruction, at: int) -> None:
        if not i.is_wide:
            from ._jit_calls import packet_load

            packet_load(self, i, at)
            return
        self.known.pop(i.dst, None)
        if i.src == 0 and at not in self.code.map_slots:
            self.set(i.dst, str(self.code.constants[at]))
            return
        self.set(i.dst, self.constant("load", at))
        if at in self.code.map_slots and self.code.constants[at] == getattr(self.code.map_slots[at], "handle", None):
            self.known[i.dst] = ("map", at)
        elif i.src == op.PSEUDO_FUNC:
            self.known[i.dst] = ("function", at + 1 + i.imm)

    def _load(self, i: Instruction, at: int) -> None:
        type, size = _SIZES[i.opcode & op.SIZE_MASK], op.SIZE_BYTES[i.opcode & op.SIZE_MASK]
        place = self._place(i.src, i.off, size, 0, at)
        value = self.let(f"load {type}, ptr {place}, align 1")
        if i.src == 10 and not self.on_stack:
            value = self.let(f"freeze {type} {value}")  # a slot that was never written holds anything, but one thing
        if size < 8:
            how = "sext" if i.opcode & op.MODE_MASK == op.MEMSX else "zext"
            value = self.let(f"{how} {type} {value} to i64")
        self.set(i.dst, value)
        self.known.pop(i.dst, None)

    def _store(self, i: Instruction, at: int) -> None:
        type, size = _SIZES[i.opcode & op.SIZE_MASK], op.SIZE_BYTES[i.opcode & op.SIZE_MASK]
        place = self._place(i.dst, i.off, size, 1, at)
        value = str(i.imm & (1 << size * 8) - 1) if i.opcode & op.CLASS_MASK == op.ST else self.get(i.src)
        if size < 8 and not value.isdigit():
            value = self.let(f"trunc i64 {value} to {type}")
        elif size < 8:
            value = str(int(value) & (1 << size * 8) - 1)
        self.line(f"store {type} {value}, ptr {place}, align 1")

    def _atomic(self, i: Instruction, at: int) -> None:
        type, size = _SIZES[i.opcode & op.SIZE_MASK], op.SIZE_BYTES[i.opcode & op.SIZE_MASK]
        load = i.imm == op.LOAD_ACQ
        place = self._place(i.src if load else i.dst, i.off, size, 2 if load else 3, at)
        if load:
            value = self.let(f"load atomic {type}, ptr {place} acquire, align {size}")
            self.set(i.dst, self.let(f"zext {type} {value} to i64") if size < 8 else value)
            self.known.pop(i.dst, None)
            return
        value = self.narrow(self.get(i.src), type, size)
        if i.imm == op.STORE_REL:
            self.line(f"store atomic {type} {value}, ptr {place} release, align {size}")
            return
        if i.imm == op.CMPXCHG:
            wanted = self.narrow(self.get(0), type, size)
            pair = self.let(f"cmpxchg ptr {place}, {type} {wanted}, {type} {value} seq_cst seq_cst, align {size}")
            old = self.let(f"extractvalue {{ {type}, i1 }} {pair}, 0")
        else:
            what = _RMW[i.imm & ~op.FETCH]
            old = self.let(f"atomicrmw {what} ptr {place}, {type} {value} seq_cst, align {size}")
            if not i.imm & op.FETCH:
                return
        into = 0 if i.imm == op.CMPXCHG else i.src
        self.set(into, self.let(f"zext {type} {old} to i64") if size < 8 else old)
        self.known.pop(into, None)

    def narrow(self, value: str, type: str, size: int) -> str:
        return value if size == 8 else self.let(f"trunc i64 {value} to {type}")
