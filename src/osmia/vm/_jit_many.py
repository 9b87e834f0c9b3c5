"""Many packets through one program for one call from Python."""

from __future__ import annotations

from array import array

from .._data import Data
from ..errors import UsageError
from ._interpreter import DEFAULT_FUEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._jit_run import Native
    from ._memory import Region

_NONE = 1 << 20
_BINS = 16
_INDEX = (1 << 63) - 1


class PacketLayout(Data):
    """Where a context (`template`, bytes) holds its packet; offsets in bytes, -1 for none."""

    template: bytes
    data: int
    data_end: int
    data_meta: int = -1
    length: int = -1


class Verdicts(Data):
    """What a batch gave: `verdicts[i]` of packet i (low 32 bits of r0), and how often each of 0..14 came; 15: others.

    `done` is how many packets ran: fewer than given when the run ended with an error, which is then raised.
    """

    done: int
    verdicts: array[int]
    histogram: tuple[int, ...]


XDP = PacketLayout(bytes(24), 0, 4, 8)
SK_BUFF = PacketLayout(bytes(192), 76, 80, 140, 0)


def run_many(
    native: Native, packets: Region, offsets: Any, lengths: Any, context: int = 0, layout: PacketLayout | None = None
) -> Verdicts:
    """Run the program on each packet; `offsets` and `lengths` (arrays of u32, "I") say where they lie in `packets`.

    The context at `context` (0: made here) is set anew for each packet. What programs write to packets stays.
    """
    from ..syscalls.native import buffer_address
    from ._jit_driver import driver

    machine = native.machine
    layout = layout or (SK_BUFF if native.code.type in _SK_BUFF_TYPES else XDP)
    starts, sizes = _words(offsets), _words(lengths)
    count = len(starts)
    if len(sizes) != count:
        raise UsageError(f"run packets: {count} offsets, {len(sizes)} lengths")
    if packets.end >= 1 << 32:
        raise UsageError("run packets: they lie above 4 GiB", hint="allocate their memory with low=True")
    if not count:
        return Verdicts(0, array("I"), (0,) * _BINS)
    own = None if context else machine.memory.allocate(len(layout.template), "context")
    verdicts, histogram = array("I", bytes(4 * count)), array("Q", bytes(8 * _BINS))
    template = bytearray(layout.template)
    plan = array("Q", [
        native.entry, native.state_address, own.base if own else context, packets.base,
        buffer_address(memoryview(starts)), buffer_address(memoryview(sizes)), count,
        buffer_address(memoryview(verdicts)), buffer_address(memoryview(histogram)),
        buffer_address(template), len(template),
        *(at if at >= 0 else _NONE for at in (layout.data, layout.data_end, layout.data_meta, layout.length)),
        DEFAULT_FUEL, packets.size,
    ])  # fmt: skip
    native._prepare(DEFAULT_FUEL, machine.stack_top)
    machine.depth += 1
    try:
        done = driver().packets(buffer_address(memoryview(plan)))
    finally:
        machine.depth -= 1
        if own is not None:
            machine.memory.free(own)
    native._raise_pending()
    if done >> 63:
        raise UsageError(f"run packets: packet {done & _INDEX} runs over the end of the memory")
    return Verdicts(done, verdicts, tuple(histogram))


_SK_BUFF_TYPES = frozenset((1, 3, 4, 8, 14))  # socket_filter, sched_cls, sched_act, cgroup_skb, sk_skb


def _words(values: Any) -> array[int]:
    """An array of u32 that is writable and never empty in memory."""
    if isinstance(values, array) and values.typecode == "I":
        return values
    return array("I", values)
