# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""Random checks of strings, tuples and map keys, with what they must give."""

from __future__ import annotations

import random
from typing import Any

LETTERS = "abcxyz"


def quoted(text: str) -> str:
    return '"' + text + '"'


class _Texts:
    """Variables and map elements that hold known texts, and expressions over them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.setup: list[str] = []
        self.known: dict[str, str] = {}
        for i in range(4):
            first, second = self.text(), self.text()
            longer, text = sorted((first, second), key=len, reverse=True) if rng.random() < 0.7 else (first, second)
            # The longer one first: what it leaves behind must not matter.
            self.setup.append(
                f"$s{i} = {quoted(longer)}; $s{i} = {quoted(text)}; @s{i} = {quoted(longer)}; @s{i} = $s{i};"
            )
            self.known[f"$s{i}"] = self.known[f"@s{i}"] = text

    def text(self) -> str:
        rng = self.rng
        size = rng.choice((0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, rng.randrange(90)))
        if rng.random() < 0.4 and self.known:
            base = rng.choice(list(self.known.values()))
            cut = base[: rng.randrange(len(base) + 1)]
            return cut + rng.choice(LETTERS) * rng.randrange(2)
        return "".join(rng.choice(LETTERS) for _ in range(size))

    def operand(self, *, literal: bool = True) -> tuple[str, str]:
        rng = self.rng
        if literal and rng.random() < 0.3:
            text = self.text()
            return quoted(text), text
        name = rng.choice(list(self.known))
        return name, self.known[name]

    def check(self) -> tuple[str, Any]:
        rng = self.rng
        a, x = self.operand(literal=False)
        b, y = self.operand()
        if rng.random() < 0.3:
            b, y = quoted(x), x
        kind = rng.randrange(9)
        if kind == 0:
            return f"({a} == {b})", x == y
        if kind == 1:
            return f"({a} != {b})", x != y
        if kind == 2:
            n = rng.choice((1, 2, 3, 7, 8, 9, 16, 33, 64, 70))
            return f"strncmp({a}, {b}, {n}) == 0", x[:n] == y[:n]
        if kind == 3:
            needle = x[rng.randrange(len(x) + 1) :][: rng.randrange(1, 4)] if rng.random() < 0.6 else self.text()[:4]
            return f"strcontains({a}, {quoted(needle)})", needle in x
        if kind == 4:
            return f"strlen({a})", len(x)
        if kind == 5:
            return f"str({a})", x
        n, m = rng.randrange(-100, 100), rng.randrange(256)
        if kind == 6:
            return f"(({n}, {a}, (uint8){m}) == ({n}, {b}, (uint8){m}))", x == y
        if kind == 7:
            return f"(({n}, {a}), (uint8){m}, {b})", ((n, x), m, y)
        return f"((uint8){m} > {m // 2} ? {a} : {b})", x if m > m // 2 else y


def text_checks(rng: random.Random, count: int) -> tuple[str, list[tuple[str, Any]]]:
    """A probe's body that prints `count` values, and what they must be. Keys are made in three ways each."""
    texts = _Texts(rng)
    lines, expected = [], []
    for _ in range(count):
        text, value = texts.check()
        lines.append(f"print(({text}, 0));")
        expected.append((text, (value, 0)))
    a, x = texts.operand(literal=False)
    b, y = texts.operand(literal=False)
    number = rng.randrange(1 << 30)
    lines.append(
        f"@k{number}[{a}, (uint8)3, {b}] = (uint8)1; $t = ({a}, (uint8)3, {b}); @k{number}[$t] = (uint8)2; @t{number} = $t; "
        f"@k{number}[@t{number}] = (uint8)3; print((len(@k{number}), @k{number}[{quoted(x)}, (uint8)3, {quoted(y)}], $t == @t{number}));"
    )
    expected.append((lines[-1], (1, 3, True)))
    return "\n".join([*texts.setup, *lines]), expected
