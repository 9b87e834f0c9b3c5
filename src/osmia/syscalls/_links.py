"""bpf(2) commands on links. Functions that create one return an fd, or minus the errno."""

from __future__ import annotations

from struct import Struct, pack

from ._call import address, bpf, error

RAW_TRACEPOINT_OPEN, LINK_CREATE, LINK_UPDATE, LINK_DETACH = 17, 28, 29, 34

# enum bpf_attach_type, as far as attaching needs to tell them apart
TRACE_RAW_TP, TRACE_FENTRY, TRACE_FEXIT, MODIFY_RETURN, LSM_MAC, TRACE_ITER = 23, 24, 25, 26, 27, 28
ATTACH_XDP, ATTACH_PERF_EVENT, TRACE_KPROBE_MULTI, TRACE_UPROBE_MULTI, TRACE_KPROBE_SESSION = 37, 41, 42, 48, 56
TCX_INGRESS, TCX_EGRESS = 46, 47


def link_create(prog_fd: int, target: int, attach_type: int, flags: int = 0, extra: bytes = b"") -> int:
    """BPF_LINK_CREATE. `extra` is the part of the attribute that belongs to the attach type."""
    return bpf(LINK_CREATE, pack("=IIII", prog_fd, target, attach_type, flags) + extra)


def link_perf_event(prog_fd: int, event_fd: int, cookie: int = 0) -> int:
    """A link between a program and a perf event (since 5.15)."""
    return link_create(prog_fd, event_fd, ATTACH_PERF_EVENT, 0, pack("=Q", cookie))


def link_tracing(prog_fd: int, attach_type: int, cookie: int = 0) -> int:
    """A link for a program loaded with an attach BTF id: tp_btf, fentry, fexit, LSM (cookies since 5.19)."""
    if not cookie:
        # Kernels before 5.19 know only this command for tracing programs.
        return raw_tracepoint_open(prog_fd, None)
    return link_create(prog_fd, 0, attach_type, 0, pack("=IIQ", 0, 0, cookie))


def raw_tracepoint_open(prog_fd: int, name: str | None, cookie: int = 0) -> int:
    """BPF_RAW_TRACEPOINT_OPEN; `name` None for tracing programs (cookies since 6.10)."""
    text = name.encode() + b"\0" if name is not None else b""
    attr = pack("=QII", address(text), prog_fd, 0)
    return bpf(RAW_TRACEPOINT_OPEN, attr + pack("=Q", cookie) if cookie else attr)


def _array(values: tuple[int, ...]) -> bytes:
    return pack(f"={len(values)}Q", *values)


def _addresses(names: tuple[str, ...]) -> tuple[bytes, list[bytes]]:
    """Array of char pointers, and the strings to keep alive with it."""
    texts = [name.encode() + b"\0" for name in names]
    return _array(tuple(address(text) for text in texts)), texts


def link_kprobe_multi(
    prog_fd: int,
    *,
    symbols: tuple[str, ...] = (),
    addresses: tuple[int, ...] = (),
    cookies: tuple[int, ...] = (),
    is_return: bool = False,
    session: bool = False,
) -> int:
    """One link for many kernel functions, by name or by address (since 5.18; session since 6.10)."""
    pointers, texts = _addresses(symbols)
    addrs, ids = _array(addresses), _array(cookies)
    count = len(symbols) or len(addresses)
    extra = pack("=IIQQQ", int(is_return), count, address(pointers), address(addrs), address(ids))
    result = link_create(prog_fd, 0, TRACE_KPROBE_SESSION if session else TRACE_KPROBE_MULTI, 0, extra)
    del texts
    return result


def link_uprobe_multi(
    prog_fd: int,
    *,
    path: str,
    offsets: tuple[int, ...],
    ref_ctr_offsets: tuple[int, ...] = (),
    cookies: tuple[int, ...] = (),
    is_return: bool = False,
    pid: int = 0,
) -> int:
    """One link for many places (file offsets) of one file (since 6.6)."""
    name = path.encode("utf-8", "surrogateescape") + b"\0"
    where, counters, ids = _array(offsets), _array(ref_ctr_offsets), _array(cookies)
    extra = pack(
        "=QQQQIII", address(name), address(where), address(counters), address(ids), len(offsets), int(is_return), pid
    )
    return link_create(prog_fd, 0, TRACE_UPROBE_MULTI, 0, extra)


def link_iter(prog_fd: int, info: bytes = b"") -> int:
    """A link for an iterator program; `info` is a `union bpf_iter_link_info` (a map fd, a task, a cgroup)."""
    return link_create(prog_fd, 0, TRACE_ITER, 0, Struct("=QI").pack(address(info), len(info)))


def link_update(link_fd: int, prog_fd: int, old_prog_fd: int = 0) -> None:
    """BPF_LINK_UPDATE: put another program behind the link, at once."""
    result = bpf(LINK_UPDATE, pack("=IIII", link_fd, prog_fd, 4 if old_prog_fd else 0, old_prog_fd))
    if result < 0:
        raise error("bpf(BPF_LINK_UPDATE)", -result)


def link_detach(link_fd: int) -> int:
    """BPF_LINK_DETACH: 0, or minus the errno (not every link type has it)."""
    return bpf(LINK_DETACH, pack("=I", link_fd))
