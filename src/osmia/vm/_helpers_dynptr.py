"""Dynamic pointers: struct bpf_dynptr as the kernel fills it (u64 data, u32 size with kind and flags, u32 offset)."""

from __future__ import annotations

from struct import Struct

from ..isa.map_types import USER_RINGBUF
from ._helpers_arguments import map_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine
    from ._map_user_ring import UserRingMap

EINVAL, E2BIG, EAGAIN, EBUSY, ENODATA = 22, 7, 11, 16, 61
_DYNPTR = Struct("<QII")
_SIZE = (1 << 24) - 1  # DYNPTR_MAX_SIZE
_LOCAL, _RING = 1, 2  # enum bpf_dynptr_type
_KIND_SHIFT, _READ_ONLY = 28, 1 << 31
_U32 = 0xFFFFFFFF


def _null(m: Machine, at: int) -> None:
    m.write(at, bytes(16))


def _make(m: Machine, at: int, data: int, size: int, kind: int, flags: int = 0) -> None:
    m.write(at, _DYNPTR.pack(data, size | kind << _KIND_SHIFT | flags, 0))


def _read(m: Machine, at: int) -> tuple[int, int, int]:
    """(address, bytes, flags with the kind)."""
    data, size, offset = _DYNPTR.unpack(m.read(at, 16))
    return (data + offset if data else 0), size & _SIZE, size & ~_SIZE


def dynptr_from_mem(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    size = r2 & _U32
    if size > _SIZE or r3:
        _null(m, r4)
        return -E2BIG if size > _SIZE else -EINVAL
    _make(m, r4, r1, size, _LOCAL)
    return 0


def _range(size: int, offset: int, length: int) -> bool:
    return length <= size and offset <= size - length


def dynptr_read(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """dst, len, src, offset, flags."""
    data, size, _ = _read(m, r3)
    length, offset = r2 & _U32, r4 & _U32
    if not data or r5:
        return -EINVAL
    if not _range(size, offset, length):
        return -E2BIG
    m.write(r1, m.read(data + offset, length))
    return 0


def dynptr_write(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """dst, offset, src, len, flags."""
    data, size, flags = _read(m, r1)
    offset, length = r2 & _U32, r4 & _U32
    if not data or flags & _READ_ONLY or r5:
        return -EINVAL
    if not _range(size, offset, length):
        return -E2BIG
    m.write(data + offset, m.read(r3, length))
    return 0


def dynptr_data(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    data, size, flags = _read(m, r1)
    offset, length = r2 & _U32, r3 & _U32
    if not data or flags & _READ_ONLY or not _range(size, offset, length):
        return 0
    return data + offset


def ringbuf_reserve_dynptr(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    size = r2 & _U32
    if r3 or size > _SIZE:
        _null(m, r4)
        return -EINVAL if r3 else -E2BIG
    from ._helpers_ring import reserve

    address = reserve(m, r1, size)
    if not address:
        _null(m, r4)
        return -EINVAL
    _make(m, r4, address, size, _RING)
    return 0


def _finish(m: Machine, at: int, flags: int, discard: bool) -> int:
    from ._helpers_ring import finish

    data, _, _ = _read(m, at)
    if data:
        finish(m, data, flags, discard)
        _null(m, at)
    return 0


def ringbuf_submit_dynptr(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _finish(m, r1, r2, False)


def ringbuf_discard_dynptr(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _finish(m, r1, r2, True)


def user_ringbuf_drain(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """map, callback(dynptr, context), context, flags: how many records were taken."""
    from ._helpers_map import scratch
    from ._map_user_ring import MAX_SAMPLES

    if r4 & ~3:
        return -EINVAL
    ring: UserRingMap = map_of(m, r1, USER_RINGBUF)
    place = scratch(m, 16)
    done = 0
    for _ in range(MAX_SAMPLES):
        found = ring.peek()
        if found == -EAGAIN:
            continue
        if isinstance(found, int):
            return done if found == -ENODATA else found
        address, size = found
        _make(m, place, address, size, _LOCAL, _READ_ONLY)
        stop = bool(m.call(r2, place, r3))
        ring.release(size)
        done += 1
        if stop:
            break
    return done


TABLE: dict[str, Helper] = {
    "dynptr_from_mem": dynptr_from_mem,
    "dynptr_read": dynptr_read,
    "dynptr_write": dynptr_write,
    "dynptr_data": dynptr_data,
    "ringbuf_reserve_dynptr": ringbuf_reserve_dynptr,
    "ringbuf_submit_dynptr": ringbuf_submit_dynptr,
    "ringbuf_discard_dynptr": ringbuf_discard_dynptr,
    "user_ringbuf_drain": user_ringbuf_drain,
}
