"""What all maps of the user-space target have in common: two faces, one storage.

Programs (through helpers) use `lookup_address`, `update_from`, `delete_key`, `push_value`, `pop_value`, `peek_value`:
addresses, 0 or minus an errno, the CPU they run on given. Users use `lookup`, `update`, `delete`, `items`, ... as on
`osmia.kernel.Map`, and `sys_*`, which are the commands of bpf(2): bytes, or minus an errno. The errno are those of
Linux 6.18, and so is the order in which they are checked.

All that programs can reach lies in `Memory` regions, so that native code reads and writes it in place.
"""

from __future__ import annotations

import os
from _thread import RLock

from ..errors import MapError
from ..isa.map_types import ARRAY, QUEUE, STACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from ._machine import Machine
    from ._map_storage import Guard, Storage

# Flags of BPF_MAP_CREATE
NO_PREALLOC, NO_COMMON_LRU, NUMA_NODE, RDONLY, WRONLY, STACK_BUILD_ID, ZERO_SEED = (1 << bit for bit in range(7))
RDONLY_PROG, WRONLY_PROG, CLONE, MMAPABLE, PRESERVE_ELEMS, INNER_MAP = (1 << bit for bit in range(7, 13))
ACCESS = RDONLY | WRONLY | RDONLY_PROG | WRONLY_PROG

# Flags of an update
ANY, NOEXIST, EXIST, F_LOCK = 0, 1, 2, 4

EPERM, ENOENT, E2BIG, EAGAIN, ENOMEM, EFAULT, EBUSY, EEXIST, EINVAL, ENOSPC = 1, 2, 7, 11, 12, 14, 16, 17, 22, 28
ENODATA, EOPNOTSUPP, ENOTSUPP = 61, 95, 524


class Shape:
    """What BPF_MAP_CREATE is told, and what user space adds: CPUs, special fields, a file to share the map in.

    `locked` lists (offset, size) of fields of the value that only the kernel writes: spin locks (4 bytes), timers (16).
    `spin_lock` is the offset of a `struct bpf_spin_lock` in the value, -1 for none.
    """

    __slots__ = (
        "cpus", "extra", "flags", "inner", "key_size", "locked", "max_entries", "name", "shared", "spin_lock", "type",
        "value_size",
    )  # fmt: skip

    def __init__(
        self,
        type: int,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int = 0,
        name: str = "",
        *,
        cpus: int = 1,
        extra: int = 0,
        inner: Shape | None = None,
        locked: tuple[tuple[int, int], ...] = (),
        spin_lock: int = -1,
        shared: str = "",
    ) -> None:
        self.type = type
        self.key_size = key_size
        self.value_size = value_size
        self.max_entries = max_entries
        self.flags = flags
        self.name = name
        self.cpus = cpus
        self.extra = extra
        self.inner = inner
        self.locked = locked
        self.spin_lock = spin_lock
        self.shared = shared

    def fits(self, other: Shape) -> bool:
        """Whether a map of `other` may take the place of one of this shape in a map of maps (bpf_map_meta_equal)."""
        same = ("type", "key_size", "value_size", "flags")
        if any(getattr(self, name) != getattr(other, name) for name in same):
            return False
        return self.type != ARRAY or bool(self.flags & INNER_MAP) or self.max_entries == other.max_entries


class VmMap:
    """A map. Subclasses say how elements lie in memory."""

    per_cpu = False
    # For native code: how a look-up may be inlined ("array", "percpu_array", "hash", "percpu_hash", "lru_hash",
    # "lru_percpu_hash"), or "". Addresses and strides are attributes of the class that says so.
    inline = ""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.name = shape.name
        self.type = shape.type
        self.key_size = shape.key_size
        self.value_size = shape.value_size
        self.max_entries = shape.max_entries
        self.flags = shape.flags
        self.cpus = shape.cpus if self.per_cpu else 1
        self.padded = (shape.value_size + 7) & ~7
        self.slot_size = self.padded if self.per_cpu else shape.value_size
        self.row_size = self.slot_size * self.cpus
        self.frozen = False
        self.closed = False
        self.id = 0  # number of the map on its machine, from 1
        self.handle = 0  # what programs hold as pointer to it, see Machine.add_map
        self.storages: list[Storage] = []
        self.guard: Guard | RLock = RLock()

    # ---- for programs -------------------------------------------------------------------------------------------

    def lookup_address(self, key: bytes, cpu: int = 0) -> int:
        """Where the value of `key` (of CPU `cpu`) is, 0 when there is none."""
        return 0

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        """Set the value (of CPU `cpu`): 0 or minus an errno."""
        return -EOPNOTSUPP

    def delete_key(self, key: bytes) -> int:
        """Remove a key: 0 or minus an errno."""
        return -EOPNOTSUPP

    def push_value(self, value: bytes, flags: int = 0) -> int:
        """Put a value into a queue, stack or bloom filter: 0 or minus an errno."""
        return -EOPNOTSUPP

    def pop_value(self) -> bytes | int:
        """Take the next value of a queue or stack: bytes, or minus an errno."""
        return -EOPNOTSUPP

    def peek_value(self, value: bytes = b"") -> bytes | int:
        """The next value of a queue or stack; of a bloom filter, whether `value` may be in it (b"" or -2)."""
        return -EOPNOTSUPP

    def percpu_address(self, key: bytes, cpu: int) -> int:
        """bpf_map_lookup_percpu_elem: where CPU `cpu`'s value is, or 0."""
        return self.lookup_address(key, cpu) if self.per_cpu and 0 <= cpu < self.cpus else 0

    def places(self, cpu: int = 0) -> Iterator[tuple[int, int]]:
        """(address of the key, address of the value) of each element, as bpf_for_each_map_elem meets them."""
        return iter(())

    def element_at(self, address: int, machine: Machine) -> tuple[int, int] | None:
        """(address of the key, address of the value) of the element in which `address` lies, or None."""
        return None

    # ---- the commands of bpf(2) ---------------------------------------------------------------------------------

    def _keys(self) -> Iterator[bytes]:
        """All keys there are."""
        return iter(())

    def _row(self, key: bytes) -> bytes | int:
        """All of a value as user space sees it, or minus an errno."""
        return -ENOTSUPP

    def _set_row(self, key: bytes, row: bytes, flags: int) -> int:
        return self.update_from(key, row, flags)

    def _next(self, key: bytes | None) -> bytes | int:
        return -ENOTSUPP

    def _take(self, key: bytes) -> bytes | int:
        return -ENOTSUPP

    def _take_row(self, key: bytes) -> bytes | int:
        """`_take` of maps whose elements can be looked up and deleted."""
        row = self._row(key)
        if isinstance(row, bytes):
            self.delete_key(key)
        return row

    def sys_lookup(self, key: bytes, flags: int = 0) -> bytes | int:
        """BPF_MAP_LOOKUP_ELEM: the value (one padded copy per CPU of a per-CPU map), or minus an errno."""
        if flags & ~F_LOCK:
            return -EINVAL
        if self.flags & WRONLY:
            return -EPERM
        if flags & F_LOCK and self.shape.spin_lock < 0:
            return -EINVAL
        with self.guard:
            row = self._row(key)
        return self._masked(row) if self.shape.locked and isinstance(row, bytes) else row

    def sys_update(self, key: bytes, value: bytes, flags: int = 0) -> int:
        """BPF_MAP_UPDATE_ELEM: 0, or minus an errno."""
        if self.flags & RDONLY or self.frozen:
            return -EPERM
        if flags & F_LOCK and self.shape.spin_lock < 0:
            return -EINVAL
        with self.guard:
            return self._set_row(key, value, flags)

    def sys_delete(self, key: bytes) -> int:
        """BPF_MAP_DELETE_ELEM: 0, or minus an errno."""
        if self.flags & RDONLY or self.frozen:
            return -EPERM
        with self.guard:
            return self.delete_key(key)

    def sys_next(self, key: bytes | None) -> bytes | int:
        """BPF_MAP_GET_NEXT_KEY: the key after `key` (the first of all after None or an unknown key), or -2."""
        if self.flags & WRONLY:
            return -EPERM
        with self.guard:
            return self._next(key)

    def sys_take(self, key: bytes = b"", flags: int = 0) -> bytes | int:
        """BPF_MAP_LOOKUP_AND_DELETE_ELEM: the value that was there, or minus an errno."""
        if flags & ~F_LOCK:
            return -EINVAL
        if self.flags & (RDONLY | WRONLY) or self.frozen:
            return -EPERM
        if flags and (self.type in (QUEUE, STACK) or self.shape.spin_lock < 0):
            return -EINVAL
        with self.guard:
            row = self._take(key)
        return self._masked(row) if self.shape.locked and isinstance(row, bytes) else row

    def _masked(self, row: bytes) -> bytes:
        """User space never sees what is in a lock or a timer."""
        out = bytearray(row)
        for base in range(0, len(row), max(self.slot_size, 1)):
            for offset, size in self.shape.locked:
                out[base + offset : base + offset + size] = bytes(size)
        return bytes(out)

    # ---- for users, as osmia.kernel.Map -------------------------------------------------------------------------

    def _error(self, verb: str, errno: int) -> MapError:
        cause = os.strerror(errno).lower()
        hint = ""
        if errno == E2BIG:
            cause, hint = f"it is full ({self.max_entries} entries)", "give it more max_entries"
        elif errno in (EOPNOTSUPP, ENOTSUPP):
            cause = "this map type does not allow it"
        elif errno == EPERM:
            cause = "it is frozen" if self.frozen else "its flags forbid it to user space"
        return MapError(f"{verb} map {self.name}: {cause}", errno=errno, operation=verb, hint=hint)

    def _check_key(self, key: bytes) -> None:
        if len(key) != self.key_size:
            raise MapError(
                f"use map {self.name}: key of {len(key)} bytes, {self.key_size} wanted", errno=EINVAL, operation="use"
            )

    def _answer(self, verb: str, result: bytes | int) -> bytes | None:
        if isinstance(result, bytes):
            return result
        if result == -ENOENT:
            return None
        raise self._error(verb, -result)

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """The value of `key` (all CPUs of a per-CPU map), or None."""
        self._check_key(key)
        return self._answer("look up", self.sys_lookup(key, flags))

    def pop(self, key: bytes = b"") -> bytes | None:
        """Take the value of `key` out (of a queue or stack: the next one), or None."""
        self._check_key(key)
        return self._answer("take from", self.sys_take(key))

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set a value. `flags`: 0 any, 1 only if new (errno 17), 2 only if there (errno 2)."""
        self._check_key(key)
        if len(value) != self.row_size:
            raise MapError(
                f"update map {self.name}: value of {len(value)} bytes, {self.row_size} wanted",
                errno=EINVAL,
                operation="update",
            )
        result = self.sys_update(key, value, flags)
        if result:
            raise self._error("update", -result)

    def delete(self, key: bytes) -> bool:
        """Remove a key; whether it was there."""
        self._check_key(key)
        result = self.sys_delete(key)
        if result not in (0, -ENOENT):
            raise self._error("delete from", -result)
        return result == 0

    def keys(self) -> Iterator[bytes]:
        """All keys."""
        yield from list(self._keys())

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value)."""
        for key in list(self._keys()):
            value = self.sys_lookup(key)
            if isinstance(value, bytes):
                yield key, value
            elif value != -ENOENT:
                raise self._error("read", -value)

    def items_and_delete(self) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value), each removed as it is read."""
        for key in list(self._keys()):
            value = self._answer("take from", self.sys_take(key))
            if value is not None:
                yield key, value

    def batches(self, *, delete: bool = False) -> Iterator[tuple[bytes, bytes, int]]:
        """(keys, values, count) with `count` keys and values laid end to end: all in one batch."""
        pairs = list(self.items_and_delete() if delete else self.items())
        yield b"".join(pair[0] for pair in pairs), b"".join(pair[1] for pair in pairs), len(pairs)

    def __len__(self) -> int:
        """Elements in it now (an array is always full)."""
        return sum(1 for _ in self._keys())

    def __bool__(self) -> bool:
        return True

    def clear(self) -> None:
        """Remove all elements; of an array, set all to zero."""
        for key in list(self._keys()):
            self.delete(key)

    def zero(self) -> None:
        """Set every value to zero bytes; the keys stay."""
        for key in list(self._keys()):
            self.update(key, bytes(self.row_size))

    def freeze(self) -> None:
        """Forbid further writes from user space; EPERM (1) the second time, as for any write."""
        if self.frozen or self.flags & RDONLY:
            raise self._error("freeze", EPERM)
        self.frozen = True

    def close(self) -> None:
        """Give the memory back; no program may use the map any more."""
        if self.closed:
            return
        self.closed = True
        storages, self.storages = self.storages, []
        self._release()
        for storage in storages:
            storage.close()

    def _release(self) -> None:
        """Drop views into the storage, before it goes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VmMap({self.name!r}, type={self.type}, key_size={self.key_size}, value_size={self.value_size})"
