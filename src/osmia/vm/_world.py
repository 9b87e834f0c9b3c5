"""What programs ask about the world: time, random numbers, the current task and CPU. All of it can be set."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class World:
    """The world as helpers report it. Attributes may be set at any time; None for a clock means the host's.

    `clock` is CLOCK_MONOTONIC in nanoseconds once it is set; the other clocks keep their distance from it.
    `comm` holds up to 15 bytes. `start_time` and `parent_comm` are of the current task.
    """

    def __init__(self, *, cpus: int = 0) -> None:
        self.clock: int | None = None
        self.boot_offset = 0  # CLOCK_BOOTTIME minus CLOCK_MONOTONIC while the clock is set
        self.tai_offset = 37_000_000_000
        self.random: Callable[[], int] | None = None  # gives 32 bits
        self.pid = os.getpid()  # of the thread, as the kernel says pid
        self.tgid = os.getpid()
        self.ppid = os.getppid()
        self.comm = b"python3"
        self.uid = os.getuid()
        self.gid = os.getgid()
        self.cgroup_id = 1
        self.ancestors: tuple[int, ...] = ()  # cgroup ids from the root down
        self.task = 0  # address of the current task_struct, if anybody made one
        self.start_time = 0
        self.parent_comm = b""  # as far as it is known
        self.pid_namespace = (0, 0)  # device, inode
        self.cpu = 0
        self.cpus = cpus or os.cpu_count() or 1
        self.numa_node = 0
        self.jiffies_hz = 250

    @property
    def is_live(self) -> bool:
        """Whether time is the host's own."""
        return self.clock is None

    def monotonic(self) -> int:
        """CLOCK_MONOTONIC in nanoseconds."""
        return time.monotonic_ns() if self.clock is None else self.clock

    def boottime(self) -> int:
        """CLOCK_BOOTTIME in nanoseconds: time asleep counts."""
        if self.clock is None:
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return self.clock + self.boot_offset

    def tai(self) -> int:
        """CLOCK_TAI in nanoseconds."""
        if self.clock is None:
            return time.clock_gettime_ns(getattr(time, "CLOCK_TAI", time.CLOCK_REALTIME))
        return self.clock + self.tai_offset

    def advance(self, nanoseconds: int) -> None:
        """Move the clock; a live one is stopped at its time first."""
        self.clock = self.monotonic() + nanoseconds

    def random32(self) -> int:
        """32 random bits."""
        if self.random is not None:
            return self.random() & 0xFFFF_FFFF
        return int.from_bytes(os.urandom(4), "little")

    def set_task(
        self,
        *,
        pid: int,
        tgid: int = 0,
        comm: bytes | str = b"",
        uid: int | None = None,
        gid: int | None = None,
    ) -> None:
        """The task that the next run happens in; what is not given stays."""
        self.pid, self.tgid = pid, tgid or pid
        if comm:
            self.comm = (comm.encode() if isinstance(comm, str) else comm)[:15]
        self.uid = self.uid if uid is None else uid
        self.gid = self.gid if gid is None else gid
