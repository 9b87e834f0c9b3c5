"""What processes had mapped, for those that have ended: told by the kernel's records and by a look at the start."""

from __future__ import annotations

import os
import time
from struct import unpack_from

from ._maps import Mapping, parse_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    # What was mapped at one time, and when that was (CLOCK_REALTIME, ns): files that changed since are others.
    Image = tuple[list[Mapping], int]

# enum perf_event_type; PERF_RECORD_MISC_COMM_EXEC
_LOST, _COMM, _FORK, _MMAP2 = 2, 3, 7, 10
_EXEC = 1 << 13
_FILE_AT = 72  # of a record of a mapping
_MOST = 16 << 20  # bytes of records that are kept
_IMAGES = 3  # programs that one process ran, the last ones


class History:
    """The mappings of processes that may have ended. `take()` gives new records, as `osmia.kernel.ExecLog` does.

    Records are kept as they are until somebody asks; when some were lost, nothing from before is believed any more.
    """

    def __init__(self, take: Callable[[], bytes]) -> None:
        self._take = take
        self._parts: list[bytes] = []
        self._size = 0
        self._seen: dict[int, bytes] = {}  # /proc/PID/maps as it was
        self._seen_at = 0
        self._images: dict[int, list[list[tuple[int, Mapping]]]] = {}
        self._parents: dict[int, tuple[int, int]] = {}  # whose mappings a process began with, and since when

    def look(self, programs: Iterable[str] = (), budget: float = 0.01) -> None:
        """Read the mappings of the processes there are, those that run `programs` first, for `budget` seconds."""
        wanted = {os.path.realpath(path) for path in programs}
        first: list[int] = []
        rest: list[int] = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    path = os.readlink(f"/proc/{name}/exe")
                except OSError:
                    continue  # a kernel thread, or gone
                (first if path in wanted else rest).append(int(name))
        end = time.monotonic() + budget
        self._seen_at = time.time_ns()
        for pid in first:
            self._look_at(pid)
        # The youngest are the likeliest to end soon.
        for pid in sorted(rest, reverse=True):
            if time.monotonic() > end:
                break
            self._look_at(pid)

    def _look_at(self, pid: int) -> None:
        try:
            with open(f"/proc/{pid}/maps", "rb", buffering=0) as file:
                self._seen[pid] = file.readall()
        except OSError:
            self._seen.pop(pid, None)  # it has just ended

    def collect(self) -> None:
        """Take new records, so that the kernel has room for more."""
        data = self._take()
        if data:
            self._parts.append(data)
            self._size += len(data)
            while self._size > _MOST and len(self._parts) > 1:
                self._size -= len(self._parts.pop(0))

    def images(self, pid: int) -> list[Image]:
        """What a process had mapped, the last program that it ran first; empty if nothing is known."""
        self.collect()
        self._read()
        return self._images_of(pid, 1 << 63, 0)

    def _images_of(self, pid: int, until: int, depth: int) -> list[Image]:
        out: list[Image] = []
        images = self._images.get(pid, [])
        for i, rows in reversed(list(enumerate(images))):
            rows = [row for row in rows if row[0] <= until]
            mappings = [mapping for _time, mapping in rows]
            when = min((row[0] for row in rows), default=until)
            if not i:
                # What it began with: its parent's, or what it had when we looked.
                begun = self._begun(pid, depth)
                mappings, when = begun[0] + mappings, min(when, begun[1] or when)
            if mappings:
                out.append((_latest(mappings), when))
        if not images:
            begun = self._begun(pid, depth)
            if begun[0]:
                out.append((_latest(begun[0]), begun[1]))
        return out[:_IMAGES]

    def _begun(self, pid: int, depth: int) -> Image:
        parent, since = self._parents.get(pid, (0, 0))
        if not parent:
            text = self._seen.get(pid, b"").decode("utf-8", "surrogateescape")
            return parse_maps(text), self._seen_at
        if depth < 8:
            for image in self._images_of(parent, since, depth + 1)[:1]:
                return image
        return [], 0

    def _read(self) -> None:
        """Sort the records that came since into what each process did."""
        records = []
        for data in self._parts:
            at = 0
            while at + 8 <= len(data):
                kind, misc, size = unpack_from("=IHH", data, at)
                if kind in (_LOST, _COMM, _FORK, _MMAP2) and size >= 24:
                    (when,) = unpack_from("=Q", data, at + size - 8)
                    records.append((when, kind, misc, data[at : at + size - 8]))
                if not size:
                    break
                at += size
        self._parts.clear()
        self._size = 0
        records.sort(key=lambda record: record[0])
        for when, kind, misc, record in records:
            self._apply(when, kind, misc, record)

    def _apply(self, when: int, kind: int, misc: int, record: bytes) -> None:
        if kind == _LOST:
            self._images.clear()
            self._parents.clear()
            self._seen.clear()
            return
        pid, other = unpack_from("=II", record, 8)
        if kind == _FORK:
            if pid != other:  # not a thread
                self._parents[pid] = other, when
                self._images.pop(pid, None)
        elif kind == _COMM:
            if misc & _EXEC:
                images = self._images.setdefault(pid, [[]])
                images.append([])
                del images[1:-_IMAGES]
        else:
            images = self._images.setdefault(pid, [[]])
            images[-1].append((when, _mapping(record)))


def _mapping(record: bytes) -> Mapping:
    start, length, offset, major, minor, inode = unpack_from("=QQQIIQ", record, 16)
    file = record[_FILE_AT:].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    deleted = file.endswith(" (deleted)")
    name = "" if file == "//anon" else file.removesuffix(" (deleted)")
    return Mapping(start, start + length, offset, name, f"{major:02x}:{minor:02x}", inode, deleted)


def _latest(mappings: list[Mapping]) -> list[Mapping]:
    """What remains of mappings in the order that they were made: the later one where two overlap. By address."""
    kept: list[Mapping] = []
    for mapping in reversed(mappings):
        if all(mapping.end <= other.start or mapping.start >= other.end for other in kept):
            kept.append(mapping)
    return sorted(kept, key=lambda mapping: mapping.start)
