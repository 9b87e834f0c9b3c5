"""Helpers with arbitrary arguments, as unverified programs may call them: a result or one of our own errors, in bounded
time and memory."""

from __future__ import annotations

import resource
import signal
from random import Random
from types import FrameType

import pytest

from osmia.errors import OsmiaError
from osmia.isa import helper_name
from osmia.isa import map_types as types
from osmia.vm._context_packet import PacketContext, SkbContext, XdpContext
from osmia.vm._helpers import HELPERS, clean_up
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import NO_PREALLOC, Shape
from osmia.vm._world import World

_SHAPES = (
    Shape(types.HASH, 8, 16, 8), Shape(types.ARRAY, 4, 16, 8), Shape(types.PERCPU_HASH, 4, 8, 8),
    Shape(types.LRU_HASH, 4, 8, 4), Shape(types.LPM_TRIE, 8, 8, 4, NO_PREALLOC), Shape(types.QUEUE, 0, 8, 4),
    Shape(types.BLOOM_FILTER, 0, 8, 4), Shape(types.RINGBUF, 0, 0, 4096), Shape(types.USER_RINGBUF, 0, 0, 4096),
    Shape(types.PERF_EVENT_ARRAY, 4, 4, 0), Shape(types.PROG_ARRAY, 4, 4, 4), Shape(types.STACK_TRACE, 4, 80, 4),
    Shape(types.TASK_STORAGE, 4, 8, 0, NO_PREALLOC), Shape(types.CGROUP_STORAGE, 8, 8, 0),
    Shape(types.DEVMAP, 4, 4, 4), Shape(types.SOCKMAP, 4, 4, 4), Shape(types.SOCKHASH, 4, 4, 4),
    Shape(types.CGROUP_ARRAY, 4, 4, 4), Shape(types.ARRAY_OF_MAPS, 4, 4, 4), Shape(types.HASH_OF_MAPS, 4, 4, 4),
    Shape(types.XSKMAP, 4, 4, 4), Shape(types.CPUMAP, 4, 4, 4), Shape(types.REUSEPORT_SOCKARRAY, 4, 8, 4),
)  # fmt: skip
_NUMBERS = (0, 1, 2, 4, 8, 12, 16, 64, 255, 4096, 0xFFFF, 0x10000, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32,
            (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 8)  # fmt: skip


class Fuzzed:
    """A machine with a map of each kind, memory, a packet and a function."""

    def __init__(self, machine: Machine, random: Random) -> None:
        self.machine = machine
        self.random = random
        self.maps = [create_map(machine, shape) for shape in _SHAPES]
        self.work = machine.memory.allocate(4096, "work")
        self.work.view[:] = random.randbytes(4096)
        self.packet: PacketContext = random.choice((XdpContext, SkbContext))(machine, random.randbytes(80))
        machine.functions[0xF00] = lambda *arguments: random.choice((0, 0, 1))
        machine.data["stack"] = lambda user: random.choice((None, [1, 2, 3]))
        machine.world.random = lambda: 5

    def argument(self) -> int:
        random = self.random
        kind = random.randrange(6)
        if kind == 0:
            return random.choice(self.maps).handle
        if kind == 1:
            return self.work.base + random.choice((0, 8, 100, 4080, 4095, 4096))
        if kind == 2:
            return random.choice((self.packet.address, 0xF00, self.packet.data, random.getrandbits(64)))
        if kind == 3:
            return random.choice(self.maps).lookup_address(bytes(self.maps[0].key_size)[: self.maps[0].key_size])
        return random.choice(_NUMBERS)

    def run(self, calls: int) -> None:
        numbers = list(HELPERS)
        for _ in range(calls):
            number = self.random.choice(numbers)
            helper = HELPERS[number]
            arguments = [self.argument() for _ in range(5)]
            if helper_name(number) == "loop":
                arguments[0] %= 1000
            try:
                r0 = helper(self.machine, *arguments)
            except OsmiaError:
                continue
            assert isinstance(r0, int) and -(1 << 63) <= r0 < 1 << 64, (helper_name(number), arguments, r0)
        clean_up(self.machine)


@pytest.fixture
def _bounded() -> object:
    """At most 60 seconds."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("a helper does not end")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


@pytest.mark.parametrize("seed", range(10))
def test_arbitrary_arguments(seed: int, _bounded: object) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Machine(world=World(cpus=2), memory_limit=64 << 20) as machine:
        Fuzzed(machine, Random(seed)).run(2000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 128 << 10, f"{grown} KiB more memory"
