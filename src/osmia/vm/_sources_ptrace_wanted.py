"""What is attached, sorted by the stop that makes it happen."""

from __future__ import annotations

from ._sources import key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..objects import AttachPoint
    from ._sources import Hook, Hooks, Task

    Fire = Callable[..., int]
    Fires = tuple[Fire, ...]

SCHED = ("sched_process_fork", "sched_process_exec", "sched_process_exit")
SIGNAL = ("signal_deliver", "signal_generate")


def serves(point: AttachPoint) -> bool:
    """Whether ptrace can make this happen."""
    if point.provider == "tracepoint":
        if point.target == "syscalls":
            return point.function.startswith(("sys_enter_", "sys_exit_"))
        known = {"raw_syscalls": ("sys_enter", "sys_exit"), "sched": SCHED, "signal": SIGNAL}
        return point.function in known.get(point.target, ())
    return point.provider in ("uprobe", "uretprobe", "usdt", "profile")


class Site:
    """A place in a file with probes: `offset` is in the file; `function` hooks run at it, `returns` when it returns."""

    __slots__ = ("enter", "offset", "path", "returns")

    def __init__(self, path: str, offset: int) -> None:
        self.path = path
        self.offset = offset
        self.enter: Fires = ()
        self.returns: Fires = ()


class Wanted:
    """Hooks by stop. `enter` and `leave` are by the number of the system call; they keep their identity."""

    def __init__(self) -> None:
        self.enter: dict[int, Fires] = {}
        self.leave: dict[int, Fires] = {}
        self.raw_enter: Fires = ()
        self.raw_leave: Fires = ()
        self.events: dict[str, Fires] = {}
        self.sites: dict[tuple[str, int], Site] = {}
        self.samplers: list[tuple[AttachPoint, Fire]] = []

    @property
    def system_calls(self) -> set[int] | None:
        """Numbers of the calls that have to stop, None for all."""
        return None if self.raw_enter or self.raw_leave else {*self.enter, *self.leave}

    @property
    def any_system_call(self) -> bool:
        return bool(self.enter or self.leave or self.raw_enter or self.raw_leave)

    def clear(self) -> None:
        """Nothing is wanted any more."""
        self.enter.clear()
        self.leave.clear()
        self.events.clear()
        self.sites.clear()
        self.samplers.clear()
        self.raw_enter = self.raw_leave = ()

    def load(self, hooks: Hooks) -> None:
        """Take what is attached now."""
        self.clear()
        points = {}
        for hook in hooks.attached:
            if serves(hook.point):
                points[key_of(hook.point)] = hook.point
        numbers: dict[str, int] = {}
        if any(p.target == "syscalls" for p in points.values()):
            from ..probes import traced_syscalls

            numbers = {name: number for number, name in traced_syscalls().items()}
        for key, point in points.items():
            self._add(point, tuple(h.fire for h in hooks.hooks_at(key)), numbers)
        for hook in hooks.attached:
            if hook.point.provider == "profile":
                self.samplers.append((hook.point, hook.fire))
            elif hook.point.provider in ("uprobe", "uretprobe", "usdt"):
                self._add_places(hook)
        self._spread()

    def _add(self, point: AttachPoint, fires: Fires, numbers: dict[str, int]) -> None:
        if point.provider != "tracepoint":
            return
        name = point.function
        if point.target == "syscalls":
            enters = name.startswith("sys_enter_")
            number = numbers.get(name.removeprefix("sys_enter_" if enters else "sys_exit_"), -1)
            if number >= 0:
                table = self.enter if enters else self.leave
                table[number] = fires
        elif point.target == "raw_syscalls":
            if name == "sys_enter":
                self.raw_enter = fires
            else:
                self.raw_leave = fires
        else:
            self.events[name] = fires

    def _spread(self) -> None:
        """raw_syscalls run at every call, before what is attached to that call."""
        for table, raw in ((self.enter, self.raw_enter), (self.leave, self.raw_leave)):
            if raw:
                for number in table:
                    table[number] = raw + table[number]

    def _add_places(self, hook: Hook) -> None:
        point = hook.point
        for i, offset in enumerate(point.offsets or (point.offset,)):
            site = self.sites.setdefault((point.target, offset), Site(point.target, offset))
            fire: Fire = hook.fire
            if point.offsets:
                fire = _at(hook, point.functions[i] if point.functions else offset)
            # The kernel runs what was attached last first: sessions attach these in reverse.
            if point.provider == "uretprobe":
                site.returns = (fire, *site.returns)
            else:
                site.enter = (fire, *site.enter)


def _at(hook: Hook, place: str | int) -> Fire:
    def fire(record: bytes, task: Task | None = None, *, address: int = 0) -> int:
        return hook.fire(record, task, address=address, at=place)  # type: ignore[call-arg]

    return fire
