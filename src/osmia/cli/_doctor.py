"""`osmia doctor`: what this kernel and this user can do."""

from __future__ import annotations

import sys

from ._options import Option, help_lines, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (
    Option(("-o", "--output"), "format of the output", "FORMAT", ("text", "json")),
    Option(("-h", "--help"), "show this"),
)
# Rows that bpftrace --info prints, and the features that answer them.
INFO = (
    ("Kernel helpers", ("dpath", "get_tai_ns", "get_func_ip", "lookup_percpu_elem", "loop")),
    ("Kernel features", ("Instruction limit", "btf", "module btf")),
    ("Probe types", ("kprobe_multi", "uprobe_multi", "kprobe_session", "iter")),
)


def usage() -> str:
    return f"""usage: osmia doctor [OPTION]...

Say what this kernel supports, what this user may do, and what is missing, with the command that helps.

{help_lines(OPTIONS)}
"""


def run(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS)
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    from ..kernel import report  # type: ignore[attr-defined,unused-ignore]

    text = report(format=args.text("output", "text"))
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    return 0
