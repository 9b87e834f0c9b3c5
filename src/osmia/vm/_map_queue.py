"""Queue, stack and bloom filter: maps without keys.

Layout of queue and stack: u32 head, u32 tail at 0 (hidden from programs), values of `stride` bytes behind; there is one
place more than max_entries, as in kernel/bpf/queue_stack_maps.c.
"""

from __future__ import annotations

from ._map_base import (
    E2BIG,
    EINVAL,
    ENOENT,
    EOPNOTSUPP,
    EXIST,
    NOEXIST,
    VmMap,
)
from ._map_hash import MULTIPLIER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._map_base import Shape
    from ._map_storage import Room

_DATA = 64


class QueueMap(VmMap):
    """First in, first out."""

    lifo = False

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        self.n_places = self.max_entries + 1
        self.stride = self.padded
        storage = room.take(shape, _DATA + self.n_places * self.stride, data_at=_DATA)
        self.storages.append(storage)
        self.guard = storage.guard
        self._position = storage.view[:8].cast("I")
        self._values = storage.view[_DATA:]

    def _release(self) -> None:
        self._position.release()
        self._values.release()

    def __len__(self) -> int:
        head, tail = self._position
        return (head - tail) % self.n_places

    def push_value(self, value: bytes, flags: int = 0) -> int:
        if flags & NOEXIST or flags > EXIST:
            return -EINVAL
        with self.guard:
            head, tail = self._position[0] % self.n_places, self._position[1] % self.n_places
            if (head + 1) % self.n_places == tail:
                if not flags & EXIST:
                    return -E2BIG
                self._position[1] = (tail + 1) % self.n_places
            at = head * self.stride
            self._values[at : at + self.value_size] = value
            self._position[0] = (head + 1) % self.n_places
        return 0

    def _get(self, take: bool) -> bytes | int:
        with self.guard:
            head, tail = self._position[0] % self.n_places, self._position[1] % self.n_places
            if head == tail:
                return -ENOENT
            place = (head - 1) % self.n_places if self.lifo else tail
            at = place * self.stride
            value = self._values[at : at + self.value_size].tobytes()
            if take:
                self._position[0 if self.lifo else 1] = place if self.lifo else (tail + 1) % self.n_places
        return value

    def pop_value(self) -> bytes | int:
        return self._get(True)

    def peek_value(self, value: bytes = b"") -> bytes | int:
        return self._get(False)

    # bpf_map_update_elem and the rest refuse these types at load; bpf(2) maps its commands on push, peek and pop.

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        return -EINVAL

    def delete_key(self, key: bytes) -> int:
        return -EINVAL

    def _row(self, key: bytes) -> bytes | int:
        return self._get(False)

    def _set_row(self, key: bytes, row: bytes, flags: int) -> int:
        return self.push_value(row, flags)

    def _take(self, key: bytes) -> bytes | int:
        return self._get(True)

    def _next(self, key: bytes | None) -> bytes | int:
        return -EINVAL

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """(b"", value), in the order in which they would be taken; none is taken."""
        with self.guard:
            head, tail = self._position[0] % self.n_places, self._position[1] % self.n_places
            places = [(tail + i) % self.n_places for i in range((head - tail) % self.n_places)]
            values = [self._values[p * self.stride : p * self.stride + self.value_size].tobytes() for p in places]
        for value in reversed(values) if self.lifo else values:
            yield b"", value

    def push(self, value: bytes, flags: int = 0) -> None:
        """Put a value in; MapError with E2BIG when it is full and `flags` is not 2 (drop the oldest)."""
        self.update(b"", value, flags)

    def clear(self) -> None:
        with self.guard:
            self._position[0] = self._position[1] = 0


class StackMap(QueueMap):
    """Last in, first out."""

    lifo = True


class BloomFilterMap(VmMap):
    """May say that a value is in it that is not; never the other way round. Bits are hidden from programs.

    `extra` of the shape is the number of hash functions, 5 when 0. The number of bits is the kernel's
    (kernel/bpf/bloom_filter.c): entries * functions / ln 2, rounded up to a power of two.
    """

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        self.functions = shape.extra & 15 or 5
        wanted = self.max_entries * self.functions * 7 // 5
        self.bits = 1 << 32 if wanted >= 1 << 31 else max(64, 1 << max(wanted - 1, 0).bit_length())
        storage = room.take(shape, self.bits // 8 + 8, data_at=self.bits // 8)
        self.storages.append(storage)
        self.guard = storage.guard
        self._bitmap = storage.view

    def _release(self) -> None:
        self._bitmap.release()

    def _places(self, value: bytes) -> Iterator[int]:
        padded = value + bytes(-len(value) % 8)
        for function in range(self.functions):
            h = (function + 1) * MULTIPLIER & 0xFFFFFFFFFFFFFFFF
            for at in range(0, len(padded), 8):
                h = (h ^ int.from_bytes(padded[at : at + 8], "little")) * MULTIPLIER & 0xFFFFFFFFFFFFFFFF
                h ^= h >> 32
            yield h & (self.bits - 1)

    def push_value(self, value: bytes, flags: int = 0) -> int:
        if flags:
            return -EINVAL
        with self.guard:
            for bit in self._places(value):
                self._bitmap[bit >> 3] |= 1 << (bit & 7)
        return 0

    def peek_value(self, value: bytes = b"") -> bytes | int:
        if all(self._bitmap[bit >> 3] >> (bit & 7) & 1 for bit in self._places(value)):
            return b""
        return -ENOENT

    def has(self, value: bytes) -> bool:
        """Whether `value` may be in it."""
        return isinstance(self.peek_value(value), bytes)

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        return -EINVAL

    def delete_key(self, key: bytes) -> int:
        return -EOPNOTSUPP

    def _row(self, key: bytes) -> bytes | int:
        return -ENOENT

    def _set_row(self, key: bytes, row: bytes, flags: int) -> int:
        return self.push_value(row, flags)

    def _take(self, key: bytes) -> bytes | int:
        return -EOPNOTSUPP

    def _next(self, key: bytes | None) -> bytes | int:
        return -EOPNOTSUPP
