"""Array and per-CPU array.

Layout: element i of an array is at `values_base + i * stride`, stride = value size rounded up to 8. In a per-CPU array
the copy of CPU c is at `values_base + (i * cpus + c) * stride`. Native code inlines: index (u32, little endian)
< `max_entries` ? address : 0.
"""

from __future__ import annotations

from ._map_base import ANY, E2BIG, EEXIST, EINVAL, ENOENT, EXIST, F_LOCK, NOEXIST, RDONLY_PROG, VmMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._machine import Machine
    from ._map_base import Shape
    from ._map_storage import Room


class ArrayMap(VmMap):
    """Values by index; all are there from the start, zeroed."""

    inline = "array"

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        self.stride = self.padded
        self.copies = self.cpus
        size = self.max_entries * self.copies * self.stride
        storage = room.take(shape, size, data_at=0, writable=not shape.flags & RDONLY_PROG)
        self.storages.append(storage)
        self.guard = storage.guard
        self.values_base = storage.base
        self._view = storage.view

    def _release(self) -> None:
        self._view.release()

    def _index(self, key: bytes) -> int:
        """The index, -1 when out of range."""
        index = int.from_bytes(key, "little")
        return index if index < self.max_entries else -1

    def lookup_address(self, key: bytes, cpu: int = 0) -> int:
        index = self._index(key)
        return self.values_base + index * self.stride if index >= 0 else 0

    def element_at(self, address: int, machine: Machine) -> tuple[int, int] | None:
        from ._helpers_map import scratch

        index = (address - self.values_base) // self.stride
        if not 0 <= index < self.max_entries:
            return None
        key = scratch(machine, 8)
        machine.write(key, index.to_bytes(4, "little"))
        return key, self.values_base + index * self.stride

    def _check(self, index: int, flags: int) -> int:
        if flags & ~F_LOCK > EXIST:
            return -EINVAL
        if index < 0:
            return -E2BIG
        if flags & NOEXIST:
            return -EEXIST
        return -EINVAL if flags & F_LOCK and self.shape.spin_lock < 0 else 0

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        index = self._index(key)
        result = self._check(index, flags)
        if result == 0:
            self._store(index * self.stride, value)
        return result

    def _store(self, at: int, value: bytes) -> None:
        """Write a value; what is in locks and timers stays."""
        if not self.shape.locked:
            self._view[at : at + self.value_size] = value
            return
        new = bytearray(value)
        for offset, size in self.shape.locked:
            new[offset : offset + size] = self._view[at + offset : at + offset + size]
        self._view[at : at + self.value_size] = new

    def delete_key(self, key: bytes) -> int:
        return -EINVAL

    def _keys(self) -> Iterator[bytes]:
        return (index.to_bytes(4, "little") for index in range(self.max_entries))

    def _row(self, key: bytes) -> bytes | int:
        index = self._index(key)
        if index < 0:
            return -ENOENT
        at = index * self.stride * self.copies
        return self._view[at : at + (self.stride * self.copies if self.per_cpu else self.value_size)].tobytes()

    def _next(self, key: bytes | None) -> bytes | int:
        index = int.from_bytes(key, "little") if key is not None else self.max_entries
        if index >= self.max_entries:
            return bytes(4)
        if index == self.max_entries - 1:
            return -ENOENT
        return (index + 1).to_bytes(4, "little")

    def clear(self) -> None:
        self.zero()

    def zero(self) -> None:
        size = self.stride * self.copies
        if self.max_entries == 1 or not self.shape.locked:
            empty = bytes(size)
            for index in range(self.max_entries):
                self._view[index * size : (index + 1) * size] = empty
            return
        super().zero()

    def __len__(self) -> int:
        return self.max_entries


class PerCpuArrayMap(ArrayMap):
    """One copy of each value per CPU."""

    per_cpu = True
    inline = "percpu_array"

    def lookup_address(self, key: bytes, cpu: int = 0) -> int:
        index = self._index(key)
        return self.values_base + (index * self.cpus + cpu) * self.stride if index >= 0 and cpu < self.cpus else 0

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        index = self._index(key)
        result = self._check(index, flags) if cpu < self.cpus else -EINVAL
        if result == 0:
            self._store((index * self.cpus + cpu) * self.stride, value)
        return result

    def _set_row(self, key: bytes, row: bytes, flags: int) -> int:
        if flags > EXIST:
            return -EINVAL
        index = self._index(key)
        if index < 0:
            return -E2BIG
        if flags & NOEXIST:
            return -EEXIST
        size = self.stride * self.cpus
        self._view[index * size : (index + 1) * size] = row
        return ANY
