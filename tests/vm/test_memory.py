"""Regions: found by address, bounded, freed; what the machine says of maps, helpers and the world."""

from __future__ import annotations

import mmap
import struct

import pytest

from osmia.errors import NotSupported, UsageError, VmError, VmFault
from osmia.syscalls.native import whole_memory
from osmia.vm._machine import Machine
from osmia.vm._memory import Memory
from osmia.vm._world import World


def test_regions_are_found_whole() -> None:
    with Memory() as memory:
        regions = [memory.allocate(size, f"r{size}") for size in (1, 100, 4096, 10_000)]
        for region in regions:
            assert memory.find(region.base, region.size) is region
            assert memory.find(region.base + region.size - 1, 1) is region
            assert memory.find(region.base, region.size + 1) is None
            assert memory.find(region.base, -1) is None


def test_addresses_are_real() -> None:
    with Memory() as memory:
        region = memory.allocate(64)
        memory.write(region.base + 8, b"osmia")
        assert bytes(whole_memory()[region.base + 8 : region.base + 13]) == b"osmia"
        assert memory.read_string(region.base + 8, 100) == b"osmia"
        assert memory.read_string(region.base + 8, 3) == b"osm"
        memory.store(region.base, 4, -2)
        assert memory.load(region.base, 4) == 0xFFFFFFFE
        assert memory.load(region.base, 2) == 0xFFFE


def test_low_memory_is_below_4_gib() -> None:
    with Memory() as memory:
        for _ in range(20):
            assert memory.allocate(100_000, low=True).end < 1 << 32


def test_adopted_memory_is_shared() -> None:
    block = mmap.mmap(-1, 4096)
    with Memory() as memory:
        region = memory.adopt(block, "shared", writable=False)
        block[:4] = b"abcd"
        assert memory.read(region.base, 4) == b"abcd"
        with pytest.raises(VmFault, match="read-only"):
            memory.write(region.base, b"x")
        with pytest.raises(VmError, match="overlaps"):
            memory.adopt(memoryview(block)[100:200])


def test_freed_memory_is_gone() -> None:
    with Memory() as memory:
        region = memory.allocate(64, "gone")
        base = region.base
        memory.free(region)
        memory.free(region)
        assert region.size == 0
        with pytest.raises(VmFault):
            memory.read(base, 1)
    with pytest.raises(VmFault):
        memory.read(base, 1)


def test_the_native_table_follows() -> None:
    with Memory() as memory:
        first = memory.allocate(64)
        address = memory.native_table()
        second = memory.allocate(32, writable=False)
        rows = _table(address)
        assert sorted(rows) == sorted([(first.base, first.end, 1), (second.base, second.end, 0)])
        assert rows == sorted(rows)
        memory.free(first)
        assert _table(address) == [(second.base, second.end, 0)]


def _table(address: int) -> list[tuple[int, ...]]:
    view = whole_memory()
    (count,) = struct.unpack_from("<Q", view, address)
    return [struct.unpack_from("<QQQ", view, address + 16 + 24 * i) for i in range(count)]


@pytest.mark.parametrize(("address", "size", "why"), [(0, 8, "null pointer"), (1 << 62, 8, "no memory")])
def test_faults_say_why(address: int, size: int, why: str) -> None:
    with Memory() as memory, pytest.raises(VmFault, match=why) as caught:
        memory.read(address, size)
    assert (caught.value.kind, caught.value.address, caught.value.size) == ("read", address, size)


def test_a_closed_machine_does_not_run() -> None:
    machine = Machine()
    machine.close()
    machine.close()
    with pytest.raises(VmError, match="closed"):
        _ = machine.stack_top


def test_mocks_by_name_and_number() -> None:
    with Machine(helpers={"bpf_ktime_get_ns": 7, 14: lambda m, *_: 8}) as machine:
        assert machine.helper(5)(machine, 0, 0, 0, 0, 0) == 7
        assert machine.helper(14)(machine, 0, 0, 0, 0, 0) == 8
        assert machine.is_mocked(5)
        assert not machine.is_mocked(1)
        with pytest.raises(UsageError, match="did you mean 'ktime_get_ns'"):
            machine.mock("ktime_get_n", 1)
        with pytest.raises(NotSupported, match="number 99999"):
            machine.helper(99999)


def test_the_world_can_be_set() -> None:
    world = World(cpus=3)
    assert world.is_live
    assert world.cpus == 3
    before = world.monotonic()
    world.advance(1000)
    assert not world.is_live
    assert world.monotonic() >= before + 1000
    stopped = world.monotonic()
    assert world.monotonic() == stopped
    world.boot_offset = 5
    assert world.boottime() == stopped + 5
    world.set_task(pid=9, comm="a name that is much too long")
    assert (world.pid, world.tgid, world.comm) == (9, 9, b"a name that is ")
    world.random = lambda: 1 << 40 | 3
    assert world.random32() == 3


def test_no_region_touches_another() -> None:
    """Past its end there is nothing, even where the system places mappings side by side."""
    with Memory() as memory:
        for region in [memory.allocate(4096, f"page {i}") for i in range(64)]:
            assert memory.find(region.end, 1) is None
            assert memory.find(region.base - 1, 1) is None
