"""What a trace reads besides its event ring: ring buffers that C programs fill, and the kernel's trace_pipe."""

from __future__ import annotations

import time

from . import _events as ev
from ._decode import compile_value
from ._readers import open_reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from ..objects import Object, ValueType
    from ._names import Names
    from .target import Loaded, Reader

    class Source(Protocol):
        name: str

        @property
        def lost(self) -> int: ...
        def fileno(self) -> int: ...
        def drain(self) -> int: ...
        def close(self) -> None: ...


class RingSource:
    """A ring buffer or perf event array: each record becomes a `RingRecord`, raw bytes where it is of no known type."""

    def __init__(
        self, name: str, reader: Reader, record: ValueType, names: Names, emit: Callable[[ev.Event], None]
    ) -> None:
        self.name = name
        self._reader = reader
        self._emit = emit
        self._size = record.size
        self._decode: Callable[[bytes, int], Any] | None = compile_value(record, names) if record.size else None

    @property
    def lost(self) -> int:
        """Records for which there was no room, where the kernel counts them (perf event arrays)."""
        return int(getattr(self._reader, "lost", 0))

    def fileno(self) -> int:
        return self._reader.fileno()

    def drain(self) -> int:
        """Emit one batch of records; how many there were."""
        batch = self._reader.drain()
        data, decode, emit = batch.data, self._decode, self._emit
        for start, count, size, stride in batch.runs:
            for at in range(start, start + count * stride, stride):
                # A record of another size is of another kind: its members would be wrong. Perf buffers pad records.
                fits = decode is not None and self._size <= size < self._size + 8
                value = decode(data, at) if decode and fits else data[at : at + size]
                emit(ev.RingRecord(self.name, value))
        return batch.count

    def close(self) -> None:
        self._reader.close()


class Sources:
    """All of them. `emit` gets their events."""

    def __init__(self, loaded: Loaded, names: Names, emit: Callable[[ev.Event], None]) -> None:
        self._loaded = loaded
        self._names = names
        self._emit = emit
        self._all: list[Source] = []
        self._reported: dict[str, int] = {}

    def open(self, obj: Object, rings: set[str], *, trace_pipe: bool) -> None:
        """Open a reader for each of these maps that has a format, and trace_pipe."""
        for map_format in obj.map_formats:
            if map_format.map in rings:
                reader = open_reader(self._loaded, map_format.map)
                self._all.append(RingSource(map_format.name, reader, map_format.value, self._names, self._emit))
        if trace_pipe:
            from ._trace_pipe import TracePipe

            self._all.append(TracePipe(self._emit))

    def filenos(self) -> list[int]:
        """Descriptors that are readable when there is something; -1 for what must be looked at."""
        return [source.fileno() for source in self._all]

    def drain(self, patience: float = 0.0) -> None:
        """Emit what is there: one batch of each, or with `patience` all, within so many seconds."""
        deadline = time.monotonic() + patience
        while sum([source.drain() for source in self._all]) and time.monotonic() < deadline:
            continue

    def lost(self) -> dict[str, int]:
        """Source -> records lost since the last call."""
        new = {s.name: s.lost - self._reported.get(s.name, 0) for s in self._all}
        self._reported = {s.name: s.lost for s in self._all}
        return {name: count for name, count in new.items() if count}

    def close(self) -> None:
        sources, self._all = self._all, []
        for source in sources:
            source.close()
