"""Helpers on the metadata of a packet: tunnel keys and options, IPsec. As net/core/filter.c does it.

What a program sets stays with its packet and can be read again; no device sends it. A key comes from the tunnel device
that took the packet in: `packet.tunnel` says what that was (None: it came through none).
"""

from __future__ import annotations

from .._data import MutableData
from ._helpers_arguments import clear
from ._helpers_packet import skb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

EINVAL, ENOENT, ENOMEM, EPROTO = 22, 2, 12, 71
_U32 = 0xFFFFFFFF
_IPV6, _ZERO_CSUM, _DONT_FRAGMENT, _SEQUENCE, _NO_KEY = 1, 2, 4, 8, 16  # BPF_F_TUNINFO_IPV6 and BPF_F_ of set
_FLAGS = 1 << 4  # BPF_F_TUNINFO_FLAGS, of get
_SET = _IPV6 | _ZERO_CSUM | _DONT_FRAGMENT | _SEQUENCE | _NO_KEY
# include/uapi/linux/if_tunnel.h, as the 16 bits in network order that BPF_F_TUNINFO_FLAGS gives
TUNNEL_CSUM, TUNNEL_KEY, TUNNEL_SEQ, TUNNEL_DONT_FRAGMENT, TUNNEL_NOCACHE = 0x01, 0x04, 0x08, 0x0100, 0x2000
_OPTIONS = 0x0800 | 0x1000 | 0x4000 | 0x8000  # of GENEVE, VXLAN, ERSPAN, GTP
_KEY = 44  # sizeof(struct bpf_tunnel_key)
_OLDER = (
    8,
    22,
    24,
    28,
)  # its size before remote_ipv6, tunnel_ext, tunnel_label and local_ipv6 came: only one shape each
_MOST_OPTIONS = 255  # IP_TUNNEL_OPTS_MAX


class Tunnel(MutableData):
    """What a packet came through, or is to go into; addresses in network order, `flags` as TUNNEL_* above."""

    id: int = 0
    source: bytes = bytes(4)
    target: bytes = bytes(4)
    tos: int = 0
    ttl: int = 0
    label: int = 0
    flags: int = 0
    options: bytes = b""
    ours: bool = False  # set by a program, not by a device


def _words(address: bytes) -> bytes:
    """An address as struct bpf_tunnel_key has it: IPv4 as a number of this machine."""
    return address if len(address) == 16 else address[::-1].ljust(16, b"\0")


def skb_get_tunnel_key(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """ctx, struct bpf_tunnel_key *, size, flags. "remote" is where the packet came from."""
    tunnel, size = skb(m).tunnel, r3 & _U32
    error = 0
    if tunnel is None or r4 & ~(_IPV6 | _FLAGS):
        error = -EINVAL
    elif (len(tunnel.source) == 16) != bool(r4 & _IPV6):
        error = -EPROTO
    elif size not in (_KEY, *_OLDER) or (size == _OLDER[0] and len(tunnel.source) == 16):
        error = -EINVAL
    if error or tunnel is None:
        clear(m, r2, size)
        return error
    data = (
        (tunnel.id & _U32).to_bytes(4, "little") + _words(tunnel.source) + bytes((tunnel.tos, tunnel.ttl))
        + (tunnel.flags.to_bytes(2, "big") if r4 & _FLAGS else bytes(2)) + tunnel.label.to_bytes(4, "little")
        + _words(tunnel.target)
    )  # fmt: skip
    m.write(r2, data[:size])
    return 0


def skb_set_tunnel_key(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """ctx, struct bpf_tunnel_key *, size, flags. "remote" is where the packet is to go."""
    packet, size = skb(m), r3 & _U32
    if r4 & ~_SET or size not in (_KEY, *_OLDER):
        return -EINVAL
    data = m.read(r2, size).ljust(_KEY, b"\0")
    label = int.from_bytes(data[24:28], "little")
    if (label and not r4 & _IPV6) or any(data[22:24]):
        return -EINVAL
    width = 16 if r4 & _IPV6 else 4
    remote, local = data[4 : 4 + width], data[28 : 28 + width]
    flags = TUNNEL_NOCACHE | (TUNNEL_DONT_FRAGMENT if r4 & _DONT_FRAGMENT else 0)
    flags |= (0 if r4 & _ZERO_CSUM else TUNNEL_CSUM) | (TUNNEL_SEQ if r4 & _SEQUENCE else 0)
    packet.tunnel = Tunnel(
        id=int.from_bytes(data[:4], "little"),
        source=local if width == 16 else local[::-1],
        target=remote if width == 16 else remote[::-1],
        tos=data[20],
        ttl=data[21],
        label=label & 0xFFFFF,
        flags=flags | (0 if r4 & _NO_KEY else TUNNEL_KEY),
        ours=True,
    )
    return 0


def skb_get_tunnel_opt(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    tunnel, size = skb(m).tunnel, r3 & _U32
    if tunnel is None or not tunnel.flags & _OPTIONS or size < len(tunnel.options):
        clear(m, r2, size)
        return -ENOENT if tunnel is None or not tunnel.flags & _OPTIONS else -ENOMEM
    m.write(r2, tunnel.options.ljust(size, b"\0"))
    return len(tunnel.options)


def skb_set_tunnel_opt(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Options of a key that a program has set before."""
    tunnel, size = skb(m).tunnel, r3 & _U32
    if tunnel is None or not tunnel.ours or size & 3:
        return -EINVAL
    if size > _MOST_OPTIONS:
        return -ENOMEM
    tunnel.options = m.read(r2, size)
    tunnel.flags |= _OPTIONS
    return 0


def skb_get_xfrm_state(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """No packet here came through IPsec."""
    skb(m)
    clear(m, r3, r4 & _U32)
    return -EINVAL


TABLE: dict[str, Helper] = {
    "skb_get_tunnel_key": skb_get_tunnel_key,
    "skb_set_tunnel_key": skb_set_tunnel_key,
    "skb_get_tunnel_opt": skb_get_tunnel_opt,
    "skb_set_tunnel_opt": skb_set_tunnel_opt,
    "skb_get_xfrm_state": skb_get_xfrm_state,
}
