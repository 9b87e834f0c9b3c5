"""Attach points of the user-space target: hooks that sources fire, in the order in which the kernel would."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import AttachPoint
    from ._loaded import LoadedVm
    from ._program import VmProgram
    from ._sources import Task

# The session runs these itself: nothing is attached.
DIRECT = ("begin", "end", "self", "test", "bench")
# The kernel runs the probe that was attached last first.
LAST_FIRST = ("kprobe", "kretprobe", "uprobe", "uretprobe", "usdt", "fentry", "fexit", "iter")


class VmHook:
    """A program at an attach point: what `attach` gives out (a link) and what sources fire (a hook)."""

    def __init__(self, owner: LoadedVm, program: VmProgram, point: AttachPoint) -> None:
        self.point = point
        self.program = program
        self._owner = owner
        self._cookies = dict(zip(point.functions or point.offsets, point.cookies))
        self.closed = False

    def fire(self, record: bytes, task: Task | None = None, *, address: int = 0, at: str | int = "") -> int:
        """Run the program on a record; r0, or 0 when it failed: the session is told.

        `address` is what get_func_ip gives; `at` is the function (or offset) of a point that has several.
        """
        if self.closed:
            return 0
        return self._owner.fire_hook(self, record, task, address, at)

    def cookie(self, at: str | int = "") -> int:
        """What get_attach_cookie gives there."""
        return self._cookies.get(at, self.point.cookie)

    @property
    def is_return(self) -> bool:
        """Whether it runs when a function returns."""
        return self.point.provider in ("kretprobe", "uretprobe", "fexit", "kretsyscall")

    def read(self) -> bytes:
        """Nothing: there are no iterators here."""
        return b""

    def close(self) -> None:
        """Detach; idempotent."""
        if not self.closed:
            self.closed = True
            self._owner.drop(self)

    def __repr__(self) -> str:
        return f"VmHook({self.point.name!r}, {self.program.name!r})"
