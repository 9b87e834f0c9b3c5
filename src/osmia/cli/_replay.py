"""`osmia trace --replay`: a recorded session once more."""

from __future__ import annotations

from ..errors import UsageError
from ..session import Session
from ._engine import make_sink, split_parameters
from ._output import Output, OutputFile, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Object
    from ..session import Replay
    from ._engine import RunOptions
    from ._options import Parsed


def run_replay(args: Parsed, options: RunOptions) -> int:
    """Replay the recording, of the script that it holds, or of another. Returns the exit status."""
    from ..session import Replay

    for name in ("cmd", "pid", "record", "duration"):
        if args.given(name):
            raise UsageError(f"trace: --replay and --{name} do not go together")
    tape = Replay(args.text("replay"), warn=lambda text: complain(f"WARNING: {text}\n"))
    if args.text("target") == "kernel" and tape.target == "vm":
        raise UsageError("trace: the recording is of user space", hint="leave out --target kernel")
    obj = _object(args, options, tape)
    with OutputFile(options.output_file, options.buffering) as out:
        return _run(obj, options, tape, out)


def _object(args: Parsed, options: RunOptions, tape: Replay) -> Object:
    from ._trace import Script, compile_script, script_of

    if not args.text("execute") and not args.arguments:
        recorded: Object = tape.object
        return recorded
    name, script, words = script_of(args)
    params, named = split_parameters(words)
    if tape.target == "kernel":
        raise UsageError(
            f"replay {tape.path}: it holds what one script received from the kernel, no events for others",
            hint="leave out the script, or record with --target vm",
        )
    return compile_script(Script(name, script, params, named), args, options.replace(target="vm"))


def _run(obj: Object, options: RunOptions, tape: Replay, out: Output) -> int:
    from ..session import replay

    session = Session(
        obj,
        tape.wrap(None),
        sink=make_sink(options, out),
        unsafe=options.unsafe,
        warnings=options.warnings,
        warn=lambda text: complain(f"WARNING: {text}\n"),
        tape=tape,
    )
    with session:
        status = replay(session, tape)
        out.flush(force=True)
    return status
