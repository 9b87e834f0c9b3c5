"""Write LLVM IR as text, with the idioms of BPF.

Values are strings ("%7", "42", "null"); integers are i64 unless a size is given, so the caller keeps no LLVM types.
Text is 20 times cheaper than building llvmlite's objects (0.4 ms for 2,000 instructions).
What BPF cannot do is refused here, on the user's line, because LLVM would end the process over it.
"""

from __future__ import annotations

from ..errors import CodegenError

MAX_CALL_ARGS = 5
STACK_LIMIT = 512
_INT = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}


def _quote(name: str) -> str:
    if name.replace("_", "a").replace(".", "a").isalnum() and name.isascii() and not name[0].isdigit():
        return name
    escaped = "".join(c if 32 <= b < 127 and c not in '"\\' else f"\\{b:02X}" for b in name.encode() for c in [chr(b)])
    return f'"{escaped}"'


def _data(data: bytes) -> str:
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in data)


class Module:
    """One compilation unit: map symbols, read-only data and functions.

    `file` is the source's name for line info. `cpu` (v1..v4) decides what the builder may emit.
    """

    def __init__(self, file: str = "", cpu: str = "v3", debug: bool = True) -> None:
        self.file = file
        self.cpu = cpu
        self.debug = debug
        self.functions: list[Function] = []
        self._globals: dict[str, str] = {}
        self._data: dict[bytes, str] = {}
        self._declared: dict[str, str] = {}
        self._metadata: list[str] = []
        self._locations: dict[tuple[int, int, int], int] = {}

    def map(self, name: str) -> str:
        """Address of a map, for helpers; becomes a `map` relocation of that name."""
        symbol = "@" + _quote(name)
        self._globals[name] = f'{symbol} = dso_local global [8 x i8] zeroinitializer, section ".maps", align 8'
        return symbol

    def variable(self, name: str, size: int, section: str) -> str:
        """Address of `size` zero bytes that programs and user space share, in a data section of their own."""
        symbol = "@" + _quote(name)
        self._globals[symbol] = (
            f'{symbol} = dso_local global [{size} x i8] zeroinitializer, section "{section}", align 8'
        )
        return symbol

    def constant(self, data: bytes, name: str = "") -> str:
        """Address of read-only bytes (kernel 5.2 and later: direct map values)."""
        symbol = self._data.get(data)
        if symbol is None:
            symbol = "@" + _quote(name or f".c{len(self._data)}")
            self._data[data] = symbol
            self._globals[symbol] = (
                f'{symbol} = internal constant [{len(data)} x i8] c"{_data(data)}", section ".rodata", align 8'
            )
        return symbol

    def declare(self, name: str, text: str) -> None:
        self._declared.setdefault(name, text)

    def kernel_symbol(self, name: str, *, typed: bool = False) -> str:
        """Address of a kernel symbol: a `ksym` relocation; `typed` ones keep their BTF type (per-CPU variables)."""
        symbol = "@" + _quote(name)
        section = ".ksyms.typed" if typed else ".ksyms"
        self._globals.setdefault("ksym " + name, f'{symbol} = external global i8, section "{section}"')
        return symbol

    def kfunc(self, name: str, signature: str) -> None:
        """Declare a kernel function; a call of it becomes a `kfunc` relocation. `signature`: "i64 (ptr, i32)"."""
        result, _, arguments = signature.partition(" ")
        self.declare(name, f'declare {result} @{_quote(name)}{arguments} section ".ksyms"')

    def function(
        self, name: str, section: str, arguments: int = 1, line: int = 1, *, internal: bool = False
    ) -> Function:
        """A new function that returns i64 and takes pointers `%a0`, `%a1`, ...; `internal` ones are subprograms."""
        function = Function(self, name, section, arguments, line, internal)
        self.functions.append(function)
        return function

    def text(self) -> str:
        """The whole module as LLVM assembly."""
        out = ['target triple = "bpfel-unknown-none"', *self._globals.values(), *self._declared.values()]
        bodies = [function.text() for function in self.functions]
        out += bodies
        out.append('attributes #0 = { nounwind "no-builtins" "no-jump-tables"="true" "frame-pointer"="all" }')
        if self.debug:
            out += [
                "!llvm.module.flags = !{!0, !1}",
                "!llvm.dbg.cu = !{!2}",
                '!0 = !{i32 2, !"Debug Info Version", i32 3}',
                '!1 = !{i32 7, !"Dwarf Version", i32 4}',
                "!2 = distinct !DICompileUnit(language: DW_LANG_C99, file: !3, emissionKind: LineTablesOnly)",
                f'!3 = !DIFile(filename: "{_data(self.file.encode("utf-8", "surrogateescape"))}", directory: "")',
                "!4 = !DISubroutineType(types: !5)",
                "!5 = !{null}",
                *self._metadata,
            ]
        return "\n".join(out) + "\n"

    def _subprogram(self, name: str, line: int) -> int:
        number = 6 + len(self._metadata)
        self._metadata.append(
            f'!{number} = distinct !DISubprogram(name: "{_data(name.encode())}", scope: !3, file: !3, '
            f"line: {line}, type: !4, unit: !2, spFlags: DISPFlagDefinition)"
        )
        return number

    def _location(self, line: int, col: int, scope: int) -> int:
        key = (line, col, scope)
        number = self._locations.get(key)
        if number is None:
            number = 6 + len(self._metadata)
            self._locations[key] = number
            self._metadata.append(f"!{number} = !DILocation(line: {line}, column: {col}, scope: !{scope})")
        return number


class Function:
    """A function under construction. Emit into the current block; `label` opens the next one.

    A block that has ended (`br`, `ret`) ignores what is emitted until the next `label`: dead code is not written.
    """

    def __init__(self, module: Module, name: str, section: str, arguments: int, line: int, internal: bool) -> None:
        if arguments > MAX_CALL_ARGS:
            raise CodegenError(f"define {name}: {arguments} arguments, BPF passes 5 at most", function=name, line=line)
        self.module = module
        self.name = name
        self.section = section
        self.arguments = arguments
        self.internal = internal
        self.stack = 0  # bytes of all allocas, before optimisation
        self.values = 0  # temporaries made
        self.line, self.col = line, 0
        self._allocas: list[str] = []
        self._places: dict[str, tuple[str, int]] = {}  # pointer -> (alloca, offset) where both are known
        self._taken: list[tuple[int, str]] = []
        self._free: dict[int, list[str]] = {}
        self._addresses: dict[str, str] = {}  # integers that came from pointers
        self.prologue: list[str] = []  # lines between the allocas and the body, written last by who needs them
        self._lines: list[str] = []
        self._labels = 0
        self._ended = False
        self._scope = module._subprogram(name, line) if module.debug else 0
        self._dbg = ""
        self.at(line, 1)
        self.first_location = self._dbg  # for what is written into the prologue

    # ---- place

    def at(self, line: int, col: int) -> None:
        """Instructions from here on belong to this place of the source."""
        self.line, self.col = line, col
        if self.module.debug:
            self._dbg = f", !dbg !{self.module._location(line, col, self._scope)}"

    def fail(self, message: str, hint: str = "") -> CodegenError:
        return CodegenError(message, function=self.name, line=self.line, col=self.col, hint=hint)

    # ---- raw emission

    def _new(self) -> str:
        self.values += 1
        return f"%v{self.values}"

    def emit(self, text: str) -> None:
        if not self._ended:
            self._lines.append(f"  {text}{self._dbg}")

    def value(self, text: str) -> str:
        name = self._new()
        if not self._ended:
            self._lines.append(f"  {name} = {text}{self._dbg}")
        return name

    def label(self, name: str = "") -> str:
        """A fresh label name (nothing is emitted)."""
        self._labels += 1
        return f"{name or 'b'}{self._labels}"

    def start(self, label: str) -> None:
        """Begin the block `label`; falls through from the current block."""
        if not self._ended:
            self._lines.append(f"  br label %{label}{self._dbg}")
        self._lines.append(f"{label}:")
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the current block has its terminator."""
        return self._ended

    def br(self, label: str) -> None:
        self.emit(f"br label %{label}")
        self._ended = True

    def cond_br(self, condition: str, yes: str, no: str) -> None:
        """`condition` is an i1, from `icmp`."""
        self.emit(f"br i1 {condition}, label %{yes}, label %{no}")
        self._ended = True

    def ret(self, value: str = "0") -> None:
        self.emit(f"ret i64 {value}")
        self._ended = True

    # ---- memory

    def alloca(self, size: int, align: int = 8) -> str:
        """`size` bytes of stack (allocas outside the entry block would end the process).

        For the whole function, or until `release` hands it on to what comes later.
        """
        free = self._free.get(size)
        name = free.pop() if free else self._new_alloca(size, align)
        self._taken.append((size, name))
        return name

    def _new_alloca(self, size: int, align: int) -> str:
        self.stack += (size + 7) & ~7
        name = f"%s{len(self._allocas)}"
        kind = "i64" if size == 8 else f"[{size} x i8]"
        self._allocas.append(f"  {name} = alloca {kind}, align {max(8, align)}")
        return name

    def mark(self) -> int:
        """Where the stack's temporaries stand, for `release`."""
        return len(self._taken)

    def release(self, mark: int) -> None:
        """What was allocated since `mark` is not used any more."""
        for size, name in self._taken[mark:]:
            self._free.setdefault(size, []).append(name)
        del self._taken[mark:]

    def gep(self, pointer: str, offset: int | str) -> str:
        """pointer + offset in bytes."""
        if offset in (0, "0"):
            return pointer
        name = self.value(f"getelementptr i8, ptr {pointer}, i64 {offset}")
        if _is_number(str(offset)):
            root, start = self._places.get(pointer, (pointer, 0))
            if root.startswith(("%s", "%frame")):
                self._places[name] = (root, start + int(offset))
        return name

    def _addressable(self, pointer: str) -> str:
        """A pointer into the stack as something other than a load's or store's address.

        LLVM knows that an alloca is aligned and writes alloca + 4 as alloca | 4, which the verifier refuses for
        pointers; it may not know it here.
        """
        root, offset = self._places.get(pointer, (pointer, 0))
        if offset % 8 == 0:
            return pointer
        hidden = self.value(f'call ptr asm sideeffect "", "=r,0"(ptr {root})')
        return self.value(f"getelementptr i8, ptr {hidden}, i64 {offset}")

    def load(self, pointer: str, size: int = 8, signed: bool = False, *, align: int = 0, volatile: bool = False) -> str:
        """Read `size` (1, 2, 4, 8) bytes and extend to 64 bits."""
        kind = _INT[size]
        word = "load volatile" if volatile else "load"
        return self._extend(self.value(f"{word} {kind}, ptr {pointer}, align {align or size}"), size, signed)

    def load_pointer(self, pointer: str) -> str:
        return self.value(f"load ptr, ptr {pointer}, align 8")

    def store_pointer(self, value: str, pointer: str) -> None:
        self.emit(f"store ptr {value}, ptr {pointer}, align 8")

    def store(self, value: str, pointer: str, size: int = 8, *, align: int = 0) -> None:
        """Write the low `size` bytes of a 64-bit value."""
        kind = _INT[size]
        if size < 8:
            if _is_number(value):
                value = str(int(value) & ((1 << size * 8) - 1))
            else:
                value = self.value(f"trunc i64 {value} to {kind}")
        self.emit(f"store {kind} {value}, ptr {pointer}, align {align or size}")

    def load_context(self, pointer: str, offset: int, size: int = 8, signed: bool = False) -> str:
        """Read a field of the program's context.

        LLVM may not merge two such loads into one with a moved pointer, which the verifier refuses
        ("dereference of modified ctx ptr"): the intrinsic keeps base and offset in one instruction.
        """
        kind = _INT[size]
        name = f"llvm.bpf.getelementptr.and.load.{kind}"
        self.module.declare(name, f"declare {kind} @{name}(ptr, i1, i8, i8, i8, i1, ...)")
        loaded = self.value(
            f"call {kind} (ptr, i1, i8, i8, i8, i1, ...) @{name}(ptr elementtype(i8) {pointer}, i1 false, i8 0, i8 1, "
            f"i8 {size.bit_length() - 1}, i1 false, i32 immarg {offset})"
        )
        return self._extend(loaded, size, signed)

    def _extend(self, value: str, size: int, signed: bool) -> str:
        if size == 8:
            return value
        return self.value(f"{'sext' if signed else 'zext'} {_INT[size]} {value} to i64")

    def fill_zero(self, pointer: str, size: int, align: int = 8) -> None:
        """Zero `size` bytes (a constant), by one store for each `align` bytes."""
        for offset, width in _pieces(size, align):
            self.store("0", self.gep(pointer, offset), width)

    def copy(self, to: str, source: str, size: int, align: int = 8) -> None:
        """Copy `size` bytes (a constant) between memory that the program may access, `align` bytes at a time."""
        for offset, width in _pieces(size, align):
            self.store(self.load(self.gep(source, offset), width), self.gep(to, offset), width)

    def atomic_add(self, pointer: str, value: str) -> None:
        """Add to 8 bytes of shared memory; the old value is not needed (works on every kernel)."""
        self.emit(f"atomicrmw add ptr {pointer}, i64 {value} monotonic, align 8")

    def atomic_fetch_add(self, pointer: str, value: str) -> str:
        """As `atomic_add`, returning the old value (kernel 5.12 and later)."""
        return self.value(f"atomicrmw add ptr {pointer}, i64 {value} monotonic, align 8")

    # ---- arithmetic

    def op(self, name: str, left: str, right: str) -> str:
        """add sub mul udiv urem and or xor shl lshr ashr on i64."""
        if _is_number(left) and _is_number(right) and name in _FOLD:
            return str(_wrap(_FOLD[name](int(left), int(right))))
        pointer = self._addresses.get(left) if name == "add" else None
        if pointer:
            # As pointer arithmetic: LLVM turns additions to aligned integers into `or`, which the verifier refuses.
            return self.to_int(self.gep(pointer, right))
        return self.value(f"{name} i64 {left}, {right}")

    def sdiv(self, left: str, right: str, *, remainder: bool = False) -> str:
        """Signed division; BPF has no instruction for it before v4, so the signs are worked out around udiv."""
        if self.module.cpu >= "v4":
            return self.op("srem" if remainder else "sdiv", left, right)
        sign_left, sign_right = self.op("ashr", left, "63"), self.op("ashr", right, "63")
        plain_left = self.op("sub", self.op("xor", left, sign_left), sign_left)
        plain_right = self.op("sub", self.op("xor", right, sign_right), sign_right)
        result = self.op("urem" if remainder else "udiv", plain_left, plain_right)
        sign = sign_left if remainder else self.op("xor", sign_left, sign_right)
        return self.op("sub", self.op("xor", result, sign), sign)

    def icmp(self, condition: str, left: str, right: str, kind: str = "i64") -> str:
        """eq ne ult ule ugt uge slt sle sgt sge -> i1."""
        return self.value(f"icmp {condition} {kind} {left}, {right}")

    def is_null(self, pointer: str) -> str:
        return self.icmp("eq", pointer, "null", "ptr")

    def bool_to_int(self, condition: str) -> str:
        return self.value(f"zext i1 {condition} to i64")

    def select(self, condition: str, yes: str, no: str) -> str:
        return self.value(f"select i1 {condition}, i64 {yes}, i64 {no}")

    def truncate(self, value: str, size: int, signed: bool) -> str:
        """Keep the low `size` bytes, sign- or zero-extended back to 64 bits."""
        if size >= 8:
            return value
        if _is_number(value):
            number = int(value) & ((1 << size * 8) - 1)
            return str(number - (1 << size * 8) if signed and number >> (size * 8 - 1) else number)
        return self._extend(self.value(f"trunc i64 {value} to {_INT[size]}"), size, signed)

    def to_int(self, pointer: str) -> str:
        address = self.value(f"ptrtoint ptr {self._addressable(pointer)} to i64")
        self._addresses[address] = pointer
        return address

    def to_pointer(self, value: str) -> str:
        return self.value(f"inttoptr i64 {value} to ptr")

    def opaque(self, value: str) -> str:
        """The same value, about which LLVM knows nothing (keeps range checks that the verifier must see)."""
        return self.value(f'call i64 asm sideeffect "", "=r,0"(i64 {value})')

    def byte_swap(self, value: str, size: int) -> str:
        """Reverse the low `size` (2, 4, 8) bytes."""
        kind = _INT[size]
        self.module.declare(f"llvm.bswap.{kind}", f"declare {kind} @llvm.bswap.{kind}({kind})")
        narrow = value if size == 8 else self.value(f"trunc i64 {value} to {kind}")
        return self._extend(self.value(f"call {kind} @llvm.bswap.{kind}({kind} {narrow})"), size, False)

    # ---- calls

    def helper(self, number: int, *arguments: str, returns: str = "i64") -> str:
        """Call helper `number`. An argument is a value (i64), or "ptr X" for an address."""
        if len(arguments) > MAX_CALL_ARGS:
            raise self.fail(f"call helper {number}: {len(arguments)} arguments, BPF passes 5 at most")
        shown = ", ".join(f"ptr {self._addressable(a[4:])}" if a.startswith("ptr ") else f"i64 {a}" for a in arguments)
        return self.value(f"call {returns} inttoptr (i64 {number} to ptr)({shown})")

    def call(self, name: str, *arguments: str, returns: str = "i64") -> str:
        """Call a subprogram or kfunc. Arguments as in `helper`."""
        if len(arguments) > MAX_CALL_ARGS:
            raise self.fail(f"call {name}: {len(arguments)} arguments, BPF passes 5 at most")
        shown = ", ".join(a if " " in a else f"i64 {a}" for a in arguments)
        text = f"call {returns} @{_quote(name)}({shown})"
        if returns == "void":
            self.emit(text)
            return ""
        return self.value(text)

    # ---- text

    def text(self) -> str:
        if self._scope == 0 and self.module.debug:
            raise CodegenError(f"write function {self.name}: no scope", function=self.name)
        arguments = ", ".join(f"ptr %a{i}" for i in range(self.arguments))
        linkage = "internal" if self.internal else "dso_local"
        debug = f" !dbg !{self._scope}" if self.module.debug else ""
        section = f' section "{self.section}"' if self.section else ""
        tail = [] if self._ended else [f"  ret i64 0{self._dbg}"]
        head = f"define {linkage} i64 @{_quote(self.name)}({arguments}) #0{section}{debug} {{"
        return "\n".join([head, "entry:", *self._allocas, *self.prologue, *self._lines, *tail, "}"])


def _is_number(text: str) -> bool:
    return text.isdigit() or (text[:1] == "-" and text[1:].isdigit())


def _pieces(size: int, align: int) -> list[tuple[int, int]]:
    """(offset, width) of the accesses that cover `size` bytes, none wider than `align`."""
    pieces, at = [], 0
    while at < size:
        width = next(w for w in (8, 4, 2, 1) if w <= align and at + w <= size)
        pieces.append((at, width))
        at += width
    return pieces


def _wrap(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


_FOLD = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}
