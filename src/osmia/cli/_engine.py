"""Running an object for a command line: sinks, signals, buffering, exit status."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from .._data import Data
from ..errors import UsageError
from ..session import Session
from ._output import Errors, Output, OutputFile, complain, paint, wants_colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..objects import Object
    from ..session import Event
    from ..session.target import Target

SIGHUP, SIGINT, SIGTERM = 1, 2, 15
LAST_PID = 0x400000  # PID_MAX_LIMIT of linux/threads.h
# Set by bpftrace's test engine: this very line on stdout says that probes are attached.
NOTIFY = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"


class RunOptions(Data):
    """What both faces can ask for. `mode` is "", "test" or "bench"; `buffering` none, line or full."""

    format: str = "text"
    as_bpftrace: bool = False  # its JSON to the letter
    output_file: str = ""
    buffering: str = "line"
    quiet: bool = False
    verbose: bool = False
    mode: str = ""
    dry_run: bool = False
    probe_filter: str = ""
    pid: int = 0
    cmd: tuple[str, ...] = ()
    duration: float | None = None
    unsafe: bool = False
    warnings: bool = True
    trace_pipe: bool = False
    target: str = "kernel"
    record: str = ""


def run_object(obj: Object, options: RunOptions) -> int:
    """Load, attach, print until the trace ends. Returns the exit status."""
    if options.warnings:
        for name, value in obj.settings:
            if name.startswith("warning."):
                complain(f"{value}\n")
    if options.probe_filter:
        obj = _filtered(obj, options.probe_filter)
    if not obj.attach_points:
        complain("No probes to attach\n" + _instead(obj))
        return 1
    with OutputFile(options.output_file, options.buffering) as out:
        return _run(obj, options, out)


def _instead(obj: Object) -> str:
    """What can be done with programs that no section says where to attach."""
    from ..isa import prog_type_name

    if not obj.is_plain or not obj.programs:
        return ""
    from ..vm import PACKET_KINDS

    kinds = ", ".join(sorted({prog_type_name(p.type) or str(p.type) for p in obj.programs}))
    packets = "; --pcap-in runs them on packets" if any(p.type in PACKET_KINDS for p in obj.programs) else ""
    return f"hint: sections do not say what programs of these types are attached to: {kinds}{packets}\n"


def open_target(options: RunOptions) -> Target:
    """What the object is to run on."""
    if options.target == "vm":
        from ._vm import live_target

        return live_target(options)
    from ..kernel import KernelTarget

    return KernelTarget()


def _run(obj: Object, options: RunOptions, out: Output) -> int:
    # The session catches these while it runs. Before it they ask it to end; after it, while the process ends, they must
    # not kill it.
    early: list[int] = []
    for number in (SIGINT, SIGTERM, SIGHUP):
        if number != SIGHUP or _signal.getsignal(number) != _signal.SIG_IGN:  # ignored, it would be nohup's
            _signal.signal(number, lambda number, _frame: early.append(number))
    sink = make_sink(options, out)
    tape = None
    if options.record:
        from ..session import Recorder

        tape = Recorder(options.record)
    session = Session(
        obj,
        open_target(options),
        sink=sink,
        pid=options.pid,
        cmd=options.cmd,
        duration=options.duration,
        signals=True,
        unsafe=options.unsafe,
        warnings=options.warnings,
        trace_pipe=options.trace_pipe,
        warn=lambda text: complain(f"WARNING: {text}\n"),
        tape=tape,
    )
    with session:
        if options.mode:
            from ..session import run_benches, run_tests

            good = run_tests(session) if options.mode == "test" else run_benches(session)
            out.flush(force=True)
            return 0 if good else 1
        if options.dry_run:
            session.emit = lambda _event: None
            session.start()
            return 0
        session.start()
        if early:
            session.stop()
        if os.environ.get(NOTIFY):
            out.flush(force=True)
            os.write(1, NOTIFY.encode() + b"\n")
        while session.poll(None):
            out.flush()
        session.finish()
        out.flush(force=True)
        return session.status


def make_sink(options: RunOptions, out: Output) -> Callable[[Event], None]:
    """The sink for `options.format`."""
    if options.format in ("json", "ndjson"):
        from ..sinks import JsonSink

        return JsonSink(out.write, quiet=options.quiet, as_bpftrace=options.as_bpftrace)
    if options.format not in ("", "text"):
        raise UsageError(f'Invalid output format "{options.format}"', hint="Valid formats: 'text', 'json'")
    from ..sinks import TextSink

    errors = Errors(out)
    return TextSink(out.write, errors.write, quiet=options.quiet, paint=paint if wants_colour() else None)


def _filtered(obj: Object, pattern: str) -> Object:
    """Only attach points whose name the regular expression finds, and only the programs that they need."""
    import re

    try:
        wanted = re.compile(pattern)
    except re.error as e:
        raise UsageError(f"Invalid --probe-filter regex '{pattern}': {e}") from None
    points = tuple(p for p in obj.attach_points if p.provider in ("begin", "end", "self") or wanted.search(p.name))
    names = {p.program for p in points}
    return obj.replace(attach_points=points, programs=tuple(p for p in obj.programs if p.name in names))


def parse_pid(text: str) -> int:
    """A process number; raises `UsageError`."""
    if not text.isascii() or not text.isdigit():
        kind = "trailing bytes" if "0" <= text[:1] <= "9" else "integer"
        raise UsageError(
            f"read option --pid: {text!r} is not a process number",
            hint="pgrep -x NAME finds it",
            as_bpftrace=f"Failed to parse pid: invalid {kind}: {text}",
        )
    pid = int(text) if len(text) < 20 else LAST_PID + 1
    if not 0 < pid <= LAST_PID:
        raise UsageError(
            f"read option --pid: {text} is out of range",
            hint=f"process numbers are 1 to {LAST_PID}",
            as_bpftrace=f"Pid out of range: {text}",
        )
    return pid


def read_script(path: str) -> str:
    """A script's text, from stdin for "-". Raises `UsageError` for what cannot be read, and for what is no text."""
    from .._api import read_text

    hint = "give a file, - for standard input, or -e 'script'"
    return read_text(0 if path == "-" else path, "standard input" if path == "-" else path, hint=hint)


def split_parameters(words: list[str]) -> tuple[tuple[str, ...], dict[str, str | bool]]:
    """Positional parameters, and named ones: `--name=value`, or `--name` alone for true."""
    positional, named = [], {}
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            named[name] = value if equals else True
        else:
            positional.append(word)
    return tuple(positional), named
