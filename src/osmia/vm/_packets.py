"""A packet program over a whole capture: verdicts counted, packets that pass written as the program leaves them."""

from __future__ import annotations

from .._data import Data
from ..errors import UsageError
from ._pcap import ETHERNET, LINK_NAMES, RAW_IP, Packet
from ._program import CGROUP_SKB, PACKET_KINDS, SCHED_ACT, SCHED_CLS, SOCKET_FILTER, XDP, verdict_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._pcap import Capture
    from ._program import VmProgram
    from ._target import LoadedVm

HEADER = 14
# Return values after which a packet goes on.
_PASSES = {XDP: (2, 3, 4), SCHED_CLS: (0xFFFFFFFF, 0, 1, 3, 6, 7), CGROUP_SKB: (1, 3)}
_PASSES[SCHED_ACT] = _PASSES[SCHED_CLS]
# Helpers that move the packet's ends or change its size: what is left must be looked at packet by packet.
_MOVES = (31, 32, 38, 43, 44, 50, 54, 65, 73, 84, 155, 189)
_BATCH = 64 << 20


class Tally(Data):
    """Packets and bytes (as captured) by verdict, in the order of first use; `written` counts packets that went on."""

    program: str
    packets: dict[str, int]
    bytes: dict[str, int]
    written: int = 0


def packet_program(loaded: LoadedVm, name: str = "") -> VmProgram:
    """The program of that name, or the only one that takes packets. UsageError."""
    found = [p for p in loaded.programs.values() if p.type in PACKET_KINDS and name in ("", p.name)]
    if len(found) != 1:
        names = ", ".join(p.name for p in loaded.programs.values() if p.type in PACKET_KINDS) or "none"
        raise UsageError(
            f"run packets: programs that take packets are {names}",
            hint="name one of them" if "," in names else "XDP, tc, socket filter and cgroup_skb programs do",
        )
    return found[0]


def run_packets(
    loaded: LoadedVm,
    program: VmProgram,
    capture: Capture,
    *,
    keep: Callable[[Packet], None] | None = None,
    drain: Callable[[], None] = lambda: None,
) -> Tally:
    """Run it on every packet. `keep` gets those that go on; `drain` is called now and then, to read rings.

    Captures of bare IP packets get an Ethernet header, which is taken off again. UsageError for other links.
    """
    others = capture.links - {ETHERNET, RAW_IP}
    if others:
        names = ", ".join(LINK_NAMES.get(link, str(link)) for link in sorted(others))
        raise UsageError(f"run packets: the capture is of {names}", hint="programs take Ethernet or bare IP packets")
    if program.native is not None and program.meter is None and program.type == XDP and not capture.links - {ETHERNET}:
        moved = any(helper in _MOVES for helper in program.code.helpers)
        if not (moved and keep):
            return _in_batches(loaded, program, capture, keep, drain)
    return _one_by_one(program, capture, keep, drain)


def _one_by_one(
    program: VmProgram, capture: Capture, keep: Callable[[Packet], None] | None, drain: Callable[[], None]
) -> Tally:
    packets: dict[str, int] = {}
    sizes: dict[str, int] = {}
    written = 0
    for number, packet in enumerate(capture):
        bare = packet.link == RAW_IP
        result = program.run_packet(_ethernet(packet.data) if bare else packet.data)
        packets[result.name] = packets.get(result.name, 0) + 1
        sizes[result.name] = sizes.get(result.name, 0) + len(packet.data)
        if keep is not None and _goes_on(program.type, result.verdict):
            data = result.packet[HEADER:] if bare else result.packet
            if not bare and program.type in (SOCKET_FILTER, CGROUP_SKB):
                data = packet.data[:HEADER] + data[HEADER:]  # such programs are given no Ethernet header
            if program.type == SOCKET_FILTER:
                data = data[: result.verdict]
            keep(Packet(data, packet.time, max(len(data), packet.length + len(data) - len(packet.data)), packet.link))
            written += 1
        if not number & 0x3FF:
            drain()
    drain()
    return Tally(program.name, packets, sizes, written)


def _ethernet(data: bytes) -> bytes:
    kind = b"\x86\xdd" if data[:1] and data[0] >> 4 == 6 else b"\x08\x00"
    return bytes(12) + kind + data


def _goes_on(type: int, verdict: int) -> bool:
    return bool(verdict) if type == SOCKET_FILTER else verdict in _PASSES.get(type, (verdict,))


def _in_batches(
    loaded: LoadedVm,
    program: VmProgram,
    capture: Capture,
    keep: Callable[[Packet], None] | None,
    drain: Callable[[], None],
) -> Tally:
    """One native loop over many packets; the packets lie in memory as they do in the file."""
    from array import array
    from itertools import compress

    from ._jit_many import PacketLayout

    native = program.native
    assert native is not None
    template = bytearray(24)
    template[12:16] = (1).to_bytes(4, "little")  # ingress_ifindex
    layout = PacketLayout(bytes(template), 0, 4, 8)
    packets: dict[str, int] = {}
    sizes: dict[str, int] = {}
    written = 0
    memory = loaded.machine.memory
    for first, last in _pieces(capture):
        start = capture.offsets[first]
        end = max(capture.offsets[i] + capture.lengths[i] for i in range(first, last))
        region = memory.allocate(end - start, "packets", low=True)
        try:
            region.view[:] = capture.data[start:end]
            offsets = array("I", [at - start for at in capture.offsets[first:last]])
            lengths = array("I", capture.lengths[first:last])
            with loaded.lock:
                verdicts = native.run_many(region, offsets, lengths, context=0, layout=layout).verdicts
            program.run_count += len(verdicts)
            for verdict in dict.fromkeys(verdicts):
                name = verdict_name(XDP, verdict)
                packets[name] = packets.get(name, 0) + verdicts.count(verdict)
                sizes[name] = sizes.get(name, 0) + sum(compress(lengths, map(verdict.__eq__, verdicts)))
            for i, verdict in enumerate(verdicts if keep is not None else ()):
                if keep is not None and _goes_on(XDP, verdict):
                    data = bytes(region.view[offsets[i] : offsets[i] + lengths[i]])
                    keep(Packet(data, capture.times[first + i], capture.wire[first + i]))
                    written += 1
        finally:
            memory.free(region)
        drain()
    return Tally(program.name, packets, sizes, written)


def _pieces(capture: Capture) -> Iterator[tuple[int, int]]:
    """Runs of packets whose part of the file fits a batch."""
    first = 0
    for i in range(1, len(capture) + 1):
        if i == len(capture) or capture.offsets[i] + capture.lengths[i] - capture.offsets[first] > _BATCH:
            yield first, i
            first = i
