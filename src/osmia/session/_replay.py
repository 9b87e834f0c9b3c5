"""Replaying a recording: a session that gets from a file what it got from its target when it was recorded."""

from __future__ import annotations

import os

from ..errors import AttachError, FormatError, UsageError
from ..objects import Batch
from . import _clock
from . import _events as ev
from ._tape import stack_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ..objects import AttachPoint, Object
    from ._events import Event
    from ._model import Stack
    from ._names import Names
    from ._session import Session

    Entry = tuple[Any, ...]

_MADE = {"Time": ev.Time, "Cat": ev.Cat, "System": ev.System, "Message": ev.Message}
_OWN = ("begin", "end", "self", "test", "bench")  # no events of a source
MOST_CPUS = 8192  # NR_CPUS of distributions
_MOST = 8  # probes that a message names
_FIELDS = {
    "head": (str, str, object, tuple, tuple), "pid": (int,), "run": (str, int), "batch": (str, int, bytes, tuple),
    "lost": (str, int), "link": (str, bytes), "refused": (str, str), "name": (str, tuple, object),
    "outside": (str, str), "detach": (),
}  # fmt: skip


class Replay:
    """A recording, as `tape` of a session. `object` is what was recorded; `target` "kernel" or "vm".

    With an object of the caller's, events of user space are fired at its programs instead: those on the same probes.
    Loading is a UsageError where none of its probes was recorded; `warn` is told of some that were not.
    FormatError for a damaged file.
    """

    def __init__(self, path: str, warn: Callable[[str], None] | None = None) -> None:
        from ..objects import Object
        from ..vm import read_recording

        self.path = path
        self.warn = warn or (lambda _text: None)
        entries = [_checked(entry, path) for entry in read_recording(path)]
        if not entries or entries[0][0] != "head" or not isinstance(entries[0][3], Object):
            raise FormatError(f"read recording {path}: it has no head", offset=8, hint="record it again")
        _, self.target, self.version, self.object, values, self.world = entries[0]
        try:
            self.values = dict(values)
            self.names = {(e[1], *e[2]): e[3] for e in entries if e[0] == "name"}
        except (TypeError, ValueError) as error:
            raise FormatError(
                f"read recording {path}: its head or a name is damaged", hint="record it again"
            ) from error
        self._outside = [e for e in entries if e[0] == "outside"]
        self.pid = next((e[1] for e in entries if e[0] == "pid"), 0)
        self._entries = [e for e in entries[1:] if e[0] not in ("name", "outside", "pid")]
        self._at = 0
        self.exact = True
        self.loaded: Any = None
        self._fired: set[int] = set()
        self._last: tuple[Any, ...] = ()

    # The tape of a session

    def wrap(self, target: Any) -> Any:
        """In place of any target: the recording."""
        return ReplayedTarget(self)

    def tap(self, names: Names) -> None:
        """Names are those that were recorded."""
        names.tap_lookups(self._answer)
        names.offset_of = self._offset
        names.tap_symbols(lambda symbols: ReplayedSymbols(self.names))

    def _offset(self, mode: str) -> int:
        found = self.names.get(("clock", mode))
        return found if isinstance(found, int) else _clock.offset_of(mode)

    def _answer(self, kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*key: Any) -> Any:
            found = self.names.get((kind, *key))
            if found is None and kind not in ("kernel_symbol", "user_symbol"):
                return method(*key)  # not a matter of the machine that it was recorded on
            return f"{key[0]:#x}" if found is None else found

        return ask

    def outside(self, make: Callable[[], Event]) -> Event:
        """What time(), cat() or system() gave then."""
        if self._outside and self.exact:
            _, kind, text = self._outside.pop(0)
            if kind == "Message":
                return ev.Message("error", text)
            if kind in _MADE:
                made: Event = _MADE[kind](text)
                return made
        return make()

    def close(self) -> None:
        """Nothing is open."""

    # Entries

    def peek(self) -> Entry:
        """The next entry; ("end",) when there is none."""
        return self._entries[self._at] if self._at < len(self._entries) else ("end",)

    def take(self, *wanted: Any) -> Entry:
        """The next entry, events before it fired; FormatError when it does not begin so."""
        while True:
            entry = self.peek()
            if entry[: len(wanted)] == wanted:
                self._at += 1
                return entry
            if entry[0] != "event":
                raise FormatError(
                    f"replay recording {self.path}: it has {' '.join(map(str, entry[:2]))} where the session wants "
                    f"{' '.join(map(str, wanted))}",
                    hint="use the version of Osmia that recorded it: " + self.version,
                )
            self.fire()

    def next_other(self) -> Entry:
        """The next entry that is no event."""
        at = self._at
        while at < len(self._entries) and self._entries[at][0] == "event":
            at += 1
        return self._entries[at] if at < len(self._entries) else ("end",)

    def fire(self) -> None:
        """Fire the event that is next."""
        from ..vm import replay_event

        entry = self.peek()
        self._at += 1
        if self.exact:
            replay_event(self.loaded, entry, exact=True)
            return
        # One event is recorded once for every program that it ran.
        same = (*entry[2:5], entry[5], entry[6][:2] if entry[6] else None)
        if same == self._last and entry[1] not in self._fired:
            self._fired.add(entry[1])
            return
        self._last, self._fired = same, {entry[1]}
        replay_event(self.loaded, entry, exact=False)

    def skip(self) -> None:
        self._at += 1


def _checked(entry: Entry, path: str) -> Entry:
    kind, fields = entry[0], entry[1:]
    wanted = _FIELDS.get(kind)
    if wanted is None:
        shape = kind in ("event", "map") and len(fields) >= (11 if kind == "event" else 2)
    else:
        shape = len(fields) == len(wanted) and all(isinstance(f, t) for f, t in zip(fields, wanted))
    if not shape:
        raise FormatError(f"read recording {path}: an entry {kind!r} is not as it should be", hint="record it again")
    return entry


def replay(session: Session, tape: Replay) -> int:
    """Run a session from its recording; the exit status."""
    session.start()
    try:
        if tape.exact:
            _steps(session, tape)
        else:
            _events_only(session, tape)
    finally:
        tape.exact = tape.exact and tape.peek()[0] != "end"
    session.finish()
    return session.status


def _steps(session: Session, tape: Replay) -> None:
    """Do what the recorded session did, when it did it."""
    while (entry := tape.peek())[0] not in ("detach", "end"):
        kind = entry[0]
        if kind == "event":
            tape.fire()
        elif kind == "batch":
            session.take_batch()
        elif kind == "run":
            program = session.load().programs.get(entry[1])
            if program is not None:
                program.run_once()
        elif kind in ("map", "lost"):
            session.report_losses()
        else:
            tape.skip()
        if tape.peek() is entry:
            raise FormatError(f"replay recording {tape.path}: {entry[:3]} belongs to nothing", hint="record it again")


def _events_only(session: Session, tape: Replay) -> None:
    """Fire all events at another script; its output is read after each."""
    while (entry := tape.peek())[0] != "end":
        if entry[0] != "event":
            tape.skip()
            continue
        tape.fire()
        session.drain()
        if not session.running:
            return


class ReplayedTarget:
    name = "replay"

    def __init__(self, tape: Replay) -> None:
        self._tape = tape

    def run_values(self) -> dict[str, int]:
        tape = self._tape
        values = {"run.child_pid": tape.pid, "run.pid": tape.pid, **tape.values}
        # What the recorded object was given: the process may have been known by other means.
        for name, where in tape.object.settings:
            map_name, _, offset = str(where).rpartition("+")
            if name.startswith("run.") and offset.isdigit():
                for spec in tape.object.maps:
                    if spec.name == map_name and spec.contents is not None:
                        values[name] = int.from_bytes(spec.contents[int(offset) : int(offset) + 8], "little")
        return values

    def load(self, obj: Object) -> Any:
        tape = self._tape
        if tape.target == "kernel":
            if obj.programs != tape.object.programs:
                raise UsageError(
                    f"replay {tape.path}: it holds what one script received from the kernel, no events for others",
                    hint="leave out the script, or record with --target vm",
                )
            return ReplayedObject(tape, obj, None)
        tape.exact = obj.programs == tape.object.programs
        if not tape.exact:
            _check_probes(tape, obj)
        tape.loaded = _load_vm(tape, obj)
        return ReplayedObject(tape, obj, tape.loaded) if tape.exact else tape.loaded


def _check_probes(tape: Replay, obj: Object) -> None:
    """Whether the recording can have events for the object's probes."""
    from ..vm import keys_of

    held = {key for point in tape.object.attach_points if point.provider not in _OWN for key in keys_of(point)}
    wanted = [point for point in obj.attach_points if point.provider not in ("begin", "end")]
    absent = [point.name for point in wanted if point.provider in _OWN or not held.issuperset(keys_of(point))]
    absent = list(dict.fromkeys(absent))
    if not absent:
        return
    has = list(dict.fromkeys(p.name for p in tape.object.attach_points if p.provider not in _OWN))
    text = f"it has no events of {_listed(absent)}"
    hint = (
        f"it has those of {_listed(has)}" if has else "it has events of no probe: its script had none but BEGIN and END"
    )
    if not any(held.intersection(keys_of(point)) for point in wanted if point.provider not in _OWN):
        raise UsageError(f"replay recording {tape.path}: {text}", hint=hint)
    tape.warn(f"recording {tape.path}: {text}; {hint}")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST]) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")


def _load_vm(tape: Replay, obj: Object) -> Any:
    from random import Random

    from ..vm import VmTarget, World, task_fields

    try:
        *numbers, home = tape.world
        if any(type(number) is not int for number in numbers):
            raise TypeError
        cpus, seed, boot_offset, tai_offset = numbers
        if not 0 < cpus <= MOST_CPUS:
            raise ValueError
        world = World(cpus=cpus)
        world.clock, world.boot_offset, world.tai_offset = 0, boot_offset, tai_offset
        for name, value in task_fields(home).items():
            if value is None and name != "pid_namespace":
                raise TypeError
            setattr(world, name, value)
        chance = Random(seed)
    except (TypeError, ValueError) as error:
        raise FormatError(f"read recording {tape.path}: its head is damaged", hint="record it again") from error
    world.random = lambda: chance.getrandbits(32)
    return VmTarget(world=world).load(obj)


class ReplayedObject:
    """What `RecordedObject` wrote, given out again; programs run where there is a machine to run them."""

    def __init__(self, tape: Replay, obj: Object, loaded: Any) -> None:
        self._tape = tape
        self._loaded = loaded
        self.maps = {
            spec.name: ReplayedMap(tape, spec.name, spec.type, loaded.maps[spec.name] if loaded else None)
            for spec in obj.maps
        }
        self.programs = {
            spec.name: ReplayedProgram(tape, spec.name, loaded.programs.get(spec.name) if loaded else None)
            for spec in obj.programs
        }

    def reader(self, name: str) -> ReplayedReader:
        return ReplayedReader(self._tape, name, self._loaded.reader(name) if self._loaded else None)

    def attach(self, point: AttachPoint) -> Any:
        if self._tape.peek()[:2] == ("refused", point.name):
            raise AttachError(self._tape.take("refused")[2], probe=point.name)
        if self._loaded:
            return self._loaded.attach(point)
        return ReplayedLink(self._tape, point.name)

    def detach_all(self) -> None:
        if self._tape.peek()[0] != "end":
            self._tape.take("detach")
        if self._loaded:
            self._loaded.detach_all()

    def close(self) -> None:
        if self._loaded:
            self._loaded.close()


class ReplayedLink:
    def __init__(self, tape: Replay, name: str) -> None:
        self._tape = tape
        self._name = name

    def read(self) -> bytes:
        data: bytes = self._tape.take("link", self._name)[2]
        return data

    def close(self) -> None:
        """Nothing is attached."""


class ReplayedProgram:
    def __init__(self, tape: Replay, name: str, program: Any) -> None:
        self._tape = tape
        self._name = name
        self._program = program

    def run_once(self, context: bytes = b"") -> int:
        entry = self._tape.take("run", self._name)
        if self._program is None:
            return 0
        self._tape.loaded.machine.world.clock = entry[2]
        result: int = self._program.run_once(context)
        return result

    def test_run(self, data: bytes = b"", *, repeat: int = 0) -> Any:
        raise UsageError("replay session: test: and bench: probes are not recorded")


class ReplayedReader:
    def __init__(self, tape: Replay, name: str, reader: Any) -> None:
        self._tape = tape
        self._name = name
        self._reader = reader
        self._lost = 0
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._fd

    def drain(self) -> Any:
        tape = self._tape
        if tape.next_other()[:2] != ("batch", self._name):
            return Batch(b"", [], 0)
        _, _, count, data, runs = tape.take("batch", self._name)
        if self._reader is None:
            _check_runs(data, runs, count, tape.path)
            return Batch(data, list(runs), count)
        batch = self._reader.drain()
        if batch.count != count:
            raise FormatError(
                f"replay recording {tape.path}: {batch.count} records where {count} were recorded",
                hint="use the version of Osmia that recorded it: " + tape.version,
            )
        return batch

    @property
    def lost(self) -> int:
        if self._tape.peek()[:2] == ("lost", self._name):
            self._lost = self._tape.take("lost")[2]
        return self._lost

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._reader is not None:
            self._reader.close()


def _check_runs(data: bytes, runs: Any, count: int, path: str) -> None:
    """Whether all records lie within the data."""
    total = 0
    for run in runs:
        good = isinstance(run, tuple) and len(run) == 4 and all(isinstance(n, int) and n >= 0 for n in run)
        if not good or run[0] + max(run[1] - 1, 0) * run[3] + run[2] > len(data) or run[1] > len(data):
            raise FormatError(f"replay recording {path}: a record lies outside of its batch", hint="record it again")
        total += run[1]
    if total != count:
        raise FormatError(f"replay recording {path}: a batch has {total} records, not {count}", hint="record it again")


class ReplayedMap:
    def __init__(self, tape: Replay, name: str, type: int, made: Any) -> None:
        self._tape = tape
        self._name = name
        self._map = made
        self.type = type

    def _found(self, what: str) -> Any:
        """What was found then; with a map of our own, that is asked, once it is in the state it was in."""
        entry = self._tape.take("map", self._name, what)
        if self._map is None and what != "update" and len(entry) < 4:
            raise FormatError(f"replay recording {self._tape.path}: an entry of map {self._name} is damaged")
        return entry

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        entry = self._found("items")
        return iter(_pairs(entry[3], 2, self._tape.path) if self._map is None else list(self._map.items()))

    @property
    def batches(self) -> Any:
        own = self._map is not None and getattr(self._map, "batches", None) is None
        return None if own or self._tape.next_other()[:3] != ("map", self._name, "batches") else self._batches

    def _batches(self) -> Iterator[tuple[bytes, bytes, int]]:
        entry = self._found("batches")
        return iter(_pairs(entry[3], 3, self._tape.path) if self._map is None else list(self._map.batches()))

    def lookup(self, key: bytes) -> bytes | None:
        entry = self._found("lookup")
        if self._map is not None:
            found: bytes | None = self._map.lookup(key)
            return found
        return entry[4] if len(entry) > 4 and isinstance(entry[4], bytes) else None

    def update(self, key: bytes, value: bytes) -> None:
        self._found("update")
        if self._map is not None:
            self._map.update(key, value)

    def delete(self, key: bytes) -> bool:
        entry = self._found("delete")
        if self._map is not None:
            return bool(self._map.delete(key))
        return bool(entry[-1])


def _pairs(found: Any, size: int, path: str) -> list[Any]:
    good = isinstance(found, tuple) and all(
        isinstance(row, tuple) and len(row) == size and all(isinstance(part, bytes) for part in row[:2])
        for row in found
    )
    if not good:
        raise FormatError(f"replay recording {path}: what a map held is damaged", hint="record it again")
    return list(found)


class ReplayedSymbols:
    """Names of addresses as they were recorded; numbers for others."""

    def __init__(self, names: dict[tuple[Any, ...], Any]) -> None:
        self._names = names

    def watch(self, programs: Any) -> None:
        """There is nobody to watch."""

    def collect(self) -> None:
        """There is nothing to collect."""

    def capture(self, pid: int) -> None:
        """There is no such process."""

    def refresh(self, pid: int) -> None:
        """There is no such process."""

    def close(self) -> None:
        """Nothing is open."""

    def kernel(self, address: int) -> str:
        return str(self._names.get(("kernel_symbol", address), f"{address:#x}"))

    def user(self, address: int, pid: int) -> str:
        return str(self._names.get(("user_symbol", address, pid), f"{address:#x}"))

    def kernel_frames(self, stack: Stack) -> list[str]:
        return self._frames("kernel_frames", stack)

    def user_frames(self, stack: Stack) -> list[str]:
        return self._frames("user_frames", stack)

    def _frames(self, kind: str, stack: Stack) -> list[str]:
        found = self._names.get((kind, *stack_key(stack)))
        return [str(line) for line in found] if isinstance(found, tuple) else [f"{a:#x}" for a in stack.addresses]
