"""`interval` probes: a thread that fires them by the clock."""

from __future__ import annotations

import _thread
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import AttachPoint
    from ._sources import Hook, Hooks


class TimerSource:
    """Fires each `interval` when its time has come; one that was missed is not made up for, as with the kernel's."""

    needs_process = False

    def __init__(self) -> None:
        self._hooks: Hooks | None = None
        self._done = _thread.allocate_lock()
        self._wake = (-1, -1)

    def wants(self, point: AttachPoint) -> bool:
        """Whether it is an interval."""
        return point.provider == "interval"

    def start(self, hooks: Hooks, pid: int) -> None:
        """Begin; the first of each fires after its period."""
        self._hooks = hooks
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._done.acquire()
        _thread.start_new_thread(self._run, (hooks,))

    def changed(self) -> None:
        """Look at what is attached again."""
        if self._wake[1] >= 0:
            os.write(self._wake[1], b"c")

    def _run(self, hooks: Hooks) -> None:
        from select import select

        due: dict[int, tuple[float, Hook]] = {}
        try:
            while True:
                now = time.monotonic()
                mine = {id(hook): hook for hook in hooks.attached if self.wants(hook.point)}
                due = {key: due.get(key, (now + hook.point.period / 1e9, hook)) for key, hook in mine.items()}
                limit = min((at for at, _ in due.values()), default=now + 3600.0) - now
                if select([self._wake[0]], [], [], max(limit, 0.0))[0] and b"s" in os.read(self._wake[0], 64):
                    return
                now = time.monotonic()
                for key, (at, hook) in due.items():
                    if now >= at:
                        hook.fire(bytes(184))
                        period = hook.point.period / 1e9
                        due[key] = (max(at + period, now), hook)
        except BaseException as error:
            hooks.fail(error)
        finally:
            self._done.release()

    def stop(self) -> None:
        """End the thread."""
        if self._hooks is None:
            return
        self._hooks = None
        os.write(self._wake[1], b"s")
        self._done.acquire()
        for fd in self._wake:
            os.close(fd)
        self._wake = (-1, -1)
