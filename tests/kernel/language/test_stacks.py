"""Many different stacks: each is found again, and those that find no room are counted, with what to do about it."""

from __future__ import annotations

from typing import Any

import pytest
from _tracing import run

import osmia
from osmia.lang.bpftrace.lower import _script

SCRIPT = (
    "config = { max_map_keys = 100 } let @ = percpuhash(10000); "
    "tracepoint:syscalls:sys_enter_getuid /pid == $1/ { @[ustack%s] = count(); }"
)


def test_each_of_many_stacks_is_counted(program: Any) -> None:
    work = program("stacks.c", 6000, 3)
    outcome = run(SCRIPT % "", work.pid, work=work, pid=work.pid)
    stacks = outcome.maps["@"]
    assert len(stacks) == outcome.done["different"] == 6000
    assert set(stacks.values()) == {3}
    assert not any(stack.error for stack in stacks)
    assert all(len(stack.addresses) >= 14 for stack in stacks)
    assert outcome.warnings == [] and outcome.messages == []


def test_few_frames_make_few_stacks(program: Any) -> None:
    work = program("stacks.c", 500, 2)
    stacks = run(SCRIPT % "(3)", work.pid, work=work).maps["@"]
    assert {len(stack.addresses) for stack in stacks} == {3}
    assert len(stacks) == 8 and sum(stacks.values()) == 1000


def test_stacks_that_find_no_room_are_counted(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_script, "STACKS", 100)
    work = program("stacks.c", 500, 2)
    obj = osmia.compile(SCRIPT % "", params=[str(work.pid)], cache=False)
    outcome = run(obj, work=work)
    by_error = {stack.error: count for stack, count in outcome.maps["@"].items() if stack.error}
    assert by_error == {7: 800}  # E2BIG
    assert len(outcome.maps["@"]) == 101
    assert any("800 stacks are missing" in m and "max_map_keys" in m for m in outcome.messages)


def test_build_ids_of_user_stacks(program: Any) -> None:
    work = program("stacks.c", 20, 2)
    stacks = run(SCRIPT % "(build_id, 3)", work.pid, work=work).maps["@"]
    assert all(len(stack.frames) == 3 and " 0x" in stack.frames[0] for stack in stacks)
    assert len(stacks) > 1 and sum(stacks.values()) == 40  # in Python, too, each is a key of its own
