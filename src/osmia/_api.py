"""The library's face: compile, load and trace from Python."""

from __future__ import annotations

import os

from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from typing import Any, Self

    from .kernel import LoadedObject
    from .objects import Object
    from .session import Event, MapView, Session


def compile(
    script: str,
    *,
    name: str = "script",
    params: Sequence[str] = (),
    options: Mapping[str, str | bool] | None = None,
    pid: int = 0,
    unsafe: bool = False,
    cache: bool = True,
    **more: Any,
) -> Object:
    """Compile a script in the bpftrace language to an `Object` for this machine; nothing is loaded.

    `name` is what messages call the script. `params` are `$1`, `$2`, ...; `options` answers `getopt()`. `pid` limits
    probes to a process. `unsafe` allows what changes the system. With `cache`, an object compiled before is taken.
    Raises `SourceError` with all findings, `ProbeError`, `NotSupported`.
    """
    from ._cached import compile_cached

    return compile_cached(
        script,
        name=name,
        params=tuple(params),
        options=dict(options or {}),
        pid=pid,
        unsafe=unsafe,
        cache=cache,
        **more,
    )


def load(source: Object | str | os.PathLike[str]) -> LoadedObject:
    """Load an `Object`, or a BPF object file, into the kernel. A context manager.

    The result has `.programs`, `.maps` and `.attach(point)`.

    Raises `VerifierError`, `NotSupported`, `PermissionDenied`, `ObjectError`.
    """
    from .kernel import KernelTarget

    return KernelTarget().load(read_object(source))


def read_object(source: Object | str | os.PathLike[str]) -> Object:
    """An `Object` as it is, or read from an ELF file."""
    from .objects import Object

    if isinstance(source, Object):
        return source
    from .objects import read_elf

    with open(source, "rb") as f:
        return read_elf(f.read())


def trace(
    script: str | Object,
    *params: str,
    pid: int | None = None,
    cmd: str | Sequence[str] | None = None,
    target: str | Any = "kernel",
    duration: float | None = None,
    options: Mapping[str, str | bool] | None = None,
    name: str = "script",
    unsafe: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Trace:
    """Run a script; use as a context manager: probes are attached inside the `with` block.

    `params` are `$1`, `$2`, ...; `options` answers `getopt()`. `pid` traces one process; `cmd` (a list, or a line that
    is split at blanks) is started once probes are attached, and the trace ends with it. `duration` is in seconds.
    `on_event` gets each event as it is read, instead of `events()`.
    Raises `SourceError`, `ProbeError`, `AttachError`, `VerifierError`, `PermissionDenied`.

        with osmia.trace('interval:s:1 { printf("%d", elapsed); }', duration=3) as t:
            for event in t.events():
                print(event.text)
    """
    argv = cmd.split() if isinstance(cmd, str) else list(cmd or ())
    if isinstance(script, str):
        obj = compile(script, name=name, params=params, options=options, pid=pid or 0, unsafe=unsafe)
    else:
        obj = script
    return Trace(obj, _target(target), pid=pid or 0, cmd=argv, duration=duration, unsafe=unsafe, on_event=on_event)


def _target(target: str | Any) -> Any:
    if target == "kernel":
        from .kernel import KernelTarget

        return KernelTarget()
    if isinstance(target, str):
        raise UsageError(f"open target {target!r}: there is no such target", hint='"kernel" is')
    return target


class Trace:
    """A running trace.

    `maps` are the script's maps, live: `t.maps["@"]` is a mapping for a keyed map, and has `.value`; they can be read
    until `close()`. Events come from `events()`, or `async for event in trace`.
    """

    def __init__(
        self,
        obj: Object,
        target: Any,
        *,
        pid: int = 0,
        cmd: Sequence[str] = (),
        duration: float | None = None,
        unsafe: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        from .session import Session

        self._queue: list[Event] = []
        self.warnings: list[str] = []
        self._session: Session = Session(
            obj,
            target,
            sink=on_event or self._queue.append,
            pid=pid,
            cmd=cmd,
            duration=duration,
            unsafe=unsafe,
            warn=self.warnings.append,
        )
        self._started = False

    def start(self) -> Self:
        """Load and attach. `with` does it."""
        if not self._started:
            self._started = True
            self._session.start()
        return self

    @property
    def maps(self) -> Mapping[str, MapView]:
        """The script's maps by name ("@", "@reads"), live."""
        return self._session.maps

    @property
    def lost(self) -> dict[str, int]:
        """Events that were lost since the start, by probe."""
        return self._session.lost

    @property
    def status(self) -> int:
        """What the script gave to `exit()`, else 0."""
        return self._session.status

    def poll(self, timeout: float | None = None) -> list[Event]:
        """Wait up to `timeout` seconds for events and return those that came (with `on_event`: none).

        The last ones, with the final maps, come when the trace is over; `running` is False then.
        """
        if not self._session.ended and not self._session.poll(timeout):
            self._session.finish()
        events, self._queue[:] = list(self._queue), []
        return events

    @property
    def running(self) -> bool:
        """False once the trace has ended and its last events were made."""
        return not self._session.ended

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Events until the trace ends, or until none came for `timeout` seconds."""
        import time

        last = time.monotonic()
        while True:
            ended = self._session.ended
            batch = self.poll(timeout)
            yield from batch
            now = time.monotonic()
            if batch:
                last = now
            if ended or (timeout is not None and now - last >= timeout):
                return

    def drain(self, timeout: float | None = 0.0) -> dict[int, int]:
        """Count the records that wait in the ring, by event id, and drop them: no Python object is made.

        For scripts that produce millions of events a second and are read by rate. Waits up to `timeout` seconds for
        the first.
        """
        return self._session.count(timeout)

    def wait(self) -> int:
        """Handle events until the trace ends; returns the script's exit status. Events stay for `events()`."""
        return self._session.run()

    def stop(self) -> None:
        """Ask the trace to end; may be called from another thread."""
        self._session.stop()

    async def __aiter__(self) -> AsyncIterator[Event]:
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            ended = self._session.ended
            for event in await loop.run_in_executor(None, self.poll, 0.1):
                yield event
            if ended:
                return

    def close(self) -> None:
        """Detach and free everything. Maps cannot be read any more."""
        self._session.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        import asyncio

        return await asyncio.get_running_loop().run_in_executor(None, self.start)

    async def __aexit__(self, *_exc: object) -> None:
        self.close()
