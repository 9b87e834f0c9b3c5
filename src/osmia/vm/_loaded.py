"""A loaded object in user space: its maps and programs, what they are attached to, and the events that reach them."""

from __future__ import annotations

from _thread import RLock

from ..errors import AttachError, NotSupported, ObjectError, UsageError
from ._attach import DIRECT, LAST_FIRST, VmHook
from ._machine import Machine
from ._map import create_from_spec, object_types
from ._program import VmProgram
from ._sources import Task, key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Self

    from ..objects import AttachPoint, Object
    from ._events import Events
    from ._map_base import VmMap
    from ._memory import Region
    from ._recording import EventRecorder
    from ._sources import Key, Source

_CONTEXTS = 32  # sizes of records whose memory is kept


class LoadedVm:
    """Programs, maps and hooks of one object on a machine of its own, by name. Closing it frees all of them.

    `notes` holds what was done without. Runs never overlap, whichever threads ask for them.
    """

    def __init__(self, obj: Object, machine: Machine, sources: Sequence[Source] | None) -> None:
        self.object = obj
        self.machine = machine
        self.programs: dict[str, VmProgram] = {}
        self.maps: dict[str, VmMap] = {}
        self._inner: list[VmMap] = []
        self.notes: list[str] = []
        self.lock = RLock()
        self.failure: BaseException | None = None
        self.sources = sources
        self._started: list[Source] = []
        self._hooks: list[VmHook] = []
        self._by_key: dict[Key, list[VmHook]] = {}
        self._contexts: dict[int, Region] = {}
        self._readers: list[VmReader] = []
        world = machine.world
        self._home = Task(
            world.pid, world.tgid, world.comm, ppid=world.ppid, uid=world.uid, gid=world.gid,
            cgroup_id=world.cgroup_id, cpu=world.cpu, start_time=world.start_time, pid_namespace=world.pid_namespace,
            parent_comm=world.parent_comm,
        )  # fmt: skip
        self._home_process = machine.process
        self._at_home = True
        self._events: Events | None = None
        self.recorder: EventRecorder | None = None
        self.started_at = world.monotonic()
        machine.data.setdefault("stack", self._stack)

    @property
    def skipped(self) -> dict[str, int]:
        """Runs that the quota forbade, by program; those without any are left out."""
        return {p.name: p.meter.skipped for p in self.programs.values() if p.meter is not None and p.meter.skipped}

    def new_inner(self, name: str) -> VmMap:
        """A new map that may be an element of the map of maps `name`."""
        spec = next((m.inner for m in self.object.maps if m.name == name), None)
        if spec is None:
            raise ObjectError(f"make a map for {name}: the object does not say what its inner maps are")
        made = create_from_spec(self.machine, spec, btf=object_types(self.object))
        self._inner.append(made)
        return made

    # Runs

    def run(self, program: VmProgram, context: bytes, task: Task | None) -> int:
        """Run a program on these bytes, as `task` (None: as ourselves); r0. Raises what the program did wrong."""
        with self.lock:
            if task is not None:
                self._enter(task)
            elif not self._at_home:
                self._enter(self._home)
                self.machine.process = self._home_process
                self._at_home = True
            size = len(context)
            region = self._contexts.get(size) or self._context(size)
            region.view[:size] = context
            return program.enter(region.base)

    def _enter(self, task: Task) -> None:
        self._at_home = False
        world = self.machine.world
        world.pid, world.tgid = task.pid, task.tgid
        if task.comm is not None:
            world.comm = task.comm
        if task.uid is not None:
            world.uid = task.uid
        if task.gid is not None:
            world.gid = task.gid
        if task.cpu is not None:
            world.cpu = task.cpu
        if task.cgroup_id is not None:
            world.cgroup_id = task.cgroup_id
        if task.ppid is not None:
            world.ppid = task.ppid
        if task.start_time is not None:
            world.start_time = task.start_time
        if task.pid_namespace is not None:
            world.pid_namespace = task.pid_namespace
        if task.parent_comm is not None:
            world.parent_comm = task.parent_comm
        self.machine.process = task.process

    def _context(self, size: int) -> Region:
        if len(self._contexts) >= _CONTEXTS:
            self.machine.memory.free(self._contexts.pop(next(iter(self._contexts))))
        region = self.machine.memory.adopt(bytearray(size) if size else bytearray(8), "context")
        self._contexts[size] = region
        return region

    def _stack(self, user: bool) -> list[int] | None:
        """Addresses of the current stack: the process' own, if its source can walk it."""
        frames = getattr(self.machine.process, "frames", None)
        return frames(127) if user and frames is not None else None

    # Events of the caller's

    @property
    def events(self) -> Events:
        """Makes events happen: `fire(probe, args, ...)`, `advance(seconds)`."""
        if self._events is None:
            from ._events import Events

            self._events = Events(self)
        return self._events

    @property
    def home(self) -> Task:
        """The task that programs run in when no event says another."""
        return self._home

    # Hooks, for sources

    @property
    def attached(self) -> Sequence[VmHook]:
        """What is attached now, in the order in which it was."""
        return list(self._hooks)

    def hooks_at(self, key: Key) -> Sequence[VmHook]:
        """The hooks at `key`, in the order in which the kernel runs them."""
        found = self._by_key.get(key, ())
        return list(reversed(found)) if key[0] in LAST_FIRST else list(found)

    def fire_record(self, key: Key, record: bytes, task: Task | None = None) -> int:
        """Run every program at `key`; the last r0."""
        result = 0
        for hook in self.hooks_at(key):
            result = hook.fire(record, task)
        return result

    def index_of(self, hook: VmHook) -> int:
        """Its place in `attached`."""
        return self._hooks.index(hook)

    def fire_hook(self, hook: VmHook, record: bytes, task: Task | None, address: int = 0, at: str | int = "") -> int:
        """What `VmHook.fire` does."""
        if self.recorder is not None:
            return self.recorder.fire(self, hook, record, task, address, at)
        return self.fire_unrecorded(hook, record, task, address, at)

    def fire_unrecorded(self, hook: VmHook, record: bytes, task: Task | None, address: int, at: str | int) -> int:
        """Run the hook's program; what it does wrong is kept for the session."""
        with self.lock:
            if self.failure is not None:
                return 0
            data = self.machine.data
            data["cookie"] = hook.cookie(at)
            data["func_ip"] = address
            try:
                result = self.run(hook.program, record, task)
                if self.sources and "timers" in data:
                    self._run_timers()
                return result
            except Exception as error:
                self.fail(error)
                return 0

    def _run_timers(self) -> None:
        """Callbacks of the programs' timers that are due. Of live events alone: who fires them moves the clock too."""
        from ._helpers_timer import run_due

        run_due(self.machine)

    def fail(self, error: BaseException) -> None:
        """Keep the first error for the session, and wake it."""
        if self.failure is None:
            self.failure = error
        for reader in self._readers:
            reader.wake()

    def check(self) -> None:
        """Raise what went wrong in a source, once."""
        error, self.failure = self.failure, None
        if error is not None:
            raise error

    # Attaching

    def attach(self, point: AttachPoint) -> VmHook:
        """Attach the program that `point` names. NotSupported where no source has such events; AttachError."""
        program = self.programs.get(point.program)
        if program is None:
            raise ObjectError(f"attach {point.name}: program {point.program!r} is not loaded")
        if point.provider == "iter":
            raise _unsupported(point, "iterators walk through the kernel's own lists")
        served = self.sources is None or point.provider in DIRECT
        if not served and not any(source.wants(point) for source in self.sources or ()):
            raise _unsupported(point, "a traced process has no such events")
        hook = VmHook(self, program, point)
        with self.lock:
            self._hooks.append(hook)
            for key in keys_of(point):
                self._by_key.setdefault(key, []).append(hook)
        for source in self._started:
            source.changed()
        return hook

    def attach_many(self, points: Iterable[AttachPoint]) -> list[VmHook]:
        """Attach all of them, or none. A missing point that is `optional` is noted in `notes` instead."""
        hooks: list[VmHook] = []
        try:
            for point in points:
                try:
                    hooks.append(self.attach(point))
                except (AttachError, NotSupported) as error:
                    if not point.optional:
                        raise
                    self.notes.append(str(error))
        except BaseException:
            for hook in hooks:
                hook.close()
            raise
        return hooks

    def drop(self, hook: VmHook) -> None:
        """What `VmHook.close` does."""
        with self.lock:
            if hook in self._hooks:
                self._hooks.remove(hook)
                for key in keys_of(hook.point):
                    if hook in self._by_key.get(key, ()):
                        self._by_key[key].remove(hook)
        for source in self._started:
            source.changed()

    def follow(self, pid: int) -> None:
        """Start the sources on a process (0: none) after all is attached. PermissionDenied, AttachError."""
        for source in self.sources or ():
            wanted = [hook for hook in self._hooks if source.wants(hook.point)]
            if not wanted:
                continue
            if not pid and getattr(source, "needs_process", True):
                raise UsageError(
                    f"attach {wanted[0].point.name}: user space traces a command or a process, and there is none",
                    hint="give -c COMMAND or -p PID",
                )
            self._started.append(source)
            source.start(self, pid)

    def detach_all(self) -> None:
        """Stop the sources and detach everything; programs and maps stay. No program runs any more afterwards."""
        started, self._started = self._started, []
        for source in reversed(started):
            source.stop()
        with self.lock:
            for hook in self._hooks:
                hook.closed = True
            self._hooks.clear()
            self._by_key.clear()
        self.check()

    # Readers

    def reader(self, name: str) -> VmReader:
        """A reader of the ring buffer or perf event array `name`; the caller closes it."""
        made = self.maps[name]
        open_reader = getattr(made, "reader", None)
        if open_reader is None:
            raise ObjectError(f"read events from {name}: a map of type {made.type} is no ring")
        reader = VmReader(self, open_reader())
        self._readers.append(reader)
        return reader

    def forget_reader(self, reader: VmReader) -> None:
        """What closing a reader does."""
        if reader in self._readers:
            self._readers.remove(reader)

    def close(self) -> None:
        """Detach everything and drop programs, maps and memory."""
        self.failure = None
        self.detach_all()
        for reader in list(self._readers):
            reader.close()
        for program in self.programs.values():
            program.close()
        for made in (*self.maps.values(), *self._inner):
            made.close()
        self.machine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VmReader:
    """A ring's reader that also tells what went wrong in a source."""

    def __init__(self, owner: LoadedVm, inner: Any) -> None:
        self._owner = owner
        self._inner = inner

    def fileno(self) -> int:
        return int(self._inner.fileno())

    def wake(self) -> None:
        """Make the descriptor readable."""
        signal = getattr(self._inner, "signal", None)
        if signal is not None:
            signal()

    def drain(self) -> Any:
        """Take out the records that are there. Raises what a program did wrong."""
        with self._owner.lock:
            batch = self._inner.drain()
        if not batch.count and self._owner.failure is not None:
            self._owner.check()
        return batch

    def close(self) -> None:
        self._owner.forget_reader(self)
        self._inner.close()


def keys_of(point: AttachPoint) -> list[Key]:
    """All places of an attach point."""
    if point.functions:
        return [(point.provider, point.target, function) for function in point.functions]
    if point.offsets:
        return [(point.provider, point.target, offset) for offset in point.offsets]
    return [key_of(point)]


def _unsupported(point: AttachPoint, why: str) -> NotSupported:
    return NotSupported(
        f"attach {point.name or point.provider}: {why}",
        feature=f"{point.provider} in user space",
        hint="use the kernel target",
    )
