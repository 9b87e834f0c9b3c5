"""Event sources, and how they and a loaded object meet.

A source makes events happen: system calls of a traced process (ptrace), a recording, packets. The loaded object gives
it what is attached, and runs programs when the source says that something happened:

    source.start(hooks, pid)             before the command of `-c` is let go; later attachments call `source.changed()`
    for hook in hooks.attached: ...      which system calls, functions, signals are wanted: `hook.point`
    hook.fire(record, task)              one program, once: its predicate is part of the program
    hooks.fire_record(key, record, task) all programs at `key`, in the order in which the kernel would run them
    source.stop()                        no `fire` runs, and none will, when it returns

`fire` may be called from any thread: runs of one loaded object never overlap. What a program does wrong is kept by the
loaded object and raised in its session; `fire` itself raises nothing.

`record` is what the program finds behind r1: the record of a tracepoint (as its format file says, with the 8 bytes
of common fields), the arguments of a raw tracepoint (12 u64) or `struct pt_regs` of probes on functions.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from ..objects import AttachPoint

    # (provider, target, function) as in `AttachPoint`: ("tracepoint", "syscalls", "sys_enter_openat"),
    # ("uprobe", "/bin/bash", "readline"). Probes on addresses have an offset in place of the function.
    Key = tuple[str, str, str | int]

    class Process(Protocol):
        """Memory that probe_read reads, and whatever else a program can do to its task."""

        def read(self, address: int, size: int) -> bytes:
            """`size` bytes, or fewer where the rest cannot be read; OsmiaError or OSError where nothing can."""

        # Optional: write(address, data) -> None; send_signal(number, thread) -> int;
        # frames(limit) -> list[int]: addresses of the user stack, innermost first.

    class Hook(Protocol):
        """A program at an attach point."""

        @property
        def point(self) -> AttachPoint: ...
        def fire(self, record: bytes, task: Task | None = None, *, address: int = 0) -> int:
            """Run it; r0, or 0 when it failed. `address` is what get_func_ip gives (uprobes)."""

    class Hooks(Protocol):
        """A loaded object, as sources see it."""

        @property
        def attached(self) -> Sequence[Hook]:
            """What is attached now, in the order in which it was."""

        def hooks_at(self, key: Key) -> Sequence[Hook]:
            """The hooks at `key`, in the order in which the kernel runs them."""

        def fire_record(self, key: Key, record: bytes, task: Task | None = None) -> int:
            """Run every program at `key`; the last r0."""

        def fail(self, error: BaseException) -> None:
            """End the session with this error: the source cannot go on."""

    class Source(Protocol):
        """Makes events happen, in a thread of its own."""

        def wants(self, point: AttachPoint) -> bool:
            """Whether it can serve this attach point; those that no source serves are NotSupported."""

        def start(self, hooks: Hooks, pid: int) -> None:
            """Begin with `pid` (a held child, or any process; its children are followed). 0: no process.

            Returns when the process is traced. PermissionDenied, AttachError.
            """

        def changed(self) -> None:
            """Something was attached or detached after `start`."""

        def stop(self) -> None:
            """Let go of everything; idempotent. The processes go on by themselves."""


class Task:
    """The task that an event happens in, as helpers report it; what is None stays as it was.

    `pid` is the thread, `tgid` the process, as the kernel says it. Sources keep one per thread and change it in place.
    """

    __slots__ = (
        "cgroup_id", "comm", "cpu", "gid", "parent_comm", "pid", "pid_namespace", "ppid", "process", "start_time",
        "tgid", "uid",
    )  # fmt: skip

    def __init__(
        self,
        pid: int,
        tgid: int = 0,
        comm: bytes | None = None,
        *,
        ppid: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        cgroup_id: int | None = None,
        cpu: int | None = None,
        start_time: int | None = None,
        pid_namespace: tuple[int, int] | None = None,
        parent_comm: bytes | None = None,
        process: Process | None = None,
    ) -> None:
        self.pid = pid
        self.tgid = tgid or pid
        self.comm = comm
        self.ppid = ppid
        self.uid = uid
        self.gid = gid
        self.cgroup_id = cgroup_id
        self.cpu = cpu
        self.start_time = start_time
        self.pid_namespace = pid_namespace
        self.parent_comm = parent_comm
        self.process = process


def key_of(point: AttachPoint) -> Key:
    """Where a point is, for `hooks_at`."""
    return point.provider, point.target, point.function or point.offset or point.address or point.name
