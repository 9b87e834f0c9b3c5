"""Programs that no verifier saw, on maps: used up, huge, shared with a process that writes nonsense; tail calls."""

from __future__ import annotations

import errno
import mmap
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _vm_run import execute

from osmia.errors import MapError, OsmiaError, VmFault
from osmia.isa import MAP_TYPES, assemble
from osmia.isa.map_types import ARRAY, HASH, LRU_HASH, QUEUE, RINGBUF
from osmia.vm._code import Code
from osmia.vm._interpreter import run
from osmia.vm._jit import compile
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import Shape
from osmia.vm._world import World

ENGINES = ["interpreter", "checked JIT"]
engines = pytest.mark.parametrize("engine", ENGINES)
PROG_ARRAY = MAP_TYPES["prog_array"]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(memory_limit=32 << 20, world=World(cpus=2)) as made:
        yield made


# Used up

FILL = """
    r6 = 0
    r7 = 0
next:
    *(u32 *)(r10 - 4) = r6
    *(u64 *)(r10 - 16) = r6
    r1 = map[fd:0]
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem
    if r0 == 0 goto good
    r7 = r0
good:
    r6 += 1
    if r6 < 500 goto next
    r0 = r7
    exit
"""


@engines
@pytest.mark.parametrize(("type", "wanted"), [(HASH, -errno.E2BIG), (LRU_HASH, 0), (ARRAY, -errno.E2BIG)])
def test_more_keys_than_a_map_holds(engine: str, machine: Machine, type: int, wanted: int) -> None:
    made = create_map(machine, Shape(type, 4, 8, 64, name="m"))
    used = machine.memory.used
    assert execute(FILL, engine, machine=machine, maps=[made]) == wanted & (1 << 64) - 1
    assert len(list(made.items())) <= 64
    assert execute("r0 = 7\nexit", engine, machine=machine) == 7
    assert machine.memory.used == used


@engines
def test_a_queue_and_a_ring_that_nobody_reads(engine: str, machine: Machine) -> None:
    queue = create_map(machine, Shape(QUEUE, 0, 8, 16, name="q"))
    ring = create_map(machine, Shape(RINGBUF, 0, 0, 4096, name="r"))
    used = machine.memory.used
    loop = "r6 = 0\nr7 = 0\nl:\n{0}\nif r0 == 0 goto g\nr7 += 1\ng:\nr6 += 1\nif r6 < 200 goto l\nr0 = r7\nexit"
    push = "*(u64 *)(r10 - 8) = r6\nr1 = map[fd:0]\nr2 = r10\nr2 += -8\nr3 = 0\ncall bpf_map_push_elem"
    assert execute(loop.format(push), engine, machine=machine, maps=[queue]) == 184
    put = "*(u64 *)(r10 - 8) = r6\nr1 = map[fd:0]\nr2 = r10\nr2 += -8\nr3 = 8\nr4 = 0\ncall bpf_ringbuf_output"
    assert execute(loop.format(put), engine, machine=machine, maps=[ring]) == 0
    keep = "r1 = map[fd:0]\nr2 = 1000\nr3 = 0\ncall bpf_ringbuf_reserve\nr0 = 0"
    execute(loop.format(keep), engine, machine=machine, maps=[ring])  # never submitted
    assert machine.memory.used == used


HUGE = [(1 << 32) - 1, 1 << 31, 1 << 26]


@pytest.mark.parametrize("name", sorted(MAP_TYPES))
def test_huge_maps_are_refused_at_once(machine: Machine, name: str) -> None:
    used = machine.memory.used
    began = time.process_time()
    for entries in HUGE:
        for key, value in ((4, 8), (8, 1 << 20), (0, 8), (4, 4), (0, 0), (512, 1 << 30)):
            try:
                made = create_map(machine, Shape(MAP_TYPES[name], key, value, entries, name="huge", cpus=2))
            except OsmiaError as error:
                assert str(error)
                continue
            # Types that take memory as they are filled.
            assert machine.memory.used <= machine.memory.limit
            made.close()
    assert time.process_time() - began < 5
    assert machine.memory.used == used


def test_maps_that_do_not_fit_together(machine: Machine) -> None:
    made = []
    with pytest.raises(MapError) as caught:
        for _ in range(1000):
            made.append(create_map(machine, Shape(ARRAY, 4, 1 << 20, 1, name="big")))
    assert caught.value.errno == errno.ENOMEM
    assert 20 <= len(made) <= 32
    made[0].close()
    create_map(machine, Shape(ARRAY, 4, 1 << 20, 1, name="big"))


# Tail calls

TAIL = "call bpf_ktime_get_ns\nr1 = r6\nr2 = map[fd:0]\nr3 = {0}\ncall bpf_tail_call\nr0 = 1\nexit"


def run_in(engine: str, code: Code, r1: int = 0, fuel: int = 100_000) -> int:
    if engine == "interpreter":
        return run(code, code.machine, r1, fuel=fuel)
    with compile(code, code.machine, checked=True) as native:
        return native.run(r1, fuel=fuel)


@engines
def test_tail_calls_in_a_circle_end(engine: str, machine: Machine) -> None:
    count = [0]

    def clock(*_: object) -> int:
        count[0] += 1
        return 0

    machine.mock("ktime_get_ns", clock)
    table = create_map(machine, Shape(PROG_ARRAY, 4, 4, 4, name="t"))
    codes = [Code(assemble("r6 = r1\n" + TAIL.format(n)), machine, maps=[table]) for n in (1, 2, 0)]
    for n, code in enumerate(codes):
        table.set(n, code)  # type: ignore[attr-defined]
    assert run_in(engine, codes[0]) == 1
    assert count[0] == 34  # the first one and 33 tail calls
    assert machine.depth == 0


@engines
@pytest.mark.parametrize("index", [3, 4, 5, 0x7FFFFFFF, -1, -0x80000000])
def test_tail_calls_to_nowhere_go_on(engine: str, machine: Machine, index: int) -> None:
    table = create_map(machine, Shape(PROG_ARRAY, 4, 4, 4, name="t"))
    code = Code(assemble("r6 = r1\n" + TAIL.format(index)), machine, maps=[table])
    assert run_in(engine, code) == 1


@engines
def test_tail_calls_through_what_is_no_table(engine: str, machine: Machine) -> None:
    other = create_map(machine, Shape(ARRAY, 4, 4, 4, name="a"))
    for load in ("r2 = map[fd:0]", "r2 = 5", "r2 = r10", "r2 = 0"):
        code = Code(assemble(f"{load}\nr3 = 0\ncall bpf_tail_call\nr0 = 1\nexit"), machine, maps=[other])
        with pytest.raises(VmFault) as caught:
            run_in(engine, code)
        assert caught.value.kind == "call"


@engines
def test_tail_calls_from_functions_and_endless_programs(engine: str, machine: Machine) -> None:
    table = create_map(machine, Shape(PROG_ARRAY, 4, 4, 4, name="t"))
    nested = "r6 = r1\ncall f\nexit\nf:\nr6 = 0\n" + TAIL.format(0)
    endless = "l:\ngoto l"
    for text in (nested, endless):
        code = Code(assemble(text), machine, maps=[table])
        table.set(0, code)  # type: ignore[attr-defined]
        table.set(1, code)  # type: ignore[attr-defined]
        entry = Code(assemble("r6 = r1\n" + TAIL.format(1)), machine, maps=[table])
        try:
            assert run_in(engine, entry) in (0, 1)
        except VmFault as fault:
            assert fault.kind in ("fuel", "depth")
        assert machine.depth == 0


# Shared with other processes


def in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if not pid:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    return pid


COUNT = """
    *(u32 *)(r10 - 4) = 0
    r6 = 3000
next:
    r1 = map[fd:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
    r6 += -1
    if r6 != 0 goto next
out:
    r0 = 0
    exit
"""


@engines
def test_two_processes_count_in_one_map(engine: str, tmp_path: Path) -> None:
    shape = Shape(ARRAY, 4, 8, 1, name="n", shared=str(tmp_path / "n"))

    def work() -> None:
        with Machine() as machine, create_map(machine, shape) as made:
            run_in(engine, Code(assemble(COUNT), machine, maps=[made]), fuel=1_000_000)

    with Machine() as machine, create_map(machine, shape) as made:
        pids = [in_child(work) for _ in range(2)]
        work()
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
        total = int.from_bytes(dict(made.items())[bytes(4)], "little")
        # The interpreter's atomics are atomic within a process: of others' additions, any number may be lost.
        assert total == 9000 if engine != "interpreter" else 0 < total <= 9000


USE = """
    r6 = r1
    *(u32 *)(r10 - 4) = r6
    *(u64 *)(r10 - 16) = r6
    r1 = map[fd:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto none
    r7 = *(u64 *)(r0 + 0)
    *(u64 *)(r0 + 0) = r6
none:
    r1 = map[fd:0]
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem
    r1 = map[fd:0]
    r2 = r10
    r2 += -4
    call bpf_map_delete_elem
    r0 = 0
    exit
"""


@engines
@pytest.mark.parametrize("type", [ARRAY, HASH, LRU_HASH])
def test_a_process_that_writes_nonsense_into_a_shared_map(engine: str, type: int, tmp_path: Path) -> None:
    """What another process does to shared memory may be seen, but neither crashes nor hangs nor leads elsewhere."""
    path = tmp_path / "m"
    shape = Shape(type, 4, 8, 64, name="m", shared=str(path))
    seed = random.randrange(1 << 30)
    print("seed", seed)

    def scribble() -> None:
        rng = random.Random(seed)
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            while True:
                at = rng.randrange(0, len(memory) - 8, 4)
                memory[at : at + 4] = rng.choice((bytes(4), b"\xff" * 4, rng.randbytes(4), b"\1\0\0\0"))

    def use() -> None:
        signal.alarm(60)
        with Machine() as machine, create_map(machine, shape) as made:
            code = Code(assemble(USE), machine, maps=[made])
            native = compile(code, machine, checked=True) if engine != "interpreter" else None
            other = in_child(scribble)
            deadline = time.monotonic() + 0.7
            number = 0
            try:
                while time.monotonic() < deadline:
                    number += 1
                    try:
                        if native is not None:
                            native.run(number % 200, fuel=10_000)
                        else:
                            run(code, machine, number % 200, fuel=10_000)
                        if number % 50 == 0:
                            list(zip(range(1000), made.items(), strict=False))
                    except OsmiaError:
                        continue
            finally:
                os.kill(other, signal.SIGKILL)
                os.waitpid(other, 0)
            if native is not None:
                native.close()

    assert os.waitstatus_to_exitcode(os.waitpid(in_child(use), 0)[1]) == 0
