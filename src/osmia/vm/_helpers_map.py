"""Helpers on maps and the loops over them."""

from __future__ import annotations

from ..isa.map_types import (
    ARRAY,
    ARRAY_OF_MAPS,
    CGROUP_ARRAY,
    HASH_OF_MAPS,
    LRU_HASH,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    PERF_EVENT_ARRAY,
    PROG_ARRAY,
    STACK_TRACE,
)
from ._map_base import E2BIG, EINVAL, RDONLY_PROG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine
    from ._map_base import VmMap

_FILLED_BY_USERS = frozenset((ARRAY_OF_MAPS, CGROUP_ARRAY, HASH_OF_MAPS, PERF_EVENT_ARRAY, PROG_ARRAY, STACK_TRACE))
_MAX_LOOPS = 8 << 20  # BPF_MAX_LOOPS
_U32, _U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def map_lookup_elem(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found: VmMap = m.map_at(r1)
    return found.lookup_address(m.read(r2, found.key_size), m.world.cpu & _U64)


def _writable(m: Machine, handle: int) -> VmMap:
    """The map, unless it is one that the kernel's verifier lets no program change."""
    found: VmMap = m.map_at(handle)
    if found.flags & RDONLY_PROG or found.type in _FILLED_BY_USERS:
        from ..errors import VmFault

        raise VmFault(f"call: map {found.name} is not for programs to change", kind="call", address=handle)
    return found


def map_update_elem(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found = _writable(m, r1)
    return found.update_from(m.read(r2, found.key_size), m.read(r3, found.value_size), r4, m.world.cpu & _U64)


def map_delete_elem(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found = _writable(m, r1)
    return found.delete_key(m.read(r2, found.key_size))


def map_push_elem(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found: VmMap = m.map_at(r1)
    return found.push_value(m.read(r2, found.value_size), r3)


def _fill(m: Machine, address: int, found: VmMap, value: bytes | int) -> int:
    if isinstance(value, int):
        m.write(address, bytes(found.value_size))
        return value
    m.write(address, value)
    return 0


def map_pop_elem(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found: VmMap = m.map_at(r1)
    return _fill(m, r2, found, found.pop_value())


def map_peek_elem(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found: VmMap = m.map_at(r1)
    if hasattr(found, "has"):  # a bloom filter is asked about a value
        asked = found.peek_value(m.read(r2, found.value_size))
        return asked if isinstance(asked, int) else 0
    return _fill(m, r2, found, found.peek_value())


def map_lookup_percpu_elem(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    found: VmMap = m.map_at(r1)
    return found.percpu_address(m.read(r2, found.key_size), r3 & _U32)


def for_each_map_elem(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if r4:
        return -EINVAL
    found: VmMap = m.map_at(r1)
    if found.type in (ARRAY, PERCPU_ARRAY):
        return _for_each_index(m, found, r2, r3)
    done = 0
    for key_address, value_address in found.places(m.world.cpu & _U64):
        done += 1
        if m.call(r2, r1, key_address, value_address, r3):
            break
        if found.type in (LRU_HASH, LRU_PERCPU_HASH) and done > 2 * found.max_entries:
            break  # a callback that inserts could go on for ever
    return done


def _for_each_index(m: Machine, found: VmMap, callback: int, context: int) -> int:
    """The key is a variable of the kernel's: a scratch place per level of nesting."""
    place = scratch(m, 8)
    cpu = m.world.cpu & _U64
    for index in range(found.max_entries):
        key = index.to_bytes(4, "little")
        m.write(place, key)
        if m.call(callback, found.handle, place, found.lookup_address(key, cpu), context):
            return index + 1
    return found.max_entries


def scratch(m: Machine, size: int) -> int:
    """The address of `size` (at most 512) bytes for this level of nesting; later calls reuse it."""
    region = m.data.get("scratch")
    if region is None:
        region = m.data["scratch"] = m.memory.allocate(16 * 512, "scratch")
    at: int = region.base + (m.depth % 16) * 512
    return at


def loop(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    rounds = r1 & _U32
    if r4:
        return -EINVAL
    if rounds > _MAX_LOOPS:
        # The loop that the verifier puts in place of the call gives it in 32 bits (inline_bpf_loop, 5.19).
        return -E2BIG & _U32
    for done in range(rounds):
        if m.call(r2, done, r3):
            return done + 1
    return rounds


TABLE: dict[str, Helper] = {
    "map_lookup_elem": map_lookup_elem,
    "map_update_elem": map_update_elem,
    "map_delete_elem": map_delete_elem,
    "map_push_elem": map_push_elem,
    "map_pop_elem": map_pop_elem,
    "map_peek_elem": map_peek_elem,
    "map_lookup_percpu_elem": map_lookup_percpu_elem,
    "for_each_map_elem": for_each_map_elem,
    "loop": loop,
}
