"""The way into the kernel: libc's `syscall` through ctypes, and errno turned into Osmia's errors.

Buffers that the kernel only reads are passed as `bytes`; buffers that it writes are `ctypes` arrays. Numbers
are those of x86-64 and arm64, the two hosts that Osmia supports.
"""

from __future__ import annotations

import os
from ctypes import CDLL, addressof, c_char, c_char_p, c_int, c_long, c_void_p, create_string_buffer, get_errno

from ..errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import Array

    from ..errors import KernelError

# name: (x86_64, aarch64); from the kernel's arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl
_NUMBERS = {
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "setns": (308, 268),
    "unshare": (272, 97),
    "process_vm_readv": (310, 270),
    "capget": (125, 90),
    "membarrier": (324, 283),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "pidfd_open": (434, 434),
    "prctl": (157, 167),
    "process_vm_writev": (311, 271),
    "tgkill": (234, 131),
    "kcmp": (312, 272),
    "seccomp": (317, 277),
    "timer_create": (222, 107),
    "timer_settime": (223, 110),
    "timer_delete": (226, 111),
}
MACHINE = os.uname().machine
_COLUMN = {"x86_64": 0, "aarch64": 1}.get(MACHINE, -1)

_libc = CDLL(None, use_errno=True)


def number(name: str) -> int:
    """The number of system call `name` on this machine."""
    if _COLUMN < 0:
        raise NotSupported(f"call {name}: no system call numbers for {MACHINE}", feature=f"machine {MACHINE}")
    return _NUMBERS[name][_COLUMN]


def _prototype(*types: type) -> object:
    function = _libc["syscall"]
    function.argtypes = (c_long, *types)
    function.restype = c_long
    return function


# One function object per shape: without `argtypes` ctypes would cut 64-bit arguments to 32 bits.
_call6 = _prototype(c_long, c_long, c_long, c_long, c_long, c_long)
_call_bpf = _prototype(c_long, c_void_p, c_long)
_call_perf = _prototype(c_void_p, c_long, c_long, c_long, c_long)
_ioctl = _libc["ioctl"]
_ioctl.argtypes = (c_int, c_long, c_long)
_ioctl.restype = c_int

_NR_BPF = _NUMBERS["bpf"][max(_COLUMN, 0)]
_NR_PERF = _NUMBERS["perf_event_open"][max(_COLUMN, 0)]


def address(data: bytes | Array[c_char] | None) -> int:
    """The address of the first byte of `data` (0 for None or nothing); the caller keeps `data` alive."""
    if not data:
        return 0
    if isinstance(data, bytes):
        return c_void_p.from_buffer(c_char_p(data)).value or 0
    return addressof(data)


def syscall(name: str, *args: int) -> int:
    """Make a system call with integer arguments: its result, or minus the errno."""
    padded = args + (0,) * (6 - len(args))
    result: int = _call6(number(name), *padded)  # type: ignore[operator]
    return result if result >= 0 else -get_errno()


def bpf(command: int, attr: bytes | Array[c_char]) -> int:
    """bpf(2): the result, or minus the errno. `attr` is bytes where the kernel does not write into it."""
    while True:
        result: int = _call_bpf(_NR_BPF, command, attr, len(attr))  # type: ignore[operator]
        if result >= 0:
            return result
        errno = get_errno()
        # The verifier gives up with EAGAIN when a signal is pending (kernel commit c3494801cd17, 5.0).
        if errno != 11 or command != 5:
            return -errno


def perf_event_open(attr: bytes, pid: int, cpu: int, group_fd: int, flags: int) -> int:
    """perf_event_open(2): a file descriptor, or minus the errno."""
    result: int = _call_perf(_NR_PERF, attr, pid, cpu, group_fd, flags)  # type: ignore[operator]
    return result if result >= 0 else -get_errno()


def ioctl(fd: int, request: int, argument: int = 0) -> int:
    """ioctl(2) with an integer argument: the result, or minus the errno."""
    result: int = _ioctl(fd, request, argument)
    return result if result >= 0 else -get_errno()


def buffer(size_or_data: int | bytes, size: int = 0) -> Array[c_char]:
    """Memory that the kernel may write into, zeroed or holding a copy of the given bytes."""
    if isinstance(size_or_data, int):
        return create_string_buffer(size_or_data)
    return create_string_buffer(size_or_data, size or len(size_or_data))


def error(operation: str, errno: int, detail: str = "", capability: str = "") -> KernelError:
    """The `KernelError` or `PermissionDenied` that explains `errno` (a positive number)."""
    from ._explain import explain

    return explain(operation, errno, detail, capability)
