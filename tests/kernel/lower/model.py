"""What the language's integers do, worked out in Python from its reference: the other opinion for differential tests.

An `Expr` knows its text, its type and how to compute its value from variables. Types: `Int(size, signed, flex)`; a
literal that is not negative is `flex`: it takes the sign of what it meets. Arithmetic gives 64 bits, unsigned only if
both sides are and nothing is subtracted. x / 0 and x % 0 are 1.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


class Int(NamedTuple):
    size: int
    signed: bool
    flex: bool = False

    def wrap(self, value: int) -> int:
        value &= (1 << 8 * self.size) - 1
        return value - (1 << 8 * self.size) if self.signed and value >> (8 * self.size - 1) else value

    @property
    def name(self) -> str:
        return f"{'' if self.signed else 'u'}int{8 * self.size}"


INTS = [Int(size, signed) for size in (1, 2, 4, 8) for signed in (True, False)]
S64, U64 = Int(8, True), Int(8, False)
EDGES = [0, 1, -1, 2, 3, 7, 8, 63, 64, 100, 127, 128, 255, 256, -128, -129, 32767, 32768, 65535, 2**31 - 1, 2**31,
         -(2**31), 2**32 - 1, 2**32, 2**62, 2**63 - 1, -(2**63), -(2**63) + 1, 0x5555_5555_5555_5555]  # fmt: skip

Variables = dict[str, Any]


@dataclass
class Expr:
    text: str
    type: Int
    value: Callable[[Variables], int]
    literal: bool = False


def literal(number: int) -> Expr:
    size = next(n for n in (1, 2, 4, 8) if number < 1 << (8 * n - 1) and number >= -(1 << (8 * n - 1)))
    return Expr(str(number) if number >= 0 else f"({number})", Int(size, True, number >= 0), lambda _: number, True)


def variable(name: str, t: Int) -> Expr:
    return Expr(name, t, lambda v: v[name])


def signs(a: Int, b: Int) -> tuple[bool, bool]:
    if a.flex and not b.flex:
        return b.signed, b.signed
    if b.flex and not a.flex:
        return a.signed, a.signed
    return a.signed, b.signed


def common(a: Int, b: Int) -> Int:
    """The least type for both branches of a choice."""
    size = max(a.size, b.size)
    if a.signed == b.signed:
        return Int(size, a.signed, a.flex and b.flex)
    if a.flex or b.flex:
        return Int(size, (a if b.flex else b).signed)
    signed, unsigned = (a, b) if a.signed else (b, a)
    return Int(signed.size if signed.size > unsigned.size else min(8, 2 * size), True)


def cast(e: Expr, t: Int) -> Expr:
    return Expr(f"({t.name}){e.text}", t, lambda v: t.wrap(e.value(v)))


def truncated_division(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


PLAIN = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "&": operator.and_, "|": operator.or_, "^": operator.xor,
}  # fmt: skip
COMPARE = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def compute(op: str, a: int, b: int, ta: Int, tb: Int) -> int:
    """`a op b` for values of these types, as the 64 bits of the result's type."""
    left_signed, right_signed = signs(ta, tb)
    result = Int(8, left_signed or (right_signed and op not in ("<<", ">>")) or op == "-")
    if op in PLAIN:
        return result.wrap(PLAIN[op](a, b))
    if op == "<<":
        return result.wrap(a << (b & 63))
    if op == ">>":
        return result.wrap(a >> (b & 63))
    both = Int(8, left_signed or right_signed)
    a, b = both.wrap(a), both.wrap(b)
    if b == 0:
        return 1
    quotient = truncated_division(a, b)
    return result.wrap(quotient if op == "/" else a - quotient * b)


def binary(op: str, a: Expr, b: Expr) -> Expr:
    left_signed, right_signed = signs(a.type, b.type)
    signed = left_signed or (right_signed and op not in ("<<", ">>")) or op == "-"
    ta, tb = a.type, b.type
    return Expr(f"({a.text} {op} {b.text})", Int(8, signed), lambda v: compute(op, a.value(v), b.value(v), ta, tb))


def unary(op: str, a: Expr) -> Expr:
    t = Int(8, a.type.signed or op == "-")
    return Expr(f"({op}{a.text})", t, lambda v: t.wrap(-a.value(v) if op == "-" else ~a.value(v)))


def comparison(op: str, a: Expr, b: Expr) -> Expr:
    """A truth value. Operands that differ in sign meet in the least type for both."""
    left_signed, right_signed = signs(a.type, b.type)
    both = Int(8, left_signed or right_signed)
    return Expr(
        f"({a.text} {op} {b.text})",
        Int(1, False),
        lambda v: int(COMPARE[op](both.wrap(a.value(v)), both.wrap(b.value(v)))),
    )


def choice(condition: Expr, a: Expr, b: Expr) -> Expr:
    t = common(a.type, b.type)
    return Expr(
        f"({condition.text} ? {a.text} : {b.text})",
        t,
        lambda v: t.wrap(a.value(v)) if condition.value(v) else t.wrap(b.value(v)),
    )


def elvis(a: Expr, b: Expr) -> Expr:
    t = common(a.type, b.type)
    return Expr(f"({a.text} ?: {b.text})", t, lambda v: t.wrap(a.value(v) or b.value(v)))


class Generator:
    """Random expressions over the variables of `scope`."""

    def __init__(self, rng: random.Random, scope: dict[str, Int]) -> None:
        self.rng = rng
        self.scope = scope

    def number(self, t: Int) -> int:
        rng = self.rng
        return t.wrap(rng.choice(EDGES) if rng.random() < 0.6 else rng.getrandbits(rng.randrange(1, 65)))

    def leaf(self, *, constant: bool = True) -> Expr:
        rng = self.rng
        if constant and rng.random() < 0.3:
            n = rng.choice(EDGES) if rng.random() < 0.6 else rng.randrange(-300, 70000)
            return literal(n if -(2**63) < n < 2**63 else 5)
        name = rng.choice(list(self.scope))
        return variable(name, self.scope[name])

    def condition(self, depth: int) -> Expr:
        rng = self.rng
        kind = rng.randrange(6) if depth > 0 else 0
        if kind < 3:
            a = self.expression(depth - 1, constant=False)
            return comparison(rng.choice(list(COMPARE)), a, self.expression(depth - 1))
        if kind == 3:
            inner = self.condition(depth - 1)
            return Expr(f"(!{inner.text})", Int(1, False), lambda v: int(not inner.value(v)))
        a, b = self.condition(depth - 1), self.condition(depth - 1)
        if kind == 4:
            return Expr(f"({a.text} && {b.text})", Int(1, False), lambda v: int(bool(a.value(v) and b.value(v))))
        return Expr(f"({a.text} || {b.text})", Int(1, False), lambda v: int(bool(a.value(v) or b.value(v))))

    def expression(self, depth: int, *, constant: bool = True) -> Expr:
        rng = self.rng
        if depth <= 0 or rng.random() < 0.1:
            return self.leaf(constant=constant)
        kind = rng.randrange(12)
        if kind < 6:
            a, b = self.expression(depth - 1, constant=False), self.expression(depth - 1)
            if rng.random() < 0.3 and not b.literal:
                a, b = self.leaf(), b
            op = rng.choice([*PLAIN, "/", "%", "/", "%"])
            if b.literal and op in "/%" and b.value({}) == 0:
                op = "+"
            return binary(op, a, b)
        if kind == 6:
            a = self.expression(depth - 1, constant=False)
            return binary(rng.choice(("<<", ">>")), a, literal(rng.randrange(64)))
        if kind == 7:
            return unary(rng.choice("-~"), self.expression(depth - 1, constant=False))
        if kind < 10:
            return cast(self.expression(depth - 1, constant=False), rng.choice(INTS))
        a, b = self.expression(depth - 1, constant=False), self.expression(depth - 1)
        if kind == 10:
            return choice(self.condition(depth - 1), a, b)
        return elvis(a, b)
