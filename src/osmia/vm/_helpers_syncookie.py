"""SYN cookies, as net/ipv4/syncookies.c makes them, with a secret of the machine's own.

A machine has no queues that overflow: listening sockets of its table give cookies to whoever asks, as with
net.ipv4.tcp_syncookies=2.
"""

from __future__ import annotations

from ._helpers_socket import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine


EINVAL, ENOENT, EACCES, EPROTONOSUPPORT = 22, 2, 13, 93
_U32 = 0xFFFFFFFF
_BITS, _MASK = 24, (1 << 24) - 1
_PERIOD = 60_000_000_000  # ns that a count stands for
_AGE = 2  # counts that a cookie is good for
_TCP = 20  # sizeof(struct tcphdr)
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
# By version of IP: size of the header, where its addresses are, the segment sizes that a cookie can stand for, and the
# one that is taken where the SYN has none.
_KINDS = {
    4: (20, 12, 20, (536, 1300, 1440, 1460), 536),
    6: (40, 8, 40, (1220, 1420, 1440, 8940), 1220),
}


class _Segment:
    """A TCP header and the addresses before it."""

    def __init__(self, m: Machine, ip: int, tcp: int, version: int) -> None:
        size, first, last, self.sizes, self._default = _KINDS[version]
        self._addresses = m.read(ip, size)[first:last]
        self._head = m.read(tcp, _TCP)
        self.sequence = int.from_bytes(self._head[4:8], "big")
        self.acknowledged = int.from_bytes(self._head[8:12], "big")
        self._m = m
        self._tcp = tcp

    def segment_size(self, size: int) -> int:
        """The option of a header of `size` bytes; the default where it has none."""
        options, found = self._m.read(self._tcp + _TCP, size - _TCP), 0
        at = 0
        while at < len(options) and options[at]:
            if options[at] == 1:
                at += 1
                continue
            length = options[at + 1] if at + 1 < len(options) else 0
            if length < 2 or at + length > len(options):
                break
            if options[at] == 2 and length == 4:
                found = int.from_bytes(options[at + 2 : at + 4], "big") or found
            at += length
        return found or self._default

    def hash(self, count: int, which: int) -> int:
        """32 bits of addresses, ports and the secret."""
        from hashlib import blake2s

        data = self._m.data
        secret = data.get("syncookie_secret")
        if secret is None:
            random = self._m.world.random32
            secret = data["syncookie_secret"] = b"".join(random().to_bytes(4, "little") for _ in range(4))
        text = self._addresses + self._head[:4] + count.to_bytes(8, "little") + bytes((which,))
        return int.from_bytes(blake2s(text, key=secret, digest_size=4).digest(), "little")

    def cookie(self, size: int) -> int:
        """The cookie for a SYN with that segment size; in bits 32 to 47 the size that it stands for."""
        index = max((i for i, known in enumerate(self.sizes) if size >= known), default=0)
        count = self._m.world.monotonic() // _PERIOD
        low = self.hash(count, 1) + index & _MASK
        value = self.hash(0, 0) + self.sequence + (count << _BITS) + low
        return value & _U32 | self.sizes[index] << 32

    def is_answer(self) -> bool:
        """Whether it acknowledges a cookie of ours that is not too old."""
        count = self._m.world.monotonic() // _PERIOD
        cookie = self.acknowledged - 1 - self.hash(0, 0) - (self.sequence - 1) & _U32
        old = count - (cookie >> _BITS) & 0xFF
        return old < _AGE and count >= old and cookie - self.hash(count - old, 1) & _MASK < len(self.sizes)


def _raw_gen(m: Machine, ip: int, tcp: int, size: int, version: int) -> int:
    size &= _U32
    if size < _TCP or size != m.memory.load(tcp + 12, 1) >> 4 << 2:
        return -EINVAL
    segment = _Segment(m, ip, tcp, version)
    return segment.cookie(segment.segment_size(size))


def tcp_raw_gen_syncookie_ipv4(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """iph, th, length of th: the cookie, and above it the segment size."""
    return _raw_gen(m, r1, r2, r3, 4)


def tcp_raw_gen_syncookie_ipv6(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _raw_gen(m, r1, r2, r3, 6)


def tcp_raw_check_syncookie_ipv4(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """iph, th: whether it answers a cookie."""
    return 0 if _Segment(m, r1, r2, 4).is_answer() else -EACCES


def tcp_raw_check_syncookie_ipv6(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return 0 if _Segment(m, r1, r2, 6).is_answer() else -EACCES


def _version(m: Machine, sk: int, ip: int, size: int) -> int:
    """The version of the IP header of a packet for a socket, or minus an errno."""
    if size < _KINDS[4][0]:
        return -EINVAL
    version = m.memory.load(ip, 1) >> 4
    if version not in _KINDS:
        return -EPROTONOSUPPORT
    found = sockets(m).at(sk)
    return -EINVAL if version == 6 and (size < _KINDS[6][0] or found is None or found.family != 10) else version


def _listens(m: Machine, sk: int) -> bool:
    found = sockets(m).at(sk)
    return found is not None and found.protocol == "tcp" and found.remote is None


def tcp_gen_syncookie(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """sk, iph, length, th, length: as above, for a listening socket."""
    size = r5 & _U32
    if size < _TCP or size != m.memory.load(r4 + 12, 1) >> 4 << 2 or not _listens(m, r1):
        return -EINVAL
    if m.memory.load(r4 + 13, 1) & (_SYN | _ACK | _FIN | _RST) != _SYN:
        return -EINVAL
    version = _version(m, r1, r2, r3 & _U32)
    return version if version < 0 else _raw_gen(m, r2, r4, size, version)


def tcp_check_syncookie(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """sk, iph, length, th, length: 0 for an answer to a cookie."""
    if r5 & _U32 < _TCP or not _listens(m, r1):
        return -EINVAL
    if m.memory.load(r4 + 13, 1) & (_SYN | _ACK | _RST) != _ACK:
        return -ENOENT
    version = _version(m, r1, r2, r3 & _U32)
    if version < 0:
        return version
    return 0 if _Segment(m, r2, r4, version).is_answer() else -ENOENT


TABLE: dict[str, Helper] = {
    "tcp_raw_gen_syncookie_ipv4": tcp_raw_gen_syncookie_ipv4,
    "tcp_raw_gen_syncookie_ipv6": tcp_raw_gen_syncookie_ipv6,
    "tcp_raw_check_syncookie_ipv4": tcp_raw_check_syncookie_ipv4,
    "tcp_raw_check_syncookie_ipv6": tcp_raw_check_syncookie_ipv6,
    "tcp_gen_syncookie": tcp_gen_syncookie,
    "tcp_check_syncookie": tcp_check_syncookie,
}
