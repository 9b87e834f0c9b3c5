"""Longest prefix match. Keys are u32 prefix length, then `key_size` - 4 bytes, most significant bit first.

Values lie in entries of {key padded to 8, value padded to 8}; which entry holds which prefix is kept in dictionaries,
one per length. An element that is updated moves to another entry, as the kernel's nodes do.
"""

from __future__ import annotations

from ._map_base import EEXIST, EINVAL, ENOENT, ENOMEM, ENOSPC, EXIST, NOEXIST, RDONLY_PROG, VmMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._map_base import Shape
    from ._map_storage import Room


_NODE = 160  # bytes of an element beside its entry


class TrieMap(VmMap):
    """BPF_MAP_TYPE_LPM_TRIE; ENOSPC when it is full."""

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        self.bits = 8 * (self.key_size - 4)
        self.key_padded = (self.key_size + 7) & ~7
        self.stride = self.key_padded + self.padded
        storage = room.take(
            shape, (self.max_entries + 1) * self.stride, data_at=0, writable=not shape.flags & RDONLY_PROG
        )
        self.storages.append(storage)
        self.guard = storage.guard
        self._memory = room.memory
        self.data_base = storage.base
        self._data = storage.view
        self._by_length: dict[int, dict[bytes, int]] = {}
        self._lengths: list[int] = []  # longest first
        self._free: list[int] = []
        self._fresh = 0
        self._count = 0

    def _release(self) -> None:
        self._memory.used -= min(self._memory.used, self._fresh * _NODE)
        self._data.release()

    def _room_for_one(self) -> bool:
        """Whether the machine's memory has room for what another element takes in the dictionaries."""
        if self._memory.used + _NODE > self._memory.limit:
            return False
        self._memory.used += _NODE
        return True

    def __len__(self) -> int:
        return self._count

    def _split(self, key: bytes) -> tuple[int, int]:
        """(prefix length, address bits as a number)."""
        return int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "big")

    def _prefix(self, number: int, length: int) -> bytes:
        return (number >> (self.bits - length)).to_bytes(self.bits // 8, "big")

    def _find(self, key: bytes) -> int:
        """The entry of the longest prefix that matches, -1 for none."""
        limit, number = self._split(key)
        if limit > self.bits:
            return -1
        for length in self._lengths:
            if length <= limit:
                entry = self._by_length[length].get(self._prefix(number, length), -1)
                if entry >= 0:
                    return entry
        return -1

    def lookup_address(self, key: bytes, cpu: int = 0) -> int:
        entry = self._find(key)
        return self.data_base + entry * self.stride + self.key_padded if entry >= 0 else 0

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        if flags > EXIST:
            return -EINVAL
        length, number = self._split(key)
        if length > self.bits:
            return -EINVAL
        with self.guard:
            prefixes = self._by_length.get(length, {})
            prefix = self._prefix(number, length)
            old = prefixes.get(prefix, -1)
            if old >= 0 and flags & NOEXIST:
                return -EEXIST
            if old < 0 and flags & EXIST:
                return -ENOENT
            if old < 0 and self._count >= self.max_entries:
                return -ENOSPC
            if not self._free and not self._room_for_one():
                return -ENOMEM
            entry = self._free.pop() if self._free else self._fresh
            self._fresh = max(self._fresh, entry + 1)
            at = entry * self.stride
            self._data[at : at + self.key_size] = key
            self._data[at + self.key_padded : at + self.key_padded + self.value_size] = value
            if not prefixes:
                self._by_length[length] = prefixes
                self._lengths = sorted(self._by_length, reverse=True)
            prefixes[prefix] = entry
            if old >= 0:
                self._free.append(old)
            else:
                self._count += 1
        return 0

    def delete_key(self, key: bytes) -> int:
        length, number = self._split(key)
        if length > self.bits:
            return -EINVAL
        with self.guard:
            prefixes = self._by_length.get(length, {})
            entry = prefixes.pop(self._prefix(number, length), -1)
            if entry < 0:
                return -ENOENT
            if not prefixes:
                del self._by_length[length]
                self._lengths.remove(length)
            self._free.append(entry)
            self._count -= 1
        return 0

    def _key_of(self, entry: int) -> bytes:
        at = entry * self.stride
        return self._data[at : at + self.key_size].tobytes()

    def _keys(self) -> Iterator[bytes]:
        """Longer prefixes first."""
        return (self._key_of(entry) for length in self._lengths for entry in self._by_length[length].values())

    def _row(self, key: bytes) -> bytes | int:
        entry = self._find(key)
        at = entry * self.stride + self.key_padded
        return self._data[at : at + self.value_size].tobytes() if entry >= 0 else -ENOENT

    def _next(self, key: bytes | None) -> bytes | int:
        keys = list(self._keys())
        start = 0
        if key is not None:
            length, number = self._split(key)
            if length > self.bits:
                return keys[0] if keys else -ENOENT
            entry = self._by_length.get(length, {}).get(self._prefix(number, length), -1)
            if entry >= 0:
                start = keys.index(self._key_of(entry)) + 1
        return keys[start] if start < len(keys) else -ENOENT
