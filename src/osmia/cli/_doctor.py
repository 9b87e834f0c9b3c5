"""`osmia doctor`: what this kernel and this user can do."""

from __future__ import annotations

import sys

from .. import __version__
from ._options import Option, help_lines, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..kernel import Answer, Report

OPTIONS = (
    Option(("-o", "--output"), "format of the output", "FORMAT", ("text", "json")),
    Option(("-h", "--help"), "show this"),
)
# Rows that bpftrace --info prints, and the features that answer them.
# Rows of `bpftrace --info`: its name, and the feature of the kernel that answers it.
INFO = (
    (
        "Kernel helpers",
        (
            ("dpath", "helper_d_path"),
            ("get_tai_ns", "helper_ktime_get_tai_ns"),
            ("get_func_ip", "helper_get_func_ip"),
            ("lookup_percpu_elem", "helper_map_lookup_percpu_elem"),
            ("loop", "helper_loop"),
            ("send_signal", "helper_send_signal"),
            ("probe_read_kernel", "helper_probe_read_kernel"),
            ("jiffies64", "helper_jiffies64"),
            ("get_ktime_ns", "helper_ktime_get_tai_ns"),
            ("skboutput", "helper_skb_output"),
        ),
    ),
    ("Kernel features", (("btf", "kernel_btf"), ("Loop support", "bounded_loops"))),
    (
        "Probe types",
        (
            ("kprobe", "kprobe_pmu"),
            ("kprobe_multi", "kprobe_multi"),
            ("uprobe_multi", "uprobe_multi"),
            ("kprobe_session", "kprobe_session"),
            ("fentry", "fentry"),
            ("iter", "iterators"),
        ),
    ),
)
MARKS = {"ok": " ok ", "warn": "warn", "fail": "FAIL"}


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
    from ..kernel import report

    found = report()
    as_json = args.text("output", "text") == "json"
    sys.stdout.write(report_json(found) if as_json else report_text(found))
    return 1 if any(check.state == "fail" for check in found.checks) else 0


def report_text(found: Report) -> str:
    """Checks with what helps, then features by kind, those that lack with the version that has them."""
    lines = [f"Linux {found.release} on {found.machine}", ""]
    for check in found.checks:
        lines.append(f"[{MARKS[check.state]}] {check.name}: {check.value}".rstrip())
        if check.state != "ok":
            lines += [f"       {text}" for text in (check.meaning, check.fix and f"run: {check.fix}") if text]
    kinds: dict[str, list[Answer]] = {}
    for answer in found.features:
        kinds.setdefault(answer.feature.kind, []).append(answer)
    for kind, answers in kinds.items():
        yes = [a.feature.name for a in answers if a.supported]
        lines += ["", f"{kind}: {len(yes)} of {len(answers)} supported", *_wrapped(yes)]
        for answer in answers:
            if not answer.supported:
                feature = answer.feature
                lines.append(f"  {answer.text}: {feature.name} (Linux {feature.since}; {feature.why})")
    return "\n".join(lines) + "\n"


def _wrapped(names: list[str]) -> list[str]:
    from textwrap import wrap

    return wrap(" ".join(names), 110, initial_indent="  ", subsequent_indent="  ", break_long_words=False)


def report_json(found: Report) -> str:
    import json

    features = {
        a.feature.name: {"kind": a.feature.kind, "supported": a.supported, "since": a.feature.since}
        for a in found.features
    }
    checks = [{name: getattr(check, name) for name in check._fields} for check in found.checks]
    whole = {"release": found.release, "machine": found.machine, "checks": checks, "features": features}
    return json.dumps(whole, indent=1) + "\n"


def bpftrace_info() -> str:
    """The answers of `bpftrace --info`, in its form."""
    import os

    from ..kernel import FEATURES, probe_feature

    uname = os.uname()
    lines = ["System", f"  OS: {uname.sysname} {uname.release} {uname.version}", f"  Arch: {uname.machine}", ""]
    lines += ["Build", f"  version: osmia {__version__}", "  libdw (DWARF support): yes", ""]
    lines[-1:] = ["  bcc library path resolution: yes", ""]
    for title, rows in INFO:
        lines.append(title)
        for name, feature in rows:
            supported = feature in FEATURES and probe_feature(feature).supported
            lines.append(f"  {name}: {'yes' if supported else 'no'}")
        lines.append("")
    return "\n".join(lines)
