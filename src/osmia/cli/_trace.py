"""`osmia trace`: run a script in the bpftrace language."""

from __future__ import annotations

import sys

from .._data import Data
from ..errors import PermissionDenied, SourceError, UsageError
from ._engine import RunOptions, parse_pid, read_script, run_object, split_parameters
from ._options import Option, Parsed, help_lines, parse
from ._output import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..objects import Object

TARGETS = ("kernel", "vm")
OPTIONS = (
    Option(("-e", "--execute"), "the script itself, in place of a file", "SCRIPT", once=True),
    Option(("-o", "--output"), "format of the output", "FORMAT", ("text", "json", "ndjson")),
    Option(("--output-file",), "write the output to this file", "FILE"),
    Option(("--duration",), "end after so many seconds", "SECONDS"),
    Option(("-p", "--pid"), "trace this process alone; the trace ends with it", "PID"),
    Option(("-c", "--cmd"), "start this command, cpid in the script; the trace ends with it", "COMMAND"),
    Option(("-B", "--buffering"), "when output is written", "MODE", ("none", "line", "full")),
    Option(("-I", "--include-dir"), "look for imports and includes here too", "DIR", many=True),
    Option(("--include",), "include this file before the script", "FILE", many=True),
    Option(("--debuginfo",), "look for debug files here too", "DIR", many=True),
    Option(
        ("-d", "--debug"), "show a stage of compilation: ast, types, codegen, codegen-opt, dis, all", "STAGE", many=True
    ),
    Option(("-q", "--quiet"), "do not say how many probes are attached"),
    Option(("-v", "--verbose"), "say more: the verifier's log where a program is refused"),
    Option(("-k", "--warnings"), "report helpers that fail, with their place in the script"),
    Option(("--no-warnings",), "no warnings"),
    Option(("--unsafe",), "allow what changes the system: system(), signal(), override(), ..."),
    Option(("--probe-filter",), "only probes whose name matches", "REGEX"),
    Option(("--test",), "run test: probes"),
    Option(("--bench",), "run bench: probes"),
    Option(("--dry-run",), "attach everything, then end"),
    Option(("--target",), "run it in the kernel, or trace one command or process from user space", "TARGET", TARGETS),
    Option(("--record",), "record what the trace receives, to replay it", "FILE"),
    Option(("--replay",), "replay a recording: its own script, or with --target vm another on the same probes", "FILE"),
    Option(("--no-cache",), "compile, even if the script was compiled before"),
    Option(("-h", "--help"), "show this"),
)


def usage() -> str:
    return f"""usage: osmia trace [OPTION]... FILE [ARGUMENT]... [-- --NAME=VALUE...]
       osmia trace [OPTION]... -e SCRIPT [ARGUMENT]...

Run a script in the bpftrace language. FILE "-" is standard input. Arguments are $1, $2, ... in the script;
--NAME=VALUE after FILE answers getopt("NAME"). After "--" all is the script's: a negative $1 needs it,
and a NAME that is also an option of Osmia's.

{help_lines(OPTIONS)}

Exit status: that of the script's exit(n), else 0; 1 on errors, 2 on a wrong command line.
"""


def run(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS, for_script=True)
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    if args.given("replay"):
        from ._replay import run_replay

        return run_replay(args, options_of(args))
    name, script, words = script_of(args)
    if args.given("pid") and args.given("cmd"):
        raise UsageError("trace: --pid and --cmd do not go together")
    params, named = split_parameters(words)
    options = options_of(args)
    source = Script(name, script, params, named)
    try:
        return compile_and_run(source, args, options)
    except (PermissionDenied, SourceError) as error:
        if options.target == "kernel":
            from ._vm import offer

            offer(error, source, args, options)
        raise


def options_of(args: Parsed) -> RunOptions:
    """What the command line says about the run."""
    pid = parse_pid(args.text("pid")) if args.given("pid") else 0
    return RunOptions(
        format=args.text("output", "text"),
        output_file=args.text("output_file"),
        buffering=args.text("buffering", "line"),
        quiet=args.has("quiet"),
        verbose=args.has("verbose"),
        mode="test" if args.has("test") else "bench" if args.has("bench") else "",
        dry_run=args.has("dry_run"),
        probe_filter=args.text("probe_filter"),
        pid=pid,
        cmd=command(args),
        duration=args.seconds("duration"),
        unsafe=args.has("unsafe"),
        warnings=not args.has("no_warnings"),
        target=args.text("target", "kernel"),
        record=args.text("record"),
    )


def command(args: Parsed) -> tuple[str, ...]:
    """The words of the command of -c, with a shell's quotes; none without -c."""
    if not args.given("cmd"):
        return ()
    text = args.text("cmd")
    if not text.strip():
        raise UsageError("read option --cmd: it is empty", hint="give a command line, such as 'sleep 1'")
    if not any(c in text for c in "'\"\\"):
        return tuple(text.split())
    from shlex import split

    try:
        return tuple(split(text))
    except ValueError as e:
        raise UsageError(f"read option --cmd: {e}".lower()) from None


def script_of(args: Parsed) -> tuple[str, str, list[str]]:
    """(name for messages, text, arguments) from `-e` or a file."""
    if args.text("execute"):
        return "stdin", args.text("execute"), args.arguments
    if not args.arguments:
        raise UsageError("read script: trace needs a script", hint="give a file, or -e 'script'")
    path = args.arguments[0]
    return "stdin" if path == "-" else path, read_script(path), args.arguments[1:]


class Script(Data):
    """A script as a command line gives it; `name` is what messages call it."""

    name: str
    text: str
    params: tuple[str, ...] = ()
    named: dict[str, str | bool] = {}


def compile_and_run(source: Script, args: Parsed, options: RunOptions) -> int:
    """What both faces do with a script."""
    if args.texts("debug"):
        from ._stages import show_stages

        show_stages(args.texts("debug"), source, options)
    return run_object(compile_script(source, args, options), options)


def compile_script(source: Script, args: Parsed, options: RunOptions, *, warn: bool = True) -> Object:
    """The object of a script, for the target that the options name."""
    from .._cached import compile_cached

    more = {} if options.target == "kernel" else {"target": options.target}
    return compile_cached(
        source.text,
        cache=not args.has("no_cache"),
        warn=(lambda text: complain(f"WARNING: {text}\n")) if options.warnings and warn else None,
        name=source.name,
        params=source.params,
        options=source.named,
        pid=options.pid,
        has_cmd=bool(options.cmd),
        unsafe=options.unsafe,
        warning_level=0 if not options.warnings else 2 if args.has("warnings") else 1,
        include_dirs=tuple(args.texts("include_dir")),
        includes=tuple(args.texts("include")),
        debug_dirs=args.directories("debuginfo"),
        traceable=args.text("traceable_functions"),
        **more,
    )
