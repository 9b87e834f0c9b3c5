"""Capture files: pcap (both byte orders, micro- and nanoseconds) and pcapng, read; pcap, written.

draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. A file is read at once; packets are places in it, not copies.
"""

from __future__ import annotations

import os
from struct import Struct

from .._data import Data
from .._files import write_whole
from ..errors import FormatError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ETHERNET, RAW_IP, LINUX_SLL, LINUX_SLL2, IPV4, IPV6 = 1, 101, 113, 276, 228, 229
BARE_IP = (RAW_IP, IPV4, IPV6)
# LINKTYPE_ values of tcpdump.org/linktypes.html that captures often have.
LINK_NAMES = {
    0: "BSD loopback", ETHERNET: "Ethernet", 9: "PPP", RAW_IP: "raw IP", 105: "802.11 (Wi-Fi)", 108: "OpenBSD loopback",
    LINUX_SLL: "Linux cooked", 127: "802.11 with radiotap (Wi-Fi)", 189: "USB", 195: "802.15.4", 201: "Bluetooth",
    220: "USB", 227: "CAN bus", IPV4: "raw IPv4", IPV6: "raw IPv6", 253: "netlink", LINUX_SLL2: "Linux cooked v2",
}  # fmt: skip
# Magic number as the first four bytes of a file: byte order, units of a time stamp's fraction in a second.
MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"
SECTION, INTERFACE, SIMPLE, ENHANCED, OLD_PACKET = 0x0A0D0D0A, 1, 3, 6, 2
IF_TSRESOL, IF_TSOFFSET = 9, 14
# No capture holds larger frames: tcpdump's own limit is 256 KiB, USB captures go up to 128 MiB.
LARGEST = 128 << 20


def link_name(link: int) -> str:
    """What a link type is called."""
    return LINK_NAMES.get(link, f"link type {link}")


class Packet(Data):
    """One packet: `data` as captured, `length` on the wire, `time` in nanoseconds since 1970, `link` its link type."""

    data: bytes
    time: int = 0
    length: int = 0
    link: int = ETHERNET


class Capture:
    """The packets of a file: `len()`, iteration, and `data` with `offsets` and `lengths` (bytes) for batch runs.

    `truncated` counts the bytes at the end that make no whole record (a capture that was killed), `cut` the packets
    that were longer than what is captured of them; `links` is the set of link types.
    """

    def __init__(self, data: bytes, name: str = "") -> None:
        self.data = data
        self.name = name
        self.offsets: list[int] = []
        self.lengths: list[int] = []
        self.times: list[int] = []
        self.wire: list[int] = []
        self.links: set[int] = set()
        self._link_of: list[int] = []
        self.truncated = 0
        if data[:4] in MAGIC:
            self._read_pcap()
        elif data[:4] == _PCAPNG:
            self._read_pcapng()
        else:
            raise self._bad("not a pcap or pcapng file", 0)

    @property
    def cut(self) -> int:
        return sum(map(int.__gt__, self.wire, self.lengths))

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[Packet]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Packet:
        at = self.offsets[index]
        data = self.data[at : at + self.lengths[index]]
        return Packet(data=data, time=self.times[index], length=self.wire[index], link=self._link_of[index])

    def _bad(self, what: str, offset: int) -> FormatError:
        return FormatError(
            f"read capture {self.name or 'bytes'}: {what} at offset {offset}", offset=offset, hint="check the file"
        )

    def _take(self, at: int, length: int, wire: int, time: int, link: int) -> None:
        self.offsets.append(at)
        self.lengths.append(length)
        self.wire.append(wire)
        self.times.append(time)
        self._link_of.append(link)

    def _read_pcap(self) -> None:
        data, size = self.data, len(self.data)
        order, units = MAGIC[data[:4]]
        if size < 24:
            raise self._bad(f"a header of 24 bytes is cut to {size}", 0)
        link = Struct(order + "I").unpack_from(data, 20)[0] & 0x0FFF_FFFF
        self.links.add(link)
        record = Struct(order + "IIII").unpack_from
        scale = 1_000_000_000 // units
        at = 24
        while at + 16 <= size:
            seconds, fraction, length, wire = record(data, at)
            if length > LARGEST:
                raise self._bad(f"a packet of {length} bytes", at)
            if at + 16 + length > size:
                break
            self._take(at + 16, length, wire, seconds * 1_000_000_000 + fraction * scale, link)
            at += 16 + length
        self.truncated = size - at

    def _read_pcapng(self) -> None:
        data, size = self.data, len(self.data)
        order, at = "<", 0
        interfaces: list[tuple[int, int, int, int]] = []  # link type, ticks a second, offset in seconds, snap length
        while at + 12 <= size:
            if data[at : at + 4] == _PCAPNG:
                order = self._byte_order(at)
                interfaces = []
            kind, total = Struct(order + "II").unpack_from(data, at)
            if total < 12 or total & 3:
                raise self._bad(f"a block of {total} bytes", at)
            if at + total > size:
                break
            if Struct(order + "I").unpack_from(data, at + total - 4)[0] != total:
                raise self._bad("a block whose two lengths differ", at)
            if kind == INTERFACE:
                interfaces.append(self._interface(order, at, total))
                self.links.add(interfaces[-1][0])
            elif kind in (ENHANCED, SIMPLE, OLD_PACKET):
                self._packet(order, kind, at, total, interfaces)
            at += total
        self.truncated = size - at

    def _byte_order(self, at: int) -> str:
        magic = self.data[at + 8 : at + 12]
        if magic == b"\x4d\x3c\x2b\x1a":
            return "<"
        if magic == b"\x1a\x2b\x3c\x4d":
            return ">"
        raise self._bad("a section header without its byte-order magic", at)

    def _interface(self, order: str, at: int, total: int) -> tuple[int, int, int, int]:
        if total < 20:
            raise self._bad(f"an interface block of {total} bytes", at)
        link, _, snap = Struct(order + "HHI").unpack_from(self.data, at + 8)
        ticks, offset = 1_000_000, 0
        place, end = at + 16, at + total - 4
        while place + 4 <= end:
            code, length = Struct(order + "HH").unpack_from(self.data, place)
            if not code or place + 4 + length > end:
                break
            if code == IF_TSRESOL and length == 1:
                power = self.data[place + 4]
                ticks = 1 << (power & 0x7F) if power & 0x80 else 10 ** min(power, 30)
            elif code == IF_TSOFFSET and length == 8:
                offset = Struct(order + "q").unpack_from(self.data, place + 4)[0]
            place += 4 + (length + 3 & ~3)
        return link, ticks, offset, snap

    def _packet(self, order: str, kind: int, at: int, total: int, interfaces: list[tuple[int, int, int, int]]) -> None:
        if total < (16 if kind == SIMPLE else 32):
            raise self._bad(f"a packet block of {total} bytes", at)
        if kind == SIMPLE:
            number, high, low = 0, 0, 0
            wire = Struct(order + "I").unpack_from(self.data, at + 8)[0]
            start = at + 12
        elif kind == ENHANCED:
            number, high, low, length, wire = Struct(order + "IIIII").unpack_from(self.data, at + 8)
            start = at + 28
        else:
            number, _, high, low, length, wire = Struct(order + "HHIIII").unpack_from(self.data, at + 8)
            start = at + 28
        if number >= len(interfaces):
            raise self._bad(f"a packet of interface {number}, which no block describes", at)
        link, ticks, offset, snap = interfaces[number]
        if kind == SIMPLE:
            length = min(wire, snap or wire, total - 16)
        if start + length > at + total - 4:
            raise self._bad(f"a packet of {length} bytes in a block of {total}", at)
        time = offset * 1_000_000_000 + ((high << 32 | low) * 1_000_000_000 // ticks if high or low else 0)
        self._take(start, length, wire, time, link)


def read_capture(path: str | os.PathLike[str]) -> Capture:
    """The packets of a pcap or pcapng file. `FormatError` when it is neither, `UsageError` when it cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(4)
            if data in (*MAGIC, _PCAPNG):  # what is no capture may have no end either
                data += file.read()
    except OSError as e:
        raise UsageError(f"read capture {os.fspath(path)}: {e.strerror}") from None
    return Capture(data, os.fspath(path))


def encode_pcap(packets: Iterable[Packet], link: int = ETHERNET) -> Iterator[bytes]:
    """A pcap file in pieces: little-endian, nanoseconds. `UsageError` for a packet of another link type."""
    yield Struct("<IHHiIII").pack(0xA1B2_3C4D, 2, 4, 0, 0, 262_144, link)
    record = Struct("<IIII").pack
    for packet in packets:
        if packet.link != link:
            raise UsageError(f"write capture: a packet of {link_name(packet.link)} in a file of {link_name(link)}")
        seconds, fraction = divmod(packet.time, 1_000_000_000)
        yield record(seconds & 0xFFFF_FFFF, fraction, len(packet.data), packet.length or len(packet.data))
        yield packet.data


def write_capture(path: str | os.PathLike[str], packets: Iterable[Packet], link: int = ETHERNET) -> int:
    """Write a pcap file; returns the number of packets. A file that cannot be finished is removed."""
    count = 0

    def counted() -> Iterator[Packet]:
        nonlocal count
        for packet in packets:
            count += 1
            yield packet

    try:
        write_whole(path, encode_pcap(counted(), link))
    except OSError as e:
        raise UsageError(f"write capture {os.fspath(path)}: {e.strerror}") from None
    return count
