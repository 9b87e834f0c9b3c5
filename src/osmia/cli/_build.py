"""`osmia build`: a script to a BPF object file."""

from __future__ import annotations

import os
import sys

from .._files import write_whole
from ..errors import UsageError, cannot_write
from ._engine import read_script, split_parameters
from ._options import Option, help_lines, parse
from ._output import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (
    Option(("-e", "--execute"), "the script itself, in place of a file", "SCRIPT", once=True),
    Option(("-o", "--output"), "the object file (default: SCRIPT.bpf.o here, a.bpf.o with -e)", "FILE"),
    Option(("--portable",), "for other kernels too: members of kernel types are found when it is loaded (CO-RE)"),
    Option(("--kernel",), "use nothing newer than this kernel has (default with --portable: 6.1)", "VERSION"),
    Option(("--unsafe",), "allow what changes the system"),
    Option(("-I", "--include-dir"), "look for imports and includes here too", "DIR", many=True),
    Option(("-h", "--help"), "show this"),
)


def usage() -> str:
    return f"""usage: osmia build [OPTION]... FILE [ARGUMENT]... [-- --NAME=VALUE...]

Compile a script to a BPF object file (ELF) that osmia run, libbpf and bpftool can load. It needs no privilege.

Offsets of kernel types are those of this machine's kernel. With --portable they are CO-RE relocations, which loaders
adapt to the kernel at hand by its BTF. Still of this machine then: what wildcards matched, arguments of tracepoints and
functions, values of enumerators, sizeof() and offsetof(), and offsets in the files of user probes.

{help_lines(OPTIONS)}
"""


def run(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS, for_script=True)
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    words = list(args.arguments)
    script, name = args.text("execute"), "stdin"
    if not script:
        if not words:
            raise UsageError("read script: build needs a script", hint="give a file, or -e 'script'")
        name = words.pop(0)
        script = read_script(name)
    out = args.text("output") or (os.path.splitext(os.path.basename(name))[0] if name != "stdin" else "a") + ".bpf.o"
    params, named = split_parameters(words)
    from .. import _api
    from ..objects import write_elf

    obj = _api.compile(
        script,
        name=name,
        params=params,
        options=named,
        unsafe=args.has("unsafe"),
        include_dirs=tuple(args.texts("include_dir")),
        portable=args.has("portable"),
        kernel=_version(args.text("kernel")),
        cache=False,
    )
    data = write_elf(obj)
    try:
        write_whole(out, [data])
    except OSError as e:
        raise cannot_write(out, e) from None
    if not args.given("output"):
        complain(f"wrote {out}\n")
    return 0


def _version(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    major, dot, minor = text.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        raise UsageError(f"read option --kernel: {text!r} is no version such as 5.15")
    return int(major), int(minor)
