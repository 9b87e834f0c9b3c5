"""`osmia run`: load and attach a BPF object file."""

from __future__ import annotations

import sys

from ..errors import UsageError
from ._engine import RunOptions, parse_pid, run_object
from ._options import Option, help_lines, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (
    Option(("-o", "--output"), "format of the output", "FORMAT", ("text", "json", "ndjson")),
    Option(("--output-file",), "write the output to this file", "FILE"),
    Option(("--duration",), "end after so many seconds", "SECONDS"),
    Option(("-p", "--pid"), "attach to one process", "PID"),
    Option(("-c", "--cmd"), "start this command; the run ends with it", "COMMAND"),
    Option(("-B", "--buffering"), "when output is written", "MODE", ("none", "line", "full")),
    Option(("-q", "--quiet"), "do not say how many probes are attached"),
    Option(("-v", "--verbose"), "show the verifier's log where a program is refused"),
    Option(("--unsafe",), "allow system()"),
    Option(("--dry-run",), "attach everything, then end"),
    Option(("-h", "--help"), "show this"),
)


def usage() -> str:
    return f"""usage: osmia run [OPTION]... FILE.bpf.o

Load a BPF object file, attach its programs by their sections, and print what they report until interrupted.

{help_lines(OPTIONS)}
"""


def run(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS)
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    if len(args.arguments) != 1:
        raise UsageError("run: it needs one object file")
    from .._api import read_object

    options = RunOptions(
        format=args.text("output", "text"),
        output_file=args.text("output_file"),
        buffering=args.text("buffering", "line"),
        quiet=args.has("quiet"),
        verbose=args.has("verbose"),
        dry_run=args.has("dry_run"),
        pid=parse_pid(args.text("pid")) if args.has("pid") else 0,
        cmd=tuple(args.text("cmd").split()),
        duration=args.number("duration"),
        unsafe=args.has("unsafe"),
    )
    return run_object(read_object(args.arguments[0]), options)
