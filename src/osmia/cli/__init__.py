"""The `osmia` command.

Exit status: 0 done, 1 an error, 2 a wrong command line, 130 interrupted before the trace began, 141 nobody reads our
output any more; a script's `exit(n)` gives n.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` would import `enum`, 3 ms on the start path
import sys

from ._output import Closed, Output, complain, occupy_standard_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

ERROR, USAGE, INTERRUPTED, PIPE = 1, 2, 130, 141

# Command -> module, what it does. A command's module is imported when the command is given.
COMMANDS = {
    "trace": ("_trace", "run a script in the bpftrace language"),
    "list": ("_list", "list probes, with their arguments"),
    "build": ("_build", "compile a script to a BPF object file"),
    "run": ("_run_object", "load and attach a BPF object file"),
    "verify": ("_verify", "say whether a kernel would load the programs, and why not"),
    "doctor": ("_doctor", "say what this kernel and this user can do"),
    "bpftrace": ("_bpftrace", "take the command line of bpftrace"),
    "completions": ("_completions", "print completions for a shell"),
    "version": ("_version", "print the version"),
}


def usage() -> str:
    rows = "\n".join(f"  {name:<14} {what}" for name, (_module, what) in COMMANDS.items())
    return f"""usage: osmia COMMAND [OPTION]... [ARGUMENT]...

Commands:
{rows}

osmia COMMAND --help tells more. Examples:
  osmia trace -e 'tracepoint:syscalls:sys_enter_openat {{ @[comm] = count(); }}'
  osmia list 'tracepoint:syscalls:*open*'
  osmia doctor
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: this process's). Returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # The process is ours. Python makes an exception of SIGINT, which an import may lose; until a session begins
        # there is nothing to be undone.
        if _signal.getsignal(_signal.SIGINT) == _signal.default_int_handler:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        # What imports make stays: looking for garbage in it costs a tenth of a cold start.
        import gc

        gc.set_threshold(100_000)
        occupy_standard_files()
        # Python's own would complain at exit of what it could not write, after we have said so.
        sys.stdout = out = Output(1)
    else:
        out = None
    try:
        status = dispatch(words)
        if out is not None:
            out.flush(force=True)
        return status
    except Closed:
        return PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as e:
        return report(e, words)


def dispatch(words: list[str]) -> int:
    name = words[0] if words else ""
    if name in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0
    if name in ("-V", "--version"):
        name = "version"
    if not name:
        complain(usage())
        return USAGE
    if name not in COMMANDS:
        from ._slips import unknown_command

        raise unknown_command(words, COMMANDS)
    run = __import__(f"{__name__}.{COMMANDS[name][0]}", fromlist=["run"]).run
    status: int = run(words[1:])
    return status


def report(error: Exception, words: list[str]) -> int:
    """Say what went wrong; never a traceback, unless OSMIA_DEBUG is set."""
    import os

    from ..errors import AttachError, NotSupported, OsmiaError, SourceError, UsageError

    if os.environ.get("OSMIA_DEBUG"):
        import traceback

        complain(traceback.format_exc())
    if isinstance(error, BrokenPipeError):
        return PIPE
    drop_in = words[:1] == ["bpftrace"]
    head, hint = ("ERROR: ", "HINT: ") if drop_in else ("osmia: ", "hint: ")
    if isinstance(error, SourceError):
        if drop_in:
            complain(error.rendered() + "\n")
        else:
            from ._slips import said_once, taken_by_the_shell

            complain("\n".join(d.render() for d in said_once(error)) + "\n")
            if more := taken_by_the_shell(words, error):
                complain(f"{hint}{more}\n")
        if not os.access("/sys/kernel/btf/vmlinux", os.R_OK):
            what = "read kernel types: this kernel has no BTF, so its structs and functions have no types here"
            complain(f"{head}{what}\n{hint}osmia doctor shows what works without, and what to do\n")
    elif isinstance(error, OsmiaError):
        if drop_in and isinstance(error, (AttachError, NotSupported)) and error.probe:
            complain(f"{head}Unable to attach probe: {error.probe}\n")
        told = drop_in and isinstance(error, UsageError) and error.as_bpftrace
        complain(f"{head}{told or error.message}\n" + (f"{hint}{error.hint}\n" if error.hint and not told else ""))
        log = getattr(error, "log", "")
        if log and ("-v" in words or "--verbose" in words):
            complain(log + "\n")
    elif isinstance(error, OSError):
        cause = (error.strerror or str(error)).lower()
        complain(f"{head}open {error.filename}: {cause}\n" if error.filename else f"{head}call the kernel: {cause}\n")
        if error.errno in (23, 24):  # ENFILE, EMFILE
            complain(f"{hint}raise the limit: ulimit -n 65536\n")
    else:
        complain(f"{head}internal error: {type(error).__name__}: {error}\n{hint}OSMIA_DEBUG=1 shows where\n")
    return USAGE if isinstance(error, UsageError) and not drop_in else ERROR
