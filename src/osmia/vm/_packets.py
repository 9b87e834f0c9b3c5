"""A packet program over a whole capture: verdicts counted, packets that pass written as the program leaves them."""

from __future__ import annotations

from .._data import Data
from ..errors import OsmiaError, UsageError
from ..isa import HELPERS
from ._context_packet import LARGEST
from ._pcap import BARE_IP, ETHERNET, LINUX_SLL, LINUX_SLL2, Packet, link_name
from ._program import CGROUP_SKB, PACKET_KINDS, SCHED_ACT, SCHED_CLS, SOCKET_FILTER, XDP, verdict_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..objects import Object
    from ._loaded import LoadedVm
    from ._pcap import Capture
    from ._program import PacketResult, VmProgram

HEADER = 14
# Links that programs of Ethernet can be given all the same: the size of the header that an Ethernet header replaces.
_REPLACED = {**dict.fromkeys(BARE_IP, 0), LINUX_SLL: 16, LINUX_SLL2: 20}
# Return values after which a packet goes on.
_PASSES = {XDP: (2, 3, 4), SCHED_CLS: (0xFFFFFFFF, 0, 1, 3, 6, 7), CGROUP_SKB: (1, 3)}
_PASSES[SCHED_ACT] = _PASSES[SCHED_CLS]
# Helpers that take the packet from its context object, that move it, or that run between packets: such programs run
# packet by packet, as those do that may call another program's helpers behind a tail call.
_ALONE = (
    "tail_call", "xdp_adjust_head", "xdp_adjust_meta", "xdp_adjust_tail", "xdp_get_buff_len", "xdp_load_bytes",
    "xdp_store_bytes", "perf_event_output", "xdp_output", "check_mtu", "timer_start",
)  # fmt: skip
_BY_ONE = frozenset(HELPERS[name] for name in _ALONE)
_RINGS = frozenset(HELPERS[name] for name in ("ringbuf_output", "ringbuf_reserve", "ringbuf_reserve_dynptr"))
_BETWEEN = 16  # packets: rings are read so often, most hold the records of more
_BATCH = 64 << 20


class Tally(Data):
    """Packets and bytes (as captured) by verdict, in the order of first use; `written` counts packets that went on,
    `skipped` those that are too large to be run, above 65535 bytes.

    `failure` is what ended the run before the end of the capture: these are the counts of the packets before it.
    """

    program: str
    packets: dict[str, int]
    bytes: dict[str, int]
    written: int = 0
    skipped: int = 0
    failure: OsmiaError | KeyboardInterrupt | None = None


def packet_program(obj: Object, name: str = "") -> tuple[Object, str]:
    """The program of that name, or the only one that takes packets; and the object with it alone, and with what is in
    its program arrays. UsageError.
    """
    from ..objects import select_programs

    if name:
        obj = select_programs(obj, [name])
    takers = [spec.name for spec in obj.programs if spec.type in PACKET_KINDS]
    found = [taker for taker in takers if name in ("", taker)]
    if len(found) != 1:
        names = ", ".join(takers) or "none"
        raise UsageError(
            f"run program {name}: it takes no packets"
            if name
            else f"run packets: programs that take packets are {names}",
            hint="name one of them with --program"
            if takers and not name
            else "XDP, tc, socket filter and cgroup_skb programs do",
        )
    return select_programs(obj, found), found[0]


def run_packets(
    loaded: LoadedVm,
    program: VmProgram,
    capture: Capture,
    *,
    keep: Callable[[Packet], None] | None = None,
    drain: Callable[[], None] = lambda: None,
) -> Tally:
    """Run it on every packet. `keep` gets those that go on; `drain` is called now and then, to read rings.

    Packets of bare IP, or of Linux cooked captures (`tcpdump -i any`), get an Ethernet header; in its place, those that
    go on have their own again. UsageError for other links. What a program does wrong is not raised but in
    `Tally.failure`, and names the packet, counted from 1.
    """
    others = capture.links - {ETHERNET, *_REPLACED}
    if others:
        names = ", ".join(map(link_name, sorted(others)))
        raise UsageError(
            f"run packets: the capture is of {names}", hint="programs take Ethernet, bare IP or Linux cooked packets"
        )
    counts = _Counts()
    batches = program.native is not None and program.meter is None and program.type == XDP
    batches = batches and max(capture.lengths, default=0) <= LARGEST
    try:
        if batches and not capture.links - {ETHERNET} and not _BY_ONE & program.code.helpers:
            _in_batches(loaded, program, capture, keep, drain, counts)
        else:
            _one_by_one(loaded, program, capture, keep, drain, counts)
    except KeyboardInterrupt as error:
        counts.failure = error
    drain()
    return Tally(program.name, counts.packets, counts.bytes, counts.written, counts.skipped, counts.failure)


class _Counts:
    """What a run has counted so far."""

    def __init__(self) -> None:
        self.packets: dict[str, int] = {}
        self.bytes: dict[str, int] = {}
        self.written = self.skipped = 0
        self.failure: OsmiaError | KeyboardInterrupt | None = None

    def fail(self, error: OsmiaError, number: int) -> None:
        """The run ends with this error, of packet `number`, counted from 1."""
        error.message = f"run packet {number}: {error.message}"
        self.failure = error


def _one_by_one(
    loaded: LoadedVm,
    program: VmProgram,
    capture: Capture,
    keep: Callable[[Packet], None] | None,
    drain: Callable[[], None],
    counts: _Counts,
) -> None:
    for number, packet in enumerate(capture, 1):
        try:
            frame = _ethernet(packet)
            if len(frame) > LARGEST:
                counts.skipped += 1
                continue
            result = program.run_packet(frame)
            counts.packets[result.name] = counts.packets.get(result.name, 0) + 1
            counts.bytes[result.name] = counts.bytes.get(result.name, 0) + len(packet.data)
            if keep is not None and _goes_on(program.type, result.verdict):
                keep(_written(program, packet, result))
                counts.written += 1
            _run_timers(loaded)
            if not number % _BETWEEN:
                drain()
        except OsmiaError as error:
            counts.fail(error, number)
            return


def _written(program: VmProgram, packet: Packet, result: PacketResult) -> Packet:
    """The packet as it goes on."""
    data = result.packet
    if program.type == SOCKET_FILTER:
        data = data[: result.verdict]
    if packet.link != ETHERNET:
        data = packet.data[: _REPLACED[packet.link]] + data[HEADER:]
    elif program.type == CGROUP_SKB:
        data = packet.data[:HEADER] + data[HEADER:]  # such programs are given no Ethernet header
    return Packet(data, packet.time, max(len(data), packet.length + len(data) - len(packet.data)), packet.link)


def _run_timers(loaded: LoadedVm) -> None:
    """Callbacks of the timers that are due by now: between packets, as softirqs do."""
    if loaded.machine.data.get("timers"):
        from ._helpers_timer import run_due

        with loaded.lock:
            run_due(loaded.machine)


def _ethernet(packet: Packet) -> bytes:
    """The packet with an Ethernet header."""
    data = packet.data
    if packet.link == ETHERNET:
        return data
    size = _REPLACED[packet.link]
    if not size:
        kind = b"\x86\xdd" if data[:1] and data[0] >> 4 == 6 else b"\x08\x00"
    elif len(data) < size:
        raise UsageError(f"load a packet: {len(data)} bytes are less than its header of {size}")
    else:
        kind = data[14:16] if packet.link == LINUX_SLL else data[:2]
    return bytes(12) + kind + data[size:]


def _goes_on(type: int, verdict: int) -> bool:
    return bool(verdict) if type == SOCKET_FILTER else verdict in _PASSES.get(type, (verdict,))


def _in_batches(
    loaded: LoadedVm,
    program: VmProgram,
    capture: Capture,
    keep: Callable[[Packet], None] | None,
    drain: Callable[[], None],
    counts: _Counts,
) -> None:
    """One native loop over many packets; the packets lie in memory as they do in the file."""
    from array import array
    from itertools import compress

    from ._jit_many import PacketLayout, try_many

    native = program.native
    assert native is not None
    template = bytearray(24)
    template[12:16] = (1).to_bytes(4, "little")  # ingress_ifindex
    layout = PacketLayout(bytes(template), 0, 4, 8)
    memory = loaded.machine.memory
    most = _BETWEEN if _RINGS & program.code.helpers else len(capture)
    for first, last in _pieces(capture, most):
        start = capture.offsets[first]
        end = max(capture.offsets[i] + capture.lengths[i] for i in range(first, last))
        region = memory.allocate(end - start, "packets", low=True)
        try:
            region.view[:] = capture.data[start:end]
            offsets = array("I", [at - start for at in capture.offsets[first:last]])
            lengths = array("I", capture.lengths[first:last])
            with loaded.lock:
                ran = try_many(native, region, offsets, lengths, layout=layout)
            verdicts = ran.verdicts[: ran.done]
            program.run_count += len(verdicts)
            for verdict in dict.fromkeys(verdicts):
                name = verdict_name(XDP, verdict)
                counts.packets[name] = counts.packets.get(name, 0) + verdicts.count(verdict)
                size = sum(compress(lengths, map(verdict.__eq__, verdicts)))
                counts.bytes[name] = counts.bytes.get(name, 0) + size
            for i, verdict in enumerate(verdicts if keep is not None else ()):
                if keep is not None and _goes_on(XDP, verdict):
                    data = bytes(region.view[offsets[i] : offsets[i] + lengths[i]])
                    keep(Packet(data, capture.times[first + i], capture.wire[first + i]))
                    counts.written += 1
        finally:
            memory.free(region)
        if isinstance(ran.failure, OsmiaError):
            counts.fail(ran.failure, first + ran.done + 1)
            return
        if ran.failure is not None:
            raise ran.failure
        drain()


def _pieces(capture: Capture, most: int) -> Iterator[tuple[int, int]]:
    """Runs of at most so many packets whose part of the file fits a batch."""
    first = 0
    for i in range(1, len(capture) + 1):
        full = i - first >= most
        if i == len(capture) or full or capture.offsets[i] + capture.lengths[i] - capture.offsets[first] > _BATCH:
            yield first, i
            first = i
