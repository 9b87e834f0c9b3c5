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
    from ..errors import ProbeError
    from ..probes import Catalogue

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
# What is nowhere to be listed.
_OWN = ("begin", "end", "test", "bench", "watchpoint", "w", "asyncwatchpoint", "aw", "BEGIN", "END")


def usage() -> str:
    return f"""usage: osmia list [OPTION]... [PATTERN]...

List probes, or with -v their arguments; "struct NAME", "union NAME", "enum NAME" and "typedef NAME" show types of
the kernel. Without a pattern: all probes that the kernel has. The status is 1 when nothing matches.

{help_lines(OPTIONS)}

Examples:
  osmia list 'tracepoint:syscalls:*open*'
  osmia list -v 'rawtracepoint:sched_switch'
  osmia list 'uprobe:/bin/bash:*read*'
  osmia list 'enum skb_drop_reason'
"""


def run(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS)
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    patterns = args.arguments or ["*:*"]
    return show(",".join(patterns), args)


def show(pattern: str, args: Parsed, *, drop_in: bool = False) -> int:
    """Print what matches, one probe a line; status 1, and a word on stderr, when nothing does.

    As a `drop_in`, types are shown whole only where -v is given, and nobody minds an empty list.
    """
    from ..btf import load_kernel_btf
    from ..errors import BtfError, OsmiaError
    from ..probes import Catalogue, list_probes
    from ._kernel_types import is_type, type_texts

    pid = parse_pid(args.text("pid")) if args.has("pid") else 0
    btf: Btf | None = None
    skipped: list[OsmiaError] = []
    try:
        btf = load_kernel_btf()
    except BtfError as error:
        skipped.append(error)  # what tracefs and files say is listed all the same
    out = Output(1, "full")
    found = False
    verbose = args.has("verbose")
    parts = [part.strip() for part in pattern.split(",")]
    types, probes = [part for part in parts if is_type(part)], [part for part in parts if not is_type(part)]
    if btf is not None:
        for text in type_texts(btf, types, whole=verbose or not drop_in):
            out.write(text)
            found = True
    with Catalogue(btf, pid=pid, debug_dirs=args.directories("debuginfo")) as catalogue:
        for line in list_probes(catalogue, ",".join(probes), verbose=verbose, skipped=skipped) if probes else ():
            out.write(line + "\n")
            found = True
        out.flush(force=True)
        if btf is None and probes and all(map(_without_types, probes)):
            del skipped[0]
        if skipped and not found:
            raise skipped[0]
        for problem in skipped:
            complain(f"WARNING: {problem.message}; not all probes are listed ({problem.hint})\n")
        if not found and not drop_in:
            raise nothing_matches(catalogue, parts)
    return 0 if found else 1


def nothing_matches(catalogue: Catalogue, patterns: Sequence[str]) -> ProbeError:
    """The error to raise for patterns that mean nothing on this machine."""
    from ..errors import ProbeError
    from ..probes import similar_probes
    from ._kernel_types import is_type, similar_types

    near: list[str] = []
    for pattern in patterns:
        if not is_type(pattern):
            near += similar_probes(catalogue, pattern)
        if catalogue.btf and ":" not in pattern:
            near += similar_types(catalogue.btf, pattern)
    hint = f"did you mean {' or '.join(near[:3])}?" if near else ""
    if all(p.partition(":")[0] in _OWN for p in patterns):
        hint = "scripts make these up themselves: begin, end, test:NAME, bench:NAME, watchpoint:ADDRESS:LENGTH:MODE"
    kinds = "types" if all(map(is_type, patterns)) else "probes"
    return ProbeError(f"list {kinds}: nothing matches {', '.join(map(repr, patterns))}", hint=hint)


def _without_types(pattern: str) -> bool:
    """Whether a pattern names a provider that is listed without the kernel's types."""
    return pattern.strip().partition(":")[0] in _UNTYPED


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
    show("*:*" if search == "*" else search, args, drop_in=True)
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
