"""Bytecode to LLVM IR: the module, what its functions share, and what the code wants from its state block."""

from __future__ import annotations

from ..isa import op
from . import _jit_state as slot
from ._code_check import CALL, CALLX
from ._native_image import MEMORY_SYMBOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._code import Code

_TAIL_CALL = 12
PARAMETERS = "i64 %a1, i64 %a2, i64 %a3, i64 %a4, i64 %a5, ptr %s"

# The slow way of a checked access: search the regions (`Memory.native_table`), remember the one that was found.
_CHECK = """
define internal i1 @search(i64 %a, i64 %size, i64 %mode, i64 %insn, ptr %s) #2 {
  %w = and i64 %mode, 1
  %low = sub i64 %size, 1
  %odd = and i64 %a, %low
  %isodd = icmp ne i64 %odd, 0
  %atomic = icmp ugt i64 %mode, 1
  %bad = and i1 %isodd, %atomic
  %tp = getelementptr i64, ptr %s, i64 {table}
  %t = load ptr, ptr %tp
  %n = load i64, ptr %t
  br label %loop
loop:
  %lo = phi i64 [ 0, %0 ], [ %lo2, %body ]
  %hi = phi i64 [ %n, %0 ], [ %hi2, %body ]
  %go = icmp ult i64 %lo, %hi
  br i1 %go, label %body, label %done
body:
  %sum = add i64 %lo, %hi
  %mid = lshr i64 %sum, 1
  %x3 = mul i64 %mid, 3
  %x = add i64 %x3, 2
  %rp = getelementptr i64, ptr %t, i64 %x
  %rb = load i64, ptr %rp
  %le = icmp ule i64 %rb, %a
  %up = add i64 %mid, 1
  %lo2 = select i1 %le, i64 %up, i64 %lo
  %hi2 = select i1 %le, i64 %hi, i64 %mid
  br label %loop
done:
  %none = icmp eq i64 %lo, 0
  br i1 %none, label %no, label %row
row:
  %k = sub i64 %lo, 1
  %k3 = mul i64 %k, 3
  %kx = add i64 %k3, 2
  %p = getelementptr i64, ptr %t, i64 %kx
  %b = load i64, ptr %p
  %pe = getelementptr i64, ptr %p, i64 1
  %e = load i64, ptr %pe
  %pw = getelementptr i64, ptr %p, i64 2
  %wr = load i64, ptr %pw
  %o = sub i64 %a, %b
  %len = sub i64 %e, %b
  %room = sub i64 %len, %size
  %c1 = icmp uge i64 %len, %size
  %c2 = icmp ule i64 %o, %room
  %c3 = icmp uge i64 %wr, %w
  %c4 = and i1 %c1, %c2
  %c5 = and i1 %c3, %c4
  br i1 %c5, label %found, label %no
found:
  br i1 %bad, label %misaligned, label %remember
remember:
  %large = icmp ugt i64 %len, 7
  %l7 = sub i64 %len, 7
  %limit = select i1 %large, i64 %l7, i64 0
  %at = shl i64 %w, 1
  %sb = add i64 %at, {read_base}
  %lb = getelementptr i64, ptr %s, i64 %sb
  store i64 %b, ptr %lb
  %sl = add i64 %at, {read_limit}
  %ll = getelementptr i64, ptr %s, i64 %sl
  store i64 %limit, ptr %ll
  ret i1 true
no:
  call void @fault(i64 %w, i64 %insn, i64 %a, i64 %size, ptr %s)
  ret i1 false
misaligned:
  call void @fault(i64 5, i64 %insn, i64 %a, i64 %size, ptr %s)
  ret i1 false
}
define internal void @fault(i64 %kind, i64 %insn, i64 %a, i64 %size, ptr %s) #2 {
  %k = getelementptr i64, ptr %s, i64 {kind}
  store i64 %kind, ptr %k
  %i = getelementptr i64, ptr %s, i64 {insn}
  store i64 %insn, ptr %i
  %p = getelementptr i64, ptr %s, i64 {address}
  store i64 %a, ptr %p
  %z = getelementptr i64, ptr %s, i64 {size}
  store i64 %size, ptr %z
  store i64 {fault}, ptr %s
  ret void
}
"""


_ARGUMENTS = range(1, 7)
_SLOTS = ("ensure", "release", "number", "vectorcall", "unsigned", "decref", "clear")
_PYTHON = "\n".join(
    [
        "define internal i64 @python(i64 %slot, i64 %a1, i64 %a2, i64 %a3, i64 %a4, i64 %a5, i64 %a6, ptr %s) #2 {",
        "  %args = alloca [8 x ptr]",
        *(f"  %p{name} = getelementptr i64, ptr %s, i64 {{{name}}}" for name in _SLOTS),
        *(f"  %{name} = load ptr, ptr %p{name}" for name in _SLOTS),
        "  %gil = call i32 %ensure()",
        *(f"  %o{i} = call ptr %number(i64 %a{i})" for i in _ARGUMENTS),
        *(f"  %q{i} = getelementptr ptr, ptr %args, i64 {i}" for i in _ARGUMENTS),
        *(f"  store ptr %o{i}, ptr %q{i}" for i in _ARGUMENTS),
        "  %fp = getelementptr i64, ptr %s, i64 %slot",
        "  %f = load ptr, ptr %fp",
        "  %r = call ptr %vectorcall(ptr %f, ptr %q1, i64 6, ptr null)",
        *(f"  call void %decref(ptr %o{i})" for i in _ARGUMENTS),
        "  %failed = icmp eq ptr %r, null",
        "  br i1 %failed, label %raised, label %fine",
        "raised:",
        "  call void %clear()",
        "  store i64 {raised}, ptr %s",
        "  call void %release(i32 %gil)",
        "  ret i64 0",
        "fine:",
        "  %v = call i64 %unsigned(ptr %r)",
        "  call void %decref(ptr %r)",
        "  call void %release(i32 %gil)",
        "  ret i64 %v",
        "}",
    ]
)


class ModuleWriter:
    """The IR of one program. `text()` writes it; `constants` then says what slots from CONSTANTS on must hold.

    Python functions are held as objects, and take six numbers. Constants are (kind, number):

    load             slot of a 64-bit load: what it loads
    map:<attribute>  slot of the 64-bit load that names the map: an attribute of that map
    function         first slot of a function: its handle
    helper           number of a helper: Python
    indirect         slot of a callx: Python
    packet, tail, tail_done (0): Python
    """

    def __init__(self, code: Code, *, checked: bool, direct: bool) -> None:
        self.code = code
        self.checked = checked
        self.direct = direct  # memory through the symbol at address 0 rather than inttoptr
        self.constants: list[tuple[str, int]] = []
        self._slots: dict[tuple[str, int], int] = {}
        self.shared: dict[str, str] = {}  # helper functions of the module, by name
        ends = (*code.starts[1:], len(code.slots))
        self.functions = dict(zip(code.starts, ends))
        self.escapes = {s: self._frame_escapes(s, e) for s, e in self.functions.items()}
        calls = {s: self._callees(s, e) for s, e in self.functions.items()}
        on_stack = {s for s, e in self.functions.items() if self.escapes[s] or self._tail_calls(s, e)}
        self.needs_stack = self._closure(on_stack, calls)
        self.unwinds = self._closure({s for s, e in self.functions.items() if self._may_unwind(s, e)}, calls)

    def _callees(self, start: int, end: int) -> set[int]:
        out: set[int] = set()
        for at in range(start, end):
            i = self.code.slots[at]
            if i.opcode == CALL and i.src == op.PSEUDO_CALL:
                out.add(at + 1 + i.imm)
            elif i.opcode == CALLX or (i.opcode == CALL and i.imm == 181):
                out |= self.code.callbacks
        return out

    def _closure(self, seed: set[int], calls: dict[int, set[int]]) -> set[int]:
        """`seed` and whatever reaches it by calls."""
        out, grown = set(seed), True
        while grown:
            grown = False
            for caller, callees in calls.items():
                if caller not in out and callees & out:
                    out.add(caller)
                    grown = True
        return out

    def _tail_calls(self, start: int, end: int) -> bool:
        """Whether it tail-calls: what it calls begins where this frame is, below those of its callers."""
        return any(i.opcode == CALL and not i.src and i.imm == _TAIL_CALL for i in self.code.slots[start:end])

    def _may_unwind(self, start: int, end: int) -> bool:
        if self.checked:
            return True
        for at in range(start, end):
            i = self.code.slots[at]
            if (i.opcode == CALL and not i.src) or i.opcode == CALLX:
                return True
            if i.opcode & op.CLASS_MASK == op.LD and i.opcode & op.MODE_MASK in (op.ABS, op.IND):
                return True
        return False

    def _frame_escapes(self, start: int, end: int) -> bool:
        """Whether r10 is used as anything but the base of an access within the frame."""
        for at in range(start, end):
            i = self.code.slots[at]
            cls, mode = i.opcode & op.CLASS_MASK, i.opcode & op.MODE_MASK
            if cls in (op.ALU, op.ALU64) and i.opcode & op.OP_MASK == op.END:
                continue  # its X bit means big-endian
            uses_source = cls in (op.ALU, op.ALU64, op.JMP, op.JMP32) and i.opcode & op.X
            if i.src == 10 and (uses_source or (cls == op.STX and not (mode == op.ATOMIC and i.imm == op.LOAD_ACQ))):
                return True
            if i.src == 10 and cls == op.LD and not i.is_wide:
                return True
            if i.dst == 10 and cls in (op.JMP, op.JMP32):
                return True
            base = i.src if cls == op.LDX or (cls == op.STX and i.imm == op.LOAD_ACQ and mode == op.ATOMIC) else i.dst
            if base == 10 and cls in (op.LDX, op.ST, op.STX):
                size = op.SIZE_BYTES[i.opcode & op.SIZE_MASK]
                if not -op.STACK_SIZE <= i.off <= -size:
                    return True
        return False

    def constant(self, kind: str, number: int) -> int:
        """The slot of the state block that holds a constant."""
        key = (kind, number)
        if key not in self._slots:
            self._slots[key] = slot.CONSTANTS + len(self.constants)
            self.constants.append(key)
        return self._slots[key]

    def python(self) -> str:
        """The function that calls a Python function, given the slot that holds it."""
        if "python" not in self.shared:
            text = _PYTHON
            for name, value in vars(slot).items():
                text = text.replace("{" + name.lower() + "}", str(value)) if name.isupper() else text
            self.shared["python"] = text
        return "@python"

    def text(self) -> str:
        """The whole module."""
        from ._jit_function import FunctionWriter

        bodies = [FunctionWriter(self, start, end).text() for start, end in self.functions.items()]
        out = [f"@{MEMORY_SYMBOL} = external dso_local global [0 x i8]"] if self.direct else []
        if self.checked:
            check = _CHECK
            for name, value in vars(slot).items():
                check = check.replace("{" + name.lower() + "}", str(value)) if name.isupper() else check
            out.append(check)
        out += [*self.shared.values(), *bodies]
        out += [f"declare i{width} @llvm.bswap.i{width}(i{width})" for width in (16, 32, 64)]
        out.append("attributes #0 = { nounwind }")
        out.append("attributes #2 = { nounwind noinline cold }")
        out.append('!0 = !{}\n!1 = !{!"branch_weights", i32 1, i32 2000}')
        return "\n".join(out) + "\n"
