"""How to ask the kernel whether it has a feature: True, False, or None when the answer says neither."""

from __future__ import annotations

import os
from struct import pack

from .. import syscalls
from ..errors import BtfError, KernelError, OsmiaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SYSCALL = 31
_RAW_TP, _TRACEPOINT, _KPROBE, _PERF_EVENT, _TRACING, _LSM, _XDP, _SCHED_CLS = 17, 5, 2, 7, 26, 29, 6, 3
_DENIED = (-1, -13)
_BAD_FD = (1 << 31) - 1


def _ins(op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return pack("<BBhi", op, dst | src << 4, off, imm)


_RETURN_0 = _ins(0xB7) + _ins(0x95)
# Attach types that a program type cannot be loaded without.
_ATTACH = {18: 10, 25: 21, 30: 36, 32: 45}
_SLEEPABLE = 1 << 4

# What the verifier says about a helper that it does not know, or not for this program type (5.4 to 6.18).
_NO_HELPER = ("invalid func ", "unknown func ", "program of this type cannot use helper")


def _try(
    type: int, insns: bytes = _RETURN_0, *, attach_type: int = 0, flags: int = 0, btf_id: int = 0
) -> tuple[int, str]:
    """(fd or minus the errno, verifier log) of loading a program."""
    log = syscalls.buffer(1 << 16)
    version = 0
    if type == _KPROBE and syscalls.kernel_version() < (5, 0, 0):
        major, minor, patch = syscalls.kernel_version()
        version = major << 16 | minor << 8 | min(patch, 255)
    fd = syscalls.prog_load(
        type=type, insns=insns, attach_type=attach_type, flags=flags, version=version, attach_btf_id=btf_id,
        log_level=1, log=log,
    )  # fmt: skip
    text: str = log.value.decode(errors="replace")
    return fd, text


def _loads(type: int, insns: bytes = _RETURN_0, *, attach_type: int = 0, btf_id: int = 0) -> bool | None:
    # Without a log: that of a large program would not fit.
    fd = syscalls.prog_load(type=type, insns=insns, attach_type=attach_type, attach_btf_id=btf_id)
    if fd >= 0:
        os.close(fd)
        return True
    return _refused(fd)


last_denial = 0  # errno, since `probe_feature` set it to 0


def _refused(errno: int) -> bool | None:
    """A denial says nothing about the feature, unless we hold all that can be held: then nothing makes it work."""
    global last_denial
    if errno in _DENIED:
        last_denial = -errno
    if errno in _DENIED and not all(map(syscalls.has_capability, ("CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"))):
        return None
    return False


def program_type(type: int) -> bool | None:
    """Programs of this type: a refusal by the verifier, with a log, shows that the type is known."""
    fd, log = _try(type, attach_type=_ATTACH.get(type, 0), flags=_SLEEPABLE if type == 31 else 0)
    if fd >= 0:
        os.close(fd)
        return True
    if log or fd == -524:
        return True
    # Types that the kernel lacks are EINVAL. A denial is none: it may be for this program alone.
    return None if _refused(fd) is None or fd != -22 else False


def helper(type: int, id: int) -> bool | None:
    """Whether the verifier lets programs of `type` call helper `id`; that the arguments are wrong does not matter."""
    attach_type = _ATTACH.get(type, 0)
    btf_id = 0
    if type in (_TRACING, _LSM):
        # Of what they can be attached to, iterators ask least of the kernel; LSM programs have but one way.
        attach_type, function = (27, "bpf_lsm_file_open") if type == _LSM else (28, "bpf_iter_task")
        btf_id = _btf_id(function) or 0
    flags = _SLEEPABLE if type == _SYSCALL else 0
    fd, log = _try(type, _ins(0x85, imm=id) + _RETURN_0, attach_type=attach_type, btf_id=btf_id, flags=flags)
    if fd >= 0:
        os.close(fd)
        return True
    if not log:
        return _refused(fd) if fd in _DENIED else None
    if "call " not in log and "func" not in log:
        return None  # it was refused for something else: struct_ops, for one, wants an operation to implement
    return not any(text in log for text in _NO_HELPER)


# type: key size, value size, entries, flags; hash-like 4, 4, 1, 0 otherwise
_SHAPES: dict[int, tuple[int, int, int, int]] = {
    7: (4, 8, 1, 0), 11: (8, 4, 1, 1), 19: (8, 8, 0, 0), 20: (4, 8, 1, 0), 21: (8, 8, 0, 0), 22: (0, 4, 1, 0),
    23: (0, 4, 1, 0), 24: (4, 4, 0, 1), 27: (0, 0, 4096, 0), 28: (4, 4, 0, 1), 29: (4, 4, 0, 1), 30: (0, 4, 1, 0),
    31: (0, 0, 4096, 0), 32: (4, 4, 0, 1), 33: (0, 0, 1, 1 << 10),
}  # fmt: skip
_LOCAL_STORAGE = (24, 28, 29, 32)
_STRUCT_OPS_MAP = 26
# BTF with one type, a signed 32-bit integer "int"; local storage maps are not created without types
_INT_BTF = pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 16, 16, 5) + pack("<IIII", 1, 1 << 24, 4, 1 << 24 | 32) + b"\0int\0"


def map_type(type: int) -> bool | None:
    """Maps of this type."""
    key, value, entries, flags = _SHAPES.get(type, (4, 4, 1, 0))
    inner = btf = -1
    try:
        # Without what it is made of, the kernel would refuse the map whatever its type.
        if type in (12, 13):
            inner = syscalls.map_create(type=2, key_size=4, value_size=4, max_entries=1)
            if inner < 0:
                return _refused(inner)
        if type in _LOCAL_STORAGE:
            btf = syscalls.btf_load(_INT_BTF)
            if btf < 0:
                return _refused(btf)
        types = int(btf >= 0)
        fd = syscalls.map_create(
            type=type, key_size=key, value_size=value, max_entries=entries, flags=flags, inner_map_fd=max(inner, 0),
            btf_fd=max(btf, 0), key_type=types, value_type=types, vmlinux_value_type=int(type == _STRUCT_OPS_MAP),
        )  # fmt: skip
    finally:
        for held in (inner, btf):
            if held >= 0:
                os.close(held)
    if fd >= 0:
        os.close(fd)
        return True
    if type == _STRUCT_OPS_MAP and fd == -524:
        return True  # type 1 of the kernel's BTF is no struct_ops, and it looked
    return False if fd == -22 else None


def bpf_syscall() -> bool | None:
    """bpf(2) itself: anything but ENOSYS."""
    fd = syscalls.map_create(type=0, key_size=0, value_size=0, max_entries=0)
    if fd >= 0:
        os.close(fd)
    return fd != -38


def kernel_btf() -> bool | None:
    """Types of the kernel in /sys/kernel/btf/vmlinux."""
    return os.access("/sys/kernel/btf/vmlinux", os.R_OK)


def btf_load() -> bool | None:
    """BPF_BTF_LOAD."""
    fd = syscalls.btf_load(_INT_BTF)
    if fd >= 0:
        os.close(fd)
        return True
    return _refused(fd)


def tracefs() -> bool | None:
    """tracefs, mounted or to be mounted."""
    try:
        return bool(syscalls.tracefs())
    except KernelError as error:
        return None if error.errno in (1, 13) else False


def token() -> bool | None:
    """BPF_TOKEN_CREATE: with a bad fd, a kernel that knows the command says EBADF."""
    try:
        syscalls.token_create(_BAD_FD)
    except KernelError as error:
        return {9: True, 22: False}.get(error.errno)
    return None


def run_stats() -> bool | None:
    """BPF_ENABLE_STATS."""
    try:
        os.close(syscalls.enable_stats())
    except KernelError as error:
        return None if error.errno in (1, 13) else False
    return True


def _with_program(
    type: int, ask: Callable[[int], bool | None], *, attach_type: int = 0, btf_id: int = 0
) -> bool | None:
    fd, log = _try(type, attach_type=attach_type, btf_id=btf_id)
    if fd < 0:
        return _refused(fd) if not log else False
    try:
        return ask(fd)
    finally:
        os.close(fd)


def _link_answer(result: int, known: tuple[int, ...]) -> bool | None:
    """What creating a link with wrong arguments tells: one of the `known` errors means that they were understood."""
    if result >= 0:
        os.close(result)
        return True
    if -result in known:
        return True
    return _refused(result) if result in (-22, -95, -524, -38, *_DENIED) else None


def test_run_raw_tp() -> bool | None:
    """BPF_PROG_TEST_RUN of raw tracepoint programs."""

    def ask(fd: int) -> bool:
        try:
            syscalls.prog_test_run(fd)
        except KernelError:
            return False
        return True

    return _with_program(_RAW_TP, ask)


def _with_map(ask: Callable[[int], bool | None], type: int = 1, flags: int = 0) -> bool | None:
    fd = syscalls.map_create(type=type, key_size=4, value_size=4, max_entries=1, flags=flags)
    if fd < 0:
        return _refused(fd)
    try:
        return ask(fd)
    finally:
        os.close(fd)


def map_batch() -> bool | None:
    """Batch commands on hash maps."""
    return _with_map(lambda fd: syscalls.MapBatch(fd, 4, 4, 4).read() >= 0)


def map_freeze() -> bool | None:
    """BPF_MAP_FREEZE."""

    def ask(fd: int) -> bool:
        try:
            syscalls.map_freeze(fd)
        except KernelError:
            return False
        return True

    return _with_map(ask, 2)


def map_mmap() -> bool | None:
    """Array maps that can be mapped into memory (BPF_F_MMAPABLE)."""
    return _with_map(lambda _: True, 2, 1 << 10)


def hash_take() -> bool | None:
    """Lookup-and-delete on hash maps."""

    def ask(fd: int) -> bool:
        try:
            return syscalls.map_lookup_and_delete(fd, bytes(4), 4) is None
        except KernelError:
            return False

    return _with_map(ask)


def bounded_loops() -> bool | None:
    """A loop of ten turns."""
    return _loads(_RAW_TP, _ins(0xB7) + _ins(0x07, imm=1) + _ins(0xA5, off=-2, imm=10) + _RETURN_0)


def large_programs() -> bool | None:
    """5,000 instructions."""
    return _loads(_RAW_TP, _ins(0xB7) * 5000 + _RETURN_0)


def atomics() -> bool | None:
    """atomic_cmpxchg on the stack."""
    return _loads(
        _RAW_TP, _ins(0x7A, 10, off=-8) + _ins(0xB7) + _ins(0xB7, 1) + _ins(0xDB, 10, 1, -8, 0xF1) + _RETURN_0
    )


def isa_v4() -> bool | None:
    """Sign-extending move."""
    return _loads(_RAW_TP, _ins(0xB7, 1) + _ins(0xBF, 0, 1, 8) + _RETURN_0)


def kfuncs() -> bool | None:
    """Calls of kernel functions by BTF id: older kernels say that the field must be zero."""
    fd, log = _try(_RAW_TP, _ins(0x85, 0, 2, 0, 1) + _RETURN_0)
    if fd >= 0:
        os.close(fd)
        return True
    return "reserved fields" not in log if log else None


def perf_link() -> bool | None:
    """BPF_LINK_CREATE on perf events."""
    return _with_program(_TRACEPOINT, lambda fd: _link_answer(syscalls.link_perf_event(fd, _BAD_FD), (9,)))


def raw_tp_cookie() -> bool | None:
    """A cookie on a raw tracepoint that hardly ever fires."""
    return _with_program(
        _RAW_TP, lambda fd: _link_answer(syscalls.raw_tracepoint_open(fd, "sched_process_exec", 1), ())
    )


def _btf_id(name: str, kind: int = 12) -> int | None:
    from ..btf import load_kernel_btf

    try:
        return load_kernel_btf().find(name, kind)
    except BtfError:
        return None


def tp_btf() -> bool | None:
    """Loading a program for a raw tracepoint with typed arguments."""
    id = _btf_id("btf_trace_sched_switch", 8)
    if id is None:
        return False
    return _loads(_TRACING, attach_type=23, btf_id=id)


def _attaches(type: int, attach_type: int, function: str) -> bool | None:
    id = _btf_id(function)
    if id is None:
        return False
    return _with_program(
        type, lambda fd: _link_answer(syscalls.link_tracing(fd, attach_type), ()), attach_type=attach_type, btf_id=id
    )


def fentry() -> bool | None:
    """Attaching to the function that the kernel keeps for such tests."""
    return _attaches(_TRACING, 24, "bpf_fentry_test1")


def lsm_attach() -> bool | None:
    """Attaching to a hook that is rarely called."""
    return _attaches(_LSM, 27, "bpf_lsm_quotactl")


def iterators() -> bool | None:
    """A link for a task iterator."""
    id = _btf_id("bpf_iter_task")
    if id is None:
        return False
    return _with_program(_TRACING, lambda fd: _link_answer(syscalls.link_iter(fd), ()), attach_type=28, btf_id=id)


def kprobe_pmu() -> bool | None:
    """The dynamic PMU of kprobes."""
    return syscalls.perf_pmu("kprobe") is not None


def uprobe_pmu() -> bool | None:
    """The dynamic PMU of uprobes."""
    return syscalls.perf_pmu("uprobe") is not None


def uprobe_ref_ctr() -> bool | None:
    """Reference counters (semaphores) of uprobes."""
    return os.path.exists("/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset")


def kprobe_multi() -> bool | None:
    """A multi link on a function that does not exist: ESRCH from a kernel that looked for it."""
    return _with_program(
        _KPROBE,
        lambda fd: _link_answer(syscalls.link_kprobe_multi(fd, symbols=("osmia_no_such_function",)), (2, 3)),
        attach_type=syscalls.TRACE_KPROBE_MULTI,
    )


def kprobe_session() -> bool | None:
    """The same with one program for entry and return."""
    return _with_program(
        _KPROBE,
        lambda fd: _link_answer(
            syscalls.link_kprobe_multi(fd, symbols=("osmia_no_such_function",), session=True), (2, 3)
        ),
        attach_type=syscalls.TRACE_KPROBE_SESSION,
    )


def uprobe_multi() -> bool | None:
    """A multi link on a directory: EBADF from a kernel that looked at it."""
    return _with_program(
        _KPROBE,
        lambda fd: _link_answer(syscalls.link_uprobe_multi(fd, path="/", offsets=(0,)), (9,)),
        attach_type=syscalls.TRACE_UPROBE_MULTI,
    )


def tcx() -> bool | None:
    """A tcx link on an interface that does not exist."""
    return _with_program(
        _SCHED_CLS,
        lambda fd: _link_answer(syscalls.link_create(fd, _BAD_FD, syscalls.TCX_INGRESS, 0, bytes(16)), (19,)),
    )


def xdp_link() -> bool | None:
    """An XDP link on an interface that does not exist: ENODEV; EINVAL says nothing, older kernels say the same."""

    def ask(fd: int) -> bool | None:
        result = syscalls.link_create(fd, _BAD_FD, syscalls.ATTACH_XDP, 0)
        if result == -22:
            return syscalls.kernel_version() >= (5, 9, 0)
        return _link_answer(result, (19,))

    return _with_program(_XDP, ask, attach_type=syscalls.ATTACH_XDP)


def _opens(**event: int) -> bool | None:
    fd = syscalls.perf_event_open(pid=0, **event)  # type: ignore[arg-type]
    if fd >= 0:
        os.close(fd)
        return True
    return _refused(fd)


def software_events() -> bool | None:
    """The CPU clock."""
    return _opens(type=syscalls.TYPE_SOFTWARE, config=syscalls.SW_CPU_CLOCK, period=1 << 30)


def hardware_events() -> bool | None:
    """Counting cycles."""
    return _opens(type=syscalls.TYPE_HARDWARE, config=0, period=1 << 40)


def breakpoints() -> bool | None:
    """Watching a word of our own memory."""
    word = syscalls.buffer(16)
    where = (syscalls.address(word) + 7) & ~7
    try:
        return _opens(type=syscalls.TYPE_BREAKPOINT, breakpoint=2, config1=where, config2=8, period=1)
    except OsmiaError:
        return None
