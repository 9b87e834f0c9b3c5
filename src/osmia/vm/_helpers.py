"""The table of helpers. A helper is called with the machine and r1 to r5 and gives r0; it may give a negative number.

Helpers read and write program memory through the machine: an address that is not the program's is a VmFault, except
where the kernel's own helper answers with EFAULT. A module of helpers is imported when a program needs one of them.
"""

from __future__ import annotations

from ..isa import HELPERS as _NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._machine import Helper, Machine

# Module (_helpers_NAME) -> the helpers in its TABLE
_MODULES = {
    "csum": "csum_diff l3_csum_replace l4_csum_replace csum_update csum_level",
    "dynptr": "dynptr_from_mem dynptr_read dynptr_write dynptr_data ringbuf_reserve_dynptr ringbuf_submit_dynptr "
    "ringbuf_discard_dynptr user_ringbuf_drain",
    "map": "map_lookup_elem map_update_elem map_delete_elem map_push_elem map_pop_elem map_peek_elem "
    "map_lookup_percpu_elem for_each_map_elem loop",
    "memory": "probe_read probe_read_user probe_read_kernel probe_read_str probe_read_user_str probe_read_kernel_str "
    "copy_from_user copy_from_user_task probe_write_user strncmp strtol strtoul",
    "packet": "xdp_adjust_head xdp_adjust_tail xdp_adjust_meta xdp_load_bytes xdp_store_bytes xdp_get_buff_len",
    "print": "trace_printk trace_vprintk snprintf",
    "redirect": "redirect redirect_peer redirect_neigh clone_redirect redirect_map sk_redirect_map sk_redirect_hash "
    "msg_redirect_map msg_redirect_hash sk_select_reuseport fib_lookup check_mtu",
    "ring": "ringbuf_output ringbuf_reserve ringbuf_submit ringbuf_discard ringbuf_query perf_event_output skb_output "
    "xdp_output",
    "skb": "skb_load_bytes skb_load_bytes_relative skb_store_bytes skb_pull_data skb_change_type skb_change_tail "
    "skb_change_head skb_change_proto skb_adjust_room skb_vlan_push skb_vlan_pop set_hash set_hash_invalid "
    "get_hash_recalc skb_set_tstamp skb_ecn_set_ce",
    "socket": "sk_lookup_tcp skc_lookup_tcp sk_lookup_udp sk_release sk_fullsock get_listener_sock sk_assign "
    "get_socket_cookie get_socket_uid get_netns_cookie skb_cgroup_id sk_cgroup_id skb_ancestor_cgroup_id "
    "sk_ancestor_cgroup_id get_cgroup_classid skb_cgroup_classid get_route_realm skb_under_cgroup "
    "current_task_under_cgroup setsockopt getsockopt bind sock_ops_cb_flags_set sock_map_update sock_hash_update "
    "msg_apply_bytes msg_cork_bytes msg_pull_data sysctl_get_name sysctl_get_current_value sysctl_get_new_value "
    "sysctl_set_new_value get_retval set_retval",
    "storage": "task_storage_get task_storage_delete sk_storage_get sk_storage_delete cgrp_storage_get "
    "cgrp_storage_delete inode_storage_get inode_storage_delete get_local_storage spin_lock "
    "spin_unlock kptr_xchg per_cpu_ptr this_cpu_ptr",
    "syncookie": "tcp_gen_syncookie tcp_check_syncookie tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 "
    "tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6",
    "task": "get_current_task get_current_task_btf task_pt_regs get_stackid get_stack get_task_stack get_func_arg "
    "get_func_ret get_func_arg_cnt d_path seq_write seq_printf",
    "timer": "timer_init timer_set_callback timer_start timer_cancel",
    "tunnel": "skb_get_tunnel_key skb_set_tunnel_key skb_get_tunnel_opt skb_set_tunnel_opt skb_get_xfrm_state",
    "world": "ktime_get_ns ktime_get_boot_ns ktime_get_coarse_ns ktime_get_tai_ns jiffies64 get_prandom_u32 "
    "get_smp_processor_id get_numa_node_id get_current_pid_tgid get_current_uid_gid get_current_comm "
    "get_current_cgroup_id get_current_ancestor_cgroup_id get_ns_current_pid_tgid send_signal send_signal_thread "
    "get_attach_cookie get_func_ip",
}
_MODULE_OF = {_NUMBERS[name]: (module, name) for module, names in _MODULES.items() for name in names.split()}

# What to use in place of helpers that user space cannot have
INSTEAD = {
    "override_return": "mock the helper whose result the program should see",
    "read_branch_records": "use bpf_get_stack",
    "get_branch_snapshot": "use bpf_get_stack",
    "snprintf_btf": "use bpf_snprintf with the fields wanted",
    "seq_printf_btf": "use bpf_seq_printf with the fields wanted",
    "kallsyms_lookup_name": "use bpf_snprintf with %ps",
    "sys_bpf": "use the maps of the machine directly",
    "tcp_sock": "use the fields of struct bpf_sock",
    "skc_to_tcp_sock": "use bpf_sk_fullsock",
}


class _Table(dict[int, "Helper"]):
    """Helpers by number; a module of them is imported on the first look-up."""

    def __missing__(self, number: int) -> Helper:
        module, name = _MODULE_OF[number]
        from importlib import import_module

        found: Helper = import_module(f"._helpers_{module}", __package__).TABLE[name]
        self[number] = found
        return found

    def get(self, number: int, default: Helper | None = None) -> Helper | None:  # type: ignore[override]
        """The helper of this number, or `default`."""
        return self[number] if number in _MODULE_OF else default

    def __contains__(self, number: object) -> bool:
        return number in _MODULE_OF

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(_MODULE_OF))

    def __len__(self) -> int:
        return len(_MODULE_OF)


HELPERS = _Table()


def clean_up(machine: Machine) -> None:
    """After a run that ended by a fault: give back its locks, discard the ring buffer records that it had reserved."""
    data = machine.data
    if data.get("locks"):
        from ._helpers_storage import release_locks

        release_locks(machine)
    if data.get("reserved"):
        from ._helpers_ring import discard_reserved

        discard_reserved(machine)
