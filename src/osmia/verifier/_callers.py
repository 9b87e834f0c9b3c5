"""Which program types may call a helper, and since when."""

from __future__ import annotations

from ..isa import attach_type_name

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

_TRACING = (
    "kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable", "tracing", "lsm", "syscall",
)  # fmt: skip
_CGROUP = ("cgroup_sock", "cgroup_device", "cgroup_sock_addr", "cgroup_sysctl", "cgroup_sockopt")
_FEW_CGROUP = ("cgroup_device", "cgroup_sysctl", "cgroup_sockopt")
# What came to program types later than the helper itself: version, commit, helpers, program types; "!" in front: all
# but these. Without a commit: the first measured kernel that has it, 6.12 not having it.
LATER: tuple[tuple[tuple[int, int], str, tuple[str, ...], tuple[str, ...]], ...] = (
    ((5, 8), "6f3f65d80dac", ("skb_change_head",), ("sched_cls", "sched_act")),
    ((5, 8), "beecf11bc218", ("setsockopt", "getsockopt"), ("cgroup_sock_addr",)),
    ((5, 15), "2c531639deb5", ("setsockopt", "getsockopt"), ("cgroup_sockopt",)),
    ((6, 0), "9113d7e48e91", ("setsockopt", "getsockopt"), ("lsm",)),
    ((5, 8), "0456ea170cd6", (
        "get_prandom_u32", "get_smp_processor_id", "get_numa_node_id", "tail_call", "ktime_get_ns", "spin_lock",
        "spin_unlock", "jiffies64", "perf_event_output",
    ), _FEW_CGROUP),
    ((5, 11), "8e4597c627fb", ("sk_storage_get", "sk_storage_delete"), ("tracing",)),
    ((5, 19), "2fcc82411e74", ("get_attach_cookie",), ("tracing", "lsm")),
    ((6, 10), "68ca5d4eebb8", ("get_attach_cookie",), (
        "raw_tracepoint", "raw_tracepoint_writable", "tracing/trace_raw_tp",
    )),
    ((6, 4), "c501bf55c88b", ("get_current_cgroup_id", "get_current_ancestor_cgroup_id"), (
        "!", *_TRACING, *_CGROUP, "sk_msg",
    )),
    ((6, 10), "eb166e522c77", ("get_current_pid_tgid",), ("!", *_TRACING, *_CGROUP, "sk_msg")),
    ((6, 10), "eb166e522c77", ("get_ns_current_pid_tgid",), ("!", *_TRACING)),
    ((6, 12), "7f6287417baf", ("current_task_under_cgroup",), _CGROUP),
    ((6, 13), "", ("get_netns_cookie",), ("sched_cls", "sched_act")),
    ((6, 15), "", ("get_netns_cookie",), ("socket_filter", "cgroup_skb")),
    ((6, 16), "ee971630f20f", ("get_current_comm", "current_task_under_cgroup"), ("!", *_TRACING, *_CGROUP)),
    ((6, 16), "ee971630f20f", ("get_current_uid_gid",), ("!", *_TRACING, *_CGROUP, "sk_msg")),
    ((6, 16), "ee971630f20f", (
        "task_storage_get", "task_storage_delete", "perf_event_read", "perf_event_read_value", "send_signal",
        "send_signal_thread", "get_branch_snapshot", "copy_from_user", "copy_from_user_task", "get_task_stack",
        "find_vma",
    ), ("!", *_TRACING)),
    ((6, 16), "ee971630f20f", ("get_cgroup_classid",), (
        "!", *_CGROUP, "sched_cls", "sched_act", "lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local", "sk_msg",
    )),
    ((6, 18), "", ("skb_pull_data",), ("lwt_seg6local",)),
    ((6, 18), "", ("setsockopt", "getsockopt"), (
        "cgroup_sock_addr/cgroup_unix_getpeername", "cgroup_sock_addr/cgroup_unix_getsockname",
    )),
)  # fmt: skip

_rooms: dict[tuple[str, int], str] = {}
# Helpers that a loader without CAP_BPF and CAP_PERFMON may not call, though its program type may (socket_filter,
# cgroup_skb): measured on 6.1 and 6.12; for later ones see ee971630f20f.
_UNPRIVILEGED_NOT = frozenset((
    "spin_lock", "spin_unlock", "jiffies64", "per_cpu_ptr", "this_cpu_ptr", "timer_init", "timer_set_callback",
    "timer_start", "timer_cancel", "kptr_xchg", "for_each_map_elem", "snprintf", "trace_printk", "trace_vprintk",
    "get_current_task", "get_current_task_btf", "probe_read_user", "probe_read_kernel", "probe_read_user_str",
    "probe_read_kernel_str", "snprintf_btf", "task_pt_regs", "loop", "dynptr_from_mem", "dynptr_read", "dynptr_write",
    "dynptr_data", "ringbuf_reserve_dynptr", "ringbuf_submit_dynptr", "ringbuf_discard_dynptr", "user_ringbuf_drain",
    "skc_to_tcp6_sock", "skc_to_tcp_sock", "skc_to_tcp_timewait_sock", "skc_to_tcp_request_sock", "skc_to_udp6_sock",
    "skc_to_unix_sock", "skc_to_mptcp_sock", "cgrp_storage_get", "cgrp_storage_delete", "get_current_cgroup_id",
    "get_current_ancestor_cgroup_id", "current_task_under_cgroup", "get_cgroup_classid", "task_storage_get",
    "task_storage_delete", "get_current_comm", "perf_event_read", "perf_event_read_value", "send_signal",
    "send_signal_thread", "get_task_stack", "get_branch_snapshot", "find_vma", "copy_from_user", "copy_from_user_task",
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
    """The first version whose programs in `place` may call the helper, (0, 0) if that goes without saying, and None
    if none may."""
    from ._gen.prototypes import ALLOWED

    types = ALLOWED.get(helper, ())
    if f"!{place}" in types or not ("*" in types or _among(place, types)):
        return None
    first = (0, 0)
    for version, _, helpers, who in LATER:
        if helper in helpers and _among(place, who) == (who[0] != "!"):
            first = max(first, version)
    return first


def _among(place: str, types: tuple[str, ...]) -> bool:
    """Whether a program type is listed, whole or with its attach type."""
    return place.split("/")[0] in types or place.rstrip("/") in types


def needs_privilege(helper: str) -> bool:
    """Whether the kernel keeps the helper from loaders without CAP_BPF."""
    return helper in _UNPRIVILEGED_NOT
