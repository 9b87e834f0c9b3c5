"""Which program types may call a helper, and since when."""

from __future__ import annotations

from ..isa._tables import attach_type_name

# Attach type that stands for a program type loaded with another one, or none: the kernel looks no further.
_DEFAULT = {
    "cgroup_skb": "cgroup_inet_ingress", "cgroup_sock": "cgroup_inet_sock_create", "sock_ops": "cgroup_sock_ops",
    "cgroup_device": "cgroup_device", "sk_msg": "sk_msg_verdict", "lirc_mode2": "lirc_mode2",
    "sk_reuseport": "sk_reuseport_select", "flow_dissector": "flow_dissector", "cgroup_sysctl": "cgroup_sysctl",
    "sk_lookup": "sk_lookup", "netfilter": "netfilter", "struct_ops": "struct_ops", "lsm": "lsm_mac",
    "cgroup_sock_addr": "cgroup_inet4_bind", "cgroup_sockopt": "cgroup_setsockopt", "tracing": "trace_fentry",
}  # fmt: skip
# Types that answer by attach type.
_BY_ATTACH = frozenset(("cgroup_sock", "cgroup_sock_addr", "cgroup_sockopt", "tracing", "lsm", "kprobe", "cgroup_skb"))

_rooms: dict[tuple[str, int], str] = {}
# Helpers that an unprivileged loader may call, where its program type may (socket_filter, cgroup_skb).
_UNPRIVILEGED_NOT = frozenset((
    "spin_lock", "spin_unlock", "jiffies64", "per_cpu_ptr", "this_cpu_ptr", "timer_init", "timer_set_callback",
    "timer_start", "timer_cancel", "kptr_xchg", "for_each_map_elem", "snprintf", "trace_printk", "trace_vprintk",
    "get_current_task", "get_current_task_btf", "probe_read_user", "probe_read_kernel", "probe_read_user_str",
    "probe_read_kernel_str", "snprintf_btf", "task_pt_regs", "ringbuf_output", "ringbuf_reserve",
    "ringbuf_submit", "ringbuf_discard", "ringbuf_query",
))  # fmt: skip


def room(prog: str, attach_type: int) -> str:
    """The row of the table that a program of that type and attach type is in."""
    key = (prog, attach_type)
    if key not in _rooms:
        attach = (attach_type_name(attach_type) or "") if attach_type or prog == "cgroup_skb" else ""
        if prog not in _BY_ATTACH or not attach:
            attach = _DEFAULT.get(prog, "")
        _rooms[key] = f"{prog}/{attach}"
    return _rooms[key]


def callers_since(helper: str, place: str) -> tuple[int, int] | None:
    """The first version whose programs in `place` may call the helper; None if none may."""
    from ._gen.prototypes import ALLOWED

    types = ALLOWED.get(helper, ())
    prog = place.split("/")[0]
    if f"!{place}" in types or not ("*" in types or prog in types or place.rstrip("/") in types):
        return None
    return (0, 0)


def needs_privilege(helper: str) -> bool:
    """Whether the kernel keeps the helper from loaders without CAP_BPF."""
    return helper in _UNPRIVILEGED_NOT
