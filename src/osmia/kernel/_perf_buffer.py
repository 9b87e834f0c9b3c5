"""Read a perf buffer: one ring per CPU behind a perf event array (before ring buffers, 5.8)."""

from __future__ import annotations

import os
from mmap import MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE, mmap
from select import EPOLLIN, epoll
from struct import unpack_from

from .. import syscalls
from ..errors import KernelError
from ..objects import Batch
from ._ring import memory_fence, same_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ._map import Map

# enum perf_event_type, and where the positions are in struct perf_event_mmap_page, as 8-byte words
_LOST, _SAMPLE = 2, 9
_HEAD, _TAIL = 1024 // 8, 1032 // 8


class CpuRing:
    """The ring of one CPU. The kernel writes no record over unread ones; what does not fit is lost and counted."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self._map = mmap(fd, PAGESIZE + size, MAP_SHARED, PROT_READ | PROT_WRITE)
        memory = memoryview(self._map)
        self._positions = memory[:PAGESIZE].cast("Q")
        self._data = memory[PAGESIZE:]

    def take(self, fence: object) -> bytes:
        """Copy out all that is there, and give the space back."""
        head, tail = self._positions[_HEAD], self._positions[_TAIL]
        if head == tail:
            return b""
        if callable(fence):
            fence()
        start, length = tail % self.size, head - tail
        data = self._data[start : start + length].tobytes()
        if start + length > self.size:
            data += self._data[: start + length - self.size].tobytes()
        if callable(fence):
            fence()
        self._positions[_TAIL] = head
        return data

    @property
    def pending(self) -> int:
        return self._positions[_HEAD] - self._positions[_TAIL]

    def close(self) -> None:
        self._positions.release()
        self._data.release()
        self._map.close()
        os.close(self.fd)


class PerfReader:
    """Reader of a perf event array: opens one event per online CPU and enters them into the map.

    `size` is the size of each CPU's ring, a power of two pages. Readers are woken at every `wakeup`-th record.
    Records carry up to 7 bytes of padding at their end. `lost` counts records for which there was no room.
    """

    def __init__(self, events: Map, *, size: int = 64 * PAGESIZE, wakeup: int = 1) -> None:
        self.name = events.name
        self.lost = 0
        self._fence = memory_fence()
        self._rings: list[CpuRing] = []
        self._epoll = epoll()
        try:
            for cpu in syscalls.cpu_list("online"):
                if cpu < events.max_entries:
                    self._open(events, cpu, size, wakeup)
        except BaseException:
            self.close()
            raise

    def _open(self, events: Map, cpu: int, size: int, wakeup: int) -> None:
        fd = syscalls.perf_event_open(
            type=syscalls.TYPE_SOFTWARE, config=syscalls.SW_BPF_OUTPUT, period=1, sample_type=syscalls.SAMPLE_RAW,
            wakeup=wakeup, cpu=cpu,
        )  # fmt: skip
        if fd == -19:
            return  # the CPU went offline meanwhile
        if fd < 0:
            raise syscalls.explain("perf_event_open", -fd, self.name)
        try:
            ring = CpuRing(fd, size)
        except OSError as error:
            os.close(fd)
            raise KernelError(
                f"map perf buffer {self.name}: {os.strerror(error.errno or 0).lower()}",
                errno=error.errno or 0,
                operation="mmap",
                hint="a smaller ring, or more of kernel.perf_event_mlock_kb",
            ) from None
        self._rings.append(ring)
        events.update(cpu.to_bytes(4, "little"), fd.to_bytes(4, "little"))
        self._epoll.register(fd, EPOLLIN)

    def fileno(self) -> int:
        """An fd that is readable when any ring has records."""
        return self._epoll.fileno()

    @property
    def pending(self) -> int:
        """Bytes that wait in all rings, headers included."""
        return sum(ring.pending for ring in self._rings)

    def wait(self, timeout: float) -> bool:
        """Sleep until a ring announces records, at most `timeout` seconds (negative: without end)."""
        return bool(self._epoll.poll(timeout))

    def poll(self, timeout: float = -1.0) -> Batch:
        """Wait for records if there are none, then take them out; empty after `timeout` seconds without any."""
        batch = self.drain()
        if not batch.count and timeout and self.wait(timeout):
            batch = self.drain()
        return batch

    def drain(self) -> Batch:
        """Take out all records, CPU by CPU, without waiting."""
        parts: list[bytes] = []
        runs: list[tuple[int, int, int, int]] = []
        base = 0
        for ring in self._rings:
            data = ring.take(self._fence)
            if data:
                self._records(data, base, runs)
                parts.append(data)
                base += len(data)
        return Batch(parts[0] if len(parts) == 1 else b"".join(parts), runs, sum(run[1] for run in runs))

    def _records(self, data: bytes, base: int, runs: list[tuple[int, int, int, int]]) -> None:
        """Walk `struct perf_event_header`: u32 type, u16 misc, u16 size; a sample goes on with a u32 length."""
        words = memoryview(data).cast("Q")
        at = 0
        while at < len(data):
            header = words[at >> 3]
            kind, stride = header & 0xFFFFFFFF, header >> 48
            if kind == _SAMPLE:
                count = same_headers(words, at >> 3, header, stride >> 3, (len(data) - at) // stride)
                runs.append((base + at + 12, count, stride - 12, stride))
                at += count * stride
                continue
            if kind == _LOST:
                self.lost += unpack_from("=Q", data, at + 16)[0]
            at += stride

    def close(self) -> None:
        """Close the events: what programs output after that is gone."""
        rings, self._rings = self._rings, []
        for ring in rings:
            ring.close()
        if not self._epoll.closed:
            self._epoll.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
