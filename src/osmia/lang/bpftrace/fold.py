"""Folding of constants: what operators give on literals.

Integers are those of C's widest types: results from 0 to 2^64-1 or down to -2^63; anything else does not fold
but is an error, as a wrapped constant is never what the author meant.
"""

from __future__ import annotations

from . import ast

MAX_UNSIGNED = (1 << 64) - 1
MAX_SIGNED = (1 << 63) - 1
MIN_SIGNED = -(1 << 63)


class FoldError(Exception):
    """An operation on literals that has no result."""


def is_literal(e: object) -> bool:
    """A number, string or truth value, or a tuple or record of them."""
    kind = type(e)
    if kind is ast.Integer or kind is ast.String or kind is ast.Boolean:
        return True
    if isinstance(e, (ast.TupleLiteral, ast.RecordLiteral)):
        return all(map(is_literal, e.items))
    return False


def truth(e: ast.Expr) -> bool:
    """Truth of a scalar literal."""
    if isinstance(e, ast.String):
        return bool(string_bytes(e))
    return bool(e.value) if isinstance(e, (ast.Integer, ast.Boolean)) else False


def string_bytes(e: ast.String) -> bytes:
    return e.data or e.value.encode("utf-8", "surrogateescape")


def new_string(span: ast.Span, data: bytes) -> ast.String:
    return ast.String(span, data.decode("utf-8", "surrogateescape"), data)


def unary(e: ast.Unary) -> ast.Expr | None:
    """The literal that `op literal` stands for, None if it stays an operation."""
    x = e.operand
    if isinstance(x, ast.Boolean):
        return ast.Boolean(e.span, not x.value) if e.op == "!" else None
    if not isinstance(x, ast.Integer):
        return None
    value = x.value
    if e.op == "!":
        return ast.Boolean(e.span, not value)
    if e.op == "+":
        return ast.Integer(e.span, value)
    if e.op == "~":
        return ast.Integer(e.span, ~value & MAX_UNSIGNED if value >= 0 else ~value)
    if e.op == "-":
        if -value < MIN_SIGNED:
            raise FoldError("negative value will underflow")
        return ast.Integer(e.span, -value)
    return None


def binary(e: ast.Binary) -> ast.Expr | None:
    """The literal that `literal op literal` stands for, None if it stays an operation."""
    a, b, op = e.left, e.right, e.op
    if isinstance(a, ast.Integer) and isinstance(b, ast.Integer):
        return _integers(e, a.value, b.value)
    if op in ("&&", "||") and _is_scalar(a) and _is_scalar(b):
        x, y = truth(a), truth(b)
        return ast.Boolean(e.span, (x and y) if op == "&&" else (x or y))
    if isinstance(a, ast.String) or isinstance(b, ast.String):
        return _strings(e, a, b)
    if isinstance(a, ast.Boolean) and isinstance(b, ast.Boolean):
        return _booleans(e, a.value, b.value)
    if op in ("==", "!=") and is_literal(a) and is_literal(b):
        equal = _equal(a, b)
        return None if equal is None else ast.Boolean(e.span, equal == (op == "=="))
    return None


def _is_scalar(e: ast.Expr) -> bool:
    return isinstance(e, (ast.Integer, ast.Boolean, ast.String))


def _compare(op: str, a: int | bytes, b: int | bytes) -> bool | None:
    """A comparison of two values of one type; None for another operator."""
    if op == "==":
        return a == b
    if op == "!=":
        return a != b
    if op == "<":
        return a < b  # type: ignore[operator]
    if op == ">":
        return a > b  # type: ignore[operator]
    if op == "<=":
        return a <= b  # type: ignore[operator]
    if op == ">=":
        return a >= b  # type: ignore[operator]
    return None


def _integers(e: ast.Binary, a: int, b: int) -> ast.Expr:
    op = e.op
    if op == "&&" or op == "||":
        return ast.Boolean(e.span, bool(a and b) if op == "&&" else bool(a or b))
    compared = _compare(op, a, b)
    if compared is not None:
        return ast.Boolean(e.span, compared)
    return ast.Integer(e.span, _arithmetic(op, a, b))


def _arithmetic(op: str, a: int, b: int) -> int:
    value = None
    if op == "+":
        value = a + b
    elif op == "-":
        value = a - b
    elif op == "*":
        value = a * b
    elif op in ("/", "%"):
        if b == 0:
            raise FoldError("division by zero")
        quotient = abs(a) // abs(b)
        quotient = -quotient if (a < 0) != (b < 0) else quotient
        value = quotient if op == "/" else a - quotient * b
    elif op in ("<<", ">>"):
        if not 0 <= b < 64:
            raise FoldError(f"shift by {b} bits, must be 0..63")
        value = a << b if op == "<<" else a >> b
        if op == "<<":
            value = value & MAX_UNSIGNED if a >= 0 else max(value, MIN_SIGNED)
    elif op == "&":
        value = a & b
    elif op == "|":
        value = a | b
    elif op == "^":
        value = a ^ b
    if value is None:
        raise FoldError(f"unknown operator {op}")
    if value < 0 and (a > MAX_SIGNED or b > MAX_SIGNED) and op in ("&", "|", "^"):
        value &= MAX_UNSIGNED
    if not MIN_SIGNED <= value <= MAX_UNSIGNED:
        raise FoldError("unable to fold literals due to overflow or underflow")
    return value


def _strings(e: ast.Binary, a: ast.Expr, b: ast.Expr) -> ast.Expr | None:
    if isinstance(a, ast.String) and isinstance(b, ast.String):
        x, y = string_bytes(a), string_bytes(b)
        if e.op == "+":
            return new_string(e.span, x + y)
        compared = _compare(e.op, x, y)
        if compared is None:
            raise FoldError("illegal literal operation with strings")
        return ast.Boolean(e.span, compared)
    if e.op == "+":
        # A pointer into the text: `str($1 + 2)`.
        string, number = (a, b) if isinstance(a, ast.String) else (b, a)
        if isinstance(string, ast.String) and isinstance(number, ast.Integer) and number.value >= 0:
            return new_string(e.span, string_bytes(string)[number.value :])
    return None


def _booleans(e: ast.Binary, a: bool, b: bool) -> ast.Expr | None:
    op = e.op
    if op in ("&&", "&", "*"):
        return ast.Boolean(e.span, a and b)
    if op in ("||", "|", "+"):
        return ast.Boolean(e.span, a or b)
    if op in ("^", "-"):
        return ast.Boolean(e.span, a != b)
    compared = _compare(op, a, b)
    return None if compared is None else ast.Boolean(e.span, compared)


def _equal(a: ast.Expr, b: ast.Expr) -> bool | None:
    """Equality of literals; None where it depends on the types they will get."""
    if isinstance(a, ast.TupleLiteral) and isinstance(b, ast.TupleLiteral):
        if len(a.items) != len(b.items):
            return None
        return _all(_equal(x, y) for x, y in zip(a.items, b.items))
    if isinstance(a, ast.RecordLiteral) and isinstance(b, ast.RecordLiteral):
        if sorted(a.names) != sorted(b.names):
            return None
        other = dict(zip(b.names, b.items))
        return _all(_equal(x, other[n]) for n, x in zip(a.names, a.items))
    if isinstance(a, ast.Integer) and isinstance(b, ast.Integer):
        return a.value == b.value
    if isinstance(a, ast.Boolean) and isinstance(b, ast.Boolean):
        return a.value == b.value
    if isinstance(a, ast.String) and isinstance(b, ast.String):
        return string_bytes(a) == string_bytes(b)
    return None


def _all(results: object) -> bool | None:
    found: bool | None = True
    for r in results:  # type: ignore[attr-defined]
        if r is None:
            return None
        found = found and bool(r)
    return found
