"""Helpers of the ring buffer and of the perf event array's output."""

from __future__ import annotations

from ..isa.map_types import PERF_EVENT_ARRAY, RINGBUF
from ._helpers_arguments import map_of
from ._map_base import EINVAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine
    from ._map_ring import RingMap

_U32 = 0xFFFFFFFF


def ringbuf_output(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    ring: RingMap = map_of(m, r1, RINGBUF)
    return ring.output(m.read(r2, r3), r4)


def ringbuf_reserve(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if r3:
        return 0
    return reserve(m, r1, r2)


def reserve(m: Machine, handle: int, size: int) -> int:
    """Reserve a record, remembered until it is submitted: a run that ends by a fault must not block the ring."""
    ring: RingMap = map_of(m, handle, RINGBUF)
    address = ring.reserve(size)
    if address:
        m.data.setdefault("reserved", {})[address] = ring, size
    return address


def finish(m: Machine, address: int, flags: int, discard: bool) -> int:
    """Submit or discard the record at `address`; VmFault when no ring buffer has one there."""
    found = m.data.get("reserved", {}).pop(address, None)
    if found is not None:
        ring, size = found
        ring.commit(address, flags, discard=discard, size=size)
        return 0
    from ..errors import VmFault

    raise VmFault(f"call: {address:#x} is no record of a ring buffer", kind="call", address=address)


def discard_reserved(m: Machine) -> None:
    """Discard what a run that ended by a fault had reserved."""
    reserved = m.data.get("reserved", {})
    while reserved:
        address, (ring, size) = reserved.popitem()
        ring.commit(address, 0, discard=True, size=size)


def ringbuf_submit(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return finish(m, r1, r2, False)


def ringbuf_discard(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return finish(m, r1, r2, True)


def ringbuf_query(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    ring: RingMap = map_of(m, r1, RINGBUF)
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
    result: int = map_of(m, r2, PERF_EVENT_ARRAY).output(index, m.world.cpu, data)
    return result


def ctx_output(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """bpf_skb_output, bpf_xdp_output: as perf_event_output."""
    return perf_event_output(m, r1, r2, r3, r4, r5)


TABLE: dict[str, Helper] = {
    "ringbuf_output": ringbuf_output,
    "ringbuf_reserve": ringbuf_reserve,
    "ringbuf_submit": ringbuf_submit,
    "ringbuf_discard": ringbuf_discard,
    "ringbuf_query": ringbuf_query,
    "perf_event_output": perf_event_output,
    "skb_output": ctx_output,
    "xdp_output": ctx_output,
}
