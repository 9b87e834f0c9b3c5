"""What syntax errors say and where; all of them are found in one go."""

from __future__ import annotations

import time

import pytest

from osmia.errors import SourceError
from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.parser import parse


def errors(text: str) -> list[tuple[str, str]]:
    """(message, the marked text of its first line) of each error."""
    with pytest.raises(SourceError) as e:
        parse(Source("stdin", text))
    return [(d.message, d.source_line[d.col - 1 : d.end_col - 1]) for d in e.value.diagnostics]


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("begin { print(1) print(2); }", "expected ';', found 'print'", "print"),
        ("begin { $x = 1 print(2); }", "expected ';', found 'print'", "print"),
        ("begin { break print(1); }", "expected ';', found 'print'", "print"),
        ("begin { $x: int8; }", "expected ';', found ':'", ":"),
        ("begin { x = 5; }", "expected ';', found '='", "="),
        ("begin { (1, 0) = 0 }", "expected ';', found '='", "="),
        ("begin { $a.2 = 3; }", "tuples and records are immutable once created", "$a.2 = 3"),
        ("kprobe:f /pid == 1 { 0; }", "expected '/' to close predicate", "{"),
        ("begin { $ x = 1; }", "expected identifier after '$'", "$"),
        ("begin { $0 }", "param $0 is out of integer range [1, 9223372036854775807]", "$0"),
        ('begin { "asdf }', "unterminated string", '"asdf }'),
        ("begin { /* asdf }", "unterminated comment", "/*"),
        ("begin { @=5++}", "increment/decrement requires a variable or map", "++"),
        ("begin { @=++5}", "increment/decrement requires a variable or map", "5"),
        ("begin { &1; }", "address-of operator (&) can only be used on a map or variable", "1"),
        ("begin { print((a=1, 5)); }", "expected identifier, found '5'", "5"),
        ("begin { print((a=1, a=2)); }", "named argument list already contains name: a", "a=2"),
        ("begin { for (@kv : @map) { } }", "expected variable in for loop", "@kv"),
        ("begin { for ($i : 1+1..10) { } }", "expected ')'", "+"),
        ("begin { for ($i : 0...10) { } }", "expected expression, found '.'", "."),
        ("begin { for ($i : 5) { } }", "expected map or range in for loop", "5"),
        ("begin { if(x=1) {} }", "expected ')', found '='", "="),
        ("begin { if (1) print(1); }", "expected '{', found 'print'", "print"),
        ("begin { $x = 1.5; }", "floating-point numbers are not supported", "5"),
        ("begin { f(struct x); }", "expected expression, found 'struct'", "struct"),
        ("begin { offsetof(struct a, b->c); }", "expected ')', found '->'", "->"),
        ("begin { let @x = 1; }", "expected variable after 'let'", "@x"),
        ("begin { $x = { 1; }; }", "a block used as a value must end in an expression", "}"),
        ("begin { $x = if 1 { 2 }; }", "an `if` used as a value needs a value in every branch", "if"),
        ("config { a=1 } begin {}", "expected '=', found '{'", "{"),
        ("config = { exit(); } begin {}", "expected '=', found '('", "("),
        ("config = { a=1 b=2 } begin {}", "expected ';', found 'b'", "b"),
        ("begin {} config = { a=1 }", "config must appear before probes and functions", "config"),
        ("begin {}\n#define A 1\n", "C definitions must appear before probes and functions", "#define A 1"),
        ("let @a = hash(); begin {}", "expected positive integer for map declaration max entries", ")"),
        ("let $a = 5; begin {}", "expected '@' in map declaration", "$a"),
        ("import 0; begin { }", "expected string after 'import'", "0"),
        ("macro m(pid) { } begin { }", "builtin 'pid' can't be used as a macro argument", "pid"),
        ("fn f(): void {} begin {}", "functions are not supported", "fn"),
        ("struct foo {} __attribute__ (packed) begin {}", "__attribute__ syntax error, expected '(('", "("),
        ("struct foo {} __attribute__ ((packed) begin {}", "__attribute__ syntax error, mismatched", "("),
        ("i:s:1\t\t\t$a", "expected '{', found '$a'", "$"),
        ("begin", "expected '{', found the end of the script", ""),
        ("begin { print(1);", "expected '}', found the end of the script", ""),
        ("begin { 'a' }", "character literals are not supported", "'"),
    ],
)
def test_one_error(text, message, marked):
    found = errors(text)
    assert len(found) == 1
    assert found[0][0].startswith("syntax: " + message)
    assert found[0][1] == marked


def test_every_statement_and_probe_reports_its_own():
    text = """begin { $a = ; print(1; if (1) { $b = 2 + ; $c = 3; } $d = 4 5; }
kprobe:f /1 + / { ok(); $e = ]; }
kprobe:g { fine(); }
tracepoint { x y }
macro m(1) { }
interval:s:1 { @ = 08; "\\q"; }
"""
    assert [line for line, _ in _places(text)] == [1, 1, 1, 1, 2, 4, 5, 6, 6]


def _places(text: str) -> list[tuple[int, int]]:
    with pytest.raises(SourceError) as e:
        parse(Source("stdin", text))
    return [(d.line, d.col) for d in e.value.diagnostics]


def test_the_unclosed_block_is_named():
    with pytest.raises(SourceError) as e:
        parse(Source("stdin", "begin {\n if (1) {\n}\n"))
    assert "the block that begins on line 1 is not closed" in e.value.diagnostics[0].hint


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "1" + ")" * 500,
        "-" * 2000 + "1",
        "1" + "+1" * 5000,
        "a" + ".b" * 5000,
        "{" * 500,
        "(int8)" * 500 + "1",
        "a?b:" * 500 + "c",
        "@a[" * 500,
        "f(" * 500,
        "if 1 {} else " * 500 + "{}",
        "$x" + "[0]" * 5000,
        "!" * 5000,
        "sizeof(" * 500,
        "{1;" * 300,
        "(1||1&&1|1^1&1==1<1<<1+1*" * 200,
        "comptime " * 500 + "1",
        "(int32" + "*" * 5000 + ")1",
    ],
)
def test_deep_nesting_is_an_error_with_a_place(text):
    found = errors("begin { $x = " + text + "; }")
    assert any("too deeply" in m or "too large" in m or "suffixes" in m for m, _ in found)


def test_long_scripts_need_no_depth():
    probes = "kprobe:f /pid == 1/ { @a[comm, 1] = count(); if (1) { print(2); } }\n" * 2000
    assert len(parse(Source("stdin", probes)).probes) == 2000
    body = "begin { " + "$x = 1; " * 20000 + "}"
    assert len(parse(Source("stdin", body)).probes[0].body) == 20000


@pytest.mark.parametrize(
    "text",
    [
        "k:f /1 {}; " * 3000,
        "k:f /1 {} .x " * 3000,
        "begin { $x = ; }\n" * 20000,
        "x ; " * 20000,
        "begin { $x = " + "sizeof(typeof(" * 35 + "$a" + ")+1)" * 35 + "; }",
        "begin { $x = " + "(typeof(" * 35 + "1" + ")+1" * 35 + "; }",
        'a:"' * 20000,
        "#if 1\n" * 5000 + "begin {",
    ],
)
def test_hostile_scripts_take_no_time(text):
    start = time.process_time()
    assert 0 < len(errors(text)) <= 110
    assert time.process_time() - start < 5
