"""Hash, LRU hash and their per-CPU forms.

Layout, all numbers little endian, one storage (`base`):

    0      header: u32 count, u32 free, u32 fresh, u32 spare, u32 hand, u32 busy, u64 seed
    64     u32 buckets[n_buckets]; n_buckets = max_entries rounded up to a power of two
    meta   capacity records of 16 bytes: u32 hash, u32 next, u32 used, u32 referenced
    data   capacity entries of `stride` bytes: key padded to 8, value padded to 8 (one copy per CPU in per-CPU forms)

A bucket, `next`, `free` and `spare` hold entry number + 1, 0 for none. Programs can reach `data` only. To look up:

    h = seed;  for each 8-byte word w of the key (the last one padded with zeros):  h = (h ^ w) * K mod 2^64;
                                                                                    h ^= h >> 32
    hash = h mod 2^32;  i = buckets[hash & (n_buckets - 1)]
    while 0 < i <= capacity:  m = meta[i - 1];  if m.hash == hash and key equal: found;  i = m.next

with K = 0x9E3779B97F4A7C15 and a random seed, so that nobody can choose keys that collide. The value is at
data + (i - 1) * stride + key_padded (+ cpu * value_padded). In LRU forms a look-up by a program sets m.referenced to 1.
`capacity` bounds `i`, and at most `capacity` steps are taken, so that a writer that breaks a shared map cannot lead a
reader astray.

An entry is written before it is linked, and what was unlinked stays readable until its place is taken by a later
element, as under RCU. `busy` is set during a change: who finds it set, with the lock in hand, knows that the one before
was killed or interrupted half-way, and enters all elements anew. As in the kernel, updating an element of a plain hash
replaces it by another one: who holds the address of the old value does not see the new one (kernel/bpf/hashtab.c,
htab_map_update_elem). Freed places are taken last in, first out.
"""

from __future__ import annotations

import os
from struct import Struct

from ..errors import MapError
from ._map_base import (
    E2BIG,
    EEXIST,
    EINVAL,
    ENOENT,
    ENOMEM,
    EXIST,
    F_LOCK,
    NO_COMMON_LRU,
    NO_PREALLOC,
    NOEXIST,
    RDONLY_PROG,
    ZERO_SEED,
    VmMap,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._machine import Machine
    from ._map_base import Shape
    from ._map_storage import Room

MULTIPLIER = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
# Words of the header
_COUNT, _FREE, _FRESH, _SPARE, _HAND, _BUSY = range(6)
_SEED = 24  # where in the header, 8 bytes
_HEADER = 64
# Words of a meta record
_HASH, _NEXT, _USED, _REFERENCED = range(4)


def hash_words(words: tuple[int, ...], seed: int = 0) -> int:
    """The hash of a key given as 8-byte words."""
    h = seed
    for word in words:
        h = (h ^ word) * MULTIPLIER & _MASK
        h ^= h >> 32
    return h & 0xFFFFFFFF


# The count lies in memory that others may share, and may have filled with nonsense.
_MOST = 0xFFFF_FFFF


class HashMap(VmMap):
    """Values by key; E2BIG when it is full."""

    inline = "hash"
    lru = False

    def __init__(self, shape: Shape, room: Room) -> None:
        super().__init__(shape)
        if shape.flags & NO_COMMON_LRU:
            self._round_to_cpus()
        self.key_padded = (self.key_size + 7) & ~7
        self.value_padded = self.padded
        self.stride = self.key_padded + self.value_padded * self.cpus
        self.replaces = not self.per_cpu and not self.lru
        self.capacity = self.max_entries + (1 if self.replaces else 0)
        self.n_buckets = 1 << (self.max_entries - 1).bit_length()
        meta_at = (_HEADER + 4 * self.n_buckets + 15) & ~15
        data_at = (meta_at + 16 * self.capacity + 4095) & ~4095
        size = data_at + self.capacity * self.stride
        storage = room.take(shape, size, data_at=data_at, writable=not shape.flags & RDONLY_PROG)
        self.storages.append(storage)
        self.guard = storage.guard
        self.seed = self._make_seed(storage.view)
        self.buckets_base = storage.base + _HEADER
        self.meta_base = storage.base + meta_at
        self.data_base = storage.base + data_at
        self._header = storage.view[:_HEADER].cast("I")
        self._buckets = storage.view[_HEADER : _HEADER + 4 * self.n_buckets].cast("I")
        self._meta = storage.view[meta_at : meta_at + 16 * self.capacity].cast("I")
        self._data = storage.view[data_at:size]
        self._words = Struct(f"<{self.key_padded // 8}Q")
        # The value's offset in an entry, and its bytes with all CPUs.
        self._value_at = self.key_padded
        self._value_bytes = self.value_padded * self.cpus

    def _make_seed(self, view: memoryview) -> int:
        """The seed of the hash: of a shared map, what the first process chose."""
        if self.flags & ZERO_SEED:
            return 0
        with self.guard:
            if not any(view[_SEED : _SEED + 8]):
                view[_SEED : _SEED + 8] = os.urandom(8)
            return int.from_bytes(view[_SEED : _SEED + 8], "little")

    def _round_to_cpus(self) -> None:
        """LRU lists per CPU hold equally many elements (htab_map_alloc)."""
        cpus = self.shape.cpus
        rounded = -(-self.max_entries // cpus) * cpus
        self.max_entries = rounded if rounded < 1 << 32 else self.max_entries // cpus * cpus

    def _release(self) -> None:
        for view in (self._header, self._buckets, self._meta, self._data):
            view.release()

    def hash(self, key: bytes) -> int:
        """The 32-bit hash of a key."""
        return hash_words(self._words.unpack(key.ljust(self.key_padded, b"\0")), self.seed)

    # ---- the table ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start a change, with the lock held; `_end` is its last step."""
        if self._header[_BUSY]:
            self._mend()
        self._header[_BUSY] = 1

    def _end(self) -> None:
        self._header[_BUSY] = 0

    def _settle(self) -> None:
        """Before all elements are read: undo what a change that never ended has left."""
        if self._header[_BUSY]:
            with self.guard:
                if self._header[_BUSY]:
                    self._mend()
                    self._end()

    def _mend(self) -> None:
        """Enter what is in use anew, each key once; all other places are free."""
        header, meta = self._header, self._meta
        header[_FREE] = header[_SPARE] = header[_COUNT] = count = 0
        for bucket in range(self.n_buckets):
            self._buckets[bucket] = 0
        for entry in range(min(header[_FRESH], self.capacity)):
            if meta[4 * entry + _USED] and count < self.max_entries:
                key = self._key_of(entry)
                hashed = self.hash(key)
                if self._find(key, hashed) < 0:
                    self._link(entry, hashed)
                    count += 1
                    continue
            self._give_back(entry)
        header[_COUNT] = count

    def _find(self, key: bytes, hashed: int) -> int:
        """Entry number of `key`, -1 when it is not there."""
        at = self._buckets[hashed & (self.n_buckets - 1)]
        meta, data, stride, size = self._meta, self._data, self.stride, self.key_size
        for _ in range(self.capacity):
            if not 0 < at <= self.capacity:
                break
            entry = at - 1
            if meta[4 * entry] == hashed and data[entry * stride : entry * stride + size].tobytes() == key:
                return entry
            at = meta[4 * entry + _NEXT]
        return -1

    def _claim(self) -> int:
        """An entry that nobody uses, -1 when all are taken."""
        header = self._header
        free = header[_FREE]
        if 0 < free <= self.capacity:
            header[_FREE] = self._meta[4 * (free - 1) + _NEXT]
            return free - 1
        fresh = header[_FRESH]
        if fresh >= self.capacity:
            return -1
        header[_FRESH] = fresh + 1
        return fresh

    def _give_back(self, entry: int) -> None:
        self._meta[4 * entry + _USED] = 0
        self._meta[4 * entry + _NEXT] = self._header[_FREE]
        self._header[_FREE] = entry + 1

    def _link(self, entry: int, hashed: int) -> None:
        """Enter it at the head of its bucket; readers without the lock see it whole or not at all."""
        bucket = hashed & (self.n_buckets - 1)
        meta, at = self._meta, 4 * entry
        meta[at] = hashed
        meta[at + _NEXT] = self._buckets[bucket]
        meta[at + _USED] = 1
        meta[at + _REFERENCED] = 0
        self._buckets[bucket] = entry + 1

    def _unlink(self, entry: int) -> None:
        meta = self._meta
        bucket = meta[4 * entry] & (self.n_buckets - 1)
        following = meta[4 * entry + _NEXT]
        at = self._buckets[bucket]
        if at == entry + 1:
            self._buckets[bucket] = following
            return
        for _ in range(self.capacity):
            if not 0 < at <= self.capacity:
                break
            if meta[4 * (at - 1) + _NEXT] == entry + 1:
                meta[4 * (at - 1) + _NEXT] = following
                return
            at = meta[4 * (at - 1) + _NEXT]
        raise MapError(f"use map {self.name}: its table is damaged", errno=EINVAL, operation="delete")

    def _claim_new(self) -> int:
        """A place for a key that is not there: an entry, or minus the errno - 1 (below -1)."""
        if self._header[_COUNT] >= self.max_entries:
            return -1 - E2BIG
        entry = self._claim()
        return entry if entry >= 0 else -1 - E2BIG

    def _claim_other(self) -> int:
        """A place for the successor of an element: the spare one, or with NO_PREALLOC the next one that is free."""
        if self.flags & NO_PREALLOC:
            return self._claim()
        spare = self._header[_SPARE]
        if 0 < spare <= self.capacity:
            return spare - 1
        return self._claim()

    # ---- for programs -------------------------------------------------------------------------------------------

    def lookup_address(self, key: bytes, cpu: int = 0) -> int:
        entry = self._find(key, self.hash(key))
        if entry < 0 or (self.per_cpu and cpu >= self.cpus):
            return 0
        if self.lru:
            self._meta[4 * entry + _REFERENCED] = 1
        return self.data_base + entry * self.stride + self._value_at + (cpu * self.value_padded if self.per_cpu else 0)

    def places(self, cpu: int = 0) -> Iterator[tuple[int, int]]:
        """(address of the key, address of the value); elements may be added and removed on the way."""
        self._settle()
        if self.per_cpu and cpu >= self.cpus:
            return
        more = self._value_at + (cpu * self.value_padded if self.per_cpu else 0)
        for entry in self._entries():
            at = self.data_base + entry * self.stride
            yield at, at + more

    def element_at(self, address: int, machine: Machine) -> tuple[int, int] | None:
        entry = (address - self.data_base) // self.stride
        if not 0 <= entry < self.capacity or not self._meta[4 * entry + _USED]:
            return None
        at = self.data_base + entry * self.stride
        return at, at + self._value_at

    def _bad_flags(self, flags: int) -> bool:
        if self.lru or self.per_cpu:
            return flags > EXIST
        return flags & ~F_LOCK > EXIST or bool(flags & F_LOCK and self.shape.spin_lock < 0)

    def update_from(self, key: bytes, value: bytes, flags: int = 0, cpu: int = 0) -> int:
        if self._bad_flags(flags) or (self.per_cpu and cpu >= self.cpus):
            return -EINVAL
        with self.guard:
            return self._update(key, value, flags, cpu)

    def _update(self, key: bytes, value: bytes, flags: int, cpu: int) -> int:
        """`cpu` -1: `value` has the copies of all CPUs. The lock is held."""
        self._begin()
        result = self._change(key, value, flags, cpu)
        self._end()
        return result

    def _change(self, key: bytes, value: bytes, flags: int, cpu: int) -> int:
        hashed = self.hash(key)
        old = self._find(key, hashed)
        if old >= 0 and flags & NOEXIST:
            return -EEXIST
        if old < 0 and flags & EXIST:
            return -ENOENT
        if old >= 0 and (not self.replaces or flags & F_LOCK):
            self._store(old, value, cpu, fresh=False)
            if self.lru:
                self._meta[4 * old + _REFERENCED] = 1
            return 0
        entry = self._claim_other() if old >= 0 else self._claim_new()
        if entry < 0:
            return entry + 1 if entry < -1 else -ENOMEM
        at = entry * self.stride
        self._data[at : at + self.key_size] = key
        self._store(entry, value, cpu, fresh=True)
        self._link(entry, hashed)
        if old < 0:
            self._header[_COUNT] = min(self._header[_COUNT] + 1, _MOST)
            return 0
        self._unlink(old)
        self._meta[4 * old + _USED] = 0
        if self.flags & NO_PREALLOC:
            self._give_back(old)
        else:
            self._header[_SPARE] = old + 1
        return 0

    def _store(self, entry: int, value: bytes, cpu: int, *, fresh: bool) -> None:
        """Write the value of CPU `cpu` (-1: of all); of a new element the other CPUs' copies become zero."""
        at = entry * self.stride + self._value_at
        if not self.per_cpu:
            self._copy(at, value, fresh)
            return
        if cpu < 0:
            self._data[at : at + self._value_bytes] = value
            return
        if fresh:
            self._data[at : at + self._value_bytes] = bytes(self._value_bytes)
        at += cpu * self.value_padded
        self._data[at : at + self.value_size] = value

    def _copy(self, at: int, value: bytes, fresh: bool) -> None:
        locked = self.shape.locked
        if locked:
            new = bytearray(value)
            for offset, size in locked:
                new[offset : offset + size] = bytes(size) if fresh else self._data[at + offset : at + offset + size]
            value = bytes(new)
        self._data[at : at + self.value_size] = value

    def delete_key(self, key: bytes) -> int:
        with self.guard:
            self._begin()
            entry = self._find(key, self.hash(key))
            if entry >= 0:
                self._unlink(entry)
                self._give_back(entry)
                self._header[_COUNT] = max(self._header[_COUNT] - 1, 0)
            self._end()
        return 0 if entry >= 0 else -ENOENT

    # ---- for users ----------------------------------------------------------------------------------------------

    def _key_of(self, entry: int) -> bytes:
        at = entry * self.stride
        return self._data[at : at + self.key_size].tobytes()

    def _entries(self) -> Iterator[int]:
        meta = self._meta
        for entry in range(min(self._header[_FRESH], self.capacity)):
            if meta[4 * entry + _USED]:
                yield entry

    def _keys(self) -> Iterator[bytes]:
        self._settle()
        return (self._key_of(entry) for entry in self._entries())

    def _read(self, entry: int) -> bytes:
        at = entry * self.stride + self._value_at
        return self._data[at : at + (self._value_bytes if self.per_cpu else self.value_size)].tobytes()

    def _row(self, key: bytes) -> bytes | int:
        entry = self._find(key, self.hash(key))
        return self._read(entry) if entry >= 0 else -ENOENT

    def _set_row(self, key: bytes, row: bytes, flags: int) -> int:
        if self._bad_flags(flags):
            return -EINVAL
        return self._update(key, row, flags, -1)

    _take = VmMap._take_row

    def _next(self, key: bytes | None) -> bytes | int:
        """In order of entry numbers; from the start after a key that is not there, as the kernel."""
        start = 0
        if key is not None:
            start = self._find(key, self.hash(key)) + 1
        for entry in range(start, min(self._header[_FRESH], self.capacity)):
            if self._meta[4 * entry + _USED]:
                return self._key_of(entry)
        return -ENOENT

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All (key, value), in one pass over the entries."""
        if self.shape.locked:
            yield from super().items()
            return
        with self.guard:
            self._settle()
            pairs = [(self._key_of(entry), self._read(entry)) for entry in self._entries()]
        yield from pairs

    def __len__(self) -> int:
        self._settle()
        return self._header[_COUNT]


class LruHashMap(HashMap):
    """A full map drops an element that was not looked up lately.

    The kernel's lists (active, inactive, and one of free nodes per CPU) are approximated by a clock: each element has
    a mark that look-ups and updates set; the hand clears marks and takes the first element without one. The kernel may
    evict before the map is full, since free nodes are dealt out to CPUs in groups; this one only when it is full.
    """

    inline = "lru_hash"
    lru = True

    def _claim_new(self) -> int:
        if self._header[_COUNT] < self.max_entries:
            entry = self._claim()
            if entry >= 0:
                return entry
        header, meta = self._header, self._meta
        hand = header[_HAND]
        for _ in range(2 * self.capacity + 1):
            entry = hand % self.capacity
            hand = entry + 1
            if not meta[4 * entry + _USED]:
                continue
            if meta[4 * entry + _REFERENCED]:
                meta[4 * entry + _REFERENCED] = 0
                continue
            header[_HAND] = hand
            self._unlink(entry)
            meta[4 * entry + _USED] = 0
            header[_COUNT] = max(header[_COUNT] - 1, 0)
            return entry
        return -1 - ENOMEM


class PerCpuHashMap(HashMap):
    """One copy of each value per CPU."""

    per_cpu = True
    inline = "percpu_hash"


class LruPerCpuHashMap(LruHashMap):
    """One copy of each value per CPU; a full map drops elements."""

    per_cpu = True
    inline = "lru_percpu_hash"
