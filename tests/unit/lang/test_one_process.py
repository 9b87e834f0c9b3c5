"""-p: what the kernel cannot limit to a process gets a predicate."""

from __future__ import annotations

import pytest

from osmia.lang.bpftrace import ast
from osmia.lang.bpftrace._one_process import limit_to_process
from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.parser import parse


def limited(attach: str, predicate: str = "") -> ast.Expr | None:
    script = parse(Source("stdin", f"{attach} {predicate} {{ @ = 1; }}"))
    limit_to_process(script, 42)
    return script.probes[0].predicate


@pytest.mark.parametrize(
    "attach",
    ["tracepoint:a:b", "t:a:*", "rt:sys_enter", "k:f", "kretprobe:f", "fentry:f", "fexit:f", "uprobe:/bin/sh:f, k:f"],
)
def test_probes_of_the_kernel(attach):
    found = limited(attach)
    assert isinstance(found, ast.Binary) and found.op == "=="
    assert isinstance(found.left, ast.Name) and found.left.name == "pid"
    assert isinstance(found.right, ast.Integer) and found.right.value == 42


@pytest.mark.parametrize(
    "attach",
    [
        "begin",
        "end",
        "interval:s:1",
        "profile:hz:9",
        "uprobe:/bin/sh:f",
        "usdt:x",
        "software:faults:1",
        "iter:x",
        "no:x",
    ],
)
def test_what_is_attached_to_the_process_or_belongs_to_none(attach):
    assert limited(attach) is None


def test_a_predicate_of_the_scripts_own_holds_too():
    found = limited("tracepoint:a:b", "/@x/")
    assert isinstance(found, ast.Binary) and found.op == "&&"
    assert isinstance(found.left, ast.Binary) and isinstance(found.right, ast.MapRef)
