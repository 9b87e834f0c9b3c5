"""Loops over the bytes of strings as bpf_loop callbacks (5.17): the verifier walks a body once, not once a byte.

What a callback works on (two pointers, a start, a result) lies in four words on the stack of the function that loops:
the verifier lets no callback store pointers to its own stack into the frame of the program.
"""

from __future__ import annotations

from ._program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STRAIGHT = 64  # bytes of a known needle that are compared by straight code
A, B, START, RESULT = 0, 8, 16, 24  # offsets of the words
WORDS = "%a1"  # their address in a callback


def _index(p: Program) -> str:
    return p.f.op("and", p.f.to_int("%a0"), str(0xFFFFFFFF))


def _loop(p: Program, name: str, rounds: int, words: str, body: Callable[[], None]) -> None:
    """Call `body` as a function of (index, words) for 0 .. rounds - 1, until it returns 1."""
    p.callbacks += 1
    symbol = f"{p.name}_{name}{p.callbacks}"
    outer = p.f
    p.f = p.module.function(symbol, "", 2, outer.line, internal=True)
    body()
    p.f.ret("0")
    p.f = outer
    p.f.helper(181, str(rounds), f"ptr @{symbol}", f"ptr {words}", "0")


def _stop_unless(p: Program, condition: str) -> None:
    """Leave the loop from its callback unless the condition holds."""
    go, stop = p.f.label("go"), p.f.label("stop")
    p.f.cond_br(condition, go, stop)
    p.f.start(stop)
    p.f.ret("1")
    p.f.start(go)


def _pointer(p: Program, word: int) -> str:
    return p.f.load_pointer(p.f.gep(WORDS, word))


def same(p: Program, a: str, b: str, size: int, *, stop_at_nul: bool) -> str:
    """Whether `size` bytes at two pointers are alike, or alike up to a NUL in both: an i1."""
    words = p.f.alloca(32)
    p.f.store_pointer(a, p.f.gep(words, A))
    p.f.store_pointer(b, p.f.gep(words, B))
    p.f.store("1", p.f.gep(words, RESULT))

    def body() -> None:
        f = p.f
        index = _index(p)
        _stop_unless(p, f.icmp("ult", index, str(size)))
        x, y = f.load(f.gep(_pointer(p, A), index), 1), f.load(f.gep(_pointer(p, B), index), 1)
        alike, differ = f.label("alike"), f.label("differ")
        f.cond_br(f.icmp("eq", x, y), alike, differ)
        f.start(differ)
        f.store("0", f.gep(WORDS, RESULT))
        f.ret("1")
        f.start(alike)
        if stop_at_nul:
            _stop_unless(p, f.icmp("ne", x, "0"))

    _loop(p, "same", size, words, body)
    return p.f.icmp("ne", p.f.load(p.f.gep(words, RESULT)), "0")


def find_text(p: Program, hay: str, size: int, needle: bytes) -> str:
    """Index of known bytes in a string of at most `size`, or -1."""
    words = p.f.alloca(32)
    p.f.store_pointer(hay, p.f.gep(words, A))
    p.f.store("-1", p.f.gep(words, RESULT))

    def body() -> None:
        f = p.f
        index = _index(p)
        _stop_unless(p, f.icmp("ule", index, str(size - len(needle))))
        here = f.gep(_pointer(p, A), index)
        first = f.load(here, 1)
        difference = f.op("xor", first, str(needle[0]))
        for i, byte in enumerate(needle[1:], 1):
            difference = f.op("or", difference, f.op("xor", f.load(f.gep(here, i), 1), str(byte)))
        found, onward = f.label("found"), f.label("onward")
        f.cond_br(f.icmp("eq", difference, "0"), found, onward)
        f.start(found)
        f.store(index, f.gep(WORDS, RESULT))
        f.ret("1")
        f.start(onward)
        _stop_unless(p, f.icmp("ne", first, "0"))

    if size >= len(needle):
        _loop(p, "find", size, words, body)
    return p.f.load(p.f.gep(words, RESULT))


def find_string(p: Program, hay: str, size: int, needle: str, needle_size: int) -> str:
    """Index of one string in another, or -1; both end at a NUL or at their size."""
    words = p.f.alloca(32)
    p.f.store_pointer(hay, p.f.gep(words, A))
    p.f.store_pointer(needle, p.f.gep(words, B))
    p.f.store("-1", p.f.gep(words, RESULT))

    def inner() -> None:
        """Byte `index` of the needle at the start in question; a mismatch sets the result back to -1."""
        f = p.f
        index = _index(p)
        _stop_unless(p, f.icmp("ult", index, str(needle_size)))
        wanted = f.load(f.gep(_pointer(p, B), index), 1)
        _stop_unless(p, f.icmp("ne", wanted, "0"))
        position = f.op("add", f.load(f.gep(WORDS, START)), index)
        inside, differ, alike = f.label("inside"), f.label("differ"), f.label("alike")
        f.cond_br(f.icmp("ult", position, str(size)), inside, differ)
        f.start(inside)
        actual = f.load(f.gep(_pointer(p, A), position), 1)
        f.cond_br(f.icmp("eq", actual, wanted), alike, differ)
        f.start(differ)
        f.store("-1", f.gep(WORDS, RESULT))
        f.ret("1")
        f.start(alike)

    def outer() -> None:
        f = p.f
        index = _index(p)
        _stop_unless(p, f.icmp("ult", index, str(size)))
        f.store(index, f.gep(WORDS, START))
        f.store(index, f.gep(WORDS, RESULT))
        _loop(p, "match", needle_size, WORDS, inner)
        _stop_unless(p, f.icmp("eq", f.load(f.gep(WORDS, RESULT)), "-1"))
        first = f.load(f.gep(_pointer(p, A), index), 1)
        _stop_unless(p, f.icmp("ne", first, "0"))

    _loop(p, "find", size, words, outer)
    return p.f.load(p.f.gep(words, RESULT))
