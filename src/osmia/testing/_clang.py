"""C programs through the clang that is installed, for tests of sources rather than of what was built from them."""

from __future__ import annotations

import os

from ..errors import Diagnostic, NotSupported, SourceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Object


def compile_c(path: str) -> Object:
    """The object that clang makes of a C file. NotSupported without clang, SourceError with what clang says."""
    import shutil
    import subprocess
    import tempfile

    from .._api import read_object

    clang = shutil.which("clang")
    if not clang:
        raise NotSupported(
            f"compile {path}: there is no clang", feature="C", hint="install clang, or give the object that it made"
        )
    machine = os.uname().machine
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "program.bpf.o")
        command = [clang, "-O2", "-g", "-target", "bpf", f"-I/usr/include/{machine}-linux-gnu", "-c", path, "-o", out]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SourceError([Diagnostic("error", done.stderr.strip() or f"clang ended with {done.returncode}")])
        return read_object(out)
