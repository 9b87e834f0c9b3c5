"""What BPF_MAP_CREATE asks of every map type: sizes of key and value, entries, flags, version.

Held against kernels by trying every combination of a grid of sizes and flags. What depends on the
machine's memory, and the BTF that local storage needs, are not looked at.
"""

from __future__ import annotations

from .._data import Data
from ..isa import map_type_name, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._profile import Profile
    from ._types import MapInfo

EINVAL, E2BIG, ENOTSUPP = 22, 7, 524
NO_PREALLOC, NO_COMMON_LRU, NUMA_NODE, RDONLY, WRONLY = 1, 2, 4, 8, 16
ZERO_SEED, RDONLY_PROG, WRONLY_PROG, CLONE, MMAPABLE, PRESERVE_ELEMS, INNER_MAP = 64, 128, 256, 512, 1024, 2048, 4096
SEGV_ON_FAULT, NO_USER_CONV = 0x20000, 0x40000
_USER = NUMA_NODE | RDONLY | WRONLY
_PROG = RDONLY_PROG | WRONLY_PROG
_ANY = (1, 1 << 22)
# Of a value that every CPU has its own of: PCPU_MIN_UNIT_SIZE.
_PER_CPU_MAX = 32768


class Rule(Data):
    """One map type: inclusive ranges of key and value bytes (a list of exact sizes where `sizes`), flags."""

    keys: tuple[int, ...]
    values: tuple[int, ...]
    flags: int
    entries: str = "some"  # "some": at least one, "none", "pages": a power of two of them
    needs: int = 0
    btf: bool = False


_HASH = _USER | ZERO_SEED | _PROG
_STORAGE = Rule((4, 4), _ANY, NO_PREALLOC | CLONE, "none", NO_PREALLOC, True)
_FD = Rule((4, 4), (4, 4), _USER)
_RING = Rule((0, 0), (0, 0), NUMA_NODE, "pages")
_QUEUE = Rule((0, 0), _ANY, _USER | _PROG)
_CGROUP = Rule((8, 16), _ANY, _USER | _PROG, "none")
RULES: dict[str, Rule] = {
    "hash": Rule(_ANY, _ANY, _HASH | NO_PREALLOC),
    "array": Rule((4, 4), _ANY, _USER | _PROG | MMAPABLE | INNER_MAP),
    "prog_array": _FD,
    "perf_event_array": Rule((4, 4), (4, 4), _USER | PRESERVE_ELEMS),
    "percpu_hash": Rule(_ANY, _ANY, _HASH | NO_PREALLOC),
    "percpu_array": Rule((4, 4), _ANY, RDONLY | WRONLY | _PROG),
    "stack_trace": Rule((4, 4), (8, 1016), _USER),  # multiples of 8, kernel.perf_event_max_stack frames
    "cgroup_array": _FD,
    "lru_hash": Rule(_ANY, _ANY, _HASH | NO_COMMON_LRU | NO_PREALLOC),
    "lru_percpu_hash": Rule(_ANY, _ANY, _HASH | NO_COMMON_LRU | NO_PREALLOC),
    "lpm_trie": Rule((5, 260), _ANY, _USER | _PROG | NO_PREALLOC, "some", NO_PREALLOC),
    "array_of_maps": _FD,
    "hash_of_maps": Rule(_ANY, (4, 4), _HASH | NO_PREALLOC),
    "devmap": Rule((4, 4), (4, 8), _USER),
    "sockmap": Rule((4, 4), (4, 8), _USER),
    "cpumap": Rule((4, 4), (4, 8), NUMA_NODE),
    "xskmap": _FD,
    "sockhash": Rule((1, 512), (4, 8), _USER),
    "cgroup_storage": _CGROUP,
    "reuseport_sockarray": Rule((4, 4), (4, 8), _USER | _PROG),
    "percpu_cgroup_storage": _CGROUP,
    "queue": _QUEUE,
    "stack": _QUEUE,
    "sk_storage": _STORAGE,
    "devmap_hash": Rule((4, 4), (4, 8), _USER),
    "struct_ops": Rule((4, 4), _ANY, 0, "some", 0, True),
    "ringbuf": _RING,
    "inode_storage": _STORAGE,
    "task_storage": _STORAGE,
    "bloom_filter": Rule((0, 0), _ANY, _USER | _PROG | ZERO_SEED),
    "user_ringbuf": _RING,
    "cgrp_storage": _STORAGE,
    "arena": Rule((0, 0), (0, 0), MMAPABLE | SEGV_ON_FAULT | NO_USER_CONV, "some", MMAPABLE),
}
_ONLY_ENDS = frozenset(("devmap", "sockmap", "cpumap", "sockhash", "cgroup_storage", "reuseport_sockarray",
                        "percpu_cgroup_storage", "devmap_hash"))  # fmt: skip
_PER_CPU = frozenset(("percpu_hash", "percpu_array", "lru_percpu_hash", "percpu_cgroup_storage"))
# Flags by the version that brought them (docs: bpf(2), kernel commits of include/uapi/linux/bpf.h).
FLAGS_SINCE: dict[int, tuple[str, tuple[int, int]]] = {
    NO_PREALLOC: ("BPF_F_NO_PREALLOC", (4, 6)), NO_COMMON_LRU: ("BPF_F_NO_COMMON_LRU", (4, 10)),
    NUMA_NODE: ("BPF_F_NUMA_NODE", (4, 14)), RDONLY: ("BPF_F_RDONLY", (4, 15)), WRONLY: ("BPF_F_WRONLY", (4, 15)),
    ZERO_SEED: ("BPF_F_ZERO_SEED", (5, 0)), RDONLY_PROG: ("BPF_F_RDONLY_PROG", (5, 2)),
    WRONLY_PROG: ("BPF_F_WRONLY_PROG", (5, 2)), CLONE: ("BPF_F_CLONE", (5, 4)), MMAPABLE: ("BPF_F_MMAPABLE", (5, 5)),
    PRESERVE_ELEMS: ("BPF_F_PRESERVE_ELEMS", (5, 10)), INNER_MAP: ("BPF_F_INNER_MAP", (5, 10)),
    SEGV_ON_FAULT: ("BPF_F_SEGV_ON_FAULT", (6, 9)), NO_USER_CONV: ("BPF_F_NO_USER_CONV", (6, 9)),
}  # fmt: skip


def check_create(info: MapInfo, profile: Profile | None = None) -> tuple[int, str] | None:
    """(errno, what is wrong) if the kernel makes no such map, else None."""
    from ._profile import profile as choose
    from ._versions import MAP_TYPES

    name = map_type_name(info.type) or ""
    rule, kernel = RULES.get(name), profile or choose(None)
    if rule is None:
        return EINVAL, f"map type {info.type} is unknown"
    since = MAP_TYPES[name][0]
    if kernel.version < since:
        return EINVAL, f"map type {name} exists since {since[0]}.{since[1]}"
    return _flags(name, rule, info, kernel.version) or _sizes(name, rule, info)


def _flags(name: str, rule: Rule, info: MapInfo, version: tuple[int, int]) -> tuple[int, str] | None:
    if info.flags & ~rule.flags:
        return EINVAL, f"a map of type {name} takes no flag {info.flags & ~rule.flags:#x}"
    if rule.needs & ~info.flags:
        return EINVAL, f"a map of type {name} needs {FLAGS_SINCE[rule.needs][0]}"
    for bit, (flag, since) in FLAGS_SINCE.items():
        if info.flags & bit and version < since:
            return EINVAL, f"{flag} exists since {since[0]}.{since[1]}"
    for pair in (RDONLY | WRONLY, RDONLY_PROG | WRONLY_PROG):
        if info.flags & pair == pair and name not in ("ringbuf", "user_ringbuf"):
            return EINVAL, "a map cannot be read-only and write-only at once"
    if info.flags & NO_COMMON_LRU and info.flags & NUMA_NODE:
        return EINVAL, "lists of its own for every CPU and one NUMA node exclude one another"
    if name in ("lru_hash", "lru_percpu_hash") and info.flags & NO_PREALLOC:
        return ENOTSUPP, f"a map of type {name} is always preallocated"
    if name in _PER_CPU and info.flags & NUMA_NODE and name != "percpu_cgroup_storage":
        return EINVAL, "memory that every CPU has its own of belongs to no NUMA node"
    return None


def _sizes(name: str, rule: Rule, info: MapInfo) -> tuple[int, str] | None:
    if not _within(name, rule.keys, info.key_size):
        bad = E2BIG if name == "sockhash" and info.key_size > 512 else EINVAL
        return bad, f"a key of a map of type {name} has {_text(rule.keys)}, not {info.key_size}"
    if not _within(name, rule.values, info.value_size) or (name == "stack_trace" and info.value_size % 8):
        return EINVAL, f"a value of a map of type {name} has {_text(rule.values)}, not {info.value_size}"
    if name in _PER_CPU and (info.value_size + 7) & ~7 > _PER_CPU_MAX:
        return E2BIG, f"a value that each CPU has has at most {_PER_CPU_MAX} bytes"
    if rule.entries == "none" and info.max_entries:
        return EINVAL, f"a map of type {name} has no max_entries"
    if rule.entries != "none" and not info.max_entries:
        return EINVAL, f"a map of type {name} needs max_entries"
    if rule.entries == "pages" and (info.max_entries & (info.max_entries - 1) or info.max_entries % 4096):
        return EINVAL, "the size of a ring is a power of two and a multiple of the page size"
    return None


def _within(name: str, sizes: tuple[int, ...], size: int) -> bool:
    return size in sizes if name in _ONLY_ENDS and sizes[1] <= 16 else sizes[0] <= size <= sizes[1]


def _text(sizes: tuple[int, ...]) -> str:
    return f"{sizes[0]} bytes" if sizes[0] == sizes[1] else f"{sizes[0]} to {sizes[1]} bytes"


def map_types(profile: Profile) -> tuple[str, ...]:
    """The map types of that kernel."""
    from ._versions import MAP_TYPES

    known = table("MAP_TYPES")
    return tuple(name for name, (since, _) in MAP_TYPES.items() if name in known and profile.version >= since)
