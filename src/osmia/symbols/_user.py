"""User addresses of any process to names."""

from __future__ import annotations

from time import monotonic

from ..errors import SymbolError
from ._process import ProcessSymbols, start_time
from ._symbol import UNKNOWN, Symbol
from ._tables import Tables, file_symbol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._history import History

RECALL = 0.2  # seconds until the history of a process is asked for again


class UserSymbols:
    """Symbols of many processes, which share the tables of their files. A context manager.

    `capture` remembers what a process has mapped, so that its addresses resolve after it has ended. At most `limit`
    processes are remembered, the least used forgotten first. `readable` demangles C++ and Rust names.
    """

    def __init__(self, limit: int = 1024, *, readable: bool = True) -> None:
        self._limit = limit
        self._readable = readable
        self._tables = Tables()
        self._processes: dict[int, ProcessSymbols] = {}
        self._history: History | None = None
        self._recalled: dict[int, float] = {}

    def __enter__(self) -> UserSymbols:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all processes and close their files; more than once does no harm."""
        self._processes.clear()
        self._tables.close()

    def release(self) -> None:
        """Close the files that were kept open; what is known of processes stays. More than once does no harm."""
        self._tables.close()

    def capture(self, pid: int) -> ProcessSymbols | None:
        """Remember the process's mappings if they are not known yet; None if it has ended or cannot be read."""
        known = self._processes.pop(pid, None)
        if known is None:
            known = self._new(pid)
        return self._room(pid, known) if known is not None else None

    def _room(self, pid: int, process: ProcessSymbols) -> ProcessSymbols:
        if pid not in self._processes and len(self._processes) >= self._limit:
            oldest = next(iter(self._processes))
            del self._processes[oldest]
            self._recalled.pop(oldest, None)
        self._processes[pid] = process  # the last used is last
        return process

    def _new(self, pid: int) -> ProcessSymbols | None:
        try:
            return ProcessSymbols(pid, self._tables, readable=self._readable)
        except SymbolError:
            return None

    def remember(self, history: History) -> None:
        """What is known of processes that ended before they were looked at; without it they have no names."""
        self._history = history

    def _recall(self, pid: int) -> ProcessSymbols | None:
        """Take in what the history says of a process in which an address was not found, if that may be new."""
        now = monotonic()
        if self._history is None or now - self._recalled.get(pid, -RECALL) < RECALL:
            return None
        self._recalled[pid] = now
        images = self._history.images(pid)
        if not images:
            return None
        process = self._processes.get(pid)
        if process is None:
            process = self._room(pid, ProcessSymbols(pid, self._tables, readable=self._readable, images=images))
        else:
            process.recall(images)
        return process

    def refresh(self, pid: int) -> bool:
        """Read a process's mappings again: it called exec, or its number went to a new process. False if it ended."""
        known = self._processes.get(pid)
        if known is not None and known.alive:
            return known.refresh()
        if not start_time(pid):
            return False
        self._processes.pop(pid, None)
        return self.capture(pid) is not None

    def _known(self, pid: int) -> Iterator[ProcessSymbols]:
        """The process as it was read, and then, for who asks on, with what the history adds."""
        process = self.capture(pid)
        if process is not None:
            yield process
        process = self._recall(pid)
        if process is not None:
            yield process

    def resolve(self, pid: int, address: int) -> Symbol:
        """The function at a runtime address of a process; a Symbol without a name where none is known."""
        for process in self._known(pid):
            found = process.resolve(address)
            if found.name or found.module:
                return found
        return UNKNOWN

    def frames(self, pid: int, address: int, *, returned_to: bool = False) -> list[Symbol]:
        """As `resolve`, with source lines, and with the inlined functions before; see `ProcessSymbols.frames`."""
        for process in self._known(pid):
            found = process.frames(address, returned_to=returned_to)
            if found[0].name or found[0].module:
                return found
        return [UNKNOWN]

    def address_of(self, target: int | str, name: str) -> int:
        """Address of a symbol: at run time in process `target`, or as the file at that path lays it out. 0: none."""
        if isinstance(target, str):
            return file_symbol(target, name)[0]
        process = self.capture(target)
        return process.address_of(name) if process is not None else 0

    def size_of(self, path: str, name: str) -> int:
        """Bytes of a symbol of a file, 0 if it has none or its table does not say."""
        return file_symbol(path, name)[1]
