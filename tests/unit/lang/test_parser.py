"""Scripts to trees: expected text beside each script; single decisions of the grammar here."""

from __future__ import annotations

import glob
import os

import pytest

from osmia.lang.bpftrace import ast
from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.format import dump
from osmia.lang.bpftrace.parser import parse

SCRIPTS = sorted(glob.glob(os.path.join(os.path.dirname(__file__), "scripts", "*.bt")))


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("path", SCRIPTS, ids=os.path.basename)
def test_scripts_give_the_tree_beside_them(path):
    assert dump(parse(Source(path, read(path)))) == read(path[:-3] + ".ast")


def statement(text: str) -> ast.Stmt:
    (found,) = parse(Source("stdin", "begin { " + text + " }")).probes[0].body
    return found


def tree(text: str) -> str:
    found = statement("$x = " + text)
    assert isinstance(found, ast.Assign)
    return " ".join(dump(found.value).split())


@pytest.mark.parametrize(
    ("text", "top"),
    [
        ("(pid)*tid", "Binary *"),
        ("(myident)*tid", "Cast"),
        ("(struct a)*tid", "Cast"),
        ("(arg1)-1", "Binary -"),
        ("(myident)", "Name myident"),
        ("(uint8[4])5", "Cast"),
        ("(x*y)", "Binary *"),
        ("(x*)y", "Cast"),
        ("(typeof($a))5", "Cast"),
        ("(typeof($a))", "TypeName"),
        ("(unsigned long)y", "Cast"),
        ("(a=1)", "RecordLiteral"),
        ("(a==1)", "Binary =="),
        ("(1,)", "TupleLiteral"),
        ("()", "TupleLiteral"),
        ("((1))", "Integer"),
        ("(mytype)$p.field", "Cast"),
        ("(cpu)-1", "Binary -"),
        ("(int32)1 + 2", "Binary +"),
        ("(a)[1]", "Index"),
    ],
)
def test_parentheses(text, top):
    if top == "TypeName":
        with pytest.raises(Exception, match="expected expression"):
            tree(text)
    else:
        assert tree(text).startswith(top)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sizeof(x[1])", "SizeOf operand: TypeName x [1]"),
        ("sizeof((x)[1])", "SizeOf operand: Index operand: Name x index: Integer 1"),
        ("sizeof((x[1]))", "SizeOf operand: Index operand: Name x index: Integer 1"),
        ("sizeof(x)", "SizeOf operand: Name x"),
        ("sizeof(x*)", "SizeOf operand: TypeName x *"),
        ("sizeof(x*2)", "SizeOf operand: Binary * left: Name x right: Integer 2"),
        ("sizeof(struct x)", "SizeOf operand: TypeName struct x"),
        ("sizeof(m())", "SizeOf operand: Call m"),
        ("offsetof(struct x, a.b)", "OffsetOf (a, b) of: TypeName struct x"),
        ("f(typeof(struct x *))", "Call f args: TypeName struct x *"),
        ("f(typeof($y))", "Call f args: TypeName of: Variable $y"),
    ],
)
def test_types_and_expressions_in_sizeof(text, expected):
    assert tree(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 - 5 - 2", "Binary - left: Binary - left: Integer 10 right: Integer 5 right: Integer 2"),
        ("1 | 2 && 4", "Binary && left: Binary | left: Integer 1 right: Integer 2 right: Integer 4"),
        ("5 == 5 & 1", "Binary & left: Binary == left: Integer 5 right: Integer 5 right: Integer 1"),
        ("2 < 1 >> 8", "Binary < left: Integer 2 right: Binary >> left: Integer 1 right: Integer 8"),
        ("*@x**@y", "Binary * left: Unary * operand: MapRef @x right: Unary * operand: MapRef @y"),
        ("-$a.b", "Unary - operand: Member b operand: Variable $a"),
        (
            "a ? b ? 1 : 2 : 3",
            "Ternary condition: Name a then: Ternary condition: Name b then: Integer 1 "
            "otherwise: Integer 2 otherwise: Integer 3",
        ),
    ],
)
def test_precedence(text, expected):
    assert tree(text) == expected


@pytest.mark.parametrize(
    ("text", "attach", "predicate"),
    [
        ("kprobe:f /100/25/ {}", ["kprobe:f"], True),
        ("kprobe:f/1/{}", ["kprobe:f"], True),
        ("begin/1/{}", ["begin"], True),
        ("uprobe:/a/b/c:f / 1 / {}", ["uprobe:/a/b/c:f"], True),
        ("uprobe:/with#hash:f {}", ["uprobe:/with#hash:f"], False),
        ('uprobe:"a b":"x{y, z}" {}', ['uprobe:"a b":"x{y, z}"'], False),
        ("a:b, c:d,\n{}", ["a:b", "c:d"], False),
        ("kprobe:[Ss]y[Ss]_* ,k:x?{}", ["kprobe:[Ss]y[Ss]_*", "k:x?"], False),
        ('usdt:a:"\\"q\\"" {}', ['usdt:a:"\\"q\\""'], False),
        ("struct:probe { }", ["struct:probe"], False),
        ("iter:task:/sys/fs/bpf/x /1/ {}", ["iter:task:/sys/fs/bpf/x"], True),
        ("k:f // comment\n{}", ["k:f"], False),
        ("config:x {}", ["config:x"], False),
        ("$1 {}", ["$1"], False),
        ("uprobe:$1/x:$2func {}", ["uprobe:$1/x:$2func"], False),
    ],
)
def test_attach_points_are_raw_text(text, attach, predicate):
    (probe,) = parse(Source("stdin", text)).probes
    assert [a.text for a in probe.attach] == attach
    assert all(text[a.span.start : a.span.end] == a.text for a in probe.attach)
    assert (probe.predicate is not None) == predicate


def test_named_probe():
    (probe,) = parse(Source("stdin", "first = kprobe:f { }")).probes
    assert (probe.name, probe.attach[0].text) == ("first", "kprobe:f")


def test_spans_cover_the_text_they_come_from():
    text = "begin { $x = (1 + 2) * foo(3, $y).z; }"
    assign = parse(Source("stdin", text), 4).probes[0].body[0]
    assert isinstance(assign, ast.Assign) and isinstance(assign.value, ast.Binary)
    spans = {text[s.start : s.end] for s in (assign.span, assign.value.span, assign.value.right.span)}
    assert spans == {"$x = (1 + 2) * foo(3, $y).z", "(1 + 2) * foo(3, $y).z", "foo(3, $y).z"}
    assert assign.span.source == 4


def test_macros_of_the_preprocessor_apply_to_the_script():
    text = "#define N (1 << 4)\n#define MAX(a, b) a > b ? a : b\n"
    text += "#ifdef NOT\n#define N 9\n#endif\nbegin { $x = MAX(N, $y); }"
    value = parse(Source("stdin", text)).probes[0].body[0].value
    assert isinstance(value, ast.Ternary)
    # What a macro stands for carries the place of its use.
    assert text[value.span.start : value.span.end] == "MAX(N, $y)"


def test_imports_inside_of_blocks_are_collected():
    script = parse(Source("stdin", 'import "a.bt"; begin { import "b.h"; print(1) }'))
    assert [i.path for i in script.imports] == ["a.bt", "b.h"]


def test_an_unused_value_is_a_statement():
    assert isinstance(statement("if (1) { print(1) } else { print(2) }"), ast.If)
    assert isinstance(statement("{ print(1) }"), ast.Block)


@pytest.mark.parametrize("text", ["", "#!/usr/bin/env osmia", "// nothing", "/* */ ;"])
def test_scripts_without_probes_parse(text):
    assert parse(Source("stdin", text)).probes == []
