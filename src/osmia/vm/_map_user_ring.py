"""User ring buffer: user space produces, programs take records with bpf_user_ringbuf_drain (kernel/bpf/ringbuf.c).

The layout is that of the ring buffer; the producer's page is the user's, the consumer's is moved by programs.
"""

from __future__ import annotations

from ..errors import MapError
from ._map_base import E2BIG, EAGAIN, EINVAL, ENODATA, ENOSPC, ENOTSUPP, VmMap
from ._map_ring import _DATA, BUSY, DISCARD, LENGTH, PAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._map_base import Shape
    from ._map_storage import Room

MAX_SAMPLES = 128 << 10  # BPF_MAX_USER_RINGBUF_SAMPLES


class UserRingMap(VmMap):
    """BPF_MAP_TYPE_USER_RINGBUF: `write` puts a record in."""

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        self.size = self.max_entries
        storage = room.take(shape, _DATA + 2 * self.size, data_at=_DATA, writable=False)
        self.storages.append(storage)
        self.guard = storage.guard
        self.data_base = storage.base + _DATA
        self._consumer = storage.view[:8].cast("Q")
        self._producer = storage.view[PAGE : PAGE + 8].cast("Q")
        self._data = storage.view[_DATA:]
        self._words = self._data.cast("I")

    def _release(self) -> None:
        for view in (self._consumer, self._producer, self._words, self._data):
            view.release()

    def write(self, data: bytes) -> None:
        """Put a record in; MapError with ENOSPC when there is no room, E2BIG for one that never fits."""
        length = (len(data) + 15) & ~7
        if length > self.size:
            raise MapError(f"write to map {self.name}: a record of {len(data)} bytes never fits", errno=E2BIG)
        with self.guard:
            producer = self._producer[0]
            if producer + length - self._consumer[0] > self.size:
                raise MapError(f"write to map {self.name}: no room", errno=ENOSPC, hint="let a program drain it")
            at = producer % self.size
            self._data[at + 8 : at + 8 + len(data)] = data
            self._words[at >> 2] = len(data)
            self._words[(at >> 2) + 1] = 0
            self._producer[0] = producer + length

    def peek(self) -> tuple[int, int] | int:
        """(address, size) of the next record, or minus the errno of bpf_user_ringbuf_drain; -EAGAIN for a discarded
        one, which is taken out."""
        consumer, producer = self._consumer[0], self._producer[0]
        if producer & 7:
            return -EINVAL
        if consumer >= producer:
            return -ENODATA
        at = consumer % self.size
        header = self._words[at >> 2]
        if header & BUSY:
            return -ENODATA
        size = header & LENGTH
        length = (size + 15) & ~7
        if length > producer - consumer:
            return -EINVAL
        if length > self.size:
            return -E2BIG
        if not header & DISCARD:
            return self.data_base + at + 8, size
        self.release(size)
        return -EAGAIN

    def release(self, size: int) -> None:
        """Give back the place of the record that `peek` gave."""
        self._consumer[0] = self._consumer[0] + ((size + 15) & ~7) & 0xFFFFFFFFFFFFFFFF

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        return -ENOTSUPP

    def delete_key(self, key: bytes) -> int:
        return -ENOTSUPP
