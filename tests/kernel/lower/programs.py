"""Random programs with their outcome: statements over integer variables, run by a small interpreter."""

from __future__ import annotations

import random
from collections.abc import Callable

from kernel.lower.model import INTS, S64, U64, Expr, Generator, Int, Variables, compute, literal, variable


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Return(Exception):
    pass


Effect = Callable[[Variables], None]
TARGETS = [Int(1, True), Int(1, False), Int(4, True), Int(4, False), S64, S64, U64, U64]


class Program:
    """A block of statements: `lines` as text, `run(variables)` does the same in Python."""

    def __init__(self, rng: random.Random, *, loops: bool = True) -> None:
        self.rng = rng
        self.loops = loops
        self.scope = {f"$v{i}": t for i, t in enumerate(TARGETS)}
        self.generator = Generator(rng, dict(self.scope))
        self.start = {name: self.generator.number(t) for name, t in self.scope.items()}
        self.counters = 0
        self.text, self._effects = self.block(3, in_loop=False)

    def setup(self) -> str:
        return " ".join(declare(name, t, self.start[name]) for name, t in self.scope.items())

    def run(self) -> Variables:
        variables = dict(self.start)
        try:
            self._effects(variables)
        except _Return:
            variables["returned"] = 1
        return variables

    def block(self, depth: int, *, in_loop: bool) -> tuple[str, Effect]:
        parts = [self.statement(depth, in_loop=in_loop) for _ in range(self.rng.randrange(1, 4))]

        def run(v: Variables) -> None:
            for _, effect in parts:
                effect(v)

        return " ".join(text for text, _ in parts), run

    def statement(self, depth: int, *, in_loop: bool) -> tuple[str, Effect]:
        kinds = [self.assign, self.compound, self.compound, self.step]
        if depth > 0:
            kinds += [lambda: self.choice(depth, in_loop)] * 2
            if self.loops:
                kinds += [lambda: self.loop(depth, in_loop)] * 2
        if in_loop and self.rng.random() < 0.15:
            return self.jump()
        return self.rng.choice(kinds)()

    def target(self) -> tuple[str, Int]:
        name = self.rng.choice(list(self.scope))
        return name, self.scope[name]

    def assign(self) -> tuple[str, Effect]:
        name, t = self.target()
        e = self.generator.expression(2, constant=False)

        def run(v: Variables) -> None:
            v[name] = t.wrap(e.value(v))

        return f"{name} = ({t.name}){e.text};", run

    def compound(self) -> tuple[str, Effect]:
        name, t = self.target()
        op = self.rng.choice(("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"))
        e = self.generator.expression(1, constant=False)
        if op in ("<<", ">>"):
            e = literal(self.rng.randrange(8 * t.size))
        if op in ("/", "%"):  # how the operands meet is the language's; here they have one sign
            e = Expr(f"({t.name}){e.text}", t, lambda v, e=e: t.wrap(e.value(v)))

        def run(v: Variables) -> None:
            v[name] = t.wrap(compute(op, v[name], e.value(v), t, e.type))

        return f"{name} {op}= {e.text};", run

    def step(self) -> tuple[str, Effect]:
        name, t = self.target()
        amount, op = self.rng.choice(((1, "++"), (-1, "--")))
        into = self.rng.choice([n for n in ("$v4", "$v5") if n != name])
        form = self.rng.randrange(4)

        def run(v: Variables) -> None:
            old = v[name]
            v[name] = t.wrap(old + amount)
            if form >= 2:
                v[into] = S64.wrap(v[name] if form == 2 else old)

        text = {
            0: f"{name}{op};",
            1: f"{op}{name};",
            2: f"{into} = (int64)({op}{name});",
            3: f"{into} = (int64)({name}{op});",
        }[form]
        return text, run

    def choice(self, depth: int, in_loop: bool) -> tuple[str, Effect]:
        condition = self.generator.condition(1)
        yes, then = self.block(depth - 1, in_loop=in_loop)
        no, otherwise = self.block(depth - 1, in_loop=in_loop)
        has_else = self.rng.random() < 0.5

        def run(v: Variables) -> None:
            if condition.value(v):
                then(v)
            elif has_else:
                otherwise(v)

        return f"if ({condition.text}) {{ {yes} }}" + (f" else {{ {no} }}" if has_else else ""), run

    def jump(self) -> tuple[str, Effect]:
        word, error = self.rng.choice((("break", _Break), ("continue", _Continue), ("return", _Return)))
        condition = self.generator.condition(1)

        def run(v: Variables) -> None:
            if condition.value(v):
                raise error

        return f"if ({condition.text}) {{ {word}; }}", run

    def loop(self, depth: int, in_loop: bool) -> tuple[str, Effect]:
        self.counters += 1
        kind = self.rng.randrange(3)
        rounds = self.rng.randrange(1 if kind == 2 else 0, 5)
        name = f"$i{self.counters}"
        known = dict(self.generator.scope)
        first = self.rng.randrange(-3, 3)
        if kind == 0:  # bounds that are literals without a sign make it as flexible as they are
            self.generator.scope[name] = Int(8, True, first >= 0)
        # unroll is no loop: break and continue in it are about the loop around it
        body, run_body = self.block(depth - 1, in_loop=in_loop if kind == 2 else True)
        self.generator.scope = known

        def run(v: Variables) -> None:
            for i in range(rounds):
                if kind == 0:
                    v[name] = first + i
                if kind == 2:
                    run_body(v)
                    continue
                try:
                    run_body(v)
                except _Break:
                    return
                except _Continue:
                    continue

        if kind == 0:
            return f"for ({name} : {first}..{first + rounds}) {{ {body} }}", run
        if kind == 1:
            return f"{name} = (int64)0; while ({name} < {rounds}) {{ {name}++; {body} }}", run
        return f"unroll ({rounds}) {{ {body} }}", run


def declare(name: str, t: Int, value: int) -> str:
    """A variable whose value neither LLVM nor the verifier can know."""
    shown = str(value) if value != -(2**63) else "(-9223372036854775807 - 1)"
    return f"let {name}: {t.name} = ({t.name})(@z + {shown});"


def expressions(rng: random.Random, count: int) -> tuple[str, list[tuple[Expr, int]]]:
    """A probe's body that prints `count` expressions, and what they must be."""
    scope = {f"$v{i}": t for i, t in enumerate([*INTS, S64, U64, *rng.choices(INTS, k=2)])}
    generator = Generator(rng, scope)
    values = {name: generator.number(t) for name, t in scope.items()}
    made = [
        generator.expression(rng.randrange(1, 4), constant=False) if rng.random() < 0.8 else generator.condition(2)
        for _ in range(count)
    ]
    setup = " ".join(declare(name, t, values[name]) for name, t in scope.items())
    lines = [f"print({e.text});" for e in made]
    return "\n".join(["@z = (int64)0;", setup, *lines]), [(e, e.value(values)) for e in made]


__all__ = ["Program", "declare", "expressions", "variable"]
