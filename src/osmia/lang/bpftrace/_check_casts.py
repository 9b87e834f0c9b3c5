"""Casts that are written."""

from __future__ import annotations

from . import ast, fold
from ._check_expr import EXPRESSIONS, expr, literal_bool
from ._check_hints import refuse_float
from ._check_names import enum_values, resolve_type, with_space
from ._check_state import State
from ._check_typeof import type_of
from ._check_types import CASTABLE, UNKNOWN, is_number, same, settle, size_of
from .types import BPF, KERNEL, Type


def _cast(st: State, e: ast.Cast) -> ast.Expr:
    e.operand = x = expr(st, e.operand)
    if e.to.of is not None:
        _, target = type_of(st, e.to)
    elif e.target is not None and e.target.kind != "array":
        target = e.target  # resolved in an earlier walk
    else:
        target = resolve_type(st, e.to)
    if target is None or target is UNKNOWN:
        e.type = UNKNOWN
        return e
    target = settle(target)
    source = x.type
    if source is UNKNOWN:
        e.type = target if target.kind != "array" or target.count else UNKNOWN
        e.target = e.type if e.type is not UNKNOWN else e.target
        return e
    if target.kind == "bool" and isinstance(x, (ast.String, ast.Boolean)):
        return literal_bool(e, fold.truth(x))
    target = _completed(st, target, source)
    e.type = e.target = target
    if st.final:
        _check(st, e, target, source)
    return e


def _completed(st: State, t: Type, source: Type) -> Type:
    """The target with what comes from the operand: the length of `int8[]`, the space of a pointer."""
    if t.kind == "array":
        element = t.element
        if not t.count and element is not None and size_of(element) and not size_of(source) % size_of(element):
            count = size_of(source) // size_of(element)
            t = Type("array", count * size_of(element), element=element, count=count)
        return t.replace(space=source.space if source.kind in ("array", "string") and source.space else BPF)
    if t.kind == "pointer":
        space = source.space if source.kind in ("pointer", "int") else ""
        return with_space(t, space or st.ctx.space or KERNEL)
    if t.kind == "int" and source.kind in ("int", "pointer") and source.space in ("user", "kernel") and t.size == 8:
        return t.replace(space=source.space)
    return t


def _check(st: State, e: ast.Cast, t: Type, source: Type) -> None:
    kind = source.kind
    if kind in ("struct", "union"):
        st.error(e.span, f'Cannot cast from C type "{source}"')
    elif kind in ("none", "void"):
        st.error(e.span, f'Cannot cast from "{"void" if kind == "none" else source}" type')
    elif same(t, source):
        return
    elif source.is_float:
        refuse_float(st, e.operand)
    elif t.is_float:
        st.error(e.span, f"Cannot cast to {t}: BPF has no floating point", "scale the value: 1500 for 1.5")
    elif not _possible(st, e, t, source):
        st.error(e.span, f'Cannot cast from "{settle(source)}" to "{t}"', _hint(t, source))


def _hint(t: Type, source: Type) -> str:
    if t.kind == "array" and is_number(source) and size_of(t) != source.size:
        return f"the value has {source.size} bytes, the array {size_of(t)}"
    if t.kind == "string" and source.kind in ("pointer", "int"):
        return "read a string from memory with str()"
    return ""


def _possible(st: State, e: ast.Cast, t: Type, source: Type) -> bool:
    kind = source.kind
    number = is_number(source) or kind in CASTABLE
    if t.kind == "string":
        return kind == "string" and (t.size >= source.size or not t.size)
    if t.kind == "username":
        return is_number(source)
    if t.kind == "array":
        return _to_array(st, e, t, source)
    if t.kind == "bool":
        return number or kind in ("pointer", "string", "bool")
    if t.kind == "pointer":
        return number or kind in ("pointer", "bool", "string")
    if t.kind == "enum":
        _check_enum(st, e, t)
        return number or kind == "bool"
    if t.kind == "int":
        if kind == "array":
            return t.size == size_of(source)
        return number or kind in ("pointer", "bool", "probe")
    return False


def _to_array(st: State, e: ast.Cast, t: Type, source: Type) -> bool:
    element = t.element
    if element is None or not (is_number(element) or element.kind == "bool"):
        return False
    if not t.count:
        if not size_of(element):
            st.error(e.span, "Could not determine size of the array")
        else:
            st.error(
                e.span,
                "Cannot determine array size: the element size is incompatible with the cast integer size",
            )
        return True
    size = size_of(t)
    if is_number(source):
        return size == source.size or source.size < size <= 8
    return source.kind in ("bool", "string") and size == size_of(source)


def _check_enum(st: State, e: ast.Cast, t: Type) -> None:
    if not isinstance(e.operand, ast.Integer):
        return
    values = enum_values(st, t)
    if values and e.operand.value not in values:
        st.error(e.span, f"Enum: {t.name} doesn't contain a variant value of {e.operand.value}")


EXPRESSIONS[ast.Cast] = _cast
