"""Refuse IR that LLVM's BPF back end cannot compile.

LLVM answers such IR with exit(1) or abort(): the whole Python process ends, without an exception. So every module
is read here first, line by line. What cannot be decided from the IR (stack use after spilling) is left to the guard
in `_driver`.
"""

from __future__ import annotations

from ..errors import CodegenError
from ._builder import MAX_CALL_ARGS, STACK_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FLOATS = (" float ", " double ", " half ", " bfloat ", " fp128 ", " x86_fp80 ")
_WIDE = tuple(f" i{n} " for n in (128, 256, 512))
_SIGNED_DIVISION = (" sdiv ", " srem ")
_NO_BACKEND = {
    "indirectbr ": "computed goto",
    "va_arg ": "variable arguments",
    "invoke ": "exceptions",
    "landingpad ": "exceptions",
    "catchswitch ": "exceptions",
    "resume ": "exceptions",
    " module asm ": "assembly",
    "fence ": "memory fences",
}
_ATOMIC_OK = ("add", "sub", "and", "or", "xor", "xchg")
_ATOMIC_V1 = ("add",)


def check_text(ir: str, cpu: str = "v3") -> int:
    """Raise CodegenError at the first line that BPF cannot do. Returns the most bytes of stack a function asks for."""
    function, stack, largest, in_entry = "", 0, 0, False
    for line in ir.split("\n"):
        if line.startswith("define "):
            function, stack, in_entry = _function_name(line), 0, True
            _check_parameters(line, function)
        elif line.startswith("}"):
            largest = max(largest, stack)
            function = ""
        elif line.startswith("module asm"):
            raise CodegenError("compile IR: module-level assembly is not available for BPF")
        elif function:
            code = _without_strings(line)
            if code[:1] not in (" ", "\t", ";", "") and code.rstrip().endswith(":") and stack >= 0:
                in_entry = in_entry and code.startswith("entry:")
            else:
                stack += _check_instruction(code, line, function, cpu, in_entry)
                if stack > 16 * STACK_LIMIT:
                    raise _error(function, f"{stack} bytes of local variables (BPF has {STACK_LIMIT} bytes of stack)")
    return largest


def _error(function: str, what: str, hint: str = "") -> CodegenError:
    return CodegenError(f"compile function {function}: {what}", function=function, hint=hint)


def _function_name(line: str) -> str:
    name = line[line.find("@") + 1 :]
    if name.startswith('"'):
        return name[1 : name.find('"', 1)]
    return name[: name.find("(")]


def _without_strings(line: str) -> str:
    if '"' not in line:
        return line
    parts = line.split('"')
    return '""'.join(parts[::2])


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


def _check_parameters(line: str, function: str) -> None:
    at = line.find("@")
    if at < 0:
        return
    opened = line.find("(", at)
    parameters = list(_split_arguments(line[opened + 1 :]))
    if len(parameters) > MAX_CALL_ARGS:
        raise _error(function, f"{len(parameters)} parameters (BPF passes 5 at most)")
    head = line[:at]
    if any(word in head + " " for word in (" {", " [")):
        raise _error(function, "returns a structure (BPF returns one 64-bit value)")
    for word in (*_FLOATS, *_WIDE):
        if word in f" {head} " or any(p.lstrip().startswith(word.strip()) for p in parameters):
            raise _error(function, f"type{word}in its signature (BPF has no such registers)")


def _check_instruction(code: str, line: str, function: str, cpu: str, in_entry: bool) -> int:
    """Check one instruction; returns the stack bytes it allocates."""
    padded = f"{code} "
    for word in _FLOATS:
        if word in padded:
            raise _error(function, f"floating point ({word.strip()}) is not available in BPF", "use integers, scaled")
    for word in _WIDE:
        if word in padded:
            raise _error(function, f"integers wider than 64 bits ({word.strip()}) are not available in BPF")
    if cpu < "v4":
        for word in _SIGNED_DIVISION:
            if word in padded:
                raise _error(function, "signed division needs BPF v4 (Linux 6.6)", "divide unsigned values")
    for word, what in _NO_BACKEND.items():
        if word in padded:
            raise _error(function, f"{what} is not available in BPF")
    if " alloca " in padded:
        return _check_alloca(code, function, in_entry)
    if "call " in padded:
        _check_call(code, line, function)
    elif "atomicrmw " in padded or "cmpxchg " in padded:
        _check_atomic(code, function, cpu)
    elif cpu < "v4" and ("load atomic" in padded or "store atomic" in padded):
        raise _error(function, "atomic loads and stores need BPF v4", "use a volatile access")
    return 0


def _check_alloca(code: str, function: str, in_entry: bool) -> int:
    if not in_entry:
        raise _error(function, "memory is allocated outside the function's first block")
    kind = code.split(" alloca ", 1)[1]
    count = 1
    if kind.startswith("["):
        shape = kind[1:].split("]")[0].split(" x ")
        count = int(shape[0]) if shape[0].isdigit() else 1
        kind = shape[-1]
    elif ", i" in kind and not kind.split(", i", 1)[1].split(" ")[-1].split(",")[0].isdigit():
        raise _error(function, "memory of variable size on the stack")
    sizes = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "ptr": 8}
    return (count * sizes.get(kind.split(",")[0].strip(), 8) + 7) & ~7


def _check_call(code: str, line: str, function: str) -> None:
    if " asm " in code:
        template = line.split(" asm ", 1)[1].split('"')[1]
        if template:
            raise _error(function, "inline assembly is not available in BPF")
        return
    callee = code.split("call ", 1)[1]
    if "@llvm.mem" in callee:
        size = list(_split_arguments(callee.split("(", 1)[1]))
        if len(size) > 2 and "%" in size[2]:
            raise _error(function, "memory block of variable size is copied or set", "use a constant size")
        return
    if "@llvm." in callee:
        return
    opened = callee.rfind("@")
    start = callee.find("(", opened) if opened >= 0 else callee.rfind(")(") + 1
    if sum(1 for _ in _split_arguments(callee[start + 1 :])) > MAX_CALL_ARGS:
        raise _error(function, "a call with more than 5 arguments (BPF passes 5 at most)")


def _check_atomic(code: str, function: str, cpu: str) -> None:
    words = code.split()
    if "cmpxchg" in words:
        if cpu < "v3":
            raise _error(function, "compare and exchange needs BPF v3 (Linux 5.12)")
        kind = words[words.index("cmpxchg") + 3 :]
        if kind and kind[0] in ("i8", "i16", "i1"):
            raise _error(function, "atomic operations on 8 or 16 bits are not available in BPF")
        return
    rest = [w for w in words[words.index("atomicrmw") + 1 :] if w != "volatile"]
    allowed = _ATOMIC_OK if cpu >= "v3" else _ATOMIC_V1
    if rest[0] not in allowed:
        raise _error(function, f"atomic {rest[0]} is not available in BPF {cpu}")
    if any(w in ("i8", "i16") for w in rest):
        raise _error(function, "atomic operations on 8 or 16 bits are not available in BPF")
