"""Loops over the bytes of strings as bpf_loop callbacks (5.17): the verifier walks a body once, not once a byte.

What a callback works on (two pointers, a start, a result) lies in the program's frame.
"""

from __future__ import annotations

from ._loops import callback
from ._program import Program

STRAIGHT = 64  # bytes of a known needle that are compared by straight code


class _Frame:
    """The words that the callbacks here share. Operands are evaluated before, so one set serves all uses."""

    def __init__(self, p: Program) -> None:
        self.a = p.named_hidden("string a")
        self.b = p.named_hidden("string b")
        self.start = p.named_hidden("string start")
        self.result = p.named_hidden("string result")


def _index(p: Program, argument: str = "%a0") -> str:
    return p.f.op("and", p.f.to_int(argument), str(0xFFFFFFFF))


def _run(p: Program, rounds: int, symbol: str) -> None:
    p.f.helper(181, str(rounds), f"ptr {symbol}", "ptr %frame", "0")


def _stop_unless(p: Program, condition: str) -> None:
    """Leave the loop from its callback unless the condition holds."""
    go, stop = p.f.label("go"), p.f.label("stop")
    p.f.cond_br(condition, go, stop)
    p.f.start(stop)
    p.f.ret("1")
    p.f.start(go)


def same(p: Program, a: str, b: str, size: int, *, stop_at_nul: bool) -> str:
    """Whether `size` bytes at two pointers are alike, or alike up to a NUL in both: an i1."""
    frame, f = _Frame(p), p.f
    f.store_pointer(a, p.hidden(frame.a))
    f.store_pointer(b, p.hidden(frame.b))
    f.store("1", p.hidden(frame.result))

    def body() -> None:
        f = p.f
        index = _index(p)
        _stop_unless(p, f.icmp("ult", index, str(size)))
        x = f.load(f.gep(f.load_pointer(p.hidden(frame.a)), index), 1)
        y = f.load(f.gep(f.load_pointer(p.hidden(frame.b)), index), 1)
        alike, differ = f.label("alike"), f.label("differ")
        f.cond_br(f.icmp("eq", x, y), alike, differ)
        f.start(differ)
        f.store("0", p.hidden(frame.result))
        f.ret("1")
        f.start(alike)
        if stop_at_nul:
            _stop_unless(p, f.icmp("ne", x, "0"))

    _run(p, size, callback(p, "same", 2, 1, f.line, body))
    return f.icmp("ne", p.f.load(p.hidden(frame.result)), "0")


def find_text(p: Program, hay: str, size: int, needle: bytes) -> str:
    """Index of known bytes in a string of at most `size`, or -1."""
    frame, f = _Frame(p), p.f
    f.store_pointer(hay, p.hidden(frame.a))
    f.store("-1", p.hidden(frame.result))

    def body() -> None:
        f = p.f
        index = _index(p)
        _stop_unless(p, f.icmp("ule", index, str(size - len(needle))))
        here = f.gep(f.load_pointer(p.hidden(frame.a)), index)
        first = f.load(here, 1)
        difference = f.op("xor", first, str(needle[0]))
        for i, byte in enumerate(needle[1:], 1):
            difference = f.op("or", difference, f.op("xor", f.load(f.gep(here, i), 1), str(byte)))
        found, onward = f.label("found"), f.label("onward")
        f.cond_br(f.icmp("eq", difference, "0"), found, onward)
        f.start(found)
        f.store(index, p.hidden(frame.result))
        f.ret("1")
        f.start(onward)
        _stop_unless(p, f.icmp("ne", first, "0"))

    if size >= len(needle):
        _run(p, size, callback(p, "find", 2, 1, f.line, body))
    return p.f.load(p.hidden(frame.result))


def find_string(p: Program, hay: str, size: int, needle: str, needle_size: int) -> str:
    """Index of one string in another, or -1; both end at a NUL or at their size."""
    frame, f = _Frame(p), p.f
    f.store_pointer(hay, p.hidden(frame.a))
    f.store_pointer(needle, p.hidden(frame.b))
    f.store("-1", p.hidden(frame.result))

    def inner() -> None:
        """Byte `index` of the needle at the start in question; a mismatch sets the result back to -1."""
        f = p.f
        index = _index(p)
        _stop_unless(p, f.icmp("ult", index, str(needle_size)))
        wanted = f.load(f.gep(f.load_pointer(p.hidden(frame.b)), index), 1)
        _stop_unless(p, f.icmp("ne", wanted, "0"))
        position = f.op("add", f.load(p.hidden(frame.start)), index)
        inside, differ, alike = f.label("inside"), f.label("differ"), f.label("alike")
        f.cond_br(f.icmp("ult", position, str(size)), inside, differ)
        f.start(inside)
        actual = f.load(f.gep(f.load_pointer(p.hidden(frame.a)), position), 1)
        f.cond_br(f.icmp("eq", actual, wanted), alike, differ)
        f.start(differ)
        f.store("-1", p.hidden(frame.result))
        f.ret("1")
        f.start(alike)

    def outer() -> None:
        f = p.f
        index = _index(p)
        _stop_unless(p, f.icmp("ult", index, str(size)))
        f.store(index, p.hidden(frame.start))
        f.store(index, p.hidden(frame.result))
        _run(p, needle_size, callback(p, "match", 2, 1, f.line, inner))
        _stop_unless(p, p.f.icmp("eq", p.f.load(p.hidden(frame.result)), "-1"))
        first = p.f.load(p.f.gep(p.f.load_pointer(p.hidden(frame.a)), index), 1)
        _stop_unless(p, p.f.icmp("ne", first, "0"))

    _run(p, size, callback(p, "find", 2, 1, f.line, outer))
    return p.f.load(p.hidden(frame.result))
