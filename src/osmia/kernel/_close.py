"""Detach many programs without making the user wait for it.

A perf link is closed in two steps. Closing the link stops the program, and waits for a grace period of RCU Tasks
Trace (some 50 ms, kernel commit ef1b808e3b7c, 6.13) that others can share: so links are closed side by side. Closing
the event below, where it is a tracepoint, kprobe or uprobe, waits as long with a lock held: threads do not help
(300 tracepoints take 12 s), nor does leaving it to exit. So past a few, the events are left to a process that has
nothing else: it holds them until we have closed ours, ends, and the kernel does the rest.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._link import Link

# So many links and events are closed by ourselves, one after the other.
PATIENCE = 2
_WORKERS = 128
# Events of these need no grace period.
_QUICK = ("interval", "profile", "software", "hardware", "watchpoint")


def close_links(links: list[Link]) -> None:
    """Detach all: no program runs any more. More than `PATIENCE` perf events are closed in the background."""
    # Before 5.15 there are no perf links: there the program runs until its event is closed.
    slow = [link for link in links if link.events or (link.kind == "event" and link.point.provider not in _QUICK)]
    if len(slow) > PATIENCE:
        # In this order: a process that is forked earlier would hold the links, too.
        left = _detach_together(slow)
        keeper = _start_keeper(left)
        try:
            for fd in left:
                os.close(fd)
        finally:
            if keeper >= 0:
                os.close(keeper)
    for link in links:
        link.close()


def _detach_together(links: list[Link]) -> list[int]:
    """Detach in threads; the events that are left."""
    from _thread import allocate_lock, start_new_thread

    todo = list(links)
    left: list[int] = []
    running = []

    def work(done: object) -> None:
        try:
            while todo:
                try:
                    link = todo.pop()
                except IndexError:
                    return  # another thread took the last one
                left.extend(link.detach())
        finally:
            done.release()  # type: ignore[attr-defined]

    for _ in range(min(_WORKERS, len(todo))):
        lock = allocate_lock()
        lock.acquire()
        try:
            start_new_thread(work, (lock,))
        except RuntimeError:  # no more threads: those that run do it, or we do
            break
        running.append(lock)
    for lock in running:
        lock.acquire()
    for link in todo:
        left.extend(link.detach())
    return left


def _start_keeper(fds: list[int]) -> int:
    """Fork a process of init's that holds `fds` until the returned fd is closed; -1 where no process can be made."""
    waiting, keeper = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(waiting)
        os.close(keeper)
        return -1
    if child == 0:
        _keep(fds, waiting)
    os.close(waiting)
    os.waitpid(child, 0)
    return keeper


def _keep(fds: list[int], waiting: int) -> None:
    """In the child: fork again, so that nobody has to wait for us; drop all else that is open (pipes!)."""
    try:
        if os.fork():
            os._exit(0)
        os.setsid()
        start = 0
        for fd in sorted({*fds, waiting}):
            os.closerange(start, fd)
            start = fd + 1
        os.closerange(start, os.sysconf("SC_OPEN_MAX"))
        os.read(waiting, 1)
    finally:
        os._exit(0)
