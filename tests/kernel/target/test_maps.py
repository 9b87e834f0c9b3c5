"""Maps: elements, batches, per-CPU values, clearing."""

from __future__ import annotations

import time
from struct import pack, unpack

import pytest

from osmia import syscalls
from osmia.errors import MapError
from osmia.kernel import KernelTarget, Map
from osmia.objects import MapSpec, Object
from osmia.syscalls import possible_cpus

HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LPM, QUEUE, STACK = 1, 2, 5, 6, 9, 11, 22, 23


@pytest.fixture
def make():
    loaded = []

    def create(type: int, key: int = 4, value: int = 8, entries: int = 100, flags: int = 0) -> Map:
        loaded.append(KernelTarget().load(Object((), (MapSpec("m", type, key, value, entries, flags),))))
        return loaded[-1].maps["m"]

    yield create
    for one in loaded:
        one.close()


def test_elements_of_a_hash(make):
    m = make(HASH)
    assert m.lookup(b"aaaa") is None
    m.update(b"aaaa", b"12345678")
    assert m.lookup(b"aaaa") == b"12345678"
    with pytest.raises(MapError) as caught:
        m.update(b"aaaa", bytes(8), 1)  # only if new
    assert caught.value.errno == 17
    assert m.delete(b"aaaa") is True
    assert m.delete(b"aaaa") is False
    m.update(b"bbbb", b"87654321")
    assert m.pop(b"bbbb") == b"87654321"
    assert m.pop(b"bbbb") is None


def test_wrong_sizes_never_reach_the_kernel(make):
    m = make(HASH)
    for call in (lambda: m.lookup(b"abc"), lambda: m.update(b"abcd", b"x"), lambda: m.delete(b"")):
        with pytest.raises(MapError, match="wanted"):
            call()


def test_a_full_map_says_so(make):
    m = make(HASH, entries=3)
    with pytest.raises(MapError, match="full \\(3 entries\\)") as caught:
        for i in range(4):
            m.update(pack("<I", i), bytes(8))
    assert caught.value.errno == 7


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("type", [HASH, LRU_HASH, PERCPU_HASH])
def test_all_items_with_and_without_batches(make, type, batch):
    m = make(type, entries=2000)
    m._batch = batch
    cpus = possible_cpus() if type == PERCPU_HASH else 1
    wanted = {pack("<I", i): b"".join(pack("<Q", i * 10 + c) for c in range(cpus)) for i in range(1000)}
    for key, value in wanted.items():
        m.update(key, value)
    assert dict(m.items()) == wanted
    assert sorted(m.keys()) == sorted(wanted)
    assert len(m) == 1000
    m.zero()
    assert set(dict(m.items()).values()) == {bytes(8 * cpus)}
    assert len(dict(m.items_and_delete())) == 1000
    assert len(m) == 0


@pytest.mark.parametrize("type", [ARRAY, PERCPU_ARRAY])
def test_arrays(make, type):
    m = make(type, entries=10, value=4)
    assert m.row_size == (4 if type == ARRAY else 8 * possible_cpus())
    m.update(pack("<I", 3), b"\1" * m.row_size)
    items = dict(m.items())
    assert len(items) == len(m) == 10
    assert items[pack("<I", 3)][:4] == b"\1\1\1\1"
    m.clear()
    assert not any(map(any, dict(m.items()).values()))


def test_clear_empties_every_kind(make):
    for type, key, flags in ((HASH, 4, 0), (LRU_HASH, 4, 0), (LPM, 8, 1)):
        m = make(type, key, flags=flags)
        for i in range(50):
            m.update(pack("<II", 32, i)[-key:] if key == 4 else pack("<II", 32, i), bytes(8))
        assert len(m) == 50
        m.clear()
        assert len(m) == 0
    q = make(QUEUE, 0)
    for i in range(5):
        q.update(b"", pack("<Q", i))
    assert unpack("<Q", q.pop()) == (0,)
    q.clear()
    assert q.pop() is None


def test_values_of_all_cpus_and_slots(make):
    m = make(PERCPU_HASH, value=5)
    assert (m.per_cpu, m.cpus, m.slot_size) == (True, possible_cpus(), 8)
    m.update(b"aaaa", b"".join(bytes([c]) * 5 + bytes(3) for c in range(m.cpus)))
    value = m.lookup(b"aaaa")
    assert [value[c * 8 : c * 8 + 5] for c in range(m.cpus)] == [bytes([c]) * 5 for c in range(m.cpus)]


def test_batches_make_large_maps_fast(make):
    """100,000 keys take some 50 ms; emulated guests are slower, so it is compared with one call per element."""
    m = make(HASH, 8, entries=200_000)
    keys = b"".join(pack("<Q", i) for i in range(100_000))
    assert syscalls.map_write_batch(m.fd, syscalls.UPDATE_BATCH, keys, keys, 100_000) == (0, 100_000)
    start = time.perf_counter()
    items = dict(m.items())
    batched = time.perf_counter() - start
    assert len(items) == 100_000
    assert all(key == value for key, value in items.items())
    start = time.perf_counter()
    for i in range(10_000):
        m.lookup(pack("<Q", i))
    assert batched < (time.perf_counter() - start) * 10 / 2


def test_buckets_larger_than_the_room_are_read(make):
    """A batch with room for less than a bucket grows (ENOSPC)."""
    m = make(HASH, entries=4)  # 4 buckets
    for i in range(4):
        m.update(pack("<I", i), bytes(8))
    batch = syscalls.MapBatch(m.fd, 4, 8, 1)
    found = 0
    while True:
        result = batch.read()
        assert result >= 0
        found += batch.count
        if result == 1:
            break
    assert found == 4


def test_bad_maps_are_explained():
    with pytest.raises(MapError, match=r"type 27.*entries") as caught:
        KernelTarget().load(Object((), (MapSpec("ring", 27, 0, 0, 1000),)))
    assert "power of two" in caught.value.hint
