"""Storage of tasks, sockets, cgroups and inodes; spin locks; pointers kept in maps."""

from __future__ import annotations

from ..errors import MapError, VmError, VmFault
from ..isa.map_types import CGROUP_STORAGE, CGRP_STORAGE, INODE_STORAGE, PERCPU_CGROUP_STORAGE, SK_STORAGE, TASK_STORAGE
from ._helpers_arguments import map_of, room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine
    from ._map_base import VmMap
    from ._map_local import LocalStorageMap

EINVAL, ENOENT = 22, 2
CREATE = 1  # BPF_LOCAL_STORAGE_GET_F_CREATE
_U32 = 0xFFFFFFFF
_LOCAL = (SK_STORAGE, INODE_STORAGE, TASK_STORAGE, CGRP_STORAGE)


def _get(m: Machine, handle: int, owner: int, initial: int, flags: int) -> int:
    if flags & ~CREATE or not owner:
        return 0
    found: LocalStorageMap = map_of(m, handle, *_LOCAL)
    value = m.read(initial, found.value_size) if initial and flags & CREATE else None
    try:
        return found.storage(owner, value, create=bool(flags & CREATE))
    except (MapError, VmError):  # no memory
        return 0


def _delete(m: Machine, handle: int, owner: int) -> int:
    if not owner:
        return -EINVAL
    found: LocalStorageMap = map_of(m, handle, *_LOCAL)
    return found.drop(owner)


def _task(m: Machine, address: int) -> int:
    """The pid of a task's image; users see the storage under that key."""
    from ._helpers_task import pid_of

    return pid_of(m, address) or address


def _socket(m: Machine, address: int) -> int:
    from ._helpers_socket import sockets

    found = sockets(m).at(address) if "sockets" in m.data else None
    return found.cookie if found is not None else address


def task_storage_get(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _get(m, r1, _task(m, r2), r3, r4)


def task_storage_delete(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _delete(m, r1, _task(m, r2))


def sk_storage_get(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _get(m, r1, _socket(m, r2), r3, r4)


def sk_storage_delete(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _delete(m, r1, _socket(m, r2))


def plain_storage_get(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Cgroups and inodes: the owner is the address itself."""
    return _get(m, r1, r2, r3, r4)


def plain_storage_delete(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return _delete(m, r1, r2)


def get_local_storage(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Storage of the cgroup that the program is attached to: the world's; never null."""
    found: LocalStorageMap = map_of(m, r1, CGROUP_STORAGE, PERCPU_CGROUP_STORAGE)
    return found.storage(m.world.cgroup_id, None, create=True, cpu=m.world.cpu)


def _map_of(m: Machine, address: int) -> VmMap | None:
    """The map in whose storage an address lies."""
    for found in m.maps:
        for storage in found.storages:
            if storage.base <= address < storage.base + len(storage.view):
                made: VmMap = found
                return made
    return None


def spin_lock(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Holds the map's lock, which other threads and processes respect; a second one in the same run is a fault."""
    held = m.data.setdefault("locks", {})
    if r1 in held:
        raise VmFault("call: bpf_spin_lock: the lock is held already: a deadlock", kind="call", address=r1)
    if held:
        raise VmFault("call: bpf_spin_lock: another lock is held", kind="call", address=r1)
    room(m, r1, 4)
    found = _map_of(m, r1)
    if found is not None:
        found.guard.__enter__()
    held[r1] = found
    m.memory.store(r1, 4, 1)
    return 0


def spin_unlock(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    held = m.data.setdefault("locks", {})
    if r1 not in held:
        raise VmFault("call: bpf_spin_unlock: the lock is not held", kind="call", address=r1)
    if m.memory.find(r1, 4, True) is not None:
        m.memory.store(r1, 4, 0)
    found = held.pop(r1)
    if found is not None:
        found.guard.__exit__(None, None, None)
    return 0


def release_locks(m: Machine) -> None:
    """Give back what a run that ended by a fault still holds."""
    for address in list(m.data.get("locks", {})):
        spin_unlock(m, address, 0, 0, 0, 0)


def kptr_xchg(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    old = m.memory.load(r1, 8)
    m.memory.store(r1, 8, r2)
    return old


def per_cpu_ptr(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """Variables of the kernel do not exist here: whatever the pointer is, there is one copy of it."""
    return r1 if r2 & _U32 < m.world.cpus else 0


def this_cpu_ptr(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    return r1


TABLE: dict[str, Helper] = {
    "task_storage_get": task_storage_get,
    "task_storage_delete": task_storage_delete,
    "sk_storage_get": sk_storage_get,
    "sk_storage_delete": sk_storage_delete,
    "cgrp_storage_get": plain_storage_get,
    "cgrp_storage_delete": plain_storage_delete,
    "inode_storage_get": plain_storage_get,
    "inode_storage_delete": plain_storage_delete,
    "get_local_storage": get_local_storage,
    "spin_lock": spin_lock,
    "spin_unlock": spin_unlock,
    "kptr_xchg": kptr_xchg,
    "per_cpu_ptr": per_cpu_ptr,
    "this_cpu_ptr": this_cpu_ptr,
}
