"""Expressions: each visitor types a node (and may replace it) after its operands."""

from __future__ import annotations

from . import ast, fold
from ._check_convert import cast_to, convert, unify, value
from ._check_hints import name_hint, refuse_float, text_hint, warn_too_long
from ._check_names import enumerator, suggest
from ._check_state import State
from ._check_types import (
    FLEX,
    UNKNOWN,
    as_integer,
    binary_type,
    integer,
    is_number,
    literal_type,
    promote,
    same,
    stored,
    text,
)
from .builtins import NAMES, TABLE, is_argument
from .types import BOOL, CONTEXT, KERNEL, UINT64, USER, VOID, Type, pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

EXPRESSIONS: dict[type, Callable[[State, Any], ast.Expr]] = {}
COMPARISONS = frozenset(("==", "!=", "<", ">", "<=", ">="))
LOGICAL = frozenset(("&&", "||"))


def expr(st: State, e: ast.Expr) -> ast.Expr:
    """Type an expression; the node that stands for it from now on."""
    e = EXPRESSIONS[type(e)](st, e)
    if st.final:
        t = e.type
        if t.mode == FLEX or t.elements or t.kind == "pointer":
            st.flexible.append(e)
    return e


def number(st: State, e: ast.Expr) -> ast.Expr:
    """An expression that is read as one value (aggregations as integers)."""
    return value(st, expr(st, e))


# ---------------------------------------------------------------- leaves


def _integer(st: State, e: ast.Integer) -> ast.Expr:
    e.type = e.declared or literal_type(e.value)
    return e


def _boolean(st: State, e: ast.Boolean) -> ast.Expr:
    e.type = BOOL
    return e


def _string(st: State, e: ast.String) -> ast.Expr:
    size = len(fold.string_bytes(e)) + 1
    if size > st.config.max_strlen:
        limit = st.config.max_strlen
        st.error(e.span, f"String is too long (over {limit} bytes): {e.value[:60]}", "raise max_strlen")
    e.type = text(size)
    return e


def _positional(st: State, e: ast.Positional) -> ast.Expr:
    # Parameters were put in by `expand`; one that is left stands for "not given".
    new = ast.Integer(e.span, 0)
    return _integer(st, new)


def _name(st: State, e: ast.Name) -> ast.Expr:
    name = e.name
    if name in NAMES or is_argument(name):
        return BUILTIN(st, e)
    if name.startswith("__builtin_") and name[10:] in NAMES:
        return expr(st, ast.Name(e.span, name[10:]))
    row = TABLE.get(name)
    if row is not None and row.category != "statement" and not row.at_least:
        return expr(st, ast.Call(e.span, name, []))
    found = enumerator(st, name)
    if found is not None:
        constant = ast.Integer(e.span, found[0], name, declared=found[1])
        constant.type = found[1]
        return constant
    hint = f"{name} is a function: {row.signature[0]}" if row is not None and row.category != "statement" else ""
    st.error(e.span, f"Unknown identifier: '{name}'", hint or name_hint(st, name))
    e.type = UNKNOWN
    return e


def _no_builtin(st: State, e: ast.Name) -> ast.Expr:
    raise AssertionError("set by _check_calls")


BUILTIN: Callable[[State, ast.Name], ast.Expr] = _no_builtin


def _variable(st: State, e: ast.Variable) -> ast.Expr:
    if st.recheck:
        e.type = e.slot.type if e.slot is not None else UNKNOWN
        return e
    found = st.find(e.name)
    if found is None:
        e.type = UNKNOWN
        if e.slot is None or st.final:
            names = [n for scope in st.scopes for n in scope]
            st.error(e.span, f"Undefined or undeclared variable: {e.name}", suggest(e.name, names))
            e.slot = e.slot or st.orphan(e.name)
        return e
    slot, depth = found
    e.slot = slot
    e.type = slot.type
    if st.loops:
        st.use(slot, depth)
    if st.final:
        if id(slot) not in st.assigned and not st.quiet:
            st.warn(e.span, f"Variable used before it was assigned: {e.name}")
        if slot.type is UNKNOWN:
            st.unresolved.append((e.span, f"Could not resolve the type of this variable: {e.name}", ""))
    return e


# ---------------------------------------------------------------- operators


def _unary(st: State, e: ast.Unary) -> ast.Expr:
    op = e.op
    if op in ("++", "--"):
        return _increment(st, e)
    if op == "&":
        return _address(st, e)
    e.operand = x = number(st, e.operand)
    t = x.type
    if t is UNKNOWN:
        e.type = UNKNOWN
        return e
    if op == "*":
        return _dereference(st, e, t)
    try:
        literal = fold.unary(e)
    except fold.FoldError as problem:
        st.error(e.span, str(problem))
        literal = None
    if literal is not None:
        return expr(st, literal)
    t = as_integer(t)
    if op == "!":
        valid = t.kind in ("int", "enum", "bool", "pointer")
        e.type = BOOL
    else:
        valid = is_number(t)
        e.type = integer(8, t.signed or op == "-", t.space) if valid else UNKNOWN
        if op == "+" and valid:
            return x
    if not valid and not refuse_float(st, x):
        st.error(e.span, f"The {op} operator can not be used on expressions of type '{x.type}'")
    if not valid:
        e.type = UNKNOWN
    return e


def _increment(st: State, e: ast.Unary) -> ast.Expr:
    x = e.operand = expr(st, e.operand)
    if not isinstance(x, (ast.Variable, ast.MapRef)):
        st.error(e.span, f"The {e.op} operator must be applied to a map or variable")
        e.type = UNKNOWN
        return e
    if isinstance(x, ast.MapRef):
        st.map(x.name, x.span).assigned = True
    t = x.type
    if t is UNKNOWN:
        e.type = UNKNOWN
        return e
    if t.kind == "pointer":
        e.type = t
        return e
    if not is_number(t):
        if not refuse_float(st, x):
            st.error(e.span, f"The {e.op} operator can not be used on expressions of type '{t}'")
        e.type = UNKNOWN
        return e
    new = integer(8, t.signed or e.op == "--", t.space)
    if isinstance(x, ast.Variable):
        declared = st.declared.get(id(x.slot))
        st.refine(x.slot, new, e.span)
        e.type = declared or new
    else:
        st.refine_value(st.map(x.name, x.span), new, e.span)
        e.type = new
    return e


def _address(st: State, e: ast.Unary) -> ast.Expr:
    x = e.operand
    if isinstance(x, ast.MapRef):
        st.map(x.name, x.span).assigned = True  # perhaps, by who is given the address
    if isinstance(x, ast.MapRef) and x.key is None:
        m = st.map(x.name, x.span)
        x.type = m.value
        st.flexible.append(x)
        e.type = UNKNOWN if m.value is UNKNOWN else pointer(m.value, KERNEL)
        if st.final and m.value is UNKNOWN:
            st.unresolved.append((x.span, f"Undefined map: {x.name}", ""))
        return e
    x = e.operand = expr(st, x)
    if isinstance(x, ast.Variable):
        st.assigned.add(id(x.slot))
    elif not isinstance(x, (ast.MapRef, ast.Member, ast.Index)):
        st.error(e.span, "The & operator must be applied to a variable, a map or a field", "assign the value first")
    space = x.type.space if isinstance(x, (ast.Member, ast.Index)) and x.type.space in (KERNEL, USER) else KERNEL
    e.type = UNKNOWN if x.type is UNKNOWN else pointer(stored(x.type) if x.type.kind == "string" else x.type, space)
    return e


def _dereference(st: State, e: ast.Unary, t: Type) -> ast.Expr:
    if t.kind == "pointer":
        if t.element is None or t.element.kind in ("void", "none"):
            st.error(e.span, f"Can not dereference type '{t}'", "cast it to a pointer to what it points to")
            e.type = UNKNOWN
        else:
            e.type = lvalue(t.element, t.space)
    elif t.kind in ("struct", "union") and t.space == CONTEXT:
        return e.operand  # `*args`, an old spelling
    elif t.kind == "int":  # an address of a uint64, such as kaddr() gives
        target = pointer(UINT64, t.space or st.ctx.space or KERNEL)
        e.operand = cast_to(e.operand, target)
        e.type = lvalue(UINT64, target.space)
    else:
        st.error(e.span, f"Can not dereference type '{t}'. It is not a pointer.")
        e.type = UNKNOWN
    return e


def lvalue(t: Type, space: str) -> Type:
    """The type of an object that lies in memory of this kind."""
    if t.kind in ("struct", "union", "array", "string", "buffer"):
        return t.replace(space=space)
    if t.kind == "pointer":
        # What a user pointer points to are addresses of the same process, unless the kernel's types say otherwise.
        return t.replace(space=USER) if space == USER and t.space != USER else t
    return t.replace(space=space) if t.kind == "int" and space == USER else t


def _binary(st: State, e: ast.Binary) -> ast.Expr:
    left = e.left = expr(st, e.left)
    right = e.right = _right(st, e, left.type)
    if fold.is_literal(left) and fold.is_literal(right):
        try:
            literal = fold.binary(e)
        except fold.FoldError as problem:
            st.error(e.span, str(problem))
            e.type = UNKNOWN
            return e
        if literal is not None:
            return expr(st, literal)
    a, b = left.type, right.type
    if a is UNKNOWN or b is UNKNOWN:
        e.type = BOOL if e.op in COMPARISONS or e.op in LOGICAL else UNKNOWN
        return e
    e.type = _result(st, e, as_integer(a), as_integer(b))
    if st.final and e.op in ("==", "!="):
        warn_too_long(st, e)
    if st.final and e.type is not UNKNOWN:
        if e.op in COMPARISONS or e.op in ("/", "%"):
            e.left, e.right = unify(st, left, right)
        else:
            e.left, e.right = value(st, left), value(st, right)
    return e


def _right(st: State, e: ast.Binary, left: Type) -> ast.Expr:
    """The right operand; a hint for a bare word there knows when it is compared with text."""
    before, st.beside_text = st.beside_text, e.op in COMPARISONS and left.kind == "string"
    right = expr(st, e.right)
    st.beside_text = before
    return right


def _result(st: State, e: ast.Binary, a: Type, b: Type) -> Type:
    op = e.op
    if a.is_float or b.is_float:
        if not refuse_float(st, e.left):
            refuse_float(st, e.right)
        return BOOL if op in COMPARISONS or op in LOGICAL else UNKNOWN
    if op in LOGICAL:
        if _is_condition(a) and _is_condition(b):
            return BOOL
        return _invalid(st, e, a, b)
    if a.kind == "pointer" or b.kind == "pointer":
        return _pointers(st, e, a, b)
    numeric_a, numeric_b = a.kind in ("int", "enum", "bool"), b.kind in ("int", "enum", "bool")
    if op in COMPARISONS:
        if numeric_a and numeric_b:
            return BOOL
        return _compare(st, e, a, b)
    if a.kind == "bool" and b.kind == "bool":
        return BOOL
    if numeric_a and numeric_b:
        if op in ("/", "%"):
            _check_division(st, e)
        return binary_type(op, a, b)
    return _invalid(st, e, a, b)


def _is_condition(t: Type) -> bool:
    return t.kind in ("int", "enum", "bool", "pointer")


def _invalid(st: State, e: ast.Binary, a: Type, b: Type) -> Type:
    message = f"The {e.op} operator can not be used on expressions of types {e.left.type}, {e.right.type}"
    st.error(e.span, message, text_hint(st, e))
    return UNKNOWN


def _check_division(st: State, e: ast.Binary) -> None:
    if isinstance(e.right, ast.Integer) and e.right.value == 0:
        st.error(e.right.span, "division by zero")


def _pointers(st: State, e: ast.Binary, a: Type, b: Type) -> Type:
    op = e.op
    if a.kind == "pointer" and b.kind == "pointer":
        if op not in COMPARISONS:
            return _invalid(st, e, a, b)
        if not same(a.element or VOID, b.element or VOID):
            st.warn(e.span, f"comparison of distinct pointer types: {a.element}, {b.element}")
        return BOOL
    other = b if a.kind == "pointer" else a
    if other.kind not in ("int", "enum", "bool"):
        return _invalid(st, e, a, b)
    if op in COMPARISONS:
        return BOOL
    if op == "+" or (op == "-" and a.kind == "pointer"):
        pointed = e.left if a.kind == "pointer" else e.right
        if isinstance(pointed, ast.Unary) and pointed.op == "&" and isinstance(pointed.operand, ast.MapRef):
            st.warn(
                e.span,
                f"The address of an element of {pointed.operand.name} is null where there is no such element.",
                "keep it in a variable and add to that inside of if ($address != 0) { ... }",
            )
        return a if a.kind == "pointer" else b
    return _invalid(st, e, a, b)


def _compare(st: State, e: ast.Binary, a: Type, b: Type) -> Type:
    """Comparison of what is not a number: equality of like types."""
    op = e.op
    if a.kind == "array" and b.kind == "array":
        if op not in ("==", "!="):
            st.error(e.span, f"The {op} operator cannot be used on arrays.")
        elif a.count != b.count:
            st.error(e.span, "Only arrays of same size support comparison operators.")
        elif not same(a, b) or a.element is None or not is_number(a.element):
            st.error(e.span, "Only arrays of same sized integer support comparison operators.")
        return BOOL
    if promote(a, b) is None:
        message = f"Type mismatch for '{op}': comparing {e.left.type} with {e.right.type}"
        st.error(e.span, message, text_hint(st, e))
        return UNKNOWN
    if op not in ("==", "!="):
        return _invalid(st, e, a, b)
    return BOOL


# ---------------------------------------------------------------- choices and blocks


def condition(st: State, e: ast.Expr, whole: ast.Span | None = None) -> ast.Expr:
    """A condition: a number, pointer or bool (a literal string is a bool)."""
    e = number(st, e)
    if isinstance(e, ast.String):
        literal = ast.Boolean(e.span, fold.truth(e))
        literal.type = BOOL
        return literal
    t = e.type
    if t is not UNKNOWN and not _is_condition(as_integer(t)) and not refuse_float(st, e):
        st.error(whole or e.span, f"Invalid condition: {t.kind}", "compare it with something")
    return e


def _ternary(st: State, e: ast.Ternary) -> ast.Expr:
    if e.then is None:  # a ?: b
        e.condition = number(st, e.condition)
        e.otherwise = number(st, e.otherwise)
        e.type = _branches(st, e, e.condition.type, e.otherwise.type)
        if st.final and e.type is not UNKNOWN:
            e.otherwise = convert(st, e.otherwise, e.type) or e.otherwise
        return e
    if isinstance(e.condition, ast.Comptime):
        return _chosen(st, e, e.condition, e.then, e.otherwise)
    e.condition = condition(st, e.condition)
    e.then, e.otherwise, e.type = _both(st, e, e.then, e.otherwise)
    scalar = isinstance(e.condition, (ast.Integer, ast.Boolean))
    if scalar and fold.is_literal(e.then) and fold.is_literal(e.otherwise):
        return e.then if fold.truth(e.condition) else e.otherwise
    return e


def _if_expr(st: State, e: ast.IfExpr) -> ast.Expr:
    if isinstance(e.condition, ast.Comptime):
        return _chosen(st, e, e.condition, e.then, e.otherwise)
    e.condition = condition(st, e.condition)
    e.then, e.otherwise, e.type = _both(st, e, e.then, e.otherwise)
    return e


def _chosen(st: State, e: ast.Expr, c: ast.Comptime, then: ast.Expr, otherwise: ast.Expr) -> ast.Expr:
    """The branch that a condition chooses when compiling; `e` itself as long as that is not known."""
    yes = comptime_branch(st, c)
    if yes is None:
        e.type = UNKNOWN
        return e
    return expr(st, then if yes else otherwise)


def _both(st: State, e: ast.Expr, then: ast.Expr, otherwise: ast.Expr) -> tuple[ast.Expr, ast.Expr, Type]:
    then, otherwise = number(st, then), number(st, otherwise)
    t = _branches(st, e, then.type, otherwise.type)
    if st.final and t is not UNKNOWN:
        then, otherwise = convert(st, then, t) or then, convert(st, otherwise, t) or otherwise
    return then, otherwise, t


def _branches(st: State, e: ast.Expr, a: Type, b: Type) -> Type:
    if a is UNKNOWN or b is UNKNOWN:
        return a if b is UNKNOWN else b
    if a.kind == "none" and b.kind == "none":
        return a
    common = promote(stored(as_integer(a)), stored(as_integer(b)))
    if common is None:
        st.error(e.span, f"Branches must return the same type or compatible types: have '{shown(a)}' and '{shown(b)}'")
        return UNKNOWN
    return common


def shown(t: Type) -> str:
    if t.kind in ("kstack", "ustack"):
        return f"{t.kind}_{t.mode}_{t.count}"
    return "void" if t.kind == "none" else str(t)


def comptime_branch(st: State, c: ast.Comptime) -> bool | None:
    """What a condition that must be known when compiling says, None as long as that is not known."""
    st.quiet += 1
    inner = c.operand
    while isinstance(inner, ast.Comptime):
        inner = inner.operand
    c.operand = expr(st, inner)
    st.quiet -= 1
    if isinstance(c.operand, (ast.Integer, ast.Boolean, ast.String)):
        st.folded = True
        return fold.truth(c.operand)
    st.unsettled = True
    if st.final:
        st.error(c.span, "Unable to resolve comptime expression", "only types and literals are known when compiling")
    return None


def _comptime(st: State, e: ast.Comptime) -> ast.Expr:
    e.operand = x = expr(st, e.operand)
    if fold.is_literal(x):
        return x
    st.unsettled = True
    e.type = x.type
    if st.final and x.type is not UNKNOWN:
        st.error(e.span, "Unable to resolve comptime expression", "only types and literals are known when compiling")
    return e


def _block_expr(st: State, e: ast.BlockExpr) -> ast.Expr:
    st.scopes.append({})
    e.body = BLOCK(st, e.body)
    e.value = expr(st, e.value)
    st.scopes.pop()
    e.type = e.value.type
    if not e.body and fold.is_literal(e.value):
        return e.value
    return e


def _no_block(st: State, body: list[ast.Stmt]) -> list[ast.Stmt]:
    raise AssertionError("set by _check_stmt")


BLOCK: Callable[[State, list[ast.Stmt]], list[ast.Stmt]] = _no_block


def literal_bool(e: ast.Expr, yes: bool) -> ast.Expr:
    """A constant in place of `e`."""
    new = ast.Boolean(e.span, yes)
    new.type = BOOL
    return new


EXPRESSIONS.update({
    ast.Integer: _integer,
    ast.Boolean: _boolean,
    ast.String: _string,
    ast.Positional: _positional,
    ast.Name: _name,
    ast.Variable: _variable,
    ast.Unary: _unary,
    ast.Binary: _binary,
    ast.Ternary: _ternary,
    ast.IfExpr: _if_expr,
    ast.Comptime: _comptime,
    ast.BlockExpr: _block_expr,
})  # fmt: skip
