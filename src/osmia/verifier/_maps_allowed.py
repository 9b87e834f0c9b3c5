"""Which helpers take which maps (check_map_func_compatibility in kernel/bpf/verifier.c), and from which programs."""

from __future__ import annotations

from ..isa import helper_name, map_type_name, prog_type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._profile import Profile
    from ._types import MapInfo

# Map types that only these helpers take. Map types that are not here take every helper that is not below.
_MAP_TAKES: dict[str, frozenset[str]] = {
    "prog_array": frozenset(("tail_call",)),
    "perf_event_array": frozenset((
        "perf_event_read", "perf_event_output", "skb_output", "perf_event_read_value", "xdp_output",
    )),
    "ringbuf": frozenset((
        "ringbuf_output", "ringbuf_reserve", "ringbuf_query", "ringbuf_reserve_dynptr", "ringbuf_submit_dynptr",
        "ringbuf_discard_dynptr",
    )),
    "user_ringbuf": frozenset(("user_ringbuf_drain",)),
    "stack_trace": frozenset(("get_stackid",)),
    "cgroup_array": frozenset(("skb_under_cgroup", "current_task_under_cgroup")),
    "cgroup_storage": frozenset(("get_local_storage",)),
    "percpu_cgroup_storage": frozenset(("get_local_storage",)),
    "devmap": frozenset(("redirect_map", "map_lookup_elem")),
    "devmap_hash": frozenset(("redirect_map", "map_lookup_elem")),
    "cpumap": frozenset(("redirect_map",)),
    "xskmap": frozenset(("redirect_map", "map_lookup_elem")),
    "array_of_maps": frozenset(("map_lookup_elem",)),
    "hash_of_maps": frozenset(("map_lookup_elem",)),
    "sockmap": frozenset((
        "sk_redirect_map", "sock_map_update", "map_delete_elem", "msg_redirect_map", "sk_select_reuseport",
        "map_lookup_elem", "map_update_elem",
    )),
    "sockhash": frozenset((
        "sk_redirect_hash", "sock_hash_update", "map_delete_elem", "msg_redirect_hash", "sk_select_reuseport",
        "map_lookup_elem", "map_update_elem",
    )),
    "reuseport_sockarray": frozenset(("sk_select_reuseport",)),
    "queue": frozenset(("map_peek_elem", "map_pop_elem", "map_push_elem")),
    "stack": frozenset(("map_peek_elem", "map_pop_elem", "map_push_elem")),
    "sk_storage": frozenset(("sk_storage_get", "sk_storage_delete", "kptr_xchg")),
    "inode_storage": frozenset(("inode_storage_get", "inode_storage_delete", "kptr_xchg")),
    "task_storage": frozenset(("task_storage_get", "task_storage_delete", "kptr_xchg")),
    "cgrp_storage": frozenset(("cgrp_storage_get", "cgrp_storage_delete", "kptr_xchg")),
    "bloom_filter": frozenset(("map_peek_elem", "map_push_elem")),
    "insn_array": frozenset(),
    "struct_ops": frozenset(),
}  # fmt: skip
# Helpers that only these map types serve.
_HELPER_TAKES: dict[str, frozenset[str]] = {
    "tail_call": frozenset(("prog_array",)),
    "perf_event_read": frozenset(("perf_event_array",)),
    "perf_event_output": frozenset(("perf_event_array",)),
    "perf_event_read_value": frozenset(("perf_event_array",)),
    "skb_output": frozenset(("perf_event_array",)),
    "xdp_output": frozenset(("perf_event_array",)),
    "ringbuf_output": frozenset(("ringbuf",)),
    "ringbuf_reserve": frozenset(("ringbuf",)),
    "ringbuf_query": frozenset(("ringbuf",)),
    "ringbuf_reserve_dynptr": frozenset(("ringbuf",)),
    "ringbuf_submit_dynptr": frozenset(("ringbuf",)),
    "ringbuf_discard_dynptr": frozenset(("ringbuf",)),
    "user_ringbuf_drain": frozenset(("user_ringbuf",)),
    "get_stackid": frozenset(("stack_trace",)),
    "current_task_under_cgroup": frozenset(("cgroup_array",)),
    "skb_under_cgroup": frozenset(("cgroup_array",)),
    "redirect_map": frozenset(("devmap", "devmap_hash", "cpumap", "xskmap")),
    "sk_redirect_map": frozenset(("sockmap",)),
    "msg_redirect_map": frozenset(("sockmap",)),
    "sock_map_update": frozenset(("sockmap",)),
    "sk_redirect_hash": frozenset(("sockhash",)),
    "msg_redirect_hash": frozenset(("sockhash",)),
    "sock_hash_update": frozenset(("sockhash",)),
    "get_local_storage": frozenset(("cgroup_storage", "percpu_cgroup_storage")),
    "sk_select_reuseport": frozenset(("reuseport_sockarray", "sockmap", "sockhash")),
    "map_pop_elem": frozenset(("queue", "stack")),
    "map_peek_elem": frozenset(("queue", "stack", "bloom_filter")),
    "map_push_elem": frozenset(("queue", "stack", "bloom_filter")),
    "map_lookup_percpu_elem": frozenset(("percpu_array", "percpu_hash", "lru_percpu_hash")),
    "sk_storage_get": frozenset(("sk_storage",)),
    "sk_storage_delete": frozenset(("sk_storage",)),
    "inode_storage_get": frozenset(("inode_storage",)),
    "inode_storage_delete": frozenset(("inode_storage",)),
    "task_storage_get": frozenset(("task_storage",)),
    "task_storage_delete": frozenset(("task_storage",)),
    "cgrp_storage_get": frozenset(("cgrp_storage",)),
    "cgrp_storage_delete": frozenset(("cgrp_storage",)),
}  # fmt: skip


# Pairs that came later than both.
_SINCE: dict[tuple[str, str], tuple[int, int]] = {
    ("xskmap", "map_lookup_elem"): (5, 3),  # 0402acd683c6
    ("devmap", "map_lookup_elem"): (4, 14),
    ("sockmap", "map_lookup_elem"): (5, 8),  # 64d85290d79c
    ("sockhash", "map_lookup_elem"): (5, 8),
    ("sockmap", "sk_select_reuseport"): (5, 7),  # 9fed9000c5c6
    ("sockhash", "sk_select_reuseport"): (5, 7),
}
# Program types that may delete from a sockmap or sockhash, and those that may update one (may_update_sockmap); delete
# was everybody's before 6.10 (98e948fb60d4), update nobody's before 5.10 (0126240f448d).
_SOCKMAP_WRITERS = frozenset((
    "socket_filter", "sched_cls", "sched_act", "xdp", "sk_reuseport", "flow_dissector", "sk_lookup",
))  # fmt: skip
_ITER = 28


def check(
    map_type: int, helper: int, prog_type: int = 0, profile: Profile | None = None, attach_type: int = 0
) -> str | None:
    """None if the helper takes the map, else the kernel's message."""
    name, kind = helper_name(helper) or "", map_type_name(map_type) or ""
    takes, served = _MAP_TAKES.get(kind), _HELPER_TAKES.get(name)
    fits = (takes is None or name in takes) and (served is None or kind in served)
    if fits and kind in ("sockmap", "sockhash") and name in ("map_update_elem", "map_delete_elem"):
        fits = _writes_sockets(name, prog_type_name(prog_type) or "", attach_type, profile)
    if fits and (kind, name) in _SINCE and profile is not None and profile.version < _SINCE[kind, name]:
        fits = False
    return None if fits else f"cannot pass map_type {map_type} into func bpf_{name}#{helper}"


def helpers_for(kind: str) -> tuple[str, ...]:
    """Helpers for maps of a type that takes few."""
    return tuple(sorted(_MAP_TAKES.get(kind, ())))


def maps_for(helper: str) -> tuple[str, ...]:
    """Types of maps for a helper that takes few."""
    return tuple(sorted(_HELPER_TAKES.get(helper, ())))


def _writes_sockets(name: str, prog: str, attach_type: int, profile: Profile | None) -> bool:
    version = profile.version if profile else (99, 0)
    if name == "map_delete_elem" and version < (6, 10):
        return True
    if prog == "sock_ops":
        return name == "map_delete_elem"
    return version >= (5, 10) and (prog in _SOCKMAP_WRITERS or (prog == "tracing" and attach_type == _ITER))


_SLEEPABLE = frozenset((
    "hash", "lru_hash", "array", "percpu_hash", "percpu_array", "lru_percpu_hash", "array_of_maps", "hash_of_maps",
    "ringbuf", "user_ringbuf", "inode_storage", "sk_storage", "task_storage", "cgrp_storage", "queue", "stack", "arena",
))  # fmt: skip
_TRACING = frozenset(("kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable"))
# Fields of values that these programs may not use, with the kernel's names for them.
_FIELDS = (("spin_lock", "bpf_spin_lock"), ("timer", "bpf_timer"), ("wq", "bpf_wq"))


def check_program(
    info: MapInfo, prog_type: int, profile: Profile | None = None, *, sleepable: bool = False
) -> str | None:
    """None if a program of that type may use the map at all, else the kernel's message.

    See check_map_prog_compatibility in kernel/bpf/verifier.c.
    """
    prog, kind = prog_type_name(prog_type) or "", map_type_name(info.type) or ""
    for field, words in _FIELDS:
        if info.field_offset(field) < 0:
            continue
        if prog in _TRACING:
            return f"tracing progs cannot use {words} yet"
        if prog == "socket_filter" and field == "spin_lock":
            return "socket filter progs cannot use bpf_spin_lock yet"
    if kind == "struct_ops":
        return "bpf_struct_ops map cannot be used in prog"
    old = profile is not None and profile.version < (6, 1)
    if old and prog == "perf_event" and kind in ("hash", "percpu_hash", "hash_of_maps") and info.flags & 1:
        # 34dd3bad1a6f: memory that is not set aside may be had everywhere
        return "perf_event programs can only use preallocated hash map"
    if sleepable and kind not in _SLEEPABLE:
        return "Sleepable programs can only use array, hash, ringbuf and local storage maps"
    return None
