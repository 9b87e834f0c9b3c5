"""Section names of BPF programs and what they mean (kernel docs, bpf/libbpf/program_types.rst).

A row of the table: name, program type, attach type, flags. How the name is matched:
    "xdp"      exactly that
    "fentry+"  that, or that, a slash and what it attaches to
A name that starts with "?" is not loaded unless asked for.
"""

from __future__ import annotations

from ..errors import ObjectError, did_you_mean
from ..isa import ATTACH_TYPES, PROG_TYPES
from ._spec import AttachPoint

SLEEPABLE, XDP_HAS_FRAGS = 1 << 4, 1 << 5  # BPF_F_SLEEPABLE, BPF_F_XDP_HAS_FRAGS

_ROWS = """
socket socket_filter
sk_reuseport/migrate sk_reuseport sk_reuseport_select_or_migrate
sk_reuseport sk_reuseport sk_reuseport_select
kprobe+ kprobe
uprobe+ kprobe
uprobe.s+ kprobe - sleepable
kretprobe+ kprobe
uretprobe+ kprobe
uretprobe.s+ kprobe - sleepable
kprobe.multi+ kprobe trace_kprobe_multi
kretprobe.multi+ kprobe trace_kprobe_multi
kprobe.session+ kprobe trace_kprobe_session
uprobe.multi+ kprobe trace_uprobe_multi
uretprobe.multi+ kprobe trace_uprobe_multi
uprobe.session+ kprobe trace_uprobe_session
uprobe.multi.s+ kprobe trace_uprobe_multi sleepable
uretprobe.multi.s+ kprobe trace_uprobe_multi sleepable
uprobe.session.s+ kprobe trace_uprobe_session sleepable
ksyscall+ kprobe
kretsyscall+ kprobe
usdt+ kprobe
usdt.s+ kprobe - sleepable
tc/ingress sched_cls tcx_ingress
tc/egress sched_cls tcx_egress
tcx/ingress sched_cls tcx_ingress
tcx/egress sched_cls tcx_egress
netkit/primary sched_cls netkit_primary
netkit/peer sched_cls netkit_peer
tc sched_cls
classifier sched_cls
action sched_act
tracepoint+ tracepoint
tp+ tracepoint
raw_tracepoint+ raw_tracepoint
raw_tp+ raw_tracepoint
raw_tracepoint.w+ raw_tracepoint_writable
raw_tp.w+ raw_tracepoint_writable
tp_btf+ tracing trace_raw_tp
fentry+ tracing trace_fentry
fmod_ret+ tracing modify_return
fexit+ tracing trace_fexit
fentry.s+ tracing trace_fentry sleepable
fmod_ret.s+ tracing modify_return sleepable
fexit.s+ tracing trace_fexit sleepable
freplace+ ext
lsm+ lsm lsm_mac
lsm.s+ lsm lsm_mac sleepable
lsm_cgroup+ lsm lsm_cgroup
iter+ tracing trace_iter
iter.s+ tracing trace_iter sleepable
syscall syscall - sleepable
xdp.frags/devmap xdp xdp_devmap frags
xdp/devmap xdp xdp_devmap
xdp.frags/cpumap xdp xdp_cpumap frags
xdp/cpumap xdp xdp_cpumap
xdp.frags xdp xdp frags
xdp xdp xdp
perf_event perf_event
lwt_in lwt_in
lwt_out lwt_out
lwt_xmit lwt_xmit
lwt_seg6local lwt_seg6local
sockops sock_ops cgroup_sock_ops
sk_skb/stream_parser sk_skb sk_skb_stream_parser
sk_skb/stream_verdict sk_skb sk_skb_stream_verdict
sk_skb/verdict sk_skb sk_skb_verdict
sk_skb sk_skb
sk_msg sk_msg sk_msg_verdict
lirc_mode2 lirc_mode2 lirc_mode2
flow_dissector flow_dissector flow_dissector
cgroup_skb/ingress cgroup_skb cgroup_inet_ingress
cgroup_skb/egress cgroup_skb cgroup_inet_egress
cgroup/skb cgroup_skb
cgroup/sock_create cgroup_sock cgroup_inet_sock_create
cgroup/sock_release cgroup_sock cgroup_inet_sock_release
cgroup/sock cgroup_sock cgroup_inet_sock_create
cgroup/post_bind4 cgroup_sock cgroup_inet4_post_bind
cgroup/post_bind6 cgroup_sock cgroup_inet6_post_bind
cgroup/bind4 cgroup_sock_addr cgroup_inet4_bind
cgroup/bind6 cgroup_sock_addr cgroup_inet6_bind
cgroup/connect4 cgroup_sock_addr cgroup_inet4_connect
cgroup/connect6 cgroup_sock_addr cgroup_inet6_connect
cgroup/connect_unix cgroup_sock_addr cgroup_unix_connect
cgroup/sendmsg4 cgroup_sock_addr cgroup_udp4_sendmsg
cgroup/sendmsg6 cgroup_sock_addr cgroup_udp6_sendmsg
cgroup/sendmsg_unix cgroup_sock_addr cgroup_unix_sendmsg
cgroup/recvmsg4 cgroup_sock_addr cgroup_udp4_recvmsg
cgroup/recvmsg6 cgroup_sock_addr cgroup_udp6_recvmsg
cgroup/recvmsg_unix cgroup_sock_addr cgroup_unix_recvmsg
cgroup/getpeername4 cgroup_sock_addr cgroup_inet4_getpeername
cgroup/getpeername6 cgroup_sock_addr cgroup_inet6_getpeername
cgroup/getpeername_unix cgroup_sock_addr cgroup_unix_getpeername
cgroup/getsockname4 cgroup_sock_addr cgroup_inet4_getsockname
cgroup/getsockname6 cgroup_sock_addr cgroup_inet6_getsockname
cgroup/getsockname_unix cgroup_sock_addr cgroup_unix_getsockname
cgroup/sysctl cgroup_sysctl cgroup_sysctl
cgroup/getsockopt cgroup_sockopt cgroup_getsockopt
cgroup/setsockopt cgroup_sockopt cgroup_setsockopt
cgroup/dev cgroup_device cgroup_device
struct_ops+ struct_ops
struct_ops.s+ struct_ops - sleepable
sk_lookup sk_lookup sk_lookup
netfilter netfilter netfilter
"""

_FLAGS = {"sleepable": SLEEPABLE, "frags": XDP_HAS_FRAGS}
# Types whose attach target is named by BTF when the program is loaded.
_BTF_TYPES = frozenset(("tracing", "lsm", "ext", "struct_ops"))


def section_meaning(section: str) -> tuple[int, int, str, int, bool]:
    """(program type, attach type, what it attaches to by BTF name, load flags, autoload) of a section name.

    Raises ObjectError for a name that is not a convention.
    """
    name = section.removeprefix("?")
    row, extra = _match(name)
    attach = ATTACH_TYPES[row[2]] if len(row) > 2 and row[2] != "-" else 0
    flags = _FLAGS[row[3]] if len(row) > 3 else 0
    attach_to = extra if row[1] in _BTF_TYPES else ""
    return PROG_TYPES[row[1]], attach, attach_to, flags, not section.startswith("?")


def _match(name: str) -> tuple[list[str], str]:
    rows = {row.split()[0]: row.split() for row in _ROWS.split("\n") if row}
    if name in rows:
        return rows[name], ""
    head, _, extra = name.partition("/")
    if f"{head}+" in rows:
        return rows[f"{head}+"], extra
    near = did_you_mean(head, [key.rstrip("+") for key in rows])
    raise ObjectError(
        f"read object: section {name!r} names no program type",
        hint=near or "see docs.kernel.org/bpf/libbpf/program_types.html",
    )


def section_attach_point(section: str, program: str) -> AttachPoint | None:
    """Where a section name says that the program attaches to; None where it names no place."""
    head, _, extra = section.removeprefix("?").partition("/")
    kind = head.removesuffix(".s")
    if not extra:
        return None
    if kind in ("tracepoint", "tp"):
        category, _, event = extra.partition("/")
        return AttachPoint("tracepoint", program, f"tracepoint:{category}:{event}", category, event)
    if kind in ("raw_tracepoint", "raw_tp", "raw_tracepoint.w", "raw_tp.w", "tp_btf"):
        return AttachPoint("rawtracepoint", program, f"rawtracepoint:{extra}", "", extra)
    if kind in ("fentry", "fexit", "fmod_ret"):
        module, _, function = extra.rpartition(":")
        return AttachPoint(kind, program, f"{kind}:{extra}", module, function)
    if kind in ("iter", "lsm", "ksyscall", "kretsyscall"):
        return AttachPoint(kind, program, f"{kind}:{extra}", "", extra)
    if kind in ("kprobe", "kretprobe"):
        function, offset = _function_offset(extra)
        return AttachPoint(kind, program, f"{kind}:{extra}", "", function, offset)
    if kind in ("kprobe.multi", "kretprobe.multi", "kprobe.session"):
        provider = "kretprobe" if kind == "kretprobe.multi" else "kprobe"
        return AttachPoint(provider, program, f"{provider}:{extra}", "", extra, functions=(extra,))
    if kind.startswith(("uprobe", "uretprobe")):
        return _user_point(kind, extra, program)
    if kind == "usdt":
        path, _, probe = extra.partition(":")
        return AttachPoint("usdt", program, f"usdt:{extra}", path, probe)
    return None


def _function_offset(text: str) -> tuple[str, int]:
    name, _, offset = text.partition("+")
    try:
        return name, int(offset, 0) if offset else 0
    except ValueError:
        raise ObjectError(f"read object: offset in {text!r} is not a number") from None


def _user_point(kind: str, extra: str, program: str) -> AttachPoint | None:
    """`uprobe/PATH:FUNCTION[+OFFSET]` or `uprobe/PATH:OFFSET`; an offset into a function stays in its text."""
    provider = "uretprobe" if kind.startswith("uretprobe") else "uprobe"
    path, _, where = extra.rpartition(":")
    if not path:
        return None
    name = f"{provider}:{extra}"
    if where[:1].isdigit():
        return AttachPoint(provider, program, name, path, "", _function_offset(f"+{where}")[1])
    functions = (where,) if "multi" in kind or "session" in kind else ()
    return AttachPoint(provider, program, name, path, where, functions=functions)
