"""What BPF_MAP_CREATE refuses, with which errno: one function per family, in the order of Linux 6.18."""

from __future__ import annotations

from ..isa.map_types import (
    ARRAY,
    ARRAY_OF_MAPS,
    BLOOM_FILTER,
    CGROUP_ARRAY,
    CGROUP_STORAGE,
    CGRP_STORAGE,
    CPUMAP,
    DEVMAP,
    DEVMAP_HASH,
    HASH,
    HASH_OF_MAPS,
    INODE_STORAGE,
    LPM_TRIE,
    LRU_HASH,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    PERCPU_CGROUP_STORAGE,
    PERCPU_HASH,
    PERF_EVENT_ARRAY,
    PROG_ARRAY,
    QUEUE,
    REUSEPORT_SOCKARRAY,
    RINGBUF,
    SK_STORAGE,
    SOCKHASH,
    SOCKMAP,
    STACK,
    STACK_TRACE,
    TASK_STORAGE,
    USER_RINGBUF,
    XSKMAP,
)
from ._map_base import (
    ACCESS,
    CLONE,
    E2BIG,
    EINVAL,
    ENOTSUPP,
    INNER_MAP,
    MMAPABLE,
    NO_COMMON_LRU,
    NO_PREALLOC,
    NUMA_NODE,
    PRESERVE_ELEMS,
    RDONLY,
    RDONLY_PROG,
    STACK_BUILD_ID,
    WRONLY,
    WRONLY_PROG,
    ZERO_SEED,
    Shape,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 4096
_KMALLOC_MAX = 4 << 20  # KMALLOC_MAX_SIZE with 4 KiB pages
_PERCPU_MAX = 32 << 10  # PCPU_MIN_UNIT_SIZE
_HASH_ELEMENT = 48  # sizeof(struct htab_elem)
_STACK_MAX = 127  # kernel.perf_event_max_stack


def _access_fails(flags: int) -> bool:
    return flags & (RDONLY_PROG | WRONLY_PROG) == RDONLY_PROG | WRONLY_PROG


def _array(s: Shape) -> int:
    allowed = NUMA_NODE | MMAPABLE | ACCESS | PRESERVE_ELEMS | INNER_MAP
    per_cpu = s.type == PERCPU_ARRAY
    if not s.max_entries or s.key_size != 4 or not s.value_size or s.flags & ~allowed or _access_fails(s.flags):
        return EINVAL
    if per_cpu and s.flags & NUMA_NODE:
        return EINVAL
    if s.type != ARRAY and s.flags & (MMAPABLE | INNER_MAP):
        return EINVAL
    if s.type != PERF_EVENT_ARRAY and s.flags & PRESERVE_ELEMS:
        return EINVAL
    if s.value_size > 0x7FFFFFFF or (per_cpu and (s.value_size + 7) & ~7 > _PERCPU_MAX):
        return E2BIG
    return 0


def _fd_array(s: Shape) -> int:
    """Arrays of fds: programs, perf events, cgroups, maps."""
    if s.value_size != 4 or s.flags & (RDONLY_PROG | WRONLY_PROG):
        return EINVAL
    return _array(s)


def _hash(s: Shape) -> int:
    lru = s.type in (LRU_HASH, LRU_PERCPU_HASH)
    per_cpu = s.type in (PERCPU_HASH, LRU_PERCPU_HASH)
    if s.flags & ~(NO_PREALLOC | NO_COMMON_LRU | NUMA_NODE | ACCESS | ZERO_SEED) or _access_fails(s.flags):
        return EINVAL
    if not lru and s.flags & NO_COMMON_LRU:
        return EINVAL
    if lru and s.flags & NO_PREALLOC:
        return ENOTSUPP
    if s.flags & NUMA_NODE and (per_cpu or s.flags & NO_COMMON_LRU):
        return EINVAL
    if not s.max_entries or not s.key_size or not s.value_size:
        return EINVAL
    if s.key_size + s.value_size >= _KMALLOC_MAX - _HASH_ELEMENT:
        return E2BIG
    if per_cpu and (s.value_size + 7) & ~7 > _PERCPU_MAX:
        return E2BIG
    return E2BIG if s.max_entries > 1 << 31 else 0


def _hash_of_maps(s: Shape) -> int:
    return EINVAL if s.value_size != 4 else _hash(s)


def _trie(s: Shape) -> int:
    if not s.max_entries or not s.flags & NO_PREALLOC or s.flags & ~(NO_PREALLOC | NUMA_NODE | ACCESS):
        return EINVAL
    if _access_fails(s.flags) or not 5 <= s.key_size <= 260:
        return EINVAL
    return EINVAL if not 1 <= s.value_size <= _KMALLOC_MAX - 256 - 40 else 0


def _queue(s: Shape) -> int:
    if not s.max_entries or s.key_size or not s.value_size or s.flags & ~(NUMA_NODE | ACCESS):
        return EINVAL
    if _access_fails(s.flags):
        return EINVAL
    return E2BIG if s.value_size > _KMALLOC_MAX else 0


def _bloom(s: Shape) -> int:
    if s.key_size or not s.value_size or not s.max_entries or s.flags & ~(NUMA_NODE | ZERO_SEED | ACCESS):
        return EINVAL
    return EINVAL if _access_fails(s.flags) or s.extra & ~0xF else 0


def _ring(s: Shape) -> int:
    if s.flags & ~NUMA_NODE or s.key_size or s.value_size:
        return EINVAL
    size = s.max_entries
    return EINVAL if not size or size & (size - 1) or size % PAGE else 0


def _stack_trace(s: Shape) -> int:
    if s.flags & ~(NUMA_NODE | RDONLY | WRONLY | STACK_BUILD_ID):
        return EINVAL
    each = 32 if s.flags & STACK_BUILD_ID else 8
    if not s.max_entries or s.key_size != 4 or s.value_size < 8 or s.value_size % each:
        return EINVAL
    return EINVAL if s.value_size // each > _STACK_MAX else 0


def _local_storage(s: Shape) -> int:
    """Socket, task, inode and cgroup storage (bpf_local_storage_map_alloc_check)."""
    if s.flags & ~(NO_PREALLOC | CLONE) or not s.flags & NO_PREALLOC or s.max_entries:
        return EINVAL
    if s.key_size != 4 or not s.value_size:
        return EINVAL
    return E2BIG if s.value_size > 0xFFFF - 64 else 0


def _cgroup_storage(s: Shape) -> int:
    if s.key_size not in (8, 16) or not s.value_size or s.max_entries:
        return EINVAL
    if s.value_size > PAGE:
        return E2BIG
    return EINVAL if s.flags & ~(NUMA_NODE | ACCESS) or _access_fails(s.flags) else 0


def _devmap(s: Shape) -> int:
    if not s.max_entries or s.key_size != 4 or s.value_size not in (4, 8):
        return EINVAL
    return EINVAL if s.flags & ~(NUMA_NODE | RDONLY | WRONLY) else 0


def _cpumap(s: Shape) -> int:
    if not s.max_entries or s.key_size != 4 or s.value_size not in (4, 8) or s.flags & ~NUMA_NODE:
        return EINVAL
    return E2BIG if s.max_entries > 8192 else 0


def _xskmap(s: Shape) -> int:
    if not s.max_entries or s.key_size != 4 or s.value_size != 4:
        return EINVAL
    return EINVAL if s.flags & ~(NUMA_NODE | RDONLY | WRONLY) else 0


def _sockmap(s: Shape) -> int:
    if not s.max_entries or s.value_size not in (4, 8) or s.flags & ~(NUMA_NODE | RDONLY | WRONLY):
        return EINVAL
    if s.type == SOCKMAP:
        return EINVAL if s.key_size != 4 else 0
    if not s.key_size:
        return EINVAL
    return E2BIG if s.key_size > 512 else 0


def _reuseport(s: Shape) -> int:
    return EINVAL if s.value_size not in (4, 8) else _array(s)


CHECKS: dict[int, Callable[[Shape], int]] = {
    ARRAY: _array,
    PERCPU_ARRAY: _array,
    PROG_ARRAY: _fd_array,
    PERF_EVENT_ARRAY: _fd_array,
    CGROUP_ARRAY: _fd_array,
    ARRAY_OF_MAPS: _fd_array,
    HASH_OF_MAPS: _hash_of_maps,
    HASH: _hash,
    PERCPU_HASH: _hash,
    LRU_HASH: _hash,
    LRU_PERCPU_HASH: _hash,
    LPM_TRIE: _trie,
    QUEUE: _queue,
    STACK: _queue,
    BLOOM_FILTER: _bloom,
    RINGBUF: _ring,
    USER_RINGBUF: _ring,
    STACK_TRACE: _stack_trace,
    SK_STORAGE: _local_storage,
    TASK_STORAGE: _local_storage,
    INODE_STORAGE: _local_storage,
    CGRP_STORAGE: _local_storage,
    CGROUP_STORAGE: _cgroup_storage,
    PERCPU_CGROUP_STORAGE: _cgroup_storage,
    DEVMAP: _devmap,
    DEVMAP_HASH: _devmap,
    CPUMAP: _cpumap,
    XSKMAP: _xskmap,
    SOCKMAP: _sockmap,
    SOCKHASH: _sockmap,
    REUSEPORT_SOCKARRAY: _reuseport,
}


def check(shape: Shape) -> int:
    """The errno with which the kernel refuses to create it, 0 when it does not."""
    if shape.extra and shape.type != BLOOM_FILTER:
        return EINVAL
    rule = CHECKS.get(shape.type)
    if rule is None:
        return EINVAL
    errno = rule(shape)
    if not errno and shape.flags & RDONLY and shape.flags & WRONLY:
        return EINVAL
    return errno
