"""Read a BPF ring buffer: mapped memory, batches of records instead of one Python call per record.

The kernel maps the data area twice in a row, so a record never wraps. A record is a header (u32 length with two flag
bits, u32 page offset) and its bytes, padded to 8. Positions are 64-bit counters that grow without end.
They are read and written as one 8-byte access through memoryview.cast("Q"): struct works byte by byte, and the kernel
would see torn positions and drop records.
"""

from __future__ import annotations

import os
from mmap import MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE, mmap
from select import EPOLLIN, epoll

from .. import syscalls
from ..errors import MapError
from ..objects import Batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ._map import Map

_BUSY, _DISCARD, _LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1
# At most this many bytes are copied per `read`, so that one poll does a bounded amount of work.
BATCH_BYTES = 4 << 20


def memory_fence() -> Callable[[], None] | None:
    """A full memory barrier, where the processor needs one between positions and data.

    x86-64 keeps loads in order and stores in order. arm64 does not: releasing and taking a lock is a
    store-release followed by a load-acquire, which it never reorders.
    """
    if syscalls.MACHINE == "x86_64":
        return None
    from _thread import allocate_lock

    lock = allocate_lock()
    lock.acquire()

    def fence() -> None:
        lock.release()
        lock.acquire()

    return fence


EMPTY = Batch(b"", [], 0)


class RingReader:
    """Reader of one ring buffer map; it works on its own fd of the map."""

    def __init__(self, ring: Map) -> None:
        self.name = ring.name
        self.size = ring.max_entries
        self._mask = self.size - 1
        self._fence = memory_fence()
        self._fd = os.dup(ring.fd)
        self._epoll: epoll | None = None
        try:
            self._consumer_map = mmap(self._fd, PAGESIZE, MAP_SHARED, PROT_READ | PROT_WRITE)
            self._producer_map = mmap(self._fd, PAGESIZE + 2 * self.size, MAP_SHARED, PROT_READ, offset=PAGESIZE)
        except OSError as error:
            os.close(self._fd)
            raise MapError(
                f"map ring buffer {ring.name}: {os.strerror(error.errno or 0).lower()}",
                errno=error.errno or 0,
                operation="mmap",
            ) from None
        self._consumer = memoryview(self._consumer_map).cast("Q")
        memory = memoryview(self._producer_map)
        self._producer = memory[:8].cast("Q")
        self._bytes = memory[PAGESIZE:]
        self._words = self._bytes.cast("I")

    def fileno(self) -> int:
        """The map's fd: readable when there are records (for epoll, asyncio)."""
        return self._fd

    @property
    def pending(self) -> int:
        """Bytes that wait in the ring, headers included."""
        return self._producer[0] - self._consumer[0]

    def wait(self, timeout: float) -> bool:
        """Sleep until the kernel announces records, at most `timeout` seconds (negative: without end)."""
        if self._epoll is None:
            self._epoll = epoll(1)
            self._epoll.register(self._fd, EPOLLIN)
        return bool(self._epoll.poll(timeout))

    def poll(self, timeout: float = -1.0, max_bytes: int = BATCH_BYTES) -> Batch:
        """Wait for records if there are none, then take them out; empty after `timeout` seconds without any."""
        batch = self.drain(max_bytes)
        if not batch.count and timeout and self.wait(timeout):
            batch = self.drain(max_bytes)
        return batch

    def drain(self, max_bytes: int = BATCH_BYTES) -> Batch:
        """Take out the records that are there, at most about `max_bytes`, without waiting."""
        consumed, end, runs, count = self._scan(max_bytes)
        if end == consumed:
            return EMPTY
        start = consumed & self._mask
        data = self._bytes[start : start + end - consumed].tobytes()
        self._release(end)
        return Batch(data, runs, count) if count else EMPTY

    def drain_count(self, max_bytes: int = 1 << 30) -> int:
        """Drop the records that are there: how many they were (discarded ones not counted)."""
        consumed, end, _, count = self._scan(max_bytes)
        if end != consumed:
            self._release(end)
        return count

    def _release(self, end: int) -> None:
        """Give the space up to `end` back; what was read must have been read before."""
        if self._fence:
            self._fence()
        self._consumer[0] = end

    def _scan(self, max_bytes: int) -> tuple[int, int, list[tuple[int, int, int, int]], int]:
        """Walk headers from the consumer's position: (position, end, runs, records), offsets from position.

        Headers are checked in the ring itself before data is copied: the other way round, a record that is
        committed in between would be taken with old bytes.
        """
        consumed = self._consumer[0]
        available = min(self._producer[0] - consumed, max_bytes, self.size)
        if self._fence:
            self._fence()
        words, base = self._words, (consumed & self._mask) >> 2
        runs: list[tuple[int, int, int, int]] = []
        at = records = 0
        while at < available:
            header = words[base + (at >> 2)]
            if header & _BUSY:
                break
            size = header & _LENGTH
            stride = (size + 15) & ~7
            if at and at + stride > available:
                break  # `max_bytes` ends within this record; the first one is taken whatever its size
            count = same_headers(words, base + (at >> 2), header, stride >> 2, (available - at) // stride)
            if not header & _DISCARD:
                runs.append((at + 8, count, size, stride))
                records += count
            at += count * stride
        if self._fence:
            self._fence()
        return consumed, consumed + at, runs, records

    def close(self) -> None:
        """Unmap the ring."""
        if self._fd < 0:
            return
        for view in (self._consumer, self._producer, self._words, self._bytes):
            view.release()
        self._consumer_map.close()
        self._producer_map.close()
        if self._epoll is not None:
            self._epoll.close()
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def same_headers(words: memoryview[int], at: int, header: int, step: int, limit: int) -> int:
    """How many records from word `at` on, `step` words apart, have this very header; `limit` at most, at least 1.

    A stretch is compared in one go, and grows while it is uniform: a few ns a record.
    """
    if limit < 2 or words[at + step] != header:
        return 1
    pattern = header.to_bytes(words.itemsize, "little")
    done, chunk = 2, 32
    while done < limit:
        n = min(chunk, limit - done)
        first = at + done * step
        found = words[first : first + (n - 1) * step + 1 : step].tobytes()
        if found != pattern * n:
            return done + _prefix(found, pattern)
        done += n
        chunk = min(chunk * 8, 1 << 16)
    return done


def _prefix(found: bytes, pattern: bytes) -> int:
    """How many times `pattern` stands at the start of `found`, by halving."""
    width = len(pattern)
    low, high = 0, len(found) // width
    while low < high:
        middle = (low + high + 1) // 2
        if found[low * width : middle * width] == pattern * (middle - low):
            low = middle
        else:
            high = middle - 1
    return low
