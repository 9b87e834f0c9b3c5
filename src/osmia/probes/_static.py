"""Tracepoints without tracefs: a table of the common ones, for targets other than the kernel.

The records of system calls are the same on all kernels; those of other tracepoints are the newest kernel's.
"""

from __future__ import annotations

from ..errors import KernelError, ProbeError
from ._format import TracepointField, TracepointFormat, _declaration
from ._syscalls import syscall_names
from ._tracefs import Tracefs

# Tracepoints are named after the function, which for some calls is not the name in the table of numbers.
RENAMED = {
    "stat": "newstat", "fstat": "newfstat", "lstat": "newlstat", "uname": "newuname", "sendfile": "sendfile64",
    "umount2": "umount",
}  # fmt: skip
_COMMON = (
    TracepointField("common_type", "unsigned short", 0, 2, common=True),
    TracepointField("common_flags", "unsigned char", 2, 1, common=True),
    TracepointField("common_preempt_count", "unsigned char", 3, 1, common=True),
    TracepointField("common_pid", "int", 4, 4, signed=True, common=True),
)
_NUMBER = TracepointField("__syscall_nr", "int", 8, 4, signed=True)
_RETURN = TracepointField("ret", "long", 16, 8, signed=True)


def traced_syscalls(machine: str = "") -> dict[int, str]:
    """Number -> name in its tracepoints (sys_enter_NAME) of the system calls of `machine` that have them."""
    calls = _calls()
    names = {number: RENAMED.get(name, name) for number, name in syscall_names(machine).items()}
    return {number: name for number, name in names.items() if name in calls}


_parsed: dict[str, str] = {}


def _calls() -> dict[str, str]:
    """Name of a system call -> its arguments."""
    if not _parsed:
        from ._gen.tracepoints import SYSCALLS

        rows = (line.partition(" ") for line in SYSCALLS.strip().splitlines())
        _parsed.update({name: arguments for name, _, arguments in rows})
    return _parsed


class StaticTracepoints:
    """The table, with the face of `Tracefs`; what it lacks is taken from `live`, where that can be read."""

    def __init__(self, live: Tracefs | None = None) -> None:
        self._live = live
        self._events: dict[str, list[str]] | None = None
        self._rows: dict[str, str] = {}

    @property
    def path(self) -> str:
        """Where tracefs is, "" if it is not."""
        return self._live.path if self._live else ""

    def require(self) -> str:
        """As `Tracefs.require`."""
        return (self._live or Tracefs()).require()

    def _table(self) -> dict[str, str]:
        """Full name -> fields of what is no system call."""
        if not self._rows:
            from ._gen.tracepoints import EVENTS

            rows = (line.partition("|") for line in EVENTS.strip().splitlines())
            self._rows = {name: fields for name, _, fields in rows}
        return self._rows

    def events(self) -> dict[str, list[str]]:
        """Category -> its events, both sorted."""
        if self._events is None:
            found: dict[str, set[str]] = {}
            for name in self._table():
                category, _, event = name.partition(":")
                found.setdefault(category, set()).add(event)
            calls = traced_syscalls().values()
            found["syscalls"] = {f"sys_{side}_{name}" for name in calls for side in ("enter", "exit")}
            for category, events in self._of_live().items():
                found.setdefault(category, set()).update(events)
            order = sorted(found, key=lambda category: category + ":")
            self._events = {category: sorted(found[category]) for category in order}
        return self._events

    def _of_live(self) -> dict[str, list[str]]:
        if self._live is None or not self._live.path:
            return {}
        try:
            return self._live.events()
        except (KernelError, OSError):
            return {}  # closed to us

    def has(self, category: str, event: str) -> bool:
        """Whether this very tracepoint is known."""
        return self._known(category, event) is not None or event in self._of_live().get(category, ())

    def format(self, category: str, event: str) -> TracepointFormat:
        """The fields of its record; ProbeError when it is not known."""
        fields = self._known(category, event)
        if fields is not None:
            return TracepointFormat(event, 0, _COMMON + fields)
        if self._live is not None and event in self._of_live().get(category, ()):
            return self._live.format(category, event)
        raise ProbeError(
            f"describe tracepoint {category}:{event}: it is in no table, and tracefs is closed to us",
            probe=f"tracepoint:{category}:{event}",
            hint="run it as root, or use another tracepoint",
        )

    def _known(self, category: str, event: str) -> tuple[TracepointField, ...] | None:
        if category == "syscalls":
            return _of_syscall(event)
        row = self._table().get(f"{category}:{event}")
        if row is None:
            return None
        fields = []
        for part in row.split("|") if row else ():
            offset, size, signed, declaration = part.split(" ", 3)
            type_, name, count, dynamic = _declaration(declaration)
            fields.append(TracepointField(name, type_, int(offset), int(size), signed == "1", count, dynamic))
        return tuple(fields)


def _of_syscall(event: str) -> tuple[TracepointField, ...] | None:
    side, _, name = event.removeprefix("sys_").partition("_")
    if side not in ("enter", "exit") or name not in _calls() or name not in traced_syscalls().values():
        return None
    if side == "exit":
        return _NUMBER, _RETURN
    fields = [_NUMBER]
    for i, declaration in enumerate(filter(None, _calls()[name].split(";"))):
        type_, field, count, dynamic = _declaration(declaration)
        fields.append(TracepointField(field, type_, 16 + 8 * i, 8, False, count, dynamic))
    return tuple(fields)
