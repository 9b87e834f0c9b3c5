"""Maps after a change that never ended: its process was killed, a signal's handler raised, others wrote nonsense."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _vm_run import execute

from osmia.errors import VmFault
from osmia.isa import assemble
from osmia.isa.map_types import ARRAY, HASH, LRU_HASH, PERCPU_HASH, RINGBUF, USER_RINGBUF
from osmia.vm._code import Code
from osmia.vm._helpers import clean_up
from osmia.vm._interpreter import run
from osmia.vm._jit import compile
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import NO_PREALLOC, ZERO_SEED, Shape
from osmia.vm._map_hash import HashMap
from osmia.vm._map_ring import BUSY, DISCARD, RingMap
from osmia.vm._map_storage import Guard
from osmia.vm._map_user_ring import MAX_SAMPLES, UserRingMap
from osmia.vm._world import World

SIZE = 16
engines = pytest.mark.parametrize("engine", ["interpreter", "checked JIT"])


class Stop(Exception):
    """Out of the middle of a change."""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(world=World(cpus=2)) as made:
        yield made


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """Without the mends, some of these hang."""

    def late(*_: object) -> None:
        raise TimeoutError("it does not end")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


def in_child(work: Callable[[], None]) -> int:
    """Its exit status, or minus the signal that ended it."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def key(number: int) -> bytes:
    return number.to_bytes(4, "little")


def fill(made: HashMap, keys: range) -> None:
    for number in keys:
        made.update(key(number), bytes(made.row_size))


def check_whole(made: HashMap, wanted: set[int], unsure: int) -> None:
    """It has the wanted keys, maybe the one of the change, each once; and all of its places can be used."""
    keys = list(made.keys())
    assert len(keys) == len(set(keys)) == len(made)
    assert set(keys) - {key(unsure)} == {key(number) for number in wanted} - {key(unsure)}
    assert {k for k, _ in made.items()} == set(keys)
    for each in keys:
        assert made.lookup(each) is not None
        assert made.delete(each)
    assert list(made.keys()) == []
    fill(made, range(100, 100 + SIZE))
    assert len(made) == SIZE


STEPS = ["_find", "_claim", "_store", "_link", "_unlink", "_give_back"]
TYPES = [(HASH, 0), (HASH, NO_PREALLOC), (PERCPU_HASH, 0), (LRU_HASH, 0)]


def stop_at(monkeypatch: pytest.MonkeyPatch, step: str, late: bool, stop: Callable[[], object]) -> None:
    """`stop` before or after this step of a change."""
    real = getattr(HashMap, step)

    def instead(self: HashMap, *arguments: object, **more: object) -> object:
        if not late:
            stop()
        result = real(self, *arguments, **more)
        stop()
        return result

    monkeypatch.setattr(HashMap, step, instead)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    raise Stop


def change(made: HashMap, what: str) -> int:
    """The key that it is about."""
    if what == "delete":
        made.delete(key(3))
    else:
        made.update(key(3 if what == "update" else 50), bytes(made.row_size))
    return 50 if what == "insert" else 3


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("type", "flags"), TYPES)
def test_a_process_killed_within_a_change(type: int, flags: int, late: bool, step: str, tmp_path: Path) -> None:
    for what in ("insert", "update", "delete"):
        shape = Shape(type, 4, 8, SIZE, flags, name="m", shared=str(tmp_path / what))
        with Machine(world=World(cpus=2)) as machine, create_map(machine, shape) as made:
            assert isinstance(made, HashMap)
            fill(made, range(8))
            mine = made

            def die(mine: HashMap = mine, what: str = what) -> None:
                with pytest.MonkeyPatch.context() as patch:
                    stop_at(patch, step, late, kill)
                    change(mine, what)

            assert in_child(die) in (0, -signal.SIGKILL)
            check_whole(made, set(range(8)), 50 if what == "insert" else 3)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("what", ["insert", "update", "delete"])
def test_a_handler_that_raises_within_a_change(what: str, step: str, machine: Machine) -> None:
    made = create_map(machine, Shape(HASH, 4, 8, SIZE, name="m"))
    assert isinstance(made, HashMap)
    fill(made, range(8))
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step, False, stop)
        try:
            change(made, what)
        except Stop:
            pass
    check_whole(made, set(range(8)), 50 if what == "insert" else 3)


@pytest.mark.parametrize("late", [False, True])
def test_a_signal_while_the_lock_is_taken(late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception out of its handler leaves the lock free, for this process and for others."""
    shape = Shape(HASH, 4, 8, SIZE, name="m", shared=str(tmp_path / "m"))
    real = fcntl.lockf

    def interrupted(*arguments: int) -> None:
        if late:
            real(*arguments)
        os.kill(os.getpid(), signal.SIGUSR1)
        if not late:
            real(*arguments)

    def handler(*_: object) -> None:
        raise Stop

    def update() -> None:
        with Machine(world=World(cpus=2)) as other, create_map(other, shape) as theirs:
            theirs.update(key(2), bytes(8))

    with Machine(world=World(cpus=2)) as machine, create_map(machine, shape) as made:
        old = signal.signal(signal.SIGUSR1, handler)
        try:
            with monkeypatch.context() as patch, pytest.raises(Stop):
                patch.setattr(fcntl, "lockf", interrupted)
                made.update(key(1), bytes(8))
        finally:
            signal.signal(signal.SIGUSR1, old)
        assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert in_child(update) == 0
        assert made.lookup(key(2)) is not None


def test_one_process_has_one_lock_for_a_file(tmp_path: Path) -> None:
    """The file's lock does not keep threads of a process apart."""
    shape = Shape(HASH, 4, 8, SIZE, name="m", shared=str(tmp_path / "m"))
    with Machine() as one, Machine() as two, create_map(one, shape) as first, create_map(two, shape) as second:
        assert isinstance(first.guard, Guard)
        assert isinstance(second.guard, Guard)
        assert first.guard._mine is second.guard._mine


def test_keys_that_collide_cannot_be_chosen(machine: Machine, tmp_path: Path) -> None:
    def seed(flags: int = 0, shared: str = "") -> int:
        made = create_map(machine, Shape(HASH, 8, 8, SIZE, flags, name="m", shared=shared))
        assert isinstance(made, HashMap)
        return made.seed

    assert len({seed() for _ in range(4)}) == 4
    assert seed(ZERO_SEED) == 0
    assert seed(shared=str(tmp_path / "m")) == seed(shared=str(tmp_path / "m"))


# Ring buffers

RESERVE = """
    r1 = map[fd:0]
    r2 = 64
    r3 = 0
    call bpf_ringbuf_reserve
    if r0 == 0 goto out
    r1 = r0
    r2 = {0:#x} ll
    *(u32 *)(r1 - 8) = r2
    r2 = 0
    call bpf_ringbuf_submit
out:
    r0 = 0
    exit
"""


@engines
@pytest.mark.parametrize("header", [0, 0xFFFFFFFF, BUSY | 0x1000, 0x3FFFFFFF])
def test_a_record_whose_header_is_overwritten(engine: str, machine: Machine, header: int) -> None:
    ring = create_map(machine, Shape(RINGBUF, 0, 0, 4096, name="r"))
    assert isinstance(ring, RingMap)
    code = Code(assemble(RESERVE.format(header)), machine, maps=[ring])
    with ring.reader() as reader, compile(code, machine, checked=True) as native:
        for _ in range(100):  # more than once around
            assert (run(code, machine) if engine == "interpreter" else native.run()) == 0
            assert [len(record) for record in reader.drain()] == [64]


@engines
def test_a_record_whose_header_is_overwritten_later(engine: str, machine: Machine) -> None:
    """What was submitted and is overwritten is lost, and what follows; the ring goes on."""
    ring = create_map(machine, Shape(RINGBUF, 0, 0, 4096, name="r"))
    assert isinstance(ring, RingMap)
    text = RESERVE.format(0).replace("r2 = 0\n    call", "r6 = r1\n    r2 = 0\n    call")
    text = text.replace("submit\n", "submit\n    r2 = 0x3fffffff ll\n    *(u32 *)(r6 - 8) = r2\n")
    with ring.reader() as reader:
        execute(text, engine, machine=machine, maps=[ring])
        assert list(reader.drain()) == []
        assert ring.output(b"good", 0) == 0
        assert list(reader.drain()) == [b"good"]


TOP = 1 << 64


@engines
@pytest.mark.parametrize(
    ("producer", "consumer", "pending"),
    [
        (1 << 63, 0, 0),
        (TOP - 8, TOP - 16, TOP - 16),
        (TOP - 1, 0, 5),
        (3, 1, 2),
        (1 << 63, (1 << 63) - 64, 0),
        (0, 64, 0),
    ],
)
def test_positions_that_others_wrote(engine: str, machine: Machine, producer: int, consumer: int, pending: int) -> None:
    ring = create_map(machine, Shape(RINGBUF, 0, 0, 4096, name="r", shared="memfd"))
    assert isinstance(ring, RingMap)
    ring._consumer[0], ring._producer[0], ring._producer[1] = consumer, producer, pending
    text = "*(u64 *)(r10 - 8) = 0\nr1 = map[fd:0]\nr2 = r10\nr2 += -8\nr3 = 8\nr4 = 0\ncall bpf_ringbuf_output\nexit"
    assert execute(text, engine, machine=machine, maps=[ring]) in (0, TOP - 11)
    with ring.reader() as reader:
        reader.drain()
        reader.drain()


@engines
def test_a_producer_of_discarded_records_without_end(engine: str, machine: Machine) -> None:
    ring = create_map(machine, Shape(USER_RINGBUF, 0, 0, 4096, name="u"))
    assert isinstance(ring, UserRingMap)
    for at in range(len(ring._words)):
        ring._words[at] = DISCARD
    ring._producer[0] = 1 << 63
    text = "r1 = map[fd:0]\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_user_ringbuf_drain\nexit\nf:\nr0 = 0\nexit"
    assert execute(text, engine, machine=machine, maps=[ring]) == 0
    assert ring._consumer[0] == 8 * MAX_SAMPLES


@engines
def test_two_spin_locks_at_once(engine: str, machine: Machine) -> None:
    """Two processes that take them in another order each would wait for ever; the kernel's verifier refuses it."""
    maps = [create_map(machine, Shape(ARRAY, 4, 8, 1, name=name)) for name in ("a", "b")]
    text = "r1 = map[fd:0][0]+0\ncall bpf_spin_lock\nr1 = map[fd:1][0]+0\ncall bpf_spin_lock\nr0 = 0\nexit"
    with pytest.raises(VmFault, match="another lock"):
        execute(text, engine, machine=machine, maps=maps)
    clean_up(machine)
