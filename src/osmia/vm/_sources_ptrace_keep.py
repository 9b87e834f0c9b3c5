"""What a command leaves behind has a filter, whose stops need a tracer: a copy of us takes over and stays with it.

A tracer hands over what is stopped: SIGSTOP stops the processes, which stay so while nobody traces them. SIGCONT lets
them go on once the copy does. Their parents see that as any stop of a job.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
from time import monotonic, sleep

from ..syscalls import has_capability
from ..syscalls import ptrace as pt
from ._sources_ptrace_begin import forget, yama
from ._sources_ptrace_events import STOPPING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._sources_ptrace_loop import Loop

SIGINT, SIGQUIT, SIGTERM, SIGKILL, SIGCONT, SIGHUP, SIGSTOP = 2, 3, 15, 9, 18, 1, 19
_ESRCH = 3
# Seconds that all threads have for stopping: in all, in one attempt, and between two.
_PATIENCE, _ATTEMPT, _PAUSE = 2.0, 0.1, 0.01
_OPTIONS = (
    pt.O_TRACEFORK | pt.O_TRACEVFORK | pt.O_TRACECLONE | pt.O_TRACEEXEC | pt.O_TRACESECCOMP | pt.O_EXITKILL
)  # fmt: skip


def hand_over(loop: Loop) -> int:
    """Let a process of its own trace all that `loop` does, which is left with nothing: its id.

    0 when it cannot be, and the loop goes on with what there is; -1 when it was refused, which ended them. To be called
    in the tracing thread, when nothing is fired any more.
    """
    if yama() and not has_capability("CAP_SYS_PTRACE"):
        return 0  # it would be no parent of theirs
    end = monotonic() + _PATIENCE
    while True:
        groups: set[int] = set()
        stopped = _stop_all(loop, groups)
        if not loop.threads and not loop.unclaimed:
            return 0
        keeper = 0
        if stopped.issuperset(loop.threads) and not loop.unclaimed and not loop.backlog:
            keeper = _fork_keeper(loop, sorted(loop.threads), groups)
        if keeper:
            return keeper
        # One waits for another that is stopped: for a child that it made by vfork. Let them get on.
        _tell(groups, SIGCONT)
        for tid in stopped.intersection(loop.threads):
            pt.ptrace(pt.CONT, tid)
        if monotonic() > end:
            return 0
        _serve(loop, _PAUSE)


def _serve(loop: Loop, seconds: float) -> None:
    """Let them go on for a while."""
    end = monotonic() + seconds
    while monotonic() < end:
        tid, status = loop.backlog.pop(0) if loop.backlog else _next_stop(loop)
        if tid > 0:
            loop.stop(tid, status)
        else:
            sleep(0.001)


def _next_stop(loop: Loop) -> tuple[int, int]:
    return loop.waiter.wait(-1, pt.WAIT_FLAGS | pt.WNOHANG), loop.waiter.status


def _tell(groups: set[int], number: int) -> None:
    for pid in groups:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # it has ended meanwhile


def _stop_all(loop: Loop, groups: set[int]) -> set[int]:
    """Stop every process, those too that are born meanwhile; threads that have stopped. `groups` gets processes."""
    stopped: set[int] = set()
    end = monotonic() + _ATTEMPT
    while monotonic() < end:
        new = {thread.tgid for thread in loop.threads.values()} - groups
        _tell(new, SIGSTOP)
        groups |= new
        if not new and not loop.unclaimed and not loop.backlog and stopped.issuperset(loop.threads):
            break
        tid, status = loop.backlog.pop(0) if loop.backlog else _next_stop(loop)
        if tid < 0:
            break
        if not tid:
            sleep(0.001)
        elif tid in loop.threads and status & 0xFF == 0x7F and status >> 16 == pt.EVENT_STOP and _signal_of(status):
            stopped.add(tid)
        else:
            stopped.discard(tid)
            loop.stop(tid, status)
    return stopped


def _signal_of(status: int) -> bool:
    """Whether a stop is that of a whole process."""
    return status >> 8 & 0x7F in STOPPING


def _fork_keeper(loop: Loop, threads: list[int], groups: set[int]) -> int:
    """Its id, -1 when it may not trace them, 0 when it cannot be made."""
    gate, opened = os.pipe()
    answer, told = os.pipe()
    try:
        child = os.fork()
    except OSError:
        for fd in (gate, opened, answer, told):
            os.close(fd)
        return 0
    if not child:
        try:
            if not os.fork():  # twice: nobody here has to wait for it
                _become_keeper(threads, groups, gate, told)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(gate)
    os.close(told)
    for tid in threads:
        pt.ptrace(pt.DETACH, tid)
        forget(loop, tid)
    os.write(opened, b"g")
    pid = int(os.read(answer, 16) or -1)
    os.close(opened)
    os.close(answer)
    return pid


def _become_keeper(threads: list[int], groups: set[int], gate: int, told: int) -> None:
    """In the copy: trace the threads once they were let go, until the last of them has ended."""
    os.setsid()
    _signal.set_wakeup_fd(-1)
    for number in (SIGINT, SIGQUIT, SIGTERM, SIGHUP):
        _signal.signal(number, _signal.SIG_DFL)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd not in (0, 1, 2, gate, told):
            os.closerange(fd, fd + 1)  # one of them was open for the list alone
    os.read(gate, 1)
    good = all(pt.ptrace(pt.SEIZE, tid, 0, _OPTIONS) in (0, -_ESRCH) for tid in threads)
    _tell(groups, SIGCONT if good else SIGKILL)
    os.write(told, str(os.getpid()).encode() if good else b"-1")
    os.close(told)
    os.close(gate)
    if good:
        _pass_on()


def _pass_on() -> None:
    waiter = pt.Waiter()
    while (tid := waiter.wait(-1, pt.WALL)) > 0:
        status = waiter.status
        if status & 0xFF != 0x7F:
            continue
        event, number = status >> 16, status >> 8 & 0x7F
        if event == pt.EVENT_STOP and number in STOPPING:
            pt.ptrace(pt.LISTEN, tid)
        else:
            pt.ptrace(pt.CONT, tid, 0, 0 if event else number)
