"""Readers of the event ring, whatever the target calls them."""

from __future__ import annotations

import time

from ..errors import ObjectError
from ..isa.map_types import PERF_EVENT_ARRAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Object
    from .target import Loaded, Reader


# Whoever empties the ring has the very next record wake it, which costs the traced program more than the record does.
# So batches that follow each other within two naps are let grow for one; a ring must hold what comes meanwhile.
NAP = 0.001
ROOM_FOR_NAPS = 1 << 20


class Pace:
    """How fast batches follow each other, and the rest that makes them fewer and larger."""

    def __init__(self, obj: Object) -> None:
        self._has_room = any(m.name == obj.ring and m.max_entries >= ROOM_FOR_NAPS for m in obj.maps)
        self._last = 0.0
        self._busy = False

    def note_batch(self) -> None:
        """A batch that was not empty has been taken."""
        now = time.monotonic()
        self._busy = now - self._last < 2 * NAP
        self._last = now

    def rest(self, limit: float) -> None:
        """Sleep for a nap if the next batch would come at once, and `limit` seconds allow it."""
        if self._busy and self._has_room and limit >= NAP:
            time.sleep(NAP)


def open_reader(loaded: Loaded, name: str) -> Reader:
    """The reader of the ring buffer (or perf event array, before 5.8) `name`.

    A target with a `reader(name)` of its own is asked first; maps of the kernel get the kernel's readers.
    """
    own = getattr(loaded, "reader", None)
    if own is not None:
        reader: Reader = own(name)
        return reader
    from ..kernel import Map, PerfReader, RingReader

    ring = loaded.maps[name]
    if not isinstance(ring, Map):
        raise ObjectError(f"read events from {name}: the target has no reader for it")
    return PerfReader(ring) if ring.type == PERF_EVENT_ARRAY else RingReader(ring)
