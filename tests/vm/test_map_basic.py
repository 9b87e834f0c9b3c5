"""Maps as programs and users see them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from osmia.errors import MapError
from osmia.isa.map_types import (
    ARRAY,
    BLOOM_FILTER,
    HASH,
    LRU_HASH,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    PERCPU_HASH,
    QUEUE,
    RINGBUF,
)
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import NO_PREALLOC, Shape
from osmia.vm._map_hash import MULTIPLIER, HashMap, hash_words
from osmia.vm._world import World


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(world=World(cpus=4)) as made:
        yield made


def _k(i: int, size: int = 8) -> bytes:
    return i.to_bytes(size, "little")


def test_array_lies_in_memory(machine: Machine) -> None:
    made = create_map(machine, Shape(ARRAY, 4, 6, 3, name="a"))
    made.update(_k(2, 4), b"abcdef")
    address = made.lookup_address(_k(2, 4))
    assert address == made.values_base + 2 * 8  # type: ignore[attr-defined]
    assert machine.read(address, 6) == b"abcdef"
    machine.write(address, b"xyz")
    assert made.lookup(_k(2, 4)) == b"xyzdef"
    assert made.lookup_address(_k(3, 4)) == 0
    assert made.lookup(_k(3, 4)) is None


def test_percpu_rows(machine: Machine) -> None:
    for type in (PERCPU_ARRAY, PERCPU_HASH, LRU_PERCPU_HASH):
        made = create_map(machine, Shape(type, 4, 4, 3))
        for cpu in range(4):
            assert made.update_from(_k(1, 4), _k(cpu + 7, 4), 0, cpu) == 0
        row = made.lookup(_k(1, 4))
        assert row == b"".join(_k(cpu + 7) for cpu in range(4))
        assert machine.read(made.percpu_address(_k(1, 4), 3), 4) == _k(10, 4)
        assert made.percpu_address(_k(1, 4), 4) == 0
        made.update(_k(1, 4), bytes(32))
        assert machine.read(made.lookup_address(_k(1, 4), 2), 4) == bytes(4)


def test_new_percpu_element_is_zero_on_other_cpus(machine: Machine) -> None:
    made = create_map(machine, Shape(PERCPU_HASH, 4, 8, 1))
    made.update(_k(1, 4), b"\xff" * 32)
    made.delete(_k(1, 4))
    assert made.update_from(_k(2, 4), _k(5), 0, 1) == 0
    assert made.lookup(_k(2, 4)) == bytes(8) + _k(5) + bytes(16)


def _walk(machine: Machine, made: HashMap, key: bytes) -> int:
    """The look-up that the module documents, done on raw memory."""
    words = tuple(int.from_bytes(key.ljust(made.key_padded, b"\0")[i : i + 8], "little") for i in range(0, len(key), 8))
    h = made.seed
    for word in words:
        h = (h ^ word) * MULTIPLIER % (1 << 64)
        h ^= h >> 32
    view = made.storages[0].view
    base = made.storages[0].base

    def u32(address: int) -> int:
        return int.from_bytes(view[address - base : address - base + 4], "little")

    h %= 1 << 32
    at = u32(made.buckets_base + 4 * (h & (made.n_buckets - 1)))
    while 0 < at <= made.capacity:
        entry = made.data_base + (at - 1) * made.stride
        if u32(made.meta_base + 16 * (at - 1)) == h and machine.read(entry, len(key)) == key:
            return entry + made.key_padded
        at = u32(made.meta_base + 16 * (at - 1) + 4)
    return 0


@pytest.mark.parametrize("size", [4, 5, 8, 13, 16])
def test_documented_layout(machine: Machine, size: int) -> None:
    made = create_map(machine, Shape(HASH, size, 8, 50))
    assert isinstance(made, HashMap)
    for i in range(50):
        made.update(_k(i, size), _k(i * 3))
    for i in range(0, 50, 3):
        made.delete(_k(i, size))
    for i in range(60):
        assert _walk(machine, made, _k(i, size)) == made.lookup_address(_k(i, size))
    assert len(made) == 50 - 17
    assert dict(made.items()) == {_k(i, size): _k(i * 3) for i in range(50) if i % 3}


def test_tables_are_out_of_reach(machine: Machine) -> None:
    made = create_map(machine, Shape(HASH, 4, 8, 50))
    assert isinstance(made, HashMap)
    for address in (made.storages[0].base, made.buckets_base, made.meta_base, made.data_base - 8):
        assert machine.memory.find(address, 8) is None
    assert machine.memory.find(made.data_base, 8) is not None


def test_full(machine: Machine) -> None:
    for flags in (0, NO_PREALLOC):
        made = create_map(machine, Shape(HASH, 4, 8, 3, flags, "full"))
        for i in range(3):
            made.update(_k(i, 4), _k(i))
        with pytest.raises(MapError, match="it is full") as caught:
            made.update(_k(9, 4), _k(9))
        assert caught.value.errno == 7
        made.update(_k(1, 4), _k(77))
        made.delete(_k(0, 4))
        made.update(_k(9, 4), _k(9))
        assert dict(made.items()) == {_k(1, 4): _k(77), _k(2, 4): _k(2), _k(9, 4): _k(9)}


def test_update_replaces_the_element(machine: Machine) -> None:
    """Who holds the address of the old value does not see the new one."""
    made = create_map(machine, Shape(HASH, 4, 8, 3))
    made.update(_k(1, 4), _k(1))
    old = made.lookup_address(_k(1, 4))
    made.update(_k(1, 4), _k(2))
    assert machine.read(old, 8) == _k(1)
    assert made.lookup_address(_k(1, 4)) != old


def test_lru_drops_what_was_not_used(machine: Machine) -> None:
    made = create_map(machine, Shape(LRU_HASH, 4, 8, 10))
    for i in range(10):
        made.update(_k(i, 4), _k(i))
    assert made.lookup_address(_k(3, 4))
    for i in range(100, 109):
        made.update(_k(i, 4), _k(i))
    assert len(made) == 10
    assert made.lookup(_k(3, 4)) == _k(3)
    assert made.lookup(_k(108, 4)) == _k(108)


def test_hash_function_spreads() -> None:
    assert len({hash_words((i,)) & 1023 for i in range(1024)}) > 550
    assert len({hash_words((i << 32,)) & 1023 for i in range(1024)}) > 550


def test_limit_of_memory() -> None:
    with Machine(memory_limit=1 << 20) as machine, pytest.raises(MapError, match="memory limit") as caught:
        create_map(machine, Shape(HASH, 8, 8, 1 << 20))
    assert caught.value.errno == 12


def test_memory_is_given_back() -> None:
    with Machine() as machine:
        before = machine.memory.used
        for _ in range(3):
            with create_map(machine, Shape(HASH, 8, 8, 1 << 16)):
                assert machine.memory.used > before
            assert machine.memory.used == before


def test_bloom_has_no_false_negatives(machine: Machine) -> None:
    made = create_map(machine, Shape(BLOOM_FILTER, 0, 8, 200))
    for i in range(200):
        assert made.push_value(_k(i)) == 0
    assert all(made.has(_k(i)) for i in range(200))  # type: ignore[attr-defined]
    assert sum(made.has(_k(i)) for i in range(1000, 2000)) < 200  # type: ignore[attr-defined]


def test_queue_drops_the_oldest(machine: Machine) -> None:
    made = create_map(machine, Shape(QUEUE, 0, 8, 2))
    assert [made.push_value(_k(i), 2) for i in range(4)] == [0] * 4
    assert [value for _, value in made.items()] == [_k(2), _k(3)]
    assert made.pop() == _k(2)


def test_ring_layout(machine: Machine) -> None:
    ring = create_map(machine, Shape(RINGBUF, 0, 0, 4096))
    first = ring.reserve(5)  # type: ignore[attr-defined]
    second = ring.reserve(100)  # type: ignore[attr-defined]
    assert second - first == 16
    assert machine.read(first - 8, 8) == _k(5 | 1 << 31 | 3 << 32)
    machine.write(first, b"hello")
    with ring.reader() as reader:  # type: ignore[attr-defined]
        assert not reader.wait(0)
        ring.commit(first, 0)  # type: ignore[attr-defined]
        assert reader.wait(0)
        ring.commit(second, 0, discard=True)  # type: ignore[attr-defined]
        assert machine.read(first - 8, 4) == _k(5, 4)
        assert machine.read(second - 8, 4) == _k(100 | 1 << 30, 4)
        batch = reader.drain()
        assert list(batch) == [b"hello"] and batch.count == 1
        assert not reader.wait(0) and reader.pending == 0


def test_ring_wraps(machine: Machine) -> None:
    ring = create_map(machine, Shape(RINGBUF, 0, 0, 4096))
    with ring.reader() as reader:  # type: ignore[attr-defined]
        sent, got = [], []
        for i in range(300):
            data = bytes([i % 251]) * (i % 97 + 1)
            assert ring.output(data, 0) == 0  # type: ignore[attr-defined]
            sent.append(data)
            if i % 11 == 0:
                got += list(reader.drain())
        got += list(reader.drain())
    assert got == sent


def test_ring_full(machine: Machine) -> None:
    ring = create_map(machine, Shape(RINGBUF, 0, 0, 4096))
    results = [ring.output(bytes(56), 0) for _ in range(70)]  # type: ignore[attr-defined]
    assert results.count(0) == 63 and set(results) == {0, -11}


def test_a_cpu_that_does_not_exist(machine: Machine) -> None:
    for type in (PERCPU_ARRAY, PERCPU_HASH, LRU_PERCPU_HASH):
        made = create_map(machine, Shape(type, 4, 8, 2))
        made.update(_k(1, 4), bytes(32))
        assert made.update_from(_k(1, 4), b"x" * 8, 0, 4) == -22
        assert made.lookup_address(_k(1, 4), 4) == 0
        assert made.lookup(_k(1, 4)) == bytes(32)


@pytest.mark.parametrize("seed", range(5))
def test_hash_against_a_dictionary(machine: Machine, seed: int) -> None:
    from random import Random

    random = Random(seed)
    size = random.choice((1, 3, 4, 8, 20))
    made = create_map(machine, Shape(HASH, size, 8, 60, random.choice((0, NO_PREALLOC))))
    model: dict[bytes, bytes] = {}
    for _ in range(3000):
        key, value = _k(random.randrange(100), size), random.randbytes(8)
        what = random.randrange(4)
        if what == 0:
            assert (made.delete_key(key) == 0) == (model.pop(key, None) is not None)
        elif what == 1:
            address = made.lookup_address(key)
            assert (machine.read(address, 8) if address else None) == model.get(key)
        else:
            result = made.update_from(key, value)
            assert result == (0 if key in model or len(model) < 60 else -7)
            if not result:
                model[key] = value
    assert dict(made.items()) == model
