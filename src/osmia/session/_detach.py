"""Closing many links at once."""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._target import Link

WORKERS = 32


def close_all(links: Sequence[Link]) -> None:
    """Close links side by side: each waits for an RCU grace period (some 20 to 70 ms), which they can share."""
    todo = list(links)
    workers = min(WORKERS, len(todo))
    done = [_thread.allocate_lock() for _ in range(workers)]
    errors: list[BaseException] = []

    def work(lock: _thread.LockType) -> None:
        try:
            while todo:
                try:
                    link = todo.pop()
                except IndexError:
                    break
                link.close()
        except OSError as e:
            errors.append(e)
        finally:
            lock.release()

    for lock in done:
        lock.acquire()
        _thread.start_new_thread(work, (lock,))
    for lock in done:
        lock.acquire()
    if errors:
        raise errors[0]
