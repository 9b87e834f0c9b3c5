"""Every offset, width and direction of every fixed context: the table against the running kernel."""

from __future__ import annotations

import os

import pytest
from _tables import measure, wrong_accesses

from osmia.verifier._profile import profile

M = measure()
LIVE = profile(os.uname().release)
# 45 microseconds a load: all of them take ten seconds.
OFFSETS = {
    "tracepoint": (-32768, -32767, *range(-16, 32), *range(4000, 4016), *range(8176, 8208), 32767),
    "syscall": (*range(-8, 32), *range(20000, 20016), *range(32736, 32768)),
}
FIXED = [room for room in M.ROOMS if room[0] not in M.BTF_ROOMS]


@pytest.fixture(scope="module")
def kernel() -> object:
    return M.Kernel()


@pytest.mark.parametrize("room", FIXED, ids="/".join)
def test_accesses(kernel: object, room: tuple[str, str]) -> None:
    if kernel.exits(room) is None:  # type: ignore[attr-defined]
        pytest.skip(f"this kernel loads no {' '.join(room)} programs")
    assert wrong_accesses(kernel, room, LIVE, OFFSETS.get(room[0], range(-8, 264))) == []
