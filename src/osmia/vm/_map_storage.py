"""Where maps lie: private memory that is touched lazily, or a file that several processes map.

Of a storage, only what follows `data_at` is a region of the machine: programs cannot reach tables and links, not even
unverified ones. A shared file begins with a page that says what map it holds; the storage follows.
"""

from __future__ import annotations

import mmap
import os
from _thread import RLock
from struct import Struct

from ..errors import MapError, VmError
from ._map_base import EINVAL, ENOMEM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._map_base import Shape
    from ._memory import Memory, Region

_PAGE = mmap.PAGESIZE
_MAGIC = b"OSMIAMAP"
_HEAD = Struct("<8sIIIIIIIIQ")  # magic, version, type, key, value, entries, flags, extra, cpus, size
_VERSION = 1
_SHM = "/dev/shm"
_MAP_NORESERVE = 0x4000


class Guard:
    """Mutual exclusion: of threads, and of processes where there is a file (a lock that dies with its holder)."""

    def __init__(self, fd: int = -1) -> None:
        self._lock = RLock()
        self._fd = fd
        self._depth = 0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        if self._fd >= 0 and self._depth == 1:
            from fcntl import LOCK_EX, lockf

            lockf(self._fd, LOCK_EX, 1)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._fd >= 0 and self._depth == 0:
            from fcntl import LOCK_UN, lockf

            lockf(self._fd, LOCK_UN, 1)
        self._lock.release()


class Storage:
    """`view` is all of it, at address `base`; `fd` that of a shared file, or -1."""

    def __init__(
        self,
        memory: Memory,
        block: mmap.mmap,
        skip: int,
        data_at: int,
        name: str,
        writable: bool,
        fd: int,
        charged: int,
    ) -> None:
        whole = memoryview(block)
        self.view = whole[skip:]
        whole.release()
        data = self.view[data_at:]
        self._memory = memory
        self._block: mmap.mmap | None = block
        self._charged = charged
        self._region: Region | None = memory.adopt(data, name, writable=writable)
        self.base = self._region.base - data_at
        self.fd = fd
        self.guard = Guard(fd)

    def close(self) -> None:
        """Unmap it. A shared file stays."""
        if self._block is None:
            return
        if self._region is not None:
            view = self._region.view
            self._memory.free(self._region)
            view.release()
            self._region = None
        self._memory.used -= min(self._memory.used, self._charged)
        self.view.release()
        block, self._block = self._block, None
        try:
            block.close()
        except BufferError:
            # Somebody holds a view still: the memory goes with it.
            self._block = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Room:
    """Gives storage to maps of one machine, within its memory limit."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def take(self, shape: Shape, size: int, *, data_at: int, writable: bool = True) -> Storage:
        """Zeroed storage of `size` bytes, or a file's; MapError with ENOMEM beyond the machine's limit."""
        size = max(size, data_at + 8)
        if self.memory.used + size > self.memory.limit:
            raise MapError(
                f"create map {shape.name}: {size} bytes are more than the machine's memory limit leaves",
                errno=ENOMEM,
                operation="create",
                hint="fewer max_entries, or a larger memory_limit",
            )
        name = shape.name or "map"
        fd, skip = -1, 0
        try:
            if shape.shared:
                fd, skip = _open(shape, size), _PAGE
                block = mmap.mmap(fd, skip + size)
            else:
                block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
            storage = Storage(self.memory, block, skip, data_at, name, writable, fd, size)
        except (OSError, OverflowError, VmError) as error:
            if fd >= 0:
                os.close(fd)
            raise MapError(f"create map {shape.name}: {error}", errno=ENOMEM, operation="create") from None
        self.memory.used += size
        return storage


def _open(shape: Shape, size: int) -> int:
    """The fd of the file that holds the map: "memfd" makes one without a name, "fd:N" takes an inherited one."""
    if shape.shared == "memfd":
        fd = os.memfd_create(shape.name or "map", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    elif shape.shared.startswith("fd:"):
        fd = os.dup(int(shape.shared[3:]))
    else:
        fd = os.open(shared_path(shape.shared), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _enter(fd, shape, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _enter(fd: int, shape: Shape, size: int) -> None:
    """Write the first page of a new file, or see that an old one holds this very map."""
    from fcntl import LOCK_EX, LOCK_UN, lockf

    head = _HEAD.pack(
        _MAGIC, _VERSION, shape.type, shape.key_size, shape.value_size, shape.max_entries, shape.flags, shape.extra,
        shape.cpus, size,
    )  # fmt: skip
    lockf(fd, LOCK_EX, 1)
    try:
        status = os.fstat(fd)
        if status.st_uid not in (os.geteuid(), 0):
            raise MapError(f"share map {shape.name}: its file belongs to uid {status.st_uid}", errno=1)
        if status.st_size == 0:
            os.ftruncate(fd, _PAGE + size)
            os.pwrite(fd, head, 0)
            if shape.shared == "memfd":
                from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SHRINK, fcntl

                # A file cut short would end every process that has it mapped (SIGBUS).
                fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)
        elif status.st_size < _PAGE + size or os.pread(fd, len(head), 0) != head:
            raise MapError(
                f"share map {shape.name}: {shape.shared} holds a map of another kind or size",
                errno=EINVAL,
                operation="create",
                hint="remove it, or choose another name",
            )
    finally:
        lockf(fd, LOCK_UN, 1)


def shared_path(name: str) -> str:
    """The file of a shared map: a path as it is, a plain name in /dev/shm."""
    return name if "/" in name else f"{_SHM}/osmia-map-{name}"
