"""Attach programs to interfaces, cgroups and network namespaces, with links (no netlink)."""

from __future__ import annotations

import os

from .. import syscalls
from ..errors import AttachError, NotSupported
from ._attach import attach_error
from ._link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..objects import AttachPoint
    from ._program import Program


def _interface(point: AttachPoint) -> int:
    if not point.target:
        raise AttachError(
            f"attach {point.name or point.provider}: no interface given",
            probe=point.name,
            hint="set the attach point's target to an interface name",
        )
    import socket

    try:
        return socket.if_nametoindex(point.target)
    except OSError:
        raise AttachError(
            f"attach {point.name or point.provider}: no interface {point.target!r}",
            probe=point.name,
            errno=19,
            hint="ip link lists the interfaces of this network namespace",
        ) from None


def _link(
    program: Program, point: AttachPoint, target: int, attach_type: int, flags: int = 0, extra: bytes = b""
) -> Link:
    fd = syscalls.link_create(program.fd, target, attach_type, flags, extra)
    if fd < 0:
        raise attach_error(point, -fd, "bpf(BPF_LINK_CREATE)")
    return Link(point, program, "link", (fd,))


def _xdp(program: Program, point: AttachPoint) -> Link:
    # enum of XDP_FLAGS_*: let the driver do it if it can, unless `mode` says otherwise
    flags = {"": 0, "skb": 2, "generic": 2, "drv": 4, "native": 4, "hw": 8}[point.mode]
    return _link(program, point, _interface(point), syscalls.ATTACH_XDP, flags)


def _tcx(program: Program, point: AttachPoint) -> Link:
    if syscalls.kernel_version() < (6, 6, 0):
        raise NotSupported(
            f"attach {point.name or point.provider}: tc programs are attached with tcx links",
            feature="tcx",
            since="6.6",
            hint="on older kernels: tc filter add ... bpf",
        )
    egress = "egress" in point.function or program.attach_type == syscalls.TCX_EGRESS
    attach_type = syscalls.TCX_EGRESS if egress else syscalls.TCX_INGRESS
    return _link(program, point, _interface(point), attach_type, 0, bytes(16))


def _on_path(program: Program, point: AttachPoint) -> Link:
    """A cgroup directory or a network namespace file."""
    path = point.target or (
        "/proc/self/ns/net" if point.provider in ("sk_lookup", "flow_dissector") else "/sys/fs/cgroup"
    )
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise AttachError(
            f"attach {point.name or point.provider}: {path}: {os.strerror(error.errno or 0).lower()}",
            probe=point.name,
            errno=error.errno or 0,
            hint="give the path of a cgroup v2 directory or a network namespace",
        ) from None
    try:
        return _link(program, point, fd, program.attach_type)
    finally:
        os.close(fd)


NET_PROVIDERS: dict[str, Callable[[Program, AttachPoint], Link]] = {
    "xdp": _xdp,
    "tc": _tcx,
    "tcx": _tcx,
    "classifier": _tcx,
    "cgroup": _on_path,
    "cgroup_skb": _on_path,
    "sockops": _on_path,
    "sk_lookup": _on_path,
    "flow_dissector": _on_path,
}
