"""Maps of the user-space target do what the kernel's do: same results, same errno, same content."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from kernel.vm.map_pairs import KernelMap, Twin, content, kernel_create, keyless, pair, vm_create

from osmia.isa.map_types import ARRAY, HASH, LPM_TRIE, PERCPU_ARRAY, PERCPU_HASH, QUEUE, STACK
from osmia.syscalls import possible_cpus
from osmia.vm._machine import Machine
from osmia.vm._map_base import NO_PREALLOC, RDONLY, WRONLY, Shape
from osmia.vm._world import World

SHAPES = {
    "array": Shape(ARRAY, 4, 12, 7),
    "array-1": Shape(ARRAY, 4, 1, 1),
    "percpu_array": Shape(PERCPU_ARRAY, 4, 12, 5),
    "hash": Shape(HASH, 8, 20, 6),
    "hash-odd": Shape(HASH, 5, 3, 9),
    "hash-no_prealloc": Shape(HASH, 4, 8, 6, NO_PREALLOC),
    "percpu_hash": Shape(PERCPU_HASH, 4, 5, 6),
    "percpu_hash-no_prealloc": Shape(PERCPU_HASH, 16, 8, 4, NO_PREALLOC),
    "hash-rdonly": Shape(HASH, 4, 8, 4, RDONLY),
    "hash-wronly": Shape(HASH, 4, 8, 4, WRONLY),
    "lpm_trie": Shape(LPM_TRIE, 8, 8, 6, NO_PREALLOC),
    "lpm_trie-odd": Shape(LPM_TRIE, 7, 3, 9, NO_PREALLOC),
    "queue": Shape(QUEUE, 0, 12, 5),
    "stack": Shape(STACK, 0, 12, 5),
}


def _key(random: Random, shape: Shape) -> bytes:
    if keyless(shape):
        return b""
    if shape.type == LPM_TRIE:
        bits = (shape.key_size - 4) * 8
        length = random.choice((0, 1, 8, 9, 16, bits, bits, bits + 1))
        return length.to_bytes(4, "little") + bytes(random.choice((0, 1, 128, 255)) for _ in range(shape.key_size - 4))
    # Few keys, so that they meet again; array indexes beyond the end too.
    return random.randrange(shape.max_entries + 3).to_bytes(shape.key_size, "little")


def _step(random: Random, shape: Shape, row: int) -> tuple[str, tuple[object, ...]]:
    what = random.choice(("update", "update", "update", "lookup", "lookup", "delete", "take", "next"))
    key = _key(random, shape)
    if what == "update":
        return what, (key, _value(random, shape, row), random.choice((0, 0, 0, 1, 2, 3, 4, 8)))
    if what in ("lookup", "take"):
        return what, (key, random.choice((0, 0, 0, 0, 1, 4)))
    return what, (key,)


def _value(random: Random, shape: Shape, row: int) -> bytes:
    """Random bytes; the kernel keeps what pads a CPU's copy, or not: it is zero."""
    if shape.type not in (PERCPU_ARRAY, PERCPU_HASH):
        return random.randbytes(row)
    size = (shape.value_size + 7) & ~7
    return b"".join(random.randbytes(shape.value_size).ljust(size, b"\0") for _ in range(possible_cpus()))


def _agree(kernel: KernelMap, twin: Twin, what: str, arguments: tuple[object, ...], shape: Shape) -> None:
    theirs, ours = getattr(kernel, what)(*arguments), getattr(twin, what)(*arguments)
    if what == "next" and isinstance(theirs, bytes) and shape.type not in (ARRAY, PERCPU_ARRAY):
        return  # the order is not the same: whole walks are compared
    if what == "next" and shape.type not in (ARRAY, PERCPU_ARRAY, QUEUE, STACK):
        return
    assert ours == theirs, (what, arguments)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_random_commands(name: str, seed: int) -> None:
    shape = SHAPES[name]
    random = Random(f"{name} {seed}")
    with pair(shape) as (kernel, twin):
        for step in range(400):
            what, arguments = _step(random, shape, kernel.row)
            _agree(kernel, twin, what, arguments, shape)
            if step % 40 == 0 and not keyless(shape) and not shape.flags & WRONLY:
                assert content(twin) == content(kernel)


@pytest.mark.parametrize("name", ["array", "hash", "percpu_hash", "queue"])
def test_frozen(name: str) -> None:
    shape = SHAPES[name]
    with pair(shape) as (kernel, twin):
        key = b"" if keyless(shape) else bytes(shape.key_size)
        value = bytes(kernel.row)
        for what, arguments in (
            ("update", (key, value)),
            ("freeze", ()),
            ("freeze", ()),
            ("update", (key, value)),
            ("delete", (key,)),
            ("take", (key,)),
            ("lookup", (key,)),
        ):
            _agree(kernel, twin, what, arguments, shape)


_SIZES = (0, 1, 3, 4, 5, 7, 8, 12, 16, 24, 64, 260, 261, 4096, 32768, 32769, 1 << 22)


# An inner map, a cgroup program, BTF of key and value
_NEED_MORE = (12, 13, 19, 21, 24, 26, 28, 29)


@pytest.mark.parametrize("type", [t for t in range(1, 32) if t not in _NEED_MORE])
def test_create(type: int) -> None:
    """Random shapes are refused with the same errno, or created."""
    random = Random(type)
    ring = type in (22, 23, 27, 30, 31)
    cpus = int(Path("/sys/devices/system/cpu/kernel_max").read_text()) + 1
    seen: dict[int, int] = {}
    with Machine(world=World(cpus=possible_cpus()), memory_limit=1 << 34) as machine:
        for _ in range(300):
            shape = Shape(
                type,
                random.choice((0, 0 if ring else 4, 4, 4, 8, random.choice(_SIZES))),
                random.choice((0, 0 if ring else 4, 8, 8, random.choice(_SIZES))),
                random.choice((0, 1, 1, 5, 4096, 4097, 8192)),
                random.choice((0, 0, 0, 1, 1, 1 << random.randrange(14), random.getrandbits(13) & ~4)),
                extra=random.choice((0, 0, 0, 0, 1, 15, 16)),
            )
            if shape.type == 16 and shape.max_entries > cpus:
                continue  # the kernel's limit is how many CPUs it was built for
            if shape.flags & 4:
                continue  # BPF_F_NUMA_NODE: asks for node 0
            theirs = kernel_create(shape)
            if theirs >= 0:
                os.close(theirs)
                theirs = 0
            made = vm_create(machine, shape)
            ours = made if isinstance(made, int) else 0
            if not isinstance(made, int):
                made.close()
            text = (shape.key_size, shape.value_size, shape.max_entries, hex(shape.flags), shape.extra)
            assert ours == theirs, text
            seen[theirs] = seen.get(theirs, 0) + 1
    assert 0 in seen and len(seen) > 1


@pytest.mark.parametrize("type", [9, 10])
def test_lru(type: int) -> None:
    """Which elements go is not the same; that some go instead of an error is, and that the newest one stays."""
    shape = Shape(type, 4, 8, 512)
    with pair(shape) as (kernel, twin):
        for side in (kernel, twin):
            for i in range(2000):
                key = i.to_bytes(4, "little")
                assert side.update(key, bytes(kernel.row)) == 0
                assert side.lookup(key) == bytes(kernel.row)
            assert 0 < len(content(side)) <= 512
            assert side.update(key, bytes(kernel.row), 1) == -17
            assert side.update(b"none", bytes(kernel.row), 2) == -2
