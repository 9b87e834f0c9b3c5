"""Records for user space: printf, print, exit and the other actions that the session carries out.

A record is built in place in the ring buffer. The ring wakes its reader when it was empty, not for every record: a
wake-up costs the traced program 15 times what the record does. A reader that naps between batches pays less still.
"""

from __future__ import annotations

from ....objects import EventFormat, Field
from .. import ast
from ..types import Type, string
from ._layout import align_of, size_of
from ._memory import INTO, build, places, read_raw, read_string, store
from ._program import CALLS, Program, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Values = Sequence[tuple[str, Type, Callable[[str], None]]]

RING_FORCE_WAKEUP = "2"
MAX_RECORD = 1 << 20
_NONE = Type("none")


def event_type(node: ast.Expr) -> Type:
    """The type an argument has in a record: text of a literal needs just its own bytes."""
    if isinstance(node, ast.String):
        return string(len(node.data or node.value.encode("utf-8", "surrogateescape")) + 1)
    return node.type


def deferred(p: Program, node: ast.Expr, t: Type) -> Callable[[str], None]:
    """Evaluate what has to be evaluated now; the returned function writes the value to where the record is."""
    if (isinstance(node, ast.Call) and node.name in INTO) or (isinstance(node, ast.Name) and node.name == "comm"):
        return lambda to: build(p, node, to, t)
    if isinstance(node, ast.TupleLiteral | ast.RecordLiteral) and t.kind in ("tuple", "record"):
        parts = [(offset, deferred(p, item, element)) for item, offset, element in places(node, t)]

        def write(to: str) -> None:
            for offset, part in parts:
                part(p.f.gep(to, offset))

        return write
    value = p.expr(node)
    return lambda to: store(p, value, to, t)


def send(
    p: Program, action: str, node: ast.Node, values: Values = (), *, text: str = "",
    args: tuple[tuple[str, int | str], ...] = (), wake: bool = False,
) -> None:  # fmt: skip
    """Emit one record of a new event format; `values` are (field name, type, writer)."""
    fields, at = [], 8
    for name, t, _ in values:
        align = align_of(t)
        at = -(-at // align) * align
        fields.append(Field(name, at, p.script.values.of(t)))
        at += size_of(t)
    size = -(-at // 8) * 8
    if size > MAX_RECORD:
        raise p.error(f"an event of {size} bytes is too large", node, "print less at once")
    line, col = p.script.place(node.span)
    event = p.script.add_event(EventFormat(
        0, action, size, tuple(fields), text, args, p.script.source_name(node.span), line, col,
        p.script.place_end(node.span), p.script.source_line(node.span), p.probe.index,
    ))  # fmt: skip
    writers = [w for _, _, w in values]
    if p.features.has("ringbuf_reserve"):
        _send_ring(p, event, size, fields, writers, wake)
    else:
        _send_perf(p, event, size, fields, writers)


def _send_ring(
    p: Program, event: int, size: int, fields: list[Field], writers: list[Callable[[str], None]], wake: bool
) -> None:
    f = p.f
    ring = p.script.ring_symbol()
    record = f.helper(131, f"ptr {ring}", str(size), "0", returns="ptr")
    lost, have, done = f.label("lost"), f.label("rec"), f.label("sent")
    f.cond_br(f.is_null(record), lost, have)
    f.start(have)
    f.store(str(event), record)
    for field, write in zip(fields, writers):
        write(f.gep(record, field.offset))
    # Without flags the kernel wakes the reader when this record is the first that it has not seen.
    f.helper(132, f"ptr {record}", RING_FORCE_WAKEUP if wake else "0")
    f.br(done)
    f.start(lost)
    p.script.count_probe_loss(p)
    f.br(done)
    f.start(done)


def _send_perf(p: Program, event: int, size: int, fields: list[Field], writers: list[Callable[[str], None]]) -> None:
    """Before 5.8: a perf buffer, through a record in scratch memory."""
    f = p.f
    record = p.stack_or_scratch(size)
    f.store(str(event), record)
    for field, write in zip(fields, writers):
        write(f.gep(record, field.offset))
    ring = p.script.ring_symbol()
    result = f.helper(25, f"ptr {p.context_pointer()}", f"ptr {ring}", str(0xFFFFFFFF), f"ptr {record}", str(size))
    lost, done = f.label("lost"), f.label("sent")
    f.cond_br(f.icmp("ne", result, "0"), lost, done)
    f.start(lost)
    p.script.count_probe_loss(p)
    f.br(done)
    f.start(done)


# ---------------------------------------------------------------- the actions


def _expressions(p: Program, e: ast.Call, start: int) -> list[tuple[str, Type, Callable[[str], None]]]:
    out = []
    for i, node in enumerate(e.args[start:]):
        if isinstance(node, ast.TypeName):
            raise p.error("a type cannot be printed", node)
        t = event_type(node)
        out.append((f"arg{i}", t, deferred(p, node, t)))
    return out


def _literal(p: Program, e: ast.Call, index: int, what: str) -> str:
    node = e.args[index]
    if not isinstance(node, ast.String):
        raise p.error(f"{e.name}() needs {what} as a string literal", e)
    return node.value


def _formatted(p: Program, e: ast.Call) -> Value:
    """printf, errorf, warnf, system, cat: a format string and its arguments."""
    trail = p.script.checked.trail(e.span)
    args = (("trail", trail),) if trail else ()
    send(p, e.name, e, _expressions(p, e, 1), text=_literal(p, e, 0, "its format"), args=args)
    return Value(_NONE, "")


def _time(p: Program, e: ast.Call) -> Value:
    send(p, "time", e, text=_literal(p, e, 0, "its format") if e.args else "%H:%M:%S\n")
    return Value(_NONE, "")


def _exit(p: Program, e: ast.Call) -> Value:
    if e.args and isinstance(e.args[0], ast.Expr):
        code = e.args[0]
        send(p, "exit", e, [("code", code.type, deferred(p, code, code.type))], wake=True)
    else:
        send(p, "exit", e, args=(("code", 0),), wake=True)
    p.f.store("1", p.script.exit_flag())
    p.leave()
    p.f.start(p.f.label("after"))
    return Value(_NONE, "")


def _map_action(p: Program, e: ast.Call) -> Value:
    """clear(@m), zero(@m)."""
    target = e.args[0]
    if not isinstance(target, ast.MapRef):
        raise p.error(f"{e.name}() takes a map", e)
    send(p, e.name, e, args=(("map", target.name),))
    return Value(_NONE, "")


def _print(p: Program, e: ast.Call) -> Value:
    target = e.args[0]
    if isinstance(target, ast.TypeName):
        raise p.error("a type cannot be printed", e)
    if isinstance(target, ast.MapRef) and target.key is None and p.script.is_printed_whole(target.name):
        numbers = [a.value if isinstance(a, ast.Integer) else 0 for a in e.args[1:]]
        top, div, *_ = [*numbers, 0, 0]
        send(p, "print_map", e, args=(("map", target.name), ("top", top), ("div", div)))
        return Value(_NONE, "")
    if isinstance(target, ast.MapRef) and target.key is not None:
        info = p.script.map(target.name)
        if info.value is not None and info.value.is_aggregation and info.key is not None:
            t = info.key
            send(p, "print_map", e, [("key", t, deferred(p, target.key, t))], args=(("map", target.name),))
            return Value(_NONE, "")
    t = event_type(target)
    send(p, "print", e, [("value", t, deferred(p, target, t))])
    return Value(_NONE, "")


JOIN_ARGUMENTS = 16


def _join(p: Program, e: ast.Call) -> Value:
    """join(char *argv[], [delim]): up to 16 texts, read from the address of an array of pointers."""
    from ._strings import _source

    first = e.args[0]
    if isinstance(first, ast.TypeName):
        raise p.error("join() takes an array of strings", e)
    delim = _literal(p, e, 1, "its delimiter") if len(e.args) > 1 else " "
    width = min(p.script.config.max_strlen, 1024)
    space, array = _source(p, first)
    t = Type("array", element=string(width), count=JOIN_ARGUMENTS)

    def write(to: str) -> None:
        f = p.f
        pointer = f.alloca(8)
        done = f.label("joined")
        for i in range(JOIN_ARGUMENTS):
            f.store("0", f.gep(to, i * width), 1)
        for i in range(JOIN_ARGUMENTS):
            read_raw(p, space, pointer, 8, f.op("add", array, str(8 * i)))
            address = f.load(pointer)
            more = f.label("text")
            f.cond_br(f.icmp("eq", address, "0"), done, more)
            f.start(more)
            read_string(p, space, f.gep(to, i * width), width, address)
        f.br(done)
        f.start(done)

    send(p, "join", e, [("texts", t, write)], args=(("delim", delim),))
    return Value(_NONE, "")


CALLS.update(
    {
        "printf": _formatted,
        "errorf": _formatted,
        "warnf": _formatted,
        "system": _formatted,
        "cat": _formatted,
        "time": _time,
        "exit": _exit,
        "clear": _map_action,
        "zero": _map_action,
        "print": _print,
        "join": _join,
    }
)

__all__ = ["deferred", "send"]
