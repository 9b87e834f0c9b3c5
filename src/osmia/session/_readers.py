"""Readers of the event ring, whatever the target calls them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._target import Loaded, Reader

PERF_EVENT_ARRAY = 4  # enum bpf_map_type


def open_reader(loaded: Loaded, name: str) -> Reader:
    """The reader of the ring buffer (or perf event array, before 5.8) `name`.

    A target with a `reader(name)` of its own is asked first; maps of the kernel get the kernel's readers.
    """
    own = getattr(loaded, "reader", None)
    if own is not None:
        reader: Reader = own(name)
        return reader
    ring = loaded.maps[name]
    from .. import kernel

    if getattr(ring, "type", 0) == PERF_EVENT_ARRAY:
        return kernel.PerfReader(ring)  # type: ignore[no-any-return,attr-defined]
    return kernel.RingReader(ring)  # type: ignore[arg-type]
