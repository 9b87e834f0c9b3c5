"""Where maps lie: private memory that is touched lazily, or a file that several processes map.

Of a storage, only what follows `data_at` is a region of the machine: programs cannot reach tables and links, not even
unverified ones. A shared file begins with a page that says what map it holds; the storage follows.
"""

from __future__ import annotations

import mmap
import os
from _signal import pthread_sigmask  # type: ignore[import-not-found]  # without signal's enumerations: twice a change
from _thread import RLock
from signal import SIG_BLOCK, SIG_SETMASK, SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2
from struct import Struct

from ..errors import MapError, VmError
from ._map_base import EINVAL, ENOMEM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weakref import ReferenceType

    from ._map_base import Shape
    from ._memory import Memory, Region

_PAGE = mmap.PAGESIZE
_MAGIC = b"OSMIAMAP"
_HEAD = Struct("<8sIIIIIIIIQ")  # magic, version, type, key, value, entries, flags, extra, cpus, size
_VERSION = 2
_SHM = "/dev/shm"
_MAP_NORESERVE = 0x4000
_SIGNALS = frozenset((SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2))
_PATIENCE = 0.1  # seconds after which signals are looked at


class Guard:
    """Mutual exclusion of processes and threads, for maps in files: a lock that dies with its holder.

    A file's lock belongs to the whole process, and goes when any of its descriptors is closed: what threads of one
    process have open of a file shares one lock among them. Signals wait until the lock is given back: an exception out
    of a handler would leave it locked for good.
    """

    def __init__(self, fd: int) -> None:
        self._mine = _lock_of(fd)
        self.fd = fd

    def __enter__(self) -> None:
        mine, signals = self._mine, pthread_sigmask(SIG_BLOCK, ())
        try:
            pthread_sigmask(SIG_BLOCK, _SIGNALS)
            while not mine.lock.acquire(timeout=_PATIENCE):
                pthread_sigmask(SIG_SETMASK, signals)  # here handlers run
                pthread_sigmask(SIG_BLOCK, _SIGNALS)
            if not mine.depth:
                self._lock_file(signals)
                mine.signals = signals
            mine.depth += 1
        except BaseException:
            pthread_sigmask(SIG_SETMASK, signals)
            raise

    def _lock_file(self, signals: set[int]) -> None:
        from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf

        try:
            try:
                lockf(self.fd, LOCK_EX | LOCK_NB, 1)
            except BlockingIOError:
                pthread_sigmask(SIG_SETMASK, signals)
                lockf(self.fd, LOCK_EX, 1)
                pthread_sigmask(SIG_BLOCK, _SIGNALS)
        except BaseException as error:
            lockf(self.fd, LOCK_UN, 1)
            self._mine.lock.release()
            if isinstance(error, OSError):  # two processes that wait for each other
                why = os.strerror(error.errno or 0).lower()
                raise MapError(f"lock a shared map: {why}", errno=error.errno or 0) from None
            raise

    def __exit__(self, *_: object) -> None:
        from fcntl import LOCK_UN, lockf

        mine = self._mine
        mine.depth -= 1
        signals = None if mine.depth else mine.signals
        if signals is not None:
            lockf(self.fd, LOCK_UN, 1)
        mine.lock.release()
        if signals is not None:
            pthread_sigmask(SIG_SETMASK, signals)

    def close(self) -> None:
        """Close the descriptor, when no other thread holds the file's lock: it would lose it."""
        with self._mine.lock:
            fd, self.fd = self.fd, -1
            if fd >= 0:
                os.close(fd)


class _Lock:
    """What the guards of one file share."""

    __slots__ = ("__weakref__", "depth", "lock", "signals")

    def __init__(self) -> None:
        self.lock = RLock()
        self.depth = 0
        self.signals: set[int] = set()  # those that were blocked before


_locks: dict[tuple[int, int], ReferenceType[_Lock]] = {}
_locks_lock = RLock()


def _lock_of(fd: int) -> _Lock:
    """The process' lock for the file, by device and inode."""
    from weakref import ref

    status = os.fstat(fd)
    key = status.st_dev, status.st_ino
    with _locks_lock:
        for old in [k for k, held in _locks.items() if held() is None]:
            del _locks[old]
        found = _locks[key]() if key in _locks else None
        if found is None:
            found = _Lock()
            _locks[key] = ref(found)
        return found


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
        guard: Guard | None,
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
        self.fd = guard.fd if guard is not None else -1
        self.guard: Guard | RLock = guard if guard is not None else RLock()

    def close(self) -> None:
        """Unmap it. A shared file stays."""
        if self._block is None:
            return
        if self._region is not None:
            view = self._region.view
            self._memory.free(self._region)
            view.release()
            self._region = None
        self._memory.closed_maps += 1
        self._memory.used -= min(self._memory.used, self._charged)
        self.view.release()
        block, self._block = self._block, None
        try:
            block.close()
        except BufferError:
            # Somebody holds a view still: the memory goes with it.
            self._block = None
        if isinstance(self.guard, Guard):
            self.guard.close()
            self.fd = -1


class Room:
    """Gives storage to maps of one machine, within its memory limit."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def take(self, shape: Shape, size: int, *, data_at: int, writable: bool = True) -> Storage:
        """Zeroed storage of `size` bytes, or a file's; MapError with ENOMEM beyond the machine's limit."""
        size = max(size, data_at + 8)
        pages = -(-size // _PAGE) * _PAGE  # what is taken for it, be it ever so small
        if self.memory.used + pages > self.memory.limit:
            raise MapError(
                f"create map {shape.name}: {size} bytes are more than the machine's memory limit leaves",
                errno=ENOMEM,
                operation="create",
                hint="fewer max_entries, or a larger memory_limit",
            )
        name = shape.name or "map"
        guard, skip = None, 0
        try:
            if shape.shared:
                guard, skip = _open(shape, size), _PAGE
                block = mmap.mmap(guard.fd, skip + size)
            else:
                block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
            storage = Storage(self.memory, block, skip, data_at, name, writable, guard, pages)
        except (OSError, OverflowError, VmError) as error:
            if guard is not None:
                guard.close()
            raise MapError(f"create map {shape.name}: {error}", errno=ENOMEM, operation="create") from None
        self.memory.used += pages
        return storage


def _open(shape: Shape, size: int) -> Guard:
    """The guard of the file that holds the map, with its fd: "memfd" makes one without a name, "fd:N" takes an
    inherited one."""
    if shape.shared == "memfd":
        fd = os.memfd_create(shape.name or "map", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    elif shape.shared.startswith("fd:"):
        fd = os.dup(int(shape.shared[3:]))
    else:
        fd = os.open(shared_path(shape.shared), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    guard = Guard(fd)
    try:
        with guard:
            _enter(fd, shape, size)
    except BaseException:
        guard.close()
        raise
    return guard


def _enter(fd: int, shape: Shape, size: int) -> None:
    """Write the first page of a new file, or see that an old one holds this very map."""
    head = _HEAD.pack(
        _MAGIC, _VERSION, shape.type, shape.key_size, shape.value_size, shape.max_entries, shape.flags, shape.extra,
        shape.cpus, size,
    )  # fmt: skip
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


def shared_path(name: str) -> str:
    """The file of a shared map: a path as it is, a plain name in /dev/shm."""
    return name if "/" in name else f"{_SHM}/osmia-map-{name}"
