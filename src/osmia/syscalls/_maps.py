"""bpf(2) commands on maps."""

from __future__ import annotations

from ctypes import addressof
from struct import Struct, unpack_from

from ._bpf import object_name
from ._call import address, bpf, buffer, error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import Array, c_char

MAP_CREATE, LOOKUP, UPDATE, DELETE, NEXT_KEY, LOOKUP_AND_DELETE, FREEZE = 0, 1, 2, 3, 4, 21, 22
LOOKUP_BATCH, LOOKUP_AND_DELETE_BATCH, UPDATE_BATCH, DELETE_BATCH = 24, 25, 26, 27

_CREATE = Struct("=IIIIIII16sIIIIIQiI")
_ELEM = Struct("=IIQQQ")
_BATCH = Struct("=QQQQIIQQ")
_U32 = Struct("=I")


def map_create(
    *,
    type: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    name: str = "",
    inner_map_fd: int = 0,
    numa_node: int = 0,
    btf_fd: int = 0,
    key_type: int = 0,
    value_type: int = 0,
    vmlinux_value_type: int = 0,
    map_extra: int = 0,
    ifindex: int = 0,
    token_fd: int = 0,
) -> int:
    """BPF_MAP_CREATE: the map's fd, or minus the errno."""
    if token_fd:
        flags |= 1 << 16  # BPF_F_TOKEN_FD
    attr = _CREATE.pack(
        type, key_size, value_size, max_entries, flags, inner_map_fd, numa_node, object_name(name), ifindex,
        btf_fd, key_type, value_type, vmlinux_value_type, map_extra, 0, token_fd,
    )  # fmt: skip
    return bpf(MAP_CREATE, attr)


def map_lookup(fd: int, key: bytes, size: int, flags: int = 0) -> bytes | None:
    """BPF_MAP_LOOKUP_ELEM: `size` bytes, or None where there is no such key."""
    value = buffer(size)
    result = bpf(LOOKUP, _ELEM.pack(fd, 0, address(key), addressof(value), flags))
    if result == 0:
        return value.raw
    if result == -2:
        return None
    raise error("bpf(BPF_MAP_LOOKUP_ELEM)", -result)


def map_lookup_and_delete(fd: int, key: bytes, size: int, flags: int = 0) -> bytes | None:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM: the value that was there, or None (hash maps since 5.14, queues since 4.20)."""
    value = buffer(size)
    result = bpf(LOOKUP_AND_DELETE, _ELEM.pack(fd, 0, address(key), addressof(value), flags))
    if result == 0:
        return value.raw
    if result == -2:
        return None
    raise error("bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM)", -result)


def map_update(fd: int, key: bytes, value: bytes, flags: int = 0) -> int:
    """BPF_MAP_UPDATE_ELEM: 0, or minus the errno (-7: the map is full)."""
    return bpf(UPDATE, _ELEM.pack(fd, 0, address(key), address(value), flags))


def map_delete(fd: int, key: bytes) -> bool:
    """BPF_MAP_DELETE_ELEM: whether the key was there."""
    result = bpf(DELETE, _ELEM.pack(fd, 0, address(key), 0, 0))
    if result == 0:
        return True
    if result == -2:
        return False
    raise error("bpf(BPF_MAP_DELETE_ELEM)", -result)


def map_next_key(fd: int, key: bytes | None, size: int) -> bytes | None:
    """BPF_MAP_GET_NEXT_KEY: the key after `key` (the first one after None), or None at the end."""
    following = buffer(size)
    result = bpf(NEXT_KEY, _ELEM.pack(fd, 0, address(key), addressof(following), 0))
    if result == 0:
        return following.raw
    if result == -2:
        return None
    raise error("bpf(BPF_MAP_GET_NEXT_KEY)", -result)


def map_freeze(fd: int) -> None:
    """BPF_MAP_FREEZE: no more writes from user space (since 5.2)."""
    result = bpf(FREEZE, _U32.pack(fd))
    if result < 0:
        raise error("bpf(BPF_MAP_FREEZE)", -result)


class MapBatch:
    """Buffers of BPF_MAP_*_BATCH that walk over one map; `keys` and `values` hold `count` elements after `read`."""

    def __init__(self, fd: int, key_size: int, value_size: int, room: int) -> None:
        self.fd = fd
        self.key_size = key_size
        self.value_size = value_size
        # A hash map's position is a u32 bucket number, an array's a key: at least 4 bytes either way.
        self._position = buffer(max(key_size, 8))
        self._started = False
        self._resize(room)
        self.count = 0

    def _resize(self, room: int) -> None:
        self.room = room
        self._keys: Array[c_char] = buffer(room * self.key_size)
        self._values: Array[c_char] = buffer(room * self.value_size)

    def read(self, command: int = LOOKUP_BATCH) -> int:
        """Read (or read and delete) the next elements: 0 for more to come, 1 at the end, or minus the errno.

        A hash bucket with more elements than there is room gives ENOSPC: the room is then doubled.
        """
        while True:
            position = addressof(self._position)
            attr = buffer(
                _BATCH.pack(
                    position if self._started else 0, position, addressof(self._keys), addressof(self._values),
                    self.room, self.fd, 0, 0,
                )
            )  # fmt: skip
            result = bpf(command, attr)
            if result == -28:
                self._resize(self.room * 2)
                continue
            if result not in (0, -2):
                self.count = 0
                return result
            (self.count,) = unpack_from("=I", attr, 32)
            self._started = True
            return 1 if result == -2 else 0

    @property
    def keys(self) -> bytes:
        """`count` keys, one after the other."""
        return bytes(memoryview(self._keys)[: self.count * self.key_size])

    @property
    def values(self) -> bytes:
        """`count` values, one after the other (each with all CPUs for a per-CPU map)."""
        return bytes(memoryview(self._values)[: self.count * self.value_size])


def map_write_batch(fd: int, command: int, keys: bytes, values: bytes, count: int) -> tuple[int, int]:
    """BPF_MAP_UPDATE_BATCH or BPF_MAP_DELETE_BATCH: (0 or minus the errno, how many elements were done)."""
    attr = buffer(_BATCH.pack(0, 0, address(keys), address(values), count, fd, 0, 0))
    result = bpf(command, attr)
    (done,) = unpack_from("=I", attr, 32)
    return result, done
