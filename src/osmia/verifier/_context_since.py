"""Since which kernel a field of a context exists: (struct, first byte behind what older kernels have, ...)."""

from __future__ import annotations

from ..isa import table

# program types -> (first offset, last offset, direction "r", "w" or "rw", first version, field, commit)
_Row = tuple[int, int, str, tuple[int, int], str]
_SKB = (
    "socket_filter", "sched_cls", "sched_act", "cgroup_skb", "lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local", "sk_skb",
)  # fmt: skip
_ROWS: dict[tuple[str, ...], tuple[_Row, ...]] = {
    _SKB: (
        (152, 159, "rw", (5, 0), "__sk_buff.tstamp"),
        (160, 163, "r", (4, 20), "__sk_buff.wire_len"),
        (164, 167, "r", (5, 1), "__sk_buff.gso_segs"),
        (168, 175, "r", (5, 1), "__sk_buff.sk"),
        (176, 179, "r", (5, 7), "__sk_buff.gso_size"),
        (180, 180, "r", (5, 18), "__sk_buff.tstamp_type"),
        (184, 191, "r", (5, 16), "__sk_buff.hwtstamp"),
        (140, 143, "r", (4, 15), "__sk_buff.data_meta"),
        (44, 47, "w", (5, 1), "__sk_buff.queue_mapping"),
    ),
    ("xdp",): (
        (8, 11, "r", (4, 15), "xdp_md.data_meta"),
        (12, 19, "r", (4, 16), "xdp_md.ingress_ifindex"),
        (20, 23, "r", (5, 8), "xdp_md.egress_ifindex"),
    ),
    ("cgroup_sock",): ((72, 75, "r", (5, 1), "bpf_sock.state"), (76, 79, "r", (5, 8), "bpf_sock.rx_queue_mapping")),
    ("cgroup_sock_addr",): ((64, 71, "r", (5, 1), "bpf_sock_addr.sk"),),
    ("sk_msg",): ((68, 71, "r", (5, 0), "sk_msg_md.size"), (72, 79, "r", (5, 8), "sk_msg_md.sk")),
    ("sk_reuseport",): ((40, 55, "r", (5, 14), "sk_reuseport_md.sk"),),
    ("sock_ops",): (
        (184, 191, "r", (5, 1), "bpf_sock_ops.sk"),
        (192, 215, "r", (5, 10), "bpf_sock_ops.skb_data"),
        (216, 223, "r", (6, 2), "bpf_sock_ops.skb_hwtstamp"),
    ),
    ("cgroup_sockopt",): (),
}

_by_number: dict[int, tuple[_Row, ...]] = {}
_EVER = (0, 0)


def since(prog: int, attach: int, off: int, write: bool) -> tuple[int, int]:
    """The first version that allows the access, (0, 0) if as old as the program type."""
    if not _by_number:
        numbers = table("PROG_TYPES")
        for types, rows in _ROWS.items():
            for name in types:
                _by_number[numbers[name]] = rows
    way = "w" if write else "r"
    for first, last, ways, version, _ in _by_number.get(prog, ()):
        if first <= off <= last and way in ways:
            return version
    return _EVER
