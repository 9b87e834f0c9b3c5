"""Helpers on socket buffers: load and store, length, protocol, VLAN, room for headers. As net/core/filter.c does it.

Packets here are always in one piece: what pulls or unclones does nothing.
"""

from __future__ import annotations

from ._context_packet import ETH_HLEN, ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, SKB_MAX, SkbContext
from ._helpers_arguments import clear
from ._helpers_packet import current, signed32, skb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

EINVAL, EFAULT, ENOMEM, EALREADY, ENOTSUPP = 22, 14, 12, 114, 524
_U32 = 0xFFFFFFFF
_INT_MAX = 0x7FFFFFFF
_VLAN = (ETH_P_8021Q, ETH_P_8021AD)


def skb_load_bytes(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    packet = current(m)
    offset, size = r2 & _U32, r4 & _U32
    if offset > _INT_MAX or offset + size > packet.length:
        clear(m, r3, size)
        return -EFAULT
    m.write(r3, packet.peek(packet.data + offset, size))
    return 0


def skb_load_bytes_relative(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    packet = skb(m)
    offset, size = r2 & _U32, r4 & _U32
    start = {0: packet.mac, 1: packet.network}.get(r5 & _U32)
    if start is None or offset > 0xFFFF or start + offset + size > packet.end:
        clear(m, r3, size)
        return -EFAULT
    m.write(r3, packet.peek(start + offset, size))
    return 0


def skb_store_bytes(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    packet = current(m)
    offset, size = r2 & _U32, r4 & _U32
    if r5 & ~3:
        return -EINVAL
    if offset > _INT_MAX or offset + size > packet.length:
        return -EFAULT
    packet.poke(packet.data + offset, m.read(r3, size))
    if r5 & 2:
        packet["hash"] = 0
    return 0


def skb_pull_data(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return -ENOMEM if r2 & _U32 > current(m).length else 0


def skb_change_type(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    packet = skb(m)
    if packet.number("pkt_type") & 7 > 3 or r2 & _U32 > 3:
        return -EINVAL
    packet["pkt_type"] = r2 & _U32
    return 0


def _resize(packet: SkbContext, size: int) -> None:
    if size > packet.length:
        packet.poke(packet.end, bytes(size - packet.length))
    packet.end = packet.data + size
    packet.refresh()


def skb_change_tail(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    packet = skb(m)
    size = r2 & _U32
    least = max(packet.network - packet.data, 0)
    if packet.transport and packet.transport > packet.data:
        least = packet.transport - packet.data
    if r3 or size > SKB_MAX or size < least:
        return -EINVAL
    if packet.encapsulation:
        return -ENOTSUPP
    _resize(packet, size)
    return 0


def skb_change_head(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    packet = skb(m)
    room = r2 & _U32
    if r3 or room > _INT_MAX or packet.length + room > SKB_MAX:
        return -EINVAL
    if packet.data - room < packet.start:
        return -ENOMEM
    packet.data -= room
    packet.poke(packet.data, bytes(room))
    packet.mac = packet.meta = packet.data
    packet.mac_len = packet.network - packet.mac
    packet.refresh()
    return 0


def _push(packet: SkbContext, at: int, size: int) -> int:
    """`size` zero bytes at `at` of the packet; what is before moves to the front (bpf_skb_generic_push)."""
    if packet.data - size < packet.start:
        return -ENOMEM
    before = packet.peek(packet.data, at)
    packet.data -= size
    packet.poke(packet.data, before + bytes(size))
    packet.mac -= size
    packet.meta = packet.data
    return 0


def _pop(packet: SkbContext, at: int, size: int) -> int:
    """Take `size` bytes at `at` out (bpf_skb_generic_pop)."""
    if at + size > packet.length:
        return -ENOMEM
    before = packet.peek(packet.data, at)
    packet.data += size
    packet.poke(packet.data, before)
    packet.mac += size
    packet.meta = packet.data
    return 0


def _mac_length(packet: SkbContext) -> int:
    return packet.network - packet.mac


def skb_change_proto(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Makes room for the other header; the program fills it in. `proto` as memory holds it (network order)."""
    packet = skb(m)
    if r3:
        return -EINVAL
    wanted = int.from_bytes((r2 & 0xFFFF).to_bytes(2, "little"), "big")
    at = packet.network - packet.data
    if (packet.protocol, wanted) == (ETH_P_IP, ETH_P_IPV6):
        result = _push(packet, at, 20)
    elif (packet.protocol, wanted) == (ETH_P_IPV6, ETH_P_IP):
        result = _pop(packet, at, 20)
    else:
        return -ENOTSUPP
    if not result:
        packet.network = packet.data + at
        packet.protocol = wanted
        packet["hash"] = 0
        packet.refresh()
    return result


_FIXED_GSO, _ENCAP_IPV4, _ENCAP_IPV6, _ENCAP_GRE, _ENCAP_UDP, _NO_CSUM_RESET, _ENCAP_ETH = 1, 2, 4, 8, 16, 32, 64
_DECAP_IPV4, _DECAP_IPV6 = 0x80, 0x100
_ENCAP_MASK = _ENCAP_IPV4 | _ENCAP_IPV6 | _ENCAP_GRE | _ENCAP_UDP | _ENCAP_ETH | 0xFF << 56
_ROOM_FLAGS = _ENCAP_MASK | _FIXED_GSO | _NO_CSUM_RESET | _DECAP_IPV4 | _DECAP_IPV6


def skb_adjust_room(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    packet = skb(m)
    difference, mode, flags = signed32(r2), r3 & _U32, r4
    decap = flags & (_DECAP_IPV4 | _DECAP_IPV6)
    if flags & ~_ROOM_FLAGS:
        return -EINVAL
    if abs(difference) > 0xFFF:
        return -EFAULT
    base = {ETH_P_IP: 20, ETH_P_IPV6: 40}.get(packet.protocol)
    if base is None or mode not in (0, 1):
        return -ENOTSUPP
    if decap == _DECAP_IPV4 | _DECAP_IPV6 or (decap and difference >= 0):
        return -EINVAL
    least = {_DECAP_IPV4: 20, _DECAP_IPV6: 40}.get(decap, base)
    at = _mac_length(packet) + (base if mode == 0 else 0)
    length = packet.end - packet.network
    if difference < 0 and (-difference >= length or length + difference < least):
        return -ENOTSUPP
    if difference > 0 and packet.length + difference > SKB_MAX:
        return -ENOTSUPP
    result = _shrink(packet, at, -difference, flags) if difference < 0 else _grow(packet, at, difference, flags)
    if not result:
        packet["hash"] = 0
        packet.refresh()
    return result


def _grow(packet: SkbContext, at: int, size: int, flags: int) -> int:
    encap = flags & (_ENCAP_IPV4 | _ENCAP_IPV6)
    result = _encap_fails(packet, size, flags) if encap else 0
    if result:
        return -result
    mac = _mac_length(packet)
    result = _push(packet, at, size)
    if result:
        return result
    packet.network = packet.mac + mac
    if encap:
        packet.encapsulation = True
        packet.protocol = ETH_P_IPV6 if encap == _ENCAP_IPV6 else ETH_P_IP
        if flags & (_ENCAP_GRE | _ENCAP_UDP):
            packet.transport = packet.network + (40 if encap == _ENCAP_IPV6 else 20)
    return 0


def _encap_fails(packet: SkbContext, size: int, flags: int) -> int:
    """The errno with which an outer header is refused, 0 when it is not."""
    inner_mac = flags >> 56
    if packet.protocol not in (ETH_P_IP, ETH_P_IPV6):
        return ENOTSUPP
    for pair in (_ENCAP_IPV4 | _ENCAP_IPV6, _ENCAP_GRE | _ENCAP_UDP):
        if flags & pair == pair:
            return EINVAL
    if flags & _ENCAP_ETH and inner_mac < ETH_HLEN:
        return EINVAL
    if packet.encapsulation:
        return EALREADY
    return EINVAL if inner_mac > size else 0


def _shrink(packet: SkbContext, at: int, size: int, flags: int) -> int:
    if flags & ~(_FIXED_GSO | _DECAP_IPV4 | _DECAP_IPV6 | _NO_CSUM_RESET):
        return -EINVAL
    mac = _mac_length(packet)
    result = _pop(packet, at, size)
    if result:
        return result
    packet.network = packet.mac + mac
    if flags & _DECAP_IPV4:
        packet.protocol = ETH_P_IP
    elif flags & _DECAP_IPV6:
        packet.protocol = ETH_P_IPV6
    return 0


def skb_vlan_push(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The tag is kept beside the packet, as by hardware; one that was there goes into the packet."""
    packet = skb(m)
    proto = int.from_bytes((r2 & 0xFFFF).to_bytes(2, "little"), "big")
    if proto not in _VLAN:
        proto = ETH_P_8021Q
    if packet.number("vlan_present"):
        old = int.from_bytes(packet.number("vlan_proto").to_bytes(4, "little")[:2], "big")
        tag = old.to_bytes(2, "big") + packet.number("vlan_tci").to_bytes(2, "big")
        result = _push(packet, 12, 4)
        if result:
            return result
        packet.poke(packet.data + 12, tag)
        packet.protocol = old
        packet.network -= 4
    packet["vlan_present"] = 1
    packet["vlan_tci"] = r3 & 0xFFFF
    packet["vlan_proto"] = int.from_bytes(proto.to_bytes(2, "big"), "little")
    packet.refresh()
    return 0


def skb_vlan_pop(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    packet = skb(m)
    if packet.number("vlan_present"):
        packet["vlan_present"] = packet["vlan_tci"] = packet["vlan_proto"] = 0
    elif packet.protocol not in _VLAN:
        return 0
    else:
        result, _ = _take_tag(packet)
        if result:
            return result
    if packet.protocol in _VLAN:
        proto = packet.protocol
        result, tci = _take_tag(packet)
        if result:
            return result
        packet["vlan_present"] = 1
        packet["vlan_tci"] = tci
        packet["vlan_proto"] = int.from_bytes(proto.to_bytes(2, "big"), "little")
    packet.refresh()
    return 0


def _take_tag(packet: SkbContext) -> tuple[int, int]:
    """Remove the tag in the packet: (0 or minus an errno, its TCI)."""
    if packet.length < 18:
        return -ENOMEM, 0
    tci = int.from_bytes(packet.peek(packet.data + 14, 2), "big")
    _pop(packet, 12, 4)
    packet.network = max(packet.network, packet.data + ETH_HLEN)
    packet.mac_len = packet.network - packet.mac
    proto = int.from_bytes(packet.peek(packet.data + 12, 2), "big")
    if proto < 0x600:  # a length: 802.3 (Novell) or 802.2
        proto = 1 if packet.peek(packet.data + 14, 2) == b"\xff\xff" else 4
    packet.protocol = proto
    return 0, tci


def set_hash(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    skb(m)["hash"] = r2 & _U32
    return 0


def set_hash_invalid(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    skb(m)["hash"] = 0
    return 0


def get_hash_recalc(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """A hash of addresses and ports; the kernel's is keyed with a secret."""
    packet = skb(m)
    if not packet.number("hash"):
        from ._map_hash import hash_words

        words = packet.peek(packet.network + 8, min(32, max(0, packet.end - packet.network - 8)))
        packet["hash"] = hash_words(tuple(words)) or 1
    return packet.number("hash")


def skb_set_tstamp(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    packet, kind = skb(m), r3 & _U32
    if packet.protocol not in (ETH_P_IP, ETH_P_IPV6):
        return -95
    if kind > 2 or (kind and not r2) or (not kind and r2):
        return -EINVAL
    packet["tstamp"] = r2
    packet["tstamp_type"] = kind
    return 0


def _inner_protocol(packet: SkbContext) -> int:
    """The protocol behind VLAN tags (__vlan_get_protocol)."""
    proto = packet.protocol
    at = packet.mac + (packet.mac_len - 4 if packet.mac_len else ETH_HLEN)
    for _ in range(8):
        if proto not in _VLAN:
            break
        if at + 4 > packet.end:
            return 0
        proto = int.from_bytes(packet.peek(at + 2, 2), "big")
        at += 4
    return proto


def skb_ecn_set_ce(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Set ECN to CE in the header at the network offset: 1, or 0 where it could not be."""
    packet = skb(m)
    proto = _inner_protocol(packet)
    if proto == ETH_P_IP and packet.end - packet.network >= 20:
        header = bytearray(packet.peek(packet.network, 20))
        ecn = (header[1] + 1) & 3
        if not ecn & 2:
            return int(not ecn)
        total = int.from_bytes(header[10:12], "big") + 0xFFFB + ecn
        header[10:12] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2, "big")
        header[1] |= 3
        packet.poke(packet.network, bytes(header))
        return 1
    if proto == ETH_P_IPV6 and packet.end - packet.network >= 40:
        word = int.from_bytes(packet.peek(packet.network, 4), "big")
        if not word >> 20 & 3:
            return 0
        packet.poke(packet.network, (word | 3 << 20).to_bytes(4, "big"))
        return 1
    return 0


TABLE: dict[str, Helper] = {
    "skb_load_bytes": skb_load_bytes,
    "skb_load_bytes_relative": skb_load_bytes_relative,
    "skb_store_bytes": skb_store_bytes,
    "skb_pull_data": skb_pull_data,
    "skb_change_type": skb_change_type,
    "skb_change_tail": skb_change_tail,
    "skb_change_head": skb_change_head,
    "skb_change_proto": skb_change_proto,
    "skb_adjust_room": skb_adjust_room,
    "skb_vlan_push": skb_vlan_push,
    "skb_vlan_pop": skb_vlan_pop,
    "set_hash": set_hash,
    "set_hash_invalid": set_hash_invalid,
    "get_hash_recalc": get_hash_recalc,
    "skb_set_tstamp": skb_set_tstamp,
    "skb_ecn_set_ce": skb_ecn_set_ce,
}
