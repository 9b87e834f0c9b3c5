"""What maps and programs share: a file descriptor that is ours, and may have a name in bpffs."""

from __future__ import annotations

import os

from .. import syscalls
from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Descriptor:
    """Owns the descriptor of a BPF object. A context manager; what holds a reference of its own keeps the object."""

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.name = name

    @property
    def fd(self) -> int:
        """The descriptor; UsageError once it is closed."""
        if self._fd < 0:
            raise UsageError(f"use {type(self).__name__.lower()} {self.name}: it is closed")
        return self._fd

    def pin(self, path: str) -> None:
        """Give it a name in bpffs, so that it outlives this process."""
        syscalls.pin(self.fd, path)

    def close(self) -> None:
        """Drop our reference; more than once does no harm."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
