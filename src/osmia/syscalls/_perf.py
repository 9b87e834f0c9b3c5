"""perf_event_open(2): events that programs are attached to, and the ioctls on them."""

from __future__ import annotations

from struct import Struct

from . import _call
from ._call import address, error

TYPE_HARDWARE, TYPE_SOFTWARE, TYPE_TRACEPOINT, TYPE_HW_CACHE, TYPE_RAW, TYPE_BREAKPOINT = 0, 1, 2, 3, 4, 5
SW_CPU_CLOCK, SW_TASK_CLOCK, SW_DUMMY, SW_BPF_OUTPUT = 0, 1, 9, 10
SAMPLE_TIME, SAMPLE_RAW = 1 << 2, 1 << 10
_FLAG_CLOEXEC = 1 << 3
_DISABLED, _EXCLUDE_KERNEL, _FREQ = 1 << 0, 1 << 5, 1 << 10
_INHERIT, _INHERIT_THREAD = 1 << 1, 1 << 35
# mmap, comm, task, sample_id_all, mmap2, comm_exec, use_clockid (4.1); CLOCK_REALTIME is clock 0
_MAPPINGS = 1 << 8 | 1 << 9 | 1 << 13 | 1 << 18 | 1 << 23 | 1 << 24 | 1 << 25
# _IO('$', n) and _IOW('$', 8, __u32)
_ENABLE, _DISABLE, _SET_BPF = 0x2400, 0x2401, 0x40042408

# PERF_ATTR_SIZE_VER5: up to `sample_max_stack`; nothing newer is needed
_ATTR = Struct("=IIQQQQQIIQQQQIiQII")


def perf_event_open(
    *,
    type: int,
    config: int = 0,
    period: int = 0,
    frequency: int = 0,
    sample_type: int = 0,
    config1: int = 0,
    config2: int = 0,
    breakpoint: int = 0,
    wakeup: int = 0,
    exclude_kernel: bool = False,
    inherit_thread: bool = False,
    mappings: bool = False,
    disabled: bool = False,
    pid: int = -1,
    cpu: int = -1,
) -> int:
    """Open one event: its fd, or minus the errno.

    `frequency` (Hz) wins over `period`. `config1`/`config2` are also breakpoint address and length, or path
    and offset of a dynamic probe. `inherit_thread`: threads that `pid` starts later count too (since 5.13).
    `wakeup` is the number of events per wake-up of a reader. `mappings` asks for a record of each mapping of code, fork
    and exec, with `sample_type` at its end; times are of CLOCK_REALTIME.
    """
    bits = (
        disabled * _DISABLED
        | exclude_kernel * _EXCLUDE_KERNEL
        | bool(frequency) * _FREQ
        | bool(inherit_thread) * (_INHERIT | _INHERIT_THREAD)
        | mappings * _MAPPINGS
    )
    attr = _ATTR.pack(
        type, _ATTR.size, config, frequency or period, sample_type, 0, bits, wakeup, breakpoint, config1, config2,
        0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    return _call.perf_event_open(attr, pid, cpu, -1, _FLAG_CLOEXEC)


def perf_probe_open(
    *, pmu: int, is_return_bit: int, is_return: bool, name: str | None, where: int, pid: int, cpu: int, ref_ctr: int = 0
) -> int:
    """Open a kprobe or uprobe through its dynamic PMU (since 4.17): the fd, or minus the errno.

    `name` is a kernel symbol or a file; `where` the offset in it, or the kernel address when `name` is None.
    `ref_ctr` is the file offset of a USDT semaphore.
    """
    text = name.encode("utf-8", "surrogateescape") + b"\0" if name else b""
    config = (1 << is_return_bit if is_return else 0) | ref_ctr << 32
    return perf_event_open(type=pmu, config=config, config1=address(text), config2=where, pid=pid, cpu=cpu)


def perf_pmu(name: str) -> int | None:
    """Type number of a PMU ("kprobe", "uprobe"), or None where this kernel lacks it."""
    try:
        with open(f"/sys/bus/event_source/devices/{name}/type", "rb") as file:
            return int(file.read())
    except FileNotFoundError:
        return None


def perf_return_bit(name: str) -> int:
    """Which bit of `config` asks for a return probe of PMU `name`; 0 on every kernel so far."""
    try:
        with open(f"/sys/bus/event_source/devices/{name}/format/retprobe", "rb") as file:
            return int(file.read().rpartition(b":")[2])
    except (OSError, ValueError):
        return 0


def perf_set_bpf(event_fd: int, prog_fd: int) -> int:
    """Attach a program to an event: 0, or minus the errno."""
    return _call.ioctl(event_fd, _SET_BPF, prog_fd)


def perf_enable(event_fd: int) -> None:
    """Start an event."""
    result = _call.ioctl(event_fd, _ENABLE)
    if result < 0:
        raise error("ioctl(PERF_EVENT_IOC_ENABLE)", -result)


def perf_disable(event_fd: int) -> None:
    """Stop an event."""
    result = _call.ioctl(event_fd, _DISABLE)
    if result < 0:
        raise error("ioctl(PERF_EVENT_IOC_DISABLE)", -result)
