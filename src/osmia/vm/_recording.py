"""Recordings: a file of entries, and the entries that events of the user-space target become.

    "OSMREC" version 10        8 bytes; the version is one byte
    u32 size, u32 checksum, size bytes    an entry: a packed tuple (see osmia.objects) that begins with its kind
    ...
    the entry ("end", number of entries before it)

The checksum is CRC-32 of the entry, begun with the checksum of the one before it: nothing can be left out, repeated or
moved. A file without its last entry was cut.
"""

from __future__ import annotations

import os
from struct import Struct
from zlib import crc32

from ..errors import FormatError, ObjectError, OsmiaError, UsageError, cannot_write
from ._sources import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from ._attach import VmHook
    from ._loaded import LoadedVm

    Entry = tuple[Any, ...]

VERSION = 1
MAGIC = b"OSMREC" + bytes([VERSION]) + b"\n"
_HEAD = Struct("<II")
LARGEST = 256 << 20
_TEXT = 4096  # of what a system call's char * points to, for scripts that read more than the one that was recorded
TASK_FIELDS = ("pid", "tgid", "comm", "ppid", "uid", "gid", "cgroup_id", "cpu", "start_time", "pid_namespace")
_EVENT_FIELDS = (*TASK_FIELDS, "parent_comm")
FINISHED = ("end",)


class RecordingWriter:
    """Writes entries to a new file; a context manager. `cannot_write` says what is raised when that fails."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from _thread import RLock

        self.path = os.fspath(path)
        self._lock = RLock()
        self._sum = 0
        self._count = 0
        try:
            self._file: Any = open(self.path, "wb")  # noqa: SIM115 - closed by close()
            self._file.write(MAGIC)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> OsmiaError:
        return cannot_write(f"recording {self.path}", error)

    def write(self, entry: Entry) -> None:
        """Add an entry; any thread may."""
        from ..objects import pack

        data = pack(entry)
        with self._lock:
            if self._file is None:
                return
            self._sum = crc32(data, self._sum)
            self._count += 1
            try:
                self._file.write(_HEAD.pack(len(data), self._sum) + data)
            except OSError as error:
                raise self._failed(error) from None

    def close(self) -> None:
        """Write the last entry and close the file."""
        with self._lock:
            if self._file is None:
                return
            self.write(("end", self._count))
            file, self._file = self._file, None
        try:
            file.close()
        except OSError as error:
            raise self._failed(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_recording(path: str | os.PathLike[str]) -> list[Entry]:
    """All entries but the last. FormatError with the offset of what is damaged, UsageError for what is no file."""
    try:
        with open(path, "rb") as file:
            data = file.read(len(MAGIC))
            if data[:6] == MAGIC[:6]:  # what is no recording may have no end either
                data += file.read()
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise UsageError(f"read recording {os.fspath(path)}: {cause}", hint="osmia trace --record makes one") from None
    return decode_recording(data, os.fspath(path))


def decode_recording(data: bytes, name: str = "recording") -> list[Entry]:
    """As `read_recording`, from bytes."""
    if data[:6] != MAGIC[:6] or len(data) < len(MAGIC) or data[7:8] != b"\n":
        raise _bad(name, "it is no recording", 0)
    if data[6] != VERSION:
        raise FormatError(
            f"read recording {name}: it is of version {data[6]}, this is version {VERSION} at offset 6",
            offset=6,
            hint="use the Osmia that recorded it",
        )
    entries: list[Entry] = []
    at, total = len(MAGIC), 0
    while at < len(data):
        if at + _HEAD.size > len(data):
            raise _bad(name, "it ends within an entry", at)
        size, checksum = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + size]
        if size > LARGEST or len(payload) < size:
            raise _bad(name, "it ends within an entry, or the entry's size is damaged", at)
        total = crc32(payload, total)
        if total != checksum:
            raise _bad(name, "an entry is damaged", at)
        entry = _unpack(payload, name, at)
        at += _HEAD.size + size
        if entry[0] == "end":
            if entry[1:] != (len(entries),) or at != len(data):
                raise _bad(name, "there is something behind its end", at)
            return entries
        entries.append(entry)
    raise _bad(name, "it was cut: its end is missing", at)


def _unpack(payload: bytes, name: str, at: int) -> Entry:
    from ..objects import unpack

    try:
        entry = unpack(payload)
    except ObjectError as error:
        raise _bad(name, f"an entry is damaged ({error.message})", at) from None
    if not isinstance(entry, tuple) or not entry or not isinstance(entry[0], str):
        raise _bad(name, "an entry has no kind", at)
    return entry


def _bad(name: str, what: str, at: int) -> FormatError:
    return FormatError(f"read recording {name}: {what} at offset {at}", offset=at, hint="record it again")


# Events of the user-space target


class EventRecorder:
    """Writes each event that a source fires: place, record, task, time, and the memory that helpers read.

    The clock stands still during a run, so that a replay sees the very same times.
    """

    def __init__(self, loaded: LoadedVm, write: Callable[[Entry], None]) -> None:
        import time

        self._write = write
        world = loaded.machine.world
        world.boot_offset = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        world.tai_offset = world.tai() - world.monotonic()
        self._last: tuple[object, ...] = ()

    def stop_clock(self, loaded: LoadedVm) -> int:
        """Stop the clock at now, for one run."""
        import time

        now = loaded.machine.world.clock = time.monotonic_ns()
        return now

    def fire(
        self, loaded: LoadedVm, hook: VmHook, record: bytes, task: Task | None, address: int, at: str | int
    ) -> int:
        """Run the hook's program and write what it saw."""
        with loaded.lock:
            index = loaded.index_of(hook)
            process = task.process if task is not None else None
            reads = RecordedProcess(process) if process is not None else None
            if task is not None and reads is not None:
                task.process = reads
                if hook.point.target == "syscalls":
                    _read_texts(hook, record, reads)
            clock = self.stop_clock(loaded)
            try:
                result = loaded.fire_unrecorded(hook, record, task, address, at)
            finally:
                loaded.machine.world.clock = None
                if task is not None:
                    task.process = process
            point = hook.point
            known = tuple(getattr(task, name) for name in _EVENT_FIELDS) if task is not None else None
            seen = tuple(reads.seen) if reads is not None else ()
            frames = reads.walked if reads is not None else None
            key = point.provider, point.target, at or point.function or point.offset or point.address or point.name
            self._write(("event", index, *key, record, known, clock, address, at, seen, frames))
            return result


class RecordedProcess:
    """A process whose memory is noted as it is read."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.seen: list[tuple[int, int, bytes | None]] = []
        self.walked: tuple[int, ...] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def read(self, address: int, size: int) -> bytes:
        try:
            data = bytes(self._process.read(address, size))
        except Exception:
            self.seen.append((address, size, None))
            raise
        self.seen.append((address, size, data))
        return data

    def frames(self, limit: int) -> list[int] | None:
        walk = getattr(self._process, "frames", None)
        found = None if walk is None else walk(limit)
        self.walked = tuple(found) if found is not None else None
        return found


class ReplayedProcess:
    """Answers as the process did when it was recorded; EFAULT for memory that nobody read then."""

    def __init__(self, seen: tuple[tuple[int, int, bytes | None], ...], frames: tuple[int, ...] | None) -> None:
        self._exact = {(address, size): data for address, size, data in seen}
        self._frames = frames

    def read(self, address: int, size: int) -> bytes:
        data = self._exact.get((address, size))
        if data is None and (address, size) not in self._exact:
            data = self._assemble(address, size)
        if data is None:
            raise OSError(14, "not recorded")
        return data

    def _assemble(self, address: int, size: int) -> bytes | None:
        """From what was read around there; a text that ends is followed by zeros."""
        out = bytearray()
        while len(out) < size:
            here = address + len(out)
            found = next(
                (d[here - a :] for (a, _), d in self._exact.items() if d is not None and a <= here < a + len(d)), None
            )
            if found is None:
                return bytes(out.ljust(size, b"\0")) if out and not out[-1] else None
            out += found
        return bytes(out[:size])

    def frames(self, limit: int) -> list[int] | None:
        return None if self._frames is None else list(self._frames[:limit])

    def write(self, address: int, data: bytes) -> None:
        """Lost: the process is gone."""

    def send_signal(self, number: int, thread: bool) -> int:
        return 0


def _read_texts(hook: VmHook, record: bytes, process: RecordedProcess) -> None:
    """Note what a system call's texts are, whether or not this script looks at them."""
    from ._events_record import tracepoint_format

    for field in tracepoint_format(hook.point.target, hook.point.function).args:
        if field.is_pointer and field.type in ("const char *", "char *") and len(record) >= field.offset + 8:
            at = int.from_bytes(record[field.offset : field.offset + 8], "little")
            try:
                process.read(at, min(_TEXT, 4096 - at % 4096))
            except (OsmiaError, OSError, OverflowError):
                continue  # noted as unreadable


def task_fields(values: Sequence[object]) -> dict[str, Any]:
    """What a recording says of a task, by name; TypeError or ValueError where it cannot be that.

    None stands for what was not known.
    """
    fields = dict(zip(_EVENT_FIELDS, values, strict=len(values) != len(TASK_FIELDS)))  # older ones lack the last
    for name, value in fields.items():
        if value is None:
            continue
        if name == "pid_namespace":
            if type(value) is not tuple or [type(number) for number in value] != [int, int]:
                raise TypeError
        elif type(value) is not (bytes if name in ("comm", "parent_comm") else int):
            raise TypeError
    return fields


def replay_event(loaded: LoadedVm, entry: Entry, *, exact: bool) -> None:
    """Fire a recorded event: at the hook that it was recorded at (`exact`), or at all that are attached there now."""
    try:
        _, index, provider, target, function, record, known, clock, address, at, seen, frames = entry
        task = None
        if known is not None:
            values = task_fields(known)
            task = Task(values.pop("pid"), values.pop("tgid"), values.pop("comm"), **values)
            task.process = ReplayedProcess(seen, frames)
        numbers = [clock, address, *(n for where, size, _ in seen for n in (where, size)), *(frames or ())]
        if any(type(number) is not int for number in numbers) or not isinstance(at, str | int):
            raise TypeError
        if not isinstance(record, bytes) or any(type(data) not in (bytes, type(None)) for _, _, data in seen):
            raise TypeError
        hooks = [loaded.attached[index]] if exact else loaded.hooks_at((provider, target, function))
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise FormatError("replay recording: an event does not fit", hint="record it again") from error
    with loaded.lock:
        loaded.machine.world.clock = clock
        for hook in hooks:
            hook.fire(record, task, address=address, at=at)
        loaded.check()
