"""Kinds of arguments: a call that the prototype says is right loads, one with another kind of argument does not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from _tables import CONFIGURED, measure, numbers

from osmia.isa._tables import table
from osmia.syscalls._maps import map_create
from osmia.verifier import _maps_allowed, _prototypes
from osmia.verifier._profile import profile
from osmia.verifier._types import MapInfo

M = measure()
LIVE = profile(os.uname().release)
ROOMS = [room for room in M.ROOMS if room[0] not in ("lsm", "struct_ops", "lirc_mode2")]
# Kinds that a program can make without BTF, fields of map values or other calls.
EASY = {"anything", "scalar", "ctx", "const_map_ptr", "map_key", "map_value", "map_value_uninit", "mem_rd", "mem_wr",
        "mem_wr_init", "size", "size_or_zero", "alloc_size_or_zero", "stack"}  # fmt: skip
# Values of arguments that the verifier looks into, or rules beyond kinds of arguments.
SPECIAL = {
    "tail_call", "snprintf", "seq_printf", "trace_vprintk", "sk_release", "ringbuf_reserve", "get_local_storage",
    "sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp", "sock_map_update", "sock_hash_update", "set_retval",
    "copy_from_user", "copy_from_user_task", "skb_set_tunnel_opt", "store_hdr_opt",
}  # fmt: skip
SHAPES = {
    "ringbuf": (0, 0, 4096), "queue": (0, 8, 1), "stack_trace": (4, 80, 1), "hash": (4, 8, 1),
    "percpu_array": (4, 8, 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def kernel() -> object:
    return M.Kernel()


@pytest.fixture
def maps() -> Iterator[dict[str, int]]:
    """One map of each type that some helper takes."""
    fds = {}
    for name in ("hash", "percpu_array", "prog_array", "perf_event_array", "stack_trace", "cgroup_array", "devmap",
                 "sockmap", "sockhash", "queue", "ringbuf", "reuseport_sockarray"):  # fmt: skip
        key, value, entries = SHAPES.get(name, (4, 4, 1))
        fds[name] = map_create(
            type=table("MAP_TYPES")[name], key_size=key, value_size=value, max_entries=entries
        )  # fmt: skip
        assert fds[name] >= 0, name
    yield fds
    for fd in fds.values():
        os.close(fd)


def call(proto: _prototypes.Proto, fd: int, wrong: int = 0) -> bytes:
    """A call with the right arguments; number `wrong` is what it must not be."""
    code = M.insn(0xBF, 6, 1) + b"".join(M.insn(0x7A, 10, 0, -8 * n) for n in range(1, 33))
    for number, kind in enumerate(proto.args, 1):
        base = kind.split(":")[0].removesuffix("_or_null")
        if number == wrong and base in ("anything", "scalar"):
            continue
        if number == wrong:
            code += M.insn(0xB7, number, imm=-1) if base != "size" else M.insn(0xB7, number)
        elif base == "ctx":
            code += M.insn(0xBF, number, 6)
        elif base == "const_map_ptr":
            code += M.insn(0x18, number, 1, 0, fd) + M.insn(0)
        elif base.startswith(("map_key", "map_value", "mem", "stack")):
            code += M.insn(0xBF, number, 10) + M.insn(0x07, number, imm=-128)
        else:
            code += M.insn(0xB7, number, imm=8 if "size" in base else 0)
    return code + M.insn(0x85, imm=proto.id) + M.leave(1)


def callable_from(room: tuple[str, str], maps: dict[str, int]) -> Iterator[tuple[_prototypes.Proto, int]]:
    prog, attach = numbers(room)
    for helper in table("HELPERS").values():
        found = _prototypes.proto(helper, prog, attach, LIVE)
        if found is None or found.name in SPECIAL | CONFIGURED or found.conditional or found.might_sleep:
            continue
        if _prototypes.late_refusal(helper, prog, attach):
            continue
        if not {kind.split(":")[0].removesuffix("_or_null") for kind in found.args} <= EASY:
            continue
        if "const_map_ptr" not in found.args:
            yield found, 0
        for name, fd in maps.items():
            kind = table("MAP_TYPES")[name]
            if _maps_allowed.check_program(MapInfo(kind, 4, 4, 1), prog, LIVE, sleepable=room[0] == "syscall"):
                continue
            if "const_map_ptr" in found.args and not _maps_allowed.check(kind, helper, prog, LIVE, attach):
                yield found, fd
                break


@pytest.mark.parametrize("room", ROOMS, ids="/".join)
def test_calls(kernel: object, maps: dict[str, int], room: tuple[str, str]) -> None:
    exits = kernel.exits(room)  # type: ignore[attr-defined]
    if exits is None:
        pytest.skip(f"this kernel loads no {' '.join(room)} programs")
    refused, accepted = [], []
    for found, fd in callable_from(room, maps):
        code = call(found, fd).removesuffix(M.leave(1)) + exits
        errno, lines = kernel.load(room, code)  # type: ignore[attr-defined]
        if errno:
            refused.append((found.name, found.args, lines[-1:]))
        for number, kind in enumerate(found.args, 1):
            # Every register has a value at the entry or none at all: r2 to r5 are not to be read.
            if (kind in ("anything", "scalar") and number == 1) or kind in ("size_or_zero", "alloc_size_or_zero"):
                continue
            code = call(found, fd, number).removesuffix(M.leave(1)) + exits
            if kernel.load(room, code)[0] == 0:  # type: ignore[attr-defined]
                accepted.append((found.name, number, kind))
    assert (refused, accepted) == ([], [])
