"""Helpers on sockets: look-ups in a table that the machine's owner declares, options, cookies.

    table = sockets(machine)
    table.add("tcp", local=("10.0.0.1", 80), remote=("10.0.0.2", 1234), cookie=7)

A socket is an image of `struct bpf_sock` in the machine's memory; look-ups give its address.
"""

from __future__ import annotations

from ..errors import UsageError
from ..isa.map_types import CGROUP_ARRAY, SOCKHASH, SOCKMAP
from ._context_layouts import SOCK, SOCK_SIZE
from ._helpers_arguments import charge, map_of, room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

_OPTION = 1024  # the longest option
ENOMEM = 12
EINVAL, EPERM, ENOPROTOOPT, ERANGE = 22, 1, 92, 34
_U32 = 0xFFFFFFFF
_NOBODY = 65534  # overflowuid: what get_socket_uid says of a packet without a socket
_PROTOCOLS = {"tcp": (1, 6), "udp": (2, 17)}
_STATES = {"established": 1, "listen": 10}


class Socket:
    """One socket: its image's address, identity, and options set by programs as {(level, name): bytes}."""

    __slots__ = ("address", "cookie", "family", "local", "mark", "options", "protocol", "references", "remote", "uid")

    def __init__(
        self,
        protocol: str,
        local: tuple[bytes, int],
        remote: tuple[bytes, int] | None,
        cookie: int,
        uid: int,
        address: int,
    ) -> None:
        self.protocol = protocol
        self.local = local
        self.remote = remote
        self.cookie = cookie
        self.uid = uid
        self.address = address
        self.family = 2 if len(local[0]) == 4 else 10
        self.references = 0
        self.options: dict[tuple[int, int], bytes] = {}
        self.mark = 0


class SocketTable:
    """The sockets of a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._region = machine.memory.allocate(256 * SOCK_SIZE, "sockets", writable=False)
        self.sockets: list[Socket] = []

    def add(
        self,
        protocol: str,
        *,
        local: tuple[str, int],
        remote: tuple[str, int] | None = None,
        cookie: int = 0,
        uid: int = 0,
        mark: int = 0,
        ifindex: int = 0,
    ) -> Socket:
        """Declare a socket ("tcp" or "udp"); without `remote` it listens. At most 256."""
        import ipaddress

        if protocol not in _PROTOCOLS or len(self.sockets) >= 256:
            raise UsageError(f"declare a socket: {protocol!r} is neither tcp nor udp, or there are 256 already")
        ends = [(ipaddress.ip_address(host).packed, port) for host, port in (local, remote) if host] if remote else []
        here = ends[0] if ends else (ipaddress.ip_address(local[0]).packed, local[1])
        there = ends[1] if ends else None
        at = len(self.sockets) * SOCK_SIZE
        made = Socket(protocol, here, there, cookie or len(self.sockets) + 1, uid, self._region.base + at)
        self.sockets.append(made)
        self._fill(at, made, mark, ifindex)
        return made

    def _fill(self, at: int, s: Socket, mark: int, ifindex: int) -> None:
        kind, number = _PROTOCOLS[s.protocol]
        state = _STATES["established" if s.remote else "listen"] if s.protocol == "tcp" else 7
        remote = s.remote or (bytes(len(s.local[0])), 0)
        v6 = s.family == 10
        values = {
            "bound_dev_if": ifindex.to_bytes(4, "little"),
            "family": s.family.to_bytes(4, "little"),
            "type": kind.to_bytes(4, "little"),
            "protocol": number.to_bytes(4, "little"),
            "mark": mark.to_bytes(4, "little"),
            "src_port": s.local[1].to_bytes(4, "little"),
            "dst_port": remote[1].to_bytes(2, "big"),
            "state": state.to_bytes(4, "little"),
            "src_ip6" if v6 else "src_ip4": s.local[0],
            "dst_ip6" if v6 else "dst_ip4": remote[0],
        }
        for name, data in values.items():
            offset = SOCK[name][0]
            self._region.view[at + offset : at + offset + len(data)] = data

    def find(self, protocol: str, source: tuple[bytes, int], target: tuple[bytes, int]) -> Socket | None:
        """The socket that a packet from `source` to `target` is for; a connected one before a listening one."""
        listening = None
        for s in self.sockets:
            if s.protocol != protocol or s.local[1] != target[1] or len(s.local[0]) != len(target[0]):
                continue
            if s.local[0] != target[0] and any(s.local[0]):
                continue
            if s.remote == source:
                return s
            if s.remote is None:
                listening = listening or s
        return listening

    def at(self, address: int) -> Socket | None:
        """The socket whose image is at `address`."""
        index, rest = divmod(address - self._region.base, SOCK_SIZE)
        return self.sockets[index] if not rest and 0 <= index < len(self.sockets) else None


def sockets(m: Machine) -> SocketTable:
    """The machine's table of sockets, made on first use."""
    found = m.data.get("sockets")
    if found is None:
        found = m.data["sockets"] = SocketTable(m)
    table: SocketTable = found
    return table


def _lookup(m: Machine, protocol: str, address: int, size: int, flags: int) -> int:
    size &= _U32
    if flags or size not in (12, 36):
        return 0
    raw = m.read(address, size)
    width = 4 if size == 12 else 16
    source = raw[:width], int.from_bytes(raw[2 * width : 2 * width + 2], "big")
    target = raw[width : 2 * width], int.from_bytes(raw[2 * width + 2 : 2 * width + 4], "big")
    found = sockets(m).find(protocol, source, target)
    if found is None:
        return 0
    found.references += 1
    return found.address


def sk_lookup_tcp(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _lookup(m, "tcp", r2, r3, r5)


def sk_lookup_udp(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _lookup(m, "udp", r2, r3, r5)


def sk_release(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found = sockets(m).at(r1)
    if found is not None:
        found.references -= 1
    return 0


def sk_fullsock(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return r1


def get_listener_sock(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found = sockets(m).at(r1)
    return r1 if found is not None and found.protocol == "tcp" and found.remote is None else 0


def sk_assign(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    m.data["assigned"] = sockets(m).at(r2)
    return 0 if m.data["assigned"] is not None or not r2 else -EINVAL


def _of(m: Machine, address: int) -> Socket | None:
    """The socket of an argument: a socket, or a context (whose socket is `machine.data["socket"]`)."""
    own: Socket | None = m.data.get("socket")
    return (sockets(m).at(address) if "sockets" in m.data else None) or own


def get_socket_cookie(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found = _of(m, r1)
    return found.cookie if found is not None else 0


def get_socket_uid(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found = _of(m, r1)
    return found.uid if found is not None else _NOBODY


def get_netns_cookie(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return int(m.data.get("netns_cookie", 1))


def _cgroup_id(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return m.world.cgroup_id


def _ancestor_cgroup_id(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    path = (*m.world.ancestors, m.world.cgroup_id)
    level = r2 & _U32
    return path[level] if level < len(path) else 0


def _classid(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return int(m.data.get("classid", 0))


def _route_realm(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return int(m.data.get("realm", 0))


def _under_cgroup(m: Machine, handle: int, index: int) -> int:
    """1 when the current cgroup is (below) the one at `index` of a cgroup array, whose elements are cgroup ids."""
    found = map_of(m, handle, CGROUP_ARRAY)
    if index >= found.max_entries:
        return -7
    wanted = found.program_at(index)
    if wanted is None:
        return -11
    return int(wanted in (*m.world.ancestors, m.world.cgroup_id))


def skb_under_cgroup(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _under_cgroup(m, r2, r3 & _U32)


def current_task_under_cgroup(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _under_cgroup(m, r1, r2 & _U32)


def setsockopt(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Noted in the socket's options, or the machine's (`machine.data["sockopts"]`)."""
    found = _of(m, r1)
    options = found.options if found is not None else m.data.setdefault("sockopts", {})
    name, size = (r2 & _U32, r3 & _U32), r5 & _U32
    if size > _OPTION:
        return -EINVAL
    if name not in options and not charge(m, _OPTION):
        return -ENOMEM
    options[name] = m.read(r4, size)
    return 0


def getsockopt(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """What setsockopt or the machine's owner set; ENOPROTOOPT for anything else."""
    found = _of(m, r1)
    options = found.options if found is not None else m.data.setdefault("sockopts", {})
    size = r5 & _U32
    value = options.get((r2 & _U32, r3 & _U32))
    room(m, r4, size)
    m.write(r4, (value or b"")[:size].ljust(size, b"\0"))
    return 0 if value is not None else -ENOPROTOOPT


def bind(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The address is left in `machine.data["bound"]`."""
    m.data["bound"] = m.read(r2, r3 & _U32)
    return 0


def sock_ops_cb_flags_set(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """bpf_sock_ops_cb_flags is at 84 of struct bpf_sock_ops; the answer are the flags that do not exist."""
    flags = r2 & _U32
    m.memory.store(r1 + 84, 4, flags & 0x7F)
    return flags & ~0x7F


def get_retval(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return int(m.data.get("retval", 0))


def set_retval(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    from ._helpers_packet import signed32

    value = signed32(r2)
    if value > 0 or value < -4095:
        return -EINVAL
    m.data["retval"] = value
    return 0


def _map_update(m: Machine, handle: int, key: int, flags: int) -> int:
    """sock_map_update, sock_hash_update: enter the run's socket (`machine.data["socket"]`) under a key."""
    found = map_of(m, handle, SOCKMAP, SOCKHASH)
    own: Socket | None = m.data.get("socket")
    if own is None:
        return -95
    value = own.cookie.to_bytes(8, "little")[: found.value_size]
    result: int = found.update_from(m.read(key, found.key_size), value, flags)
    return result


def sock_map_update(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _map_update(m, r2, r3, r4)


def msg_apply_bytes(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    m.data["apply_bytes"] = r2 & _U32
    return 0


def msg_cork_bytes(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    m.data["cork_bytes"] = r2 & _U32
    return 0


def msg_pull_data(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """The message is in one piece: only the range is checked (data and data_end begin struct sk_msg_md)."""
    if r4 or r3 & _U32 <= r2 & _U32:
        return -EINVAL
    size = m.memory.load(r1 + 8, 8) - m.memory.load(r1, 8)
    return -EINVAL if r3 & _U32 > size else 0


def sysctl_get_name(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """ctx, buf, len, flags: `machine.data["sysctl_name"]`, "net/ipv4/tcp_mem"; BPF_F_SYSCTL_BASE_NAME is 1."""
    name = str(m.data.get("sysctl_name", ""))
    return _text(m, r2, r3, (name.rsplit("/", 1)[-1] if r4 & 1 else name).encode())


def _text(m: Machine, to: int, size: int, data: bytes) -> int:
    if not size:
        return -7
    m.write(to, data[: size - 1] + b"\0")
    return -7 if len(data) >= size else len(data)


def sysctl_get_current_value(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _text(m, r2, r3, bytes(m.data.get("sysctl_value", b"")))


def sysctl_get_new_value(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    new = m.data.get("sysctl_new")
    if new is None:
        m.write(r2, bytes(min(r3, 1)))
        return -EINVAL
    return _text(m, r2, r3, bytes(new))


def sysctl_set_new_value(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if m.data.get("sysctl_new") is None:
        return -EINVAL
    m.data["sysctl_new"] = m.read(r2, r3)
    return 0


TABLE: dict[str, Helper] = {
    "sk_lookup_tcp": sk_lookup_tcp,
    "skc_lookup_tcp": sk_lookup_tcp,
    "sk_lookup_udp": sk_lookup_udp,
    "sk_release": sk_release,
    "sk_fullsock": sk_fullsock,
    "get_listener_sock": get_listener_sock,
    "sk_assign": sk_assign,
    "get_socket_cookie": get_socket_cookie,
    "get_socket_uid": get_socket_uid,
    "get_netns_cookie": get_netns_cookie,
    "skb_cgroup_id": _cgroup_id,
    "sk_cgroup_id": _cgroup_id,
    "skb_ancestor_cgroup_id": _ancestor_cgroup_id,
    "sk_ancestor_cgroup_id": _ancestor_cgroup_id,
    "get_cgroup_classid": _classid,
    "skb_cgroup_classid": _classid,
    "get_route_realm": _route_realm,
    "skb_under_cgroup": skb_under_cgroup,
    "current_task_under_cgroup": current_task_under_cgroup,
    "setsockopt": setsockopt,
    "getsockopt": getsockopt,
    "bind": bind,
    "sock_ops_cb_flags_set": sock_ops_cb_flags_set,
    "sock_map_update": sock_map_update,
    "sock_hash_update": sock_map_update,
    "msg_apply_bytes": msg_apply_bytes,
    "msg_cork_bytes": msg_cork_bytes,
    "msg_pull_data": msg_pull_data,
    "sysctl_get_name": sysctl_get_name,
    "sysctl_get_current_value": sysctl_get_current_value,
    "sysctl_get_new_value": sysctl_get_new_value,
    "sysctl_set_new_value": sysctl_set_new_value,
    "get_retval": get_retval,
    "set_retval": set_retval,
}
