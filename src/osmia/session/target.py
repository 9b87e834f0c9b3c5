"""What a session asks of a target: the kernel, or anything else that runs an `Object`.

Only type checkers read this module.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Protocol

    from ..objects import AttachPoint, Object

    class LoadedMap(Protocol):
        """A map. Values of per-CPU maps hold one copy per possible CPU, each padded to 8 bytes."""

        def items(self) -> Iterator[tuple[bytes, bytes]]: ...
        def lookup(self, key: bytes) -> bytes | None: ...
        def update(self, key: bytes, value: bytes) -> None: ...
        def delete(self, key: bytes) -> bool: ...

    class RunResult(Protocol):
        """What `run` of a program gave; `duration` in nanoseconds, averaged over the repeats."""

        @property
        def retval(self) -> int: ...
        @property
        def duration(self) -> int: ...

    class LoadedProgram(Protocol):
        def run_once(self, context: bytes = b"") -> int: ...
        def test_run(self, data: bytes = b"", *, repeat: int = 0) -> RunResult: ...

    class Link(Protocol):
        def read(self) -> bytes: ...
        def close(self) -> None: ...

    class Batch(Protocol):
        """Records in `data`: `runs` holds (start, count, size, stride), as in `osmia.kernel.Batch`."""

        @property
        def data(self) -> bytes: ...
        @property
        def runs(self) -> list[tuple[int, int, int, int]]: ...
        @property
        def count(self) -> int: ...

    class Reader(Protocol):
        """Reader of the event ring; its descriptor is readable while there are records."""

        def fileno(self) -> int: ...
        def drain(self) -> Batch: ...
        def close(self) -> None: ...

    class Loaded(Protocol):
        """May have `reader(ring) -> Reader` of its own, and `follow(pid)`, which is called when all is attached, before
        the command (`pid`; 0: none) is let go.
        """

        @property
        def programs(self) -> Mapping[str, LoadedProgram]: ...
        @property
        def maps(self) -> Mapping[str, LoadedMap]: ...
        def attach(self, point: AttachPoint) -> Link: ...
        def detach_all(self) -> None: ...
        def close(self) -> None: ...

    class Target(Protocol):
        """May have `run_values() -> dict[str, int]`, in place of what the session writes for "run.NAME" settings, and
        `cleans_up`, true where what was attached stays behind a process that is killed.
        """

        def load(self, obj: Object) -> Loaded: ...
