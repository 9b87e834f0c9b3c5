"""Everything of BPF that is in the kernel now, whoever loaded it. Needs CAP_SYS_ADMIN."""

from __future__ import annotations

import os
from struct import unpack_from

from .. import syscalls
from .._data import Data
from ._program import ProgramInfo, program_info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

# enum bpf_link_type
LINK_TYPES = (
    "unspec", "raw_tracepoint", "tracing", "cgroup", "iter", "netns", "xdp", "perf_event", "kprobe_multi",
    "struct_ops", "netfilter", "tcx", "uprobe_multi", "netkit", "sockmap",
)  # fmt: skip


class MapInfo(Data):
    """What the kernel tells about a map; sizes in bytes."""

    id: int
    type: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    btf_id: int = 0


class LinkInfo(Data):
    """What the kernel tells about a link; `type` as in `LINK_TYPES`, `attach_type` 0 where it has none."""

    id: int
    type: str
    program_id: int
    attach_type: int = 0


def map_info(fd: int) -> MapInfo:
    """Read bpf_map_info of a map fd."""
    raw = syscalls.info(fd, 88)
    type, id, key_size, value_size, entries, flags = unpack_from("=6I", raw)
    name = raw[24:40].rstrip(b"\0").decode(errors="replace")
    return MapInfo(id, type, name, key_size, value_size, entries, flags, unpack_from("=I", raw.ljust(88, b"\0"), 64)[0])


def link_info(fd: int) -> LinkInfo:
    """Read bpf_link_info of a link fd."""
    raw = syscalls.info(fd, 64).ljust(64, b"\0")
    type, id, program = unpack_from("=III", raw)
    name = LINK_TYPES[type] if type < len(LINK_TYPES) else str(type)
    at = {"tracing": 16, "cgroup": 24, "netns": 20, "tcx": 20, "netkit": 20, "sockmap": 20}.get(name, 0)
    return LinkInfo(id, name, program, unpack_from("=I", raw, at)[0] if at else 0)


def _each(kind: str, read: Callable[[int], T]) -> list[T]:
    found = []
    for id in syscalls.ids(kind):
        fd = syscalls.fd_by_id(kind, id)
        if fd < 0:
            continue  # it has gone meanwhile
        try:
            found.append(read(fd))
        finally:
            os.close(fd)
    return found


def list_programs() -> list[ProgramInfo]:
    """All programs in the kernel."""
    return _each("prog", program_info)


def list_maps() -> list[MapInfo]:
    """All maps in the kernel."""
    return _each("map", map_info)


def list_links() -> list[LinkInfo]:
    """All links in the kernel."""
    return _each("link", link_info)
