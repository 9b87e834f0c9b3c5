"""Ring buffer and perf buffer: all records come out, in order, and what is lost is counted."""

from __future__ import annotations

import threading
import time

import pytest
from kernel.target.bytecode import ring_object

from osmia.kernel import KernelTarget, Map, PerfReader, RingReader

RECORDS = 5000


def sequence(batch) -> list[int]:
    return [int.from_bytes(record[:8], "little") for record in batch]


@pytest.mark.parametrize("size", [8, 16, 56])
def test_records_come_out_in_order(size):
    with KernelTarget().load(ring_object(RECORDS, size)) as loaded, loaded.reader("ring") as reader:
        assert loaded.programs["produce"].run_once() == 0
        batch = reader.drain()
        assert batch.count == RECORDS
        assert sequence(batch) == list(range(RECORDS))
        assert batch.runs == [(8, RECORDS, size, (size + 15) & ~7)]
        assert reader.pending == 0
        assert reader.drain().count == 0


def test_mixed_sizes_make_runs():
    small, large = ring_object(10, 8), ring_object(3, 40)
    with (
        KernelTarget().load(small) as first,
        KernelTarget().load(large, maps=first.maps) as second,
        RingReader(first.maps["ring"]) as reader,
    ):
        for loaded in (first, second, first):
            loaded.programs["produce"].run_once()
        batch = reader.drain()
        assert [(count, size) for _, count, size, _ in batch.runs] == [(10, 8), (3, 40), (10, 8)]
        assert sequence(batch) == [*range(10), *range(3), *range(10)]
        assert [batch.data[at] for at in batch.offsets()] == sequence(batch)


def test_a_poll_is_bounded():
    with KernelTarget().load(ring_object(RECORDS)) as loaded, RingReader(loaded.maps["ring"]) as reader:
        loaded.programs["produce"].run_once()
        seen: list[int] = []
        while batch := reader.drain(max_bytes=6400):
            assert batch.count <= 100
            seen += sequence(batch)
        assert seen == list(range(RECORDS))
        loaded.programs["produce"].run_once()
        assert reader.drain(max_bytes=1).count == 1  # never stuck


def test_wrapping_and_losses_balance():
    """A ring of one page: most is lost, and lost + seen is what was produced."""
    with KernelTarget().load(ring_object(RECORDS, ring_size=4096)) as loaded, loaded.reader("ring") as reader:
        produced = lost = seen = 0
        for _ in range(20):
            lost += loaded.programs["produce"].run_once()
            produced += RECORDS
            batch = reader.drain()
            assert sequence(batch) == list(range(batch.count))
            seen += batch.count
        assert lost > 0
        assert seen + lost == produced


def test_counts_balance_under_load():
    with KernelTarget().load(ring_object(RECORDS, ring_size=1 << 16)) as loaded, loaded.reader("ring") as reader:
        lost: list[int] = []
        producer = threading.Thread(
            target=lambda: lost.extend(loaded.programs["produce"].run_once() for _ in range(200))
        )
        producer.start()
        seen = 0
        while producer.is_alive() or reader.pending:
            seen += reader.drain_count()
        producer.join()
        assert seen + sum(lost) == 200 * RECORDS


def test_poll_wakes_up_and_times_out():
    with KernelTarget().load(ring_object(1, flags=0)) as loaded, loaded.reader("ring") as reader:
        start = time.monotonic()
        assert reader.poll(0.05).count == 0
        assert time.monotonic() - start >= 0.04
        timer = threading.Timer(0.05, loaded.programs["produce"].run_once)
        timer.start()
        assert reader.poll(5).count == 1
        timer.join()


def test_drain_costs_no_python_per_record():
    """Counting takes some 10 ns a record, a Python object for each 170: compared, since guests are emulated."""
    with KernelTarget().load(ring_object(8000)) as loaded, loaded.reader("ring") as reader:
        counted = listed = 9.0
        for _ in range(10):
            loaded.programs["produce"].run_once()
            start = time.perf_counter()
            assert reader.drain_count() == 8000
            counted = min(counted, time.perf_counter() - start)
            loaded.programs["produce"].run_once()
            start = time.perf_counter()
            assert len(list(reader.drain())) == 8000
            listed = min(listed, time.perf_counter() - start)
    assert counted * 4 < listed


def test_perf_buffer():
    with KernelTarget().load(ring_object(500, perf=True)) as loaded, loaded.reader("ring") as reader:
        assert isinstance(reader, PerfReader)
        for _ in range(50):  # goes round the ring several times
            assert loaded.programs["produce"].run_once() == 0
            assert sequence(reader.drain()) == list(range(500))
        assert reader.lost == 0
        assert reader.poll(0.01).count == 0


def test_perf_buffer_counts_losses():
    with (
        KernelTarget().load(ring_object(2000, perf=True)) as loaded,
        PerfReader(loaded.maps["ring"], size=4096) as reader,
    ):
        program = loaded.programs["produce"]
        produced = seen = refused = 0
        for _ in range(10):
            refused += program.run_once(cpu=0)
            produced += 2000
            seen += reader.drain().count
        # The kernel announces losses with the next record that fits.
        assert refused > 0
        assert seen + refused == produced
        assert 0 < reader.lost <= refused


def test_reader_outlives_the_map_object():
    loaded = KernelTarget().load(ring_object(5))
    reader = RingReader(loaded.maps["ring"])
    loaded.programs["produce"].run_once()
    loaded.close()
    loaded.close()
    assert reader.drain().count == 5
    reader.close()
    reader.close()


def test_map_from_fd():
    import os

    with KernelTarget().load(ring_object(5)) as loaded, Map.from_fd(os.dup(loaded.maps["ring"].fd)) as again:
        assert (again.name, again.type, again.max_entries) == ("ring", 27, 1 << 20)
        assert again.id == loaded.maps["ring"].id
