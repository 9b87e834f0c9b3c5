"""What processes map and execute while we watch: side-band records of perf events, one ring per CPU.

/proc/PID/maps is gone with its process. The kernel writes a record for each mapping of code, each fork and each exec
before the process goes on, so nothing is too short to be seen.
"""

from __future__ import annotations

import os
from mmap import PAGESIZE

from .. import syscalls
from ._perf_buffer import CpuRing
from ._ring import memory_fence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

RING = 64 * PAGESIZE  # of each CPU: some two thousand records, between two calls of `take`


class ExecLog:
    """Records of all processes from now on, as the kernel writes them (struct perf_event_header and what follows).

    The last eight bytes of each are its time (CLOCK_REALTIME, ns). KernelError where perf events are refused. A context
    manager.
    """

    def __init__(self, size: int = RING) -> None:
        self._fence = memory_fence()
        self._rings: list[CpuRing] = []
        try:
            for cpu in syscalls.cpu_list("online"):
                self._open(cpu, size)
        except BaseException:
            self.close()
            raise

    def _open(self, cpu: int, size: int) -> None:
        fd = syscalls.perf_event_open(
            type=syscalls.TYPE_SOFTWARE, config=syscalls.SW_DUMMY, sample_type=syscalls.SAMPLE_TIME, mappings=True,
            cpu=cpu,
        )  # fmt: skip
        if fd == -19:
            return  # the CPU went offline meanwhile
        if fd < 0:
            raise syscalls.explain("perf_event_open", -fd, "mappings of processes")
        try:
            self._rings.append(CpuRing(fd, size))
        except OSError as error:
            os.close(fd)
            raise syscalls.explain("mmap", error.errno or 0, "mappings of processes") from None

    def take(self) -> bytes:
        """All records since the last call, CPU by CPU: in order of time only for each of them."""
        return b"".join([ring.take(self._fence) for ring in self._rings])

    def close(self) -> None:
        """Stop watching; more than once does no harm."""
        rings, self._rings = self._rings, []
        for ring in rings:
            ring.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
