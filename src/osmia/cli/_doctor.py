"""`osmia doctor`: what this kernel and this user can do, and the command that helps where they cannot."""

from __future__ import annotations

import sys

from .._version import __version__
from ._options import Option, help_lines, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..kernel import Answer, Check, Report
    from ._doctor_probes import Trial

OPTIONS = (
    Option(("-o", "--output"), "format of the output", "FORMAT", ("text", "json")),
    Option(("--features",), "list program types, map types and helpers by program type instead"),
    Option(("-h", "--help"), "show this"),
)
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
# Commands that grant a capability, and hints that are one: in a text one at the end grants all that are missing.
GRANT = ("sudo capsh ", "run it with sudo, or grant it: ")
# What the main job, a script on a tracepoint, needs of the probe types.
MAIN = ("begin", "tracepoint")
# Kernel options without which a feature is not there, whatever the version.
OPTIONS_OF = {
    "fentry": ("CONFIG_FUNCTION_TRACER", "CONFIG_DYNAMIC_FTRACE"), "kprobe_pmu": ("CONFIG_KPROBE_EVENTS",),
    "kprobe_multi": ("CONFIG_FPROBE",), "kprobe_session": ("CONFIG_FPROBE",), "uprobe_pmu": ("CONFIG_UPROBE_EVENTS",),
    "lsm_attach": ("CONFIG_BPF_LSM", "CONFIG_FUNCTION_TRACER"), "program_lsm": ("CONFIG_BPF_LSM",),
    "program_lirc_mode2": ("CONFIG_BPF_LIRC_MODE2",), "tracefs": ("CONFIG_TRACING",), "tcx": ("CONFIG_NET_CLS_ACT",),
    "kernel_btf": ("CONFIG_DEBUG_INFO_BTF",), "breakpoints": ("CONFIG_HAVE_HW_BREAKPOINT",),
}  # fmt: skip
# What else may lack.
MORE_OF = {
    "lsm_attach": "bpf in lsm= at boot", "breakpoints": "free debug registers",
    "hardware_events": "a PMU; virtual machines often have none",
}  # fmt: skip


def usage() -> str:
    return f"""usage: osmia doctor [OPTION]...

Say what this kernel supports, what this user may do, and what is missing, with the command that helps.

{help_lines(OPTIONS)}

Exit status: 0 when a script on a tracepoint would run, else 1.
"""


def run(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS)
    if args.has("help"):
        sys.stdout.write(usage())
        return 0
    as_json = args.text("output", "text") == "json"
    if args.has("features"):
        from ._doctor_features import features_json, features_text

        sys.stdout.write(features_json() if as_json else features_text())
        return 0
    from ..kernel import report
    from ._doctor_host import cache_check, llvm_check
    from ._doctor_probes import try_probes

    found = report()
    checks = [*found.checks, llvm_check(), cache_check()]
    trials = try_probes()
    works = all(t.works for t in trials if t.name in MAIN) and not any(
        c.state == "fail" for c in checks if c.name in ("kernel", "LLVM")
    )
    make = report_json if as_json else report_text
    sys.stdout.write(make(found, checks, trials, works))
    return 0 if works else 1


def report_text(found: Report, checks: Sequence[Check], trials: Sequence[Trial], works: bool) -> str:
    """Checks with what helps, probe types as tried, features by kind; those that lack with the reason."""
    lines = [f"osmia {__version__} on Linux {found.release}, {found.machine}", ""]
    for check in checks:
        lines.append(f"[{MARKS[check.state]}] {check.name}: {check.value}".rstrip())
        if check.state != "ok":
            lines += [f"       {text}" for text in (check.meaning, _to_do(check.fix)) if text]
    lines += ["", "probe types, each attached once:"]
    lines += _wrapped([t.name for t in trials if t.works])
    for problem in dict.fromkeys(t.problem for t in trials if not t.works):
        same = [t for t in trials if t.problem == problem]
        lines.append(f"  not {', '.join(t.name for t in same)}: {problem}")
        lines += [f"      {text}" for text in (_to_do(same[0].fix),) if text]
    kinds: dict[str, list[Answer]] = {}
    for answer in found.features:
        kinds.setdefault(answer.feature.kind, []).append(answer)
    for kind, answers in kinds.items():
        yes = [a.feature.name for a in answers if a.supported]
        unclear = [a for a in answers if a.supported is None]
        unknown = f", {len(unclear)} unknown" if unclear else ""
        lines += ["", f"{kind}: {len(yes)} of {len(answers)} supported{unknown}", *_wrapped(yes)]
        for answer in answers:
            if answer.supported is False:
                feature = answer.feature
                lines.append(f"  {answer.text}: {feature.name}, for {feature.why}: {reason(answer)}")
        # Without privileges that is nearly all of them, for the same reason.
        for why in dict.fromkeys(map(reason, unclear)):
            alike = [a.feature.name for a in unclear if reason(a) == why]
            lines += [f"  could not tell ({why}):", *_wrapped(alike, "    ")]
    if missing := [c.name for c in checks if c.name.startswith("CAP_") and c.fix.startswith(GRANT)]:
        from ..syscalls import grant_command

        lines += ["", "A shell with all capabilities that are missing:", f"  {grant_command(*missing)}"]
    lines += ["", "Scripts on tracepoints work here." if works else "Scripts on tracepoints do not work here."]
    return "\n".join(lines) + "\n"


def _to_do(fix: str) -> str:
    """A command is shown as one, and "" in place of one that grants a capability."""
    if fix.startswith(GRANT):
        return ""
    return f"run: {fix}" if fix.startswith(("sudo ", "pip ", "chmod ")) else fix


def reason(answer: Answer) -> str:
    """Why a feature is not supported, or cannot be told: what was found out, and no more."""
    from ..kernel import capabilities_for
    from ..syscalls import effective_capabilities, kernel_version, stands_for

    feature = answer.feature
    refused = "the kernel refuses it (EPERM), and does not say why" if answer.denied == 1 else ""
    refused = refused or ("the kernel refuses it (EACCES), and does not say why" if answer.denied else "")
    if answer.supported is None:
        held = effective_capabilities()
        missing = [c for c in capabilities_for(feature) if not stands_for(c, held)]
        return f"asking takes {', '.join(missing)}" if missing else refused or "the kernel's answer is not clear"
    since = tuple(map(int, feature.since.split(".")))
    if kernel_version()[: len(since)] < since:
        return f"it is in Linux {feature.since} and newer"
    return _not_there(feature.name, refused)


def _not_there(name: str, refused: str) -> str:
    """Why this kernel, which is new enough, does not do it."""
    from ..kernel import lacking_options

    options = OPTIONS_OF.get(name, ())
    lacking = lacking_options(options)
    if lacking:
        return f"this kernel was built without {', '.join(lacking)}"
    more = MORE_OF.get(name, "")
    if lacking is None:
        needs = " and ".join([*(f"{option}=y" for option in options), *([more] if more else [])])
        needs = needs or "another configuration of this kernel"
        hidden = "this kernel's configuration is not to be read"
        return f"{refused}; it needs {needs}, and {hidden}" if refused else f"it needs {needs} ({hidden})"
    built = f"this kernel was built with {', '.join(options)}" if options else ""
    if refused:
        parts = [refused, built, f"it also needs {more}" if more else ""]
    elif more:
        parts = [f"it needs {more}", built]
    else:
        parts = ["the kernel does not offer it", built]
    return "; ".join(part for part in parts if part)


def _wrapped(names: list[str], indent: str = "  ") -> list[str]:
    from textwrap import wrap

    return wrap(" ".join(names), 110, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def report_json(found: Report, checks: Sequence[Check], trials: Sequence[Trial], works: bool) -> str:
    """The same as one JSON object: checks in order, probes and features by name."""
    import json

    features = {
        a.feature.name: {
            "kind": a.feature.kind,
            "supported": a.supported,
            "since": a.feature.since,
            "why": a.feature.why,
            "reason": "" if a.supported else reason(a),
        }
        for a in found.features
    }
    whole = {
        "version": __version__,
        "release": found.release,
        "machine": found.machine,
        "tracepoint_scripts": works,
        "checks": [{name: getattr(check, name) for name in check._fields} for check in checks],
        "probes": {
            t.name: {"works": t.works, "problem": t.problem, "fix": t.fix, "capability": t.capability} for t in trials
        },
        "features": features,
    }
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
