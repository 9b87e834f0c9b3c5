"""Whatever parses gives a checked script or a SourceError, and nothing else."""

from __future__ import annotations

import random

from _checking import Probes
from fuzz import fuzz_bpftrace_parser as fuzz
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.errors import SourceError
from osmia.lang.bpftrace import ast
from osmia.lang.bpftrace.builtins import TABLE
from osmia.lang.bpftrace.cdefs import read
from osmia.lang.bpftrace.check import Environment, check
from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.expand import expand
from osmia.lang.bpftrace.parser import parse

PROBES = (
    "begin", "kprobe:f", "kretprobe:f", "uprobe:/bin/sh:f", "interval:s:1", "tracepoint:sched:sched_switch",
    "tracepoint:syscalls:*", "fexit:f", "usdt:/bin/sh:a:b", "iter:task",
)  # fmt: skip
LEAVES = (
    "1", "0", "-1", "300", "18446744073709551615", '"abc"', '""', "true", "$a", "$b", "@m", "@k[1]", '@k["x"]',
    "@c", "@h", "pid",
    "args", "args.dfd", "args.name", "retval", "arg0", "ctx", "curtask", "kstack", "ustack", "probe", "X", "nope",
    "$nope",
    "@nope", "()", "$p", "$s", "$p.a", "$p.in.x", "(struct s *)0",
)  # fmt: skip
OPERATORS = ("+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^", "&&", "||", "==", "!=", "<", ">", "<=", ">=")
TYPES = (
    "uint8",
    "int64",
    "struct s *",
    "struct s",
    "string[8]",
    "int8[]",
    "uint16[4]",
    "bool",
    "void *",
    "enum e",
    "nope",
)
CALLS = [n for n, r in TABLE.items() if r.category != "statement"]
HEAD = "struct s { int a; union { struct { char x[4]; int y; } in; long z; }; struct s *next; } enum e { X = 3 }\n"
START = '$a = 1; $b = "x"; $p = (struct s *)5; $s = (1, ("a", 2)); @m = 5; @k[1] = 2; @c = count(); @h = hist(1); '


def expression(rng: random.Random, depth: int) -> str:
    if depth <= 0 or rng.random() < 0.2:
        return rng.choice(LEAVES)
    e = lambda: expression(rng, depth - 1)  # noqa: E731
    kind = rng.randrange(16)
    if kind < 3:
        return f"({e()} {rng.choice(OPERATORS)} {e()})"
    if kind == 3:
        return f"({rng.choice('!~-*&')}{e()})"
    if kind < 7:
        return f"{rng.choice(CALLS)}({', '.join(e() for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))))})"
    shapes = {
        7: lambda: f"({e()} ? {e()} : {e()})",
        8: lambda: f"(({rng.choice(TYPES)}){e()})",
        9: lambda: f"({e()}).{rng.choice(('a', 'in', 'x', '0', '1', 'next', 'nope'))}",
        10: lambda: f"({e()})[{e()}]",
        11: lambda: f"({e()}, {e()})",
        12: lambda: f"(a={e()}, b={e()})",
        13: lambda: rng.choice((f"sizeof({e()})", f"typeinfo({e()}).full_type", f"sizeof({rng.choice(TYPES)})",
                                f"offsetof(struct s, {rng.choice(('a', 'in.x', 'nope'))})", f"comptime ({e()})")),
        14: lambda: f"{{ $t = {e()}; {e()} }}",
        15: lambda: f"@{rng.choice('mkxyz')}[{e()}]",
    }  # fmt: skip
    return shapes[kind]()


def statement(rng: random.Random, depth: int) -> str:
    e = lambda: expression(rng, 3)  # noqa: E731
    inner = lambda: " ".join(statement(rng, depth - 1) for _ in range(rng.randrange(3))) if depth else ""  # noqa: E731
    return rng.choice((
        lambda: f"${rng.choice('abcs')} {rng.choice(('=', '+=', '<<='))} {e()};",
        lambda: f"@{rng.choice('mkcxyz')} {rng.choice(('=', '-=', '|='))} {e()};",
        lambda: f"@{rng.choice('mkcxyz')}[{e()}] = {e()};",
        lambda: f"{e()};",
        lambda: f"${rng.choice('abq')}++; --@{rng.choice('mkx')};",
        lambda: f"if ({e()}) {{ {inner()} }} else {{ {inner()} }}",
        lambda: f"if comptime ({e()}) {{ {inner()} }} else {{ {inner()} }}",
        lambda: f"for ($i{rng.randrange(3)} : {e()}..{e()}) {{ {inner()} }}",
        lambda: f"for ($kv : @{rng.choice('mkchx')}) {{ print($kv.0); {inner()} }}",
        lambda: f"while ({e()}) {{ {inner()} break; }}",
        lambda: f"unroll ({rng.choice(('3', '0', '$a'))}) {{ {inner()} }}",
        lambda: f"let ${rng.choice('de')}: {rng.choice(TYPES)} = {e()};",
        lambda: f"let $f: typeof({e()}) = {e()};",
        lambda: f'printf("%d %s %r", {e()}, {e()}, {e()});',
        lambda: f"return {e()};",
        lambda: f"_ = {e()};",
    ))()  # fmt: skip


def script(rng: random.Random) -> str:
    blocks = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        lines = " ".join(statement(rng, 2) for _ in range(rng.randrange(1, 5)))
        predicate = f" /{expression(rng, 2)}/" if rng.random() < 0.2 else ""
        blocks.append(f"{rng.choice(PROBES)}{predicate} {{ {START if rng.random() < 0.7 else ''}{lines} }}")
    return HEAD + "\n".join(blocks)


def survives(text: str) -> bool:
    """Run the front half and the checker; True if the script is valid."""
    sources = [Source("stdin", text)]
    try:
        tree = parse(sources[0])
        definitions = read(tree.definitions, sources)
        expand(tree, sources)
        checked = check(tree, Environment(sources, definitions, None, Probes(), unsafe=True))
    except SourceError as problem:
        assert problem.diagnostics and str(problem)
        return False
    for probe in checked.probes:
        is_typed(probe.predicate)
        is_typed(probe.body)
    return True


def is_typed(node: object) -> None:
    """Every expression that is run has a final type, every variable its slot."""
    if isinstance(node, list):
        for each in node:
            is_typed(each)
    elif isinstance(node, ast.Node) and not isinstance(node, ast.TypeName):
        if isinstance(node, ast.Expr):
            assert node.type is not None and node.type.kind != "unknown" and node.type.mode != "flex", node
        if isinstance(node, ast.Variable):
            assert node.slot is not None and node.slot.type.kind != "unknown", node
        for field in node._fields:
            if field != "span":
                is_typed(getattr(node, field))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_generated_scripts(seed):
    survives(script(random.Random(seed)))


def test_valid_ones_are_among_them():
    rng = random.Random(3)
    assert sum(survives(HEAD + "begin { " + START + statement(rng, 1) + " }") for _ in range(300)) > 10


def test_mutated_scripts():
    corpus = fuzz.corpus()
    rng = random.Random(11)
    for _ in range(400):
        survives(fuzz.mutate(rng, corpus))


def test_deep_scripts():
    for depth in (50, 79):
        survives("begin { @x = " + "(" * depth + "1" + ")" * depth + "; }")
        survives("begin { @x = pid " + "+ pid " * depth + "; }")
        survives("begin { " + "if (pid) { " * depth + "}" * depth + " }")
