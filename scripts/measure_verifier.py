"""What the running kernel's verifier answers to tiny programs: which helpers a program type may call, and every
(offset, size, read or write) of its context. The generators of src/osmia/verifier/_gen and the tests that hold those
tables against kernels both use it. Needs root; a load takes about 50 microseconds.
"""

from __future__ import annotations

import os
import re
from ctypes import create_string_buffer
from struct import pack

from osmia.btf import KIND_FUNC, KIND_STRUCT, KIND_TYPEDEF, Btf, load_kernel_btf
from osmia.isa._tables import table
from osmia.syscalls import _bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from ctypes import Array, c_char

    Room = tuple[str, str]  # program type, expected attach type or ""

# Program types whose attach type changes nothing come once.
ROOMS: tuple[Room, ...] = (
    ("socket_filter", ""), ("kprobe", ""), ("kprobe", "trace_kprobe_multi"), ("kprobe", "trace_uprobe_multi"),
    ("kprobe", "trace_kprobe_session"), ("kprobe", "trace_uprobe_session"), ("sched_cls", ""), ("sched_act", ""),
    ("tracepoint", ""), ("xdp", ""), ("xdp", "xdp_devmap"), ("xdp", "xdp_cpumap"), ("perf_event", ""),
    ("cgroup_skb", "cgroup_inet_ingress"), ("cgroup_skb", "cgroup_inet_egress"),
    ("cgroup_sock", "cgroup_inet_sock_create"), ("cgroup_sock", "cgroup_inet4_post_bind"),
    ("cgroup_sock", "cgroup_inet6_post_bind"), ("cgroup_sock", "cgroup_inet_sock_release"),
    ("lwt_in", ""), ("lwt_out", ""), ("lwt_xmit", ""), ("lwt_seg6local", ""), ("sock_ops", "cgroup_sock_ops"),
    ("sk_skb", ""), ("sk_skb", "sk_skb_stream_parser"), ("sk_skb", "sk_skb_stream_verdict"),
    ("sk_skb", "sk_skb_verdict"),
    ("cgroup_device", "cgroup_device"), ("sk_msg", "sk_msg_verdict"),
    ("raw_tracepoint", ""), ("raw_tracepoint_writable", ""),
    *(("cgroup_sock_addr", f"cgroup_inet{v}_{what}")
      for what in ("bind", "connect", "getpeername", "getsockname") for v in "46"),
    *(("cgroup_sock_addr", f"cgroup_udp{v}_{what}") for what in ("sendmsg", "recvmsg") for v in "46"),
    *(("cgroup_sock_addr", f"cgroup_unix_{what}")
      for what in ("connect", "sendmsg", "recvmsg", "getpeername", "getsockname")),
    ("lirc_mode2", "lirc_mode2"), ("sk_reuseport", "sk_reuseport_select"),
    ("sk_reuseport", "sk_reuseport_select_or_migrate"), ("flow_dissector", "flow_dissector"),
    ("cgroup_sysctl", "cgroup_sysctl"), ("cgroup_sockopt", "cgroup_getsockopt"),
    ("cgroup_sockopt", "cgroup_setsockopt"),
    ("tracing", "trace_raw_tp"), ("tracing", "trace_fentry"), ("tracing", "trace_fexit"), ("tracing", "modify_return"),
    ("tracing", "trace_iter"), ("struct_ops", "struct_ops"), ("lsm", "lsm_mac"), ("lsm", "lsm_cgroup"),
    ("sk_lookup", "sk_lookup"), ("syscall", ""), ("netfilter", "netfilter"),
)  # fmt: skip
# What a program of these attach types is loaded against.
TARGETS = {
    "trace_raw_tp": ("btf_trace_sched_switch", KIND_TYPEDEF), "trace_fentry": ("vfs_read", KIND_FUNC),
    "trace_fexit": ("vfs_read", KIND_FUNC), "modify_return": ("security_file_open", KIND_FUNC),
    "trace_iter": ("bpf_iter_task", KIND_FUNC), "lsm_mac": ("bpf_lsm_file_open", KIND_FUNC),
    "lsm_cgroup": ("bpf_lsm_socket_bind", KIND_FUNC), "struct_ops": ("tcp_congestion_ops", KIND_STRUCT),
}  # fmt: skip
BTF_ROOMS = ("tracing", "struct_ops", "lsm")  # contexts made by the target's BTF

_SIZE_BITS = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_NOISE = ("processed ", "verification time", "stack depth")
_NO_HELPER = re.compile(r"unknown func|cannot use helper|invalid func")


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One instruction."""
    return pack("<BBhi", code, src << 4 | dst, off, imm)


def leave(r0: int = 0) -> bytes:
    """`r0 = N; exit`."""
    return insn(0xB7, imm=r0) + insn(0x95)


class Kernel:
    """The running kernel as one who answers."""

    def __init__(self, btf: Btf | None = None) -> None:
        self.btf = btf or load_kernel_btf()
        self._log: Array[c_char] = create_string_buffer(1 << 16)

    def load(
        self, room: Room, insns: bytes, *, level: int = 1, license: str = "GPL", target: str = ""
    ) -> tuple[int, list[str]]:
        """(0 or errno, the verifier's lines)."""
        prog, attach = room
        log = self._log
        log[0] = b"\0"
        btf_id = 0
        if attach in TARGETS:
            name, kind = TARGETS[attach]
            btf_id = self.btf.find(target or name, kind) or 0
        attach_type = table("ATTACH_TYPES").get(attach, 0) if attach != "struct_ops" else 0
        fd = _bpf.prog_load(
            type=table("PROG_TYPES")[prog], insns=insns, license=license, attach_type=attach_type,
            attach_btf_id=btf_id, flags=16 if prog == "syscall" else 0, log_level=level, log=log,
        )  # fmt: skip
        if fd >= 0:
            os.close(fd)
        lines = log.value.decode(errors="replace").splitlines()
        return max(0, -fd), [line for line in lines if line and not line.startswith(_NOISE)]

    def exits(self, room: Room) -> bytes | None:
        """The shortest program of that type that the kernel takes; None if it has no such program."""
        for r0 in (0, 1):
            if self.load(room, leave(r0))[0] == 0:
                return leave(r0)
        return None

    def may_call(self, room: Room, helper: int, license: str = "GPL") -> str:
        """ "" if the type may call the helper, else what the kernel says."""
        _, lines = self.load(room, insn(0x85, imm=helper) + leave(), license=license)
        return next((line for line in lines if _NO_HELPER.search(line)), "")

    def access(self, room: Room, exits: bytes, off: int, size: int, write: bool) -> str | None:
        """The kind of what a load gives ("scalar", "pkt", ...; "" for a store), or None if the kernel refuses."""
        if write:
            code = insn(0xB7, dst=2) + insn(0x63 & ~0x18 | _SIZE_BITS[size], dst=1, src=2, off=off)
        else:
            code = insn(0x61 & ~0x18 | _SIZE_BITS[size], dst=2, src=1, off=off)
        errno, lines = self.load(room, code + exits, level=2)
        if errno:
            return None
        if write:
            return ""
        for line in lines:
            found = re.search(r"\bR2(?:_w)?=([A-Za-z_0-9]+)", line)
            if found:
                return _kind(found.group(1))
        return "scalar"

    def accesses(self, room: Room, offsets: range | tuple[int, ...]) -> Iterator[tuple[bool, int, int, str]]:
        """(write, size, offset, kind) of all that the kernel allows at those offsets."""
        exits = self.exits(room)
        if exits is None:
            return
        for write in (False, True):
            for size in (1, 2, 4, 8):
                for off in offsets:
                    kind = self.access(room, exits, off, size, write)
                    if kind is not None:
                        yield write, size, off, kind


def _kind(text: str) -> str:
    """The log's name of a register type; kernels before 6.3 print a scalar as `inv` or `scalar` with `_w`."""
    return "scalar" if text in ("inv", "0") or text.isdigit() else text
