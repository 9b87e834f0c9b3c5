"""Perf event array: what programs output, per CPU, until a reader takes it."""

from __future__ import annotations

import os

from ..objects import Batch
from ._map_base import E2BIG, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP
from ._map_refs import FdArrayMap
from ._map_ring import EMPTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ._map_base import Shape
    from ._map_storage import Room

_SAMPLE = 9  # PERF_RECORD_SAMPLE


class PerfEventArrayMap(FdArrayMap):
    """Element c is the buffer of CPU c once there is a reader: without one, output gives ENOENT."""

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape, room)
        self.perf_reader: PerfReader | None = None

    def output(self, index: int, cpu: int, data: bytes) -> int:
        """bpf_perf_event_output by a program on `cpu` to element `index`: 0 or minus an errno."""
        if index >= self.max_entries:
            return -E2BIG
        if self.perf_reader is None or index >= self.cpus_of_reader:
            return -ENOENT
        return self.perf_reader.add(index, data) if index == cpu else -EOPNOTSUPP

    @property
    def cpus_of_reader(self) -> int:
        """For how many CPUs there are buffers."""
        return self.shape.cpus

    def reader(self, *, size: int = 64 * 4096) -> PerfReader:
        """The reader; `size` bytes of room for each CPU. The caller closes it."""
        if self.perf_reader is not None:
            raise self._error("read", EINVAL)
        self.perf_reader = PerfReader(self, size)
        return self.perf_reader

    def _release(self) -> None:
        if self.perf_reader is not None:
            self.perf_reader.close()


class PerfReader:
    """Takes out records as osmia.kernel.PerfReader does: CPU by CPU, each with up to 7 bytes of padding at its end."""

    def __init__(self, events: PerfEventArrayMap, size: int) -> None:
        self.name = events.name
        self.lost = 0
        self.size = size
        self._events: PerfEventArrayMap | None = events
        self._rings = [bytearray() for _ in range(events.shape.cpus)]
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._signalled = False

    def add(self, cpu: int, data: bytes) -> int:
        """A record of CPU `cpu`: 0, or -ENOSPC (and counted as lost) when there is no room."""
        ring = self._rings[cpu]
        length = ((len(data) + 4 + 7) & ~7) - 4
        if len(ring) + 12 + length > self.size:
            self.lost += 1
            return -ENOSPC
        ring += _SAMPLE.to_bytes(4, "little") + bytes(2) + (12 + length & 0xFFFF).to_bytes(2, "little")
        ring += length.to_bytes(4, "little") + data.ljust(length, b"\0")
        if not self._signalled:
            self._signalled = True
            os.eventfd_write(self._fd, 1)
        return 0

    def fileno(self) -> int:
        """Readable when there are records."""
        return self._fd

    @property
    def pending(self) -> int:
        """Bytes that wait, headers included."""
        return sum(len(ring) for ring in self._rings)

    def drain(self) -> Batch:
        """Take out all records."""
        if self._signalled:
            self._signalled = False
            os.eventfd_read(self._fd)
        data = b"".join(self._rings)
        if not data:
            return EMPTY
        for ring in self._rings:
            ring.clear()
        runs = []
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at + 8 : at + 12], "little")
            runs.append((at + 12, 1, length, 12 + length))
            at += 12 + length
        return Batch(data, runs, len(runs))

    def wait(self, timeout: float) -> bool:
        """Sleep until there are records, at most `timeout` seconds (negative: without end)."""
        from select import select

        return bool(select([self._fd], [], [], None if timeout < 0 else timeout)[0])

    def poll(self, timeout: float = -1.0) -> Batch:
        """Wait for records if there are none, then take them out."""
        batch = self.drain()
        if not batch.count and timeout and self.wait(timeout):
            batch = self.drain()
        return batch

    def close(self) -> None:
        """Stop reading: what programs output after that is gone."""
        if self._events is not None:
            self._events.perf_reader = None
            self._events = None
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
