"""Programs that no verifier saw: what helpers keep for them is bounded by the memory limit, compiling by time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from _vm_run import ENGINES, execute

from osmia.errors import UsageError, VmError, VmFault
from osmia.isa import assemble
from osmia.isa.map_types import (
    ARRAY,
    ARRAY_OF_MAPS,
    CGRP_STORAGE,
    HASH,
    LPM_TRIE,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    PERCPU_HASH,
    PROG_ARRAY,
    RINGBUF,
)
from osmia.objects import MapSpec, Object
from osmia.vm import Quota, VmTarget
from osmia.vm._code import Code
from osmia.vm._helpers import HELPERS
from osmia.vm._helpers_timer import advance
from osmia.vm._interpreter import run
from osmia.vm._jit import compile
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import NO_PREALLOC, RDONLY_PROG, Shape
from osmia.vm._memory import Memory
from osmia.vm._world import World

LIMIT = 4 << 20
engines = pytest.mark.parametrize("engine", ENGINES)
bounded = pytest.mark.parametrize("engine", ENGINES[:2])


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(memory_limit=LIMIT, world=World(cpus=2)) as made:
        yield made


def call(machine: Machine, name: str, *arguments: int) -> int:
    from osmia.isa import HELPERS as NUMBERS

    return HELPERS[NUMBERS[name]](machine, *arguments, *[0] * (5 - len(arguments)))


@bounded
def test_lines_that_nobody_reads(engine: str, machine: Machine) -> None:
    text = machine.memory.allocate(8)
    text.view[:8] = b"%01000u\0"
    program = "r6 = r1\nl:\nr1 = r6\nr2 = 8\nr3 = 1\ncall bpf_trace_printk\ngoto l"
    with pytest.raises(VmFault, match="lines wait"):
        execute(program, engine, machine=machine, r1=text.base, fuel=100_000)
    assert sum(map(len, machine.output)) <= LIMIT
    machine.output.clear()
    with pytest.raises(VmFault, match="lines wait"):
        execute(program, engine, machine=machine, r1=text.base, fuel=100_000)


def test_what_helpers_keep(machine: Machine) -> None:
    work = machine.memory.allocate(1 << 20)
    for _ in range(8):
        call(machine, "seq_write", 0, work.base, 1 << 20)
    assert len(machine.data["seq"]) <= LIMIT
    results = {call(machine, "setsockopt", 0, 1, name, work.base, 1024) for name in range(5000)}
    assert results == {0, -12}
    assert call(machine, "setsockopt", 0, 1, 1, work.base, 1 << 20) == -22
    assert sum(map(len, machine.data["sockopts"].values())) <= LIMIT


def test_timers_anywhere(machine: Machine) -> None:
    """Only elements of the map have timers; they count as memory, and going on does not take the square of them."""
    made = create_map(machine, Shape(ARRAY, 4, 1 << 20, 2, name="a"))
    base, other = made.lookup_address(bytes(4)), machine.memory.allocate(64)
    for address in (other.base, base + 1, base - 8, base + (2 << 20)):
        assert call(machine, "timer_init", address, made.handle, 1) == -22
    results = [call(machine, "timer_init", base + 16 * n, made.handle, 1) for n in range(10_000)]
    assert set(results) == {0, -12}
    good = results.index(-12)
    assert good * 100 < LIMIT
    fired = []
    machine.functions[0xF00] = lambda *arguments: fired.append(arguments) or 0
    for n in range(good):
        call(machine, "timer_set_callback", base + 16 * n, 0xF00)
        for delay in (5, 9, 3):
            call(machine, "timer_start", base + 16 * n, delay)
    assert len(machine.data["timer_queue"]) <= 3 * good + 64
    call(machine, "timer_cancel", base)
    assert advance(machine, 10) == len(fired) == good - 1


@bounded
def test_owners_without_end(engine: str, machine: Machine) -> None:
    made = create_map(machine, Shape(CGRP_STORAGE, 4, 8, 0, NO_PREALLOC, name="s"))
    program = """
        r7 = 0
    l:
        r7 += 1
        r1 = map[fd:0]
        r2 = r7
        r3 = 0
        r4 = 1
        call bpf_cgrp_storage_get
        if r0 != 0 goto l
        r0 = r7
        exit
    """
    # 64 of them take a page.
    assert LIMIT // 4096 * 32 < execute(program, engine, machine=machine, maps=[made], fuel=10_000_000) < LIMIT // 64


def test_more_regions_than_native_code_checks() -> None:
    with Memory() as memory:
        memory.native_table()
        with pytest.raises(VmError, match="regions at most"):
            for _ in range(5000):
                memory.adopt(bytearray(8))
        assert len(list(memory)) == 4096
        memory.free(next(iter(memory)))
        memory.adopt(bytearray(8))


def test_a_trie_counts_what_it_keeps(machine: Machine) -> None:
    with create_map(machine, Shape(LPM_TRIE, 8, 1, 100_000, NO_PREALLOC, name="t")) as made:
        used = machine.memory.used
        keys = (b"\x20\0\0\0" + number.to_bytes(4, "little") for number in range(100_000))
        results = [made.update_from(key, b"x") for key in keys]
        assert set(results) == {0, -12}
        assert results.count(0) * 100 < LIMIT - used
        assert made.delete_key(b"\x20\0\0\0" + bytes(4)) == 0
        assert made.update_from(b"\x10\0\0\0" + bytes(4), b"x") == 0
    assert machine.memory.used < used


@bounded
@pytest.mark.parametrize("name", ["update", "delete"])
def test_maps_that_programs_must_not_change(engine: str, machine: Machine, name: str) -> None:
    constants = create_map(machine, Shape(ARRAY, 4, 4, 1, RDONLY_PROG, name="rodata"))
    constants.update(bytes(4), b"good")
    programs = create_map(machine, Shape(PROG_ARRAY, 4, 4, 1, name="programs"))
    programs.set(0, Code(assemble("r0 = 0\nexit"), machine))  # type: ignore[attr-defined]
    inner = Shape(ARRAY, 4, 4, 1)
    maps = create_map(machine, Shape(ARRAY_OF_MAPS, 4, 4, 1 << 31, inner=inner, name="maps"))
    for made in (constants, programs, maps):
        program = f"""
            *(u32 *)(r10 - 8) = 1
            *(u32 *)(r10 - 4) = 0
            r1 = map[fd:0]
            r2 = r10
            r2 += -4
            r3 = r10
            r3 += -8
            r4 = 0
            call bpf_map_{name}_elem
            exit
        """
        with pytest.raises(VmFault, match="not for programs to change"):
            execute(program, engine, machine=machine, maps=[made])
    assert constants.lookup(bytes(4)) == b"good"
    assert len(programs) == 1


LOOK_UP = """
    *(u32 *)(r10 - 4) = 0
    r1 = map[fd:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto none
    r1 = 1
    *(u64 *)(r0 + 0) = r1
    r0 = 1
none:
    exit
"""


@engines
@pytest.mark.parametrize("type", [PERCPU_ARRAY, PERCPU_HASH, LRU_PERCPU_HASH])
def test_a_cpu_that_there_is_not(engine: str, machine: Machine, type: int) -> None:
    """A test, or a recording of another machine, says any number: no value, and no memory of others is touched."""
    made = create_map(machine, Shape(type, 4, 8, 1, name="m"))
    made.update(bytes(4), bytes(16))
    for cpu, found in ((0, 1), (1, 1), (2, 0), (1000, 0), (1 << 32, 0), (1 << 40, 0), ((1 << 61) + 1, 0), (-1, 0)):
        machine.world.cpu = cpu
        assert execute(LOOK_UP, engine, machine=machine, maps=[made]) == found, cpu


@pytest.mark.parametrize("checked", [True, False])
def test_large_programs_compile_in_bounded_time(machine: Machine, checked: bool) -> None:
    """Unoptimised: LLVM took minutes for 8,000 jumps or accesses."""
    access = ["r2 = *(u64 *)(r1 + 8)\nr0 += r2"] * 4000
    jumps = [f"if r1 == {n} goto l{n}\nr0 += 1\nl{n}:" for n in range(4000)]
    region = machine.memory.allocate(64)
    region.view[8] = 2
    began = time.process_time()
    code = Code(assemble("\n".join(["r0 = 0", *access, *jumps, "exit"])), machine)
    with compile(code, machine, checked=checked) as native:
        assert native.run(region.base) == 4000 * 2 + 4000
    assert time.process_time() - began < 60


@pytest.mark.parametrize(
    ("type", "entries", "weight"),
    [(PERCPU_ARRAY, 100, 100 * (4 + 4 * 8)), (RINGBUF, 1 << 20, 1 << 20), (ARRAY, 9, 9 * 12)],
)
def test_a_quota_weighs_rings_and_every_cpu(type: int, entries: int, weight: int) -> None:
    key, value = (0, 0) if type == RINGBUF else (4, 8)
    obj = Object(programs=(), maps=(MapSpec(name="m", type=type, key_size=key, value_size=value, max_entries=entries),))
    with VmTarget(quota=Quota(map_bytes=weight), world=World(cpus=4)).load(obj):
        pass
    with pytest.raises(UsageError, match=f"take {weight} bytes"):
        VmTarget(quota=Quota(map_bytes=weight - 1), world=World(cpus=4)).load(obj)


@engines
@pytest.mark.parametrize("type", [HASH, ARRAY])
def test_a_map_that_was_closed(engine: str, machine: Machine, type: int) -> None:
    """Native code would read memory that is gone."""
    made = create_map(machine, Shape(type, 4, 8, 1, name="m"))
    code = Code(assemble(LOOK_UP), machine, maps=[made])
    with compile(code, machine, checked=engine != "JIT") as native:
        made.close()
        with pytest.raises(VmError, match="closed"):
            native.run() if engine != "interpreter" else run(code, machine)


@bounded
def test_helpers_that_copy_without_end(engine: str, machine: Machine) -> None:
    """Fuel counts instructions: what a helper does for one of them counts too."""
    region = machine.memory.allocate(1 << 20)
    machine.mock("jiffies64", lambda m, *_: m.memory._spend(1 << 31) or 0)
    program = (
        f"r6 = r1\nl:\nr1 = r6\nr2 = {1 << 20}\nr3 = 0\nr4 = 0\nr5 = 0\ncall bpf_csum_diff\ncall bpf_jiffies64\ngoto l"
    )
    with pytest.raises(VmFault) as caught:
        execute(program, engine, machine=machine, r1=region.base)
    assert caught.value.kind == "fuel"
    assert "copied" in str(caught.value)
    assert execute("r0 = 1\nexit", engine, machine=machine) == 1
    assert machine.read(region.base, 1 << 20) == bytes(1 << 20), "the machine's owner has no such limit"


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [(b"ab\0x", b"ab\0y", 0), (b"ab\0", b"abc", -1), (b"b\0", b"abc", 1), (b"ab", b"abc", -1), (b"\xff", b"a", 1)],
)
def test_strncmp(machine: Machine, left: bytes, right: bytes, wanted: int) -> None:
    one, two = machine.memory.adopt(bytearray(left)), machine.memory.adopt(bytearray(right))
    assert call(machine, "strncmp", one.base, 100, two.base) == wanted
    assert call(machine, "strncmp", one.base, 0, two.base) == 0


@pytest.mark.parametrize(
    ("text", "base", "wanted"),
    [(b"0" * 40 + b"7x", 10, (41, 7)), (b"  -0x1g", 0, (6, -1)), (b"000", 0, (3, 0)), (b"0x", 16, -22),
     (b"9" * 30, 10, -34), (b"0x0", 16, (3, 0)), (b"   ", 10, -22), (b"08", 0, (1, 0)), (b"017", 0, (3, 15))],
)  # fmt: skip
def test_strtol(machine: Machine, text: bytes, base: int, wanted: int | tuple[int, int]) -> None:
    source, out = machine.memory.adopt(bytearray(text)), machine.memory.allocate(8)
    got = call(machine, "strtol", source.base, len(text), base, out.base)
    number = int.from_bytes(out.view, "little", signed=True)
    assert (got if got < 0 else (got, number)) == wanted
