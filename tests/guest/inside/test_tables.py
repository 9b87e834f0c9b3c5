"""The verifier's tables against an older kernel."""

from __future__ import annotations

import os

import pytest
from _tables import measure, numbers, wrong_accesses, wrong_helpers

from osmia.verifier._profile import profile
from osmia.verifier._return_ranges import return_range
from osmia.verifier._versions import ATTACH_TYPES, PROG_TYPES

M = measure()
LIVE = profile(os.uname().release)
# A load takes two milliseconds in here: one attach type stands for those that share a context.
CONTEXTS = [
    room for room in M.ROOMS
    if room[0] not in (*M.BTF_ROOMS, "sched_act", "lwt_out", "lwt_xmit", "lwt_seg6local", "lirc_mode2")
    and room[0] != "cgroup_sock_addr"
    and room[1] in ("", "cgroup_inet_ingress", "cgroup_inet4_post_bind", "cgroup_setsockopt", "sk_reuseport_select")
]  # fmt: skip
CONTEXTS += [("sock_ops", "cgroup_sock_ops"), ("sk_msg", "sk_msg_verdict"), ("sk_lookup", "sk_lookup")]
OFFSETS = {"tracepoint": (4, 8, 12, 8184, 8192), "syscall": (0, 8, 32760), "kprobe": (0, 1, 8, 160, 164, 168)}


@pytest.fixture(scope="module")
def kernel() -> object:
    return M.Kernel()


def exists(room: tuple[str, str]) -> bool:
    """Whether the tables say that this kernel has such programs."""
    return LIVE.version >= max(PROG_TYPES[room[0]][0], ATTACH_TYPES[room[1]][0] if room[1] else (0, 0))


def test_program_and_attach_types(kernel: object) -> None:
    wrong = []
    for room in M.ROOMS:
        if room == ("lirc_mode2", "lirc_mode2") or room[0] == "struct_ops":
            continue
        errno, lines = kernel.load(room, M.leave(1))  # type: ignore[attr-defined]
        # Attach types that a program's type does not look at cannot be asked for this way.
        if bool(errno and not lines) != (not exists(room)) and room[0] not in ("kprobe", "xdp"):
            wrong.append((room, errno, lines))
    assert wrong == []


def test_who_may_call(kernel: object) -> None:
    wrong = []
    for room in M.ROOMS:
        if exists(room) and kernel.load(room, M.insn(0x85, imm=5) + M.leave(1))[1]:  # type: ignore[attr-defined]
            wrong += wrong_helpers(kernel, room, LIVE)
    assert wrong == []


@pytest.mark.parametrize("room", CONTEXTS, ids="/".join)
def test_accesses(kernel: object, room: tuple[str, str]) -> None:
    assert exists(room)
    assert wrong_accesses(kernel, room, LIVE, OFFSETS.get(room[0], (*range(0, 224, 4), 45, 49, 177))) == []


def test_what_may_be_returned(kernel: object) -> None:
    wrong = []
    for room in M.ROOMS:
        if room[0] in ("lsm", "struct_ops", "lirc_mode2") or not exists(room):
            continue
        allowed = return_range(*numbers(room), LIVE)
        for r0 in (-1, 0, 1, 2, 3, 4):
            _, lines = kernel.load(room, M.leave(r0))  # type: ignore[attr-defined]
            says = not any("At program exit the register R0" in line for line in lines)
            if says != (allowed is None or allowed[0] <= r0 <= allowed[1]):
                wrong.append((room, r0, lines))
    assert wrong == []
