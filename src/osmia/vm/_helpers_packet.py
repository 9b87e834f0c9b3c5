"""Helpers that work on the packet of the run: XDP and what all kinds of packets share."""

from __future__ import annotations

from ._context_packet import ETH_HLEN, XDP_FRAME, PacketContext, SkbContext, XdpContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

EINVAL, EFAULT, EACCES, ENOTSUPP = 22, 14, 13, 524
_U32 = 0xFFFFFFFF


def current(m: Machine) -> PacketContext:
    """The packet that the run is about; VmFault when it has none."""
    found = m.data.get("packet")
    if not isinstance(found, PacketContext):
        from ..errors import VmFault

        raise VmFault("call: a helper on packets in a run without a packet", kind="call")
    return found


def _xdp(m: Machine) -> XdpContext:
    found = current(m)
    if not isinstance(found, XdpContext):
        from ..errors import VmFault

        raise VmFault("call: a helper of XDP in a run whose packet is a socket buffer", kind="call")
    return found


def skb(m: Machine) -> SkbContext:
    """The packet as a socket buffer; VmFault in a run of XDP."""
    found = current(m)
    if not isinstance(found, SkbContext):
        from ..errors import VmFault

        raise VmFault("call: a helper on socket buffers in a run of XDP", kind="call")
    return found


def signed32(value: int) -> int:
    """The low 32 bits as a signed number."""
    value &= _U32
    return value - (1 << 32) if value >> 31 else value


def packet_bytes(m: Machine, size: int) -> bytes | None:
    """The first `size` bytes of the packet, or None when it has fewer."""
    packet = current(m)
    return packet.peek(packet.data, size) if size <= packet.length else None


def xdp_adjust_head(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    x = _xdp(m)
    offset = signed32(r2)
    meta = x.data - x.meta
    data = x.data + offset
    if data < x.start + XDP_FRAME + meta or data > x.end - ETH_HLEN:
        return -EINVAL
    if meta:
        x.poke(x.meta + offset, x.peek(x.meta, meta))
    x.meta += offset
    x.data = data
    x.refresh()
    return 0


def xdp_adjust_tail(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    x = _xdp(m)
    offset = signed32(r2)
    end = x.end + offset
    if end > x.room_end or end < x.data + ETH_HLEN:
        return -EINVAL
    if offset > 0:
        x.poke(x.end, bytes(offset))
    x.end = end
    x.refresh()
    return 0


def xdp_adjust_meta(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    x = _xdp(m)
    meta = x.meta + signed32(r2)
    if meta < x.start + XDP_FRAME or meta > x.data:
        return -EINVAL
    if (x.data - meta) & 3 or x.data - meta > 255:
        return -EACCES
    x.meta = meta
    x.refresh()
    return 0


def _xdp_range(x: XdpContext, offset: int, size: int) -> int:
    if offset > 0xFFFF or size > 0xFFFF:
        return -EFAULT
    return -EINVAL if offset + size > x.length else 0


def xdp_load_bytes(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    x = _xdp(m)
    offset, size = r2 & _U32, r4 & _U32
    result = _xdp_range(x, offset, size)
    if not result:
        m.write(r3, x.peek(x.data + offset, size))
    return result


def xdp_store_bytes(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    x = _xdp(m)
    offset, size = r2 & _U32, r4 & _U32
    result = _xdp_range(x, offset, size)
    if not result:
        x.poke(x.data + offset, m.read(r3, size))
    return result


def xdp_get_buff_len(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _xdp(m).length


TABLE: dict[str, Helper] = {
    "xdp_adjust_head": xdp_adjust_head,
    "xdp_adjust_tail": xdp_adjust_tail,
    "xdp_adjust_meta": xdp_adjust_meta,
    "xdp_load_bytes": xdp_load_bytes,
    "xdp_store_bytes": xdp_store_bytes,
    "xdp_get_buff_len": xdp_get_buff_len,
}
