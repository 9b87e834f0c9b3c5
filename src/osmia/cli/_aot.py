"""`--aot FILE`: a script as a program of its own."""

from __future__ import annotations

import os
import sys

from ..errors import cannot_write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._options import Parsed

# What holds for every run of the program, besides the script.
_KEPT = ("format", "buffering")


def write_program(path: str, name: str, script: str, args: Parsed) -> None:
    """Write an executable file that runs `script` with this interpreter; parameters come from its command line.

    The script is compiled now, so that its errors show; the compile cache then has it for every run with the same
    parameters, and another kernel or other parameters are compiled for when they are met.
    """
    from .. import _api

    _api.compile(script, name=name, unsafe=args.has("unsafe"))
    options = [word for key in _KEPT if args.has(key) for word in (f"--{key}", args.text(key))]
    options += ["--unsafe"] if args.has("unsafe") else []
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    text = _PROGRAM.format(
        python=sys.executable, package=package, words=["bpftrace", *options, "-e", script], script=repr(name)
    )
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o755)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as e:
        raise cannot_write(path, e) from None


_PROGRAM = """\
#!{python}
# Runs the script {script}. Parameters are $1, $2, ...; options of the script stand behind --.
import sys

try:
    from osmia.cli import main
except ModuleNotFoundError:
    sys.path.insert(0, {package!r})
    from osmia.cli import main

sys.exit(main({words!r} + sys.argv[1:]))
"""
