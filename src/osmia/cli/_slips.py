"""Slips on the command line, and what to do instead."""

from __future__ import annotations

from ..errors import SourceError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..errors import Diagnostic

# What is left of `f($1)`, `@[$1]`, `/pid == $1/`, `$x = 1;` when `$1` and `$x` are gone.
_AFTER_NOTHING = tuple(f"syntax: expected expression, found '{c}'" for c in (")", "]", ",", "/", ";", "}", "="))


def unknown_command(words: Sequence[str], commands: Iterable[str]) -> UsageError:
    """The error to raise for a command line that starts with no command."""
    import os

    from ._options import nearest

    word = words[0]
    if word.startswith("-"):
        option = word[:2] if not word.startswith("--") else word.partition("=")[0]
        command = {"-e": "trace -e 'SCRIPT'", "--execute": "trace -e 'SCRIPT'", "-l": "list", "--list": "list"}
        command |= {"-p": "trace -p PID", "-c": "trace -c COMMAND", "--info": "doctor"}
        hint = f"the command comes first: osmia {command[option]}" if option in command else "see osmia --help"
    elif word.endswith(".bt") or ("/" in word and os.path.isfile(word)):
        hint = f"to run it: osmia {'run' if word.endswith('.o') else 'trace'} {word}"
    else:
        hint = nearest(word, commands) or "see osmia --help"
    return UsageError(f"run osmia {word}: there is no such command", hint=hint)


def said_once(error: SourceError) -> list[Diagnostic]:
    """What to show of the diagnostics: not bpftrace's warning that a function cannot be traced before the error that
    there is none.
    """
    own = [d for d in error.diagnostics if not d.follows] or error.diagnostics
    wrong = {(d.file, d.line, d.col) for d in own if d.severity == "error" and d.line}
    return [d for d in own if " is not traceable " not in d.message or (d.file, d.line, d.col) not in wrong]


def taken_by_the_shell(words: Sequence[str], error: SourceError) -> str:
    """A hint where `$1` or `$x` of a script in double quotes seems to be missing; "" elsewhere."""
    options = [word for word in words if word[:2] == "-e" or word.startswith("--execute")]
    if not options or any("$" in word for word in words):
        return ""
    for d in error.diagnostics:
        if d.message.startswith(_AFTER_NOTHING) or d.message.endswith("(0 provided)"):
            return "if the script stands in double quotes, the shell took $1 or $x out of it: use single quotes"
    return ""
