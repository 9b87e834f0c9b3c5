"""Maps in the kernel: elements as bytes, read in batches."""

from __future__ import annotations

import os

from .. import syscalls
from ..errors import KernelError, MapError
from ..isa.map_types import (
    ARRAY,
    ARRAY_OF_MAPS,
    CGROUP_ARRAY,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    PERCPU_CGROUP_STORAGE,
    PERCPU_HASH,
    PERF_EVENT_ARRAY,
    PROG_ARRAY,
    QUEUE,
    STACK,
)
from ._descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PER_CPU = (PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH, PERCPU_CGROUP_STORAGE)
_ARRAYS = (ARRAY, PERCPU_ARRAY, ARRAY_OF_MAPS, PROG_ARRAY, PERF_EVENT_ARRAY, CGROUP_ARRAY)
# Not an error of the caller, but a kernel or a map type without batch commands (5.6): EINVAL, EOPNOTSUPP, ENOTSUPP
_NO_BATCH = (-22, -95, -524)
_BATCH_BYTES = 1 << 20


class Map(Descriptor):
    """A map. Keys and values are bytes; a per-CPU value is `cpus` slots of `slot_size` bytes, CPU 0 first.

    Errors: MapError (with errno), PermissionDenied.
    """

    def __init__(
        self, fd: int, name: str, type: int, key_size: int, value_size: int, max_entries: int, flags: int = 0
    ) -> None:
        super().__init__(fd, name)
        self.type = type
        self.key_size = key_size
        self.value_size = value_size
        self.max_entries = max_entries
        self.flags = flags
        self.per_cpu = type in _PER_CPU
        self.cpus = syscalls.possible_cpus() if self.per_cpu else 1
        self.slot_size = (value_size + 7) & ~7 if self.per_cpu else value_size
        self.row_size = self.slot_size * self.cpus
        self._batch = True

    @classmethod
    def from_fd(cls, fd: int) -> Map:
        """Take over an fd of a map that exists; its shape comes from the kernel."""
        from struct import unpack_from

        info = syscalls.info(fd, 80)
        type, _, key_size, value_size, entries, flags = unpack_from("=6I", info)
        return cls(fd, info[24:40].rstrip(b"\0").decode(), type, key_size, value_size, entries, flags)

    @property
    def id(self) -> int:
        """The kernel's id of the map."""
        return int.from_bytes(syscalls.info(self.fd, 8)[4:8], "little")

    def _error(self, verb: str, errno: int) -> KernelError:
        if errno in (1, 13) and self.flags & 0x88 == 0:
            error = syscalls.explain(f"bpf({verb} map)", errno, self.name)
            if error.hint:
                return error
        cause, hint = os.strerror(errno).lower(), ""
        if errno == 7:
            cause, hint = f"it is full ({self.max_entries} entries)", "give it more max_entries"
        elif errno in (95, 524):
            cause = "this map type does not allow it"
        return MapError(f"{verb} map {self.name}: {cause}", errno=errno, operation=verb, hint=hint)

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """The value of `key` (all CPUs of a per-CPU map), or None."""
        self._check_key(key)
        try:
            return syscalls.map_lookup(self.fd, key, self.row_size, flags)
        except KernelError as error:
            raise self._error("look up", error.errno) from None

    def pop(self, key: bytes = b"") -> bytes | None:
        """Take the value of `key` out (of a queue or stack: the next one), or None."""
        try:
            return syscalls.map_lookup_and_delete(self.fd, key, self.row_size)
        except KernelError as error:
            raise self._error("take from", error.errno) from None

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set a value. `flags`: 0 any, 1 only if new (errno 17), 2 only if there (errno 2)."""
        self._check_key(key)
        if len(value) != self.row_size:
            raise MapError(f"update map {self.name}: value of {len(value)} bytes, {self.row_size} wanted", errno=22)
        result = syscalls.map_update(self.fd, key, value, flags)
        if result:
            raise self._error("update", -result)

    def refer(self, key: bytes, element: Descriptor) -> None:
        """Make a program, or a map, the element of a prog array or map of maps."""
        self.update(key, element.fd.to_bytes(4, "little"))

    def delete(self, key: bytes) -> bool:
        """Remove a key; whether it was there."""
        self._check_key(key)
        try:
            return syscalls.map_delete(self.fd, key)
        except KernelError as error:
            raise self._error("delete from", error.errno) from None

    def _check_key(self, key: bytes) -> None:
        if len(key) != self.key_size:
            raise MapError(f"use map {self.name}: key of {len(key)} bytes, {self.key_size} wanted", errno=22)

    def batches(self, *, delete: bool = False) -> Iterator[tuple[bytes, bytes, int]]:
        """(keys, values, count) with `count` keys and values laid end to end, until all were read.

        With `delete`, what is read is removed in the same step (hash maps). Elements that programs add or remove
        meanwhile may or may not appear; none appears twice.
        """
        if self._batch:
            room = max(64, min(self.max_entries, _BATCH_BYTES // (self.key_size + self.row_size)))
            batch = syscalls.MapBatch(self.fd, self.key_size, self.row_size, room)
            command = syscalls.LOOKUP_AND_DELETE_BATCH if delete else syscalls.LOOKUP_BATCH
            result = batch.read(command)
            if result not in _NO_BATCH:
                while True:
                    if result < 0:
                        raise self._error("read", -result)
                    if batch.count:
                        yield batch.keys, batch.values, batch.count
                    if result == 1:
                        return
                    result = batch.read(command)
            self._batch = False
        yield from self._one_by_one(delete)

    def _one_by_one(self, delete: bool) -> Iterator[tuple[bytes, bytes, int]]:
        keys, values = [], []
        for key in self._walk():
            value = self.lookup(key)
            if value is not None and (not delete or self.delete(key)):
                keys.append(key)
                values.append(value)
        yield b"".join(keys), b"".join(values), len(keys)

    def _walk(self) -> list[bytes]:
        """All keys by BPF_MAP_GET_NEXT_KEY. It starts again when the key at hand was deleted: duplicates go."""
        seen: dict[bytes, None] = {}
        key: bytes | None = None
        try:
            for _ in range(4 * self.max_entries + 4):
                key = syscalls.map_next_key(self.fd, key, self.key_size)
                if key is None:
                    break
                seen[key] = None
        except KernelError as error:
            raise self._error("list keys of", error.errno) from None
        return list(seen)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value)."""
        return self._split(delete=False)

    def items_and_delete(self) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value), each removed as it is read; no update between the two is lost (since 5.6)."""
        return self._split(delete=True)

    def _split(self, *, delete: bool) -> Iterator[tuple[bytes, bytes]]:
        key_size, size = self.key_size, self.row_size
        for keys, values, count in self.batches(delete=delete):
            # Lists and zip: half the time of slicing in the generator.
            yield from zip(
                [keys[at : at + key_size] for at in range(0, count * key_size, key_size)],
                [values[at : at + size] for at in range(0, count * size, size)],
            )

    def keys(self) -> Iterator[bytes]:
        """All keys."""
        if self.type in _ARRAYS:
            for i in range(self.max_entries):
                yield i.to_bytes(4, "little")
            return
        size = self.key_size
        for keys, _, count in self.batches():
            for i in range(count):
                yield keys[i * size : (i + 1) * size]

    def __len__(self) -> int:
        """Elements in it now (an array is always full)."""
        if self.type in _ARRAYS:
            return self.max_entries
        return sum(count for _, _, count in self.batches())

    def __bool__(self) -> bool:
        return True

    def clear(self) -> None:
        """Remove all elements; of an array, set all to zero."""
        if self.type in _ARRAYS:
            self.zero()
            return
        if self.type in (QUEUE, STACK):
            while self.pop() is not None:
                continue
            return
        for _ in self.batches(delete=True):
            continue

    def zero(self) -> None:
        """Set every value to zero bytes; the keys stay."""
        for keys, _, count in list(self.batches()):
            result, _ = syscalls.map_write_batch(
                self.fd, syscalls.UPDATE_BATCH, keys, bytes(count * self.row_size), count
            )
            if result in _NO_BATCH:
                for i in range(count):
                    self.update(keys[i * self.key_size : (i + 1) * self.key_size], bytes(self.row_size))
            elif result < 0:
                raise self._error("zero", -result)

    def freeze(self) -> None:
        """Forbid further writes from user space."""
        syscalls.map_freeze(self.fd)

    def __repr__(self) -> str:
        return f"Map({self.name!r}, type={self.type}, key_size={self.key_size}, value_size={self.value_size})"
