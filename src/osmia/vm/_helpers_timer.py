"""Timers in map values, driven by the machine's clock: `advance(machine, ns)` moves it and runs what falls due.

A timer's state is kept by its address; what the program sees of `struct bpf_timer` is 16 bytes, the first 8 not zero
once it was set up.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from ._helpers_arguments import charge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Helper, Machine

EINVAL, EBUSY, ENOMEM = 22, 16, 12
_SIZE = 384  # bytes that a timer takes here
_ABSOLUTE, _PINNED = 1, 2
_CLOCKS = (0, 1, 7)  # CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME


class Timer:
    """A timer: `due` in nanoseconds of the monotonic clock, or None."""

    __slots__ = ("callback", "due", "map", "order")

    def __init__(self, made: int) -> None:
        self.map = made
        self.callback = 0
        self.due: int | None = None
        self.order = 0


def timers(m: Machine) -> dict[int, Timer]:
    """All timers by the address of their struct bpf_timer."""
    found: dict[int, Timer] = m.data.setdefault("timers", {})
    return found


def timer_init(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    """A flag is the clock's number."""
    if r3 not in _CLOCKS:
        return -EINVAL
    known = timers(m)
    if r1 in known and m.memory.load(r1, 8):
        return -EBUSY
    # Of programs that no verifier saw: it must lie in an element of the map.
    if r1 & 7 or m.map_at(r2).element_at(r1, m) is None:
        return -EINVAL
    m.memory.store(r1, 8, r1)
    if r1 not in known and not charge(m, _SIZE):
        return -ENOMEM
    known[r1] = Timer(r2)
    return 0


def _timer(m: Machine, address: int) -> Timer | None:
    """A timer that was set up; its element may be gone meanwhile: then the value was cleared."""
    return timers(m).get(address) if m.memory.load(address, 8) else None


def timer_set_callback(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    timer = _timer(m, r1)
    if timer is None:
        return -EINVAL
    timer.callback = r2
    return 0


def timer_start(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    if r3 & ~(_ABSOLUTE | _PINNED):
        return -EINVAL
    timer = _timer(m, r1)
    if timer is None or not timer.callback:
        return -EINVAL
    m.data["timer_order"] = timer.order = m.data.get("timer_order", 0) + 1
    timer.due = r2 if r3 & _ABSOLUTE else m.world.monotonic() + r2
    queue = _queue(m)
    if len(queue) > 2 * len(timers(m)) + 64:
        queue[:] = [(t.due, t.order, at) for at, t in timers(m).items() if t.due is not None]
        heapify(queue)
    else:
        heappush(queue, (timer.due, timer.order, r1))
    return 0


def _queue(m: Machine) -> list[tuple[int, int, int]]:
    """(due, order, address) of timers that were started, as a heap; some were cancelled or started again since."""
    found: list[tuple[int, int, int]] = m.data.setdefault("timer_queue", [])
    return found


def timer_cancel(m: Machine, r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    timer = _timer(m, r1)
    if timer is None:
        return -EINVAL
    was = timer.due is not None
    timer.due = None
    return int(was)


def _next(m: Machine, until: int) -> tuple[int, Timer] | None:
    queue, known = _queue(m), timers(m)
    while queue and queue[0][0] <= until:
        due, order, address = heappop(queue)
        timer = known.get(address)
        if timer is not None and (timer.due, timer.order) == (due, order):
            return address, timer
    return None


def run_due(m: Machine, until: int | None = None) -> int:
    """Run the callbacks of timers that are due (at `until`, or now), in order: how many ran, at most 100,000."""
    limit = m.world.monotonic() if until is None else until
    done = 0
    while done < 100_000:
        found = _next(m, limit)
        if found is None:
            break
        address, timer = found
        if timer.due is not None and m.world.clock is not None:
            m.world.clock = max(m.world.clock, timer.due)
        timer.due = None
        _fire(m, address, timer)
        done += 1
    return done


def _fire(m: Machine, address: int, timer: Timer) -> None:
    """Callback of (map, key, value): the element that the timer is in."""
    if not m.memory.load(address, 8):
        return
    found = m.map_at(timer.map)
    place = found.element_at(address, m)
    if place is not None:
        m.call(timer.callback, timer.map, *place)


def advance(m: Machine, nanoseconds: int) -> int:
    """Move the machine's clock and run the timers that fall due on the way: how many ran."""
    if m.world.clock is None:
        m.world.advance(0)
    end = m.world.monotonic() + nanoseconds
    done = run_due(m, end)
    m.world.clock = end
    return done


TABLE: dict[str, Helper] = {
    "timer_init": timer_init,
    "timer_set_callback": timer_set_callback,
    "timer_start": timer_start,
    "timer_cancel": timer_cancel,
}
