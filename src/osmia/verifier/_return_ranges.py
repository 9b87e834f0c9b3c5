"""What a program may return: check_return_code in kernel/bpf/verifier.c, by program type and attach type."""

from __future__ import annotations

from ..isa import attach_type_name, prog_type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._profile import Profile

    Range = tuple[int, int]

_BOOL = (0, 1)
# Types whose result has a range whatever the attach type.
_BY_TYPE: dict[str, Range] = {
    "cgroup_skb": _BOOL, "cgroup_sock": _BOOL, "sock_ops": _BOOL, "cgroup_device": _BOOL, "cgroup_sysctl": _BOOL,
    "cgroup_sockopt": _BOOL, "cgroup_sock_addr": _BOOL, "sk_lookup": _BOOL, "netfilter": _BOOL,
}  # fmt: skip
_ALWAYS_ONE = ("recvmsg", "getpeername", "getsockname")
_BY_ATTACH: dict[str, Range] = {
    "cgroup_inet4_bind": (0, 3), "cgroup_inet6_bind": (0, 3), "cgroup_inet_egress": (0, 3),
    "trace_fentry": (0, 0), "trace_fexit": (0, 0), "trace_iter": _BOOL, "trace_kprobe_session": _BOOL,
    "trace_uprobe_session": _BOOL,
}  # fmt: skip


def return_range(prog_type: int, attach_type: int = 0, profile: Profile | None = None) -> Range | None:
    """Smallest and largest value of r0 at the end; None if every value will do.

    BPF LSM and struct_ops are not here: what they may return is their hook's matter.
    """
    prog = prog_type_name(prog_type) or ""
    attach = attach_type_name(attach_type) or ""
    if prog == "cgroup_sock_addr":
        if attach.endswith(_ALWAYS_ONE):
            return (1, 1)
        # 772412176fb9: bind may ask to keep CAP_NET_BIND_SERVICE from being checked.
        if attach in _BY_ATTACH:
            return _BY_ATTACH[attach] if profile is None or profile.version >= (5, 12) else _BOOL
        return _BOOL
    if prog == "cgroup_skb":
        # 5cf1e9145630: congestion notification
        late = profile is None or profile.version >= (5, 3)
        return (0, 3) if attach == "cgroup_inet_egress" and late else _BOOL
    if prog == "tracing":
        return _BY_ATTACH.get(attach)
    if prog == "kprobe":
        return _BY_ATTACH.get(attach) if attach.endswith("_session") else None
    return _BY_TYPE.get(prog)
