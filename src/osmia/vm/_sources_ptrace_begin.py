"""How tracing begins and ends: seizing a process, letting go of it, and why it may not be traced at all."""

from __future__ import annotations

import os
from time import monotonic

from ..errors import AttachError, PermissionDenied
from ..syscalls import ptrace as pt
from ._sources_ptrace_task import read_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..errors import OsmiaError
    from ._sources_ptrace_loop import Loop
    from ._sources_ptrace_task import Tracee

YAMA = "/proc/sys/kernel/yama/ptrace_scope"
EPERM, ESRCH = 1, 3
_PATIENCE = 2.0  # seconds that all threads together have for letting go


def seize(loop: Loop, pid: int) -> None:
    """Trace every thread of a process; they run on. AttachError, PermissionDenied."""
    new = True
    seen: set[int] = set()
    while new:  # threads may be made while we look: until a look finds none
        new = False
        for tid in _threads(pid):
            if tid in seen or tid in loop.threads:
                continue
            seen.add(tid)
            result = pt.ptrace(pt.SEIZE, tid, 0, loop.options)
            if result == 0:
                new = True
                thread = loop.add(tid, pid, int(read_status(tid).get("PPid", 0)))
                thread.fresh, thread.asked = False, True
                pt.ptrace(pt.INTERRUPT, tid)
            elif result == -EPERM and _tracer_of(tid) == os.getpid():
                new = True  # a child thread of one that we have: the kernel seized it for us
            elif result != -ESRCH or tid == pid:
                raise refused(pid, -result)
    if not loop.threads:
        raise refused(pid, ESRCH)


def _threads(pid: int) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return []


def _tracer_of(pid: int) -> int:
    return int(read_status(pid).get("TracerPid", 0) or 0)


def refused(pid: int, errno: int) -> OsmiaError:
    """Why a process cannot be traced, and the one command that helps."""
    status = read_status(pid)
    head = f"trace process {pid}"
    if not status or errno == ESRCH:
        return AttachError(f"{head}: no such process", probe="", errno=ESRCH, operation="ptrace(PTRACE_SEIZE)")
    name = status.get("Name", "").strip()
    head = f"{head} ({name})"
    tracer = _tracer_of(pid)
    if tracer:
        who = read_status(tracer).get("Name", "").strip()
        return _denied(f"{head}: process {tracer} ({who}) traces it already", f"end that tracer first: kill {tracer}")
    owner = int(status.get("Uid", "0").split()[0])
    mine = os.geteuid()
    if mine and owner != mine:
        return _denied(f"{head}: it belongs to user {owner}, we are user {mine}", f"sudo -u '#{owner}' osmia ...")
    scope = yama()
    if scope == 3:
        return _denied(f"{head}: ptrace is switched off until the next boot (Yama ptrace_scope is 3)", "use -c COMMAND")
    if scope and mine:
        return _denied(
            f"{head}: Yama's ptrace_scope is {scope}, which allows "
            + ("tracing of one's own children only" if scope == 1 else "ptrace for root only"),
            "sudo sysctl kernel.yama.ptrace_scope=0" + (", or -c COMMAND" if scope == 1 else ""),
        )
    if status.get("Kthread", "0").strip() == "1" or not os.path.exists(f"/proc/{pid}/exe"):
        return _denied(f"{head}: it is a kernel thread, or runs as another user", "use the kernel target")
    return _denied(
        f"{head}: {os.strerror(errno)} (it has gained privileges, or a security policy forbids ptrace)",
        "run as root, or with CAP_SYS_PTRACE",
    )


def _denied(message: str, hint: str) -> PermissionDenied:
    return PermissionDenied(
        message, capability="CAP_SYS_PTRACE", errno=EPERM, operation="ptrace(PTRACE_SEIZE)", hint=hint
    )


def yama() -> int:
    """Yama's ptrace_scope: 0 for none."""
    try:
        with open(YAMA, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def detach_all(loop: Loop, alarm: pt.Alarm) -> None:
    """Restore instructions and let every thread go on as it would have. Threads that the kernel does not let stop
    within two seconds are let go when the tracing thread ends."""
    loop.breakpoints.remove_all()
    for tid, status in [*loop.unclaimed.items(), *loop.backlog]:
        _let_go(loop, tid, status)
    loop.unclaimed.clear()
    loop.backlog.clear()
    for tid in list(loop.threads):
        if pt.ptrace(pt.INTERRUPT, tid) == -ESRCH and not os.path.exists(f"/proc/{tid}"):
            forget(loop, tid)
    end = monotonic() + _PATIENCE
    alarm.set(10_000_000)
    while loop.threads and monotonic() < end:
        tid = loop.waiter.wait()
        if tid > 0:
            _let_go(loop, tid, loop.waiter.status)
        else:
            for gone in [t for t in loop.threads if not os.path.exists(f"/proc/{t}")]:
                forget(loop, gone)
            if loop.threads:
                alarm.set(10_000_000)
    alarm.set(-1)
    for tid in list(loop.threads):
        forget(loop, tid)


def forget(loop: Loop, tid: int) -> None:
    """A thread is no longer ours."""
    thread: Tracee | None = loop.threads.pop(tid, None)
    if thread is not None:
        thread.close()


def _let_go(loop: Loop, tid: int, status: int) -> None:
    thread = loop.threads.get(tid)
    if status & 0xFF != 0x7F:
        forget(loop, tid)
        return
    signal = 0
    if thread is not None:
        signal = loop.breakpoints.repair(thread, status)
        if signal < 0:
            pt.ptrace(pt.CONT, tid)  # to the signal of a breakpoint that it has run into
            return
        for number, _ in thread.held:
            pt.tgkill(thread.tgid, tid, number)
    elif status >> 16:
        loop.breakpoints.restore_copy(tid)
    elif not status >> 8 & 0x80:
        signal = status >> 8 & 0x7F
    pt.ptrace(pt.DETACH, tid, 0, signal)
    forget(loop, tid)
