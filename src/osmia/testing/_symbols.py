"""Names of the addresses that events made up; nothing of this machine's kernel or processes shows."""

from __future__ import annotations

from ..symbols import Symbol, format_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..session import Stack


class VmSymbols:
    """Symbols for a session. `target.loaded` has the events, once something was loaded."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def _resolve(self, address: int) -> Symbol:
        name, offset = self._target.loaded.events.name_of(address)
        return Symbol(name, offset)

    def kernel(self, address: int) -> str:
        return format_frame(self._resolve(address), address, offset=False)

    def user(self, address: int, pid: int) -> str:
        return format_frame(self._resolve(address), address, offset=False)

    def kernel_frames(self, stack: Stack) -> list[str]:
        return [format_frame(self._resolve(address), address, stack.mode) for address in stack.addresses]

    def user_frames(self, stack: Stack) -> list[str]:
        return self.kernel_frames(stack)

    def watch(self, programs: Iterable[str]) -> None:
        """There is nobody to watch."""

    def collect(self) -> None:
        """There is nothing to collect."""

    def capture(self, pid: int) -> None:
        """There is no such process."""

    def refresh(self, pid: int) -> None:
        """There is no such process."""

    def close(self) -> None:
        """Nothing is open."""
