"""Redirects, which are only noted, and route look-ups against a table that the machine's owner declares.

A redirect leaves a `Redirect` in `machine.data["redirect"]`; copies of clone_redirect collect in
`machine.data["clones"]` as (ifindex, flags, packet). Routes: `machine.data["routes"] = Routes()`.
"""

from __future__ import annotations

from .._data import Data
from ..isa.map_types import CPUMAP, DEVMAP, DEVMAP_HASH, REUSEPORT_SOCKARRAY, SOCKHASH, SOCKMAP, XSKMAP
from ._context_packet import XdpContext
from ._helpers_arguments import map_of
from ._helpers_packet import current, skb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

_CLONES = 1024  # that nobody took away
ENOMEM = 12
EINVAL, ENOENT, EAFNOSUPPORT = 22, 2, 97
_U32 = 0xFFFFFFFF
XDP_ABORTED, XDP_REDIRECT, TC_SHOT, TC_REDIRECT = 0, 4, 2, 7
SK_DROP, SK_PASS = 0, 1
INGRESS, BROADCAST, EXCLUDE_INGRESS = 1, 8, 16
# BPF_FIB_LKUP_RET_*
SUCCESS, BLACKHOLE, UNREACHABLE, PROHIBIT, NOT_FWDED, FWD_DISABLED, UNSUPP_LWT, NO_NEIGH, FRAG_NEEDED = range(9)
NO_SRC_ADDR = 9
_SKIP_NEIGH, _SRC = 4, 16


class Redirect(Data):
    """Where a packet was sent: `kind` is ifindex, peer, neighbour, or map (with its name, key and value)."""

    kind: str
    ifindex: int = 0
    flags: int = 0
    map: str = ""
    key: int | bytes = 0
    value: bytes = b""


class Route(Data):
    """A route: `prefix` bytes (4 or 16) and `length` bits. `result` other than 0 is a BPF_FIB_LKUP_RET_*.

    `source` and `destination` are MAC addresses; without a destination the neighbour is not known.
    """

    prefix: bytes
    length: int
    ifindex: int
    gateway: bytes = b""
    source: bytes = bytes(6)
    destination: bytes = b""
    mtu: int = 1500
    metric: int = 0
    result: int = 0
    source_address: bytes = b""
    table: int = 254


class Routes:
    """Longest prefix wins; the first of equal ones."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def add(self, network: str, ifindex: int, **fields: object) -> Route:
        """`add("10.0.0.0/8", 3, gateway="10.0.0.1", destination="02:00:00:00:00:01")`: texts or bytes."""
        import ipaddress

        net = ipaddress.ip_network(network)
        for name in ("gateway", "source_address"):
            if isinstance(fields.get(name), str):
                fields[name] = ipaddress.ip_address(str(fields[name])).packed
        for name in ("source", "destination"):
            if isinstance(fields.get(name), str):
                fields[name] = bytes.fromhex(str(fields[name]).replace(":", ""))
        route = Route(net.network_address.packed, net.prefixlen, ifindex, **fields)  # type: ignore[arg-type]
        self._routes.append(route)
        return route

    def find(self, address: bytes, table: int = 254) -> Route | None:
        """The route to an address."""
        best: Route | None = None
        number = int.from_bytes(address, "big")
        for route in self._routes:
            if len(route.prefix) != len(address) or route.table != table:
                continue
            rest = 8 * len(address) - route.length
            if number >> rest == int.from_bytes(route.prefix, "big") >> rest and (
                best is None or route.length > best.length
            ):
                best = route
        return best


def redirect(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if isinstance(current(m), XdpContext):
        if r2:
            return XDP_ABORTED
        m.data["redirect"] = Redirect("ifindex", r1 & _U32)
        return XDP_REDIRECT
    if r2 & ~INGRESS:
        return TC_SHOT
    m.data["redirect"] = Redirect("ifindex", r1 & _U32, r2)
    return TC_REDIRECT


def redirect_peer(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if r2:
        return TC_SHOT
    m.data["redirect"] = Redirect("peer", r1 & _U32)
    return TC_REDIRECT


def redirect_neigh(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    size = r3 & _U32
    if (size and size < 20) or r4:
        return TC_SHOT
    m.data["redirect"] = Redirect("neighbour", r1 & _U32, 0, value=m.read(r2, size) if size else b"")
    return TC_REDIRECT


def clone_redirect(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if r3 & ~INGRESS:
        return -EINVAL
    known = m.data.get("interfaces")
    if not r2 & _U32 or (known is not None and r2 & _U32 not in known):
        return -EINVAL
    clones, packet = m.data.setdefault("clones", []), current(m).packet
    if sum(len(clone[2]) for clone in clones[-_CLONES:]) + len(packet) > m.memory.limit or len(clones) >= _CLONES:
        return -ENOMEM
    clones.append((r2 & _U32, r3, packet))
    return 0


def redirect_map(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """XDP: the flags' low two bits are what to return when the key is not there."""
    found = map_of(m, r1, DEVMAP, DEVMAP_HASH, CPUMAP, XSKMAP)
    more = BROADCAST | EXCLUDE_INGRESS if found.type in (DEVMAP, DEVMAP_HASH) else 0
    if r3 & ~(3 | more):
        return XDP_ABORTED
    value = found.target(r2 & _U32)
    if value is None and not r3 & BROADCAST:
        return r3 & 3
    m.data["redirect"] = Redirect("map", 0, r3, found.name, r2 & _U32, value or b"")
    return XDP_REDIRECT


def _socket_redirect(m: Machine, handle: int, key: int | bytes, flags: int) -> int:
    """sk_redirect_map and its like: SK_PASS when there is a socket, else SK_DROP."""
    if flags & ~INGRESS:
        return SK_DROP
    found = map_of(m, handle, SOCKMAP, SOCKHASH)
    value = found.target(key)
    if value is None:
        return SK_DROP
    m.data["redirect"] = Redirect("map", 0, flags, found.name, key, value)
    return SK_PASS


def sk_redirect_map(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _socket_redirect(m, r2, r3 & _U32, r4)


def sk_redirect_hash(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _socket_redirect(m, r2, m.read(r3, m.map_at(r2).key_size), r4)


def sk_select_reuseport(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if r4:
        return -EINVAL
    found = map_of(m, r2, REUSEPORT_SOCKARRAY, SOCKMAP, SOCKHASH)
    key = m.memory.load(r3, 4)
    value = found.target(key)
    if value is None:
        return -ENOENT
    m.data["redirect"] = Redirect("map", 0, 0, found.name, key, value)
    return 0


def fib_lookup(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """struct bpf_fib_lookup: family, ..., addresses at 16 and 32, MAC addresses at 52 and 58."""
    size, flags = r3 & _U32, r4 & _U32
    if size < 64 or flags & ~0x3F:
        return -EINVAL
    p = bytearray(m.read(r2, 64))
    if p[0] not in (2, 10):
        return -EAFNOSUPPORT
    width = 4 if p[0] == 2 else 16
    routes = m.data.get("routes")
    table = int.from_bytes(p[48:52], "little") if flags & 8 else 254
    route = routes.find(bytes(p[32 : 32 + width]), table) if routes is not None else None
    if route is None:
        return NOT_FWDED
    if route.result:
        return int(route.result)
    total = int.from_bytes(p[6:8], "little")
    if total > route.mtu:
        p[6:8] = route.mtu.to_bytes(2, "little")
        m.write(r2, p)
        return FRAG_NEEDED
    return _found(m, r2, p, route, flags, width)


def _found(m: Machine, address: int, p: bytearray, route: Route, flags: int, width: int) -> int:
    p[6:8] = route.mtu.to_bytes(2, "little")
    if flags & _SRC:
        if not route.source_address:
            return NO_SRC_ADDR
        p[16 : 16 + width] = route.source_address
    if route.gateway:
        p[0] = 2 if len(route.gateway) == 4 else 10
        p[32 : 32 + len(route.gateway)] = route.gateway
    p[8:12] = route.ifindex.to_bytes(4, "little")
    p[12:16] = route.metric.to_bytes(4, "little")
    p[48:52] = bytes(4)
    if not flags & _SKIP_NEIGH:
        if not route.destination:
            m.write(address, p)
            return NO_NEIGH
        p[52:58] = route.source
        p[58:64] = route.destination
    m.write(address, p)
    return SUCCESS


def check_mtu(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """ctx, ifindex, u32 *mtu_len, s32 difference, flags; the MTU is `machine.data["mtu"]`, 1500 when not set."""
    from ._helpers_packet import signed32

    packet = current(m)
    if r5:
        return -EINVAL
    mtu = int(m.data.get("mtu", 1500))
    asked = m.memory.load(r3, 4)
    header = 14
    length = asked + header if asked else packet.length
    if not isinstance(packet, XdpContext):
        skb(m)
    m.memory.store(r3, 4, mtu)
    return 1 if length + signed32(r4) > mtu + header else 0


TABLE: dict[str, Helper] = {
    "redirect": redirect,
    "redirect_peer": redirect_peer,
    "redirect_neigh": redirect_neigh,
    "clone_redirect": clone_redirect,
    "redirect_map": redirect_map,
    "sk_redirect_map": sk_redirect_map,
    "sk_redirect_hash": sk_redirect_hash,
    "msg_redirect_map": sk_redirect_map,
    "msg_redirect_hash": sk_redirect_hash,
    "sk_select_reuseport": sk_select_reuseport,
    "fib_lookup": fib_lookup,
    "check_mtu": check_mtu,
}
