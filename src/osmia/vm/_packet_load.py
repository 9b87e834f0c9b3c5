"""LD_ABS and LD_IND: bytes of the packet of a socket buffer, in network order (Documentation/networking/filter.rst)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._machine import Machine

NET_OFF, LL_OFF = -0x100000, -0x200000  # SKF_NET_OFF, SKF_LL_OFF
DATA, DATA_END = 76, 80  # of struct __sk_buff: addresses below 4 GiB
_ETHERNET = 14  # before the network header, where the context is nobody's packet
_MASK = (1 << 64) - 1


def load(machine: Machine, context: int, offset: int, size: int) -> int:
    """The big-endian number at `offset` of the packet, or -1 when it is not all there.

    VmFault when the context or what it says of the packet is no memory of the program. Negative offsets count from the
    network header (SKF_NET_OFF) or the link header (SKF_LL_OFF).
    """
    offset = (offset + (1 << 31)) % (1 << 32) - (1 << 31)
    start = int.from_bytes(machine.read(context + DATA & _MASK, 4), "little")
    end = int.from_bytes(machine.read(context + DATA_END & _MASK, 4), "little")
    if offset < 0:
        packet: Any = machine.data.get("packet")
        ours = packet is not None and packet.address == context and hasattr(packet, "network")
        if offset >= NET_OFF:
            offset += (packet.network - start if ours else _ETHERNET) - NET_OFF
        elif offset >= LL_OFF:
            offset += (packet.mac - start if ours else 0) - LL_OFF
        else:
            return -1
    if start + offset + size > end:
        return -1
    return int.from_bytes(machine.read(start + offset, size), "big")
