"""What fuzzing of the verifier found."""

from __future__ import annotations

import pytest

from osmia.errors import FormatError
from osmia.isa import assemble
from osmia.verifier import Program, Subprogram, verify
from osmia.verifier._policy import parse_policy

XDP = 6


@pytest.mark.parametrize("start", [-1, 3, 99, 1 << 40])
@pytest.mark.parametrize("is_global", [False, True])
def test_functions_that_begin_outside(start: int, is_global: bool) -> None:
    program = Program(assemble("r0 = 0\nexit"), XDP, subprograms=(Subprogram(start, "f", is_global),))
    verdict = verify(program)
    assert not verdict.accepted
    assert "func_info" in verdict.message


def test_without_privileges_there_are_no_loops() -> None:
    program = Program(assemble("r0 = 0\nl:\nr0 += 1\nif r0 < 5 goto l\nexit"), 1)
    assert verify(program).accepted
    verdict = verify(program, privileged=False)
    assert not verdict.accepted
    assert "back-edge" in verdict.message


@pytest.mark.parametrize("text", ["[maps]\nmax_entries = " + "9" * 5000, "x = " + "[" * 5000, "x = " + "{a=" * 5000])
def test_policies_that_are_no_toml(text: str) -> None:
    with pytest.raises(FormatError):
        parse_policy(text)
