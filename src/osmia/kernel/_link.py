"""Links: a program at an attach point, until closed."""

from __future__ import annotations

import os

from .. import syscalls
from ..errors import KernelError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ..objects import AttachPoint
    from ._program import Program


class Link:
    """A program attached to `point`. `fds` are BPF links or perf events; none for points that are only fired.

    `kind` is "link" (bpf_link), "event" (perf event with a program set by ioctl) or "run" (fired by hand).
    `events` are perf events below the links that are slow to close: the link's end stops the program at once.
    """

    def __init__(
        self, point: AttachPoint, program: Program, kind: str, fds: tuple[int, ...] = (), events: tuple[int, ...] = ()
    ) -> None:
        self.point = point
        self.program = program
        self.kind = kind
        self.fds = fds
        self.events = events

    @property
    def fd(self) -> int:
        """The link's fd, -1 where it has none."""
        return self.fds[0] if self.fds else -1

    def fire(self, context: bytes = b"", cpu: int | None = None) -> int:
        """Run the program once (begin, end, self, test, bench): its return value."""
        if self.kind != "run":
            raise UsageError(f"fire {self.point.name}: the kernel fires it")
        return self.program.run_once(context, cpu)

    def read(self, size: int = 1 << 16) -> bytes:
        """Run an iterator once and return all that it wrote."""
        if self.point.provider != "iter":
            raise UsageError(f"read {self.point.name}: only iterators can be read")
        fd = syscalls.iter_create(self.fd)
        parts: list[bytes] = []
        try:
            while True:
                try:
                    part = os.read(fd, size)
                except BlockingIOError:
                    continue  # the iterator gave the CPU back after a million objects (bpf_seq_read, -EAGAIN)
                if not part:
                    return b"".join(parts)
                parts.append(part)
        finally:
            os.close(fd)

    def update(self, program: Program) -> None:
        """Put another program behind the link at once (XDP, cgroup, tcx, netns, iter)."""
        syscalls.link_update(self.fd, program.fd)
        self.program = program

    def pin(self, path: str) -> None:
        """Give the link a name in bpffs: it stays attached when this process ends."""
        if self.kind != "link":
            raise UsageError(f"pin {self.point.name}: perf events without a link (before Linux 5.15) cannot be pinned")
        syscalls.pin(self.fd, path)

    def detach(self) -> tuple[int, ...]:
        """Stop the program: it does not run any more. What is left to close, slowly, is returned."""
        fds, self.fds = self.fds, ()
        events, self.events = self.events, ()
        if self.kind == "event":
            for fd in fds:
                try:
                    syscalls.perf_disable(fd)
                except KernelError:
                    continue  # the target process has gone: nothing runs any more
            return fds
        for fd in fds:
            os.close(fd)
        return events

    def close(self) -> None:
        """Detach and close; waits for RCU where perf events have to be closed (some 70 ms)."""
        for fd in self.detach():
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Link({self.point.name or self.point.provider!r}, {self.program.name!r})"
