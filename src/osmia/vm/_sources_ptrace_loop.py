"""The loop of the thread that traces: waits for stops, runs what is attached there, lets threads go on.

Two ways of seeing system calls. A command that we started has a seccomp filter: only calls that somebody wants stop at
all (PTRACE_EVENT_SECCOMP), and a second time (PTRACE_SYSCALL) where their result is wanted. Any other process stops at
each call, twice.

What a stop is, by its wait status: SECCOMP and SYSCALL below, which come first as they come most; else the upper 16
bits name an event, or it is a signal on its way to the thread.
"""

from __future__ import annotations

from time import monotonic_ns

from ..syscalls import ptrace as pt
from ._breakpoints import Breakpoints
from ._sources_ptrace_events import Events
from ._sources_ptrace_inject import AT_CALL, CALL_INSTRUCTION, RESTARTED
from ._sources_ptrace_native import native_loop
from ._sources_ptrace_task import NUMBER, PC, RESULT, STALE, Process, Tracee, read_status
from ._sources_ptrace_wanted import Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._sources import Hooks
    from ._sources_ptrace_wanted import Fires

SIGTRAP = 5
SYSCALL_STOP = 0x7F | (SIGTRAP | 0x80) << 8
SECCOMP_STOP = 0x7F | SIGTRAP << 8 | pt.EVENT_SECCOMP << 16
NEVER = 1 << 63
_TIDS = 1 << 31
_SIZES = range(1, 1 << 20)  # what a successful PTRACE_GET_SYSCALL_INFO returns: bytes that the kernel had
_ANY = 1 << 62  # whichever system call comes next
_MOST = 100_000  # threads that may have stopped before the end
_LOOKS = 64  # stops between two looks at the clock while there is no rest
# After these a thread's user may be another one: setuid to setfsgid, by name.
USER_CALLS = ("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid")


class Loop:
    """All traced threads. `run` returns when `finish` was called, or there is nothing left to trace."""

    def __init__(self, hooks: Hooks, warn: Callable[[str], None]) -> None:
        self.hooks = hooks
        self.warn = warn
        self.waiter = pt.Waiter()
        self.info = pt.SyscallInfo()
        self.registers = pt.Registers()
        self.native = native_loop(self.waiter, self.info)
        self.threads: dict[int, Tracee] = {}
        self.unclaimed: dict[int, int] = {}  # threads whose parent's stop is yet to come, with their status
        self.backlog: list[tuple[int, int]] = []  # stops that came while something else was waited for
        self.wanted = Wanted()
        self.events = Events(self)
        self.breakpoints = Breakpoints(self)
        self.internal: dict[int, Callable[[Tracee], None]] = {}  # by number: run when such a call returns
        self.filtered = False  # commands have a filter, see above
        self.exact = True  # stops of the filter count; else those of PTRACE_SYSCALL
        self.options = (
            pt.O_TRACESYSGOOD | pt.O_TRACEFORK | pt.O_TRACEVFORK | pt.O_TRACECLONE | pt.O_TRACEEXEC | pt.O_TRACEEXIT
            | pt.O_TRACESECCOMP
        )  # fmt: skip
        self.calls: list[Callable[[], None]] = []  # what other threads asked for
        self.due = NEVER
        self.on_due: Callable[[int], int] = _nothing_due  # (now) -> when next
        self.done = False
        self.quiet = False  # nothing is run any more
        self.sees_calls = False
        self.take_sample: Callable[[Tracee], None] = Tracee.refresh
        self._default_enter: tuple[Callable[..., int], ...] = ()
        self._default_leave: tuple[Callable[..., int], ...] = ()

    # What is wanted

    def load(self) -> None:
        """Take over what is attached now."""
        wanted = self.wanted
        if self.quiet:
            wanted.clear()
        else:
            wanted.load(self.hooks)
        self._default_enter = wanted.raw_enter
        self._default_leave = wanted.raw_leave
        self.sees_calls = wanted.any_system_call
        if self.sees_calls:
            self._watch_users()
        self.breakpoints.load()
        if self.native is not None:
            if self.sees_calls and not (self.filtered and self.exact):
                enter = None if self._default_enter else list(wanted.enter)
                self.native.want(enter, None if self._default_leave else [*wanted.leave, *self.internal])
            else:
                self.native.want(None, None)
        for thread in self.threads.values():
            thread.resume = self.resume_request(thread.owner)

    def _watch_users(self) -> None:
        if not self.internal:
            from ..probes import traced_syscalls

            for number, name in traced_syscalls().items():
                if name in USER_CALLS:
                    self.internal[number] = Tracee.refresh
        for number in self.internal:
            self.wanted.leave.setdefault(number, self._default_leave)

    def resume_request(self, owner: Process) -> int:
        """How threads of a process go on when nothing special is awaited."""
        if self.filtered and self.exact:
            return pt.CONT
        # A process that may yet map a file with probes has to stop at its mmap calls.
        return pt.SYSCALL if self.sees_calls or (owner.unmapped and self.breakpoints.files) else pt.CONT

    # Threads

    def add(self, tid: int, tgid: int = 0, ppid: int = 0) -> Tracee:
        """A thread that we trace from now on."""
        if not tgid:
            status = read_status(tid)
            tgid, ppid = int(status.get("Tgid", tid)), int(status.get("PPid", 0))
        owner = next((t.owner for t in self.threads.values() if t.tgid == tgid), None)
        thread = Tracee(tid, owner or Process(tgid, ppid), self.registers)
        thread.resume = self.resume_request(thread.owner)
        self.threads[tid] = thread
        return thread

    def drop(self, thread: Tracee) -> None:
        """A thread that is no longer ours."""
        self.threads.pop(thread.pid, None)
        if self.native is not None:
            self.native.forget(thread.pid)
        self.breakpoints.forget(thread)
        thread.close()

    def go_on(self, thread: Tracee, signal: int = 0) -> None:
        """Let a stopped thread run, with this signal."""
        request = pt.SYSCALL if thread.wanted >= 0 else thread.resume
        pt.ptrace(request, thread.pid, 0, signal)

    def close(self) -> None:
        """Free the native code; nothing is traced any more."""
        if self.native is not None:
            self.native.close()
            self.native = None

    # The loop

    def run(self, alarm: pt.Alarm) -> None:
        """Handle stops until `done`; other threads wake it through `calls` and the alarm."""
        waitpid, status = self.waiter.parts()
        where, flags = self.waiter.address, pt.WAIT_FLAGS
        native = self.native.parts() if self.native is not None else None
        looks = 0
        if self.due != NEVER:
            alarm.set(max(0, self.due - monotonic_ns()))
        while not self.done:
            if self.calls or self.backlog:
                self._serve(alarm)
                if self.done:
                    return
            if native is not None:
                following, plan, words = native
                tid = following(plan)
                got = words[6]
            else:
                tid = waitpid(-1, where, flags)
                got = 0
            if 0 < tid < _TIDS:
                value = status.value
                thread = self.threads.get(tid)
                if thread is not None and value == SECCOMP_STOP:
                    self._at_filter(tid, thread, got)
                elif thread is not None and value == SYSCALL_STOP:
                    self._at_syscall(tid, thread, got)
                else:
                    self.stop(tid, value)
                looks += 1
                if looks < _LOOKS:
                    continue
            elif tid == 0:
                looks = 0
            elif not self.calls:
                self._nobody(alarm)
            looks = 0
            if self.due != NEVER:
                now = monotonic_ns()
                if now >= self.due:
                    self.due = self.on_due(now)
                    alarm.set(max(0, self.due - monotonic_ns()))

    def _serve(self, alarm: pt.Alarm) -> None:
        if self.calls:
            alarm.set(-1 if self.due == NEVER else max(0, self.due - monotonic_ns()))
        while self.calls:
            self.calls.pop(0)()
        while self.backlog and not self.done:
            self.stop(*self.backlog.pop(0))

    def settle(self) -> None:
        """Handle the stops that are there already: what happened before the end counts."""
        seen: set[int] = set()
        while len(seen) < _MOST:
            if self.backlog:
                tid, status = self.backlog.pop(0)
            else:
                tid = self.waiter.wait(-1, pt.WAIT_FLAGS | pt.WNOHANG)
                status = self.waiter.status
            if tid <= 0:
                return
            if tid in seen:  # it went on and came to the next
                self.backlog.insert(0, (tid, status))
                return
            seen.add(tid)
            self.stop(tid, status)

    def _nobody(self, alarm: pt.Alarm) -> None:
        """A signal came, or there is no thread to wait for: then sleep until somebody asks for something."""
        import time

        if self.threads or self.unclaimed:
            tid = self.waiter.wait(-1, pt.WAIT_FLAGS | pt.WNOHANG)
            if tid > 0:
                self.backlog.append((tid, self.waiter.status))
            if tid >= 0:
                return  # it was a signal
            # Another thread of this process has waited for the last of them.
            self.unclaimed.clear()
            for thread in list(self.threads.values()):
                self.events.ended(thread)
        if self.backlog:
            return
        wait = 0.02 if self.due == NEVER else min(0.02, max(0, self.due - monotonic_ns()) / 1e9)
        time.sleep(wait)

    def _at_filter(self, tid: int, thread: Tracee, got: int = 0) -> None:
        """A system call that the filter picked. `got` says that the information about it is there."""
        info, raw = self.info, pt.raw_ptrace
        words = info.words
        thread.stale = STALE
        if self.exact and (got or raw(pt.GET_SYSCALL_INFO, tid, pt.INFO_SIZE, info.address)) in _SIZES:
            number = words[3]
            self._entered(tid, thread, number)
            if number in self.wanted.leave or self._default_leave or number in self.internal:
                thread.wanted = number
                raw(pt.SYSCALL, tid, 0, 0)
                return
        raw(pt.SYSCALL if thread.wanted >= 0 else thread.resume, tid, 0, 0)

    def _entered(self, tid: int, thread: Tracee, number: int) -> None:
        """A system call begins, `info` tells of it: run what is attached there."""
        fires = self.wanted.enter.get(number, self._default_enter)
        if thread.again >= 0:
            fires = self._first_time(thread, number, fires)
        if fires:
            # The record of a tracepoint lies in what the kernel gave us: number, arguments; before them, in place of
            # the stack pointer, the common fields, of which only the thread is known.
            self.info.words[2] = tid << 32
            record = self.info.bytes[16:80].tobytes()
            for fire in fires:
                fire(record, thread)

    def _first_time(self, thread: Tracee, number: int, fires: Fires) -> Fires:
        """Nothing for a call that is made again only because we stopped the thread in it."""
        same, thread.again = thread.again in (number, _ANY), -1
        if self.native is not None:
            self.native.show(thread.pid, False)
        return () if same else fires

    def note_again(self, thread: Tracee) -> None:
        """The thread is stopped by us: the system call that it was in, if any, will be made again."""
        registers = self.registers
        if registers.get(thread.pid) < 0:
            return
        words = registers.words
        if AT_CALL:
            try:
                if thread.read(words[PC], 4) != CALL_INSTRUCTION:
                    return
            except OSError:
                return
            thread.again = words[NUMBER]
        elif words[NUMBER] >> 63 == 0 and words[RESULT] in RESTARTED:
            # ERESTART_RESTARTBLOCK: by restart_syscall, which is another call.
            thread.again = _ANY if words[RESULT] == RESTARTED[3] else words[NUMBER]
        if thread.again >= 0 and self.native is not None:
            self.native.show(thread.pid, True)

    def _at_syscall(self, tid: int, thread: Tracee, got: int = 0) -> None:
        """The start (where all calls stop) or the end of a system call. `got` is as above."""
        info, raw = self.info, pt.raw_ptrace
        words = info.words
        thread.stale = STALE
        if (got or raw(pt.GET_SYSCALL_INFO, tid, pt.INFO_SIZE, info.address)) in _SIZES:
            what = words[0] & 0xFF
            if what == pt.EXIT:
                number, thread.wanted = thread.wanted, -1
                if self.native is not None and not (self.filtered and self.exact):
                    known = self.native.call_of(tid)
                    number = known if known >= 0 else number
                fires = self.wanted.leave.get(number, self._default_leave) if number >= 0 else ()
                after = self.internal.get(number)
                if after is not None:
                    after(thread)
                if fires:
                    words[2], words[3], words[4] = tid << 32, number, words[3]
                    record = info.bytes[16:40].tobytes()
                    for fire in fires:
                        fire(record, thread)
            elif what == pt.ENTRY and not (self.filtered and self.exact):
                thread.wanted = words[3]
                self._entered(tid, thread, words[3])
        raw(pt.SYSCALL if thread.wanted >= 0 else thread.resume, tid, 0, 0)

    def stop(self, tid: int, status: int) -> None:
        """Any other stop, or the end of a thread."""
        thread = self.threads.get(tid)
        if thread is not None:
            thread.stale = STALE
        if status & 0xFF != 0x7F:
            if status == 0xFFFF:
                return  # continued: nobody asked for that
            self.unclaimed.pop(tid, None)
            if thread is not None:
                self.events.ended(thread)
                self._adopt()
        elif thread is None:
            # Its parent's event comes soon, and is to come first; without a parent, it never does.
            self.unclaimed[tid] = status
            if not self.threads:
                self._adopt()
        elif status == SECCOMP_STOP:
            self._at_filter(tid, thread)
        elif status == SYSCALL_STOP:
            self._at_syscall(tid, thread)
        elif thread.stepping is not None:
            self.breakpoints.stepped(thread, status)
        elif status >> 16:
            self.events.happened(thread, status >> 16, status >> 8 & 0x7F)
        else:
            self._signal(thread, status >> 8 & 0x7F)

    def _signal(self, thread: Tracee, number: int) -> None:
        if number == SIGTRAP and self.breakpoints.hit(thread):
            return
        if self.wanted.events:
            self.events.signal(thread, number)
        self.go_on(thread, number)

    def claim(self, tid: int) -> int:
        """The status with which a new thread stopped before its parent told us of it, or 0."""
        return self.unclaimed.pop(tid, 0)

    def _adopt(self) -> None:
        """A parent that died told nothing of its children: take those that wait."""
        for tid, status in list(self.unclaimed.items()):
            del self.unclaimed[tid]
            self.add(tid)
            self.backlog.append((tid, status))


def _nothing_due(_now: int) -> int:
    return NEVER
