"""Which helpers take which maps (check_map_func_compatibility in kernel/bpf/verifier.c), and from which programs."""

from __future__ import annotations

from ..isa._tables import helper_name, map_type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._profile import Profile

_LOOKS = frozenset(("map_lookup_elem", "map_update_elem", "map_delete_elem"))
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


def check(map_type: int, helper: int, prog_type: int = 0, profile: Profile | None = None) -> str | None:
    """None if the helper takes the map, else the kernel's message."""
    name, kind = helper_name(helper) or "", map_type_name(map_type) or ""
    takes, served = _MAP_TAKES.get(kind), _HELPER_TAKES.get(name)
    if (takes is None or name in takes) and (served is None or kind in served):
        return None
    return f"cannot pass map_type {map_type} into func bpf_{name}#{helper}"
