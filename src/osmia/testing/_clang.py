"""C programs through the clang that is installed, for tests of sources rather than of what was built from them."""

from __future__ import annotations

import os
import time

from ..errors import Diagnostic, NotSupported, SourceError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Object

    State = tuple[tuple[str, int, int, int], ...]

_COARSE = 10_000_000  # ns: times of files are those of the last tick
# What was compiled by this process, with the state that its files had: many tests are of one file.
_made: dict[str, tuple[State, Object]] = {}


def compile_c(path: str) -> Object:
    """The object that clang makes of a C file; the same again while neither it nor what it includes has changed.

    NotSupported without clang, SourceError with what clang says.
    """
    key = os.path.realpath(path)
    state, found = _made.get(key, ((), None))
    if found is not None and _state([name for name, *_ in state]) == state:
        return found
    start = time.time_ns()
    files, made = _compile(path)
    state = _state(files)
    if all(changed < start - _COARSE for _, _, changed, _ in state):  # not while it was compiled
        _made[key] = state, made
    return made


def _state(files: list[str]) -> State:
    """Name, size, time of change and inode of each file; nothing is equal to that of a missing one."""
    try:
        stats = [os.stat(name) for name in files]
    except OSError:
        return ()
    return tuple([(name, s.st_size, s.st_mtime_ns, s.st_ino) for name, s in zip(files, stats)])


def _compile(path: str) -> tuple[list[str], Object]:
    """The files that went into it, and the object."""
    import shutil
    import subprocess
    import tempfile

    from .._api import read_object

    if not os.path.isfile(path):
        raise UsageError(f"compile {path}: there is no such file", hint="give the path of a C file")
    clang = shutil.which("clang")
    if not clang:
        raise NotSupported(
            f"compile {path}: there is no clang", feature="C", hint="install clang, or give the object that it made"
        )
    machine = os.uname().machine
    with tempfile.TemporaryDirectory() as folder:
        out, used = os.path.join(folder, "program.bpf.o"), os.path.join(folder, "used")
        command = [clang, "-O2", "-g", "-target", "bpf", f"-I/usr/include/{machine}-linux-gnu", "-MD", "-MF", used]
        done = subprocess.run([*command, "-c", path, "-o", out], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SourceError([Diagnostic("error", done.stderr.strip() or f"clang ended with {done.returncode}")])
        with open(used, encoding="utf-8", errors="surrogateescape") as file:
            files = _listed(file.read())
        return [os.path.realpath(name) for name in files] or [os.path.realpath(path)], read_object(out)


def _listed(rule: str) -> list[str]:
    """The files behind the colon of a rule for make, in which blanks of names are escaped."""
    text = rule.partition(": ")[2].replace("\\\n", " ").replace("\\ ", "\0").replace("$$", "$").replace("\\#", "#")
    return [name.replace("\0", " ") for name in text.split()]
