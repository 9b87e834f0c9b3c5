"""Questions about types that are answered when compiling: sizeof, offsetof, typeinfo, is_str() and the like."""

from __future__ import annotations

from . import ast, fold
from ._check_expr import EXPRESSIONS, expr, literal_bool
from ._check_names import base_type, field_of, fields_of, resolve_type, suggest
from ._check_state import State
from ._check_types import UNKNOWN, alignment, is_number, is_text, literal_type, settle, size_of, text
from .builtins import TABLE, is_argument
from .types import BOOL, NONE, Type, pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def type_of(st: State, operand: ast.Expr | ast.TypeName) -> tuple[ast.Expr | ast.TypeName, Type | None]:
    """The type of what stands in sizeof, offsetof, typeof and typeinfo, and the operand as it is from now on."""
    st.quiet += 1
    try:
        if isinstance(operand, ast.TypeName):
            if operand.of is not None:
                inner, t = type_of(st, operand.of)
                operand.of = inner if isinstance(inner, ast.Expr) else operand.of
                return operand, _suffixed(t, operand)
            return operand, resolve_type(st, operand)
        if isinstance(operand, ast.MapRef) and operand.key is None:
            m = st.map(operand.name, operand.span)
            if m.keyed:
                return operand, m.key  # typeof(@map) is the type of its keys
        if isinstance(operand, ast.Name) and operand.name not in TABLE and not is_argument(operand.name):
            named = base_type(st, operand.name)  # `sizeof(uint64_t)`: parsed as an identifier
            if named is not None:
                return ast.TypeName(operand.span, operand.name), named
        operand = expr(st, operand)
        return operand, operand.type
    finally:
        st.quiet -= 1


def _suffixed(t: Type | None, name: ast.TypeName) -> Type | None:
    for suffix in name.suffixes:
        if t is None or t is UNKNOWN:
            return t
        if suffix == "*":
            t = pointer(t)
        elif isinstance(suffix, int):
            t = Type("array", size_of(t) * max(suffix, 0), element=t, count=max(suffix, 0))
    return t


def _settled(st: State, operand: ast.Expr | ast.TypeName, t: Type) -> bool:
    """Whether the type of an operand can be relied on; notes that it was."""
    if isinstance(operand, ast.TypeName) and operand.of is None:
        return True
    if not st.settling:
        st.unsettled = True
        return False
    inner = operand.of if isinstance(operand, ast.TypeName) else operand
    if inner is not None:
        st.settled.append((inner, t))
    st.folded = True
    return True


def _asked(st: State, e: ast.Expr, operand: ast.Expr | ast.TypeName) -> tuple[ast.Expr | ast.TypeName, Type | None]:
    """What `type_of` says, None as long as the type is not known; then another walk is needed for `e`."""
    e.type = UNKNOWN
    operand, t = type_of(st, operand)
    if t is None or t is UNKNOWN:
        st.unsettled = True
        return operand, None
    return operand, t


def _sizeof(st: State, e: ast.SizeOf) -> ast.Expr:
    e.operand, t = _asked(st, e, e.operand)
    if t is None:
        return e
    if not _settled(st, e.operand, t):
        e.type = literal_type(_bytes(st, t))
        return e
    size = 8 if isinstance(e.operand, ast.Integer) and t.kind == "enum" else _bytes(st, t)  # enumerators are int64
    return expr(st, ast.Integer(e.span, size))


def _bytes(st: State, t: Type) -> int:
    """Bytes of a type with C's rules for what is inside of tuples."""
    if t.kind not in ("tuple", "record"):
        return size_of(t)
    end = 0
    for element in t.elements:
        end = -(-end // _alignment(st, element)) * _alignment(st, element) + _bytes(st, element)
    return -(-end // _alignment(st, t)) * _alignment(st, t)


def _alignment(st: State, t: Type, depth: int = 0) -> int:
    """Alignment of a type; that of a struct is that of its widest member."""
    if t.kind in ("tuple", "record"):
        return max((_alignment(st, e, depth) for e in t.elements), default=1)
    if t.kind == "array" and t.element is not None and depth <= 16:
        return _alignment(st, t.element, depth + 1)
    if t.kind not in ("struct", "union") or depth > 16:
        return alignment(t)
    widest = 1
    for name in fields_of(st, t):
        field = field_of(st, t, name)
        if field is not None and not field.offset % (inner := _alignment(st, field.type, depth + 1)):
            widest = max(widest, inner)
    return widest


def _offsetof(st: State, e: ast.OffsetOf) -> ast.Expr:
    e.of, t = _asked(st, e, e.of)
    if t is None:
        return e
    offset = 0
    if t.kind == "pointer" and t.element is not None and isinstance(e.of, ast.Expr):
        t = t.element
    for name in e.fields:
        if t.kind not in ("struct", "union"):
            st.error(e.span, f"'{t}' is not a C type.")
            return e
        field = field_of(st, t, name)
        if field is None:
            st.error(e.span, f"'{t}' has no field named '{name}'", suggest(name, fields_of(st, t)))
            return e
        offset += field.offset
        t = field.type
    return expr(st, ast.Integer(e.span, offset))


def base_name(t: Type) -> str:
    """What typeinfo calls the kind of a type."""
    return {
        "enum": "int", "struct": "c_type", "union": "c_type", "mac": "mac_address", "ksym": "ksym_t", "usym": "usym_t",
        "username": "username_t", "count": "count_t", "sum": "sum_t", "avg": "avg_t", "min": "min_t", "max": "max_t",
        "stats": "stats_t", "hist": "hist_t", "lhist": "lhist_t", "tseries": "tseries_t",
        "cgroup_path": "cgroup_path_t", "strerror": "string", "signal_name": "string", "syscall_name": "string",
        "probe": "string",
    }.get(t.kind, t.kind)  # fmt: skip


def _typeinfo(st: State, e: ast.TypeInfo) -> ast.Expr:
    e.operand, t = _asked(st, e, e.operand)
    if t is None:
        return e
    t = settle(t)
    if not _settled(st, e.operand, t):
        return e
    span = e.span
    items: list[ast.Expr] = [
        ast.Integer(span, t.type_id if t.store == "btf" else 0),
        fold.new_string(span, base_name(t).encode()),
        fold.new_string(span, str(t).encode()),
    ]
    return expr(st, ast.RecordLiteral(span, ["btf_id", "base_type", "full_type"], items))


def _question(test: Callable[[ast.Expr], bool]) -> Callable[[State, ast.Call], ast.Expr]:
    """A function that asks for a type: folded once types are stable."""

    def check(st: State, e: ast.Call) -> ast.Expr:
        a, t = type_of(st, e.args[0])
        e.args[0] = a
        e.type = BOOL
        if not isinstance(a, ast.Expr) or t is None or t is UNKNOWN or not (st.settling or st.final):
            st.unsettled = True
            return e
        st.folded = True
        st.settled.append((a, t))
        if a.type is None:
            a.type = t  # a whole map stands for its keys
        return literal_bool(e, test(a))

    return check


def _assert_str(st: State, e: ast.Call) -> ast.Expr:
    e.type = NONE
    a, t = type_of(st, e.args[0])
    e.args[0] = a
    if t is not None and t is not UNKNOWN and not is_text(t):
        st.error(e.span, "string-like values must be either strings, arrays or pointers")
    return e


def _container_of(st: State, e: ast.Call) -> ast.Expr:
    """`container_of(p, struct s, m)` is `(struct s *)((uint64)p - offsetof(struct s, m))`."""
    e.type = UNKNOWN
    what, member = e.args[1], e.args[2]
    fields: list[str] = []
    while isinstance(member, ast.Member):
        fields.insert(0, member.name)
        member = member.operand
    base = e.args[0]
    if not isinstance(member, ast.Name) or not isinstance(base, ast.Expr):
        st.error(e.span, "container_of() expects a pointer, a type and a member")
        return e
    fields.insert(0, member.name)
    if isinstance(what, ast.TypeName):
        to = ast.TypeName(what.span, what.base, [*what.suffixes, "*"], what.of)
    else:
        to = ast.TypeName(what.span, "", ["*"], what)
    address = ast.Cast(base.span, ast.TypeName(base.span, "uint64"), base)
    offset = ast.OffsetOf(e.span, what, fields)
    return expr(st, ast.Cast(e.span, to, ast.Binary(e.span, "-", address, offset)))


def _static_assert(st: State, e: ast.Call) -> ast.Expr:
    e.type = NONE
    condition, message = e.args[0], e.args[1]
    if not isinstance(condition, ast.Expr) or not isinstance(message, ast.String):
        st.error(e.span, "static_assert() expects a condition and a string literal")
        return e
    condition = e.args[0] = expr(st, condition)
    message.type = text(len(message.value) + 1)
    if not isinstance(condition, (ast.Integer, ast.Boolean)):
        st.unsettled = True
        st.error(e.span, "static_assert() needs a condition that is known when compiling")
    elif not fold.truth(condition) and not st.dead:
        st.error(e.span, message.value)
    return e


def _retype_name(st: State, e: ast.Call) -> ast.Expr:
    """`sizeof(x)` and the like that were parsed as calls."""
    a = e.args[0]
    if e.name == "sizeof":
        return expr(st, ast.SizeOf(e.span, a))
    return expr(st, ast.TypeInfo(e.span, a))


EXPRESSIONS[ast.SizeOf] = _sizeof
EXPRESSIONS[ast.OffsetOf] = _offsetof
EXPRESSIONS[ast.TypeInfo] = _typeinfo
QUESTIONS: dict[str, Callable[[State, ast.Call], ast.Expr]] = {
    "is_array": _question(lambda a: a.type.kind == "array"),
    "is_integer": _question(lambda a: is_number(a.type)),
    "is_unsigned_integer": _question(lambda a: is_number(a.type) and not a.type.signed),
    "is_ptr": _question(lambda a: a.type.kind == "pointer"),
    "is_str": _question(lambda a: a.type.kind == "string"),
    "is_literal": _question(fold.is_literal),
    "assert_str": _assert_str,
    "container_of": _container_of,
    "static_assert": _static_assert,
    "sizeof": _retype_name,
    "typeinfo": _retype_name,
}
