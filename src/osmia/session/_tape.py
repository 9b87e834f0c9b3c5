"""Recording a session: what came in from the target and from the machine around it, in the order in which it came.

Entries of a recording (`osmia.vm._recording` has the file's format), first the head:

    head      target, version of Osmia, object, values of "run.NAME", (cpus, seed, boot offset, TAI offset, home task)
    pid       the process that is followed
    event     see EventRecorder: user space only, where programs run again when it is replayed
    run       program                             begin, end, ...: the clock
    batch     ring, how many records, data, runs  (of the kernel; in user space only how many)
    map       map, what was done, what came of it (of the kernel; in user space only what was done)
    lost, link, refused                           counters of rings, texts of iterators, attach points that failed
    name      kind, key, text                     what an address, a user, a clock was called
    outside   kind of event, text                 what time(), cat(), system() gave
    detach    all is detached
"""

from __future__ import annotations

from ..errors import OsmiaError, UsageError
from . import _clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ..objects import AttachPoint, Object
    from ._events import Event
    from ._model import Stack
    from ._names import Names

    Write = Callable[[tuple[Any, ...]], None]


class Recorder:
    """Records a session to a file: give it to `Session` as `tape`. A context manager."""

    def __init__(self, path: str) -> None:
        from ..vm import RecordingWriter

        self._writer = RecordingWriter(path)
        self.write: Write = self._writer.write
        self._known: set[tuple[Any, ...]] = set()

    def wrap(self, target: Any) -> Any:
        """The target whose doings are recorded."""
        return RecordedTarget(target, self.write)

    def tap(self, names: Names) -> None:
        """Note what `names` makes of addresses and numbers."""
        names.tap_lookups(self._noted)
        names.offset_of = self._offset
        names.tap_symbols(lambda symbols: RecordedSymbols(symbols, self._note))

    def _offset(self, mode: str) -> int:
        offset = _clock.offset_of(mode)
        self._note("clock", (mode,), offset)
        return offset

    def _note(self, kind: str, key: tuple[Any, ...], found: Any) -> None:
        if (kind, *key) not in self._known:
            self._known.add((kind, *key))
            self.write(("name", kind, key, found))

    def _noted(self, kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*key: Any) -> Any:
            found = method(*key)
            self._note(kind, key, found)
            return found

        return ask

    def outside(self, make: Callable[[], Event]) -> Event:
        """What an action got from the machine around it."""
        event = make()
        self.write(("outside", type(event).__name__, getattr(event, "text", "")))
        return event

    def close(self) -> None:
        self._writer.close()


class RecordedSymbols:
    """Symbols whose answers are noted."""

    def __init__(self, symbols: Any, note: Callable[[str, tuple[Any, ...], Any], None]) -> None:
        self._symbols = symbols
        self._note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._symbols, name)

    def kernel_frames(self, stack: Stack) -> list[str]:
        found: list[str] = self._symbols.kernel_frames(stack)
        self._note("kernel_frames", stack_key(stack), tuple(found))
        return found

    def user_frames(self, stack: Stack) -> list[str]:
        found: list[str] = self._symbols.user_frames(stack)
        self._note("user_frames", stack_key(stack), tuple(found))
        return found


def stack_key(stack: Stack) -> tuple[Any, ...]:
    """What names a stack's frames depend on."""
    return stack.addresses, stack.pid, stack.mode


class RecordedTarget:
    """A target of which everything that a session learns is written down."""

    def __init__(self, target: Any, write: Write) -> None:
        self._target = target
        self._write = write
        self._values: dict[str, int] = {}

    def run_values(self) -> dict[str, int]:
        import time

        boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._values = {
            "run.boot_time": boot, "run.tai_offset": time.clock_gettime_ns(time.CLOCK_TAI) - boot,
        }  # fmt: skip
        return self._values

    def load(self, obj: Object) -> RecordedObject:
        loaded = self._target.load(obj)
        is_vm = getattr(self._target, "name", "") == "vm"
        world = _start_vm(loaded, self._write) if is_vm else ()
        from .._version import __version__

        values = tuple(sorted(self._values.items()))
        self._write(("head", "vm" if is_vm else "kernel", __version__, obj, values, world))
        return RecordedObject(loaded, self._write, is_vm)


def _start_vm(loaded: Any, write: Write) -> tuple[Any, ...]:
    """Make the machine's world one that can be recorded; what it is."""
    import os
    from random import Random

    from ..vm import TASK_FIELDS, EventRecorder

    seed = int.from_bytes(os.urandom(8), "little")
    world = loaded.machine.world
    loaded.recorder = EventRecorder(loaded, write)
    chance = Random(seed)
    world.random = lambda: chance.getrandbits(32)
    home = tuple(getattr(loaded.home, name) for name in TASK_FIELDS)
    return world.cpus, seed, world.boot_offset, world.tai_offset, home


class RecordedObject:
    """A loaded object; its maps, programs, links and readers write down what they give."""

    def __init__(self, loaded: Any, write: Write, is_vm: bool) -> None:
        from contextlib import nullcontext

        self._loaded = loaded
        self._write = write
        self._is_vm = is_vm
        self.lock: Any = loaded.lock if is_vm else nullcontext()
        self.maps = {name: RecordedMap(self, name, made) for name, made in loaded.maps.items()}
        self.programs = {name: RecordedProgram(self, name, made) for name, made in loaded.programs.items()}

    @property
    def is_vm(self) -> bool:
        return self._is_vm

    @property
    def inner(self) -> Any:
        return self._loaded

    def write(self, *entry: Any) -> None:
        self._write(entry)

    def reader(self, name: str) -> RecordedReader:
        return RecordedReader(self, name, self._loaded.reader(name))

    def follow(self, pid: int) -> None:
        self.write("pid", pid)
        follow = getattr(self._loaded, "follow", None)
        if follow is not None:
            follow(pid)

    def attach(self, point: AttachPoint) -> Any:
        try:
            link = self._loaded.attach(point)
        except OsmiaError as error:
            self.write("refused", point.name, error.message)
            raise
        return RecordedLink(self, point.name, link)

    def detach_all(self) -> None:
        self._loaded.detach_all()
        self.write("detach")

    def close(self) -> None:
        self._loaded.close()


class RecordedLink:
    def __init__(self, owner: RecordedObject, name: str, link: Any) -> None:
        self._owner = owner
        self._name = name
        self._link = link

    def read(self) -> bytes:
        data: bytes = self._link.read()
        self._owner.write("link", self._name, data)
        return data

    def close(self) -> None:
        self._link.close()


class RecordedProgram:
    def __init__(self, owner: RecordedObject, name: str, program: Any) -> None:
        self._owner = owner
        self._name = name
        self._program = program

    def run_once(self, context: bytes = b"") -> int:
        with self._owner.lock:
            loaded, clock = self._owner.inner, 0
            if self._owner.is_vm:
                clock = loaded.recorder.stop_clock(loaded)
            try:
                result: int = self._program.run_once(context)
            finally:
                if self._owner.is_vm:
                    loaded.machine.world.clock = None
            self._owner.write("run", self._name, clock)
        return result

    def test_run(self, data: bytes = b"", *, repeat: int = 0) -> Any:
        raise UsageError("record session: test: and bench: probes are not recorded")


class RecordedReader:
    def __init__(self, owner: RecordedObject, name: str, reader: Any) -> None:
        self._owner = owner
        self._name = name
        self._reader = reader
        self._lost = 0

    def fileno(self) -> int:
        return int(self._reader.fileno())

    def drain(self) -> Any:
        with self._owner.lock:
            batch = self._reader.drain()
            if batch.count and self._owner.is_vm:
                self._owner.write("batch", self._name, batch.count, b"", ())
            elif batch.count:
                runs = tuple(tuple(run) for run in batch.runs)
                self._owner.write("batch", self._name, batch.count, bytes(batch.data), runs)
        return batch

    @property
    def lost(self) -> int:
        """As the reader counts them; a new number is written down."""
        lost = int(getattr(self._reader, "lost", 0))
        if lost != self._lost:
            self._lost = lost
            self._owner.write("lost", self._name, lost)
        return lost

    def close(self) -> None:
        self._reader.close()


class RecordedMap:
    def __init__(self, owner: RecordedObject, name: str, made: Any) -> None:
        self._owner = owner
        self._name = name
        self._map = made
        self.type = getattr(made, "type", 0)

    def _done(self, what: str, *found: Any) -> None:
        self._owner.write("map", self._name, what, *(() if self._owner.is_vm else found))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        with self._owner.lock:
            found = list(self._map.items())
            self._done("items", tuple(found))
        return iter(found)

    @property
    def batches(self) -> Any:
        return self._batches if getattr(self._map, "batches", None) is not None else None

    def _batches(self) -> Iterator[tuple[bytes, bytes, int]]:
        with self._owner.lock:
            found = [(bytes(keys), bytes(values), count) for keys, values, count in self._map.batches()]
            self._done("batches", tuple(found))
        return iter(found)

    def lookup(self, key: bytes) -> bytes | None:
        with self._owner.lock:
            found: bytes | None = self._map.lookup(key)
            self._done("lookup", key, found)
        return found

    def update(self, key: bytes, value: bytes) -> None:
        with self._owner.lock:
            self._map.update(key, value)
            self._done("update", key)

    def delete(self, key: bytes) -> bool:
        with self._owner.lock:
            found = bool(self._map.delete(key))
            self._done("delete", key, found)
        return found
