"""Strings and buffers: comparison, reading from the traced process or the kernel, searching."""

from __future__ import annotations

from .. import ast
from ..types import BPF, KERNEL, USER, Type, string
from ._layout import align_of, size_of
from ._memory import INTO, address_of, alignment, in_memory, read_raw, read_space, read_string, read_text, store, zero
from ._program import CALLS, Program, Value

UNROLL = 64  # bytes compared by straight code; more is a loop
UNROLL_BYTES = 16  # the same where alignment makes LLVM load byte by byte: it loads all first, into the stack


def equal(p: Program, left: Value, right: Value) -> str:
    """Whether two strings are the same text: an i1."""
    if left.text is not None and right.text is not None:
        return "true" if left.text == right.text else "false"
    if left.text is not None:
        left, right = right, left
    if right.text is not None:
        return _equal_constant(p, left, right.text)
    return _compare_loop(p, left, right, min(left.size, right.size))


def _equal_constant(p: Program, value: Value, text: bytes, whole: bool = True) -> str:
    """Compare with known bytes, eight at a time; the final NUL is part of it when the `whole` text must match."""
    data = text + b"\0" if whole else text
    if len(data) > value.size:
        return "false"
    return equal_to_bytes(p, value, data)


def equal_to_bytes(p: Program, value: Value, data: bytes) -> str:
    """Whether a string begins with these bytes."""
    f = p.f
    pointer, align = in_memory(p, value), alignment(value)
    if len(data) > (UNROLL if align == 8 else UNROLL_BYTES):
        constant = p.module.constant(data.ljust(-(-len(data) // 8) * 8, b"\0"))
        return equal_bytes(p, pointer, constant, len(data))
    difference, at = "0", 0
    while at < len(data):
        width = next(w for w in (8, 4, 2, 1) if at + w <= len(data))
        word = f.load(f.gep(pointer, at), width, align=min(width, align))
        number = int.from_bytes(data[at : at + width], "little")
        wanted = str(number - (1 << 64) if number >> 63 else number)
        difference = f.op("or", difference, f.op("xor", word, wanted))
        at += width
    return f.icmp("eq", difference, "0")


def equal_bytes(p: Program, a: str, b: str, size: int) -> str:
    """Whether `size` bytes at two pointers are the same."""
    f = p.f
    if size <= UNROLL_BYTES:
        difference, at = "0", 0
        while at < size:
            width = next(w for w in (8, 4, 2, 1) if at + w <= size)
            x, y = f.load(f.gep(a, at), width, align=1), f.load(f.gep(b, at), width, align=1)
            difference = f.op("or", difference, f.op("xor", x, y))
            at += width
        return f.icmp("eq", difference, "0")
    return _byte_loop(p, a, b, size, stop_at_nul=False)


def _compare_loop(p: Program, left: Value, right: Value, size: int) -> str:
    return _byte_loop(p, in_memory(p, left), in_memory(p, right), size, stop_at_nul=True)


def _byte_loop(p: Program, a: str, b: str, size: int, *, stop_at_nul: bool) -> str:
    """A loop over bytes; an i1: no difference was found."""
    if p.features.has("loop"):
        from ._search import same as same_bytes

        return same_bytes(p, a, b, size, stop_at_nul=stop_at_nul)
    f = p.f
    at, same = f.alloca(8), f.alloca(8)
    f.store("0", at)
    f.store("0", same)
    head, body, onward, done, found = (f.label(n) for n in ("head", "body", "onward", "done", "same"))
    f.start(head)
    index = f.load(at)
    f.cond_br(f.icmp("ult", index, str(size)), body, found)
    f.start(body)
    x, y = f.load(f.gep(a, index), 1), f.load(f.gep(b, index), 1)
    alike = f.icmp("eq", x, y)
    f.cond_br(alike, onward, done)
    f.start(onward)
    f.store(f.op("add", index, "1"), at)
    if stop_at_nul:
        f.cond_br(f.icmp("eq", x, "0"), found, head)
    else:
        f.br(head)
    f.start(found)
    f.store("1", same)
    f.br(done)
    f.start(done)
    return f.icmp("ne", f.load(same), "0")


# ---------------------------------------------------------------- str() and buf()


def _bounded(p: Program, node: ast.Expr, limit: int) -> str:
    """A length argument, kept within 0..limit where the verifier sees it."""
    length = p.integer(node)
    if length.lstrip("-").isdigit():
        return str(max(0, min(int(length), limit)))
    f = p.f
    clamped = f.select(f.icmp("ugt", length, str(limit)), str(limit), length)
    return f.opaque(clamped)


def _source(p: Program, node: ast.Expr) -> tuple[str, str]:
    """(space, address) of the bytes that a pointer, array or number points to."""
    t = node.type
    value = p.expr(node)
    if t.in_register:
        space = t.space if t.kind == "pointer" else ""
        return (USER if _reads_user(p, space) else KERNEL), value.reg
    return read_space(value), address_of(p, value)


def _reads_user(p: Program, space: str) -> bool:
    if space:
        return space == USER
    return p.probe.provider in ("uprobe", "uretprobe", "usdt")


def _str_into(p: Program, e: ast.Call, to: str, t: Type, pad: bool) -> bool:
    if t.kind != "string":
        return False
    first = e.args[0]
    if isinstance(first, ast.TypeName):
        return False
    if first.type.kind == "string":
        value = p.expr(first)
        if len(e.args) > 1:
            return False
        store(p, value, to, t, pad=pad)
        return True
    space, address = _source(p, first)
    if pad:
        zero(p, to, t.size, align_of(t))
    else:
        p.f.store("0", to, 1)
    if len(e.args) > 1 and isinstance(e.args[1], ast.Expr):
        read_string(p, space, to, _bounded(p, e.args[1], t.size), address)
    else:
        read_text(p, space, to, t.size, address)
    return True


def _str(p: Program, e: ast.Call) -> Value:
    first = e.args[0]
    if isinstance(first, ast.Expr) and first.type.kind == "string":
        value = p.expr(first)
        if len(e.args) == 1:
            return value
        text = value.text
        if text is not None and isinstance(e.args[1], ast.Integer):
            kept = text[: max(0, e.args[1].value - 1)]
            return Value(e.type, "", BPF, text=kept, size=len(kept) + 1)
        to = p.stack_or_scratch(e.type.size)
        p.f.store("0", to, 1)
        length = _bounded(p, e.args[1], e.type.size)  # type: ignore[arg-type]
        read_string(p, read_space(value), to, length, address_of(p, value))
        return Value(e.type, to, BPF)
    to = p.stack_or_scratch(e.type.size)
    _str_into(p, e, to, e.type, False)
    return Value(e.type, to, BPF)


def _buf_into(p: Program, e: ast.Call, to: str, t: Type, pad: bool) -> bool:
    if t.kind != "buffer":
        return False
    f = p.f
    first = e.args[0]
    if isinstance(first, ast.TypeName):
        return False
    if len(e.args) > 1 and isinstance(e.args[1], ast.Expr):
        length = _bounded(p, e.args[1], t.size)
    else:
        length = str(min(t.size, size_of(first.type)))
    space, address = _source(p, first)
    if pad:
        zero(p, to, size_of(t), 4)
    f.store(length, to, 4)
    read_raw(p, space, f.gep(to, 4), length, address)
    return True


def _buf(p: Program, e: ast.Call) -> Value:
    to = p.stack_or_scratch(size_of(e.type))
    _buf_into(p, e, to, e.type, False)
    return Value(e.type, to, BPF)


# ---------------------------------------------------------------- comparing and searching


def _strncmp(p: Program, e: ast.Call) -> Value:
    """0 when the first n bytes are the same (or both end before)."""
    f = p.f
    left, right, count = e.args[0], e.args[1], e.args[2]
    if not (isinstance(left, ast.Expr) and isinstance(right, ast.Expr) and isinstance(count, ast.Expr)):
        raise p.error("strncmp() takes two strings and a length", e)
    a, b = p.expr(left), p.expr(right)
    if a.text is not None and b.text is not None and isinstance(count, ast.Integer):
        same = a.text[: count.value] == b.text[: count.value]
        return Value(e.type, "0" if same else "1")
    if a.text is not None:
        a, b = b, a
    if isinstance(count, ast.Integer):
        n = count.value
        if b.text is not None:
            data = (b.text + b"\0")[:n]
            if len(data) > a.size:
                return Value(e.type, "1")
            same_bit = equal_to_bytes(p, a, data)
        else:
            same_bit = _byte_loop(p, in_memory(p, a), in_memory(p, b), min(n, a.size, b.size), stop_at_nul=True)
        return Value(e.type, f.select(same_bit, "0", "1"))
    raise p.error("strncmp() needs a constant length", e)


def _strcontains(p: Program, e: ast.Call) -> Value:
    return Value(e.type, p.f.bool_to_int(p.f.icmp("sge", _find(p, e), "0")))


def _strstr(p: Program, e: ast.Call) -> Value:
    return Value(e.type, _find(p, e))


def _find(p: Program, e: ast.Call) -> str:
    """Index of the first occurrence of the second string in the first, or -1."""
    f = p.f
    hay_node, needle_node = e.args[0], e.args[1]
    if not (isinstance(hay_node, ast.Expr) and isinstance(needle_node, ast.Expr)):
        raise p.error(f"{e.name}() takes two strings", e)
    hay, needle = p.expr(hay_node), p.expr(needle_node)
    if hay.text is not None and needle.text is not None:
        return str(hay.text.find(needle.text))
    if needle.text == b"":
        return "0"
    if p.features.has("loop"):
        from ._search import STRAIGHT, find_string, find_text

        if needle.text is not None and len(needle.text) <= STRAIGHT:
            return find_text(p, in_memory(p, hay), hay.size, needle.text)
        return find_string(p, in_memory(p, hay), hay.size, in_memory(p, needle), needle.size)
    where, what = in_memory(p, hay), in_memory(p, needle)
    start, matched, result = f.alloca(8), f.alloca(8), f.alloca(8)
    f.store("0", start)
    f.store("-1", result)
    outer, inner, compare, more, next_start, found, done = (
        f.label(n) for n in ("outer", "inner", "compare", "more", "next", "found", "done")
    )
    f.start(outer)
    at = f.load(start)
    f.cond_br(f.icmp("ult", at, str(hay.size)), more, done)
    f.start(more)
    f.store("0", matched)
    f.start(inner)
    j = f.load(matched)
    f.cond_br(f.icmp("ult", j, str(needle.size)), compare, found)
    f.start(compare)
    wanted = f.load(f.gep(what, j), 1)
    ended = f.icmp("eq", wanted, "0")
    check = f.label("check")
    f.cond_br(ended, found, check)
    f.start(check)
    position = f.op("add", f.load(start), j)
    inside = f.label("inside")
    f.cond_br(f.icmp("ult", position, str(hay.size)), inside, done)
    f.start(inside)
    actual = f.load(f.gep(where, position), 1)
    ongoing = f.label("ongoing")
    f.cond_br(f.icmp("eq", actual, wanted), ongoing, next_start)
    f.start(ongoing)
    f.store(f.op("add", j, "1"), matched)
    f.br(inner)
    f.start(next_start)
    head_char = f.load(f.gep(where, f.load(start)), 1)
    f.store(f.op("add", f.load(start), "1"), start)
    f.cond_br(f.icmp("eq", head_char, "0"), done, outer)
    f.start(found)
    f.store(f.load(start), result)
    f.br(done)
    f.start(done)
    return f.load(result)


def _strlen(p: Program, e: ast.Call) -> Value:
    node = e.args[0]
    if isinstance(node, ast.TypeName):
        raise p.error("strlen() takes a string", e)
    value = p.expr(node)
    return Value(e.type, length_of(p, value))


def length_of(p: Program, value: Value) -> str:
    """Bytes before the final NUL of a string."""
    f = p.f
    if value.text is not None:
        return str(len(value.text))
    pointer = in_memory(p, value)
    to = p.stack_or_scratch(value.size)
    count = read_string(p, KERNEL, to, value.size, f.to_int(pointer))
    return f.select(f.icmp("sgt", count, "0"), f.op("sub", count, "1"), "0")


def _memcmp(p: Program, e: ast.Call) -> Value:
    left, right, count = e.args[0], e.args[1], e.args[2]
    if not (isinstance(left, ast.Expr) and isinstance(right, ast.Expr) and isinstance(count, ast.Integer)):
        raise p.error("memcmp() takes two values and a constant length", e)
    sides = []
    for node in (left, right):
        to = p.stack_or_scratch(count.value)
        space, address = _source(p, node)
        read_raw(p, space, to, count.value, address)
        sides.append(to)
    same = equal_bytes(p, sides[0], sides[1], count.value)
    return Value(e.type, p.f.select(same, "0", "1"))


def _str_concat(p: Program, e: ast.Call) -> Value:
    """Both texts in one string of the result type's size."""
    f = p.f
    to = p.stack_or_scratch(e.type.size)
    first, second = e.args[0], e.args[1]
    if isinstance(first, ast.TypeName) or isinstance(second, ast.TypeName):
        raise p.error("str_concat() takes two strings", e)
    a, b = p.expr(first), p.expr(second)
    store(p, a, to, string(min(e.type.size, max(1, a.size))))
    length = f.opaque(length_of(p, a))
    limit = e.type.size - 1
    inside = f.select(f.icmp("ugt", length, str(limit)), str(limit), length)
    source = f.to_int(in_memory(p, b))
    # The verifier cannot prove "offset + size <= buffer" for a helper with both variable: copied byte by byte.
    _append(p, to, inside, source, b.size, e.type.size)
    return Value(e.type, to, BPF)


def _append(p: Program, to: str, start: str, source: str, count: int, limit: int) -> None:
    f = p.f
    piece = p.stack_or_scratch(count)
    read_string(p, KERNEL, piece, count, source)
    at = f.alloca(8)
    f.store("0", at)
    head, body, copy_one, done = (f.label(n) for n in ("head", "body", "copy", "done"))
    f.start(head)
    index = f.load(at)
    f.cond_br(f.icmp("ult", index, str(count)), body, done)
    f.start(body)
    position = f.op("add", start, index)
    f.cond_br(f.icmp("ult", position, str(limit)), copy_one, done)
    f.start(copy_one)
    char = f.load(f.gep(piece, index), 1)
    f.store(char, f.gep(to, position), 1)
    f.store(f.op("add", index, "1"), at)
    f.cond_br(f.icmp("eq", char, "0"), done, head)
    f.start(done)
    f.store("0", f.gep(to, limit - 1), 1)


INTO.update({"str": _str_into, "buf": _buf_into})
CALLS.update(
    {
        "str": _str,
        "buf": _buf,
        "strncmp": _strncmp,
        "strcontains": _strcontains,
        "strstr": _strstr,
        "strlen": _strlen,
        "memcmp": _memcmp,
        "str_concat": _str_concat,
    }
)
