"""Create maps of the user-space target from their specification."""

from __future__ import annotations

import os

from ..errors import MapError, NotSupported
from ..isa import map_types as types
from ._map_base import Shape, VmMap
from ._map_storage import Room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf
    from ..objects import MapSpec, Object
    from ._machine import Machine

# type -> (module, class); modules are imported when first used.
_CLASSES = {
    types.HASH: ("_map_hash", "HashMap"),
    types.PERCPU_HASH: ("_map_hash", "PerCpuHashMap"),
    types.LRU_HASH: ("_map_hash", "LruHashMap"),
    types.LRU_PERCPU_HASH: ("_map_hash", "LruPerCpuHashMap"),
    types.ARRAY: ("_map_array", "ArrayMap"),
    types.PERCPU_ARRAY: ("_map_array", "PerCpuArrayMap"),
    types.QUEUE: ("_map_queue", "QueueMap"),
    types.STACK: ("_map_queue", "StackMap"),
    types.BLOOM_FILTER: ("_map_queue", "BloomFilterMap"),
    types.RINGBUF: ("_map_ring", "RingMap"),
    types.USER_RINGBUF: ("_map_user_ring", "UserRingMap"),
    types.LPM_TRIE: ("_map_trie", "TrieMap"),
    types.PROG_ARRAY: ("_map_refs", "FdArrayMap"),
    types.CGROUP_ARRAY: ("_map_refs", "FdArrayMap"),
    types.PERF_EVENT_ARRAY: ("_map_perf", "PerfEventArrayMap"),
    types.ARRAY_OF_MAPS: ("_map_refs", "ArrayOfMaps"),
    types.HASH_OF_MAPS: ("_map_refs", "HashOfMaps"),
    types.DEVMAP: ("_map_refs", "TargetArray"),
    types.CPUMAP: ("_map_refs", "TargetArray"),
    types.XSKMAP: ("_map_refs", "TargetArray"),
    types.SOCKMAP: ("_map_refs", "TargetArray"),
    types.REUSEPORT_SOCKARRAY: ("_map_refs", "TargetArray"),
    types.DEVMAP_HASH: ("_map_refs", "TargetHash"),
    types.SOCKHASH: ("_map_refs", "TargetHash"),
    types.STACK_TRACE: ("_map_stack", "StackTraceMap"),
    types.SK_STORAGE: ("_map_local", "LocalStorageMap"),
    types.TASK_STORAGE: ("_map_local", "LocalStorageMap"),
    types.INODE_STORAGE: ("_map_local", "LocalStorageMap"),
    types.CGRP_STORAGE: ("_map_local", "LocalStorageMap"),
    types.CGROUP_STORAGE: ("_map_local", "LocalStorageMap"),
    types.PERCPU_CGROUP_STORAGE: ("_map_local", "LocalStorageMap"),
}
_SHAREABLE = (
    types.HASH, types.PERCPU_HASH, types.LRU_HASH, types.LRU_PERCPU_HASH, types.ARRAY, types.PERCPU_ARRAY,
    types.QUEUE, types.STACK, types.BLOOM_FILTER, types.RINGBUF, types.USER_RINGBUF,
)  # fmt: skip

# Structs in values that only the kernel writes, and their sizes
_SPECIAL = {"bpf_spin_lock": 4, "bpf_res_spin_lock": 8, "bpf_timer": 16, "bpf_wq": 16}


def create_map(machine: Machine, shape: Shape) -> VmMap:
    """A map in the machine's memory, known to its programs. MapError with the kernel's errno, NotSupported.

    `shape.cpus` and `max_entries` 0 of a perf event array are filled in from the machine's world.
    """
    from ._map_checks import check

    shape.cpus = machine.world.cpus
    if shape.type == types.PERF_EVENT_ARRAY and not shape.max_entries:
        shape.max_entries = shape.cpus
    if shape.type in (types.STRUCT_OPS, types.ARENA):
        kind = "struct_ops" if shape.type == types.STRUCT_OPS else "arena"
        raise NotSupported(
            f"create map {shape.name}: {kind} maps do not exist in user space",
            feature=f"{kind} map",
            hint="struct_ops replaces functions of the kernel" if kind == "struct_ops" else "use an array",
        )
    errno = check(shape)
    if errno:
        raise MapError(
            f"create map {shape.name}: {os.strerror(errno).lower() if errno < 500 else 'not supported'} (type "
            f"{shape.type}, key {shape.key_size}, value {shape.value_size}, entries {shape.max_entries}, flags "
            f"{shape.flags:#x})",
            errno=errno,
            operation="create",
        )
    if shape.shared and shape.type not in _SHAREABLE:
        raise NotSupported(
            f"share map {shape.name}: maps of type {shape.type} belong to one process", feature="shared map"
        )
    return _build(machine, shape)


def _build(machine: Machine, shape: Shape) -> VmMap:
    found = _CLASSES.get(shape.type)
    if found is None:
        raise NotSupported(f"create map {shape.name}: type {shape.type} is not known", feature=f"map type {shape.type}")
    from importlib import import_module

    made: VmMap = getattr(import_module(f".{found[0]}", __package__), found[1])(shape, Room(machine.memory))
    made.handle = machine.add_map(made)
    made.id = len(machine.maps)
    if shape.type in (types.ARRAY_OF_MAPS, types.HASH_OF_MAPS):
        made.find = lambda number: _by_id(machine, number)  # type: ignore[attr-defined]
    return made


def _by_id(machine: Machine, number: int) -> VmMap | None:
    maps = machine.maps
    return maps[number - 1] if 0 < number <= len(maps) else None


def shape_of(spec: MapSpec, *, shared: str = "", btf: Btf | None = None) -> Shape:
    """The shape that a `MapSpec` asks for; `btf` (of its object) tells of locks and timers in the value."""
    inner = shape_of(spec.inner, btf=btf) if spec.inner is not None else None
    locked, spin_lock = special_fields(btf, spec.value_type) if btf is not None and spec.value_type else ((), -1)
    return Shape(
        spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags, spec.name,
        extra=spec.map_extra, inner=inner, shared=shared, locked=locked, spin_lock=spin_lock,
    )  # fmt: skip


def special_fields(btf: Btf, value_type: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """((offset, size) of the fields that only the kernel writes, offset of the spin lock or -1) of a struct."""
    from ..btf import KIND_STRUCT

    outer = btf.resolve(value_type)
    if btf.kind(outer) != KIND_STRUCT:
        return (), -1
    found: list[tuple[int, int]] = []
    spin_lock = -1
    for member in btf.members(outer):
        inner = btf.resolve(member.type_id)
        name = btf.name(inner)
        if btf.kind(inner) == KIND_STRUCT and name in _SPECIAL:
            offset = member.bit_offset // 8
            found.append((offset, _SPECIAL[name]))
            if name == "bpf_spin_lock":
                spin_lock = offset
    return tuple(found), spin_lock


def create_from_spec(machine: Machine, spec: MapSpec, *, shared: str = "", btf: Btf | None = None) -> VmMap:
    """Create a map, give it its first contents and freeze it if the spec says so."""
    made = create_map(machine, shape_of(spec, shared=shared, btf=btf))
    if spec.contents is not None:
        made.update(bytes(4), spec.contents.ljust(made.value_size, b"\0")[: made.value_size])
    if spec.frozen:
        made.freeze()
    return made


def object_types(obj: Object) -> Btf | None:
    """The object's own types, for special fields of map values."""
    if not obj.btf:
        return None
    from ..btf import Btf

    return Btf(obj.btf)
