"""Loops that use up the budget are refused early, and only those: with and without the short cut, verdicts agree."""

from __future__ import annotations

import os
import random
import time

import pytest

from osmia.isa import PROG_TYPES, assemble
from osmia.verifier import Program, Verdict, verify
from osmia.verifier import _prune as prune
from osmia.verifier._profile import Profile

LIMIT = 5_000  # instructions, in the place of a million


def ask(text: str) -> Verdict:
    return verify(Program(assemble(text), PROG_TYPES["xdp"]))


HUGE = [
    "w1 = 0\nl:\nw1 += 1\nif w1 < 5000000 goto l\nr0 = 1\nexit",
    "r1 = 0\nl:\nr1 += 1\nif r1 < 5000000 goto l\nr0 = 1\nexit",
    "w1 = 5000000\nl:\nw1 += -1\nif w1 != 0 goto l\nr0 = 1\nexit",
    "w1 = 0\nl:\nw1 += 2\nif w1 s<= 5000001 goto l\nr0 = 1\nexit",
    "r1 = 5000000\nl:\nr1 -= 1\nif r1 s> 0 goto l\nr0 = 1\nexit",
    "call 7\nif w0 == 0 goto o\nw1 = 0\nl:\nw1 += 1\nif w1 < w0 goto l\no:\nr0 = 1\nexit",
    "call 7\nr1 = 0\nl:\nif r1 >= r0 goto o\nr1 += 1\ngoto l\no:\nr0 = 1\nexit",
    "call 7\nw1 = 0\nl:\nif w0 <= w1 goto o\nw1 += 3\ngoto l\no:\nr0 = 1\nexit",
    "call 7\nr0 &= 0xffffff0\nr1 = 0\nl:\nr1 += 1\nif r0 s> r1 goto l\nr0 = 1\nexit",
    "call 7\nr6 = 0\nr7 = r0\nr0 = 1\nl:\nr6 += 1\nw8 = w6\nif w8 < w7 goto l\nexit",
    "w6 = 0\nl:\nw6 += 1\nr7 = r6\nr7 <<= 32\nr7 s>>= 32\nif r7 s< 5000000 goto l\nr0 = 1\nexit",
    "r6 = 0\nl:\ncall 7\nif r0 > 5 goto n\nr6 += 1\nn:\nr6 += 1\nif r6 < 5000000 goto l\nr0 = 1\nexit",
]


@pytest.mark.parametrize("text", HUGE)
def test_huge_loops_are_refused_at_once(text: str) -> None:
    began = time.process_time()
    verdict = ask(text)
    assert (verdict.accepted, verdict.errno) == (False, 7)
    assert "too large" in verdict.message or "too complex" in verdict.message
    assert time.process_time() - began < 5


def loop(r: random.Random) -> str:
    """A loop that ends near the limit, a little before or behind it, or not at all."""
    w, b = r.choice("rrw"), r.choice("rrww")
    step = r.choice((1, 1, 2, 7))
    body = r.choice((
        [], ["r8 += 1"], ["call 7", "r8 = r0"], ["*(u64 *)(r10 - 8) = r6", "r6 = *(u64 *)(r10 - 8)"],
        ["call 7", "if r0 > 7 goto m", "r8 = 1", "m:"], ["r8 = r6", "if w8 == 77777 goto out"], ["w8 = w6", "r8 += 9"],
        ["if r9 > 5 goto m", "r8 = 3", "m:"], ["if r7 s< 3 goto out"], ["if r6 == r9 goto out"], ["r9 = 5"],
        ["r6 <<= 32", "r6 s>>= 32"], ["r6 <<= 32", "r6 >>= 32"], ["r7 &= 0xffff"], ["r7 += 1"],
        ["r9 += 1", "if r9 > 1000 goto out"], ["r9 >>= 1", "if r9 > 3 goto m", "m:"],
    ))  # fmt: skip
    size = len(body) + r.choice((2, 2, 3, 4))
    rounds = r.choice((LIMIT // size, LIMIT * 2, 900, LIMIT // size + r.randint(-40, 40), 1 << 20))
    bound = min(rounds * step, (1 << 31) - 9)
    lines = ["r8 = 0", "call 7", "r9 = r0", "call 7", "r7 = r0"]
    narrow = r.choice(([], [], [f"r7 &= {r.choice((0xFF, 0xFFFF, 0xFFFFF0, 0x7FFFFFFF))}"], [f"r7 = {bound}"]))
    narrow += r.choice(([], [f"if r7 > {bound} goto out"], [f"if w7 < {r.choice((5, bound))} goto out"], ["r7 |= 8"]))
    right = r.choice(("r7", str(bound)))
    if right == "r7":
        right = ("w" if b == "w" else "r") + "7"
    down = right.isdigit() and r.random() < 0.3
    lines += [*narrow, f"r6 = {bound if down else r.choice((0, 0, 1, 5))}", "l:", *body]
    sign = r.choice(("<", "<", "<=", "!=", "s<", "s<="))
    if down:
        lines += [f"{w}6 += -{step}", f"if {b}6 {r.choice(('>', 's>', '!=', '>='))} {r.choice((0, 1, step))} goto l"]
    elif r.random() < 0.4 and sign != "!=":
        opposite = {"<": ">=", "<=": ">", "s<": "s>=", "s<=": "s>"}[sign]
        lines += [f"if {b}6 {opposite} {right} goto out", f"{w}6 += {step}", "goto l"]
    elif right.isdigit() or r.random() < 0.5:
        lines += [f"{w}6 += {step}", f"if {b}6 {sign} {right} goto l"]
    else:
        flipped = {"<": ">", "<=": ">=", "!=": "!=", "s<": "s>", "s<=": "s>="}[sign]
        lines += [f"{w}6 += {step}", f"if {right} {flipped} {b}6 goto l"]
    return "\n".join([*lines, "out:", "r0 = 1", "exit"])


def test_the_short_cut_changes_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("OSMIA_SEED", "0")) or random.randrange(1 << 30)
    count = int(os.environ.get("OSMIA_LOOPS", "30"))
    print("seed", seed)
    monkeypatch.setattr(Profile, "complexity_limit", property(lambda self: LIMIT))
    accepted = 0
    for number in range(count):
        text = loop(random.Random(f"{seed} {number}"))
        monkeypatch.setattr(prune, "FROM", 1 << 40)
        slow = ask(text)
        monkeypatch.setattr(prune, "FROM", 800)
        fast = ask(text)
        assert fast.accepted == slow.accepted, f"{number}: {fast.message} {slow.message}\n{text}"
        accepted += slow.accepted
    assert 0 < accepted < count
