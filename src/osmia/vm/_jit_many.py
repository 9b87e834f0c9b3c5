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
_TAIL_CALL = 12
_COUNT, _ARRAYS = 6, (4, 5, 7)  # of the plan: how many packets, and what has 4 bytes for each


class PacketLayout(Data):
    """Where a context (`template`, bytes) holds its packet; offsets in bytes, -1 for none."""

    template: bytes
    data: int
    data_end: int
    data_meta: int = -1
    length: int = -1


class Verdicts(Data):
    """What a batch gave: `verdicts[i]` of packet i (low 32 bits of r0), and how often each of 0..14 came; 15: others.

    `done` is how many packets ran to their end: fewer than given when `failure` ended the run at the next one.
    """

    done: int
    verdicts: array[int]
    histogram: tuple[int, ...]
    failure: BaseException | None = None


XDP = PacketLayout(bytes(24), 0, 4, 8)
SK_BUFF = PacketLayout(bytes(192), 76, 80, 140, 0)


def run_many(
    native: Native, packets: Region, offsets: Any, lengths: Any, context: int = 0, layout: PacketLayout | None = None
) -> Verdicts:
    """Run the program on each packet; `offsets` and `lengths` (arrays of u32, "I") say where they lie in `packets`.

    The context at `context` (0: made here) is set anew for each packet. What programs write to packets stays.
    Raises what a program does wrong.
    """
    found = try_many(native, packets, offsets, lengths, context, layout)
    if found.failure is not None:
        raise found.failure
    return found


def try_many(
    native: Native, packets: Region, offsets: Any, lengths: Any, context: int = 0, layout: PacketLayout | None = None
) -> Verdicts:
    """What `run_many` does, but what a program does wrong is given out, with the verdicts of the packets before."""
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
    address = buffer_address(memoryview(plan))
    native._prepare(DEFAULT_FUEL, machine.stack_top)
    machine.depth += 1
    failure: BaseException | None = None
    try:
        done = _in_steps(native, plan) if _TAIL_CALL in native.code.helpers else driver().packets(address)
    finally:
        machine.depth -= 1
        if own is not None:
            machine.memory.free(own)
    try:
        native._raise_pending()
    except BaseException as error:
        failure = error
    if done >> 63:
        done &= _INDEX
        failure = UsageError(f"run packets: packet {done} runs over the end of the memory")
    return Verdicts(done, verdicts, tuple(histogram), failure)


def _in_steps(native: Native, plan: array[int]) -> int:
    """Packet by packet: tail calls are counted by run, and in Python."""
    from ..syscalls.native import buffer_address
    from ._jit_driver import driver

    address, packets, count = buffer_address(memoryview(plan)), driver().packets, plan[_COUNT]
    plan[_COUNT] = 1
    for at in range(count):
        native._tail_calls = 0
        done = packets(address)
        if done != 1:
            return done + at
        for words in _ARRAYS:
            plan[words] += 4
    return count


_SK_BUFF_TYPES = frozenset((1, 3, 4, 8, 14))  # socket_filter, sched_cls, sched_act, cgroup_skb, sk_skb


def _words(values: Any) -> array[int]:
    """An array of u32 that is writable and never empty in memory."""
    if isinstance(values, array) and values.typecode == "I":
        return values
    return array("I", values)
