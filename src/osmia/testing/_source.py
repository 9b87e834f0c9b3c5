"""What a test may give as the program: a script, a C file, an object file, an `Object`."""

from __future__ import annotations

import os

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..objects import Object


def load_source(
    source: str | os.PathLike[str] | Object,
    params: Sequence[str | int],
    options: Mapping[str, str | int] | None,
    unsafe: bool,
    cache: bool,
    globals: Mapping[str, object] | None,
    programs: Iterable[str] | None,
) -> Object:
    """The object, with its variables set, and of its programs those that are wanted."""
    from .._api import compile, read_object
    from ..objects import Object, select_programs, set_variables
    from ._checks import check_parameters

    if isinstance(source, os.PathLike):
        path = os.fspath(source)
        if path.endswith(".c"):
            from ._clang import compile_c

            source = compile_c(path)
        elif _is_elf(path):
            source = read_object(path)
    if not isinstance(source, Object):
        if globals:
            raise UsageError("set globals of a script: it has none", hint="params are $1, $2; options are for getopt()")
        if programs is not None:
            raise UsageError("select programs of a script: they have no names", hint="leave programs out")
        check_parameters(source, params)
        return compile(source, params=params, options=options, unsafe=unsafe, cache=cache, target="vm")
    if params or options:
        raise UsageError("pass parameters to object: they were compiled in", hint="give them to osmia.compile()")
    if globals:
        source = set_variables(source, globals)
    return source if programs is None else select_programs(source, programs)


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return path.endswith(".o")  # reading it says what is wrong
