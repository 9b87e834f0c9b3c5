"""The state of lowering one probe to one BPF program, and values while they are computed."""

from __future__ import annotations

from ....codegen import Function
from ....errors import CodegenError
from .. import ast
from ..types import BPF, CONTEXT, Type
from ._layout import size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..checked import CheckedProbe
    from ._script import ScriptLowering


class Value:
    """A computed value.

    `type.in_register`: `reg` is the 64-bit value, sign- or zero-extended by its type.
    Otherwise it lies in memory: space "bpf": `reg` is an LLVM pointer that the program may use directly;
    "kernel", "user": `reg` is an address (i64) to read from; "ctx": `offset` bytes into the program's context.
    `size` is how many bytes are really there when that differs from the type's (string literals).
    """

    __slots__ = ("aligned", "offset", "padded", "reg", "size", "space", "text", "type")

    def __init__(
        self, type: Type, reg: str, space: str = BPF, *, offset: int = 0, size: int = 0, text: bytes | None = None,
        padded: bool = False,
    ) -> None:  # fmt: skip
        self.type = type
        self.reg = reg
        self.space = space
        self.offset = offset
        self.size = size or size_of(type)
        self.text = text  # a string literal's bytes
        self.padded = padded  # bytes after a string's end are zero
        self.aligned = True  # by `align_of` its type, when in our own memory; members of structs may not be


class Loop:
    """Where `break` and `continue` go: labels, or (in a callback) return values."""

    __slots__ = ("break_to", "continue_to", "in_callback")

    def __init__(self, break_to: str, continue_to: str, in_callback: bool) -> None:
        self.break_to = break_to
        self.continue_to = continue_to
        self.in_callback = in_callback


class Program:
    """One program under construction.

    Variables live in `frame`, one block of stack whose address callbacks get, so that loop bodies share them.
    Larger values live in this program's element of the scratch map (a per-CPU array, one element per program).
    """

    def __init__(self, script: ScriptLowering, probe: CheckedProbe, name: str, number: int) -> None:
        self.script = script
        self.probe = probe
        self.name = name
        self.number = number
        self.module = script.module
        self.features = script.features
        line, _ = script.place(probe.span)
        self.f: Function = self.module.function(name, f"p/{name}", 1, line)
        self.node: ast.Node = ast.Node(probe.span)  # what is being evaluated, for reports of failed helpers
        self.reporting = False
        self.loops: list[Loop] = []
        self.callbacks = 0
        self.in_callback = False
        self.slots: dict[int, tuple[int, str]] = {}  # id(VariableSlot) -> (offset, "frame" | "scratch")
        self.frame_size = 16  # for callbacks: the context pointer, the address of the scratch
        self.result = self.f.alloca(8)
        self.return_at = -1
        self.keep_size = 0  # bytes of large variables, in front of the temporaries in scratch
        self.needs_frame = False
        self.callback_functions: list[tuple[Function, int]] = []  # with the index of the frame's argument
        self.scratch_used = 0  # bytes in use at this point
        self.scratch_size = 0  # the most ever used
        self.has_loops = any(_has_loop(statement) for statement in probe.body)
        self.pending_label = ""  # where an aggregation goes on when its element cannot be had

    # ---- where we are

    def at(self, node: ast.Node) -> None:
        self.f.at(*self.script.place(node.span))

    def error(self, message: str, node: ast.Node, hint: str = "") -> CodegenError:
        line, col = self.script.place(node.span)
        end = self.script.place_end(node.span)
        return CodegenError(message, function=self.name, line=line, col=col, end_col=end, hint=hint)

    # ---- evaluation: the handlers register themselves in these tables

    def expr(self, node: ast.Expr) -> Value:
        handler = EXPRESSIONS.get(type(node))
        if handler is None:
            raise self.error(f"{type(node).__name__} cannot be used here", node)
        outer, self.node = self.node, node
        value = handler(self, node)
        self.node = outer
        return value

    def integer(self, node: ast.Expr) -> str:
        """Evaluate an expression whose value is held in a register."""
        value = self.expr(node)
        if not value.type.in_register:
            raise self.error(f"expected a number, found {value.type}", node)
        return value.reg

    def statements(self, body: list[ast.Stmt]) -> None:
        for statement in body:
            self.at(statement)
            mark, function = self.scratch_used, self.f
            stack = function.mark()
            STATEMENTS[type(statement)](self, statement)
            function.release(stack)
            if not isinstance(statement, ast.Declare):
                self.scratch_used = mark

    def need_layout(self, t: Type) -> None:
        """Refuse what depends on a kernel struct's size or layout as a whole in an object for several kernels."""
        if self.script.accesses is not None and t.kind in ("struct", "union") and t.store.startswith("btf"):
            what = f"{t.kind} {t.name}" if t.name else f"a {t.kind} without a name"
            raise self.f.fail(
                f"a portable object cannot copy or count in units of {what}: kernels differ in its size",
                "access its members, or build without --portable",
            )

    # ---- memory

    def stack_or_scratch(self, size: int) -> str:
        """Memory for a temporary: stack up to the config's on_stack_limit, else scratch until the statement ends."""
        if size <= max(self.script.config.on_stack_limit, 16):
            return self.f.alloca(size)
        return self.scratch(size)

    def scratch(self, size: int) -> str:
        offset = self.scratch_used
        self.scratch_used += (size + 7) & ~7
        self.scratch_size = max(self.scratch_size, self.scratch_used)
        self._check_scratch()
        # %scratch is looked up at the start of the function, see `finish`.
        return self.f.gep("%scratch", offset)

    def _check_scratch(self) -> None:
        needed = self.keep_size + self.scratch_size
        if needed > MAX_SCRATCH:
            raise self.f.fail(
                f"this probe needs {needed} bytes for strings and structs; a per-CPU value has {MAX_SCRATCH}",
                "lower max_strlen, or split the statement",
            )

    def reserve_variable(self, slot: ast.VariableSlot) -> tuple[int, str]:
        """Where a variable lives; first use reserves the space."""
        found = self.slots.get(id(slot))
        if found is None:
            size = 8 if slot.type.in_register else max(8, (size_of(slot.type) + 7) & ~7)
            if size <= max(self.script.config.on_stack_limit, 32) and self.frame_size + size <= MAX_FRAME:
                found = (self.frame_size, "frame")
                self.frame_size += size
            else:
                found = (self.keep_size, "scratch")
                self.keep_size += size
                self._check_scratch()
            self.slots[id(slot)] = found
        return found

    def variable(self, slot: ast.VariableSlot) -> str:
        """Address of a variable's memory."""
        offset, where = self.reserve_variable(slot)
        if where == "frame":
            self.needs_frame = True
            return self.f.gep("%frame", offset)
        return self.f.gep("%keep", offset)

    def store_variable(self, value: str, where: str) -> None:
        """Assign to a variable in a register.

        In a program with loops, a zero that the verifier knows nothing about is added: it would otherwise track the
        exact value through every iteration and give up after a million instructions.
        """
        if self.has_loops:
            value = self.f.op("add", value, self.f.load(self.script.unknown_zero()))
        self.f.store(value, where)

    def hidden_variable(self) -> int:
        """Eight bytes of the frame for the compiler's own use, shared with callbacks."""
        self.needs_frame = True
        self.frame_size += 8
        return self.frame_size - 8

    def hidden(self, offset: int) -> str:
        return self.f.gep("%frame", offset)

    def context_pointer(self) -> str:
        if self.in_callback:
            self.needs_frame = True
            return "%ctx"
        return "%a0"

    def zero_constant(self, size: int) -> str:
        """Address of at least `size` zero bytes that no program can write."""
        size = max(64, 1 << (size - 1).bit_length())
        return self.module.constant(bytes(size), f"zero{size}")

    def leave(self) -> None:
        """End the program from here (also out of a loop's callback)."""
        if not self.in_callback:
            self.f.br("leave")
            return
        if self.return_at < 0:
            self.return_at = self.hidden_variable()
        self.f.store("1", self.hidden(self.return_at))
        self.f.ret("1")

    def return_value(self, value: str) -> None:
        """End the program with a result (outside callbacks)."""
        self.f.store(value, self.result)
        self.f.br("leave")

    # ---- the end

    def finish(self) -> None:
        """Write the prologues and the way out, now that it is known what the bodies need."""
        f = self.f
        f.start("leave")
        if self._claims:
            f.store("0", "%slot")
        f.ret(f.load(self.result))
        f.prologue.append(f"  store i64 0, ptr {self.result}, align 8")
        if self.needs_frame or self.callback_functions:
            f.prologue.append(f"  %frame = alloca [{self.frame_size} x i8], align 8")
            f.stack += self.frame_size
            self.module.declare("llvm.memset", "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            zero = f"ptr align 8 %frame, i8 0, i64 {self.frame_size}, i1 false"
            f.prologue.append(f"  call void @llvm.memset.p0.i64({zero})")
        f.prologue += self._scratch_prologue()
        if self.callback_functions:
            f.prologue.append("  store ptr %a0, ptr %frame, align 8")
            if self._scratch_bytes:
                f.prologue.append("  %frame.keep = getelementptr i8, ptr %frame, i64 8")
                f.prologue.append("  store ptr %keep, ptr %frame.keep, align 8")
        for function, frame_argument in self.callback_functions:
            function.prologue += self._callback_prologue(frame_argument)

    @property
    def _scratch_bytes(self) -> int:
        return self.keep_size + self.scratch_size

    @property
    def _claims(self) -> bool:
        """Uprobes run preemptible: another task may enter the same program on the same CPU before this one is done, so
        each run claims one of a few scratch elements (bpf_prog_run_array_uprobe; atomics with a result since 5.12)."""
        preemptible = self.probe.provider in ("uprobe", "uretprobe", "usdt")
        return preemptible and self._scratch_bytes > 0 and self.features.version >= (5, 12)

    def _callback_prologue(self, frame_argument: int) -> list[str]:
        lines = [
            f"%frame = getelementptr i8, ptr %a{frame_argument}, i64 0",
            "%ctx = load ptr, ptr %frame, align 8",
        ]
        if self._scratch_bytes:
            lines += [
                "%frame.keep = getelementptr i8, ptr %frame, i64 8",
                "%keep = load ptr, ptr %frame.keep, align 8",
                f"%scratch = getelementptr i8, ptr %keep, i64 {self.keep_size}",
            ]
        return [f"  {line}" for line in lines]

    def _scratch_prologue(self) -> list[str]:
        """Look the scratch element up (and claim it), point %keep and %scratch into it, clear large variables."""
        if not self._scratch_bytes:
            return []
        debug = self.f.first_location
        tries = CLAIMS if self._claims else 1
        first_key = self.script.need_scratch(self._scratch_bytes + 8, tries)
        symbol = self.module.map(self.script.scratch_name)
        lines = ["%skey = alloca i64, align 8"]
        for i in range(tries):
            lines += [
                f"store i32 {first_key + i}, ptr %skey, align 8",
                f"%try{i} = call ptr inttoptr (i64 1 to ptr)(ptr {symbol}, ptr %skey)",
                f"%null{i} = icmp eq ptr %try{i}, null",
            ]
            if not self._claims:
                lines.append(f"br i1 %null{i}, label %scratch.none, label %scratch.begin")
                continue
            onward = f"scratch.claim{i + 1}" if i + 1 < tries else "scratch.none"
            lines += [
                f"br i1 %null{i}, label %scratch.none, label %scratch.have{i}",
                f"scratch.have{i}:",
                f"%old{i} = cmpxchg ptr %try{i}, i64 0, i64 1 monotonic monotonic, align 8",
                f"%got{i} = extractvalue {{ i64, i1 }} %old{i}, 1",
                f"br i1 %got{i}, label %scratch.begin, label %{onward}",
            ]
            if i + 1 < tries:
                lines.append(f"{onward}:")
        loss = self.script.probe_loss_counter(self)
        came_from = [f"[ %try{i}, %{f'scratch.have{i}' if self._claims else 'entry'} ]" for i in range(tries)]
        lines += [
            "scratch.none:",
            f"%nonewhere = getelementptr i8, ptr {loss[0]}, i64 {loss[1]}",
            "atomicrmw add ptr %nonewhere, i64 1 monotonic, align 8",
            "ret i64 0",
            "scratch.begin:",
            f"%slot = phi ptr {', '.join(came_from)}",
            "%keep = getelementptr i8, ptr %slot, i64 8",
            f"%scratch = getelementptr i8, ptr %keep, i64 {self.keep_size}",
        ]
        for offset, where in self.slots.values():
            if where == "scratch":
                lines.append(f"%kz{offset} = getelementptr i8, ptr %keep, i64 {offset}")
                lines.append(f"store i64 0, ptr %kz{offset}, align 8")
        return [line if line.endswith(":") else f"  {line}{debug}" for line in lines]


def _has_loop(node: object) -> bool:
    if isinstance(node, ast.ForRange | ast.ForMap | ast.While):
        return True
    if isinstance(node, list):
        return any(_has_loop(item) for item in node)
    if isinstance(node, ast.Node):
        return any(_has_loop(getattr(node, field)) for field in node._fields)
    return False


MAX_SCRATCH = 32768  # PCPU_MIN_UNIT_SIZE: the most a per-CPU value may take
MAX_FRAME = 256
CLAIMS = 4  # scratch elements of a preemptible program on one CPU

EXPRESSIONS: dict[type, Callable[[Program, Any], Value]] = {}
STATEMENTS: dict[type, Callable[[Program, Any], None]] = {}
CALLS: dict[str, Callable[[Program, ast.Call], Value]] = {}
BUILTINS: dict[str, Callable[[Program, ast.Name], Value]] = {}

__all__ = ["BPF", "BUILTINS", "CALLS", "CONTEXT", "EXPRESSIONS", "STATEMENTS", "Loop", "Program", "Value"]
