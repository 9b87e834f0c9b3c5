"""Events of a process and its descendants, seen through ptrace: no privilege is needed for one's own processes.

Everything happens in one thread of ours, since the kernel knows a tracer by its thread: it seizes, waits, reads
registers and memory, and runs programs. Other threads ask it for something by `_call`. What programs write into the
ring wakes the session through the ring's own descriptor.

Whoever else of this process waits for a traced child (`os.waitpid`, `Popen.wait`) would get stops that are meant for
that thread: ask for its end with `os.waitid(..., WEXITED | WNOWAIT)`, or a pidfd.

A command that the session started is given a seccomp filter before it executes anything, so that only wanted calls
stop. A filter without a tracer fails calls with ENOSYS: such a command, and what it left behind, stays traced to its
end, with nothing more than being passed on once the session is over, and ends with this process (PTRACE_O_EXITKILL),
unless it is handed to another (`keep`).
Where no system call is wanted, the filter stops none, and what is left behind is let go. A process that was there
before (`-p`) is let go when the session ends, and goes on if we are killed, up to the first breakpoint of a uprobe.
"""

from __future__ import annotations

import _thread
import os

from ..errors import VmError
from ._sources_ptrace_wanted import serves

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..objects import AttachPoint
    from ..syscalls.ptrace import Alarm
    from ._sources import Hooks
    from ._sources_ptrace_loop import Loop

_START_LIMIT_S = 10.0
_TASKS = frozenset((35, 158))  # get_current_task, get_current_task_btf
_NAMES_TASK = _TASKS | {16}  # get_current_comm
_PLACES_TASK = frozenset((8,))  # get_smp_processor_id


class PtraceSource:
    """An event source (see `_sources.Source`) for system calls, life and death, signals, user probes and samples.

    `held` says that the process is a child of ours that waits before its exec (None: look whether it is a copy of us).
    `filtered` False does without a seccomp filter. `warn` takes texts that a person should read. With `keep`, what a
    command with a filter leaves behind is handed to a process in the background, where that may trace it.
    """

    needs_process = True
    cleans_up = True

    def __init__(
        self,
        *,
        held: bool | None = None,
        filtered: bool = True,
        warn: Callable[[str], None] | None = None,
        keep: bool = False,
    ) -> None:
        self.held = held
        self.keep = keep
        self.filtered = filtered
        self.warn = warn
        self.warnings: list[str] = []
        self._loop: Loop | None = None
        self._alarm: Alarm | None = None
        self._ended = _thread.allocate_lock()
        self._calls: list[Callable[[], None]] = []

    def wants(self, point: AttachPoint) -> bool:
        """Whether ptrace can see such events."""
        return serves(point)

    def start(self, hooks: Hooks, pid: int) -> None:
        """Trace `pid`, all its threads, and what they start. Returns when they are traced and run on.

        PermissionDenied, AttachError.
        """
        if self._loop is not None:
            raise VmError("trace a process: this source traces one already")
        if self.held is None:
            self.held = _is_copy_of_us(pid)
        started = _thread.allocate_lock()
        started.acquire()
        failed: list[BaseException] = []
        self._ended.acquire()
        _thread.start_new_thread(self._run, (hooks, pid, started, failed))
        started.acquire()
        if failed:
            self._ended.acquire()
            self._ended.release()
            self._loop = None
            raise failed[0]

    def changed(self) -> None:
        """Look at what is attached again."""
        self._call(self._reload)

    def stop(self) -> None:
        """No program runs any more. Processes go on by themselves; see above for those with a filter."""
        if self._loop is None:
            return
        self._call(self._quiet)
        if not self._loop.filtered:
            self._ended.acquire()
            self._ended.release()
        self._loop = None

    @property
    def traced(self) -> list[int]:
        """Processes that are traced now."""
        loop = self._loop
        return sorted({t.tgid for t in list(loop.threads.values())}) if loop is not None else []

    # In other threads

    def _call(self, what: Callable[[], None]) -> None:
        """Have the tracing thread do something, and wait for that."""
        loop, alarm = self._loop, self._alarm
        if loop is None or alarm is None or loop.done:
            return
        if _thread.get_ident() == self._ident:
            what()
            return
        finished = _thread.allocate_lock()
        finished.acquire()

        def run() -> None:
            try:
                what()
            finally:
                finished.release()

        loop.calls.append(run)
        alarm.set(0)
        while not finished.acquire(timeout=0.05):
            if loop.done and not self._ended.locked():
                return  # it ended before it saw the call
            alarm.set(0)

    # In the tracing thread

    def _run(self, hooks: Hooks, pid: int, started: _thread.LockType, failed: list[BaseException]) -> None:
        from ..syscalls.ptrace import Alarm
        from ._sources_ptrace_loop import Loop

        self._ident = _thread.get_ident()
        is_started = False
        try:
            with Alarm() as alarm:
                loop = Loop(hooks, self._warn)
                self._loop, self._alarm = loop, alarm
                self._begin(loop, pid)
                is_started = True
                started.release()
                loop.run(alarm)
                if not loop.filtered:
                    from ._sources_ptrace_begin import detach_all

                    detach_all(loop, alarm)
                loop.done = True
                loop.close()
        except BaseException as error:
            if is_started:
                hooks.fail(error)
            else:
                failed.append(error)
        finally:
            self._alarm = None
            if self._loop is not None:
                self._loop.done = True
            self._ended.release()
            if not is_started:
                started.release()

    def _begin(self, loop: Loop, pid: int) -> None:
        from ..syscalls import ptrace as pt
        from ._sources_ptrace_begin import seize
        from ._sources_ptrace_sample import Sampler

        if self.held:
            loop.options |= pt.O_EXITKILL
        self._pid = pid
        self._note_names(loop.hooks)
        loop.wanted.load(loop.hooks)
        seize(loop, pid)
        loop.load()
        if self.held and self.filtered:
            self._filter(loop, pid)
        self._sampler = Sampler(loop)
        self._sampler.load()

    def _note_names(self, hooks: Hooks) -> None:
        """Names and CPUs of threads are read only if some program asks for them."""
        from ._sources_ptrace_task import Tracee

        codes = [getattr(getattr(hook, "program", None), "code", None) for hook in hooks.attached]
        for need, helpers in (("named", _NAMES_TASK), ("placed", _PLACES_TASK), ("descended", _TASKS)):
            setattr(Tracee, need, any(code is None or not helpers.isdisjoint(code.helpers) for code in codes))

    def _filter(self, loop: Loop, pid: int) -> None:
        """Give the held child its filter: it is stopped, by `seize`, in the read that holds it."""
        from ..syscalls import has_capability
        from ..syscalls import ptrace as pt
        from ._sources_ptrace_filter import seccomp_filter
        from ._sources_ptrace_inject import install_filter

        thread = loop.threads.get(pid)
        if thread is None or loop.waiter.wait(pid, pt.WALL) != pid or loop.waiter.status >> 16 != pt.EVENT_STOP:
            return
        thread.asked = False
        loop.note_again(thread)
        numbers = loop.wanted.system_calls
        program = seccomp_filter(numbers, pt.AUDIT_ARCH, foreign=numbers is None)
        if install_filter(thread, loop.waiter, program, privileged=has_capability("CAP_SYS_ADMIN")):
            loop.filtered = loop.exact = True
            self._in_filter = numbers
            loop.load()
        thread.resume = loop.resume_request(thread.owner)
        loop.go_on(thread)

    def _reload(self) -> None:
        loop = self._loop
        if loop is None or loop.quiet:
            return
        from ..syscalls import ptrace as pt

        self._note_names(loop.hooks)
        loop.load()
        self._sampler.load()
        if loop.filtered and self._in_filter is not None:
            numbers = loop.wanted.system_calls
            if numbers is None or numbers - self._in_filter:
                loop.exact = False  # calls that the filter lets through: stop at all of them
        for tid, thread in loop.threads.items():
            thread.resume = loop.resume_request(thread.owner)
            thread.asked = True
            pt.ptrace(pt.INTERRUPT, tid)  # the new way to go on begins at a stop

    def _quiet(self) -> None:
        loop = self._loop
        if loop is None:
            return
        loop.settle()
        loop.quiet = True
        loop.load()
        self._sampler.load()
        if self._in_filter is not None and not self._in_filter:
            loop.filtered = False  # it lets every call through, with or without us
        if not loop.filtered:
            loop.done = True
            return
        others = {t.tgid for t in loop.threads.values()} - {self._pid}
        if not others:
            return
        keeper = self._hand_over(loop) if self.keep else 0
        if keeper < 0 or (not keeper and loop.threads):
            self._warn(
                f"{len(others)} {'process' if len(others) == 1 else 'processes'} that the command started still run: "
                "they end with the trace (a process that is traced from its start cannot be let go; -p PID can)"
            )

    def _hand_over(self, loop: Loop) -> int:
        from ._sources_ptrace_keep import hand_over

        keeper = hand_over(loop)
        if not loop.threads:
            loop.filtered, loop.done = False, True
        return keeper

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        if self.warn is not None:
            self.warn(text)

    _ident = _pid = 0
    _in_filter: set[int] | None = None


def _is_copy_of_us(pid: int) -> bool:
    """Whether the process is a child of ours that has executed nothing yet."""
    from ._sources_ptrace_task import read_status

    if int(read_status(pid).get("PPid", 0)) != os.getpid():
        return False
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as theirs, open("/proc/self/cmdline", "rb") as ours:
            return theirs.read() == ours.read()
    except OSError:
        return False
