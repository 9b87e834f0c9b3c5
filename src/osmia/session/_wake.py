"""Signals that end or poke a session, as a readable descriptor.

`_signal` is used directly: `signal` would import `enum`, 3 ms on the start path.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Signals:
    """Catches `numbers` from construction to `close()`; `fileno()` is readable when one came, `take()` says which."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._before: list[tuple[int, Any]] = []
        self._wakeup = _signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in numbers:
            self._before.append((number, _signal.signal(number, _ignore)))

    def fileno(self) -> int:
        return self._reader

    def take(self) -> bytes:
        """Numbers of the signals that came since the last call, one byte each."""
        try:
            return os.read(self._reader, 256)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        if self._reader < 0:
            return
        for number, handler in self._before:
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)
        _signal.set_wakeup_fd(self._wakeup)
        os.close(self._reader)
        os.close(self._writer)
        self._reader = self._writer = -1


def _ignore(_number: int, _frame: object) -> None:
    """The wake-up descriptor has told already."""


def is_ignored(number: int) -> bool:
    """Whether this process ignores the signal, as nohup arranges for SIGHUP."""
    return bool(_signal.getsignal(number) == _signal.SIG_IGN)


def signal_number(name: str) -> int:
    """The number of "SIGUSR1"; raises `ValueError` for a name that is none."""
    number = getattr(_signal, name, None)
    if not name.startswith("SIG") or number is None:
        raise ValueError(f"no signal {name}")
    return int(number)
