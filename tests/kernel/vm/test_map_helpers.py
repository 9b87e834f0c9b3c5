"""Programs that work on maps find in user space what they find in the kernel: results of helpers, values behind
pointers that are older than an update, contents afterwards."""

from __future__ import annotations

import os
from random import Random

import pytest
from kernel.vm.map_pairs import KernelMap, kernel_create
from kernel.vm.twin_runs import MAP, XDP, in_kernel, in_vm, results_shape, words, wrap

from osmia.isa.map_types import (
    ARRAY,
    BLOOM_FILTER,
    HASH,
    LPM_TRIE,
    LRU_HASH,
    PERCPU_ARRAY,
    PERCPU_HASH,
    QUEUE,
    RINGBUF,
    STACK,
)
from osmia.vm._map_base import NO_PREALLOC, Shape

SHAPES = {
    "array": Shape(ARRAY, 4, 16, 3),
    "percpu_array": Shape(PERCPU_ARRAY, 4, 16, 3),
    "hash": Shape(HASH, 8, 16, 3),
    "hash-no_prealloc": Shape(HASH, 8, 16, 3, NO_PREALLOC),
    "percpu_hash": Shape(PERCPU_HASH, 8, 16, 3),
    "lru_hash": Shape(LRU_HASH, 8, 16, 100),
    "lpm_trie": Shape(LPM_TRIE, 8, 16, 3, NO_PREALLOC),
}


def _key(random: Random, shape: Shape) -> str:
    """A key of 4 or 8 bytes at r10 - 16."""
    if shape.type == LPM_TRIE:
        low, high = random.choice((0, 1, 8, 32, 33)), random.choice((0, 1, 128))
    else:
        low, high = random.randrange(5), 0
    return f"*(u32 *)(r10 - 16) = {low}\n*(u32 *)(r10 - 12) = {high}\nr2 = r10\nr2 += -16"


def _value(random: Random, at: str = "r10 - 64") -> str:
    base, _, offset = at.partition(" - ")
    return (
        f"r3 = {random.getrandbits(31)}\n*(u64 *)({base} - {offset}) = r3\n"
        f"r3 = {random.getrandbits(31)}\n*(u64 *)({base} - {int(offset) - 8}) = r3\nr3 = r10\nr3 += -{offset}"
    )


def _step(random: Random, shape: Shape, number: int) -> str:
    key = _key(random, shape)
    load = f"r1 = {MAP + 1:#x} ll"
    what = random.choice(("lookup", "write", "update", "update", "update", "delete", "old"))
    if what == "update":
        flags = random.choice((0, 0, 0, 1, 2, 3, 4, 8))
        return f"{key}\n{_value(random)}\n{load}\nr4 = {flags}\ncall bpf_map_update_elem#2\nsave"
    if what == "delete":
        return f"{key}\n{load}\ncall bpf_map_delete_elem#3\nsave"
    absent = f"absent{number}"
    head = f"{key}\n{load}\ncall bpf_map_lookup_elem#1\nif r0 == 0 goto {absent}\n"
    if what == "lookup":
        return f"{head}r0 = *(u64 *)(r0 + 8)\n{absent}:\nsave"
    if what == "write":
        return f"{head}*(u64 *)(r0 + 8) = {random.getrandbits(30)}\nr0 = 1\n{absent}:\nsave"
    # The value behind a pointer that was taken before the element was updated or deleted
    if shape.type == LRU_HASH:
        return f"{head}r0 = *(u64 *)(r0 + 0)\n{absent}:\nsave"
    then = random.choice(("bpf_map_update_elem#2", "bpf_map_delete_elem#3"))
    again = f"r2 = r10\nr2 += -16\n{_value(random)}\n{load}\nr4 = 0\ncall {then}"
    return f"{head}r8 = r0\n{again}\nr0 = *(u64 *)(r8 + 0)\n{absent}:\nsave"


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("seed", range(9))
def test_random_programs(name: str, seed: int) -> None:
    engine = ("interpreter", "jit", "checked")[seed % 3]
    shape = SHAPES[name]
    random = Random(f"{name} {seed}")
    text = wrap([_step(random, shape, i) for i in range(20)])
    shapes = [results_shape(), shape]
    kernel, vm = in_kernel(XDP, text, shapes, bytes(64)), in_vm(XDP, text, shapes, bytes(64), engine=engine)
    assert words(vm.results) == words(kernel.results), text


@pytest.mark.parametrize("type", [QUEUE, STACK])
@pytest.mark.parametrize("seed", range(4))
def test_queues(type: int, seed: int) -> None:
    random = Random(seed)
    steps = []
    for _ in range(25):
        what = random.choice(("push", "push", "push", "pop", "peek"))
        place = f"r2 = r10\nr2 += -64\nr1 = {MAP + 1:#x} ll"
        fill = f"r3 = {random.getrandbits(31)}\n*(u64 *)(r10 - 64) = r3"
        if what == "push":
            steps.append(f"{fill}\n{place}\nr3 = {random.choice((0, 0, 2, 1, 4))}\ncall bpf_map_push_elem#87\nsave")
        else:
            call = {"pop": "bpf_map_pop_elem#88", "peek": "bpf_map_peek_elem#89"}[what]
            steps.append(f"{fill}\n{place}\ncall {call}\nsave\nr0 = *(u64 *)(r10 - 64)\nsave")
    text = wrap(steps)
    shapes = [results_shape(), Shape(type, 0, 8, 4)]
    kernel, vm = in_kernel(XDP, text, shapes, bytes(64)), in_vm(XDP, text, shapes, bytes(64))
    assert words(vm.results) == words(kernel.results), text


def test_bloom_filter() -> None:
    steps = []
    for value, flags in ((5, 0), (6, 1), (7, 0)):
        steps.append(
            f"r3 = {value}\n*(u64 *)(r10 - 64) = r3\nr2 = r10\nr2 += -64\nr1 = {MAP + 1:#x} ll\nr3 = {flags}\n"
            "call bpf_map_push_elem#87\nsave"
        )
    for value in (5, 7):
        steps.append(
            f"r3 = {value}\n*(u64 *)(r10 - 64) = r3\nr2 = r10\nr2 += -64\nr1 = {MAP + 1:#x} ll\n"
            "call bpf_map_peek_elem#89\nsave"
        )
    text = wrap(steps)
    shapes = [results_shape(), Shape(BLOOM_FILTER, 0, 8, 100)]
    kernel, vm = in_kernel(XDP, text, shapes, bytes(64)), in_vm(XDP, text, shapes, bytes(64))
    assert words(vm.results) == words(kernel.results)


def _ring_step(random: Random, number: int) -> str:
    ring = f"r1 = {MAP + 1:#x} ll"
    what = random.choice(("output", "output", "reserve", "query"))
    if what == "query":
        return f"{ring}\nr2 = {random.randrange(6)}\ncall bpf_ringbuf_query#134\nsave"
    if what == "output":
        size, flags = random.choice((1, 8, 17, 64)), random.choice((0, 0, 1, 2, 4))
        return f"{ring}\nr2 = r10\nr2 += -64\nr3 = {size}\nr4 = {flags}\ncall bpf_ringbuf_output#130\nsave"
    size, end = random.choice((8, 100, 2000)), random.choice(("submit#132", "discard#133"))
    store = f"*(u64 *)(r0 + 0) = {random.getrandbits(30)}"
    return (
        f"{ring}\nr2 = {size}\nr3 = 0\ncall bpf_ringbuf_reserve#131\nif r0 == 0 goto none{number}\n{store}\n"
        f"r1 = r0\nr2 = 0\ncall bpf_ringbuf_{end}\nr0 = 1\nnone{number}:\nsave"
    )


@pytest.mark.parametrize("seed", range(8))
def test_ring_buffer(seed: int) -> None:
    random = Random(seed)
    clear = "\n".join(f"*(u64 *)(r10 - {64 - 8 * i}) = {i}" for i in range(8))
    text = wrap([clear, *(_ring_step(random, i) for i in range(30))])
    shapes = [results_shape(), Shape(RINGBUF, 0, 0, 4096)]
    kernel, vm = in_kernel(XDP, text, shapes, bytes(64)), in_vm(XDP, text, shapes, bytes(64))
    assert words(vm.results) == words(kernel.results), text


def test_prog_array_and_maps_of_maps_from_user_space() -> None:
    """Commands that fail before any fd matters."""
    from osmia.vm._machine import Machine
    from osmia.vm._map import create_map

    cases = [Shape(3, 4, 4, 3), Shape(4, 4, 4, 3), Shape(8, 4, 4, 3), Shape(7, 4, 80, 3)]
    for shape in cases:
        fd = kernel_create(shape)
        assert fd >= 0
        try:
            kernel = KernelMap(fd, shape, shape.value_size)
            with Machine() as machine, create_map(machine, shape) as made:
                for key in (bytes(4), b"\2\0\0\0", b"\3\0\0\0", b"\xff" * 4):
                    assert made.sys_lookup(key) == kernel.lookup(key), (shape.type, key)
                    assert made.sys_delete(key) == kernel.delete(key), (shape.type, key)
                    assert made.sys_next(key) == kernel.next(key), (shape.type, key)
                    assert made.sys_take(key) == kernel.take(key), (shape.type, key)
                    bad = b"\xff" * shape.value_size  # no fd
                    assert made.sys_update(key, bad) == kernel.update(key, bad), (shape.type, key)
                    assert made.sys_update(key, bad, 1) == kernel.update(key, bad, 1), (shape.type, key)
        finally:
            os.close(fd)
