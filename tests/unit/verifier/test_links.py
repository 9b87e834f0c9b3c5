"""Numbers that differ by a constant: what is learnt of one holds for the other (as seen on 6.18.44, 6.12 and 6.1)."""

from __future__ import annotations

import pytest

from osmia.isa import PROG_TYPES, assemble
from osmia.verifier import Program, Verdict, profile, verify

START = "*(u64 *)(r10 - 8) = 0\n*(u64 *)(r10 - 16) = 0\ncall get_prandom_u32\n{narrow}\nr1 = r0\n"
# Taken if r0 is known to be within 0..15.
INDEX = "r2 = r10\nr2 += r0\nr0 = *(u8 *)(r2 - 16)\nout: r0 = 0\nexit"


def ask(lines: str, kernel: str | None = None, *, narrow: str = "w0 = w0") -> Verdict:
    code = assemble(START.format(narrow=narrow) + lines + INDEX)
    return verify(Program(code, PROG_TYPES["socket_filter"]), profile(kernel))


KNOWN = {
    "64 bits": "r1 += 4\nif r1 > 15 goto out\nif r1 < 4 goto out\n",
    "32 bits": "w1 += 4\nif r1 > 15 goto out\nif r1 < 4 goto out\n",
    "a difference of 32 bits": "w1 -= 4\nif r1 > 11 goto out\n",
    "by a register": "r2 = 4\nw1 += w2\nif r1 > 15 goto out\nif r1 < 4 goto out\n",
    "both sums": "r2 = r0\nw1 += 4\nw0 += 2\nif r1 > 15 goto out\nif r1 < 4 goto out\n",
    "the least offset": "w1 += -2147483648\nif w1 s> -2147483633 goto out\n",
}
UNKNOWN = {
    "the sum may have wrapped": "w1 += 4\nif r1 > 15 goto out\n",
    "two sums": "w1 += 4\nw1 += 4\nif r1 > 15 goto out\nif r1 < 8 goto out\n",
    "sums of different widths": "w1 += 4\nr0 += 4\nif r1 > 15 goto out\nif r1 < 4 goto out\n",
    "the greatest difference": "w1 -= -2147483648\nif w1 s> -2147483633 goto out\n",
}


@pytest.mark.parametrize("lines", KNOWN.values(), ids=KNOWN)
def test_known(lines: str) -> None:
    verdict = ask(lines)
    assert verdict.accepted, verdict.message
    wide = "r1 += 4" in lines
    assert ask(lines, "6.17").accepted is wide
    assert ask(lines, "6.11").accepted is wide
    assert not ask(lines, "6.10").accepted


@pytest.mark.parametrize("lines", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown(lines: str) -> None:
    assert "variable-offset read from stack" in ask(lines).message or "min value" in ask(lines).message


def test_only_numbers_of_32_bits_are_linked_by_sums_of_32_bits() -> None:
    assert not ask(KNOWN["32 bits"], narrow="w9 = 0").accepted


def test_the_offset_of_a_link_is_too_large_for_a_pointer() -> None:
    """A copy has no offset any more, nor has a constant that was copied."""
    value = "w1 += 2147483647\nif r1 s< 0 goto out\nif r1 s> 15 goto out\n{copy}"
    value += "r2 = r10\nr2 += -16\nr2 += r1\nr0 = 0\nout: r0 = 0\nexit"
    message = "fp pointer offset 2147483647 is not allowed"
    assert _message(value.format(copy="")) == message
    assert _message(value.format(copy="w4 = w1\n")) == ""
    constant = value.replace("{copy}", "if r1 != 8 goto out\n{copy}")
    assert _message(constant.format(copy="")) == message
    assert _message(constant.format(copy="w4 = w1\n")) == ""
    assert _message(constant.format(copy="*(u64 *)(r10 - 24) = r1\nr1 = *(u64 *)(r10 - 24)\n")) == ""


def _message(lines: str) -> str:
    return verify(Program(assemble(START.format(narrow="w0 = w0") + lines), PROG_TYPES["socket_filter"])).message
