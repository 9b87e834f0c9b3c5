"""`osmia list`: probes of this machine that match a pattern."""

from __future__ import annotations

import os
import sys

from ._engine import parse_pid, split_parameters
from ._options import Option, Parsed, help_lines, parse
from ._output import Output, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..btf import Btf

OPTIONS = (
    Option(("-v", "--verbose"), "show arguments and members too"),
    Option(("-p", "--pid"), "look into the files that this process has mapped", "PID"),
    Option(("--debuginfo",), "look for debug files here too", "DIR", many=True),
    Option(("-h", "--help"), "show this"),
)

# Providers, by all their names, that tracefs, kallsyms and files are enough to list.
_UNTYPED = (
    "tracepoint", "t", "kprobe", "k", "kretprobe", "kr", "uprobe", "u", "uretprobe", "ur", "usdt", "U", "software", "s",
    "hardware", "h", "interval", "i", "profile", "p", "self", "begin", "end",
)  # fmt: skip


def usage() -> str:
    return f"""usage: osmia list [OPTION]... [PATTERN]

List probes, or with -v their arguments; "struct NAME" shows a type of the kernel. Without a pattern: all that the
kernel has.

{help_lines(OPTIONS)}

Examples:
  osmia list 'tracepoint:syscalls:*open*'
  osmia list -v 'rawtracepoint:sched_switch'
  osmia list 'uprobe:/bin/bash:*read*'
"""


def run(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS)
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    patterns = args.arguments or ["*:*"]
    return show(",".join(patterns), args)


def show(pattern: str, args: Parsed) -> int:
    """Print what matches, one probe a line; status 1 when nothing does."""
    from ..btf import load_kernel_btf
    from ..errors import BtfError, OsmiaError
    from ..probes import Catalogue, list_probes

    pid = parse_pid(args.text("pid")) if args.has("pid") else 0
    btf: Btf | None = None
    skipped: list[OsmiaError] = []
    try:
        btf = load_kernel_btf()
    except BtfError as error:
        skipped.append(error)  # what tracefs and files say is listed all the same
    out = Output(1, "full")
    found = False
    probes = []
    for part in pattern.split(","):
        if part.strip().startswith(("struct ", "union ", "enum ")):
            text = type_text(btf, part.strip()) if btf else ""
            out.write(text)
            found = found or bool(text)
        else:
            probes.append(part)
    if probes:
        with Catalogue(btf, pid=pid, debug_dirs=args.directories("debuginfo")) as catalogue:
            for line in list_probes(catalogue, ",".join(probes), verbose=args.has("verbose"), skipped=skipped):
                out.write(line + "\n")
                found = True
    out.flush(force=True)
    if btf is None and probes and all(map(_without_types, probes)):
        del skipped[0]
    if skipped and not found:
        raise skipped[0]
    for problem in skipped:
        complain(f"WARNING: {problem.message}; not all probes are listed ({problem.hint})\n")
    return 0 if found else 1


def _without_types(pattern: str) -> bool:
    """Whether a pattern names a provider that is listed without the kernel's types."""
    return pattern.strip().partition(":")[0] in _UNTYPED


def type_text(btf: Btf, name: str) -> str:
    """The layout of "struct NAME", "union NAME" or "enum NAME"; "" when the kernel has no such type."""
    from ..btf import KIND_ENUM, KIND_ENUM64, KIND_STRUCT, KIND_UNION, struct_layout

    keyword, _, tag = name.partition(" ")
    kinds = {"struct": (KIND_STRUCT,), "union": (KIND_UNION,), "enum": (KIND_ENUM, KIND_ENUM64)}[keyword]
    for kind in kinds:
        found = btf.find(tag.strip(), kind)
        if found is not None:
            head, _, rest = struct_layout(btf, found).partition("\n")
            return f"vmlinux: {head.partition(' //')[0].rstrip()}\n{rest}\n"
    return ""


def list_for_bpftrace(args: Parsed) -> int:
    """`bpftrace -l`: a pattern, a file, or a program."""
    if args.text("execute") or (args.arguments and os.path.exists(args.arguments[0])):
        return _list_program(args)
    search = args.arguments[0] if args.arguments else "*:*"
    if "." in search and ":" not in search and "*" not in search:
        complain(
            f"WARNING: It appears that '{search}' is a filename but the file does not exist. "
            f"Treating '{search}' as a search pattern.\n"
        )
    show("*:*" if search == "*" else search, args)
    return 0


def _list_program(args: Parsed) -> int:
    """What the attach points of a program match."""
    from ..errors import ProbeError
    from ..lang.bpftrace import Compilation
    from ..probes import Catalogue, list_probes
    from ._bpftrace import script_of

    name, script, words = script_of(args)
    params, named = split_parameters(words)
    pid = parse_pid(args.text("pid")) if args.has("pid") else 0
    compilation = Compilation(script, name=name, params=params, options=named, pid=pid, unsafe=True)
    out = Output(1, "full")
    seen: dict[str, None] = {}
    debug_dirs = args.directories("debuginfo")
    with Catalogue(compilation.load_btf(), pid=pid, unsafe=True, debug_dirs=debug_dirs) as catalogue:
        for probe in compilation.parse().probes:
            for point in probe.attach:
                try:
                    seen.update(dict.fromkeys(list_probes(catalogue, point.text, verbose=args.has("verbose"))))
                except ProbeError as e:
                    complain(f"WARNING: {e.message}\n")
    for line in seen:
        out.write(line + "\n")
    out.flush(force=True)
    return 0
