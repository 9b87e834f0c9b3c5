"""Numbers that user space turns into names: addresses, errnos, user ids, cgroups, ...

One `Names` belongs to one session. Everything is looked up on first use and kept.
"""

from __future__ import annotations

import os

from . import _clock
from ._model import Stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping
    from typing import Any, Protocol

    from ..objects import Object, ValueType

    class Symbols(Protocol):
        """Addresses to names; `frames` may give several names for one address (inlined functions)."""

        def watch(self, programs: Iterable[str]) -> None: ...
        def collect(self) -> None: ...
        def capture(self, pid: int) -> None: ...
        def refresh(self, pid: int) -> None: ...
        def close(self) -> None: ...
        def kernel(self, address: int) -> str: ...
        def user(self, address: int, pid: int) -> str: ...
        def kernel_frames(self, stack: Stack) -> list[str]: ...
        def user_frames(self, stack: Stack) -> list[str]: ...


# Bytes of a stack entry: a u64 address, or struct bpf_stack_build_id (s32 status, 20 bytes of id, u64 offset).
FRAME, BUILD_ID_FRAME = 8, 32

LOOKUPS = ("kernel_symbol", "user_symbol", "username", "cgroup_path", "strerror", "signal")


class Names:
    """Resolves what decoded values refer to. `read_stack(map, id)` gives the bytes of a stack, None when it is gone."""

    def __init__(
        self,
        symbols: Symbols | None = None,
        read_stack: Callable[[str, int], bytes | None] | None = None,
        *,
        trailer: str = "..",
        max_strlen: int = 1024,
        keep: bool = False,
    ) -> None:
        self.keeps = keep  # stacks have to find their names after `close`
        self._alive: MutableMapping[int, Stack] = {}
        if keep:
            from weakref import WeakValueDictionary

            self._alive = WeakValueDictionary()
        self._kept: dict[tuple[object, ...], Stack] = {}
        self._keeping = False
        self._symbols = symbols
        self._tap: Callable[[Any], Any] | None = None
        self.offset_of = _clock.offset_of  # what takes a clock's time to the time of day
        self._read_stack = read_stack
        self._trailer = trailer
        self.max_strlen = max_strlen  # strings with room for one byte more are cut: others have all that there is
        self._users: dict[int, str] | None = None
        self._syscalls: dict[int, str] | None = None
        self._cgroups: dict[tuple[int, str], str] = {}
        self._kernel: dict[int, str] = {}
        self.programs: set[str] = set()  # files that user probes are in
        self.resolves_users = False  # some value needs symbols of processes
        self.lines = False  # stacks of processes show source lines

    @property
    def symbols(self) -> Symbols:
        if self._symbols is None:
            from ._symbols import SystemSymbols

            self._symbols = SystemSymbols(lines=self.lines)
            if self._tap is not None:
                self._symbols = self._tap(self._symbols)
        return self._symbols

    def tap_symbols(self, tap: Callable[[Any], Any]) -> None:
        """Put something between: `tap(symbols)` is asked instead of the symbols."""
        self._tap = tap
        if self._symbols is not None:
            self._symbols = tap(self._symbols)

    def tap_lookups(self, tap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
        """Put something between: `tap(name, method)` is called instead of each method of LOOKUPS."""
        for name in LOOKUPS:
            setattr(self, name, tap(name, getattr(self, name)))

    def cut_text(self, raw: bytes) -> str:
        """Text whose buffer was full: marked as cut where nothing ends it."""
        text, end, _ = raw.partition(b"\0")
        return text[: self.max_strlen].decode("utf-8", "surrogateescape") + ("" if end else self._trailer)

    def kernel_symbol(self, address: int) -> str:
        name = self._kernel.get(address)
        if name is None:
            name = self._kernel[address] = self.symbols.kernel(address)
        return name

    def watch(self) -> None:
        """From now on note what all processes map, if anything needs their symbols."""
        if self.resolves_users:
            self.symbols.watch(self.programs)

    def collect(self) -> None:
        """Take over what was noted meanwhile."""
        if self._symbols is not None:
            self._symbols.collect()

    def follow(self, pid: int) -> None:
        """Keep up with what this process maps, while it lives, if anything needs its symbols."""
        if self.resolves_users:
            self.symbols.capture(pid)
            self.symbols.refresh(pid)

    def keep(self, maps: Iterable[Iterable[object]]) -> None:
        """Name all stacks that somebody has, and those met in reading `maps`, which need no target from then on."""
        self._keeping = True
        for elements in maps:
            for _ in elements:
                continue
        self._keeping = False
        known: dict[tuple[object, ...], list[str]] = {}
        for stack in list(self._alive.values()):
            if stack.addresses:
                key = stack.addresses, stack.pid, stack.mode
                known[key] = stack.take_frames(known.get(key))

    def close(self) -> None:
        """Close what symbols keep open."""
        if self._symbols is not None:
            self._symbols.close()

    def user_symbol(self, address: int, pid: int) -> str:
        return self.symbols.user(address, pid)

    def stack_reader(self, t: ValueType) -> Callable[[int, int], Stack]:
        """`take(stack id, pid)` for kstack and ustack values of this type."""
        user = t.kind == "ustack"
        self.resolves_users = self.resolves_users or user

        def resolve(stack: Stack) -> list[str]:
            return self.symbols.user_frames(stack) if user else self.symbols.kernel_frames(stack)

        def take(stack_id: int, pid: int) -> Stack:
            key = (t.map, t.mode, t.count, stack_id, pid)
            stack = self._kept.get(key)
            if stack is None:
                stack = read(stack_id, pid)
            self._alive[id(stack)] = stack
            if self._keeping:
                self._kept[key] = stack
            return stack

        def read(stack_id: int, pid: int) -> Stack:
            if stack_id < 0:
                return Stack((), pid=pid, mode=t.mode, error=-stack_id)
            raw = self._read_stack(t.map, stack_id) if self._read_stack else None
            if raw is None:
                return Stack((), pid=pid, mode=t.mode, error=2)
            if t.mode == "build_id":
                found = build_id_frames(raw, t.count)
                offsets = tuple(offset for offset, _line in found)
                return Stack(offsets, pid=pid, mode=t.mode, frames=[line for _offset, line in found])
            addresses = memoryview(raw).cast("Q").tolist()[: t.count or None]
            # The kernel fills what is left of the entry with zeros.
            while addresses and not addresses[-1]:
                addresses.pop()
            if user:
                self.symbols.capture(pid)
            return Stack(tuple(addresses), pid=pid, mode=t.mode or "bpftrace", resolve=resolve)

        return take if self.keeps else read

    def clock(self, mode: str, text: str) -> Callable[[int], str]:
        """What formats times of a clock."""
        return _clock.formatter(text, self.offset_of(mode))

    def username(self, uid: int) -> str:
        """The first name that /etc/passwd gives for `uid`, or ""."""
        if self._users is None:
            self._users = {}
            try:
                with open("/etc/passwd", encoding="utf-8", errors="surrogateescape") as f:
                    for line in f:
                        fields = line.split(":")
                        if len(fields) > 2 and fields[2].isdigit():
                            self._users.setdefault(int(fields[2]), fields[0])
            except OSError:
                self._users = {}
        return self._users.get(uid, "")

    def strerror(self, number: int) -> str:
        return os.strerror(number & 0x7FFFFFFF)

    def signal(self, number: int) -> str:
        """What a signal is called in words ("Interrupt"), as strsignal(3); "N/A" for a number that none can have."""
        from signal import NSIG, strsignal

        if not 0 <= number < NSIG:
            return "N/A"
        return (strsignal(number) if number else None) or f"Unknown signal {number}"

    def syscall(self, number: int) -> str:
        """A system call's name on this machine, or its number."""
        if self._syscalls is None:
            from ..probes import syscall_names

            self._syscalls = syscall_names()
        return self._syscalls.get(number, f"[unknown: {number}]")

    def cgroup_path(self, cgroup_id: int, pattern: str) -> str:
        """ "hierarchy:path" for each mounted hierarchy that has the cgroup, comma-separated."""
        key = cgroup_id, pattern
        if key not in self._cgroups:
            from ._cgroups import cgroup_paths

            self._cgroups[key] = ",".join(f"{name}:{path}" for name, path in cgroup_paths(cgroup_id, pattern))
        return self._cgroups[key]


def build_id_frames(raw: bytes, count: int) -> list[tuple[int, str]]:
    """(offset in the file, "build-id 0xoffset"), or the bare address where the kernel found no build id.

    `raw` are entries of struct bpf_stack_build_id.
    """
    from struct import iter_unpack

    found = []
    frames = min(count or len(raw), len(raw) // BUILD_ID_FRAME)
    for status, build_id, offset in iter_unpack("<i20sQ", raw[: frames * BUILD_ID_FRAME]):
        if status == 1:  # BPF_STACK_BUILD_ID_VALID
            found.append((offset, f"{build_id.hex()} 0x{offset:02x}"))
        elif status == 2:  # BPF_STACK_BUILD_ID_IP
            found.append((offset, f"{offset:x}"))
        else:
            break
    return found


def needs_processes(obj: Object) -> bool:
    """Whether some value of the object's events or maps is an address of a process."""
    return _needs(obj, ("ustack", "usym"))


def needs_kernel(obj: Object) -> bool:
    """Whether some value of the object's events or maps is an address of the kernel."""
    return _needs(obj, ("kstack", "ksym"))


def _needs(obj: Object, kinds: tuple[str, ...]) -> bool:
    return any(has_kind(f.type, kinds) for event in obj.events for f in event.fields) or any(
        has_kind(m.key, kinds) or has_kind(m.value, kinds) for m in obj.map_formats
    )


def has_kind(t: ValueType | None, kinds: tuple[str, ...]) -> bool:
    """Whether values of this type are of one of `kinds`, or have parts that are."""
    return t is not None and (
        t.kind in kinds or has_kind(t.element, kinds) or any(has_kind(f.type, kinds) for f in t.fields)
    )
