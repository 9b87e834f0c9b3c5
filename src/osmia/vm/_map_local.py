"""Storage that belongs to something: task, cgroup, inode and socket storage, and storage of the cgroup of attachment.

An owner is a number: for programs the address they pass (a task, a socket), for users the key: the pid, the cgroup id,
the socket's cookie. `key_of` turns an address into that number; see `_helpers_storage.py`.
"""

from __future__ import annotations

from ..isa.map_types import PERCPU_CGROUP_STORAGE
from ._map_base import EEXIST, EINVAL, ENOENT, EXIST, F_LOCK, NOEXIST, VmMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._map_base import Shape
    from ._map_storage import Room, Storage

_CHUNK = 64  # elements that memory is taken for at a time


class LocalStorageMap(VmMap):
    """A value for each owner, made when first asked for."""

    def __init__(self, shape: Shape, room: Room) -> None:
        self.per_cpu = shape.type == PERCPU_CGROUP_STORAGE
        super().__init__(shape)
        self.stride = self.padded * self.cpus
        self._room = room
        self._places: dict[int, tuple[Storage, int]] = {}
        self._free: list[tuple[Storage, int]] = []

    def storage(self, owner: int, initial: bytes | None, *, create: bool, cpu: int = 0) -> int:
        """The address of the owner's value (of CPU `cpu`), 0 when there is none and `create` is not set."""
        with self.guard:
            place = self._places.get(owner)
            if place is None:
                if not create:
                    return 0
                place = self._take_place(owner)
                if initial is not None:
                    place[0].view[place[1] : place[1] + self.value_size] = initial
        return place[0].base + place[1] + (cpu * self.padded if self.per_cpu and 0 <= cpu < self.cpus else 0)

    def _take_place(self, owner: int) -> tuple[Storage, int]:
        if not self._free:
            chunk = self._room.take(self.shape, _CHUNK * self.stride, data_at=0)
            self.storages.append(chunk)
            self._free = [(chunk, i * self.stride) for i in reversed(range(_CHUNK))]
        place = self._free.pop()
        place[0].view[place[1] : place[1] + self.stride] = bytes(self.stride)
        self._places[owner] = place
        return place

    def drop(self, owner: int) -> int:
        """Remove the owner's value: 0 or -ENOENT."""
        with self.guard:
            place = self._places.pop(owner, None)
            if place is None:
                return -ENOENT
            self._free.append(place)
        return 0

    def _owner(self, key: bytes) -> int:
        return int.from_bytes(key[:8], "little")

    def lookup_address(self, key: bytes, cpu: int = 0) -> int:
        return self.storage(self._owner(key), None, create=False, cpu=cpu)

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        flags &= ~F_LOCK
        if flags > EXIST:
            return -EINVAL
        owner = self._owner(key)
        there = owner in self._places
        if there and flags == NOEXIST:
            return -EEXIST
        if not there and flags == EXIST:
            return -ENOENT
        chunk, at = self._places.get(owner) or self._take_place(owner)
        chunk.view[at : at + len(value)] = value
        return 0

    def delete_key(self, key: bytes) -> int:
        return self.drop(self._owner(key))

    def _row(self, key: bytes) -> bytes | int:
        place = self._places.get(self._owner(key))
        if place is None:
            return -ENOENT
        return bytes(place[0].view[place[1] : place[1] + self.row_size])

    def _keys(self) -> Iterator[bytes]:
        return (owner.to_bytes(8, "little")[: self.key_size].ljust(self.key_size, b"\0") for owner in self._places)
