"""Map rules against the running kernel: what it creates, and which helper takes which map."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from _tables import measure, numbers

from osmia.isa._tables import table
from osmia.syscalls._maps import map_create
from osmia.verifier import _map_rules, _maps_allowed, _prototypes
from osmia.verifier._profile import profile
from osmia.verifier._types import MapInfo
from osmia.verifier._versions import MAP_TYPES

M = measure()
LIVE = profile(os.uname().release)
WITH_BTF = [name for name, rule in _map_rules.RULES.items() if rule.btf]
PLAIN = [name for name in _map_rules.RULES if name not in WITH_BTF]
KEYS = (0, 1, 4, 5, 8, 12, 16, 260, 261, 512, 513)
VALUES = (0, 1, 4, 8, 12, 16, 1016, 1024, 32768, 32776)
ENTRIES = (0, 1, 3, 4096)
# Shapes that the kernel takes: key, value, entries.
SHAPES = {
    "queue": (0, 8, 1), "stack": (0, 8, 1), "bloom_filter": (0, 8, 1), "ringbuf": (0, 0, 4096), "arena": (0, 0, 1),
    "user_ringbuf": (0, 0, 4096), "lpm_trie": (8, 8, 1), "cgroup_storage": (16, 8, 0), "stack_trace": (4, 80, 1),
    "percpu_cgroup_storage": (16, 8, 0), "hash_of_maps": (4, 4, 1), "array_of_maps": (4, 4, 1), "prog_array": (4, 4, 1),
    "perf_event_array": (4, 4, 1), "cgroup_array": (4, 4, 1), "xskmap": (4, 4, 1),
}  # fmt: skip


@pytest.fixture
def inner() -> Iterator[int]:
    fd = map_create(type=2, key_size=4, value_size=8, max_entries=1)
    yield fd
    os.close(fd)


def create(name: str, key: int, value: int, entries: int, flags: int, inner: int) -> int:
    """The fd, or minus the errno."""
    return map_create(
        type=table("MAP_TYPES")[name], key_size=key, value_size=value, max_entries=entries, flags=flags,
        inner_map_fd=inner if name.endswith("_of_maps") else 0,
    )  # fmt: skip


def ours(name: str, key: int, value: int, entries: int, flags: int) -> int:
    """The errno that the rules give."""
    found = _map_rules.check_create(MapInfo(table("MAP_TYPES")[name], key, value, entries, flags), LIVE)
    return found[0] if found else 0


def says(fd: int) -> int:
    """The kernel's errno."""
    if fd >= 0:
        os.close(fd)
    return max(0, -fd)


@pytest.mark.parametrize("name", PLAIN)
def test_sizes(name: str, inner: int) -> None:
    needs = _map_rules.RULES[name].needs
    wrong = []
    for shape in ((k, v, n) for k in KEYS for v in VALUES for n in ENTRIES):
        kernel, table_says = says(create(name, *shape, needs, inner)), ours(name, *shape, needs)
        # Which of two errors comes first is the kernel's secret.
        if (kernel == 0) != (table_says == 0) and not (kernel == 7 and name == "cpumap"):
            wrong.append((shape, kernel, table_says))
    assert wrong == []


@pytest.mark.parametrize("name", PLAIN)
def test_flags(name: str, inner: int) -> None:
    shape, needs = SHAPES.get(name, (4, 8, 1)), _map_rules.RULES[name].needs
    wrong = []
    pairs = [1 << a | 1 << b for a in range(20) for b in range(a, 20)]
    for flags in [0, *pairs, *(needs | pair for pair in pairs)]:
        # A token or a path needs more than the flag; STACK_BUILD_ID changes what a value means; NUMA is the machine's.
        if flags & (1 << 13 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 5):
            continue
        kernel, table_says = says(create(name, *shape, flags, inner)), ours(name, *shape, flags)
        if kernel != table_says:
            wrong.append((hex(flags), kernel, table_says))
    assert wrong == []


@pytest.mark.parametrize("name", sorted(set(SHAPES) | {"hash", "sockmap", "sockhash", "devmap", "cpumap", "xskmap"}))
def test_which_helper_takes_it(name: str, inner: int) -> None:
    if MAP_TYPES[name][0] > LIVE.version or name == "arena":
        pytest.skip("needs a newer kernel" if name != "arena" else "an arena must be mapped first")
    kernel, wrong = M.Kernel(), []
    with ExitStack() as stack:
        fd = create(name, *SHAPES.get(name, (4, 8, 1)), _map_rules.RULES[name].needs, inner)
        assert fd >= 0, os.strerror(-fd)
        stack.callback(os.close, fd)
        for helper in table("HELPERS").values():
            for room in M.ROOMS:
                prog, attach = numbers(room)
                found = _prototypes.proto(helper, prog, attach, LIVE)
                if found is None or "const_map_ptr" not in found.args:
                    continue
                errno, lines = kernel.load(room, call(found, fd))
                refused = any("cannot pass map_type" in line for line in lines)
                known = _maps_allowed.check(table("MAP_TYPES")[name], helper, prog, LIVE, attach)
                # Many are refused for another argument before the map is looked at.
                if (refused and not known) or (known and not errno):
                    wrong.append((found.name, room, known, lines[-1:]))
    assert wrong == []


def call(proto: _prototypes.Proto, fd: int) -> bytes:
    """A call with arguments as good as can be had without BTF."""
    code = M.insn(0xBF, 6, 1) + b"".join(M.insn(0x7A, 10, 0, -8 * n) for n in range(1, 17))
    for number, kind in enumerate(proto.args, 1):
        if kind.startswith("ctx"):
            code += M.insn(0xBF, number, 6)
        elif kind == "const_map_ptr":
            code += M.insn(0x18, number, 1, 0, fd) + M.insn(0)
        elif kind.startswith(("map_key", "map_value", "mem", "stack")):
            code += M.insn(0xBF, number, 10) + M.insn(0x07, number, imm=-128)
        else:
            code += M.insn(0xB7, number, imm=8 if "size" in kind else 0)
    return code + M.insn(0x85, imm=proto.id) + M.leave(1)
