"""Fields of contexts: struct layouts of include/uapi/linux/bpf.h, asm/ptrace.h and bpf_perf_event.h."""

from __future__ import annotations

from ..syscalls import MACHINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._context import Layout


def _layout(text: str) -> tuple[Layout, int]:
    """`name:bytes` or `name:bytes*count`, in order; `-:n` skips n bytes."""
    fields: Layout = {}
    at = 0
    for word in text.split():
        name, _, shape = word.partition(":")
        size, _, count = shape.partition("*")
        if name != "-":
            fields[name] = (at, int(size), int(count or 1))
        at += int(size) * int(count or 1)
    return fields, at


_REGS_X86 = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss"
_REGS_ARM = " ".join(f"x{i}" for i in range(31)) + " sp pc pstate"
_REGS = " ".join(f"{name}:8" for name in (_REGS_ARM if MACHINE == "aarch64" else _REGS_X86).split())

_SKB = (
    "len:4 pkt_type:4 mark:4 queue_mapping:4 protocol:4 vlan_present:4 vlan_tci:4 vlan_proto:4 priority:4 "
    "ingress_ifindex:4 ifindex:4 tc_index:4 cb:4*5 hash:4 tc_classid:4 data:4 data_end:4 napi_id:4 family:4 "
    "remote_ip4:4 local_ip4:4 remote_ip6:4*4 local_ip6:4*4 remote_port:4 local_port:4 data_meta:4 flow_keys:8 "
    "tstamp:8 wire_len:4 gso_segs:4 sk:8 gso_size:4 tstamp_type:1 -:3 hwtstamp:8"
)
_SOCK = (
    "bound_dev_if:4 family:4 type:4 protocol:4 mark:4 priority:4 src_ip4:4 src_ip6:4*4 src_port:4 dst_port:2 -:2 "
    "dst_ip4:4 dst_ip6:4*4 state:4 rx_queue_mapping:4"
)
_SOCK_ADDR = (
    "user_family:4 user_ip4:4 user_ip6:4*4 user_port:4 family:4 type:4 protocol:4 msg_src_ip4:4 msg_src_ip6:4*4 "
    "-:4 sk:8"
)
_SOCK_OPS = (
    "op:4 args:4*4 family:4 remote_ip4:4 local_ip4:4 remote_ip6:4*4 local_ip6:4*4 remote_port:4 local_port:4 "
    "is_fullsock:4 snd_cwnd:4 srtt_us:4 bpf_sock_ops_cb_flags:4 state:4 rtt_min:4 snd_ssthresh:4 rcv_nxt:4 snd_nxt:4 "
    "snd_una:4 mss_cache:4 ecn_flags:4 rate_delivered:4 rate_interval_us:4 packets_out:4 retrans_out:4 "
    "total_retrans:4 segs_in:4 data_segs_in:4 segs_out:4 data_segs_out:4 lost_out:4 sacked_out:4 sk_txhash:4 "
    "bytes_received:8 bytes_acked:8 sk:8 skb_data:8 skb_data_end:8 skb_len:4 skb_tcp_flags:4 skb_hwtstamp:8"
)
_SK_MSG = (
    "data:8 data_end:8 family:4 remote_ip4:4 local_ip4:4 remote_ip6:4*4 local_ip6:4*4 remote_port:4 local_port:4 "
    "size:4 sk:8"
)
_SK_LOOKUP = (
    "cookie:8 family:4 protocol:4 remote_ip4:4 remote_ip6:4*4 remote_port:2 -:2 local_ip4:4 local_ip6:4*4 "
    "local_port:4 ingress_ifindex:4 -:4"
)
_ARGS = "args:8*12"

# Context by program type: (fields, size)
LAYOUTS: dict[str, tuple[Layout, int]] = {
    "xdp": _layout("data:4 data_end:4 data_meta:4 ingress_ifindex:4 rx_queue_index:4 egress_ifindex:4"),
    "sched_cls": _layout(_SKB),
    "kprobe": _layout(_REGS),
    "perf_event": _layout(_REGS + " sample_period:8 addr:8"),
    "raw_tracepoint": _layout(_ARGS),
    "tracing": _layout(_ARGS),
    "lsm": _layout(_ARGS),
    "cgroup_sock": _layout(_SOCK),
    "cgroup_sock_addr": _layout(_SOCK_ADDR),
    "sock_ops": _layout(_SOCK_OPS),
    "sk_msg": _layout(_SK_MSG),
    "sk_lookup": _layout(_SK_LOOKUP),
    "sk_reuseport": _layout(
        "data:8 data_end:8 len:4 eth_protocol:4 ip_protocol:4 bind_inany:4 hash:4 -:4 sk:8 migrating_sk:8"
    ),
    "cgroup_device": _layout("access_type:4 major:4 minor:4"),
    "cgroup_sysctl": _layout("write:4 file_pos:4"),
    "cgroup_sockopt": _layout("sk:8 optval:8 optval_end:8 level:4 optname:4 optlen:4 retval:4"),
    "flow_dissector": _layout(_SKB),
    "netfilter": _layout("state:8 skb:8"),
    "syscall": _layout("args:8*12"),
}
for _same in ("sched_act", "socket_filter", "cgroup_skb", "sk_skb", "lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local"):
    LAYOUTS[_same] = LAYOUTS["sched_cls"]
LAYOUTS["raw_tracepoint_writable"] = LAYOUTS["raw_tracepoint"]

# struct bpf_sock and bpf_tcp_sock as programs see them: what socket look-ups give
SOCK, SOCK_SIZE = _layout(_SOCK)
