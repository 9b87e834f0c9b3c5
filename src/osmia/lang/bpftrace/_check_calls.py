"""Calls: which function, whether it may be called here, format strings, functions of maps."""

from __future__ import annotations

from . import ast, fold
from ._check_arguments import check_argument, check_arguments, counted, type_arguments
from ._check_builtins import stack_call
from ._check_convert import value
from ._check_expr import EXPRESSIONS, expr, literal_bool
from ._check_format import check_format, render
from ._check_functions import HANDLERS
from ._check_maps import key, note_read, whole
from ._check_names import suggest
from ._check_state import State
from ._check_typeof import QUESTIONS
from ._check_types import STACKS, UNKNOWN, as_integer, integer, kind_name, text
from .builtins import CLOCKS, FORMATTED, MAP_FUNCTIONS, NAMES, TABLE, Builtin
from .types import BOOL, NONE, UINT64, Type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _call(st: State, e: ast.Call) -> ast.Expr:
    name = e.name
    row = TABLE.get(name)
    if row is None or row.category == "statement":
        type_arguments(st, e)
        st.error(e.span, f"Unknown function: '{name}'", suggest(name, TABLE))
        e.type = UNKNOWN
        return e
    st.ctx.uses.add(name)
    if name in MAP_FUNCTIONS:
        st.error(e.span, f"{name}() must be assigned directly to a map", f"write @name = {name}(...)")
        type_arguments(st, e)
        e.type = UNKNOWN
        return e
    if not e.args and name in NAMES:
        return expr(st, ast.Name(e.span, name))
    if not _allowed(st, e, row):
        type_arguments(st, e)
        e.type = row.returns or UNKNOWN
        return e
    if name in FORMATTED:
        return _formatted(st, e, row)
    special = _EARLY.get(name)
    if special is not None:
        return special(st, e) if counted(st, e, row) else e
    if not check_arguments(st, e, row):
        e.type = row.returns or UNKNOWN
        return e
    e.type = row.returns if row.returns is not None else UNKNOWN
    handler = HANDLERS.get(name)
    return handler(st, e) if handler is not None else e


EXPRESSIONS[ast.Call] = _call


def _allowed(st: State, e: ast.Call, row: Builtin) -> bool:
    if row.unsafe and not st.env.unsafe:
        if row.name == "write_user":
            message = "write_user() is unsafe. To use you need the --unsafe flag"
        else:
            message = f"{row.name}() is an unsafe function being used in safe mode"
        st.error(e.span, message, "allow what changes the system with --unsafe")
        return False
    if row.probes and st.ctx.provider and st.ctx.provider not in row.probes:
        if row.name == "path":
            st.error(e.span, "The path function can only be used with 'fentry', 'fexit', 'iter' probes")
        elif row.name.startswith("signal"):
            st.error(e.span, f"{row.name}() can not be used for this probetype {st.ctx.provider}")
        else:
            st.error(
                e.span,
                f'{row.name} can not be used with "{st.ctx.provider}" probes',
                "works in " + ", ".join(row.probes),
            )
        return False
    return True


def _formatted(st: State, e: ast.Call, row: Builtin) -> ast.Expr:
    e.type = NONE
    if not counted(st, e, row):
        return e
    first = e.args[0]
    if not isinstance(first, ast.String):
        first = e.args[0] = expr(st, first) if isinstance(first, ast.Expr) else first
    if not isinstance(first, ast.String):
        t = first.type if isinstance(first, ast.Expr) else UNKNOWN
        if t is not UNKNOWN or st.final:
            st.error(e.span, f"{e.name}() expects a string literal ({kind_name(t)} provided)")
        return e
    first.type = text(len(fold.string_bytes(first)) + 1)
    for i, a in enumerate(e.args[1:], 1):
        if isinstance(a, ast.Expr):
            e.args[i] = expr(st, a)
    if e.name == "fail":
        return _fail(st, e)
    if st.final:
        check_format(st, e, first)
    return e


def _fail(st: State, e: ast.Call) -> ast.Expr:
    if st.dead or st.quiet or not (st.final or not st.unsettled):
        return e
    if not all(isinstance(a, ast.Expr) and fold.is_literal(a) for a in e.args):
        st.error(e.span, "fail() arguments need to be literals")
        return e

    st.error(e.span, render(e))
    return e


# ---------------------------------------------------------------- functions that look at their arguments first


def _names(allowed: tuple[str, ...], what: str) -> Callable[[State, ast.Call], ast.Expr]:
    def check(st: State, e: ast.Call) -> ast.Expr:
        a = e.args[0]
        e.type = TABLE[e.name].returns or UINT64
        if isinstance(a, ast.Name) and a.name in allowed:
            a.type = Type("timestamp_mode", mode=a.name)
            if e.name == "nsecs":
                e.type = UINT64
            return e
        given = a.name if isinstance(a, ast.Name) else "an expression"
        st.error(a.span, f"Invalid {what}: {given} (expects: {' or '.join(allowed)})")
        if isinstance(a, ast.Expr):
            a.type = UNKNOWN
        return e

    return check


def _delete(st: State, e: ast.Call) -> ast.Expr:
    """`delete(@m, k)`, `delete(@m)` and the old `delete(@m[k])`, which becomes the first."""
    e.type = BOOL
    first = e.args[0]
    if isinstance(first, ast.MapRef) and first.key is not None and len(e.args) == 1:
        bare = ast.MapRef(first.span, first.name)
        e.args = [bare, first.key]
        first = bare
    if not isinstance(first, ast.MapRef) or first.key is not None:
        st.error(e.args[0].span, "delete() expects a map argument", "write delete(@name, key)")
        type_arguments(st, e)
        return e
    m = whole(st, first, "delete")
    if m is None:
        return e
    if len(e.args) == 1:
        if m.keyed:
            st.error(
                e.span,
                "call to delete() with a single argument expects a map without explicit keys (scalar map)",
                f"delete one key with delete({m.name}, key), all with clear({m.name})",
            )
        return e
    return _with_key(st, e, "delete() with two arguments")


def _with_key(st: State, e: ast.Call, what: str) -> ast.Expr:
    first = e.args[0]
    m = (
        whole(st, first, e.name)
        if not isinstance(first, ast.MapRef) or first.key is not None
        else st.map(first.name, first.span)
    )
    if m is None:
        type_arguments(st, e)
        return e
    if isinstance(first, ast.MapRef):
        first.type = m.value
        st.flexible.append(first)
    k = e.args[1]
    if not isinstance(k, ast.Expr):
        st.error(k.span, f"{e.name}() expects a key, not a type")
        return e
    if m.keyed is None:
        m.keyed, m.keyed_span = True, e.span
    elif not m.keyed:
        st.error(e.span, f"call to {what} expects a map with explicit keys (non-scalar map)")
        e.args[1] = expr(st, k)
        return e
    e.args[1] = key(st, m, k, e.span)
    note_read(st, m, first.span)
    return e


def _has_key(st: State, e: ast.Call) -> ast.Expr:
    e.type = BOOL
    return _with_key(st, e, "has_key()")


def _find(st: State, e: ast.Call) -> ast.Expr:
    e.type = BOOL
    e = _with_key(st, e, "find")  # type: ignore[assignment]
    v = e.args[2]
    first = e.args[0]
    if not isinstance(v, ast.Variable) or not isinstance(first, ast.MapRef):
        st.error(v.span, "find() expects a variable as its third argument", "write find(@name, key, $value)")
        return e
    found = st.find(v.name)
    if found is None:
        slot, depth = st.declare(v), len(st.scopes) - 1
    else:
        slot, depth = found
        v.slot = slot
    st.use(slot, depth)
    st.assigned.add(id(slot))
    t = as_integer(st.map(first.name, first.span).value)
    if not st.refine(slot, t, v.span):
        st.error(
            v.span,
            f"Type mismatch for {v.name}: trying to assign value of type '{t}' when variable already has a type "
            f"'{slot.type}'",
        )
    v.type = slot.type
    st.flexible.append(v)
    return e


def _len(st: State, e: ast.Call) -> ast.Expr:
    e.type = integer(8, True)
    a = e.args[0]
    if isinstance(a, ast.MapRef) and a.key is None:
        m = st.map(a.name, a.span)
        if not (m.value.kind in STACKS and m.keyed is False):
            m = whole(st, a, "len") or m
            if m.keyed is False:
                st.error(e.span, "call to len() expects a map with explicit keys (non-scalar map)")
            return e
    if not isinstance(a, ast.Expr):
        st.error(a.span, "len() expects a map or stack to be provided")
        return e
    a = e.args[0] = expr(st, a)
    if a.type is not UNKNOWN and a.type.kind not in STACKS:
        st.error(e.span, "call to len() expects a map, ustack, or kstack")
    return e


def _print(st: State, e: ast.Call) -> ast.Expr:
    e.type = NONE
    a = e.args[0]
    if isinstance(a, ast.String) and len(e.args) > 1:
        st.error(e.span, f"Non-map print() only takes 1 argument, {len(e.args)} found", "use printf() for a format")
        type_arguments(st, e)
        return e
    for i, extra in enumerate(e.args[1:], 1):
        if isinstance(extra, ast.Expr):
            x = e.args[i] = expr(st, extra)
            if not check_argument(st, e, x, "int", True):
                return e
    if isinstance(a, ast.MapRef) and a.key is None:
        m = whole(st, a, "print")
        if m is not None and m.value.kind == "stats" and len(e.args) > 1:
            st.warn(e.span, "print()'s top and div arguments are ignored when used on stats() maps.")
        if st.loop_depth:
            st.warn(
                e.span,
                "Due to it's asynchronous nature using 'print()' in a loop can lead to unexpected behavior. The "
                "map will "
                "likely be updated before the runtime can 'print' it.",
            )
        return e
    if not isinstance(a, ast.Expr):
        st.error(a.span, "print() expects an expression, not a type")
        return e
    a = e.args[0] = value(st, expr(st, a))
    t = a.type
    if t.kind in ("hist", "lhist", "tseries"):
        st.error(e.span, f"Map type {t} cannot print the value of individual keys. You must print the whole map.")
    elif t.kind in ("none", "void", "stack_mode", "timestamp_mode") or (t.kind == "pointer" and t.space == "ctx"):
        st.error(e.span, f"{'void' if t.kind == 'none' else t} type passed to print() is not printable")
    elif len(e.args) != 1 and t is not UNKNOWN:
        st.error(e.span, f"Non-map print() only takes 1 argument, {len(e.args)} found")
    return e


def _map_only(st: State, e: ast.Call) -> ast.Expr:
    e.type = NONE
    whole(st, e.args[0], e.name)
    return e


def _is_scalar(st: State, e: ast.Call) -> ast.Expr:
    m = whole(st, e.args[0], "is_scalar")
    if not st.settling and not st.final:
        st.unsettled = True
        e.type = BOOL
        return e
    st.folded = True
    return literal_bool(e, m is not None and not m.keyed)


_EARLY: dict[str, Callable[[State, ast.Call], ast.Expr]] = {
    "pid": _names(("curr_ns", "init"), "PID namespace mode"),
    "tid": _names(("curr_ns", "init"), "PID namespace mode"),
    "nsecs": _names(CLOCKS, "timestamp mode"),
    "kstack": stack_call,
    "ustack": stack_call,
    "delete": _delete,
    "has_key": _has_key,
    "find": _find,
    "len": _len,
    "print": _print,
    "clear": _map_only,
    "zero": _map_only,
    "is_scalar": _is_scalar,
    **QUESTIONS,
}
