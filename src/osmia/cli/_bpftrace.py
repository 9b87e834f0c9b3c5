"""`osmia bpftrace`: the command line of bpftrace, as it is."""

from __future__ import annotations

import os
import sys

from ..errors import SourceError, UsageError
from ._engine import RunOptions, parse_pid, read_script, split_parameters
from ._options import Option, Parsed, help_lines, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "v0.26.0"  # the version whose language and output this face has
MODES = ("codegen", "bench", "test", "format")

OPTIONS = (
    Option(("-e", "--execute"), "execute this program", "PROGRAM"),
    Option(("-l", "--list"), "list probes that match a pattern, or those of a program"),
    Option(("-v", "--verbose"), "say more; with -l, show arguments too"),
    Option(("-h", "--help"), "show this"),
    Option(("-V", "--version"), "show the version"),
    Option(("--info",), "show what this kernel supports"),
    Option(("-p", "--pid"), "trace one process", "PID"),
    Option(("-c", "--cmd"), "start this command and trace it", "CMD"),
    Option(("--usdt-file-activation",), "accepted; semaphores are counted by the kernel"),
    Option(("-o", "--output"), "write the output to this file", "FILE"),
    Option(("-f", "--format"), "output format: text or json", "FORMAT"),
    Option(("-B", "--buffering"), "output buffering", "MODE", ("line", "full", "none")),
    Option(("-q", "--quiet"), "do not say how many probes are attached"),
    Option(("-k", "--warnings"), "warn where a helper fails"),
    Option(("--no-warnings",), "no warnings"),
    Option(("-I", "--include-dir"), "look for includes here too", "DIR", many=True),
    Option(("--include",), "include this file before the program", "FILE", many=True),
    Option(("--debuginfo",), "look for debug files here too", "DIR", many=True),
    Option(("--traceable-functions",), "take the kernel's functions from this file", "FILE"),
    Option(("--unsafe",), "allow what changes the system"),
    Option(("--no-feature",), "do without these features", "FEATURES", many=True),
    Option(("--mode",), "codegen, bench or test", "MODE", MODES),
    Option(("--test",), "run test: probes"),
    Option(("--bench",), "run bench: probes"),
    Option(("--fmt",), "print the script in a uniform layout"),
    Option(("--probe-filter",), "only probes whose name matches", "REGEX"),
    Option(("--dry-run",), "attach everything, then end"),
    Option(("-d", "--debug"), "show a stage of compilation", "STAGE", many=True),
    Option(("--verify-llvm-ir",), "accepted; the IR is always verified"),
    Option(("--emit-elf",), "write the object file", "FILE"),
    Option(("--emit-llvm",), "write the LLVM IR, before optimization, to FILE.ll", "FILE"),
    Option(("--aot",), "write a program that runs this script", "FILE"),
    Option(("--dwarf-pid",), hidden=True, value="PID", many=True),
    Option(("-b", "--btf"), hidden=True),
    Option(("--no-cache",), "compile, even if the program was compiled before"),
)


def usage() -> str:
    return f"""USAGE:
    osmia bpftrace [options] filename
    osmia bpftrace [options] - <stdin input>
    osmia bpftrace [options] -e 'program'
    use -- after filename/-e 'program' for named script parameters

OPTIONS:
{help_lines(OPTIONS)}
"""


def run(argv: Sequence[str]) -> int:
    from ._output import complain

    try:
        args = parse(argv, OPTIONS, abbreviations=True)
    except UsageError as e:
        complain(f"ERROR: {e}\n{usage()}")
        return 1
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    if args.has("version"):
        sys.stdout.write(f"bpftrace {VERSION} (osmia)\n")
        return 0
    if args.has("info"):
        from ._doctor import bpftrace_info

        sys.stdout.write(bpftrace_info())
        return 0
    if not argv:
        complain(usage())
        return 1
    if args.has("cmd") and args.has("pid"):
        complain("ERROR: USAGE: Cannot use both -c and -p.\n" + usage())
        return 1
    if args.has("list"):
        from ._list import list_for_bpftrace

        return list_for_bpftrace(args)
    return _run(args, argv)


def _run(args: Parsed, argv: Sequence[str]) -> int:
    from ._trace import Script, compile_and_run

    if not args.text("execute") and not args.arguments:
        raise UsageError("USAGE: filename or -e 'program' required.")
    name, script, words = script_of(args)
    mode = args.text("mode")
    if args.has("fmt") or mode == "format":
        from ..lang.bpftrace.checked import Source
        from ..lang.bpftrace.tidy import tidy

        sys.stdout.write(tidy(Source(name, script)))
        return 0
    params, named = split_parameters(words)
    if args.has("emit_llvm"):
        from ..lang.bpftrace import Compilation

        lowering = Compilation(script, name=name, params=params, options=named, unsafe=args.has("unsafe")).lower()
        lowering.lower()
        with open(args.text("emit_llvm") + ".ll", "w", encoding="utf-8", errors="surrogateescape") as f:
            f.write(lowering.ir())
    if args.has("emit_elf") or mode == "codegen":
        return _build(name, script, params, named, args)
    if args.has("aot"):
        from ._aot import write_program

        write_program(args.text("aot"), name, script, args)
        return 0
    _set_comm("bpftrace", argv)
    options = RunOptions(
        format=args.text("format", "text"),
        as_bpftrace=True,
        output_file=args.text("output"),
        buffering=args.text("buffering", "line"),
        quiet=args.has("quiet"),
        verbose=args.has("verbose"),
        mode=mode
        if mode in ("test", "bench")
        else "test"
        if args.has("test")
        else "bench"
        if args.has("bench")
        else "",
        dry_run=args.has("dry_run"),
        probe_filter=args.text("probe_filter"),
        pid=parse_pid(args.text("pid")) if args.has("pid") else 0,
        cmd=tuple(args.text("cmd").split()),
        unsafe=args.has("unsafe"),
        warnings=not args.has("no_warnings"),
    )
    if options.format not in ("text", "json"):
        raise UsageError(f'Invalid output format "{options.format}"', hint="Valid formats: 'text', 'json'")
    try:
        return compile_and_run(Script(name, script, params, named), args, options)
    except SourceError as e:
        _missing_headers(e)
        raise


def _missing_headers(error: SourceError) -> None:
    """Headers that are not there, in clang's words too: that is what callers of bpftrace look for."""
    from ._output import complain

    for d in error.diagnostics:
        if d.message.endswith(" file not found"):
            # clang sees the definitions behind a line of bpftrace's own.
            complain(f"definitions.h:{d.line + 1}:{d.col}: fatal error: {d.message}\n")


def script_of(args: Parsed) -> tuple[str, str, list[str]]:
    """(name for messages, text, arguments) from `-e` or a file."""
    if args.text("execute"):
        return "stdin", args.text("execute"), args.arguments
    path = args.arguments[0]
    if path != "-" and not os.access(path, os.R_OK):
        cause = "Permission denied" if os.path.exists(path) else "No such file or directory"
        raise UsageError(f"failed to open file '{path}': {cause}")
    return "stdin" if path == "-" else path, read_script(path), args.arguments[1:]


def _set_comm(name: str, argv: Sequence[str]) -> None:
    """Be found as `name`: scripts see it as `comm` in begin and end, `pidof` and `ps` in the command line."""
    line = "\0".join([name, *argv, ""]).encode("utf-8", "surrogateescape")
    try:
        with open("/proc/self/comm", "w") as f:
            f.write(name)
        with open("/proc/self/stat") as f:
            numbers = f.read().rpartition(")")[2].split()
        # arg_start and arg_end, fields 48 and 49 of proc_pid_stat(5). The interpreter has its own copy of them.
        start, end = int(numbers[45]), int(numbers[46])
        if start and len(line) <= end - start:
            with open("/proc/self/mem", "r+b", buffering=0) as memory:
                memory.seek(start)
                memory.write(line.ljust(end - start, b"\0"))
    except OSError:
        return  # a name is all that is lost


def _build(name: str, script: str, params: tuple[str, ...], named: dict[str, str | bool], args: Parsed) -> int:
    from .. import _api

    obj = _api.compile(script, name=name, params=params, options=named, unsafe=args.has("unsafe"), cache=False)
    if args.has("emit_elf"):
        from ..objects import write_elf

        with open(args.text("emit_elf"), "wb") as f:
            f.write(write_elf(obj))
    return 0
