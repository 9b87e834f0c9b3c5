"""Loops: bpf_loop and bpf_for_each_map_elem with the body as a callback, and plain loops for `while` and `unroll`.

A callback gets the address of the program's frame (variables, the saved context), so that it shares all of them.
"""

from __future__ import annotations

from .. import ast
from ._expr import condition, warn
from ._layout import size_of, tuple_layout
from ._memory import copy, copy_align
from ._program import STATEMENTS, Loop, Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ITERATIONS = 1 << 23  # BPF_MAX_LOOPS
MAX_VALUES = 20_000  # of one function: LLVM's time grows faster than the square of them
PLAIN_LOOP = 32  # constant trip counts up to this need no callback


def callback(p: Program, name: str, arguments: int, frame_argument: int, line: int, body: Callable[[], None]) -> str:
    """Generate a callback function whose body is emitted by `body`; returns its symbol."""
    p.callbacks += 1
    symbol = f"{p.name}_{name}{p.callbacks}"
    outer, outer_flag, outer_loops = p.f, p.in_callback, p.loops
    p.f = p.module.function(symbol, "", arguments, line, internal=True)
    p.in_callback, p.loops = True, []
    p.callback_functions.append((p.f, frame_argument))
    body()
    p.f.ret("0")
    p.f, p.in_callback, p.loops = outer, outer_flag, outer_loops
    return "@" + symbol


def _run(p: Program, body: list[ast.Stmt]) -> None:
    p.loops.append(Loop("", "", True))
    p.statements(body)
    p.loops.pop()


def _frame(p: Program) -> str:
    p.needs_frame = True
    return "%frame"


def _after_callback(p: Program) -> None:
    """`return` inside the body ends the program, not only the loop."""
    if p.return_at < 0:
        return
    f = p.f
    leave, onward = f.label("leave"), f.label("onward")
    flag = f.load(f.gep(_frame(p), p.return_at))
    f.cond_br(f.icmp("ne", flag, "0"), leave, onward)
    f.start(leave)
    p.leave()
    f.start(onward)


def _for_range(p: Program, s: ast.ForRange) -> None:
    f = p.f
    if isinstance(s.start, ast.Integer) and isinstance(s.end, ast.Integer):
        count = s.end.value - s.start.value
        if count <= 0:
            return
        if count >> 63:
            raise p.error("a range of more numbers than an int64 counts", s)
        if count <= PLAIN_LOOP and not p.features.has("loop"):
            _plain_range(p, s)
            return
    if not p.features.has("loop"):
        _plain_range(p, s)
        return
    start, end = p.integer(s.start), p.integer(s.end)
    base = p.hidden_variable()
    f.store(start, p.hidden(base))
    trips = f.op("sub", end, start)
    trips = f.select(f.icmp("sgt", trips, "0"), trips, "0")
    line, _ = p.script.place(s.span)

    def body() -> None:
        index = p.f.to_int("%a0")
        index = p.f.op("and", index, str(0xFFFFFFFF))
        p.store_variable(p.f.op("add", index, p.f.load(p.hidden(base))), p.variable(s.target.slot))
        _run(p, s.body)

    symbol = callback(p, "loop", 2, 1, line, body)
    rounds = f.helper(181, trips, f"ptr {symbol}", f"ptr {_frame(p)}", "0")
    # -E2BIG: 32 bits of it where the verifier has put the loop in place of the call (inline_bpf_loop).
    refused = f.icmp("slt", f.truncate(rounds, 4, True), "0")
    _warn_if(p, refused, s, f"The loop was not run: it has more than {MAX_ITERATIONS} rounds.")
    _after_callback(p)


def _warn_if(p: Program, cut: str, s: ast.Stmt, text: str) -> None:
    f = p.f
    tell, onward = f.label("cut"), f.label("onward")
    f.cond_br(cut, tell, onward)
    f.start(tell)
    warn(p, s, text)
    f.br(onward)
    f.start(onward)


def _plain_range(p: Program, s: ast.ForRange) -> None:
    """A loop that the verifier walks through (5.3 and later)."""
    f = p.f
    where = p.variable(s.target.slot)
    counter = f.alloca(8)
    f.store(p.integer(s.start), counter)
    limit = p.integer(s.end)
    head, body, onward, done = (f.label(n) for n in ("for", "body", "onward", "done"))
    f.start(head)
    f.cond_br(f.icmp("slt", f.load(counter), limit), body, done)
    f.start(body)
    f.store(f.load(counter), where)
    p.loops.append(Loop(done, onward, False))
    p.statements(s.body)
    p.loops.pop()
    f.br(onward)
    f.start(onward)
    f.store(f.op("add", f.load(counter), "1"), counter)
    f.br(head)
    f.start(done)


def _for_map(p: Program, s: ast.ForMap) -> None:
    """Every element once; $kv is (key, value), aggregations summed over all CPUs."""
    if not p.features.has("for_each_map_elem"):
        raise p.error("loops over maps need Linux 5.13 or later (bpf_for_each_map_elem)", s)
    line, _ = p.script.place(s.span)
    t = s.target.slot.type
    info = p.script.map(s.map.name)

    def body() -> None:
        offsets, _ = tuple_layout(t)
        where = p.variable(s.target.slot)
        key_type, value_type = t.elements
        copy(p, p.f.gep(where, offsets[0]), "%a1", size_of(key_type), copy_align(key_type))
        stored = info.value
        if stored is not None and stored.is_aggregation and value_type.in_register:
            from ._aggregate import read_element

            key = p.f.gep(where, offsets[0])
            number = read_element(p, s.map.name, key, stored)
            p.f.store(number, p.f.gep(where, offsets[1]), size_of(value_type))
        else:
            copy(p, p.f.gep(where, offsets[1]), "%a2", size_of(value_type), copy_align(value_type))
        _run(p, s.body)

    symbol = callback(p, "each", 4, 3, line, body)
    p.f.helper(164, f"ptr {p.script.map_symbol(s.map.name)}", f"ptr {symbol}", f"ptr {_frame(p)}", "0")
    _after_callback(p)


def count_elements(p: Program, name: str) -> str:
    """len(@m) where the kernel keeps no count: walk the map."""
    at = p.hidden_variable()
    p.f.store("0", p.hidden(at))

    def body() -> None:
        p.f.store(p.f.op("add", p.f.load(p.hidden(at)), "1"), p.hidden(at))

    symbol = callback(p, "len", 4, 3, p.f.line, body)
    p.f.helper(164, f"ptr {p.script.map_symbol(name)}", f"ptr {symbol}", f"ptr {_frame(p)}", "0")
    return p.f.load(p.hidden(at))


def _while(p: Program, s: ast.While) -> None:
    f = p.f
    if p.features.has("loop"):
        line, _ = p.script.place(s.span)

        def run() -> None:
            go, stop = p.f.label("go"), p.f.label("stop")
            p.f.cond_br(condition(p, s.condition), go, stop)
            p.f.start(stop)
            p.f.ret("1")
            p.f.start(go)
            _run(p, s.body)

        symbol = callback(p, "while", 2, 1, line, run)
        done = f.helper(181, str(MAX_ITERATIONS), f"ptr {symbol}", f"ptr {_frame(p)}", "0")
        _after_callback(p)
        cut = f.icmp("eq", done, str(MAX_ITERATIONS))
        _warn_if(p, cut, s, f"The loop was left after {MAX_ITERATIONS} rounds, the most that a program may do.")
        return
    head, body, done = f.label("while"), f.label("body"), f.label("done")
    f.start(head)
    f.cond_br(condition(p, s.condition), body, done)
    f.start(body)
    p.loops.append(Loop(done, head, False))
    p.statements(s.body)
    p.loops.pop()
    f.br(head)
    f.start(done)


def _unroll(p: Program, s: ast.Unroll) -> None:
    if not isinstance(s.count, ast.Integer):
        raise p.error("unroll needs a constant", s)
    # The body stands there `count` times: `break` and `continue` in it are about the loop around it.
    for _ in range(s.count.value):
        p.statements(s.body)
        if p.f.values > MAX_VALUES:
            raise p.error(f"unrolled to more than {MAX_VALUES} instructions", s, "use `for ($i : 0..N)` instead")


def _break(p: Program, s: ast.Break) -> None:
    _jump(p, s, "break")


def _continue(p: Program, s: ast.Continue) -> None:
    _jump(p, s, "continue")


def _jump(p: Program, s: ast.Stmt, what: str) -> None:
    if not p.loops:
        raise p.error(f"{what} outside a loop", s)
    loop = p.loops[-1]
    if loop.in_callback:
        p.f.ret("1" if what == "break" else "0")
    else:
        p.f.br(loop.break_to if what == "break" else loop.continue_to)
    p.f.start(p.f.label("dead"))


STATEMENTS.update(
    {
        ast.ForRange: _for_range,
        ast.ForMap: _for_map,
        ast.While: _while,
        ast.Unroll: _unroll,
        ast.Break: _break,
        ast.Continue: _continue,
    }
)

__all__ = ["count_elements"]
