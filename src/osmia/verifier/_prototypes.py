"""Helpers as the verifier sees them: the kinds of their arguments, what they return, who may call them."""

from __future__ import annotations

from .._data import Data
from ..isa import attach_type_name, helper_name, prog_type_name, table
from ._callers import callers_since, needs_privilege, room
from ._gen.prototypes import PROTOS, VARIANTS
from ._profile import profile as choose
from ._versions import HELPERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._profile import Profile


class Proto(Data):
    """A helper as programs of one type get it.

    Kinds of arguments (`:N` behind memory: exactly N bytes; `:NAME`: kernel struct; `_or_null`; `:release`):
      anything          any initialized value          scalar           no pointer
      ctx               the program's context          const_map_ptr    a map
      map_key           readable, the map's key size   map_value        readable, the map's value size
      map_value_uninit  writable, value size           mem_rd           readable, length in the next argument
      mem_wr            writable, may be uninitialized mem_wr_init      writable, must be initialized
      size              1 .. length, bounded           size_or_zero     0 .. length
      alloc_size_or_zero  a constant                   ringbuf_mem      a reserved record
      func              a function of the program      stack            memory on the stack
      const_str         text in a read-only map        spin_lock, timer the field of a map value
      kptr_xchg_dest    a kptr field                   dynptr*          on the stack
      sock_common, socket, btf_id, btf_id_sock_common, percpu_btf_id    kernel objects
    What it returns: integer, void, map_value[_or_null], socket_or_null, sock_common_or_null, tcp_sock_or_null,
    mem_or_null, ringbuf_mem_or_null, mem_or_btf_id[_or_null], btf_id[_or_null]:STRUCT.
    """

    id: int
    name: str
    args: tuple[str, ...]
    ret: str
    gpl: bool = False
    pkt_access: bool = False
    might_sleep: bool = False
    fastcall: bool = False
    changes_packet: bool = False
    acquires: bool = False
    conditional: bool = False

    @property
    def callback(self) -> int:
        """The number of the argument that is a function, from 1; 0 if none is."""
        return next((i for i, kind in enumerate(self.args, 1) if kind == "func"), 0)

    @property
    def releases(self) -> int:
        """The number of the argument whose reference ends, from 1; 0 if none does."""
        return next((i for i, kind in enumerate(self.args, 1) if ":release" in kind), 0)


# Behind them all packet pointers of the caller are stale (bpf_helper_changes_pkt_data in net/core/filter.c).
CHANGES_PACKET = frozenset((
    "skb_vlan_push", "skb_vlan_pop", "skb_store_bytes", "skb_change_proto", "skb_change_head", "skb_change_tail",
    "skb_adjust_room", "skb_pull_data", "clone_redirect", "l3_csum_replace", "l4_csum_replace", "xdp_adjust_head",
    "xdp_adjust_meta", "xdp_adjust_tail", "msg_pull_data", "msg_push_data", "msg_pop_data", "lwt_push_encap",
    "lwt_seg6_store_bytes", "lwt_seg6_adjust_srh", "lwt_seg6_action", "store_hdr_opt", "reserve_hdr_opt", "tail_call",
))  # fmt: skip
# What they return must be released: is_acquire_function in kernel/bpf/verifier.c.
ACQUIRES = frozenset(("sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp", "ringbuf_reserve", "kptr_xchg"))
# Arguments that older kernels see differently: helpers, before which version, number of the argument, its kind there.
# 6.1 and 6.12 were measured, and where no commit is known, 6.12 stands for what came in between.
_BEFORE: tuple[tuple[tuple[str, ...], tuple[int, int], int, str], ...] = (
    (("sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp"), (6, 12), 3, "size"),
    (("tcp_raw_gen_syncookie_ipv4", "tcp_raw_gen_syncookie_ipv6"), (6, 12), 3, "size"),
    (("check_mtu",), (6, 12), 3, "mem_wr:4"),
    (("loop",), (6, 12), 1, "anything"),
    (("inode_storage_get", "inode_storage_delete"), (6, 12), 2, "btf_id:inode"),
    (("task_storage_get", "task_storage_delete"), (6, 12), 2, "btf_id:task_struct"),
)
_GET_FUNC_IP = 173
_protos: dict[tuple[str, int, int, tuple[int, int]], Proto] = {}
_variants: dict[str, tuple[tuple[tuple[str, str, tuple[str, ...]], tuple[str, ...]], ...]] = {}


def proto(helper: int, prog_type: int, attach_type: int = 0, profile: Profile | None = None) -> Proto | None:
    """The helper for programs of that type under that kernel; None if they may not call it."""
    if why_not(helper, prog_type, attach_type, profile):
        return None
    name = helper_name(helper)
    assert name is not None
    version = profile.version if profile else (99, 0)
    key = (name, prog_type, attach_type, version)
    if key not in _protos:
        _protos[key] = _older(_make(helper, name, _room(prog_type, attach_type)), version)
    return _protos[key]


def any_proto(helper: int) -> Proto | None:
    """The helper as most program types get it; None for an unknown number."""
    name = helper_name(helper)
    return _make(helper, name, "") if name in PROTOS else None


def why_not(helper: int, prog_type: int, attach_type: int = 0, profile: Profile | None = None) -> str:
    """ "" if the call is allowed, else "unknown", "since 5.8", "not for this program type" or "privileged"."""
    name = helper_name(helper)
    if name is None or name not in PROTOS:
        return "unknown"
    kernel = profile or choose(None)
    since = HELPERS[name][0]
    if kernel.version < since:
        return f"since {since[0]}.{since[1]}"
    first = callers_since(name, _room(prog_type, attach_type))
    if first is None:
        return "not for this program type"
    if kernel.version < first:
        return f"since {first[0]}.{first[1]}"
    if not kernel.privileged and needs_privilege(name):
        return "privileged"
    return ""


def refusal(helper: int, profile: Profile | None = None) -> str:
    """The kernel's line for a call that `why_not` objects to."""
    name = helper_name(helper) if helper > 0 else None
    if name is None or (profile is not None and profile.version < HELPERS[name][0]):
        return f"invalid func unknown#{helper}"
    # e9a8e5a587ca: "unknown func" made people think that the kernel was too old.
    if profile is not None and profile.version < (6, 10):
        return f"unknown func bpf_{name}#{helper}"
    return f"program of this type cannot use helper bpf_{name}#{helper}"


def late_refusal(helper: int, prog_type: int, attach_type: int = 0) -> str:
    """The kernel's line for a call that it refuses though the program type may make it, after the arguments: or ""."""
    if helper != _GET_FUNC_IP:
        return ""
    prog, attach = prog_type_name(prog_type) or "", attach_type_name(attach_type) or ""
    if prog == "tracing" and attach not in ("trace_fentry", "trace_fexit", "modify_return"):
        return f"func bpf_get_func_ip#{helper} supported only for fentry/fexit/fmod_ret programs"
    if prog not in ("tracing", "kprobe"):
        return f"func bpf_get_func_ip#{helper} not supported for program type {prog_type}"
    return ""


def _room(prog_type: int, attach_type: int) -> str:
    """`TYPE/ATTACH` where the attach type counts, `TYPE/` elsewhere."""
    return room(prog_type_name(prog_type) or "", attach_type)


def _make(helper: int, name: str, place: str) -> Proto:
    if not _variants:
        for other, row, rooms in VARIANTS:
            _variants[other] = (*_variants.get(other, ()), (row, rooms))
    flags, ret, args = PROTOS[name]
    for row, rooms in _variants.get(name, ()):
        if place in rooms:
            flags, ret, args = row
    words = flags.split()
    return Proto(
        helper, name, args, ret, gpl="gpl" in words, pkt_access="pkt" in words, might_sleep="sleeps" in words,
        fastcall="fastcall" in words, changes_packet=name in CHANGES_PACKET, acquires=name in ACQUIRES,
        conditional="conditional" in words,
    )  # fmt: skip


def _older(found: Proto, version: tuple[int, int]) -> Proto:
    """The helper as that version sees it."""
    for helpers, before, number, kind in _BEFORE:
        if found.name in helpers and version < before:
            args = list(found.args)
            args[number - 1] = kind
            found = found.replace(args=tuple(args))
    return found


def helper_number(name: str) -> int | None:
    """The number of a helper by name, with or without `bpf_`."""
    return table("HELPERS").get(name.removeprefix("bpf_"))
