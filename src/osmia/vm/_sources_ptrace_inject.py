"""System calls made on behalf of a stopped thread.

That is how a command that is held before its exec gets its filter, and a process with breakpoints a page for
instructions. A system call instruction has to be somewhere: that of the call which the thread is in (it is restarted
afterwards as if nothing had happened), or one in the vDSO.
"""

from __future__ import annotations

from struct import pack

from ..syscalls import MACHINE
from ..syscalls import ptrace as pt
from ._sources_ptrace_task import ARGUMENTS, NUMBER, PC, RESULT, SP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._sources_ptrace_task import Tracee

MASK = 0xFFFF_FFFF_FFFF_FFFF
PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER = 38, 1
_ARM = MACHINE == "aarch64"
CALL_INSTRUCTION = b"\x01\x00\x00\xd4" if _ARM else b"\x0f\x05"  # svc #0, syscall
_PRCTL, _SECCOMP = (167, 277) if _ARM else (157, 317)
# What a call that was interrupted has as result while its thread is stopped: -ERESTARTSYS, -ERESTARTNOINTR,
# -ERESTARTNOHAND, -ERESTART_RESTARTBLOCK. On arm64 the thread has already gone back to the instruction.
RESTARTED = tuple(MASK + 1 - n for n in (512, 513, 514, 516))
AT_CALL = _ARM
_SYSCALL_STOP = 0x857F
_SECCOMP_STOP = 0x7057F
_RED_ZONE = 256


class Injection:
    """A stopped thread that makes system calls for us; a context manager that puts everything back."""

    def __init__(self, thread: Tracee, waiter: pt.Waiter, *, instruction: int = 0) -> None:
        """`instruction` is the address of a system call instruction; 0: the thread is in a system call."""
        self.thread = thread
        self._restarts = not instruction
        self.ok = False
        self._waiter = waiter
        self._registers = pt.Registers()
        self._before: list[int] = []
        self._saved = b""
        self._at = instruction

    def __enter__(self) -> Injection:
        registers = self._registers
        if registers.get(self.thread.pid) < 0:
            return self
        self._before = list(registers.words)
        # arm64 has already gone back to the instruction where a call is restarted (do_signal).
        if self._restarts:
            self._at = self._before[PC] - (0 if _ARM else 2)
        try:
            self.ok = self.thread.read(self._at, len(CALL_INSTRUCTION)) == CALL_INSTRUCTION
        except OSError:
            self.ok = False
        return self

    def __exit__(self, *_: object) -> None:
        if not self._before:
            return
        words = list(self._before)
        if self._saved:
            self.thread.write(self._scratch(len(self._saved)), self._saved)
        if self._restarts and not _ARM and self.ok and words[RESULT] in RESTARTED[:3]:
            words[PC] -= 2
            words[RESULT] = words[NUMBER]
        self._registers.words[:] = memoryview(pack(f"<{len(words)}Q", *words)).cast("Q")
        self._registers.set(self.thread.pid)

    def _scratch(self, size: int) -> int:
        return (self._before[SP] - _RED_ZONE - size) & ~15

    def put(self, data: bytes) -> int:
        """Bytes on the thread's stack, below what it uses; their address."""
        at = self._scratch(len(data))
        self._saved = self.thread.read(at, len(data))
        self.thread.write(at, data)
        return at

    def call(self, number: int, *arguments: int) -> int:
        """Make the system call: its result, negative for an errno."""
        tid, words = self.thread.pid, self._registers.words
        words[PC] = self._at
        words[NUMBER] = number
        if not _ARM:
            words[RESULT] = number
            words[NUMBER] = MASK  # no call is to be restarted
        for place, value in zip(ARGUMENTS, (*arguments, 0, 0, 0, 0, 0, 0)):
            words[place] = value & MASK
        self._registers.set(tid)
        stops = 0
        while stops < 2:  # its entry, its exit; a filter may have it stop in between
            if pt.ptrace(pt.SYSCALL, tid) < 0 or self._waiter.wait(tid, pt.WALL) != tid:
                self.ok = False
                return -3
            if self._waiter.status == _SYSCALL_STOP:
                stops += 1
            elif self._waiter.status != _SECCOMP_STOP:
                self.ok = False  # a signal came first
                return -4
        self._registers.get(tid)
        result = words[RESULT]
        return result - (1 << 64) if result >> 63 else result


def install_filter(thread: Tracee, waiter: pt.Waiter, program: bytes, *, privileged: bool) -> bool:
    """Put a seccomp filter on a stopped thread; whether that succeeded.

    Without CAP_SYS_ADMIN the kernel asks for no_new_privs, which takes nothing away: programs that gain privileges do
    not gain them under an ordinary user's tracer either.
    """
    with Injection(thread, waiter) as work:
        if not work.ok:
            return False
        size = len(program) + 16
        at = work._scratch(size)
        work.put(pack("<H6xQ", len(program) // 8, at + 16) + program)
        if not privileged and work.call(_PRCTL, PR_SET_NO_NEW_PRIVS, 1) != 0:
            return False
        return work.ok and work.call(_SECCOMP, SET_MODE_FILTER, 0, at) == 0


def call_instruction(thread: Tracee) -> int:
    """The address of a system call instruction in the vDSO of the process, 0 when there is none."""
    try:
        with open(f"/proc/{thread.tgid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                if line.endswith("[vdso]\n"):
                    start, end = (int(word, 16) for word in line.split(" ", 1)[0].split("-"))
                    at = thread.read(start, end - start).find(CALL_INSTRUCTION)
                    return start + at if at >= 0 else 0
    except OSError:
        return 0
    return 0
