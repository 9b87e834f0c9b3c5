"""Names of this machine's addresses, for sessions: one table for the kernel, one for all processes."""

from __future__ import annotations

from ..symbols import KernelSymbols, UserSymbols, format_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..kernel import ExecLog
    from ..symbols import History
    from ._model import Stack


class SystemSymbols:
    """Kernel and user symbols, read on first use. `readable` demangles C++ and Rust names.

    With `lines`, user frames have source lines, and inlined functions frames of their own, where DWARF says so.
    """

    def __init__(self, *, readable: bool = True, lines: bool = False) -> None:
        self._lines = lines
        self._kernel = KernelSymbols()
        self._user = UserSymbols(readable=readable)
        self._log: ExecLog | None = None
        self._history: History | None = None

    def watch(self, programs: Iterable[str]) -> None:
        """From now on note what all processes map and execute, for those that end before they are looked at."""
        from ..errors import KernelError
        from ..kernel import ExecLog
        from ..symbols import History

        try:
            self._log = ExecLog()
        except KernelError:
            return  # perf events are refused here: processes are looked at when their addresses come
        self._history = History(self._log.take)
        self._history.look(programs)
        self._user.remember(self._history)

    def collect(self) -> None:
        """Make room for what processes will do next."""
        if self._history is not None:
            self._history.collect()

    def capture(self, pid: int) -> None:
        """Remember what a process has mapped: its addresses resolve after it has ended."""
        self._user.capture(pid)

    def refresh(self, pid: int) -> None:
        """Read a process's mappings again."""
        self._user.refresh(pid)

    def kernel(self, address: int) -> str:
        return format_frame(self._kernel.resolve(address), address, offset=False)

    def user(self, address: int, pid: int) -> str:
        return format_frame(self._user.resolve(pid, address), address, offset=False)

    def kernel_frames(self, stack: Stack) -> list[str]:
        return [format_frame(self._kernel.resolve(a), a, stack.mode) for a in stack.addresses]

    def user_frames(self, stack: Stack) -> list[str]:
        if self._lines and stack.mode in ("bpftrace", "perf"):
            return [
                format_frame(symbol, a, stack.mode)
                for i, a in enumerate(stack.addresses)
                for symbol in self._user.frames(stack.pid, a, returned_to=i > 0)
            ]
        return [format_frame(self._user.resolve(stack.pid, a), a, stack.mode) for a in stack.addresses]

    def close(self) -> None:
        """Close the files; stacks that somebody kept still find names."""
        self.collect()
        if self._log is not None:
            self._log.close()
        self._user.release()
