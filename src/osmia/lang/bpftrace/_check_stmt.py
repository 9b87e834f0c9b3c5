"""Statements: assignments, declarations, branches and loops; they find and fix the types of variables and maps."""

from __future__ import annotations

from . import _check_expr, ast, fold
from ._check_convert import convert
from ._check_expr import comptime_branch, condition, expr, number
from ._check_maps import assign_map, iterate
from ._check_names import resolve_type
from ._check_state import Loop, State
from ._check_typeof import type_of
from ._check_types import (
    UNKNOWN,
    as_integer,
    binary_type,
    is_number,
    promote,
    settle,
    stored,
    text,
)
from .types import Type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STATEMENTS: dict[type, Callable[[State, Any], ast.Stmt | None]] = {}


def block(st: State, body: list[ast.Stmt]) -> list[ast.Stmt]:
    """Check the statements of a block in the scope at hand; the statements as they are from now on."""
    out = []
    ended: ast.Stmt | None = None
    for s in body:
        if ended is not None:
            st.warn(s.span, "Unreachable statement", f"nothing after '{_word(ended)}' is run")
            ended = None
        new = STATEMENTS[type(s)](st, s)
        if new is not None:
            out.append(new)
        if isinstance(s, (ast.Return, ast.Break, ast.Continue)) or _is_exit(s):
            ended = s
    return out


def _word(s: ast.Stmt) -> str:
    return "exit()" if isinstance(s, ast.ExprStmt) else type(s).__name__.lower()


def _is_exit(s: ast.Stmt) -> bool:
    return isinstance(s, ast.ExprStmt) and isinstance(s.expr, ast.Call) and s.expr.name == "exit"


def scoped(st: State, body: list[ast.Stmt]) -> list[ast.Stmt]:
    """Check a block with a scope of its own."""
    st.scopes.append({})
    out = block(st, body)
    st.scopes.pop()
    return out


# ---------------------------------------------------------------- expressions as statements


# Functions that have done all they do once they are checked.
ANSWERED = ("static_assert", "assert_str")


def _expr_stmt(st: State, s: ast.ExprStmt) -> ast.Stmt | None:
    s.expr = e = expr(st, s.expr)
    if st.final and isinstance(e, ast.Call) and e.name in ANSWERED:
        return None
    t = e.type
    if st.final and t.kind not in ("none", "void", "unknown"):
        if isinstance(e, ast.Unary) and e.op in ("++", "--"):
            return s
        if not (isinstance(e, ast.Call) and e.name == "delete"):
            st.warn(s.span, "Return value discarded.", "assign it to _ if that is meant")
    return s


# ---------------------------------------------------------------- assignment


def _assign(st: State, s: ast.Assign) -> ast.Stmt | None:
    target = s.target
    if isinstance(target, ast.MapRef):
        return assign_map(st, s, target)
    s.value = v = expr(st, s.value)
    if target is None:
        if v.type.kind == "none" and not isinstance(v, ast.BlockExpr):
            st.error(
                s.span, f"Value '{_name(v.type)}' cannot be assigned", "a call that returns nothing is a statement"
            )
        return s
    if not isinstance(target, ast.Variable):
        st.error(target.span, "only variables and maps can be assigned to", "the traced program's memory is read-only")
        s.target = expr(st, target)
        return s
    _assign_variable(st, s, target, v)
    return s


def _name(t: Type) -> str:
    return "void" if t.kind == "none" else str(t)


def _assign_variable(st: State, s: ast.Assign, target: ast.Variable, v: ast.Expr) -> None:
    found = st.find(target.name)
    if found is None:
        if s.op != "=":
            st.error(
                target.span, f"Undefined or undeclared variable: {target.name}", f"assign it first: {target.name} = 0"
            )
        slot = st.declare(target)
    else:
        slot, depth = found
        target.slot = slot
        if st.loops:
            st.use(slot, depth)
    st.assigned.add(id(slot))
    if s.op != "=":
        t = compound_type(st, s, slot.type, v.type)
    else:
        t = v.type
        if not _can_hold(st, s.span, t):
            target.type = slot.type
            return
    s.value = give(st, slot, v, t, s.span, s.op)
    target.type = slot.type
    st.flexible.append(target)


def _can_hold(st: State, span: ast.Span, t: Type) -> bool:
    """Whether a variable can hold a value of this type."""
    if t.kind in ("none", "void") or (t.is_aggregation and as_integer(t) is t):
        st.error(span, f"Value '{_name(t)}' cannot be assigned to a scratch variable.")
        return False
    return True


def give(st: State, slot: ast.VariableSlot, v: ast.Expr, t: Type, span: ast.Span, op: str = "=") -> ast.Expr:
    """Let a variable have a value of type `t`; the value, converted."""
    fine = st.refine(slot, t, span)
    if not st.final or t is UNKNOWN or slot.type is UNKNOWN:
        return v
    if op != "=":
        declared = st.declared.get(id(slot))
        if (
            declared is not None
            and is_number(declared)
            and is_number(t)
            and t.size > declared.size
            and declared.size < 8
        ):
            return v  # arithmetic on a declared variable wraps, as it would in C
        if fine:
            return number_of(st, v)
    converted = convert(st, v, slot.type) if fine else None
    if converted is None:
        where = st.place(st.value_spans.get(id(slot)))
        st.error(
            span,
            f"Type mismatch for {slot.name}: trying to assign value of type '{_name(settle(t))}' when variable already "
            f"has a type '{settle(slot.type)}'",
            f"{slot.name} got its type at {where}" if where else "",
        )
        return v
    return converted


def number_of(st: State, v: ast.Expr) -> ast.Expr:
    from ._check_convert import value

    return value(st, v)


def compound_type(st: State, s: ast.Assign, old: Type, new: Type) -> Type:
    """The type of `target op value` in `target op= value`."""
    if old is UNKNOWN or new is UNKNOWN:
        return UNKNOWN
    op = s.op[:-1]
    a, b = as_integer(old), as_integer(new)
    numeric = a.kind in ("int", "enum", "bool") and b.kind in ("int", "enum", "bool")
    if numeric:
        return a if a.kind == "bool" and b.kind == "bool" else binary_type(op, a, b)
    if a.kind == "pointer" and b.kind in ("int", "enum") and op in ("+", "-"):
        return a
    if a.is_float or b.is_float:
        st.error(s.span, f"{_name(a if a.is_float else b)}: BPF has no floating point", "it can be printed and kept")
        return UNKNOWN
    st.error(s.span, f"The {op} operator can not be used on expressions of types {_name(old)}, {_name(new)}")
    return UNKNOWN


# ---------------------------------------------------------------- declarations


def _declare(st: State, s: ast.Declare) -> ast.Stmt | None:
    v = s.target
    if s.value is not None:
        s.value = expr(st, s.value)
    found = st.find(v.name)
    if found is not None and found[0] is not v.slot:
        where = st.place(st.value_spans.get(id(found[0])))
        st.error(
            s.span,
            f"Variable {v.name} was already declared. Variable shadowing is not allowed.",
            f"it got its value at {where}" if where else "choose another name",
        )
        return s
    slot = st.declare(v)
    if s.to is not None:
        _declared_type(st, s, slot)
    if s.value is not None:
        st.assigned.add(id(slot))
        t = s.value.type
        if _can_hold(st, s.span, t):
            s.value = give(st, slot, s.value, t, s.span)
    elif st.final and id(slot) not in st.assigned_later:
        st.warn(s.span, f"Variable {v.name} was never assigned to.")
    v.type = slot.type
    st.flexible.append(v)
    return s


def _declared_type(st: State, s: ast.Declare, slot: ast.VariableSlot) -> None:
    assert s.to is not None
    _, t = type_of(st, s.to) if s.to.of is not None else (None, resolve_type(st, s.to))
    if t is None or t is UNKNOWN:
        return
    if t.is_aggregation or t.kind in ("void", "none"):
        st.error(s.to.span, f"Invalid variable declaration type: {t}")
        return
    t = settle(stored(t))
    if (t.kind in ("string", "buffer") and not t.size) or (t.kind == "array" and not t.count):
        # No size given: it comes from what is assigned.
        if slot.type is UNKNOWN:
            slot.type = text(1) if t.kind == "string" else UNKNOWN
        return
    if slot.type is UNKNOWN or st.declared.get(id(slot)) != t:
        slot.type = t
        st.changed = True
    st.declared[id(slot)] = t
    st.value_spans[id(slot)] = s.span


# ---------------------------------------------------------------- branches


def _if(st: State, s: ast.If) -> ast.Stmt | None:
    if isinstance(s.condition, ast.Comptime):
        chosen = comptime_branch(st, s.condition)
        if chosen is None:
            return s  # its branches are looked at once the condition is known
        return ast.Block(s.span, scoped(st, s.then if chosen else s.otherwise))
    s.condition = c = condition(st, s.condition)
    literal = isinstance(c, (ast.Integer, ast.Boolean))
    truth = fold.truth(c)
    st.dead += literal and not truth
    s.then = scoped(st, s.then)
    st.dead += (literal and truth) - (literal and not truth)
    s.otherwise = scoped(st, s.otherwise)
    st.dead -= literal and truth
    return s


def _block(st: State, s: ast.Block) -> ast.Stmt | None:
    s.body = scoped(st, s.body)
    return s


# ---------------------------------------------------------------- loops


def _while(st: State, s: ast.While) -> ast.Stmt | None:
    s.condition = condition(st, s.condition)
    st.loop_depth += 1
    s.body = scoped(st, s.body)
    st.loop_depth -= 1
    return s


def _callback(st: State, s: ast.ForRange | ast.ForMap, t: Type) -> None:
    """The body of a loop, which may become a function of its own: outer variables that it uses are captured."""
    if (found := st.find(s.target.name)) and found[0] is not s.target.slot:
        st.error(s.target.span, f"Loop declaration shadows existing variable: {s.target.name}")
    loop = Loop(len(st.scopes), s.captures or [])
    st.loops.append(loop)
    st.loop_depth += 1
    st.scopes.append({})
    slot = st.declare(s.target)
    st.assigned.add(id(slot))
    if t is not UNKNOWN and slot.type != t:
        slot.type = t
        st.changed = True
    s.target.type = slot.type
    st.flexible.append(s.target)
    s.body = scoped(st, s.body)
    st.scopes.pop()
    st.loop_depth -= 1
    st.loops.pop()
    s.captures = loop.captures


def _for_range(st: State, s: ast.ForRange) -> ast.Stmt | None:
    s.start, s.end = number(st, s.start), number(st, s.end)
    a, b = as_integer(s.start.type), as_integer(s.end.type)
    t = UNKNOWN
    if a is not UNKNOWN and b is not UNKNOWN:
        for x, what in ((s.start, "start"), (s.end, "end")):
            if not is_number(as_integer(x.type)):
                st.error(x.span, f"Loop range requires an integer for the {what} value")
        t = promote(a, b) or UNKNOWN if is_number(a) and is_number(b) else UNKNOWN
    if st.final and t is not UNKNOWN:
        s.start, s.end = convert(st, s.start, t) or s.start, convert(st, s.end, t) or s.end
    _callback(st, s, t)
    return s


def _for_map(st: State, s: ast.ForMap) -> ast.Stmt | None:
    _callback(st, s, iterate(st, s))
    return s


def _unroll(st: State, s: ast.Unroll) -> ast.Stmt | None:
    s.count = number(st, s.count)
    if isinstance(s.count, ast.Integer):
        if s.count.value > 100:
            st.error(s.span, "unroll maximum value is 100")
        elif s.count.value < 1:
            st.error(s.span, "unroll minimum value is 1")
    elif s.count.type is not UNKNOWN:
        st.error(s.span, "invalid unroll value", "it must be a literal: the block is repeated when compiling")
    s.body = scoped(st, s.body)
    return s


def _break(st: State, s: ast.Break | ast.Continue) -> ast.Stmt | None:
    if not st.loop_depth:
        word = "break" if isinstance(s, ast.Break) else "continue"
        st.error(s.span, f"{word} statement not within a loop")
    return s


def _return(st: State, s: ast.Return) -> ast.Stmt | None:
    if s.value is not None:
        s.value = number(st, s.value)
        t = s.value.type
        if t is not UNKNOWN and not is_number(as_integer(t)) and t.kind != "bool":
            st.error(s.span, f"Probe return values can only be integers. Found {_name(t)}")
    return s


STATEMENTS.update({
    ast.ExprStmt: _expr_stmt,
    ast.Assign: _assign,
    ast.Declare: _declare,
    ast.If: _if,
    ast.Block: _block,
    ast.While: _while,
    ast.ForRange: _for_range,
    ast.ForMap: _for_map,
    ast.Unroll: _unroll,
    ast.Break: _break,
    ast.Continue: _break,
    ast.Return: _return,
})  # fmt: skip
_check_expr.BLOCK = block
