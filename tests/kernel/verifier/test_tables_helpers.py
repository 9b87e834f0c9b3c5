"""Every helper in every program type: the table against the running kernel."""

from __future__ import annotations

import os

import pytest
from _tables import CONFIGURED, measure, numbers, wrong_helpers

from osmia.isa._tables import table
from osmia.verifier import _prototypes
from osmia.verifier._profile import NEWEST, profile
from osmia.verifier._return_ranges import return_range

M = measure()
LIVE = profile(os.uname().release)


@pytest.fixture(scope="module")
def kernel() -> object:
    return M.Kernel()


def answers(kernel: object, room: tuple[str, str]) -> None:
    """Skip what this kernel was not built with."""
    errno, lines = kernel.load(room, M.insn(0x85, imm=5) + M.leave(1))  # type: ignore[attr-defined]
    if errno and not lines:
        pytest.skip(f"this kernel loads no {' '.join(room)} programs: {os.strerror(errno)}")


@pytest.mark.parametrize("room", M.ROOMS, ids="/".join)
def test_who_may_call(kernel: object, room: tuple[str, str]) -> None:
    answers(kernel, room)
    assert wrong_helpers(kernel, room, LIVE) == []


@pytest.mark.parametrize("room", M.ROOMS, ids="/".join)
def test_gpl_only(kernel: object, room: tuple[str, str]) -> None:
    answers(kernel, room)
    if LIVE.version < NEWEST:
        pytest.skip("the flags are the newest kernel's")
    prog, attach = numbers(room)
    if kernel.load(room, M.leave(1), license="Proprietary")[1]:  # type: ignore[attr-defined]
        return  # the type itself is for GPL programs
    for helper in table("HELPERS").values():
        found = _prototypes.proto(helper, prog, attach)
        if found is None or found.name in CONFIGURED:
            continue
        _, lines = kernel.load(room, M.insn(0x85, imm=helper) + M.leave(), license="Proprietary")  # type: ignore[attr-defined]
        assert any("cannot call GPL" in line for line in lines) == found.gpl, (found.name, lines)


@pytest.mark.parametrize("room", [r for r in M.ROOMS if r[0] not in ("lsm", "struct_ops")], ids="/".join)
def test_what_may_be_returned(kernel: object, room: tuple[str, str]) -> None:
    answers(kernel, room)
    allowed = return_range(*numbers(room), LIVE)
    for r0 in (-1, 0, 1, 2, 3, 4, 5, 0x7FFFFFFF):
        _, lines = kernel.load(room, M.leave(r0))  # type: ignore[attr-defined]
        says = not any("At program exit the register R0" in line for line in lines)
        assert says == (allowed is None or allowed[0] <= r0 <= allowed[1]), (r0, lines)
