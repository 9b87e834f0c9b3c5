"""What `osmia doctor` says of probe types: a program that does nothing is attached to one place of each."""

from __future__ import annotations

import os

from .._data import Data
from ..errors import OsmiaError
from ..kernel import KernelTarget, LoadedObject, close_links
from ..objects import AttachPoint, Function, Object, ProgramSpec

# mov r0, 0; exit
_NOTHING = bytes.fromhex("b700000000000000 9500000000000000")
_KPROBE, _TRACEPOINT, _PERF_EVENT, _RAW_TRACEPOINT, _TRACING = 2, 5, 7, 17, 26
_FENTRY, _FEXIT, _ITER = 24, 25, 28


DIRECT = ("begin", "end", "self")  # run by us, attached to nothing


class Trial(Data):
    """`problem` says why probes of type `name` do not work, `fix` what helps; both are empty when they work."""

    name: str
    problem: str = ""
    fix: str = ""
    capability: str = ""

    @property
    def works(self) -> bool:
        return not self.problem


class Way(Data):
    """How to try a probe type: where to attach a program of `type`."""

    name: str
    type: int
    point: AttachPoint
    attach_type: int = 0
    attach_to: str = ""


def _ways() -> list[Way]:
    function = "vfs_read"
    never = 1 << 40  # events between two samples
    timer = AttachPoint("", "", period=3_600_000_000_000)
    counter = AttachPoint("", "", function="cpu-clock", period=never)
    path, offset = _own_function()
    place = AttachPoint("", "", target=path, offset=offset, pid=os.getpid())  # in this process alone: nobody is slowed
    return [
        Way("begin", _RAW_TRACEPOINT, AttachPoint("", "")),
        Way("end", _RAW_TRACEPOINT, AttachPoint("", "")),
        Way("self", _RAW_TRACEPOINT, AttachPoint("", "")),
        Way("tracepoint", _TRACEPOINT, _tracepoint()),
        Way("rawtracepoint", _RAW_TRACEPOINT, AttachPoint("", "", function="sched_process_exec")),
        Way("interval", _PERF_EVENT, timer),
        Way("profile", _PERF_EVENT, timer),
        Way("software", _PERF_EVENT, counter),
        Way("hardware", _PERF_EVENT, counter.replace(function="cpu-cycles")),
        Way("watchpoint", _PERF_EVENT, AttachPoint("", "", address=0x1000, length=8, mode="w")),
        Way("uprobe", _KPROBE, place),
        Way("uretprobe", _KPROBE, place),
        Way("usdt", _KPROBE, place),  # to the kernel, a place in a file like any other
        Way("kprobe", _KPROBE, AttachPoint("", "", function=function)),
        Way("kretprobe", _KPROBE, AttachPoint("", "", function=function)),
        Way("fentry", _TRACING, AttachPoint("", "", function=function), _FENTRY, function),
        Way("fexit", _TRACING, AttachPoint("", "", function=function), _FEXIT, function),
        Way("iter", _TRACING, AttachPoint("", "", function="task"), _ITER, "task"),
    ]


def _tracepoint() -> AttachPoint:
    """One that is rare, and that every kernel with tracepoints has."""
    return AttachPoint("", "", target="sched", function="sched_process_exec")


def _own_function() -> tuple[str, int]:
    """A file that this process has mapped, and the place of a function in it."""
    from ..elf import open_elf

    with open("/proc/self/maps") as file:
        paths = dict.fromkeys(line.split(None, 5)[5].strip() for line in file if line.count("/"))
    for path in paths:
        if os.path.basename(path).startswith(("libc.so", "libc-", "ld-musl")):
            with open_elf(path) as elf:
                symbol = elf.find_symbol("getppid")
                if symbol is not None:
                    return path, elf.addr_to_offset(symbol.value)
    with open_elf("/proc/self/exe") as elf:  # no C library in a file of its own: where the process started
        return "/proc/self/exe", elf.addr_to_offset(elf.entry)


def try_probes() -> list[Trial]:
    """Attach a program to one place of each probe type, and detach it at once. Some 0.1 s, for the last detaching."""
    opened: list[LoadedObject] = []
    try:
        return [_try(way, opened) for way in _ways()]
    finally:
        # Together: each of them alone would wait for the kernel.
        close_links([link for loaded in opened for link in loaded.links])
        for loaded in opened:
            loaded.close()


def _try(way: Way, opened: list[LoadedObject]) -> Trial:
    point = way.point.replace(provider=way.name, program="try", name=way.name)
    spec = ProgramSpec(
        "try", way.name, way.type, Function("try", _NOTHING), attach_type=way.attach_type, attach_to=way.attach_to
    )
    try:
        loaded = KernelTarget().load(Object(programs=(spec,), maps=(), attach_points=(point,)))
        opened.append(loaded)
        loaded.attach(point)
        if way.name in DIRECT:
            loaded.programs["try"].run_once()
    except OsmiaError as error:
        cause = error.message.partition(": ")[2] or error.message
        return Trial(way.name, cause, error.hint, getattr(error, "capability", ""))
    return Trial(way.name)
