"""A program of a loaded object: the engine that runs it, and test runs as BPF_PROG_TEST_RUN does them."""

from __future__ import annotations

import time

from .._data import Data
from ..errors import NotSupported, UsageError
from ._interpreter import DEFAULT_FUEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..objects import Cache, ProgramSpec
    from ._code import Code
    from ._context import Context
    from ._context_fields import Fields
    from ._context_packet import PacketContext
    from ._jit_run import Native
    from ._loaded import LoadedVm
    from ._oversight import Meter

# enum bpf_prog_type
SOCKET_FILTER, KPROBE, SCHED_CLS, SCHED_ACT, TRACEPOINT, XDP, PERF_EVENT, CGROUP_SKB = range(1, 9)
RAW_TRACEPOINT, TRACING = 17, 26
PACKET_KINDS = {
    SOCKET_FILTER: "socket_filter", SCHED_CLS: "sched_cls", SCHED_ACT: "sched_act", XDP: "xdp",
    CGROUP_SKB: "cgroup_skb", 10: "lwt_in", 11: "lwt_out", 12: "lwt_xmit", 14: "sk_skb",
}  # fmt: skip
# What r1 of a program that is run without an event points to, in bytes: u64 arguments, registers, a record.
EMPTY_CONTEXT = {RAW_TRACEPOINT: 96, 24: 96, TRACING: 96, KPROBE: 168, PERF_EVENT: 184, TRACEPOINT: 64}
VERDICTS = {
    XDP: {0: "ABORTED", 1: "DROP", 2: "PASS", 3: "TX", 4: "REDIRECT"},
    SCHED_CLS: {
        0xFFFFFFFF: "UNSPEC", 0: "OK", 1: "RECLASSIFY", 2: "SHOT", 3: "PIPE", 4: "STOLEN", 5: "QUEUED", 6: "REPEAT",
        7: "REDIRECT", 8: "TRAP",
    },
    CGROUP_SKB: {0: "DROP", 1: "PASS"},
}  # fmt: skip
VERDICTS[SCHED_ACT] = VERDICTS[SCHED_CLS]
for _type in (9, 15, 18, 23):  # cgroup_sock, cgroup_device, cgroup_sock_addr, cgroup_sysctl: errno EPERM, or go on
    VERDICTS[_type] = {0: "DENY", 1: "ALLOW"}
VERDICTS[30] = {0: "DROP", 1: "PASS"}  # sk_lookup
# What follows from the packet.
_ADDRESSES = ("data", "data_end", "data_meta", "sk", "flow_keys")
_OF_THE_PACKET = (*_ADDRESSES, "len", "wire_len")
# Whose packets start at the Ethernet header where they are live (in test runs, a socket filter's do not).
_WITH_LINK_HEADER = (SOCKET_FILTER, SCHED_CLS, SCHED_ACT)
# Contexts of fields alone, without packets or buffers.
_PLAIN = ("cgroup_sock", "cgroup_sock_addr", "cgroup_device", "cgroup_sysctl", "sock_ops", "sk_lookup")


class PacketResult(Data):
    """What a program did with a packet: its return value (32 bits), that value's name, the packet afterwards.

    `context` has the fields of its context afterwards, by name, where the run was given a dict of them.
    """

    verdict: int
    name: str
    packet: bytes
    metadata: bytes = b""
    redirect: object = None
    context: Mapping[str, int | tuple[int, ...]] | None = None

    def __repr__(self) -> str:
        more = f", redirect={self.redirect!r}" if self.redirect is not None else ""
        return f"PacketResult({self.name!r}, verdict={self.verdict}, packet={self.packet.hex() or None!r}{more})"


class TestRun(Data):
    """As `osmia.kernel.Program.test_run` gives it; `duration` is the mean of a run in nanoseconds."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    retval: int
    duration: int
    data: bytes
    context: bytes


def _shown(place: Context) -> Fields:
    from ._context_fields import Fields

    return Fields(place.raw(), place.layout, _ADDRESSES)


def verdict_name(type: int, verdict: int) -> str:
    """DROP, PASS, ... as the program type calls it. A socket filter's is how many bytes it keeps."""
    if type == SOCKET_FILTER:
        return "KEEP" if verdict else "DROP"
    return VERDICTS.get(type, {}).get(verdict, str(verdict))


class VmProgram:
    """A loaded program. `engine` is "jit" or "interpreter", whichever was taken; `checked` bounds every access."""

    def __init__(
        self, owner: LoadedVm, spec: ProgramSpec, code: Code, *, engine: str, checked: bool, cache: Cache | None = None,
        meter: Meter | None = None,
    ) -> None:  # fmt: skip
        self.name = spec.name
        self.type = spec.type
        self.attach_type = spec.attach_type
        self.section = spec.section
        self.spec = spec
        self.code = code
        self.checked = checked
        self.fuel = DEFAULT_FUEL
        self.run_count = 0
        self.meter = meter
        self.native: Native | None = None
        self._owner = owner
        self._packet: PacketContext | None = None
        self.engine = "interpreter"
        if engine != "interpreter":
            self._compile(cache, engine == "jit")

    @property
    def id(self) -> int:
        """Its number on the machine; what a prog array shows."""
        return self.code.number

    def _compile(self, cache: Cache | None, required: bool) -> None:
        from ._jit import compile

        try:
            self.native = compile(self.code, self.code.machine, checked=self.checked, cache=cache)
        except NotSupported:
            if required:
                raise
            return
        self.engine = "jit"

    def enter(self, r1: int) -> int:
        """Run it with this r1; r0, unsigned (0 where its quota is used up). VmFault, and whatever a helper raised."""
        meter = self.meter
        if meter is None:
            return self._enter(r1)
        start = time.monotonic_ns()
        if not meter.admit(start):
            return 0
        try:
            return self._enter(r1)
        finally:
            meter.spent(time.monotonic_ns() - start)

    def _enter(self, r1: int) -> int:
        self.run_count += 1
        try:
            if self.native is not None:
                return self.native.run(r1, fuel=self.fuel)
            from ._interpreter import run

            return run(self.code, self.code.machine, r1, fuel=self.fuel, checked=self.checked)
        except BaseException:
            from ._helpers import clean_up

            clean_up(self.code.machine)  # locks and ring buffer records that it held
            raise

    def run_once(self, context: bytes = b"", cpu: int | None = None) -> int:
        """Run it once; its return value, 32 bits. Too short a context is filled with zeros."""
        context = context.ljust(EMPTY_CONTEXT.get(self.type, 8), b"\0")
        return self._owner.run(self, context, None) & 0xFFFF_FFFF

    def run_packet(
        self, packet: bytes, *, ifindex: int = 1, context: Mapping[str, object] | None = None
    ) -> PacketResult:
        """Run it on one packet, with its Ethernet header. UsageError for a program that gets none.

        A socket filter sees the whole frame, as on a raw packet socket. `context` sets fields of its context, such as
        `mark`; then the result has all of them.
        """
        return self._run_packet(packet, ifindex, context, self.type in _WITH_LINK_HEADER)

    def _run_packet(
        self, packet: bytes, ifindex: int, context: Mapping[str, object] | None, link_header: bool
    ) -> PacketResult:
        with self._owner.lock:
            place: Any = self.packet_context(ifindex)
            place.l2 = link_header
            place.load_packet(packet)
            if context:
                place.set_fields(context, _OF_THE_PACKET)
            verdict = self.enter(place.address) & 0xFFFF_FFFF
            out = place.packet if self.type == XDP else place.frame
            metadata = place.metadata if self.type == XDP else b""
            redirect = self.code.machine.data.get("redirect")
            after = None if context is None else _shown(place)
        return PacketResult(verdict, verdict_name(self.type, verdict), out, metadata, redirect, after)

    def run_context(self, context: Mapping[str, object]) -> PacketResult:
        """Run it on a context with these fields: programs of sockets and cgroups. UsageError for others."""
        from ..isa import prog_type_name
        from ._context import Context
        from ._context_layouts import LAYOUTS

        kind = prog_type_name(self.type) or str(self.type)
        if kind not in _PLAIN:
            hint = (
                "give a packet" if self.type in PACKET_KINDS else "fire events at programs that trace: vm.fire(probe)"
            )
            raise UsageError(f"run {self.name}: a {kind} program is not run on a context alone", hint=hint)
        machine = self.code.machine
        with self._owner.lock, Context(machine, kind, *LAYOUTS[kind]) as place:
            place.set_fields(context)
            machine.data.pop("redirect", None)
            verdict = self.enter(place.address) & 0xFFFF_FFFF
            name = verdict_name(self.type, verdict)
            return PacketResult(verdict, name, b"", b"", machine.data.get("redirect"), _shown(place))

    def packet_context(self, ifindex: int = 1) -> PacketContext:
        """The context that its packets are put in."""
        kind = PACKET_KINDS.get(self.type)
        if kind is None:
            raise UsageError(
                f"run {self.name} on a packet: it is a {self.section or 'tracing'} program",
                hint="XDP, tc, socket filter and cgroup_skb programs get packets; fire events at others",
            )
        if self._packet is None:
            from ._context_packet import SkbContext, XdpContext

            machine = self.code.machine
            filler = bytes(14)
            self._packet = XdpContext(machine, filler) if kind == "xdp" else SkbContext(machine, filler, kind=kind)
        place: Any = self._packet
        if kind == "xdp":
            place["ingress_ifindex"] = ifindex
        else:
            place.ifindex = ifindex
        return self._packet

    def test_run(self, data: bytes = b"", context: bytes = b"", *, repeat: int = 0) -> TestRun:
        """Run it on a packet or a context, `repeat` times, as BPF_PROG_TEST_RUN does."""
        times = max(repeat, 1)
        retval, out = 0, data
        start = time.perf_counter_ns()
        for _ in range(times):
            if self.type in PACKET_KINDS:
                # Unlike packet sockets, test runs take a socket filter's Ethernet header off.
                result = self._run_packet(data, 1, None, self.type in (SCHED_CLS, SCHED_ACT))
                retval, out = result.verdict, result.packet
            else:
                retval = self.run_once(context)
        return TestRun(retval, (time.perf_counter_ns() - start) // times, out, context)

    def close(self) -> None:
        """Unmap its code; it cannot run any more."""
        if self.native is not None:
            self.native.close()
        if self._packet is not None:
            self._packet.close()
            self._packet = None

    def __repr__(self) -> str:
        return f"VmProgram({self.name!r}, type={self.type}, {self.engine}{', checked' if self.checked else ''})"
