"""Check one script with a catalogue of our own: the machine does not matter."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from osmia.errors import Diagnostic, SourceError
from osmia.lang.bpftrace import ast
from osmia.lang.bpftrace.cdefs import read
from osmia.lang.bpftrace.check import Environment, check
from osmia.lang.bpftrace.checked import CheckedScript, Config, Source
from osmia.lang.bpftrace.expand import expand
from osmia.lang.bpftrace.parser import parse
from osmia.probes import Arg, Match, ProbeSpec, TracepointField

OPENAT = (
    TracepointField("__syscall_nr", "int", 8, 4, True),
    TracepointField("dfd", "int", 16, 8, False),
    TracepointField("filename", "const char *", 24, 8, False),
)
SWITCH = (
    TracepointField("prev_comm", "char", 8, 16, False, 16),
    TracepointField("prev_state", "long", 32, 8, True),
    TracepointField("skbaddr", "void *", 40, 8, False),
    TracepointField("name", "char", 48, 4, False, -1, "data_loc"),
)
EVENTS = {"syscalls:sys_enter_openat": OPENAT, "sched:sched_switch": SWITCH, "sched:sched_other": SWITCH}


class Probes:
    """A catalogue whose tracepoints are EVENTS; every other probe exists, but those called "nonsense"."""

    btf = None

    def match(self, spec: ProbeSpec) -> list[Match]:
        if spec.function == "nonsense":
            return []
        if spec.provider != "tracepoint":
            return [Match(spec, spec.name, spec.target, spec.function, spec.namespace)]
        wanted = [e for e in EVENTS if fnmatchcase(e, f"{spec.target}:{spec.function}")]
        return [Match(spec, "tracepoint:" + e, *e.split(":")) for e in wanted]

    def describe_args(self, match: Match) -> list[Arg]:
        fields = EVENTS.get(f"{match.target}:{match.function}", ())
        return [Arg(f.name, f.type, i, f.offset, f.size, f.signed, field=f) for i, f in enumerate(fields)]


def run(script: str, *, config: Config | None = None, unsafe: bool = False, btf: object = None) -> CheckedScript:
    checked, _ = _checked(script, config=config, unsafe=unsafe, btf=btf)
    return checked


def run_with_warnings(script: str, **options: object) -> tuple[CheckedScript, list[str]]:
    checked, warnings = _checked(script, **options)  # type: ignore[arg-type]
    return checked, [w.message for w in warnings]


def warned(script: str, **options: object) -> list[Diagnostic]:
    """The warnings of a script that passes."""
    return _checked(script, **options)[1]  # type: ignore[arg-type]


def _checked(
    script: str, *, config: Config | None = None, unsafe: bool = False, btf: object = None
) -> tuple[CheckedScript, list[Diagnostic]]:
    sources = [Source("stdin", script)]
    tree = parse(sources[0])
    definitions = read(tree.definitions, sources)
    expand(tree, sources)
    env = Environment(sources, definitions, btf, Probes(), config or Config(), unsafe=unsafe)
    checked = check(tree, env)
    return checked, list(env.warnings)


def errors(script: str, **options: object) -> list[str]:
    """The messages of a script that must not pass."""
    return [message for message, _ in hints(script, **options)]


def hints(script: str, **options: object) -> list[tuple[str, str]]:
    """(message, hint) of a script that must not pass."""
    with pytest.raises(SourceError) as caught:
        run(script, **options)  # type: ignore[arg-type]
    return [(d.message, d.hint) for d in caught.value.diagnostics]


def body(script: str, **options: object) -> list[ast.Stmt]:
    """The statements of the first probe."""
    return run(script, **options).probes[0].body  # type: ignore[arg-type]


def value_of(script: str, **options: object) -> ast.Expr:
    """The value that the last statement of the first probe assigns."""
    last = body(script, **options)[-1]
    assert isinstance(last, ast.Assign)
    return last.value
