"""Packets as programs get them: struct xdp_md and struct __sk_buff, with the packet below 4 GiB.

Room before and behind the packet is that of BPF_PROG_TEST_RUN (net/bpf/test_run.c), so that helpers that move its ends
succeed and fail as there.
"""

from __future__ import annotations

from ..errors import UsageError
from ._context import Context
from ._context_layouts import LAYOUTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._helpers_tunnel import Tunnel
    from ._machine import Machine
    from ._memory import Region

ETH_HLEN = 14
XDP_HEADROOM = 256  # XDP_PACKET_HEADROOM
XDP_FRAME = 40  # sizeof(struct xdp_frame), at the start of the headroom
TAILROOM = 320  # SKB_DATA_ALIGN(sizeof(struct skb_shared_info))
PAGE = 4096
SKB_HEADROOM = 1024
SKB_MAX = 16000  # BPF_SKB_MAX_LEN, SKB_MAX_ALLOC
LARGEST = 65535

ETH_P_IP, ETH_P_IPV6, ETH_P_8021Q, ETH_P_8021AD = 0x0800, 0x86DD, 0x8100, 0x88A8


class PacketContext(Context):
    """A context with a packet. `load_packet` puts another one in; `packet` is what it is now."""

    def __init__(self, machine: Machine, kind: str, headroom: int) -> None:
        super().__init__(machine, kind, *LAYOUTS[kind])
        self.headroom = headroom
        size = headroom + LARGEST + 1 + TAILROOM + PAGE
        self._buffer: Region | None = machine.memory.allocate(size, "packet", low=True)
        self.start = self._buffer.base  # of all room
        self.room_end = self.start + size - TAILROOM
        self.data = self.end = self.meta = self.start + headroom

    def _put(self, packet: bytes) -> None:
        if self._buffer is None:
            raise UsageError("load a packet: the context is closed")
        if len(packet) > LARGEST:
            raise UsageError(f"load a packet: {len(packet)} bytes, {LARGEST} at most")
        self.data = self.meta = self.start + self.headroom
        self.end = self.data + len(packet)
        self._buffer.view[self.headroom : self.headroom + len(packet)] = packet

    def peek(self, address: int, size: int) -> bytes:
        """Bytes of the buffer."""
        if self._buffer is None:
            return b""
        at = address - self.start
        return bytes(self._buffer.view[at : at + size])

    def poke(self, address: int, data: bytes) -> None:
        """Write into the buffer."""
        if self._buffer is not None:
            at = address - self.start
            self._buffer.view[at : at + len(data)] = data

    @property
    def length(self) -> int:
        """Bytes from data to data_end."""
        return self.end - self.data

    @property
    def packet(self) -> bytes:
        """The packet as it is now."""
        return self.peek(self.data, self.length)

    def refresh(self) -> None:
        """Write positions and lengths into the context."""
        self["data"] = self.data
        self["data_end"] = self.end
        self["data_meta"] = self.meta

    def activate(self) -> None:
        """Make it the packet that helpers work on, and r1 of the next run."""
        self.machine.data["packet"] = self
        self.machine.data.pop("redirect", None)

    def close(self) -> None:
        if self.machine.data.get("packet") is self:
            del self.machine.data["packet"]
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            self.machine.memory.free(buffer)
        super().close()


class XdpContext(PacketContext):
    """struct xdp_md. Programs may move both ends and write metadata before the packet."""

    def __init__(self, machine: Machine, packet: bytes = b"", *, ifindex: int = 1, queue: int = 0) -> None:
        super().__init__(machine, "xdp", XDP_HEADROOM)
        self["ingress_ifindex"] = ifindex
        self["rx_queue_index"] = queue
        self.load_packet(packet)

    def load_packet(self, packet: bytes, meta: bytes = b"") -> None:
        """Another packet, with metadata before it."""
        self._put(packet)
        self.meta = self.data - len(meta)
        self.poke(self.meta, meta)
        # Frames of test runs are a page; larger packets get what a page would leave behind them.
        self.room_end = max(self.start + PAGE - TAILROOM, self.end)
        self.refresh()
        self.activate()

    @property
    def metadata(self) -> bytes:
        """What the program wrote before the packet."""
        return self.peek(self.meta, self.data - self.meta)


class SkbContext(PacketContext):
    """struct __sk_buff. `l2` says whether data starts at the Ethernet header (tc, raw packet sockets) or behind it."""

    def __init__(
        self,
        machine: Machine,
        packet: bytes = b"",
        *,
        kind: str = "sched_cls",
        ifindex: int = 1,
        l2: bool | None = None,
    ) -> None:
        super().__init__(machine, kind, SKB_HEADROOM)
        self.l2 = kind in ("sched_cls", "sched_act") if l2 is None else l2
        self.ifindex = ifindex
        self.mac = self.network = self.transport = 0  # addresses of the headers, 0 for none
        self.mac_len = 0  # skb->mac_len: 0 until something sets it
        self.encapsulation = False
        self.csum_level = -1  # CHECKSUM_UNNECESSARY from 0 on
        self.tunnel: Tunnel | None = None  # see `_helpers_tunnel`
        self.load_packet(packet)

    def load_packet(self, packet: bytes) -> None:
        """Another packet, always with its Ethernet header; fields of the context are cleared."""
        if len(packet) < ETH_HLEN:
            raise UsageError(f"load a packet: {len(packet)} bytes are less than an Ethernet header")
        super().load(b"")
        self._put(packet)
        self.encapsulation = False
        self.transport = self.mac_len = 0
        self.csum_level = -1
        self.tunnel = None
        self.mac = self.data
        self.network = self.data + ETH_HLEN
        self["protocol"] = int.from_bytes(packet[12:14], "little")
        if packet[:6] == b"\xff" * 6:
            self["pkt_type"] = 1  # PACKET_BROADCAST
        elif packet[0] & 1:
            self["pkt_type"] = 2  # PACKET_MULTICAST
        elif any(packet[:6]):
            self["pkt_type"] = 3  # PACKET_OTHERHOST: the test device's address is zero
        self["ifindex"] = self["ingress_ifindex"] = self.ifindex
        if not self.l2:
            self.data = self.network
        self.meta = self.data
        self.refresh()
        self.activate()

    def refresh(self) -> None:
        super().refresh()
        self["len"] = self.length
        self["wire_len"] = self.length

    @property
    def protocol(self) -> int:
        """EtherType, as a number (0x0800)."""
        return int.from_bytes(self.number("protocol").to_bytes(4, "little")[:2], "big")

    @protocol.setter
    def protocol(self, value: int) -> None:
        self["protocol"] = int.from_bytes(value.to_bytes(2, "big"), "little")

    @property
    def frame(self) -> bytes:
        """What BPF_PROG_TEST_RUN gives out: the packet; with zeros for the Ethernet header that was taken off."""
        return self.packet if self.l2 else bytes(ETH_HLEN) + self.packet
