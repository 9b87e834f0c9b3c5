"""Readers of the event ring, whatever the target calls them."""

from __future__ import annotations

from ..errors import ObjectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._target import Loaded, Reader

PERF_EVENT_ARRAY = 4  # enum bpf_map_type
RINGS = (PERF_EVENT_ARRAY, 27)  # and BPF_MAP_TYPE_RINGBUF


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
