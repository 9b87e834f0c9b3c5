"""Detach many programs without making the user wait for it.

Closing a perf event on a tracepoint, kprobe or uprobe waits for an RCU grace period, some 70 ms, with a lock held:
threads do not help (measured: 20 tracepoints take 1.5 s, 0.8 s with threads, and so does leaving it to exit). So
past a few, the fds are left to a process that has nothing else: it holds them until we have closed ours, ends, and
the kernel does the rest.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._link import Link

_SLOW = ("tracepoint", "kprobe", "kretprobe", "uprobe", "uretprobe", "usdt")
# So many are closed at once, by ourselves: when `close` returns nothing of them is left.
PATIENCE = 6


def close_links(links: list[Link]) -> None:
    """Detach all. More than `PATIENCE` slow ones are detached in the background (their programs may run until then)."""
    slow = [link for link in links if link.point.provider in _SLOW and link.fds]
    keeper = -1
    if len(slow) > PATIENCE:
        keeper = _start_keeper([fd for link in slow for fd in link.fds])
    try:
        for link in links:
            link.close()
    finally:
        if keeper >= 0:
            os.close(keeper)


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
