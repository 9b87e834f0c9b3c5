"""ptrace(2), waitpid and what goes with them: registers, system call information, seccomp filters, a thread's timer.

All calls on a tracee have to come from the thread that seized it: the kernel knows tracers by thread. Functions return
0 or minus an errno; ESRCH (3) is what a tracee gives that is not stopped, or was killed a moment ago.

Requests are made without releasing the interpreter lock (they never wait); only `wait` releases it.
"""

from __future__ import annotations

from ctypes import (
    CDLL,
    POINTER,
    PyDLL,
    Structure,
    addressof,
    byref,
    c_char,
    c_int,
    c_long,
    c_ubyte,
    c_uint64,
    c_void_p,
    get_errno,
    sizeof,
)
from struct import pack

from ._call import MACHINE, address, buffer, error, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# linux/ptrace.h
CONT, SINGLESTEP, DETACH, SYSCALL = 7, 9, 17, 24
GETEVENTMSG, GETSIGINFO, SETSIGINFO, GETREGSET, SETREGSET = 0x4201, 0x4202, 0x4203, 0x4204, 0x4205
SEIZE, INTERRUPT, LISTEN, GET_SYSCALL_INFO = 0x4206, 0x4207, 0x4208, 0x420E
O_TRACESYSGOOD, O_TRACEFORK, O_TRACEVFORK, O_TRACECLONE, O_TRACEEXEC = 1, 2, 4, 8, 16
O_TRACEEXIT, O_TRACESECCOMP, O_EXITKILL = 0x40, 0x80, 0x100000
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_VFORK_DONE, EVENT_EXIT, EVENT_SECCOMP = 1, 2, 3, 4, 5, 6, 7
EVENT_STOP = 128
ENTRY, EXIT, AT_SECCOMP = 1, 2, 3  # ptrace_syscall_info.op

# linux/wait.h: children of any kind, of this thread alone
WNOHANG, WALL, WNOTHREAD = 1, 0x40000000, 0x20000000
WAIT_FLAGS = WALL | WNOTHREAD

# struct ptrace_syscall_info, in words: 0 op and audit architecture, 1 ip, 2 sp, then
# 3 number, 4 to 9 arguments (entry, seccomp) or 3 result, 4 (low byte) is_error (exit)
INFO_SIZE = 88
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(MACHINE, 0)

NT_PRSTATUS = 1
NT_ARM_SYSTEM_CALL = 0x404

_here = PyDLL(None, use_errno=True)
_libc = CDLL(None, use_errno=True)

# The same function twice: raw, for the one place where every call counts, and with errno for all others.
raw_ptrace: Callable[[int, int, int, int], int] = PyDLL(None)["ptrace"]
raw_ptrace.argtypes = (c_long, c_long, c_long, c_long)  # type: ignore[attr-defined]
raw_ptrace.restype = c_long  # type: ignore[attr-defined]
_ptrace = _here["ptrace"]
_ptrace.argtypes = (c_long, c_long, c_long, c_long)
_ptrace.restype = c_long
_waitpid = CDLL(None)["waitpid"]
_waitpid.argtypes = (c_int, c_void_p, c_int)
_waitpid.restype = c_int
_sigaction = _libc["sigaction"]


def ptrace(request: int, tid: int, where: int = 0, data: int = 0) -> int:
    """One request: 0 or what it returns, or minus an errno. No PEEK requests: their results are no error codes."""
    result: int = _ptrace(request, tid, where, data)
    return result if result >= 0 else -get_errno()


class Waiter:
    """waitpid for tracees of this thread. `status` holds what `wait` reported last."""

    def __init__(self) -> None:
        self._status = c_int()
        self.address = addressof(self._status)

    @property
    def status(self) -> int:
        return self._status.value

    def wait(self, tid: int = -1, flags: int = WAIT_FLAGS) -> int:
        """The thread that something happened to; 0: nothing (WNOHANG); -1: none is left, or a signal came."""
        result: int = _waitpid(tid, self.address, flags)
        return result

    def parts(self) -> tuple[Callable[[int, int, int], int], c_int]:
        """(waitpid, its status), for a loop that calls it as `waitpid(-1, waiter.address, WAIT_FLAGS)`."""
        return _waitpid, self._status


class _Iovec(Structure):
    _fields_ = [("base", c_void_p), ("length", c_uint64)]


class Registers:
    """A register set of a stopped thread: `words` are those of user_regs_struct (user_pt_regs on arm64)."""

    WORDS = 34 if MACHINE == "aarch64" else 27
    PT_REGS = 8 * (34 if MACHINE == "aarch64" else 21)  # bytes of struct pt_regs as BPF programs see it

    def __init__(self) -> None:
        self._buffer = (c_uint64 * self.WORDS)()
        self.words = memoryview(self._buffer).cast("B").cast("Q")
        self.bytes = self.words.cast("B")
        self._vector = _Iovec(addressof(self._buffer), sizeof(self._buffer))
        self._at = addressof(self._vector)

    def get(self, tid: int) -> int:
        """Read them: 0 or minus an errno."""
        self._vector.length = sizeof(self._buffer)
        return ptrace(GETREGSET, tid, NT_PRSTATUS, self._at)

    def set(self, tid: int) -> int:
        """Write them: 0 or minus an errno."""
        self._vector.length = sizeof(self._buffer)
        return ptrace(SETREGSET, tid, NT_PRSTATUS, self._at)

    def pt_regs(self) -> bytes:
        """struct pt_regs."""
        return bytes(self.bytes[: self.PT_REGS])


def set_system_call(tid: int, number: int) -> int:
    """arm64: the number of the system call that the thread is about to make (NT_ARM_SYSTEM_CALL)."""
    value = c_int(number)
    vector = _Iovec(addressof(value), 4)
    return ptrace(SETREGSET, tid, NT_ARM_SYSTEM_CALL, addressof(vector))


class SyscallInfo:
    """What PTRACE_GET_SYSCALL_INFO fills: `words` as 64-bit numbers, `bytes` as bytes, at `address`."""

    def __init__(self) -> None:
        self._buffer = (c_ubyte * INFO_SIZE)()
        self.address = addressof(self._buffer)
        self.bytes = memoryview(self._buffer).cast("B")
        self.words = self.bytes.cast("Q")

    def get(self, tid: int) -> int:
        """Fill it: bytes that the kernel had for us, or minus an errno (EIO: before 5.3)."""
        return ptrace(GET_SYSCALL_INFO, tid, INFO_SIZE, self.address)


_message = c_uint64()
_siginfo = (c_ubyte * 128)()


def event_message(tid: int) -> int:
    """PTRACE_GETEVENTMSG: the new thread, the former thread id or the exit status; 0 when the thread is gone."""
    if ptrace(GETEVENTMSG, tid, 0, addressof(_message)) < 0:
        return 0
    return _message.value


def get_siginfo(tid: int) -> bytes:
    """siginfo_t of a signal-delivery stop; nothing for other stops (that is how group stops are told apart)."""
    if ptrace(GETSIGINFO, tid, 0, addressof(_siginfo)) < 0:
        return b""
    return bytes(_siginfo)


def set_siginfo(tid: int, info: bytes) -> int:
    """What the signal that is injected next says about itself."""
    copy = buffer(info, 128)
    return ptrace(SETSIGINFO, tid, 0, address(copy))


def same_memory(one: int, other: int) -> bool:
    """Whether two processes share their memory (kcmp, KCMP_VM); False where the kernel cannot tell."""
    return syscall("kcmp", one, other, 1) == 0


def write_memory(pid: int, where: int, data: bytes) -> int:
    """process_vm_writev: bytes written, or minus an errno. It respects page protection."""
    local = pack("=QQ", address(data), len(data))
    remote = pack("=QQ", where, len(data))
    return syscall("process_vm_writev", pid, address(local), 1, address(remote), 1, 0)


def tgkill(pid: int, tid: int, number: int) -> int:
    """Send a signal to one thread: 0 or minus an errno."""
    return syscall("tgkill", pid, tid, number)


class _SigAction(Structure):
    _fields_ = [("handler", c_void_p), ("mask", c_char * 128), ("flags", c_int), ("restorer", c_void_p)]


_sigaction.argtypes = (c_int, POINTER(_SigAction), POINTER(_SigAction))


def _claim_signal() -> int:
    """A real-time signal that nobody uses, from now on with a handler that does nothing but interrupt system calls.

    Python's own handlers belong to the main thread; this one is `abs` of the C library.
    """
    nothing = c_void_p.from_buffer(_libc["abs"]).value
    for number in range(63, 40, -1):
        old = _SigAction()
        if _sigaction(number, None, byref(old)) or old.handler not in (None, nothing):
            continue
        new = _SigAction(handler=nothing)
        if not _sigaction(number, byref(new), None):
            return number
    raise error("sigaction", 11, "every real-time signal is in use")


class Alarm:
    """Interrupts this thread's `Waiter.wait`, at a time or at once; a context manager.

    A signal that comes between a look at the clock and the wait would be lost: after its time the alarm goes off every
    two milliseconds, until it is set anew.
    """

    _AGAIN = 2_000_000

    def __init__(self) -> None:
        import _signal  # type: ignore[import-not-found]
        import _thread

        number = _claim_signal()
        # No other signal may end up here: Python's handlers run in the main thread. But each stop sends SIGCHLD, which
        # is dropped at once when nobody handles it; were it blocked here, the main thread would wake up to drop it.
        _signal.pthread_sigmask(_signal.SIG_SETMASK, set(range(1, 65)) - {number, _signal.SIGCHLD, 32, 33})
        event = pack("=QiiI44x", 0, number, 4, _thread.get_native_id())  # SIGEV_THREAD_ID
        made = c_int()
        result = syscall("timer_create", 1, address(event), addressof(made))
        if result < 0:
            raise error("timer_create", -result)
        self._timer = made.value

    def set(self, nanoseconds: int) -> None:
        """Go off in so many nanoseconds, 0: at once; negative: never. Any thread may call it."""
        if self._timer < 0:
            return
        first = 0 if nanoseconds < 0 else max(1, nanoseconds)
        again = self._AGAIN if first else 0
        spec = pack("=QQQQ", *divmod(again, 1_000_000_000), *divmod(first, 1_000_000_000))
        syscall("timer_settime", self._timer, 0, address(spec), 0)

    def close(self) -> None:
        """Delete the timer."""
        timer, self._timer = self._timer, -1
        if timer >= 0:
            syscall("timer_delete", timer)

    def __enter__(self) -> Alarm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
