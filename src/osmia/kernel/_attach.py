"""Attach programs: one function per kind of attach point, in a table by provider name."""

from __future__ import annotations

import os

from .. import syscalls
from ..errors import AttachError, ElfError, KernelError, NotSupported, OsmiaError, PermissionDenied
from ._link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..objects import AttachPoint
    from ._program import Program

TRACING, LSM = 26, 29

SOFTWARE_EVENTS = {
    "cpu-clock": 0, "cpu": 0, "task-clock": 1, "page-faults": 2, "faults": 2, "context-switches": 3, "cs": 3,
    "cpu-migrations": 4, "minor-faults": 5, "major-faults": 6, "alignment-faults": 7, "emulation-faults": 8,
    "dummy": 9, "bpf-output": 10,
}  # fmt: skip
HARDWARE_EVENTS = {
    "cpu-cycles": 0, "cycles": 0, "instructions": 1, "cache-references": 2, "cache-misses": 3,
    "branch-instructions": 4, "branches": 4, "branch-misses": 5, "bus-cycles": 6, "frontend-stalls": 7,
    "backend-stalls": 8, "ref-cycles": 9,
}  # fmt: skip

_tracepoint_ids: dict[tuple[str, str], int] = {}
_online: list[int] = []


def online_cpus() -> list[int]:
    """CPUs that are online; read once."""
    if not _online:
        _online.extend(syscalls.cpu_list("online"))
    return _online


def attach(program: Program, point: AttachPoint) -> Link:
    """Attach `program` to `point`. AttachError, NotSupported or PermissionDenied when it cannot be."""
    try:
        return _provider(point)(program, point)
    except AttachError as error:
        if error.errno != 24 or not syscalls.raise_open_files():
            raise
    return _provider(point)(program, point)


def _provider(point: AttachPoint) -> Callable[[Program, AttachPoint], Link]:
    how = PROVIDERS.get(point.provider)
    if how is None:
        from ._attach_net import NET_PROVIDERS

        how = NET_PROVIDERS.get(point.provider)
    if how is None:
        raise NotSupported(
            f"attach {_name(point)}: programs of section {point.provider!r} are only loaded",
            feature=f"attach {point.provider}",
            hint="attach it by hand: pin the program and use the tool that owns the hook",
        )
    return how


def _name(point: AttachPoint) -> str:
    return point.name or f"{point.provider}:{point.target}:{point.function}"


def attach_error(point: AttachPoint, errno: int, operation: str) -> OsmiaError:
    """Why attaching failed, in plain words."""
    if errno in (1, 13):
        denied = syscalls.explain(operation, errno, "", _needed(point, operation))
        assert isinstance(denied, PermissionDenied)
        cause = denied.message.partition(": ")[2]
        return PermissionDenied(
            f"attach {_name(point)}: {cause}",
            capability=denied.capability,
            errno=errno,
            operation=operation,
            hint=denied.hint,
        )
    causes = _CAUSES.get(point.provider, {})
    cause, hint = causes.get(errno) or _ANY_CAUSE.get(errno) or (os.strerror(errno).lower(), "")
    return AttachError(
        f"attach {_name(point)}: {cause}", probe=_name(point), errno=errno, operation=operation, hint=hint
    )


def _needed(point: AttachPoint, operation: str) -> str:
    """The capability that this step of attaching takes."""
    if operation.startswith("open "):
        return "CAP_DAC_READ_SEARCH"
    if point.provider in ("uprobe", "uretprobe", "usdt") and operation == "perf_event_open":
        return "CAP_SYS_ADMIN"  # perf_uprobe_event_init; multi links (6.6) do without, see `_load`
    network = ("xdp", "tc", "tcx", "cgroup", "cgroup_skb")
    return "CAP_NET_ADMIN" if point.provider in network else "CAP_PERFMON"


_NO_FUNCTION = (
    "the kernel has no such function that can be probed",
    "osmia list finds the name; inlined functions have none",
)
_ANY_CAUSE = {
    24: ("too many open files", "raise the limit: ulimit -n 65536"),
    16: ("something else holds it already", "bpftool link list shows who"),
    3: ("no such process", "is the process still running?"),
    7: ("too many programs at this place (64 a tracepoint)", "stop some of them: bpftool perf list"),
    17: ("a program is attached there already", "detach that one first"),
}
_CAUSES: dict[str, dict[int, tuple[str, str]]] = {
    "kprobe": {
        2: _NO_FUNCTION,
        22: ("it cannot be probed: on the kprobe blacklist, or not at the start of an instruction",
             "try fentry, or another function"),
        84: ("the offset is not at the start of an instruction", "disassemble the function to find one"),
        95: ("it cannot be probed (notrace or blacklisted)", "try a function that calls it"),
        99: ("several functions have this name", "give an address or a module"),
    },
    "fentry": {
        16: ("the function is being changed or holds its maximum of programs", "try kprobe"),
        95: ("this function cannot be traced (notrace)", "try a function that calls it"),
        524: ("this kernel was built without trampolines for BPF", "try kprobe"),
    },
    "uprobe": {
        2: ("no such file", "check the path, as this mount namespace sees it"),
        22: ("no instruction can be probed at this offset", "is it a file offset in a text section?"),
        95: ("the instruction at this place cannot be probed", "probe another instruction"),
        5: ("the file cannot be read", "check the file"),
    },
    "hardware": {
        2: ("this machine has no such counter (a virtual machine without PMU?)", "use software:cpu-clock or profile"),
        95: ("this machine has no such counter (a virtual machine without PMU?)", "use software:cpu-clock or profile"),
    },
    "watchpoint": {
        28: ("all hardware breakpoints are taken", "watch fewer addresses (x86 has 4)"),
        22: ("the processor cannot watch this length or mode",
             "lengths are 1, 2, 4, 8; the address must be a multiple; modes are w, rw, x"),
    },
    "rawtracepoint": {2: ("no such raw tracepoint", "osmia list 'rawtracepoint:*'")},
    "profile": {22: ("no event at this rate", "the limit is kernel.perf_event_max_sample_rate")},
}  # fmt: skip
_CAUSES["kretprobe"] = _CAUSES["kprobe"]
_CAUSES["fexit"] = _CAUSES["fentry"]
_CAUSES["uretprobe"] = _CAUSES["usdt"] = _CAUSES["uprobe"]
_CAUSES["interval"] = _CAUSES["profile"]
_CAUSES["software"] = _CAUSES["profile"]


def _checked(point: AttachPoint, result: int, operation: str) -> int:
    if result < 0:
        raise attach_error(point, -result, operation)
    return result


def _run_only(program: Program, point: AttachPoint) -> Link:
    return Link(point, program, "run")


def on_event(program: Program, point: AttachPoint, events: list[int], *, keep: bool = False) -> Link:
    """Put the program on open perf events, through links where the kernel has them (5.15), else by ioctl.

    Takes the events over: they are closed when it fails. The link holds its event, so our own fd can go, unless
    `keep` asks for it: then closing the link is quick, and the event can be closed later (see `close_links`).
    """
    links: list[int] = []
    kept = events
    try:
        for event in events:
            link = syscalls.link_perf_event(program.fd, event, point.cookie)
            if link == -22 and not links and syscalls.kernel_version() < (5, 15, 0):
                if point.cookie:
                    raise NotSupported(
                        f"attach {_name(point)}: cookies need perf links", feature="bpf_cookie", since="5.15"
                    )
                for fd in events:
                    _checked(point, syscalls.perf_set_bpf(fd, program.fd), "ioctl(PERF_EVENT_IOC_SET_BPF)")
                kept = []
                return Link(point, program, "event", tuple(events))
            links.append(_checked(point, link, "bpf(BPF_LINK_CREATE)"))
        if keep:
            kept = []
            return Link(point, program, "link", tuple(links), tuple(events))
        return Link(point, program, "link", tuple(links))
    except BaseException:
        for fd in links:
            os.close(fd)
        raise
    finally:
        for fd in kept:
            os.close(fd)


def _sampling(
    program: Program,
    point: AttachPoint,
    type: int,
    config: int,
    cpus: list[int],
    *,
    breakpoint: int = 0,
    config1: int = 0,
    config2: int = 0,
) -> Link:
    """One event per CPU, or per thread of `point.pid`."""
    if point.pid:
        places = [(tid, -1) for tid in _threads(point)]
        inherit = syscalls.kernel_version() >= (5, 13, 0)
    else:
        places = [(-1, cpu) for cpu in cpus]
        inherit = False
    events: list[int] = []
    try:
        for pid, cpu in places:
            fd = syscalls.perf_event_open(
                type=type,
                config=config,
                period=point.period,
                frequency=point.frequency,
                pid=pid,
                cpu=cpu,
                inherit_thread=inherit,
                breakpoint=breakpoint,
                config1=config1,
                config2=config2,
            )
            if fd == -3 and events:
                continue  # this thread has ended meanwhile
            if fd == -19 and not point.pid:
                continue  # this CPU went offline
            events.append(_checked(point, fd, "perf_event_open"))
    except BaseException:
        for fd in events:
            os.close(fd)
        raise
    return on_event(program, point, events)


def _threads(point: AttachPoint) -> list[int]:
    try:
        return [int(tid) for tid in os.listdir(f"/proc/{point.pid}/task")]
    except OSError:
        raise attach_error(point, 3, "perf_event_open") from None


def _interval(program: Program, point: AttachPoint) -> Link:
    return _sampling(program, point.replace(pid=0), syscalls.TYPE_SOFTWARE, syscalls.SW_CPU_CLOCK, online_cpus()[:1])


def _profile(program: Program, point: AttachPoint) -> Link:
    return _sampling(program, point, syscalls.TYPE_SOFTWARE, syscalls.SW_CPU_CLOCK, online_cpus())


def _software(program: Program, point: AttachPoint) -> Link:
    return _sampling(program, point, syscalls.TYPE_SOFTWARE, _event(point, SOFTWARE_EVENTS), online_cpus())


def _hardware(program: Program, point: AttachPoint) -> Link:
    return _sampling(program, point, syscalls.TYPE_HARDWARE, _event(point, HARDWARE_EVENTS), online_cpus())


def _event(point: AttachPoint, table: dict[str, int]) -> int:
    name = point.function or point.target
    config = table.get(name)
    if config is None:
        raise AttachError(
            f"attach {_name(point)}: no event {name!r}",
            probe=_name(point),
            hint="known are " + ", ".join(sorted(table)),
        )
    return config


def _watchpoint(program: Program, point: AttachPoint) -> Link:
    mode = sum({"r": 1, "w": 2, "x": 4}.get(letter, 0) for letter in set(point.mode or "rw"))
    length = 8 if mode == 4 else point.length or 8  # an execution breakpoint has the size of a long
    if not point.period and not point.frequency:
        point = point.replace(period=1)
    return _sampling(
        program, point, syscalls.TYPE_BREAKPOINT, 0, online_cpus(),
        breakpoint=mode, config1=point.address, config2=length,
    )  # fmt: skip


def tracepoint_id(point: AttachPoint) -> int:
    """The number of a tracepoint, from tracefs; kept, since attaching hundreds reads hundreds."""
    key = (point.target, point.function)
    id = _tracepoint_ids.get(key)
    if id is None:
        path = f"{syscalls.tracefs()}/events/{point.target}/{point.function}/id"
        try:
            with open(path, "rb", buffering=0) as file:
                id = int(file.read(32))
        except FileNotFoundError:
            raise AttachError(
                f"attach {_name(point)}: no such tracepoint",
                probe=_name(point),
                errno=2,
                operation=f"open {path}",
                hint=f"osmia list 'tracepoint:*:*{point.function}*'",
            ) from None
        except OSError as error:
            raise attach_error(point, error.errno or 5, f"open {path}") from None
        _tracepoint_ids[key] = id
    return id


def _tracepoint(program: Program, point: AttachPoint) -> Link:
    event = syscalls.perf_event_open(
        type=syscalls.TYPE_TRACEPOINT, config=tracepoint_id(point), period=1, cpu=online_cpus()[0]
    )
    if event == -2:
        _tracepoint_ids.pop((point.target, point.function), None)
    return on_event(program, point, [_checked(point, event, "perf_event_open")], keep=True)


def _raw_tracepoint(program: Program, point: AttachPoint) -> Link:
    if program.type == TRACING:
        return _tracing(program, point)
    fd = syscalls.raw_tracepoint_open(program.fd, point.function, point.cookie)
    if fd == -22 and point.cookie and syscalls.kernel_version() < (6, 10, 0):
        raise NotSupported(
            f"attach {_name(point)}: raw tracepoints take no cookie here",
            feature="cookie of raw tracepoints",
            since="6.10",
        )
    return Link(point, program, "link", (_checked(point, fd, "bpf(BPF_RAW_TRACEPOINT_OPEN)"),))


def _tracing(program: Program, point: AttachPoint) -> Link:
    fd = syscalls.link_tracing(program.fd, program.attach_type, point.cookie)
    return Link(point, program, "link", (_checked(point, fd, "bpf(BPF_LINK_CREATE)"),))


def _kprobe(program: Program, point: AttachPoint) -> Link:
    is_return = point.provider == "kretprobe"
    if point.functions:
        if program.attach_type != syscalls.TRACE_KPROBE_MULTI:
            return _one_by_one(program, point, _kprobe)
        fd = syscalls.link_kprobe_multi(program.fd, symbols=point.functions, cookies=point.cookies, is_return=is_return)
        return Link(point, program, "link", (_checked(point, fd, "bpf(BPF_LINK_CREATE)"),))
    pmu = syscalls.perf_pmu("kprobe")
    if pmu is None:
        raise NotSupported(
            f"attach {_name(point)}: this kernel has no kprobes for perf",
            feature="kprobe",
            since="4.17",
            hint="it needs CONFIG_KPROBE_EVENTS=y; use tracepoints instead",
        )
    function = point.function if not point.target else f"{point.target}:{point.function}"
    event = syscalls.perf_probe_open(
        pmu=pmu,
        is_return_bit=syscalls.perf_return_bit("kprobe"),
        is_return=is_return,
        name=None if point.address else function,
        where=point.address or point.offset,
        pid=-1,
        cpu=online_cpus()[0],
    )
    return on_event(program, point, [_checked(point, event, "perf_event_open")], keep=True)


def _one_by_one(program: Program, point: AttachPoint, attach: Callable[[Program, AttachPoint], Link]) -> Link:
    """A link a function, as one, where the kernel has no multi links (see `_load`, which chose so)."""
    fds: list[int] = []
    events: list[int] = []
    kind = "link"
    try:
        for i in range(len(point.offsets) or len(point.functions)):
            single = point.replace(
                function=point.functions[i] if i < len(point.functions) else "",
                offset=point.offsets[i] if point.offsets else 0,
                ref_ctr_offset=point.ref_ctr_offsets[i] if point.ref_ctr_offsets else 0,
                cookie=point.cookies[i] if point.cookies else 0,
                functions=(),
                offsets=(),
                ref_ctr_offsets=(),
                cookies=(),
            )
            link = attach(program, single)
            kind = link.kind
            fds += link.fds
            events += link.events
    except BaseException:
        for fd in fds + events:
            os.close(fd)
        raise
    return Link(point, program, kind, tuple(fds), tuple(events))


def _ksyscall(program: Program, point: AttachPoint) -> Link:
    """The function behind a system call, whose name depends on the architecture."""
    prefix = "__x64_sys_" if syscalls.MACHINE == "x86_64" else "__arm64_sys_"
    provider = "kretprobe" if point.provider == "kretsyscall" else "kprobe"
    return _kprobe(program, point.replace(provider=provider, function=prefix + point.function))


def _uprobe(program: Program, point: AttachPoint) -> Link:
    is_return = point.provider == "uretprobe"
    point = _with_offsets(point)
    if is_return:
        point = _without_entry(point)
    multi = program.attach_type == syscalls.TRACE_UPROBE_MULTI
    if point.offsets and not multi:
        return _one_by_one(program, point, _uprobe)
    if multi and not point.offsets:
        point = point.replace(
            offsets=(point.offset,),
            ref_ctr_offsets=(point.ref_ctr_offset,) if point.ref_ctr_offset else (),
            cookies=(point.cookie,) if point.cookie else (),
        )
    if point.offsets:
        fd = syscalls.link_uprobe_multi(
            program.fd, path=point.target, offsets=point.offsets, ref_ctr_offsets=point.ref_ctr_offsets,
            cookies=point.cookies, is_return=is_return, pid=point.pid,
        )  # fmt: skip
        return Link(point, program, "link", (_checked(point, fd, "bpf(BPF_LINK_CREATE)"),))
    pmu = syscalls.perf_pmu("uprobe")
    if pmu is None:
        raise NotSupported(
            f"attach {_name(point)}: this kernel has no uprobes for perf",
            feature="uprobe",
            since="4.17",
            hint="it needs CONFIG_UPROBE_EVENTS=y",
        )
    event = syscalls.perf_probe_open(
        pmu=pmu, is_return_bit=syscalls.perf_return_bit("uprobe"), is_return=is_return, name=point.target,
        where=point.offset, pid=point.pid or -1, cpu=-1 if point.pid else online_cpus()[0],
        ref_ctr=point.ref_ctr_offset,
    )  # fmt: skip
    return on_event(program, point, [_checked(point, event, "perf_event_open")], keep=True)


def _without_entry(point: AttachPoint) -> AttachPoint:
    """Without the place where the program starts (`_start`): nothing called it, so there is no return address.

    A return probe there writes over the count of arguments, and breaks every process that starts while it is attached.
    """
    from ..elf import open_elf

    with open_elf(point.target) as file:
        try:
            entry = file.addr_to_offset(file.entry) if file.entry else -1
        except ElfError:
            return point
    if entry not in (point.offsets or (point.offset,)):
        return point
    kept = [i for i, offset in enumerate(point.offsets) if offset != entry]
    if not kept:
        raise AttachError(
            f"attach {_name(point)}: the program starts there, and never returns from it",
            probe=_name(point),
            errno=22,
            hint="use uprobe, or uretprobe on main",
        )
    lists = {}
    for name in ("functions", "offsets", "ref_ctr_offsets", "cookies"):
        values = getattr(point, name)
        lists[name] = tuple(values[i] for i in kept) if len(values) == len(point.offsets) else values
    return point.replace(**lists)


def _with_offsets(point: AttachPoint) -> AttachPoint:
    """File offsets of functions that are given by name only, as in section names of objects built from C."""
    if point.offset or point.offsets or point.provider == "usdt" or not (point.function or point.functions):
        return point
    from ..elf import open_elf

    offsets: list[int] = []
    with open_elf(point.target) as file:
        for name in point.functions or (point.function,):
            name, _, extra = name.partition("+")
            symbol = file.find_symbol(name)
            if symbol is None:
                raise AttachError(
                    f"attach {_name(point)}: {point.target} has no function {name!r}",
                    probe=_name(point),
                    errno=2,
                    hint=f"osmia list 'uprobe:{point.target}:*'",
                )
            offsets.append(file.addr_to_offset(symbol.value) + int(extra or "0", 0))
    return point.replace(offsets=tuple(offsets)) if point.functions else point.replace(offset=offsets[0])


def _iter(program: Program, point: AttachPoint) -> Link:
    link = Link(point, program, "link", (_checked(point, syscalls.link_iter(program.fd), "bpf(BPF_LINK_CREATE)"),))
    if point.pin:
        path = point.pin if point.pin.startswith("/") else f"/sys/fs/bpf/{point.pin}"
        try:
            link.pin(path)
        except KernelError:
            link.close()
            raise
    return link


PROVIDERS: dict[str, Callable[[Program, AttachPoint], Link]] = {
    "begin": _run_only,
    "end": _run_only,
    "self": _run_only,
    "test": _run_only,
    "bench": _run_only,
    "interval": _interval,
    "profile": _profile,
    "tracepoint": _tracepoint,
    "rawtracepoint": _raw_tracepoint,
    "kprobe": _kprobe,
    "kretprobe": _kprobe,
    "fentry": _tracing,
    "fexit": _tracing,
    "fmod_ret": _tracing,
    "lsm": _tracing,
    "ksyscall": _ksyscall,
    "kretsyscall": _ksyscall,
    "uprobe": _uprobe,
    "uretprobe": _uprobe,
    "usdt": _uprobe,
    "software": _software,
    "hardware": _hardware,
    "watchpoint": _watchpoint,
    "asyncwatchpoint": _watchpoint,
    "iter": _iter,
}
