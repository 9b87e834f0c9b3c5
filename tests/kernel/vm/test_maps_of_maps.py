"""Maps of maps from user space: which inner maps and flags are refused, with which errno."""

from __future__ import annotations

import os
from contextlib import ExitStack
from random import Random

import pytest
from kernel.vm.map_pairs import KernelMap, kernel_create

from osmia.isa.map_types import ARRAY, ARRAY_OF_MAPS, HASH, HASH_OF_MAPS
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import INNER_MAP, Shape

_INNER = (
    Shape(ARRAY, 4, 8, 2), Shape(ARRAY, 4, 8, 2), Shape(ARRAY, 4, 8, 3), Shape(ARRAY, 4, 4, 2), Shape(HASH, 4, 8, 2),
    Shape(HASH, 4, 8, 5), Shape(HASH, 4, 8, 2, 1), Shape(ARRAY, 4, 8, 2, INNER_MAP), Shape(ARRAY, 4, 8, 9, INNER_MAP),
)  # fmt: skip


@pytest.mark.parametrize("type", [ARRAY_OF_MAPS, HASH_OF_MAPS])
@pytest.mark.parametrize("template", [0, 4, 7])
def test_agree(type: int, template: int) -> None:
    random = Random(type * 10 + template)
    shape = Shape(type, 4, 4, 3, inner=_INNER[template])
    with ExitStack() as stack:
        fds = [kernel_create(inner) for inner in _INNER]
        outer = kernel_create(shape, inner_fd=fds[template])
        for fd in (*fds, outer):
            assert fd >= 0
            stack.callback(os.close, fd)
        kernel = KernelMap(outer, shape, 4)
        machine = stack.enter_context(Machine())
        inner = [create_map(machine, each) for each in _INNER]
        made = create_map(machine, shape)
        for _ in range(300):
            key = random.randrange(5).to_bytes(4, "little")
            what = random.randrange(4)
            if what < 2:
                which, flags = random.randrange(len(_INNER)), random.choice((0, 0, 0, 1, 2, 3, 4))
                theirs = kernel.update(key, fds[which].to_bytes(4, "little"), flags)
                ours = made.sys_update(key, inner[which].id.to_bytes(4, "little"), flags)
                assert ours == theirs, (which, flags, key)
            elif what == 2:
                assert made.sys_delete(key) == kernel.delete(key), key
            else:
                # The kernel gives ids of its own.
                theirs, ours = kernel.lookup(key), made.sys_lookup(key)
                assert isinstance(ours, bytes) == isinstance(theirs, bytes)
                assert isinstance(ours, bytes) or ours == theirs
            bad = b"\xff\xff\xff\x7f"
            assert made.sys_update(key, bad) == kernel.update(key, bad)
