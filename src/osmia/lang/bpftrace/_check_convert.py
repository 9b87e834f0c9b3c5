"""Implicit conversions: where a value meets a type that a variable, a map or the other operand has."""

from __future__ import annotations

from . import ast
from ._check_state import State
from ._check_types import (
    CASTABLE,
    FLEX,
    UNKNOWN,
    as_integer,
    fits,
    fits_literal,
    is_number,
    promote,
    same,
    settle,
    stored,
)
from .types import BPF, Type


def cast_to(e: ast.Expr, target: Type) -> ast.Expr:
    """An explicit conversion node."""
    node = ast.Cast(e.span, ast.TypeName(e.span, str(target)), e)
    node.target = node.type = settle(target)
    return node


def value(st: State, e: ast.Expr) -> ast.Expr:
    """`e` as a value: an aggregation that is read as a number becomes a conversion to int64 or uint64."""
    if e.type.kind in CASTABLE and st.final:
        return cast_to(e, as_integer(e.type))
    return e


def convert(st: State, e: ast.Expr, target: Type) -> ast.Expr | None:
    """`e` as the type that it is to be kept as; None if that cannot be. Only meant for the final walk."""
    t = e.type
    if t is UNKNOWN or target is UNKNOWN:
        return e
    target = settle(target)
    if t.kind in CASTABLE and is_number(target):
        return cast_to(e, as_integer(t))
    if is_number(t) and is_number(target):
        return _number(st, e, target)
    if t.kind != target.kind:
        return None
    if t.kind in ("string", "buffer"):
        return e if t.size <= target.size else None
    if t.kind in ("tuple", "record"):
        return _composite(st, e, target)
    return e if promote(target, t) is not None else None


def _number(st: State, e: ast.Expr, target: Type) -> ast.Expr | None:
    t = e.type
    if isinstance(e, ast.Integer):
        return e if fits_literal(e.value, target) else None
    if not fits(t, target):
        warn_narrowing(st, e, target)
    if t.size > target.size or (t.signed != target.signed and t.mode != FLEX and target.size < 8):
        return cast_to(e, target)
    return e


def warn_narrowing(st: State, e: ast.Expr, target: Type) -> None:
    st.warn(
        e.span,
        f"Expression of type: {e.type} being cast to type: {target}. This may cause unexpected results. "
        "Use an explicit cast to suppress this warning.",
    )


def _composite(st: State, e: ast.Expr, target: Type) -> ast.Expr | None:
    if promote(target, e.type) is None:
        return None
    if same(e.type, target) and not isinstance(e, (ast.TupleLiteral, ast.RecordLiteral)):
        return e
    if isinstance(e, ast.BlockExpr):
        inner = _composite(st, e.value, target)
        if inner is None:
            return None
        e.value, e.type = inner, target
        return e
    if isinstance(e, (ast.TupleLiteral, ast.RecordLiteral)):
        if isinstance(e, ast.RecordLiteral) and tuple(e.names) != target.names:
            return _reordered(st, e, target)
        wanted = target.elements
        for i, (item, t) in enumerate(zip(e.items, wanted)):
            new = convert(st, item, t)
            if new is None:
                return None
            e.items[i] = new
        e.type = target
        return e
    if _ordered(e.type, target):
        return cast_to(e, target)
    return _taken_apart(st, e, target)


def _ordered(t: Type, target: Type) -> bool:
    """Whether all records inside have their fields in the same order."""
    if t.kind == "record" and t.names != target.names:
        return False
    return all(_ordered(a, b) for a, b in zip(t.elements, target.elements))


def _taken_apart(st: State, e: ast.Expr, target: Type) -> ast.Expr | None:
    """A tuple or record as a literal of its elements, each converted: the order of fields differs."""
    body: list[ast.Stmt] = []
    if not isinstance(e, (ast.Variable, ast.TupleIndex, ast.Member)) or _has_effects(e):
        v, e = _temporary(st, e, "$value#")
        body.append(v)
    t = e.type
    items: list[ast.Expr] = []
    for i, element in enumerate(t.elements):
        item = ast.Member(e.span, e, t.names[i]) if t.kind == "record" else ast.TupleIndex(e.span, e, i)
        item.type = settle(element)
        items.append(item)
    new = ast.RecordLiteral(e.span, list(t.names), items) if t.kind == "record" else ast.TupleLiteral(e.span, items)
    new.type = t
    return _after(body, _composite(st, new, target), target)


def _after(body: list[ast.Stmt], converted: ast.Expr | None, target: Type) -> ast.Expr | None:
    """A converted value behind the statements that it needs."""
    if converted is None or not body:
        return converted
    block = ast.BlockExpr(converted.span, body, converted)
    block.type = target
    return block


def _temporary(st: State, e: ast.Expr, name: str) -> tuple[ast.Stmt, ast.Variable]:
    """An assignment of `e` to a variable of our own, and a use of the variable."""
    v, use = ast.Variable(e.span, name), ast.Variable(e.span, name)
    v.slot = use.slot = st.orphan(name)
    v.slot.type = v.type = use.type = settle(stored(e.type))
    st.slots.append(v.slot)
    return ast.Assign(e.span, v, "=", e), use


def _reordered(st: State, e: ast.RecordLiteral, target: Type) -> ast.Expr | None:
    """A record literal with its fields in the target's order; items are still evaluated as they are written."""
    by_name = dict(zip(e.names, e.items))
    body: list[ast.Stmt] = []
    if any(map(_has_effects, e.items)):
        for name, item in by_name.items():
            assignment, by_name[name] = _temporary(st, item, f"${name}#")
            body.append(assignment)
    new = ast.RecordLiteral(e.span, list(target.names), [by_name[n] for n in target.names])
    new.type = Type("record", elements=tuple(x.type for x in new.items), names=target.names)
    return _after(body, _composite(st, new, target), target)


def _has_effects(e: object) -> bool:
    """Whether evaluating an expression may do something, so that its place in the order matters."""
    if isinstance(e, (ast.Call, ast.BlockExpr)) or (isinstance(e, ast.Unary) and e.op in ("++", "--")):
        return True
    if isinstance(e, ast.Node):
        return any(_has_effects(getattr(e, f)) for f in e._fields if f != "span")
    return isinstance(e, list) and any(map(_has_effects, e))


def unify(st: State, left: ast.Expr, right: ast.Expr) -> tuple[ast.Expr, ast.Expr]:
    """Two operands of a comparison or division: in the end they agree in sign, and tuples in layout."""
    a, b = value(st, left), value(st, right)
    if is_number(a.type) and is_number(b.type):
        common = promote(a.type, b.type)
        if common is None:
            return a, b
        return _same_sign(st, a, common), _same_sign(st, b, common)
    if a.type.kind in ("tuple", "record") and a.type.kind == b.type.kind:
        common = promote(a.type, b.type)
        if common is not None:
            return convert(st, a, common) or a, convert(st, b, common) or b
    return a, b


def _same_sign(st: State, e: ast.Expr, common: Type) -> ast.Expr:
    t = e.type
    if t.signed == common.signed:
        return e
    if isinstance(e, ast.Integer):
        # A non-negative literal takes the sign of the other side.
        if e.value >= 0 and e.value <= 0x7FFF_FFFF_FFFF_FFFF:
            e.type = settle(common) if fits_literal(e.value, common) else t
            e.type = e.type if e.type.signed == common.signed else common.replace(size=8)
            return e
    elif t.mode != FLEX and not fits(t, common):
        warn_narrowing(st, e, common)
    return cast_to(e, common.replace(size=8, space="", mode=""))


def keep(t: Type) -> Type:
    """The space a value gets when it is copied to where programs keep data."""
    return t.replace(space=BPF) if t.space else t
