"""Maps whose elements stand for something else: programs, maps, cgroups, and the targets of redirects.

User space names a map by its `id` (where the kernel takes an fd and gives an id). Programs in a prog array are Python
objects: `set_program`. Devices, CPUs and sockets are plain numbers here; a redirect only notes them.
"""

from __future__ import annotations

from ..isa.map_types import DEVMAP, PROG_ARRAY, SOCKMAP, XSKMAP
from ._map_array import ArrayMap
from ._map_base import (
    E2BIG,
    EEXIST,
    EINVAL,
    ENOENT,
    ENOTSUPP,
    EXIST,
    NOEXIST,
    VmMap,
)
from ._map_hash import HashMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._map_base import Shape
    from ._map_storage import Room

EBADF, EPERM = 9, 1


class FdArrayMap(VmMap):
    """Array of programs or cgroups, empty at first."""

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        self.elements: dict[int, Any] = {}

    def set(self, index: int, element: Any) -> None:
        """Put an object in; MapError with E2BIG beyond the end."""
        if not 0 <= index < self.max_entries:
            raise self._error("update", E2BIG)
        self.elements[index] = element

    def refer(self, key: bytes, element: Any) -> None:
        """Put a program in."""
        self.set(int.from_bytes(key, "little"), element.code)

    def program_at(self, index: int) -> Any:
        """What a tail call to `index` runs, or None."""
        return self.elements.get(index)

    def _number(self, element: Any) -> int:
        """What user space sees of an element."""
        return int(getattr(element, "id", 0) or getattr(element, "number", 0) or 0)

    def _row(self, key: bytes) -> bytes | int:
        if self.type != PROG_ARRAY:
            return -ENOTSUPP
        element = self.elements.get(int.from_bytes(key, "little"))
        return -ENOENT if element is None else self._number(element).to_bytes(4, "little")

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        if flags:
            return -EINVAL
        if int.from_bytes(key, "little") >= self.max_entries:
            return -E2BIG
        return -EBADF  # there are no fds of programs here: `set`

    def delete_key(self, key: bytes) -> int:
        index = int.from_bytes(key, "little")
        if index >= self.max_entries:
            return -E2BIG
        return 0 if self.elements.pop(index, None) is not None else -ENOENT

    def _keys(self) -> Iterator[bytes]:
        return (index.to_bytes(4, "little") for index in sorted(self.elements))

    def _next(self, key: bytes | None) -> bytes | int:
        index = int.from_bytes(key, "little") if key is not None else self.max_entries
        if index >= self.max_entries:
            return bytes(4)
        return -ENOENT if index == self.max_entries - 1 else (index + 1).to_bytes(4, "little")

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """(index, number of the element) of those that are set."""
        for index, element in sorted(self.elements.items()):
            yield index.to_bytes(4, "little"), self._number(element).to_bytes(4, "little")


class MapOfMaps(VmMap):
    """Elements are maps that fit the inner one. A program's look-up gives the pointer to the map."""

    # Set by create_map: a map of the machine by its id, or None.
    find: Callable[[int], VmMap | None]

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        self.elements: dict[bytes, VmMap] = {}

    def set(self, key: bytes, inner: VmMap, flags: int = 0) -> None:
        """Put a map in; MapError with EINVAL when it does not fit."""
        self._check_key(key)
        result = self._enter(key, inner, flags)
        if result:
            raise self._error("update", -result)

    refer = set

    def _enter(self, key: bytes, inner: VmMap, flags: int) -> int:
        template = self.shape.inner
        if template is not None and not template.fits(inner.shape):
            return -EINVAL
        result = self._place(key, flags)
        if not result:
            self.elements[key] = inner
        return result

    def _place(self, key: bytes, flags: int) -> int:
        """Whether a map can go to `key`: 0 or minus an errno."""
        return -ENOTSUPP

    def lookup_address(self, key: bytes, cpu: int = 0) -> int:
        inner = self.elements.get(key)
        return inner.handle if inner is not None else 0

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        inner = self.find(int.from_bytes(value, "little"))
        return -EBADF if inner is None else self._enter(key, inner, flags)

    def _row(self, key: bytes) -> bytes | int:
        inner = self.elements.get(key)
        return -ENOENT if inner is None else inner.id.to_bytes(4, "little")

    def _keys(self) -> Iterator[bytes]:
        return iter(self.elements)

    def inner(self, key: bytes) -> VmMap | None:
        """The map at `key`."""
        return self.elements.get(key)


class ArrayOfMaps(MapOfMaps):
    """BPF_MAP_TYPE_ARRAY_OF_MAPS."""

    def _place(self, key: bytes, flags: int) -> int:
        if flags:
            return -EINVAL
        return -E2BIG if int.from_bytes(key, "little") >= self.max_entries else 0

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        # Unlike a hash, the array looks at key and flags before it looks at the map (bpf_fd_array_map_update_elem).
        return self._place(key, flags) or super().update_from(key, value, flags, cpu)

    def delete_key(self, key: bytes) -> int:
        if int.from_bytes(key, "little") >= self.max_entries:
            return -E2BIG
        return 0 if self.elements.pop(key, None) is not None else -ENOENT

    _next = FdArrayMap._next


class HashOfMaps(MapOfMaps):
    """BPF_MAP_TYPE_HASH_OF_MAPS."""

    def _place(self, key: bytes, flags: int) -> int:
        if flags > EXIST:
            return -EINVAL
        there = key in self.elements
        if there and flags == NOEXIST:
            return -EEXIST
        if not there and flags == EXIST:
            return -ENOENT
        return -E2BIG if not there and len(self.elements) >= self.max_entries else 0

    def delete_key(self, key: bytes) -> int:
        return 0 if self.elements.pop(key, None) is not None else -ENOENT

    def _next(self, key: bytes | None) -> bytes | int:
        keys = list(self.elements)
        start = keys.index(key) + 1 if key in self.elements else 0
        return keys[start] if start < len(keys) else -ENOENT


class TargetArray(ArrayMap):
    """devmap, cpumap, xskmap, sockmap, array of reuseport sockets: an index that a redirect goes to, or nothing."""

    inline = ""

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape, room)
        self._set: set[int] = set()

    def target(self, key: int) -> bytes | None:
        """The value that a redirect to `key` would use, or None."""
        value = self._row(key.to_bytes(4, "little"))
        return value if isinstance(value, bytes) else None

    def lookup_address(self, key: bytes, cpu: int = 0) -> int:
        return super().lookup_address(key) if self._index(key) in self._set else 0

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        if flags > EXIST:
            return -EINVAL
        index = self._index(key)
        if index < 0:
            return -E2BIG
        there = index in self._set
        if self.type == DEVMAP and flags == NOEXIST:
            return -EEXIST
        if there and flags == NOEXIST:
            return -EEXIST
        if self.type in (SOCKMAP, XSKMAP) and not there and flags == EXIST:
            return -ENOENT
        self._store(index * self.stride, value)
        if self.type == DEVMAP and not any(value[:4]):
            self._set.discard(index)  # ifindex 0 empties the place
        else:
            self._set.add(index)
        return 0

    def delete_key(self, key: bytes) -> int:
        index = self._index(key)
        if index < 0:
            return -EINVAL
        there = index in self._set
        self._set.discard(index)
        return -EINVAL if not there and self.type == SOCKMAP else 0

    def _row(self, key: bytes) -> bytes | int:
        return super()._row(key) if self._index(key) in self._set else -ENOENT

    def _keys(self) -> Iterator[bytes]:
        return (index.to_bytes(4, "little") for index in sorted(self._set))

    def __len__(self) -> int:
        return len(self._set)

    def clear(self) -> None:
        self._set.clear()


class TargetHash(HashMap):
    """devmap_hash, sockhash."""

    inline = ""

    def target(self, key: int | bytes) -> bytes | None:
        """The value that a redirect to `key` would use, or None."""
        value = self._row(key.to_bytes(self.key_size, "little") if isinstance(key, int) else key)
        return value if isinstance(value, bytes) else None
