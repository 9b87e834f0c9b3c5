"""Refuse IR that LLVM's BPF back end cannot compile.

LLVM answers such IR with exit(1) or abort(): the whole Python process ends, without an exception. So every module
is read here first, one instruction a line, as our builder and LLVM itself write them. What cannot be decided from the
IR (stack use after spilling) is left to the guard in `_driver`, and so is IR that others wrote.
"""

from __future__ import annotations

from ..errors import CodegenError
from ._builder import MAX_CALL_ARGS, STACK_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FLOATS = frozenset(("float", "double", "half", "bfloat", "fp128", "x86_fp80", "ppc_fp128"))
_NO_BACKEND = {
    "indirectbr": "computed goto",
    "callbr": "assembly with labels",
    "va_arg": "variable arguments",
    **dict.fromkeys(
        ("invoke", "landingpad", "catchswitch", "catchpad", "catchret", "cleanuppad", "cleanupret", "resume"),
        "exception handling",
    ),
    "fence": "a memory fence",
}
_TERMINATORS = ("ret", "br", "switch", "unreachable")
_CONVENTIONS = ("ccc", "fastcc")  # all others end the process
_ATOMIC_OK = ("add", "sub", "and", "or", "xor", "xchg")
_ATOMIC_V1 = ("add",)
_SIZES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "ptr": 8}
# Intrinsics that become instructions; those of llvm.mem* are looked at more closely.
_INTRINSICS = (
    "bpf.", "dbg.", "lifetime.", "preserve.", "abs.", "bswap.", "bitreverse.", "ctpop.", "ctlz.", "cttz.",
    "fshl.", "fshr.",
    "umin.", "umax.", "smin.", "smax.", "uadd.", "usub.", "sadd.", "ssub.", "assume", "expect", "ucmp.", "scmp.",
    "is.constant.", "objectsize.", "sideeffect", "donothing", "umul.with.overflow.i32", "smul.with.overflow.i32",
)  # fmt: skip
_MOST_INLINE = 1024  # bytes that llvm.memset and llvm.memcpy expand at most: 128 stores of 8
_SURELY_INLINE = 128
_PUNCTUATION = str.maketrans(dict.fromkeys("()[]{}<>,*=", " "))
_UNSURE = STACK_LIMIT + 1  # makes the driver use its guard


def check_text(ir: str, cpu: str = "v3") -> int:
    """Raise CodegenError at the first line that BPF cannot do. Returns the most bytes of stack a function asks for."""
    largest = 0
    function: _Function | None = None
    for line in ir.split("\n"):
        code = _code_of(line)
        if function is not None:
            if code == "}":
                largest = max(largest, function.stack)
                function = None
            elif code:
                function.line(code, line)
        elif code.startswith("define "):
            function = _Function(code, line, cpu)
        elif code.startswith("module asm"):
            raise CodegenError("compile IR: module-level assembly is not available for BPF")
        elif code.startswith("@") and " thread_local" in code:
            raise CodegenError(f"compile IR: thread-local variable {code.split(' ')[0]} (BPF has no threads)")
    return largest


class _Function:
    """What is known of the function that is being read."""

    def __init__(self, code: str, line: str, cpu: str) -> None:
        self.name = _function_name(line)
        self.cpu = cpu
        self.stack = 0
        self._started = False  # something of the first block was seen
        self._in_entry = True
        self._results: list[str] = []  # of atomic additions before v3: nothing may use them
        self._check_head(code)

    def error(self, what: str, hint: str = "") -> CodegenError:
        return CodegenError(f"compile function {self.name}: {what}", function=self.name, hint=hint)

    def _check_head(self, code: str) -> None:
        at = code.find("@")
        head = code[:at]
        parameters = list(_split_arguments(code[code.find("(", at) + 1 :]))
        if len(parameters) > MAX_CALL_ARGS:
            raise self.error(f"{len(parameters)} parameters (BPF passes 5 at most)")
        if "{" in head or "[" in head:
            raise self.error("returns a structure (BPF returns one 64-bit value)")
        for parameter in parameters:
            words = parameter.split()
            if words == ["..."]:
                raise self.error("takes a variable number of arguments (BPF passes 5 at most)")
            if words[:1] and words[0][0] in "[{<":
                raise self.error("takes a structure by value (BPF passes 64-bit values)", "pass its address")
            if any(word.startswith("sret") for word in words):
                raise self.error("returns a structure (BPF returns one 64-bit value)")
        self._check_types(_words(head) + [w for p in parameters for w in _words(p)])
        self._check_convention(head.split())

    def line(self, code: str, line: str) -> None:
        if _is_label(code):
            self._in_entry = self._in_entry and not self._started
            self._started = True
            return
        self._started = True
        for result in self._results:
            if result in _words(code):
                raise self.error(f"the old value of an atomic addition needs BPF v3 (it is {self.cpu})")
        self._instruction(code, line)

    def _instruction(self, code: str, line: str) -> None:
        result, _, rest = code.partition(" = ") if code.startswith("%") else ("", "", code)
        words = rest.split()
        opcode = words[0] if words else ""
        if opcode in ("tail", "musttail", "notail") and len(words) > 1:
            opcode = words[1]
        self._check_types(_words(rest))
        if opcode in ("sdiv", "srem") and self.cpu < "v4":
            raise self.error("signed division needs BPF v4 (Linux 6.6)", "divide unsigned values")
        if opcode in _NO_BACKEND:
            raise self.error(f"{_NO_BACKEND[opcode]} is not available in BPF")
        if opcode == "alloca":
            self._alloca(rest)
        elif opcode == "call":
            self._call(rest, words, line)
        elif opcode in ("atomicrmw", "cmpxchg"):
            self._atomic(opcode, words, result)
        elif opcode in ("load", "store") and words[1:2] == ["atomic"]:
            self._atomic_access(words)
        elif opcode in _TERMINATORS:
            self._in_entry = False

    def _check_types(self, words: list[str]) -> None:
        for word in words:
            if word in _FLOATS:
                raise self.error(f"floating point ({word}) is not available in BPF", "use integers, scaled")
            if word[0] == "i" and word[1:].isdigit() and int(word[1:]) > 64:
                raise self.error(f"integers wider than 64 bits ({word}) are not available in BPF")

    def _check_convention(self, words: list[str]) -> None:
        for word in words:
            if word == "cc" or (word.endswith("cc") and word.isalnum() and word not in _CONVENTIONS):
                raise self.error(f"calling convention {word} is not available in BPF")

    def _alloca(self, rest: str) -> None:
        if not self._in_entry:
            raise self.error("memory is allocated outside the function's first block")
        parts = [part.strip() for part in _split_arguments(rest.split(" ", 1)[1] + ")")]
        count = 1
        for part in parts[1:]:
            words = part.split()
            if words[0].startswith("i") and len(words) == 2:
                if not words[1].isdigit():
                    raise self.error("memory of variable size on the stack")
                count = int(words[1])
        size = _size_of(parts[0].removeprefix("inalloca "))
        self.stack += (count * size + 7) & ~7 if size else _UNSURE
        if self.stack > 16 * STACK_LIMIT:
            raise self.error(f"{self.stack} bytes of local variables (BPF has {STACK_LIMIT} bytes of stack)")

    def _call(self, rest: str, words: list[str], line: str) -> None:
        if "asm" in words:
            # Empty text is a barrier. What is no text LLVM refuses by itself.
            if not line.partition(" asm ")[2].partition('"')[2].startswith('"'):
                raise self.error("inline assembly is not available in BPF")
            return
        head, arguments = _call_parts(rest)
        self._check_convention(head.split())
        name = head.rpartition("@llvm.")[2] if "@llvm." in head else ""
        if name.startswith("mem"):
            self._memory_block(arguments)
            return
        if name:
            if not name.startswith(_INTRINSICS) or "mul.with.overflow.i64" in name:
                raise self.error(f"intrinsic llvm.{name} is not available in BPF")
            return
        if len(arguments) > MAX_CALL_ARGS:
            raise self.error(f"a call with {len(arguments)} arguments (BPF passes 5 at most)")
        if any(a.strip()[:1] in ("[", "{") or " byval" in f" {a}" for a in arguments):
            raise self.error("a structure is passed by value (BPF passes 64-bit values)", "pass its address")
        if " {" in head.split("@")[0] or " [" in head.split("@")[0]:
            raise self.error("a call that returns a structure (BPF returns one 64-bit value)")

    def _memory_block(self, arguments: list[str]) -> None:
        size = arguments[2].split()[-1] if len(arguments) > 2 else "0"
        if not size.isdigit():
            raise self.error("memory block of variable size is copied or set", "use a constant size")
        if int(size) > _MOST_INLINE:
            raise self.error(
                f"memory block of {size} bytes is copied or set ({_MOST_INLINE} at most)", "do it in a loop"
            )
        if int(size) > _SURELY_INLINE:
            self.stack += _UNSURE

    def _atomic(self, opcode: str, words: list[str], result: str) -> None:
        kind = next((w for w in words if w in _SIZES and w != "ptr"), "ptr").rstrip(",")
        if kind in ("i1", "i8", "i16"):
            raise self.error("atomic operations on 8 or 16 bits are not available in BPF")
        if "align" in words:
            given = words[words.index("align") + 1].rstrip(",")
            if not given.isdigit() or int(given) < _SIZES[kind]:
                raise self.error("atomic operations on unaligned memory are not available in BPF")
        if opcode == "cmpxchg":
            if self.cpu < "v3":
                raise self.error("compare and exchange needs BPF v3 (Linux 5.12)")
            return
        operation = next((w for w in words[1:] if w != "volatile"), "")
        if operation not in (_ATOMIC_OK if self.cpu >= "v3" else _ATOMIC_V1):
            raise self.error(f"atomic {operation} is not available in BPF {self.cpu}")
        if self.cpu < "v3" and result:
            self._results.append(result.strip())

    def _atomic_access(self, words: list[str]) -> None:
        if self.cpu < "v4":
            raise self.error("atomic loads and stores need BPF v4", "use a volatile access")
        if "seq_cst" in words or "seq_cst," in words:
            raise self.error("sequentially consistent loads and stores are not available in BPF", "acquire, release")
        if any(w in ("i1", "i8", "i16") for w in words):
            self.stack += _UNSURE


def _code_of(line: str) -> str:
    """A line without strings' contents, comment and blanks around it."""
    if '"' in line:
        line = '""'.join(line.split('"')[::2])
    return line.partition(";")[0].strip()


def _function_name(line: str) -> str:
    name = line[line.find("@") + 1 :]
    if name.startswith('"'):
        return name[1 : name.find('"', 1)]
    return name[: name.find("(")]


def _is_label(code: str) -> bool:
    word = code.split()[0]
    return word.endswith(":") and not word.startswith(("%", "@", "!"))


def _words(text: str) -> list[str]:
    """The words of a line, names with their % or @."""
    return text.translate(_PUNCTUATION).split()


def _size_of(kind: str) -> int:
    """Bytes of a type that can be read from the text; 0 for others."""
    if kind.startswith("["):
        count, _, rest = kind[1:-1].partition(" x ")
        return int(count) * _size_of(rest) if count.isdigit() else 0
    return _SIZES.get(kind, 0)


def _split_arguments(text: str) -> Iterator[str]:
    """The top-level, comma-separated parts of a parenthesised list; `text` starts after the opening one."""
    depth, start = 0, 0
    for i, char in enumerate(text):
        if char in "([{<":
            depth += 1
        elif char in ")]}>":
            if depth == 0:
                if text[start:i].strip():
                    yield text[start:i]
                return
            depth -= 1
        elif char == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    if text[start:].strip():
        yield text[start:]


def _call_parts(code: str) -> tuple[str, list[str]]:
    """(what stands before, arguments) of a call: the list that follows a name or a constant expression at once."""
    depth = 0
    for i, char in enumerate(code):
        if char == "(":
            before = code[:i].split()[-1] if not code[:i].endswith(" ") else ""
            if depth == 0 and (before.startswith(("@", "%")) or before.endswith(")")):
                return code[:i], list(_split_arguments(code[i + 1 :]))
            depth += 1
        elif char == ")":
            depth -= 1
    return code, []
