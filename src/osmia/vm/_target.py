"""User space as a target: load an `Object`, attach its programs to event sources, fire events, clean up."""

from __future__ import annotations

import os
from _thread import RLock

from .. import syscalls
from ..errors import AttachError, CacheError, NotSupported, ObjectError, UsageError, VerifierError
from ..isa.map_types import ARRAY_OF_MAPS, HASH_OF_MAPS, PROG_ARRAY
from ._attach import DIRECT, LAST_FIRST, VmHook
from ._code import Code
from ._machine import Machine
from ._map import create_from_spec
from ._memory import DEFAULT_LIMIT
from ._oversight import Oversight
from ._program import VmProgram
from ._sources import Task, key_of
from ._world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Self

    from ..btf import Btf
    from ..objects import AttachPoint, Cache, MapSpec, Object, ProgramSpec
    from ..verifier import Policy
    from ._events import Events
    from ._machine import Helper
    from ._map_base import VmMap
    from ._memory import Region
    from ._oversight import Quota
    from ._recording import EventRecorder
    from ._sources import Key, Source

_MOST_ACCEPTED = 4096
_accepted: dict[bytes, None] = {}  # keys of verdicts, the oldest first
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
        made = create_from_spec(self.machine, spec, btf=_types(self.object))
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


class VmTarget:
    """User space as a target: each `load` makes a machine of its own.

    `sources` makes events happen: None for none (the caller fires them), or a list; `VmTarget.live()` traces processes.
    `engine` is "jit", "interpreter" or "auto": native code where LLVM can make it. Programs are verified for the
    newest kernel and refused with VerifierError, unless `checked` is True: then they run unverified, with every
    access bounded. `helpers` replaces helpers by name; `world` is what they report (default: the host's).
    `policy`, `quota` and `audit` are what a host demands beyond safety: see `Oversight`.
    """

    name = "vm"

    def __init__(
        self,
        *,
        sources: Sequence[Source] | None = None,
        world: World | None = None,
        helpers: Mapping[str | int, Helper | int] | None = None,
        engine: str = "auto",
        checked: bool | None = None,
        memory_limit: int = DEFAULT_LIMIT,
        policy: Policy | None = None,
        quota: Quota | None = None,
        audit: str | os.PathLike[str] | Callable[[Mapping[str, object]], None] | None = None,
    ) -> None:
        if engine not in ("auto", "jit", "interpreter"):
            raise UsageError(f"open target vm: no engine {engine!r}", hint="auto, jit or interpreter")
        self.sources = sources
        self.world = world
        self.helpers = helpers
        self.engine = engine
        self.checked = checked
        self.memory_limit = memory_limit
        self.oversight = Oversight(policy, quota, audit)

    @classmethod
    def live(cls, *, warn: Callable[[str], None] | None = None, keep: bool = False, **options: Any) -> Self:
        """A target whose events are those of a command or a process, through ptrace, and timers.

        `warn` takes texts that a person should read. With `keep`, what a command leaves behind goes on when the session
        has ended, where it can.
        """
        from ._sources_ptrace import PtraceSource
        from ._sources_timer import TimerSource

        return cls(sources=[PtraceSource(warn=warn, keep=keep), TimerSource()], **options)

    @property
    def cleans_up(self) -> bool:
        """Whether what it attaches stays behind when this process is killed: breakpoints in others."""
        return any(getattr(source, "cleans_up", False) for source in self.sources or ())

    def load(
        self,
        obj: Object,
        *,
        contents: Mapping[str, bytes] | None = None,
        max_entries: Mapping[str, int] | None = None,
        programs: Iterable[str] | None = None,
    ) -> LoadedVm:
        """Create the maps and load the programs of `obj`; nothing stays when one fails.

        VerifierError, NotSupported, MapError, ObjectError, VmError. `contents`, `max_entries` and `programs` are as for
        the kernel.
        """
        wanted = None if programs is None else set(programs)
        specs = [p for p in obj.programs if (p.autoload if wanted is None else p.name in wanted)]
        obj = obj.replace(maps=tuple([_made_ready(obj, m, contents or {}, max_entries or {}) for m in obj.maps]))
        world = self.world or World(cpus=syscalls.possible_cpus())
        machine = Machine(world=world, helpers=self.helpers, memory_limit=self.memory_limit)
        loaded = LoadedVm(obj, machine, self.sources)
        btf = _types(obj)
        try:
            self.oversight.weigh_maps(obj, world.cpus)
            for spec in obj.maps:
                loaded.maps[spec.name] = create_from_spec(machine, spec, btf=btf)
            self._load_programs(loaded, specs)
            _fill_references(loaded)
        except BaseException:
            loaded.close()
            raise
        return loaded

    def _load_programs(self, loaded: LoadedVm, specs: list[ProgramSpec]) -> None:
        cache = self._cache()
        try:
            for spec in specs:
                checked = bool(self.checked)
                _verify(loaded.object, spec, self.oversight, refuse=not checked, cache=cache)
                code = Code.from_spec(loaded.object, spec, loaded.machine, loaded.maps)
                loaded.programs[spec.name] = VmProgram(
                    loaded, spec, code, engine=self.engine, checked=checked or self.engine == "interpreter",
                    cache=cache, meter=self.oversight.meter(),
                )  # fmt: skip
        finally:
            if cache is not None:
                cache.close()

    def _cache(self) -> Cache | None:
        if self.engine == "interpreter":
            return None
        from ..objects import Cache

        try:
            return Cache.open()
        except CacheError:
            return None  # whoever compiled a script was told


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


def _verify(obj: Object, spec: ProgramSpec, oversight: Oversight, *, refuse: bool, cache: Cache | None = None) -> None:
    """VerifierError when the newest kernel's verifier would refuse the program, or the policy does. Without `refuse`,
    programs are verified for the policy and the log alone. What was accepted once is in the cache, and known to this
    process: a test run loads one object many times."""
    if not refuse and not oversight.is_on:
        return
    key = b""
    if not oversight.is_on:
        key = _verdict_key(obj, spec)
        if key in _accepted or (cache is not None and cache.get_value(key) == (True,)):
            return
    from ..verifier import from_spec, verify

    program = from_spec(obj, spec)
    verdict = verify(program)
    oversight.judge(spec, program, verdict, unverified=not refuse)
    if verdict.accepted and key:
        if len(_accepted) >= _MOST_ACCEPTED:
            del _accepted[next(iter(_accepted))]
        _accepted[key] = None
        if cache is not None:
            cache.put_value(key, (True,))
    if verdict.accepted or not refuse:
        return
    found = verdict.explanation
    where = f" at {found.place.file}:{found.place.line}" if found and found.place.line else ""
    reason = f"{found.reason}: " if found and found.reason and found.reason != verdict.message else ""
    error = VerifierError(
        f"load {spec.name}: the verifier refused it{where}: {reason}{verdict.message}",
        errno=verdict.errno,
        program=spec.name,
        log=verdict.log,
        file=found.place.file if found else "",
        line=found.place.line if found else 0,
        source_line=found.place.source if found else "",
        hint=found.remedy if found else "",
    )
    if found:
        error.add_note(found.render())  # with the way there: seen where a traceback is, as in a failed test
    raise error


def _made_ready(obj: Object, spec: MapSpec, contents: Mapping[str, bytes], max_entries: Mapping[str, int]) -> MapSpec:
    """The map as programs find it: what they are verified with is what they run with."""
    if spec.name == ".kconfig":
        from ..objects import kconfig_contents
        from ..verifier import profile

        # There is no kernel: as if it were the newest, built as this machine's was as far as that is known.
        filled = kconfig_contents(obj, spec, (*profile().version, 0), syscalls.kernel_config())
        spec = spec.replace(contents=filled, frozen=True)
    data, size = contents.get(spec.name), max_entries.get(spec.name, 0)
    if data is not None:
        spec = spec.replace(contents=data)
    return spec.replace(max_entries=size) if size else spec


def _verdict_key(obj: Object, spec: ProgramSpec) -> bytes:
    """All that a verdict depends on; of data sections, contents that cannot change. Relocations, and functions of the
    kernel, are resolved in the types of the kernel that runs."""
    from .._version import __version__
    from ..objects import cache_key, pack

    maps = tuple(m if m.frozen or m.contents is None else m.replace(contents=None) for m in obj.maps)
    functions = (spec.function, *obj.subprograms)
    asks = any(f.core or any(r.kind in ("kfunc", "ksym") for r in f.relocations) for f in functions)
    kernel = " ".join(os.uname()[2:4]) if asks else ""
    parts = pack((spec, obj.subprograms, maps, obj.license, obj.version))
    return cache_key("verified", __version__, kernel, parts, obj.btf)


def _fill_references(loaded: LoadedVm) -> None:
    """Initial entries of maps of maps and prog arrays: (index, symbol)."""
    for spec in loaded.object.maps:
        made: Any = loaded.maps[spec.name]
        for index, symbol in spec.values:
            if spec.type in (ARRAY_OF_MAPS, HASH_OF_MAPS):
                inner = loaded.maps.get(symbol)
                if inner is not None:
                    made.set(index.to_bytes(4, "little"), inner)
                    continue
            elif spec.type == PROG_ARRAY:
                program = loaded.programs.get(symbol)
                if program is not None:
                    made.set(index, program.code)
                    continue
            else:
                raise ObjectError(f"fill map {spec.name}: maps of type {spec.type} take no references")
            raise ObjectError(f"fill map {spec.name}: {symbol!r} is not in the object")


def _types(obj: Object) -> Btf | None:
    """The object's own types, for special fields of map values."""
    if not obj.btf:
        return None
    from ..btf import Btf

    return Btf(obj.btf)
