"""A traced thread: the task that its events happen in, and the memory of its process."""

from __future__ import annotations

import os
from struct import unpack

from ..syscalls import MACHINE
from ._sources import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..syscalls.ptrace import Registers
    from ._breakpoints import Return, Space, Step

_ARM = MACHINE == "aarch64"
# Words of user_regs_struct (x86-64) and user_pt_regs (arm64).
PC, SP, FP = (32, 31, 29) if _ARM else (16, 19, 4)
NUMBER = 8 if _ARM else 15  # the system call's number: x8, orig_rax
RESULT = 0 if _ARM else 10
ARGUMENTS = (0, 1, 2, 3, 4, 5) if _ARM else (14, 13, 12, 7, 9, 8)
CGROUPS = "/sys/fs/cgroup"
_USER_END = 1 << 47
_PROCESSOR = 36  # field 39 of /proc/PID/stat, counted from what comes behind the name
_NAME, _CPU, _PARENT = 1, 2, 4
STALE = _NAME | _CPU | _PARENT  # what is read once a stop, when it is asked for


class Process:
    """What threads of one process share. `memory` is its memory since the last exec."""

    __slots__ = ("cgroup", "memory", "pid", "ppid", "space", "threads", "unmapped")

    def __init__(self, pid: int, ppid: int = 0) -> None:
        self.pid = pid
        self.ppid = ppid
        self.threads = 0
        self.memory = -1
        self.cgroup: int | None = None
        self.space: Space | None = None
        self.unmapped = False  # it may yet map a file that has probes

    def open(self) -> int:
        """A descriptor of its memory, or -1. It stays with the memory that the process had when it was opened."""
        if self.memory < 0:
            try:
                self.memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return -1
        return self.memory

    def forget(self) -> None:
        """Close the memory: the process has another one, or none."""
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1


class Tracee(Task):
    """A thread. It is its own `process` too, for probe_read: stacks need a thread's registers.

    `wanted` is the number of the system call that it is in and whose end is wanted, -1 when there is none.
    """

    __slots__ = (
        "_comm", "_comm_file", "_cpu", "_parent_comm", "_registers", "_stat_file", "again", "asked", "at_entry", "born",
        "exiting", "fresh", "held", "owner", "pc", "resume", "returns", "sample", "stale", "stepping", "wanted",
    )  # fmt: skip

    # What programs ask for, for all threads: the rest is not looked up.
    named = True
    placed = True
    descended = True

    def __init__(self, pid: int, owner: Process, registers: Registers) -> None:
        self.owner = owner
        super().__init__(pid, owner.pid, ppid=owner.ppid, cpu=0)
        self.process = self
        self.wanted = -1
        self.again = -1  # a system call that is made again because we stopped the thread in it
        self.asked = False  # we asked it to stop
        self.pc = 0  # where it is, when its registers do not say so: behind a breakpoint
        self.at_entry = False  # of a function: there is no frame yet
        self.exiting = False
        self.fresh = True  # its first stop is yet to come
        self.born = False  # by a fork or clone that we saw
        self.sample = False  # a sample of `profile` was asked for
        self.stepping: Step | None = None
        self.resume = 0  # the request that lets it go on
        self.held: list[tuple[int, bytes]] = []  # signals that came while it was stepped over a breakpoint
        self.returns: list[Return] = []  # of calls that it is in, outermost first
        self._registers = registers
        self._comm = b""
        self._cpu = 0
        self._parent_comm = b""
        self.stale = STALE  # may be others than at the last stop
        self._comm_file = self._stat_file = -1
        owner.threads += 1
        self.refresh()

    def refresh(self) -> None:
        """Read who it is: after it began, executed a program, or changed its user."""
        fields = read_status(self.pid)
        if fields:
            self.uid = int(fields.get("Uid", "0").split()[0])
            self.gid = int(fields.get("Gid", "0").split()[0])

    # A name changes by prctl, by exec and by a write to /proc: it is read when it is asked for.
    @property
    def comm(self) -> bytes | None:
        """The name, None where no program asks for it: reading it costs a system call, so it is read once a stop."""
        if not self.named:
            return None
        if self.stale & _NAME:
            self.stale &= ~_NAME
            return self.name
        return self._comm

    @comm.setter
    def comm(self, value: bytes | None) -> None:
        self._comm = value or b""

    @property
    def name(self) -> bytes:
        """The thread's name now; the last one known when it is gone."""
        try:
            if self._comm_file < 0:
                self._comm_file = os.open(f"/proc/{self.tgid}/task/{self.pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
            self._comm = os.pread(self._comm_file, 32, 0)[:-1]
        except OSError:
            return self._comm
        return self._comm

    @property
    def cpu(self) -> int | None:
        """The CPU that it ran on last; 0 where no program asks for it."""
        if self.placed and self.stale & _CPU:
            self.stale &= ~_CPU
            try:
                if self._stat_file < 0:
                    self._stat_file = os.open(f"/proc/{self.tgid}/task/{self.pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
                self._cpu = int(os.pread(self._stat_file, 1024, 0).rpartition(b")")[2].split()[_PROCESSOR])
            except (OSError, IndexError):
                return self._cpu  # it is gone
        return self._cpu

    @cpu.setter
    def cpu(self, value: int | None) -> None:
        self._cpu = value or 0

    @property
    def parent_comm(self) -> bytes | None:
        """The parent's name; None where no program asks for it."""
        if not self.descended:
            return None
        if self.stale & _PARENT:
            self.stale &= ~_PARENT
            try:
                with open(f"/proc/{self.owner.ppid}/comm", "rb", buffering=0) as file:
                    self._parent_comm = file.read(32)[:-1]
            except OSError:
                return self._parent_comm
        return self._parent_comm

    @parent_comm.setter
    def parent_comm(self, value: bytes | None) -> None:
        self._parent_comm = value or b""

    @property
    def cgroup_id(self) -> int | None:
        if self.owner.cgroup is None:
            self.owner.cgroup = cgroup_of(self.owner.pid)
        return self.owner.cgroup

    @cgroup_id.setter
    def cgroup_id(self, value: int | None) -> None:
        self.owner.cgroup = value

    def close(self) -> None:
        """Forget it: it has ended, or goes on untraced."""
        for fd in (self._comm_file, self._stat_file):
            if fd >= 0:
                os.close(fd)
        self._comm_file = self._stat_file = -1
        self.owner.threads -= 1
        if self.owner.threads == 0:
            self.owner.forget()

    # What probe_read and stacks ask for

    def read(self, address: int, size: int) -> bytes:
        """Memory of the process: `size` bytes, or what there is of them. OSError where there is nothing."""
        return os.pread(self.owner.open(), size, address)

    def read_string(self, address: int, limit: int) -> bytes:
        """Bytes up to a NUL, which is not one of them, or as far as they can be read."""
        out = b""
        while len(out) < limit:
            step = min(limit - len(out), 4096 - address % 4096)
            part, end, _ = self.read(address, step).partition(b"\0")
            out += part
            address += step
            if end or len(part) < step:
                break
        return out

    def write(self, address: int, data: bytes) -> None:
        """Store into the process' memory, as its own code could: not where it may not write."""
        from ..syscalls.ptrace import write_memory

        result = write_memory(self.owner.pid, address, data)
        if result != len(data):
            raise OSError(-result if result < 0 else 14, "write memory")

    def send_signal(self, number: int, thread: bool) -> int:
        """Send a signal to the process, or to this thread: 0 or minus an errno."""
        from ..syscalls.ptrace import tgkill

        if thread:
            return tgkill(self.tgid, self.pid, number)
        try:
            os.kill(self.tgid, number)
        except OSError as error:
            return -(error.errno or 22)
        return 0

    def frames(self, limit: int) -> list[int]:
        """Addresses of the user stack, innermost first, by frame pointers; the thread must be stopped."""
        registers = self._registers
        if registers.get(self.pid) < 0:
            return []
        words = registers.words
        found = [self.pc or words[PC]]
        if self.at_entry:
            found.append(int.from_bytes(self.read(words[SP], 8), "little"))
        fp, last = words[FP], 0
        while len(found) < limit and last < fp < _USER_END and not fp % 8:
            try:
                pair = self.read(fp, 16)
            except OSError:
                break
            if len(pair) < 16:
                break
            last = fp
            fp, address = unpack("<QQ", pair)
            if not address:
                break
            found.append(address)
        return found[:limit]


def read_status(tid: int) -> dict[str, str]:
    """/proc/TID/status; empty when the thread is gone."""
    try:
        with open(f"/proc/{tid}/status", "rb", buffering=0) as file:
            text = file.read(4096).decode("utf-8", "replace")
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in text.split("\n") if ":\t" in line)


def cgroup_of(pid: int) -> int:
    """The id of a process' cgroup (v2): the inode of its directory; 1, the root's, where it cannot be read."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                if line.startswith("0::"):
                    return os.stat(CGROUPS + line[3:].rstrip("\n")).st_ino
    except OSError:
        return 1
    return 1


def state_of(tid: int) -> str:
    """The state of a thread as /proc says it: R runs, S sleeps, t is stopped by its tracer, "" is gone."""
    try:
        with open(f"/proc/{tid}/stat", "rb", buffering=0) as file:
            text = file.read(512)
    except OSError:
        return ""
    return chr(text[text.rindex(b")") + 2])
