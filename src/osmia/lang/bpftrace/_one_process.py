"""`-p PID`: probes that cannot be attached to a process get a predicate, `pid == PID`, as bpftrace gives them."""

from __future__ import annotations

from ...errors import ProbeError
from . import ast

# The kernel limits the others when they are attached, or they belong to no process (timers, begin and end).
EVERYWHERE = ("kprobe", "kretprobe", "fentry", "fexit", "tracepoint", "rawtracepoint")


def limit_to_process(script: ast.Script, pid: int, params: tuple[str, ...] = ()) -> None:
    """Change the script in place. A block with several attach points is limited if one of them needs it."""
    for probe in script.probes:
        if any(_fires_everywhere(attach.text, pid, params) for attach in probe.attach):
            span = probe.attach[0].span
            wanted: ast.Expr = ast.Binary(span, "==", ast.Name(span, "pid"), ast.Integer(span, pid))
            probe.predicate = wanted if probe.predicate is None else ast.Binary(span, "&&", wanted, probe.predicate)


def _fires_everywhere(text: str, pid: int, params: tuple[str, ...]) -> bool:
    from ...probes import expand_probe

    try:
        # Whether it is allowed is not asked here: the check of the script says what is wrong.
        return any(spec.provider in EVERYWHERE for spec in expand_probe(text, pid=pid, params=params, unsafe=True))
    except (ProbeError, OverflowError):
        return False
