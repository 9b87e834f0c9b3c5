"""Events of a thread's life, as tracepoints: fork, exec, exit, signals."""

from __future__ import annotations

import os
from struct import pack, unpack_from

from ..syscalls import ptrace as pt
from ._context import record
from ._sources_ptrace_task import NUMBER, Tracee, read_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._sources_ptrace_loop import Loop

SIGTRAP, SIGCHLD, SIGCONT, SIGURG, SIGWINCH = 5, 17, 18, 23, 28
STOPPING = (19, 20, 21, 22)  # SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU
IGNORED = (SIGCHLD, SIGCONT, SIGURG, SIGWINCH)  # unless there is a handler
AT_EXECFN = 31
PRIORITY = 120  # of a thread with nice 0


def layout(name: str) -> tuple[dict[str, tuple[int, int]], int]:
    """Fields and size of an event's record, as scripts for user space are compiled with."""
    from ..probes import StaticTracepoints

    found = StaticTracepoints().format("signal" if name.startswith("signal") else "sched", name)
    fields = {f.name: (f.offset, f.size) for f in found.fields}
    return fields, max(offset + size for offset, size in fields.values())


class Events:
    """Event stops of one loop."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._layouts: dict[str, tuple[dict[str, tuple[int, int]], int]] = {}

    def fire(self, name: str, thread: Tracee, **values: int | bytes) -> None:
        """Run what is attached to an event."""
        fires = self.loop.wanted.events.get(name)
        if not fires:
            return
        if name not in self._layouts:
            self._layouts[name] = layout(name)
        fields, size = self._layouts[name]
        for key, value in values.items():
            # Strings behind the record end with a NUL, those in it may not.
            if isinstance(value, bytes) and fields.get(key, (0, 0))[1] == 4:
                values[key] = value + b"\0"
        known = {key: value for key, value in values.items() if key in fields}
        data = record(fields, {"common_pid": thread.pid, **known}, size=size)
        for run in fires:
            run(data, thread)

    def happened(self, thread: Tracee, event: int, signal: int) -> None:
        """An event stop of a thread."""
        loop = self.loop
        if event == pt.EVENT_STOP:
            self._stopped(thread, signal)
            return
        if event in (pt.EVENT_FORK, pt.EVENT_VFORK, pt.EVENT_CLONE):
            self._forked(thread, event)
        elif event == pt.EVENT_EXEC:
            thread = self._executed(thread)
        elif event == pt.EVENT_EXIT:
            self._exits(thread)
        loop.go_on(thread)

    def _stopped(self, thread: Tracee, signal: int) -> None:
        """The first stop, one that we asked for, or a stop of the whole process by a signal (group-stop)."""
        loop = self.loop
        if thread.fresh:
            thread.fresh = False
            if thread.born:
                self._returns_from_fork(thread)
        if thread.asked and signal == SIGTRAP:
            thread.asked = False
            loop.note_again(thread)
        if thread.sample:
            loop.take_sample(thread)
        if signal in STOPPING:
            pt.ptrace(pt.LISTEN, thread.pid)  # it stays stopped until SIGCONT, as it would without us
        else:
            loop.go_on(thread)

    def _forked(self, parent: Tracee, event: int) -> None:
        loop = self.loop
        tid = pt.event_message(parent.pid)
        if not tid:
            return
        waits = loop.claim(tid)
        child = loop.threads.get(tid) or loop.add(tid)
        child.born = True
        loop.breakpoints.forked(parent, child, event)
        self.fire(
            "sched_process_fork", parent, parent_comm=parent.name, parent_pid=parent.pid, child_comm=child.name,
            child_pid=tid,
        )  # fmt: skip
        if waits:
            loop.backlog.append((tid, waits))

    def _returns_from_fork(self, child: Tracee) -> None:
        """The child's own return from the system call: ptrace has no stop for it, the kernel's tracepoint is hit."""
        loop = self.loop
        wanted = loop.wanted
        if not wanted.leave and not wanted.raw_leave:
            return
        registers = loop.registers
        if registers.get(child.pid) < 0:
            return
        number = registers.words[NUMBER]
        fires = wanted.leave.get(number, wanted.raw_leave)
        data = pack("<HBBiQq", 0, 0, 0, child.pid, number, 0)
        for run in fires:
            run(data, child)

    def _executed(self, thread: Tracee) -> Tracee:
        """All other threads are gone; the one that called exec has the process' id from now on."""
        loop = self.loop
        former = pt.event_message(thread.pid) or thread.pid
        if former != thread.pid and former in loop.threads:
            caller = loop.threads.pop(former)
            if loop.native is not None:
                loop.native.move(former, thread.pid, caller.wanted)
            thread.wanted, thread.resume = caller.wanted, caller.resume
            caller.close()
        for other in [t for t in loop.threads.values() if t.tgid == thread.tgid and t is not thread]:
            loop.drop(other)
        thread.exiting = False
        thread.stepping, thread.held = None, []
        thread.owner.forget()
        thread.refresh()
        loop.breakpoints.executed(thread)
        self._warn_of_setuid(thread)
        if "sched_process_exec" in loop.wanted.events:
            self.fire("sched_process_exec", thread, filename=executed_name(thread), pid=thread.pid, old_pid=former)
        return thread

    def _warn_of_setuid(self, thread: Tracee) -> None:
        if not os.getuid():
            return
        try:
            found = os.stat(f"/proc/{thread.pid}/exe")
        except OSError:
            return
        if found.st_mode & 0o4000 and found.st_uid != thread.uid:
            self.loop.warn(
                f"{os.readlink(f'/proc/{thread.pid}/exe')} is a setuid program: traced by an ordinary user it runs "
                "without its privileges"
            )

    def _exits(self, thread: Tracee) -> None:
        thread.exiting = True
        alone = not any(t.tgid == thread.tgid and not t.exiting for t in self.loop.threads.values())
        self.fire("sched_process_exit", thread, comm=thread.name, pid=thread.pid, prio=PRIORITY, group_dead=int(alone))

    def ended(self, thread: Tracee) -> None:
        """A thread is gone. A killed one may not have stopped on its way out."""
        if not thread.exiting:
            self._exits(thread)
        self.loop.drop(thread)

    def signal(self, thread: Tracee, number: int) -> None:
        """A signal that is about to be delivered."""
        wanted = self.loop.wanted.events
        if "signal_deliver" not in wanted and "signal_generate" not in wanted:
            return
        info = pt.get_siginfo(thread.pid)
        if len(info) < 12:
            return
        _, error, code = unpack_from("<iii", info)
        if "signal_generate" in wanted:
            # The kernel tells of it in the sender; we hear of it late, and only when the signal was not lost.
            sender = self.loop.threads.get(unpack_from("<i", info, 16)[0]) if code <= 0 else None
            self.fire(
                "signal_generate", sender or thread, sig=number, errno=error, code=code, comm=thread.name,
                pid=thread.pid, group=int(code != -6), result=0,
            )  # fmt: skip
        # Without us, a signal that nobody cares for would not have been delivered.
        if "signal_deliver" in wanted and not _is_ignored(thread.pid, number):
            self.fire("signal_deliver", thread, sig=number, errno=error, code=code, sa_handler=0, sa_flags=0)


def _is_ignored(tid: int, number: int) -> bool:
    status = read_status(tid)
    bit = 1 << number - 1
    if int(status.get("SigIgn", "0"), 16) & bit:
        return True
    return number in IGNORED and not int(status.get("SigCgt", "0"), 16) & bit


def executed_name(thread: Tracee) -> bytes:
    """The path that was given to exec: the kernel leaves it on the new stack (AT_EXECFN)."""
    try:
        with open(f"/proc/{thread.pid}/auxv", "rb") as file:
            entries = file.read()
        for at in range(0, len(entries) - 15, 16):
            kind, value = unpack_from("<QQ", entries, at)
            if kind == AT_EXECFN:
                return thread.read_string(value, 4096)
    except OSError:
        return b""
    return b""
