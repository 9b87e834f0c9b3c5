"""Maps in shared memory: several processes work on one map."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.errors import MapError, NotSupported
from osmia.isa.map_types import (
    ARRAY,
    HASH,
    LPM_TRIE,
    LRU_HASH,
    PERCPU_ARRAY,
    PERCPU_HASH,
    QUEUE,
    RINGBUF,
)
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import NO_PREALLOC, Shape
from osmia.vm._world import World


def _k(i: int, size: int = 4) -> bytes:
    return i.to_bytes(size, "little")


def _in_children(count: int, work: Callable[[int], None]) -> list[int]:
    """Fork, run `work(number)` in each, and give the pids; a child that raises exits with 1."""
    pids = []
    for number in range(count):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                work(number)
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    return pids


def _join(pids: list[int]) -> None:
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0


def _machine() -> Machine:
    return Machine(world=World(cpus=2))


@pytest.mark.parametrize("type", [HASH, PERCPU_HASH])
def test_processes_insert_and_delete(tmp_path: Path, type: int) -> None:
    def shape() -> Shape:
        return Shape(type, 4, 8, 1000, name="shared", shared=str(tmp_path / "map"))

    def work(number: int) -> None:
        with _machine() as machine, create_map(machine, shape()) as made:
            for i in range(200):
                assert made.update_from(_k(number * 1000 + i), _k(i, 8), 1, number % 2) == 0
                if i % 2:
                    assert made.delete_key(_k(number * 1000 + i)) == 0

    with _machine() as machine, create_map(machine, shape()) as made:
        _join(_in_children(4, work))
        assert len(made) == 400
        assert {key for key, _ in made.items()} == {_k(n * 1000 + i) for n in range(4) for i in range(0, 200, 2)}
        for n in range(4):
            for i in range(0, 200, 2):
                assert made.lookup_address(_k(n * 1000 + i))


@pytest.mark.parametrize("type", [ARRAY, PERCPU_ARRAY, LRU_HASH, QUEUE])
def test_a_second_process_sees_what_the_first_wrote(tmp_path: Path, type: int) -> None:
    key = 0 if type == QUEUE else 4

    def shape() -> Shape:
        return Shape(type, key, 8, 10, shared=str(tmp_path / "map"))

    def work(number: int) -> None:
        with _machine() as machine, create_map(machine, shape()) as made:
            made.update(_k(3)[:key], b"x" * made.row_size)

    with _machine() as machine, create_map(machine, shape()) as made:
        _join(_in_children(1, work))
        rows = [row for name, row in made.items() if name == _k(3)[:key]]
        assert rows == [b"x" * made.row_size]


def test_ring_buffer_of_two_producers(tmp_path: Path) -> None:
    def shape() -> Shape:
        return Shape(RINGBUF, 0, 0, 4096, shared=str(tmp_path / "ring"))

    def work(number: int) -> None:
        with _machine() as machine, create_map(machine, shape()) as ring:
            for i in range(300):
                while ring.output(bytes([number]) + _k(i) + bytes(i % 50), 0):  # type: ignore[attr-defined]
                    time.sleep(0.0005)

    with _machine() as machine, create_map(machine, shape()) as ring, ring.reader() as reader:  # type: ignore[attr-defined]
        pids = _in_children(2, work)
        seen: dict[int, list[int]] = {0: [], 1: []}
        deadline = time.monotonic() + 30
        while sum(map(len, seen.values())) < 600 and time.monotonic() < deadline:
            for record in reader.drain():
                seen[record[0]].append(int.from_bytes(record[1:5], "little"))
                assert record[5:] == bytes(seen[record[0]][-1] % 50)
        _join(pids)
        assert seen == {0: list(range(300)), 1: list(range(300))}


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    def shape() -> Shape:
        return Shape(HASH, 4, 8, 5000, shared=str(tmp_path / "map"))

    def work(number: int) -> None:
        with _machine() as machine, create_map(machine, shape()) as made:
            for i in range(10_000_000):
                made.update_from(_k(number << 16 | i % 1000), _k(i, 8))
                made.delete_key(_k(number << 16 | i * 7 % 1000))

    with _machine() as machine, create_map(machine, shape()) as made:
        for _ in range(5):
            pids = _in_children(2, work)
            time.sleep(0.05)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            for pid in pids:
                os.waitpid(pid, 0)
            # The map still works, whatever was going on.
            made.update(_k(0xFFFFFF), _k(1, 8))
            assert made.lookup(_k(0xFFFFFF)) == _k(1, 8)
            assert made.delete(_k(0xFFFFFF))
            assert len(list(made.items())) <= 5000


def test_another_shape_is_refused(tmp_path: Path) -> None:
    with _machine() as machine:
        create_map(machine, Shape(HASH, 4, 8, 10, shared=str(tmp_path / "map")))
        with pytest.raises(MapError, match="another kind or size") as caught:
            create_map(machine, Shape(HASH, 4, 8, 11, shared=str(tmp_path / "map")))
        assert caught.value.errno == 22


def test_damaged_links_do_not_hang(tmp_path: Path) -> None:
    """Another process may write anything into the file: look-ups end, and stay within the map."""
    path = tmp_path / "map"
    with _machine() as machine, create_map(machine, Shape(HASH, 4, 8, 100, shared=str(path))) as made:
        for i in range(100):
            made.update(_k(i), _k(i, 8))
        size = path.stat().st_size
        for seed in range(30):
            import random

            rng = random.Random(seed)
            with path.open("r+b") as file:
                for _ in range(200):
                    file.seek(rng.randrange(4096, size - 4))
                    file.write(rng.choice((rng.randbytes(4), b"\1\0\0\0", b"\xff\xff\xff\xff", _k(rng.randrange(101)))))
            for i in range(100):
                address = made.lookup_address(_k(i))
                assert not address or machine.memory.find(address, 8)
                try:
                    made.update_from(_k(i), _k(i, 8))
                    made.delete_key(_k(i))
                except MapError as error:
                    assert error.errno == 22
            list(made.items())


def test_memfd_is_inherited() -> None:
    with _machine() as machine, create_map(machine, Shape(ARRAY, 4, 8, 4, shared="memfd")) as made:

        def work(number: int) -> None:
            made.update(_k(2), b"inherite")

        _join(_in_children(1, work))
        assert made.lookup(_k(2)) == b"inherite"


def test_types_that_cannot_be_shared(tmp_path: Path) -> None:
    with _machine() as machine, pytest.raises(NotSupported, match="belong to one process"):
        create_map(machine, Shape(LPM_TRIE, 8, 8, 10, NO_PREALLOC, shared=str(tmp_path / "map")))


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with _machine() as machine, pytest.raises(MapError):
        create_map(machine, Shape(ARRAY, 4, 8, 10, shared=str(tmp_path / "link")))
    assert not (tmp_path / "elsewhere").exists()
