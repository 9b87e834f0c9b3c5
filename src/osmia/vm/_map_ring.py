"""Ring buffer, in the kernel's byte layout.

    page 0          consumer position (u64); of a user ring buffer the program's side
    page 1          producer position (u64), then the position of the oldest record not yet committed (pending, u64)
    page 2 ...      data, `max_entries` bytes, and the same number of bytes behind that continue it

A record is a header (u32 length with BUSY = 1 << 31 and DISCARD = 1 << 30, u32 distance in pages from the ring's
start) and its bytes, padded to 8. Positions grow without end. A record that begins near the end goes on behind it, so
programs see it in one piece; the kernel maps the data twice in a row, here `commit` copies the part behind the end to
the front, and readers take it from there.
"""

from __future__ import annotations

import os

from ..objects import Batch
from ._map_base import EAGAIN, EINVAL, ENOTSUPP, VmMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ._map_base import Shape
    from ._map_storage import Room

PAGE = 4096
BUSY, DISCARD, LENGTH = 1 << 31, 1 << 30, (1 << 30) - 1
NO_WAKEUP, FORCE_WAKEUP = 1, 2
# bpf_ringbuf_query
AVAILABLE, RING_SIZE, CONSUMER, PRODUCER = range(4)
# struct bpf_ringbuf has its own pages before the consumer's (RINGBUF_NR_META_PAGES, kernel/bpf/ringbuf.c)
_META_PAGES = 3
_DATA = 2 * PAGE


EMPTY = Batch(b"", [], 0)


class RingMap(VmMap):
    """BPF_MAP_TYPE_RINGBUF: programs produce, one reader consumes."""

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        self.size = self.max_entries
        self._mask = self.size - 1
        storage = room.take(shape, _DATA + 2 * self.size, data_at=_DATA)
        self.storages.append(storage)
        self.guard = storage.guard
        self.data_base = storage.base + _DATA
        self._consumer = storage.view[:8].cast("Q")
        self._producer = storage.view[PAGE : PAGE + 16].cast("Q")
        self._data = storage.view[_DATA:]
        self._words = self._data.cast("I")
        self.readers: list[RingReader] = []

    def _release(self) -> None:
        for reader in list(self.readers):
            reader.close()
        for view in (self._consumer, self._producer, self._words, self._data):
            view.release()

    # ---- for programs -------------------------------------------------------------------------------------------

    def reserve(self, size: int) -> int:
        """bpf_ringbuf_reserve: the address of `size` bytes, 0 when there is no room."""
        if not 0 <= size <= LENGTH - 8:
            return 0
        length = (size + 15) & ~7
        if length > self.size:
            return 0
        with self.guard:
            at = self._place(length)
            if at < 0:
                return 0
            self._words[at >> 2] = size | BUSY
            self._words[(at >> 2) + 1] = (at // PAGE) + _META_PAGES
            self._producer[0] += length
        return self.data_base + at + 8

    def _place(self, length: int) -> int:
        """Where in the data the next record goes, -1 when there is no room, or others have written nonsense."""
        consumer, producer, pending = self._consumer[0], self._producer[0], self._producer[1]
        end = producer + length
        if producer & 7 or end >> 64 or not (end - consumer <= self._mask and 0 <= producer - pending <= self.size):
            return -1
        # Pending records hold up later ones, and are not overwritten (kernel commit cfa1a2329a69, 6.10).
        while pending < producer:
            header = self._words[(pending & self._mask) >> 2]
            if header & BUSY:
                break
            pending += ((header & LENGTH) + 15) & ~7
        self._producer[1] = pending
        return producer & self._mask if end - pending <= self._mask else -1

    def commit(self, address: int, flags: int, *, discard: bool = False, size: int = -1) -> int:
        """bpf_ringbuf_submit or _discard of what `reserve` gave: 0, or -EINVAL for any other address.

        `size` is what was reserved, in case that an unverified program has overwritten the record's header.
        """
        at = address - self.data_base - 8
        if not 0 <= at < self.size or at & 7:
            return -EINVAL
        with self.guard:
            header = self._words[at >> 2] if size < 0 else size | BUSY
            if not header & BUSY:
                return -EINVAL
            self._finish(at, header & LENGTH, DISCARD if discard else 0)
            first = self._consumer[0] & self._mask == at
        if flags & FORCE_WAKEUP or (first and not flags & NO_WAKEUP):
            self.wake()
        return 0

    def _finish(self, at: int, size: int, flag: int) -> None:
        """A record is complete: what lies behind the end goes to the front, then its header says so."""
        end = min(at + ((size + 15) & ~7), 2 * self.size)
        if end > self.size:
            self._data[: end - self.size] = self._data[self.size : end]
        self._words[at >> 2] = size | flag

    def output(self, data: bytes, flags: int) -> int:
        """bpf_ringbuf_output: 0, -EAGAIN when there is no room, -EINVAL for unknown flags."""
        if flags & ~(NO_WAKEUP | FORCE_WAKEUP):
            return -EINVAL
        length = (len(data) + 15) & ~7
        if length > self.size:
            return -EAGAIN
        with self.guard:
            at = self._place(length)
            if at < 0:
                return -EAGAIN
            # The producer's position moves last: a process that is killed here leaves nothing unfinished.
            self._data[at + 8 : at + 8 + len(data)] = data
            self._words[(at >> 2) + 1] = (at // PAGE) + _META_PAGES
            self._finish(at, len(data), 0)
            self._producer[0] += length
            first = self._consumer[0] & self._mask == at
        if flags & FORCE_WAKEUP or (first and not flags & NO_WAKEUP):
            self.wake()
        return 0

    def query(self, what: int) -> int:
        """bpf_ringbuf_query; 0 for what it does not know."""
        if what == AVAILABLE:
            return self._producer[0] - self._consumer[0]
        if what == RING_SIZE:
            return self.size
        if what == CONSUMER:
            return self._consumer[0]
        return self._producer[0] if what == PRODUCER else 0

    def wake(self) -> None:
        """Tell readers that there is something to read."""
        for reader in self.readers:
            reader.signal()

    # ---- for users ----------------------------------------------------------------------------------------------

    def reader(self) -> RingReader:
        """A reader; the caller closes it."""
        return RingReader(self)

    @property
    def pending(self) -> int:
        """Bytes that wait in the ring, headers included."""
        return self._producer[0] - self._consumer[0]

    @property
    def ready(self) -> bool:
        """Whether the next record is complete."""
        at = self._consumer[0]
        return self._producer[0] != at and not self._words[(at & self._mask) >> 2] & BUSY

    def take(self, limit: int) -> Batch:
        """Take out the records that are complete, at most about `limit` bytes."""
        with self.guard:
            consumed, words = self._consumer[0], self._words
            # Both positions may have been written by others: never walk further than the ring is long.
            available = min((self._producer[0] - consumed) & 0xFFFFFFFFFFFFFFFF, self.size)
            runs: list[tuple[int, int, int, int]] = []
            at = count = 0
            while at < available:
                header = words[((consumed + at) & self._mask) >> 2]
                stride = ((header & LENGTH) + 15) & ~7
                if not at and stride > available and not header & BUSY:
                    # An unverified program or another process wrote over it: nothing behind it can be found.
                    self._consumer[0] = self._producer[0]
                    return EMPTY
                if header & BUSY or at + stride > available or (at and at + stride > limit):
                    break
                if not header & DISCARD:
                    _note(runs, at + 8, header & LENGTH, stride)
                    count += 1
                at += stride
            if not at:
                return EMPTY
            data = self._copy(consumed & self._mask, at)
            self._consumer[0] = (consumed + at) & 0xFFFFFFFFFFFFFFFF
        return Batch(data, runs, count) if count else EMPTY

    def _copy(self, start: int, size: int) -> bytes:
        end = start + size
        if end <= self.size:
            return self._data[start:end].tobytes()
        return self._data[start : self.size].tobytes() + self._data[: end - self.size].tobytes()

    def lookup_address(self, key: bytes, cpu: int = 0) -> int:
        return 0

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        return -ENOTSUPP

    def delete_key(self, key: bytes) -> int:
        return -ENOTSUPP


def _note(runs: list[tuple[int, int, int, int]], at: int, size: int, stride: int) -> None:
    """Add a record; records of one size that follow each other are one run."""
    if runs:
        start, count, last, step = runs[-1]
        if last == size and start + count * step == at:
            runs[-1] = (start, count + 1, size, step)
            return
    runs.append((at, 1, size, stride))


class RingReader:
    """Reader of a ring buffer: its descriptor is readable while there are records."""

    def __init__(self, ring: RingMap) -> None:
        self.name = ring.name
        self.size = ring.size
        self._ring = ring
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._signalled = False
        ring.readers.append(self)
        if ring.ready:
            self.signal()

    def fileno(self) -> int:
        """An eventfd. Of a ring that other processes produce into, it tells of this process' records alone."""
        return self._fd

    def signal(self) -> None:
        """Make the descriptor readable."""
        if not self._signalled and self._fd >= 0:
            self._signalled = True
            os.eventfd_write(self._fd, 1)

    @property
    def pending(self) -> int:
        """Bytes that wait in the ring, headers included."""
        return self._ring.pending

    def drain(self, max_bytes: int = 4 << 20) -> Batch:
        """Take out the records that are there, at most about `max_bytes`, without waiting."""
        if self._signalled:
            self._signalled = False
            os.eventfd_read(self._fd)
        batch = self._ring.take(max_bytes)
        if self._ring.ready:
            self.signal()
        return batch

    def wait(self, timeout: float) -> bool:
        """Sleep until records are announced, at most `timeout` seconds (negative: without end)."""
        from select import select

        return bool(select([self._fd], [], [], None if timeout < 0 else timeout)[0])

    def poll(self, timeout: float = -1.0, max_bytes: int = 4 << 20) -> Batch:
        """Wait for records if there are none, then take them out."""
        batch = self.drain(max_bytes)
        if not batch.count and timeout and self.wait(timeout):
            batch = self.drain(max_bytes)
        return batch

    def close(self) -> None:
        """Stop reading; the records stay."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        if self in self._ring.readers:
            self._ring.readers.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
