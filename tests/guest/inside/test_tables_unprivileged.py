"""What a loader without privileges may do, where the kernel is told to let them load at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from _tables import CONFIGURED, measure, numbers

from osmia.isa._tables import table
from osmia.verifier import _context, _prototypes
from osmia.verifier._profile import profile

M = measure()
LIVE = profile(os.uname().release, privileged=False)
SWITCH = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
NOBODY = 65534
TYPES = (("socket_filter", ""), ("cgroup_skb", "cgroup_inet_ingress"), ("cgroup_skb", "cgroup_inet_egress"))
Answers = dict[str, dict[str, list[list[object]]]]


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    """What the kernel tells a process of user nobody."""
    before = SWITCH.read_text()
    SWITCH.write_text("0")
    kernel = M.Kernel()  # reading BTF takes long: before the fork
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            told = json.dumps({"/".join(room): ask(kernel, room) for room in M.ROOMS if room in TYPES or not room[1]})
            with open(theirs, "w") as f:
                f.write(told)
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours) as f:
        text = f.read()
    os.waitpid(pid, 0)
    SWITCH.write_text(before)
    yield json.loads(text)


def ask(kernel: object, room: tuple[str, str]) -> dict[str, list[list[object]]]:
    errno, _ = kernel.load(room, M.leave(1))  # type: ignore[attr-defined]
    if errno:
        return {"errno": [[errno]]}
    helpers = [[name, kernel.may_call(room, n)] for name, n in table("HELPERS").items() if n]  # type: ignore[attr-defined]
    return {"helpers": helpers, "accesses": list(kernel.accesses(room, tuple(range(0, 192, 4))))}  # type: ignore[attr-defined]


def test_types(answers: Answers) -> None:
    may = {"/".join(room) for room in TYPES}
    assert {room for room, told in answers.items() if "errno" not in told} == may
    assert {told["errno"][0][0] for room, told in answers.items() if room not in may and room != "lirc_mode2/"} == {1}


@pytest.mark.parametrize("room", TYPES, ids="/".join)
def test_helpers(answers: Answers, room: tuple[str, str]) -> None:
    wrong = []
    for name, says in answers["/".join(room)]["helpers"]:
        ours = _prototypes.why_not(table("HELPERS")[str(name)], *numbers(room), LIVE)
        if bool(says) != bool(ours) and name not in CONFIGURED:
            wrong.append((name, says, ours))
    assert wrong == []


@pytest.mark.parametrize("room", TYPES, ids="/".join)
def test_accesses(answers: Answers, room: tuple[str, str]) -> None:
    says = {(write, size, off) for write, size, off, _ in answers["/".join(room)]["accesses"]}
    ours = {
        (write, size, off)
        for write in (False, True) for size in (1, 2, 4, 8) for off in range(0, 192, 4)
        if _context.access(*numbers(room), off, size, write, LIVE)
    }  # fmt: skip
    assert says == ours
