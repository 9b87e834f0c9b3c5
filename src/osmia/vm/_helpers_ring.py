"""Helpers of the ring buffer and of the perf event array's output."""

from __future__ import annotations

from ._map_base import EINVAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine
    from ._map_ring import RingMap

_U32 = 0xFFFFFFFF


def ringbuf_output(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    ring: RingMap = m.map_at(r1)
    return ring.output(m.read(r2, r3), r4)


def ringbuf_reserve(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if r3:
        return 0
    ring: RingMap = m.map_at(r1)
    return ring.reserve(r2)


def finish(m: Machine, address: int, flags: int, discard: bool) -> int:
    """Submit or discard the record at `address`; VmFault when no ring buffer has one there."""
    for ring in m.maps:
        at = address - getattr(ring, "data_base", 0)
        if ring.type == 27 and 0 <= at < ring.size + 8:
            ring.commit(address, flags, discard=discard)
            return 0
    from ..errors import VmFault

    raise VmFault(f"call: {address:#x} is no record of a ring buffer", kind="call", address=address)


def ringbuf_submit(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return finish(m, r1, r2, False)


def ringbuf_discard(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return finish(m, r1, r2, True)


def ringbuf_query(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    ring: RingMap = m.map_at(r1)
    return ring.query(r2)


def perf_event_output(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """ctx, map, flags, data, size: the low 32 bits of flags are an index, or all ones for this CPU.

    Bits 32 to 51 are how many bytes of the context (a packet) to append.
    """
    if r3 & ~((1 << 52) - 1):
        return -EINVAL
    index = m.world.cpu if r3 & _U32 == _U32 else r3 & _U32
    data = m.read(r4, r5)
    more = r3 >> 32 & 0xFFFFF
    if more:
        from ._helpers_packet import packet_bytes

        extra = packet_bytes(m, more)
        if extra is None:
            return -14
        data += extra
    result: int = m.map_at(r2).output(index, m.world.cpu, data)
    return result


TABLE: dict[str, Helper] = {
    "ringbuf_output": ringbuf_output,
    "ringbuf_reserve": ringbuf_reserve,
    "ringbuf_submit": ringbuf_submit,
    "ringbuf_discard": ringbuf_discard,
    "ringbuf_query": ringbuf_query,
    "perf_event_output": perf_event_output,
}
