"""A running trace: an object on a target, from load to the last map printed."""

from __future__ import annotations

import os
import time
from select import POLLIN, poll
from struct import Struct

from ..errors import AttachError, NotSupported, OsmiaError, ProbeError, UsageError
from ..isa.map_types import RINGS
from . import _events as ev
from ._actions import compile_action
from ._losses import Losses
from ._maps import Maps, MapView
from ._names import Names, needs_kernel, needs_processes
from ._readers import Pace, open_reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from ..objects import AttachPoint, Object
    from ._actions import Handler
    from ._child import Child
    from ._globals import Globals
    from ._names import Symbols
    from ._rows import RowsHandler
    from ._sources import Sources
    from ._wake import Signals
    from .target import Link, Loaded, LoadedProgram, Reader, Target

    class Tape(Protocol):
        """Stands between a session and the world: a `Recorder`, or a `Replay`."""

        def wrap(self, target: Any) -> Any: ...
        def tap(self, names: Names) -> None: ...
        def outside(self, make: Callable[[], ev.Event]) -> ev.Event: ...
        def close(self) -> None: ...


SIGHUP, SIGINT, SIGQUIT, SIGTERM = 1, 2, 3, 15
RECORD_ID = Struct("<Q").unpack_from
# Providers whose programs user space runs itself: nothing is attached.
DIRECT = ("begin", "end", "self", "test", "bench")
# The kernel runs the probe that was attached last first: attached in reverse, blocks run in the order of the script.
LAST_FIRST = ("kprobe", "uprobe", "uretprobe", "usdt", "fentry", "fexit", "iter")
# Attached to one process where the session has one; programs of other providers filter by themselves.
BY_PROCESS = ("uprobe", "uretprobe", "usdt", "watchpoint", "iter", "profile", "software", "hardware")
# How often losses are looked at, and processes that have no pidfd, in seconds.
TICK = 0.5
FIRST_TICK = 0.005
# Records of one format that follow each other: from so many on they are handled at once.
MANY = 64
# Longest time that the end of a trace spends on reading what is left, in seconds.
PATIENCE = 0.5


def drop(_event: ev.Event) -> None:
    """The sink of a session that nobody listens to."""


class Session:
    """Loads and attaches an object, reads its events, and takes everything down again.

    `sink` is called with each `Event`, in the order of the ring. `pid` and `cmd` limit probes to a process, or to a
    command that the session starts; the trace ends with it. `duration` is in seconds. `signals` makes SIGINT,
    SIGTERM and SIGHUP (unless nohup ignores it) end the trace (main thread only), and SIGQUIT where the target has to
    clean up behind itself. `warn` takes texts that a person should read. `unsafe` allows `system()`.
    `trace_pipe` also reads what programs write with bpf_trace_printk(). With `keep`, maps, losses and names of stacks
    can be read after `close`, as they were then. `tape` records the session, or replays one.

        with Session(obj, target, sink=print) as session:
            session.start()
            status = session.run()
    """

    def __init__(
        self,
        obj: Object,
        target: Target,
        *,
        sink: Callable[[ev.Event], None] = drop,
        pid: int = 0,
        cmd: Sequence[str] = (),
        duration: float | None = None,
        signals: bool = False,
        unsafe: bool = False,
        warnings: bool = True,
        symbols: Symbols | None = None,
        trace_pipe: bool = False,
        keep: bool = False,
        warn: Callable[[str], None] | None = None,
        tape: Tape | None = None,
    ) -> None:
        self.object = obj
        self.target = target if tape is None else tape.wrap(target)
        self._cleans_up, self._tape = bool(getattr(target, "cleans_up", False)), tape
        self.emit = sink
        self.pid = pid
        self.cmd = tuple(cmd)
        self.duration = duration
        self.unsafe = unsafe
        self.warnings = warnings
        self.status, self.ended, self._detached = 0, False, False
        self.maps: dict[str, MapView] = Maps()
        self._settings = dict(obj.settings)
        trailer, longest = str(self._settings.get("str_trunc_trailer", "..")), self.setting("max_strlen", 1024)
        self.names = Names(symbols, self._read_stack, trailer=trailer, max_strlen=longest, keep=keep)
        if tape is not None:
            tape.tap(self.names)
        self.names.programs.update(p.target for p in obj.attach_points if p.provider in ("uprobe", "uretprobe", "usdt"))
        self.names.resolves_users = needs_processes(obj)
        self.names.lines = bool(self._settings.get("show_debug_info", 0))
        self._warn = warn or (lambda _text: None)
        self._catch = signals
        self._loaded: Loaded | None = None
        self._reader: Reader | None = None
        self._sources: Sources | None = None
        self._trace_pipe = trace_pipe
        self._lost: dict[str, int] = {}  # when it was closed
        self._links: list[Link] = []
        self._points: list[AttachPoint] = []  # one for each link
        self._handlers: dict[int, Handler] = {}
        self._row_handlers: dict[int, RowsHandler | None] = {}
        self._losses: Losses | None = None
        self._child: Child | None = None
        self._signals: Signals | None = None
        self._ending: tuple[int, ...] = ()  # signals that end the trace
        self._signal_programs: dict[int, list[LoadedProgram]] = {}
        self._pidfd, self._stop_pipe = -1, (-1, -1)
        self._deadline = self._next_tick = 0.0
        self._tick = TICK
        self._over = False  # nothing more to wait for
        self._pace = Pace(obj)
        self._deaf = False  # exit() was seen: what the ring still holds came after it

    _all_maps: dict[str, MapView] | None = None
    _globals: Globals | None = None

    # life

    def load(self) -> Loaded:
        """Load programs and maps, open the ring; attach nothing. `start` does it too."""
        if self._loaded is None:
            try:
                self._load()
            except BaseException:
                self.close()
                raise
        assert self._loaded is not None
        return self._loaded

    def start(self) -> int:
        """Load, run `begin`, attach everything, let the command run. Returns how many probes are attached."""
        loaded = self.load()
        try:
            return self._start(loaded)
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        obj = self.object
        if self._catch:
            from ._wake import Signals, is_ignored

            more = (SIGHUP, SIGQUIT) if self._cleans_up else (SIGHUP,)
            self._ending = (SIGINT, SIGTERM, *(number for number in more if not is_ignored(number)))
            self._signals = Signals((*self._ending, *self._signal_numbers()))
        self._stop_pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.cmd:
            from ._child import Child

            self._child = Child(self.cmd)
        elif self.pid:
            self._watch(self.pid)
        self._loaded = loaded = self.target.load(self._with_run_values(obj))
        rings = {m.name for m in obj.maps if m.type in RINGS and m.name != obj.ring}
        if rings or self._trace_pipe:
            from ._sources import Sources

            self._sources = Sources(loaded, self.names, self._forward)
            self._sources.open(obj, rings, trace_pipe=self._trace_pipe)
        for map_format in obj.map_formats:
            if map_format.map not in rings:
                self.maps[map_format.name] = MapView(map_format, loaded.maps[map_format.map], self.names)
        if obj.ring:
            self._reader = open_reader(loaded, obj.ring)
        if obj.loss:
            self._losses = Losses(loaded.maps[obj.loss], obj)

    @property
    def all_maps(self) -> dict[str, MapView]:
        """`maps`, and those that are never printed: of an object from a C compiler, prog arrays, maps of maps, ..."""
        if self._all_maps is None:
            if self._loaded is None:
                return self.maps
            from ._references import all_maps

            self._all_maps = all_maps(self.object, self._loaded, self.maps, self.names)
        return self._all_maps

    @property
    def globals(self) -> Globals:
        """Global variables of an object from a C compiler, by name; after `close`, as they were then."""
        if self._globals is None:
            if self._loaded is None:
                raise UsageError("read globals: the object is not loaded", hint="do it inside the with block")
            from ._globals import Globals

            self._globals = Globals(self.object, self._loaded, self.names)
        return self._globals

    def _start(self, loaded: Loaded) -> int:
        self.names.watch()
        self._warn_of_addresses()
        count = self._attach(loaded)
        if self.duration is not None:
            self._deadline = time.monotonic() + self.duration
        if not self._links and not self._signal_programs:
            self._over = True  # begin and end alone: what they wrote is all there will be
        follow = getattr(loaded, "follow", None)
        if follow is not None:
            follow(self._child.pid if self._child else self.pid)
        self.emit(ev.Attached(count))  # before the command can write anything
        if self._child:
            self._child.release()
        if self._child or self.pid:
            # A program maps its libraries as it starts: at first we look more often.
            self._tick = FIRST_TICK if self.names.resolves_users else TICK
            self.names.follow(self._child.pid if self._child else self.pid)
        self._read_iterators()
        return count

    def _warn_of_addresses(self) -> None:
        if not self.warnings or getattr(self.target, "name", "") != "kernel" or not needs_kernel(self.object):
            return
        from ._losses import hidden_addresses

        why = hidden_addresses()
        if why:
            self._warn(why)

    def _read_iterators(self) -> None:
        """Iterators run when they are read, once, and that is all they do."""
        for point, link in zip(self._points, self._links):
            if point.provider != "iter":
                continue
            self._over = True
            if point.pin:
                self.emit(ev.Cat(f"Program pinned to {point.pin}\n"))
                continue
            text = link.read()
            if text:
                self.emit(ev.Cat(text.decode("utf-8", "surrogateescape")))

    def _signal_numbers(self) -> list[int]:
        from ._wake import signal_number

        numbers = []
        for point in self.object.attach_points:
            if point.provider == "self":
                try:
                    numbers.append(signal_number(point.function))
                except ValueError as e:
                    raise AttachError(f"attach {point.name}: {e}", probe=point.name) from None
        return numbers

    def _attach(self, loaded: Loaded) -> int:
        points = self.object.attach_points
        count = 0
        for point in points:
            if point.provider == "begin":
                loaded.programs[point.program].run_once()
            elif point.provider == "self" and self._signals:
                from ._wake import signal_number

                number = signal_number(point.function)
                self._signal_programs.setdefault(number, []).append(loaded.programs[point.program])
            if point.provider in ("begin", "end", "self"):
                count += 1
        real = [p for p in points if p.provider not in DIRECT]
        forward = [p for p in real if p.provider not in LAST_FIRST]
        backward = [p for p in reversed(real) if p.provider in LAST_FIRST]
        places: set[tuple[str, str]] = set()
        for point in forward + backward:
            attached = self._attach_one(loaded, point)
            if point.provider == "usdt" and attached:
                # The places of one USDT probe are one probe.
                place = point.program, point.name
                attached = 0 if place in places else 1
                places.add(place)
            count += attached
        if not count:
            kinds = {p.provider for p in points}
            how = "use --test to run test probes" if "test" in kinds else ""
            how = how or ("use --bench to run benchmark probes" if "bench" in kinds else "")
            raise AttachError("attach probes: no probes attached", probe="", hint=how)
        return count

    def _attach_one(self, loaded: Loaded, point: AttachPoint) -> int:
        pid = self._child.pid if self._child else self.pid
        if pid and not point.pid and point.provider in BY_PROCESS:
            point = point.replace(pid=pid)
        try:
            link = loaded.attach(point)
        except (AttachError, NotSupported, ProbeError) as e:
            if not point.optional:
                e.probe = point.name
                raise
            if self._settings.get("missing_probes") != "ignore":
                self._warn(f"{e.message}; skipping it")
            return 0
        self._links.append(link)
        self._points.append(point)
        return len(point.functions) or len(point.offsets) or 1

    def _with_run_values(self, obj: Object) -> Object:
        """The object with what only this run knows: settings ("run.<value>", "<map>+<offset>") say where a u64 goes."""
        values = {
            "run.child_pid": self._child.pid if self._child else 0,
            "run.pid": self._child.pid if self._child else self.pid,
            "run.boot_time": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            "run.tai_offset": time.clock_gettime_ns(time.CLOCK_TAI) - time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        }
        own = getattr(self.target, "run_values", None)
        if own is not None:
            values.update(own())
        for name, where in obj.settings:
            if not name.startswith("run.") or name not in values:
                continue
            map_name, _, offset = str(where).rpartition("+")
            at = int(offset)
            maps = []
            for spec in obj.maps:
                if spec.name == map_name and spec.contents is not None:
                    data = bytearray(spec.contents)
                    data[at : at + 8] = values[name].to_bytes(8, "little")
                    spec = spec.replace(contents=bytes(data))
                maps.append(spec)
            obj = obj.replace(maps=tuple(maps))
        return obj

    def _watch(self, pid: int) -> None:
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise UsageError(f"attach to pid {pid}: no such process") from None
        except OSError:
            self._pidfd = -1  # Linux before 5.3, or forbidden by a sandbox: looked at every TICK instead

    # events

    def run(self) -> int:
        """Poll until the trace ends, then finish. Returns the exit status that the script asked for."""
        while self.poll(None):
            continue
        self.finish()
        return self.status

    def poll(self, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds (None: TICK) and handle what came. False: the trace is over."""
        if self._over:
            return False
        ready = self._wait(timeout)
        if self._signals and self._signals.fileno() in ready:
            self._on_signals(self._signals.take())
        self._drain()
        if self._sources:
            self._sources.drain()
        now = time.monotonic()
        if self._stop_pipe[0] in ready or (self._deadline and now >= self._deadline) or self._process_gone(ready):
            self._over = True
        if now >= self._next_tick:
            self._next_tick = now + self._tick
            self._tick = min(2 * self._tick, TICK)
            if self._child or self.pid:
                self.names.follow(self._child.pid if self._child else self.pid)
            self.names.collect()
            self._report_losses()
        return not self._over

    def _forward(self, event: ev.Event) -> None:
        self.emit(event)

    def _wait(self, timeout: float | None) -> set[int]:
        waiter = poll()
        for fd in (
            self._reader.fileno() if self._reader else -1,
            self._signals.fileno() if self._signals else -1,
            self._child.fileno() if self._child else -1,
            self._pidfd,
            self._stop_pipe[0],
            *(self._sources.filenos() if self._sources else ()),
        ):
            if fd >= 0:
                waiter.register(fd, POLLIN)
        limit = self._tick if timeout is None or timeout > self._tick else timeout
        self._pace.rest(limit)
        if self._deadline:
            limit = min(limit, max(0.0, self._deadline - time.monotonic()))
        return {fd for fd, _event in waiter.poll(limit * 1000)}

    def _process_gone(self, ready: set[int]) -> bool:
        if self._child:
            # Not before its descriptor says so: waiting for a child takes the news that a tracer in this process needs.
            return (self._child.fileno() in ready or self._child.fileno() < 0) and self._child.poll()
        if not self.pid:
            return False
        if self._pidfd >= 0:
            return self._pidfd in ready
        return not os.path.exists(f"/proc/{self.pid}")

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            for program in self._signal_programs.get(number, ()):
                program.run_once()
            if number in self._ending:
                self._over = True

    def _drain(self) -> int:
        """Handle one batch of records; how many there were."""
        if not self._reader:
            return 0
        batch = self._reader.drain()
        if batch.count:
            self._pace.note_batch()
        data, handlers = batch.data, self._handlers
        for start, count, _size, stride in batch.runs:
            if count >= MANY and self._handle_rows(data, start, count, stride):
                continue
            for at in range(start, start + count * stride, stride):
                (format_id,) = RECORD_ID(data, at)
                handler = handlers.get(format_id) or self._new_handler(format_id)
                handler(data, at)
                if self._deaf:
                    return batch.count
        return batch.count

    def _handle_rows(self, data: bytes, start: int, count: int, stride: int) -> bool:
        """Handle a run of records at once, if they are of one format that can be; whether they were."""
        from ._count import shared_id
        from ._rows import compile_rows

        format_id = shared_id(data, start, count, stride)
        if format_id not in self._row_handlers:
            format = next((f for f in self.object.events if f.id == format_id), None)
            self._row_handlers[format_id] = compile_rows(format, self) if format else None
        handle = self._row_handlers[format_id]
        if handle is None:
            return False
        handle(data, start, count, stride)
        return True

    def drain(self) -> None:
        """Handle every record that is in the ring now.

        Not without end: probes that are detached in the background may still fill it.
        """
        deadline = time.monotonic() + PATIENCE
        while self._drain() and not self._deaf and time.monotonic() < deadline:
            continue
        if self._sources:
            self._sources.drain(PATIENCE)

    def count(self, timeout: float | None) -> dict[int, int]:
        """Take records out of the ring and count them by format id, waiting up to `timeout` seconds for the first."""
        from ._count import count_by_id

        counts: dict[int, int] = {}
        if self._reader:
            if timeout:
                self._wait(timeout)
            deadline = time.monotonic() + PATIENCE
            taken = MANY
            while taken >= MANY and time.monotonic() < deadline:
                taken = count_by_id(self._reader.drain(), counts)
            if counts:
                self._pace.note_batch()
        return counts

    def resume(self) -> None:
        """Forget an `exit()`: tests and benchmarks run one after the other."""
        self.status, self._deaf = 0, False

    def _new_handler(self, format_id: int) -> Handler:
        for format in self.object.events:
            if format.id == format_id:
                handler = self._handlers[format_id] = compile_action(format, self)
                return handler
        raise OsmiaError(f"read event: unknown format {format_id}", hint="the object and its events do not match")

    def _report_losses(self) -> None:
        others = self._sources.lost() if self._sources else {}
        if others:
            self.emit(ev.Lost(sum(others.values()), others))
        if self._losses:
            lost = self._losses.new()
            if lost:
                self.emit(ev.Lost(sum(lost.values()), lost))

    def _report_what_was_full(self) -> None:
        if not self._losses or not self.warnings:
            return
        lost = sum(self._losses.total().values())
        if lost:
            text = (
                f"{lost} {'event' if lost == 1 else 'events'} did not fit the ring: raise the config perf_rb_pages, "
                "print less, or count in a map in place of printing"
            )
            self.emit(ev.Message("warning", text))
        for name, count in self._losses.maps().items():
            text = (
                f"Map full; can't update element. {name} lost {count} updates: raise the config max_map_keys, or "
                f"declare its size (let {name} = hash(N))"
            )
            self.emit(ev.Message("warning", text))
        stacks = self._losses.stacks()
        if stacks:
            text = (
                f"{stacks} {'stack is' if stacks == 1 else 'stacks are'} missing: there was no room for so many "
                "different ones: raise the config max_map_keys (for stacks at least 65536), or take fewer frames "
                "(kstack(8))"
            )
            self.emit(ev.Message("warning", text))

    @property
    def lost(self) -> dict[str, int]:
        """Events that did not fit the ring since the start (until `close`, with `keep`), by probe."""
        return self._losses.total() if self._losses and self._loaded else dict(self._lost)

    # what a replay asks for

    def take_batch(self) -> None:
        """Handle one batch of records of whichever ring has one."""
        if not self._drain() and self._sources:
            self._sources.drain()

    def report_losses(self) -> None:
        """Look at the counters of losses now."""
        self._report_losses()

    @property
    def running(self) -> bool:
        """Whether there is something to wait for."""
        return not self._over

    # what actions ask for

    def outside(self, make: Callable[[], ev.Event]) -> ev.Event:
        """What an action gets from the machine around it, which a recording keeps."""
        return make() if self._tape is None else self._tape.outside(make)

    def exit(self, status: int) -> None:
        """`exit()`: end the trace with this status; later events in the ring are not looked at.

        Those of iterators are: one read runs the program for all objects, whatever it says at the first.
        """
        self.status = status
        self._over = True
        self._deaf = all(point.provider != "iter" for point in self._points)

    def setting(self, name: str, default: int) -> int:
        """A config variable that is a number."""
        return int(self._settings.get(name, default))

    def _read_stack(self, map_name: str, stack_id: int) -> bytes | None:
        if self._loaded is None:
            raise UsageError("read stack: the trace has ended", hint="read it before, or make the session with keep")
        return self._loaded.maps[map_name].lookup(stack_id.to_bytes(8, "little"))

    # end

    def stop(self) -> None:
        """Ask the trace to end; may be called from another thread or a signal handler."""
        if self._stop_pipe[1] >= 0:
            os.write(self._stop_pipe[1], b"s")

    def finish(self) -> None:
        """Detach, read what is left, run `end`, report losses, emit `Ended` and the final maps. Once."""
        if self.ended or self._loaded is None:
            return
        self.ended = self._over = True
        self._detach()
        if self._deaf and self._reader:
            self.count(0)
        self._deaf = False
        self.drain()
        for point in self.object.attach_points:
            if point.provider == "end":
                self._loaded.programs[point.program].run_once()
        self.drain()
        self._report_losses()
        self._report_what_was_full()
        self.emit(ev.Ended(self.status))
        if self.setting("print_maps_on_exit", 1):
            self.emit_maps()

    def emit_maps(self) -> None:
        """Emit all maps, and of a C program variables that are neither constant nor zero, as they are now."""
        for name in sorted(self.maps):
            self.emit(self.maps[name].snapshot())
        if self.object.is_plain:
            for name, value in self.globals.written():
                self.emit(ev.fixed_snapshot(name, "map", True, [(None, value)]))

    def _detach(self) -> None:
        """Also when nothing is attached: in a recording it is where the end begins."""
        if self._loaded and not self._detached:
            self._detached, self._links = True, []
            self._loaded.detach_all()

    def _keep_results(self) -> None:
        """Read what may be asked for when the target has let go of everything."""
        self._lost = self.lost
        for view in (self._all_maps or self.maps).values():
            view.keep()
        if self._globals is not None:
            self._globals.keep()
        self.names.keep([view.decoded() for view in self.maps.values() if view.has_names])

    def close(self) -> None:
        """Detach and unload; ends the command if it still runs. Emits nothing."""
        self._detach()
        try:
            if self.names.keeps and self._loaded:
                self._keep_results()
        finally:
            self._close()

    def _close(self) -> None:
        self.ended = self._over = True
        for view in (self._all_maps or self.maps).values():
            view.drop()
        if self._child:
            self._child.close()
        self.names.close()
        for part in (self._sources, self._reader, self._loaded, self._signals, self._tape):
            if part:
                part.close()
        self._sources = self._reader = self._loaded = self._signals = None
        for fd in (self._pidfd, *self._stop_pipe):
            if fd >= 0:
                os.close(fd)
        self._pidfd, self._stop_pipe = -1, (-1, -1)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
