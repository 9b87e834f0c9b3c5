"""Fields, elements and literals of structs, arrays, tuples and records."""

from __future__ import annotations

from . import ast, fold
from ._check_expr import EXPRESSIONS, expr, lvalue, number, shown
from ._check_hints import refuse_float
from ._check_names import field_of, fields_of, suggest
from ._check_state import State
from ._check_types import CASTABLE, FLEX, UNKNOWN, as_integer, is_number, size_of, stored
from .types import BPF, INT8, USER, VOID, Type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .types import StructField


def _member(st: State, e: ast.Member) -> ast.Expr:
    x = e.operand = expr(st, e.operand)
    t = x.type
    if t is UNKNOWN:
        e.type = UNKNOWN
        return e
    while t.kind == "pointer" and t.element is not None and t.element.kind == "pointer":
        # The dot goes through any number of pointers; all but the last become explicit.
        deref = ast.Unary(x.span, "*", x)
        deref.type = lvalue(t.element, t.space)
        x = e.operand = deref
        t = deref.type
    space = t.space
    if t.kind == "pointer":
        t = t.element or VOID
    if t.kind == "record":
        return _record_field(st, e, t)
    if t.kind not in ("struct", "union"):
        hint = "cast it to a struct pointer first" if is_number(t) or t.kind == "void" else ""
        st.error(e.span, f"Can not access field '{e.name}' on expression of type '{t}'", hint)
        e.type = UNKNOWN
        return e
    field = _field(st, e, t)
    if field is None:
        e.type = UNKNOWN
        return e
    e.field = field
    e.type = _field_type(st, t, field, space)
    return e


def _record_field(st: State, e: ast.Member, t: Type) -> ast.Expr:
    if e.name not in t.names:
        st.error(e.span, f"Record does not contain a field named '{e.name}'", suggest(e.name, t.names))
        e.type = UNKNOWN
        return e
    if isinstance(e.operand, ast.RecordLiteral) and fold.is_literal(e.operand):
        return expr(st, dict(zip(e.operand.names, e.operand.items))[e.name])
    e.type = t.elements[t.names.index(e.name)]
    return e


def _field(st: State, e: ast.Member, t: Type) -> StructField | None:
    args = st.ctx.args_type
    if args is not None and t.store == "c" and t.name == args.name and st.ctx.args is not None:
        return ARGUMENT(st, e)
    found = field_of(st, t, e.name)
    if found is None:
        if not t.size and t.store[:3] in ("btf", "dwa"):
            where = "the debug information" if t.store == "dwarf" else "BTF"
            st.error(e.span, f"Unknown struct/union: '{t}'", f"define it in the script, only its name is in {where}")
        elif st.final:
            st.error(
                e.span,
                f"Struct/union of type '{t}' does not contain a field named '{e.name}'",
                suggest(e.name, fields_of(st, t)),
            )
    return found


def _no_argument(st: State, e: ast.Member) -> StructField | None:
    raise AssertionError("set by _check_calls")


ARGUMENT: Callable[[State, ast.Member], StructField | None] = _no_argument


def _field_type(st: State, owner: Type, field: StructField, space: str) -> Type:
    """The type of a field of an object in `space`; pointers in user memory point to user memory."""
    t = field.type
    if field.data_loc:
        return t  # what the word points to lies in kernel memory wherever the record is
    origin = owner.mode if space == BPF else space
    if t.kind == "pointer":
        return t.replace(space=USER) if origin == USER and t.space != USER else t
    if t.kind in ("struct", "union", "array", "string", "buffer"):
        t = t.replace(space=space)
        return t.replace(mode=USER) if origin == USER and space == BPF else t
    return t.replace(space=USER) if t.kind == "int" and origin == USER else t


def _tuple_index(st: State, e: ast.TupleIndex) -> ast.Expr:
    x = e.operand = expr(st, e.operand)
    t = x.type
    if t is UNKNOWN:
        e.type = UNKNOWN
        return e
    if t.kind != "tuple":
        st.error(e.span, f"Can not access index '{e.index}' on expression of type '{t}'")
        e.type = UNKNOWN
        return e
    if not 0 <= e.index < len(t.elements):
        st.error(e.span, f"Invalid tuple index: {e.index}. Found {len(t.elements)} elements in tuple.")
        e.type = UNKNOWN
        return e
    if isinstance(x, ast.TupleLiteral) and fold.is_literal(x):
        return expr(st, x.items[e.index])
    e.type = t.elements[e.index]
    return e


def _index(st: State, e: ast.Index) -> ast.Expr:
    x = e.operand = expr(st, e.operand)
    index = e.index = number(st, e.index)
    t = x.type
    if t is UNKNOWN:
        e.type = UNKNOWN
        return e
    if t.kind == "tuple":
        if not isinstance(index, ast.Integer):
            st.error(e.span, "A tuple can only be indexed by an integer literal")
            e.type = UNKNOWN
            return e
        return expr(st, ast.TupleIndex(e.span, x, index.value))
    if t.kind == "string":
        if isinstance(x, ast.String) and isinstance(index, ast.Integer) and 0 <= index.value < t.size:
            data = fold.string_bytes(x) + b"\0"
            return expr(st, ast.Integer(e.span, data[index.value]))
        e.type = INT8
        count = t.size
    elif t.is_float:
        refuse_float(st, x)
        e.type = UNKNOWN
        return e
    elif t.kind == "array" and t.element is not None:
        e.type = lvalue(t.element, t.mode if t.space == BPF and t.mode and t.element.kind == "pointer" else t.space)
        count = t.count
    elif t.kind == "pointer" and t.element is not None and size_of(t.element):
        e.type = lvalue(t.element, t.space)
        count = 0
    else:
        what = "a pointer to an unsized type (void *)" if t.kind == "pointer" else f"{t}"
        message = f"The array index operator [] can only be used on arrays, pointers, and tuples, found {what}."
        if t.kind == "pointer":
            message = f"The array index operator [] cannot be used on {what}."
        st.error(e.span, message)
        e.type = UNKNOWN
        return e
    _check_index(st, e, index, count)
    return e


def _check_index(st: State, e: ast.Index, index: ast.Expr, count: int) -> None:
    if isinstance(index, ast.Integer) and index.value >= 0:
        if count and index.value >= count:
            st.error(e.span, f"the index {index.value} is out of bounds for array of size {count}")
        return
    t = index.type
    if t is not UNKNOWN and (t.kind not in ("int", "enum") or (t.signed and t.mode != FLEX)):
        st.error(e.span, f"The array index operator [] only accepts non-negative integer indices. Got: {t}")


def _tuple(st: State, e: ast.TupleLiteral) -> ast.Expr:
    e.items = items = [number(st, x) for x in e.items]
    _check_items(st, items, "tuple")
    types = tuple(_item_type(x) for x in items)
    e.type = UNKNOWN if UNKNOWN in types else Type("tuple", elements=types)
    return e


def _record(st: State, e: ast.RecordLiteral) -> ast.Expr:
    e.items = items = [number(st, x) for x in e.items]
    _check_items(st, items, "record")
    for i, name in enumerate(e.names):
        if name in e.names[:i]:
            st.error(e.span, f"Record has two fields named '{name}'")
    types = tuple(_item_type(x) for x in items)
    e.type = UNKNOWN if UNKNOWN in types else Type("record", elements=types, names=tuple(e.names))
    return e


def _item_type(x: ast.Expr) -> Type:
    return stored(as_integer(x.type))


def _check_items(st: State, items: list[ast.Expr], what: str) -> None:
    for x in items:
        t = x.type
        if t.is_aggregation and t.kind not in CASTABLE:
            st.error(x.span, f"Map type {t} cannot exist inside a {what}.")
        elif t.kind in ("none", "void"):
            st.error(x.span, f"Value '{shown(t)}' cannot exist inside a {what}.")


EXPRESSIONS[ast.Member] = _member
EXPRESSIONS[ast.TupleIndex] = _tuple_index
EXPRESSIONS[ast.Index] = _index
EXPRESSIONS[ast.TupleLiteral] = _tuple
EXPRESSIONS[ast.RecordLiteral] = _record
