"""The library's face: compile, load and trace from Python."""

from __future__ import annotations

import os

from .errors import FormatError, SourceError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping, Sequence
    from typing import Any, Self

    from .kernel import LoadedObject
    from .objects import Object
    from .session import Event, MapView, Session


# Scripts are some kilobytes. One that is all probes takes 100 s a 10 MB, and fails in the end.
SCRIPT_LIMIT = 1 << 20


def compile(
    script: str | os.PathLike[str],
    *,
    name: str = "",
    params: Sequence[str | int] = (),
    options: Mapping[str, str | int] | None = None,
    pid: int = 0,
    unsafe: bool = False,
    cache: bool = True,
    **more: Any,
) -> Object:
    """Compile a script in the bpftrace language to an `Object` for this machine; nothing is loaded.

    `script` is its text, or the path of a file (`pathlib.Path`): a `str` is always text. `name` is what messages call
    it ("script", or the path). `params` are `$1`, `$2`, ...; `options` answers `getopt()`. `pid` limits probes to a
    process. `unsafe` allows what changes the system. With `cache`, an object compiled before is taken.
    Raises `SourceError` with all findings, `ProbeError`, `NotSupported`; `PermissionDenied` where that is what keeps
    its probes from being found; `UsageError` for arguments of other types.
    """
    from ._cached import compile_cached

    given = _parameters(params)
    answers = _answers(options)
    if not isinstance(name, str):
        raise UsageError(f"name script {name!r}: that is {type(name).__name__}", hint="give a str")
    try:
        return compile_cached(
            _text_of(script),
            name=name or (os.fsdecode(script) if isinstance(script, os.PathLike) else "script"),
            params=given,
            options=answers,
            pid=pid,
            unsafe=unsafe,
            cache=cache,
            **more,
        )
    except SourceError as e:
        if e.denied is not None:
            raise e.denied from e
        if isinstance(script, str) and _names_file(script):
            e.hint = f"a str is the text of a script: for the file, give pathlib.Path({script!r})"
        raise


def _parameters(params: Sequence[str | int]) -> tuple[str, ...]:
    if isinstance(params, str) or not hasattr(params, "__iter__"):
        what = "one text" if isinstance(params, str) else type(params).__name__
        raise UsageError(f"compile script: params is {what}", hint='give a list: params=["7", "x"]')
    return tuple(_argument(f"${i}", value) for i, value in enumerate(params, 1))


def _answers(options: Mapping[str, str | int] | None) -> dict[str, str | bool]:
    """What `getopt()` answers."""
    if options is None:
        return {}
    if not hasattr(options, "items"):
        raise UsageError(f"compile script: options is {type(options).__name__}", hint='give a dict: options={"n": 5}')
    wrong = next((n for n in options if not isinstance(n, str)), None)
    if wrong is not None:
        raise UsageError(f"compile script: an option is called {wrong!r}", hint="names of options are str")
    return {n: v if isinstance(v, bool) else _argument(n, v) for n, v in options.items()}


def _names_file(script: str) -> bool:
    """Whether what was given as the text of a script is more likely the name of a file."""
    if "{" in script or "\n" in script or "\0" in script:
        return False
    return script.endswith(".bt") or os.path.isfile(script)


def _text_of(script: str | os.PathLike[str]) -> str:
    if isinstance(script, str):
        return script
    if not isinstance(script, os.PathLike):
        raise UsageError(
            f"compile script: {type(script).__name__} is no script", hint="give its text, a pathlib.Path, or an Object"
        )
    path = os.fsdecode(script)
    return read_text(path, path, hint="give the path of a text file")


def read_text(file: str | int, shown: str, *, hint: str) -> str:
    """The text of a script's file, or of a descriptor that stays open; `shown` is what messages call it.

    Raises `UsageError` for what cannot be read (`hint` goes with it), and for what is no text.
    """
    try:
        with open(file, encoding="utf-8", errors="surrogateescape", closefd=file != 0) as f:
            text = f.read(SCRIPT_LIMIT + 1)
    except (OSError, ValueError) as e:
        cause = getattr(e, "strerror", "") or str(e)
        raise UsageError(
            f"read script {shown}: {cause.lower()}",
            hint=hint,
            as_bpftrace=f"failed to open file '{shown}': {cause}",
        ) from None
    if "\0" in text:
        hint = "give its source, in UTF-8"
        if text.startswith("\x7fELF"):
            hint = "a compiled object is started by osmia run"
        raise UsageError(f"read script {shown}: it is binary, not text", hint=hint)
    if len(text) > SCRIPT_LIMIT:
        limit = f"{SCRIPT_LIMIT >> 20} MiB"
        raise UsageError(f"read script {shown}: it is longer than {limit}", hint="split it into several")
    return text.removeprefix("\ufeff")


def _argument(name: str, value: str | int) -> str:
    """What a script gets as a parameter: text, as on a command line."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    raise UsageError(f"pass {name} to script: {value!r} is {type(value).__name__}", hint="give a str or an int")


def load(source: Object | str | os.PathLike[str], *, globals: Mapping[str, object] | None = None) -> LoadedObject:
    """Load an `Object`, or a BPF object file, into the kernel. A context manager.

    The result has `.programs`, `.maps` (of bytes) and `.attach(point)`. `globals` sets variables of a C program before,
    such as `const volatile` ones.

    Raises `VerifierError`, `NotSupported`, `PermissionDenied`, `ObjectError`.
    """
    from .kernel import KernelTarget

    return KernelTarget().load(_with_globals(read_object(source), globals))


def _with_globals(obj: Object, globals: Mapping[str, object] | None) -> Object:
    if not globals:
        return obj
    from .objects import set_variables

    return set_variables(obj, globals)


def read_object(source: Object | str | os.PathLike[str]) -> Object:
    """An `Object` as it is, or read from an ELF file."""
    from .objects import Object

    if isinstance(source, Object):
        return source
    if not isinstance(source, (str, os.PathLike)):
        hint = "give an Object, or the path of a file"
        raise UsageError(f"load object: {type(source).__name__} is no object", hint=hint)
    from .objects import read_elf

    try:
        with open(source, "rb") as f:
            data = f.read()
    except (OSError, ValueError) as e:
        cause = getattr(e, "strerror", "") or str(e)
        raise UsageError(f"read object {os.fsdecode(source)}: {cause.lower()}", hint="give a BPF object file") from None
    try:
        return read_elf(data)
    except FormatError as e:
        # Which file it is, where the reader knows the part at hand only.
        e.message = f"read {os.fsdecode(source)}: {e.message.removeprefix('read object: ')}"
        e.hint = e.hint or "give a BPF object file, as clang -target bpf and osmia build make them"
        raise


def trace(
    script: str | os.PathLike[str] | Object,
    *params: str | int,
    pid: int | None = None,
    cmd: str | Sequence[str] | None = None,
    target: str | Any = "kernel",
    duration: float | None = None,
    options: Mapping[str, str | int] | None = None,
    globals: Mapping[str, object] | None = None,
    name: str = "",
    unsafe: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Trace:
    """Run a script; use as a context manager: probes are attached inside the `with` block.

    `script` is text, the path of a file (`pathlib.Path`; a `str` is always text), or an `Object`.
    `params` are `$1`, `$2`, ...; `options` answers `getopt()`. `pid` traces one process; `cmd` (a list, or a line that
    is split at blanks) is started once probes are attached, and the trace ends with it. `duration` is in seconds.
    `globals` sets variables of an `Object` that was made of C before it is loaded, such as `const volatile` ones.
    `target` "vm" needs no privilege: system calls, functions and signals of `cmd` or `pid` are traced by ptrace.
    `on_event` gets each event as it is read, instead of `events()`.
    Raises `SourceError`, `ProbeError`, `AttachError`, `VerifierError`, `PermissionDenied`, `UsageError`.

        with osmia.trace('interval:s:1 { printf("%d", elapsed); }', duration=3) as t:
            for event in t.events():
                print(event.text)
    """
    argv = _argv(cmd)
    if on_event is not None and not callable(on_event):
        raise UsageError(f"hand events to {on_event!r}: that is no function", hint="give one that takes an event")
    if pid is not None and (not isinstance(pid, int) or pid <= 0):
        raise UsageError(f"trace process {pid!r}: that is no number of a process")
    if duration is not None and (not isinstance(duration, (int, float)) or not duration >= 0):
        raise UsageError(f"trace for {duration!r}: that is no number of seconds")
    from .objects import Object

    if isinstance(script, Object):
        if params or options:
            raise UsageError("pass parameters to object: they were compiled in", hint="give them to osmia.compile()")
        obj = _of_c(_with_globals(script, globals))
    else:
        if globals:
            raise UsageError("set globals of a script: it has none", hint="params are $1, $2; options are for getopt()")
        more: dict[str, Any] = {"target": "vm", "has_cmd": bool(argv)} if target == "vm" else {}
        obj = compile(script, name=name, params=params, options=options, pid=pid or 0, unsafe=unsafe, **more)
    return Trace(obj, _target(target), pid=pid or 0, cmd=argv, duration=duration, unsafe=unsafe, on_event=on_event)


def _of_c(obj: Object) -> Object:
    """The object with formats of its maps: one that was made of C does not say how they are to be read."""
    if obj.map_formats or not obj.is_plain:
        return obj
    from .objects import derive_formats
    from .syscalls import possible_cpus

    return obj.replace(map_formats=derive_formats(obj, cpus=possible_cpus()))


def _argv(cmd: str | Sequence[str] | None) -> list[str]:
    if cmd is None:
        return []
    if not hasattr(cmd, "__iter__") or isinstance(cmd, bytes):
        raise UsageError(f"start command {cmd!r}: that is {type(cmd).__name__}", hint='give a list: ["ls", "-l"]')
    argv = cmd.split() if isinstance(cmd, str) else list(cmd)
    for i, word in enumerate(argv):
        if isinstance(word, os.PathLike):
            argv[i] = os.fsdecode(word)
        elif not isinstance(word, str):
            raise UsageError(f"start command {cmd!r}: {word!r} is {type(word).__name__}", hint="each word is a str")
    if not argv:
        raise UsageError("start command: it is empty", hint="leave cmd out, or give a program with its arguments")
    return argv


def _target(target: str | Any) -> Any:
    if target == "kernel":
        from .kernel import KernelTarget

        return KernelTarget()
    if target == "vm":
        from .vm import VmTarget

        return VmTarget.live()
    if isinstance(target, str):
        raise UsageError(f"open target {target!r}: there is no such target", hint='"kernel" and "vm" are')
    return target


class Trace:
    """A trace: it runs in its `with` block, or from `start()` to `close()`. Use it once.

    `maps` are the script's maps: `t.maps["@"]` is a mapping if the map has keys, else it has `.value`. They are live;
    after `close()` they hold what they held then. Events come from `events()`, or `async for event in trace`.
    What needs a running trace raises `UsageError` before `start()`.
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
            keep=True,
            warn=self.warnings.append,
        )
        self._started = False
        self._loaded = False
        self._entered = False
        self._closed = False

    def load(self) -> Self:
        """Load programs and maps, and attach nothing: maps can be filled before `start`, or `with`, attaches."""
        if self._closed:
            raise UsageError("load trace: it has ended", hint="make another one with osmia.trace()")
        self._session.load()
        self._loaded = True
        return self

    def start(self) -> Self:
        """Load and attach. `with` does it."""
        if self._closed:
            raise UsageError("start trace: it has ended", hint="make another one with osmia.trace()")
        if not self._started:
            self._started = True
            try:
                self._session.start()
            except BaseException:
                self._started, self._closed = False, True
                raise
        return self

    def _run(self, verb: str) -> Session:
        """The session, which has been started."""
        if not self._started:
            raise UsageError(f"{verb} trace: it was not started", hint="use it so: with osmia.trace(...) as t: ...")
        return self._session

    def _data(self, verb: str) -> Session:
        """The session, which has been loaded."""
        return self._session if self._loaded else self._run(verb)

    @property
    def maps(self) -> Mapping[str, MapView]:
        """The script's maps by name ("@", "@reads"): live, after `close()` as they were then."""
        return self._data("read maps of").all_maps

    @property
    def globals(self) -> MutableMapping[str, Any]:
        """Global variables of a C program by name; all but constants can be set while it runs."""
        return self._data("read globals of").globals

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
        session = self._run("poll")
        if not session.ended and not session.poll(timeout):
            session.finish()
        events, self._queue[:] = list(self._queue), []
        return events

    @property
    def running(self) -> bool:
        """From its start until it has ended and its last events were made."""
        return self._started and not self._session.ended

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Events until the trace ends, or until none came for `timeout` seconds."""
        self._run("read events of")
        return self._events(timeout)

    def _events(self, timeout: float | None) -> Iterator[Event]:
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
        return self._run("drain").count(timeout)

    def wait(self) -> int:
        """Handle events until the trace ends; returns the script's exit status. Events stay for `events()`."""
        return self._run("wait for").run()

    def stop(self) -> None:
        """Ask the trace to end; may be called from another thread."""
        self._session.stop()

    async def __aiter__(self) -> AsyncIterator[Event]:
        import asyncio

        self._run("read events of")
        loop = asyncio.get_running_loop()
        while True:
            ended = self._session.ended
            for event in await loop.run_in_executor(None, self.poll, 0.1):
                yield event
            if ended:
                return

    def close(self) -> None:
        """Detach and free everything. Maps, events, `lost` and `status` stay as they are."""
        self._closed = True
        self._session.close()

    def _enter(self) -> Self:
        self.start()
        if self._entered:
            raise UsageError("enter trace: it has a with block already", hint="make another one with osmia.trace()")
        self._entered = True
        return self

    def __enter__(self) -> Self:
        return self._enter()

    def __exit__(self, *_exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        import asyncio

        return await asyncio.get_running_loop().run_in_executor(None, self._enter)

    async def __aexit__(self, *_exc: object) -> None:
        self.close()
