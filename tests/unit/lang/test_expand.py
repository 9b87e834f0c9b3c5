"""Macros, imports and parameters of the command line."""

from __future__ import annotations

import os

import pytest

from osmia.errors import SourceError
from osmia.lang.bpftrace import Compilation, ast
from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.expand import expand, split_arguments
from osmia.lang.bpftrace.format import dump
from osmia.lang.bpftrace.parser import parse


def expanded(text: str, *args: str, name: str = "stdin") -> ast.Script:
    sources = [Source(name, text)]
    positional, named = split_arguments(args)
    return expand(parse(sources[0]), sources, positional=positional, named=named)


def same(text: str, expected: str, *args: str) -> None:
    """The script expands to the tree of `expected` (its own variables are numbered: `$x#1` reads `$x_1`)."""
    got = dump(expanded(text, *args)).replace("#", "_")
    assert got == dump(parse(Source("", expected)))


def error(text: str, *args: str) -> str:
    with pytest.raises(SourceError) as e:
        expanded(text, *args)
    return "\n".join(d.message for d in e.value.diagnostics)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("macro one() { 1 } begin { $a = one + one() + one!(); }", "begin { $a = 1 + 1 + 1; }"),
        ("macro m { print(1); } begin { m; m() }", "begin { { print(1); } { print(1); } }"),
        ("macro inc($x) { $x += 1; } begin { inc($a); }", "begin { { $a += 1; } }"),
        ("macro inc($x) { $x += 1; $x } begin { $b = inc($a); }", "begin { $b = { $a += 1; $a }; }"),
        ("macro add(x) { $y = x + 1; $y } begin { $y = add($y); }", "begin { $y = { $y_1 = $y + 1; $y_1 }; }"),
        (
            "macro two(x) { let $x = x; $x } begin { $a = two(two(1)); }",
            "begin { $a = { let $x_2 = { let $x_1 = 1; $x_1 }; $x_2 }; }",
        ),
        ("macro set(@m, k) { @m[k] = 2; } begin { set(@a, (1, 2)); }", "begin { { @a[(1, 2)] = 2; } }"),
        (
            "macro p(a, b) { print((a, b)); } macro q(@b, $x) { p(@b, $x); } begin { q(@d, $y); }",
            "begin { { { print((@d, $y)); } } }",
        ),
        (
            'macro twice(x) { x; x; } begin { twice({ printf("hi") }); }',
            'begin { { { printf("hi") } { printf("hi") } } }',
        ),
        ("macro add() { 2 } macro ident(add) { add } begin { $a = ident(1); }", "begin { $a = 1; }"),
        (
            "macro k(@m) { for ($k : @m) { $x = $k.0; break; } $x } begin { $a = k(@b); }",
            "begin { $a = { for ($k_1 : @b) { $x_1 = $k_1.0; break; } $x_1 }; }",
        ),
        (
            "macro a($x) { 1 } macro a(@x) { 2 } macro a(x) { 3 } macro a() { 4 } "
            "begin { $r = (a($v), a(@m), a(@m[1]), a); }",
            "begin { $r = (1, 2, 3, 4); }",
        ),
        ("macro a($x, y) { 1 } macro a(x, $y) { 2 } begin { $r = (a($x, 1), a(1, $x)); }", "begin { $r = (1, 2); }"),
        ("macro b() { c() } macro c() { 5 } begin /b == c/ { }", "begin /5 == 5/ { }"),
        (
            "macro f(x) { if (x) { print(1) } else { print(2) } } begin { f($a); }",
            "begin { { if ($a) { print(1) } else { print(2) } } }",
        ),
        (
            'macro cpu(x) { x } begin { print(cpu("hi")); print(cpu()); print(cpu) }',
            'begin { print("hi"); print(cpu()); print(cpu) }',
        ),
    ],
)
def test_macros(text, expected):
    same(text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("macro s(t) { sizeof(t) } begin { $a = s(typeof(struct x)); }", "begin { $a = sizeof(struct x); }"),
        ("macro s(t) { sizeof(struct t) } begin { $a = s(typeof(x)); }", "begin { $a = sizeof(struct x); }"),
        ("macro s(t) { sizeof(t[2]) } begin { $a = s(typeof(uint64*)); }", "begin { $a = sizeof(uint64*[2]); }"),
        ("macro s(t) { offsetof(t, x) } begin { $a = s(typeof(struct f)); }", "begin { $a = offsetof(struct f, x); }"),
        ("macro s(t) { (typeof(t))0 } begin { $a = s(typeof(uint64*)); }", "begin { $a = (uint64*)0; }"),
        ("macro s(t) { (t*)-1 } begin { $a = s(typeof(uint8)); }", "begin { $a = (uint8*)-1; }"),
        ("macro s(t) { let $x: t = 0; } begin { s(typeof(uint32)); }", "begin { { let $x_1: uint32 = 0; } }"),
        (
            "macro i(t) { sizeof(t) } macro o(z) { i(z) + i(typeof(z*)) } begin { $a = o(typeof(uint64)); }",
            "begin { $a = sizeof(uint64) + sizeof(uint64*); }",
        ),
        (
            "macro uint64_t() { 1 } begin { $a = sizeof(uint64_t) + sizeof(uint64_t()); }",
            "begin { $a = sizeof(uint64_t) + sizeof(1); }",
        ),
        ("macro s(x) { sizeof(x) } begin { $a = s($b); }", "begin { $a = sizeof($b); }"),
    ],
)
def test_types_as_arguments(text, expected):
    same(text, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("macro m($x) { 1 } begin { m($a, 1); }", "has a different number of arguments. Expected: 1 but got 2"),
        ("macro m($x) { 1 } begin { $z = m; }", "Expected: 1 but got 0"),
        ("macro m($x, $x) { 1 } begin { }", "Variable for macro argument has already been used: $x"),
        ("macro m(@x, @x) { 1 } begin { }", "Map for macro argument has already been used: @x"),
        ("macro m(x, x) { 1 } begin { }", "Ident for macro argument has already been used: x"),
        ("macro m($x) { 1 } macro m($y) { 2 } begin { }", "Redefinition of macro: m"),
        (
            "macro a(x) { x + c(x) } macro b(x) { a(x) } macro c(x) { b(x) } begin { $a = c(1); }",
            "Recursive macro call detected. Call chain: c > b > a > c",
        ),
        ("macro m($x) { 1 } begin { m(@a); }", "Mismatched arg. m() expects a variable for arg $x but got a map."),
        ("macro m($x) { 1 } begin { m(1 + 1); }", "m() expects a variable for arg $x but got an expression."),
        ("macro m(@x) { 1 } begin { m($a); }", "m() expects a map for arg @x but got a variable."),
        ("macro m(@x) { 1 } begin { m(@a[1]); }", "m() expects a map for arg @x but got an expression."),
        ("macro m($x) { let $x; } begin { m($y); }", "variable declaration shadows macro arg $x"),
        ("macro m() { @x[1] = 1; } begin { m(); }", "unhygienic access to map: @x"),
        ("macro m() { print(1); } begin { $x = m(); }", "macro m() has no value"),
        (
            "macro m(x) { x + 1 } begin { $a = m(typeof(uint64)); }",
            "`typeof` is only valid for macros that expect a type",
        ),
        (
            "macro m(t) { sizeof(struct t) } begin { $a = m(typeof(uint64*)); }",
            "invalid replacement for macro 'm' type parameter 't' which makes up the type 'struct t'",
        ),
        ("macro m(x) { (x) - 1 } begin { $a = m(5); }", "'x' is a value here, not a type"),
    ],
)
def test_wrong_macros(text, message):
    assert message in error(text)


def test_macros_that_double_at_every_level_end():
    text = (
        "macro m0() { 1 }"
        + "".join(f"macro m{i + 1}() {{ m{i}() + m{i}() }}" for i in range(40))
        + "begin { $x = m40(); }"
    )
    assert "macros expand to" in error(text)
    text = "macro m0(x) { x }" + "".join(f"macro m{i + 1}(x) {{ m{i}(x + x) }}" for i in range(30))
    assert "macros expand to" in error(text + "begin { $x = m30(1); }")
    text = "macro m0(x) { x }" + "".join(f"macro m{i + 1}(x) {{ m{i}({{ $y = x; $y }}) }}" for i in range(200))
    assert "macros expand to" in error(text + "begin { $x = m200(1); }")


@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        ("begin { $a = ($1, $2, $3, $#); }", ("hello", "0x10"), 'begin { $a = ("hello", 16, 0, 2); }'),
        ("begin { $a = str($1) + str($2, 3); }", ("12",), 'begin { $a = "12" + str("", 3); }'),
        ("begin { $a = str($1 + 1); }", ("hello",), 'begin { $a = "ello"; }'),
        ("begin { $a = $1; }", ("18446744073709551616",), 'begin { $a = "18446744073709551616"; }'),
        ("begin { unroll ($1) { } }", ("1e3",), "begin { unroll (1000) { } }"),
        ('uprobe:"$1"/$1:f$2g {}', ("lib", "X"), 'uprobe:"$1"/lib:fXg {}'),
        ("BEG$1 {} $2 {} i:ms:$3 {}", ("IN", "i:s:1", "5"), "BEGIN {} i:s:1 {} i:ms:5 {}"),
        ("k:a$9b {}", (), "k:ab {}"),
    ],
)
def test_positional_parameters(text, args, expected):
    same(text, expected, *args)


def test_a_negative_parameter():
    value = expanded("begin { $a = $1; }", "-5").probes[0].body[0].value
    assert isinstance(value, ast.Integer) and value.value == -5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uprobe:/bin/bash:$0 { 1 }", "invalid trailing character for positional param: 0"),
        ("uprobe:/bin/bash:$a { 1 }", "invalid trailing character for positional param: a"),
        ("uprobe:f:$999999999999999999999999 { 1 }", "overflow error, maximum value is 18446744073709551615"),
        ("begin { $a = str($1 + 9); }", "cannot offset positional parameter past its length"),
        ("begin { $a = str($1 + $b); }", "only addition of a single constant"),
    ],
)
def test_wrong_parameters(text, message):
    assert message in error(text, "abc")


def test_named_parameters():
    args = ("pos1", "--", "--aa=0xffffffffffffffff", "--bb=-10", "--cc=False", "pos2", "--dd", "--ff=x=y")
    text = """begin { $a = ($1, getopt("aa", 20), getopt("bb", -1), getopt("cc", true), getopt("dd"),
        getopt("ee", "hello"),
        getopt("ff", ""), getopt("gg", 7, "what it does"), $2); }"""
    items = expanded(text, *args).probes[0].body[0].value.items
    values = [i.value for i in items]
    assert values == ["pos1", (1 << 64) - 1, -10, False, True, "hello", "x=y", 7, "pos2"]
    assert [str(i.declared) for i in items if isinstance(i, ast.Integer)] == ["uint64", "int64", "uint64"]


def test_wrong_named_parameters():
    assert error('begin { getopt("aa", 10) }', "--", "--aa=False") == (
        "program command line option --aa invalid integer (value: False)"
    )
    with pytest.raises(SourceError) as e:
        expanded('begin { getopt("aa", 10) }', "--", "--bb")
    assert str(e.value) == "ERROR: unexpected program command line options: --bb\nHINT: expected program options: --aa"
    with pytest.raises(SourceError) as e:
        expanded('begin { getopt("aa", 1, "Text of aa"); getopt("bb") }', "--", "--help")
    assert "HINT: expected program options:\n--aa: Text of aa\n--bb" in str(e.value)
    assert "same default value in all places" in error('begin { getopt("a", 1); getopt("a", 2); }')
    assert "must be a string literal, integer literal" in error('begin { getopt("a", $x); }')
    assert "first argument" in error("begin { getopt(1); }")


@pytest.fixture
def folder(tmp_path):
    os.chmod(tmp_path, 0o755)
    (tmp_path / "lib").mkdir(mode=0o755)
    (tmp_path / "one.bt").write_text('import "lib";\nmacro one() { 1 }\nlet @m = hash(5);\nend { print(one); }\n')
    (tmp_path / "lib" / "two.bt").write_text('struct two { int x; }\nimport "../one.bt";\nmacro two() { one + 1 }\n')
    (tmp_path / "lib" / "types.h").write_text("struct t { int y; };\n")
    (tmp_path / "lib" / "notes.txt").write_text("not imported\n")
    return tmp_path


def test_imports_merge_each_file_once(folder):
    main = str(folder / "main.bt")
    script = expanded('import "one.bt"; import "lib/two.bt"; begin { $a = two; }', name=main)
    assert [p.attach[0].text for p in script.probes] == ["begin", "end"]
    assert [m.name for m in script.maps] == ["@m"]
    assert len(script.definitions) == 2 and script.definitions[1].text.startswith("#include")
    assert dump(script.probes[0].body[0]).split("value: ")[1].startswith("Binary +")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('import "none.bt"; begin {}', "import 'none.bt': No such file or directory"),
        ('import "lib/notes.txt"; begin {}', "unknown kind of file"),
        ('import "c.bpf.c"; begin {}', "C code cannot be compiled here"),
        ('import "bad.bt"; begin {}', "syntax: expected expression"),
        ('import "config.bt"; begin {}', "only the root script can have a config block"),
    ],
)
def test_wrong_imports(folder, text, message):
    (folder / "bad.bt").write_text("begin { $x = ; }")
    (folder / "config.bt").write_text("config = { max_strlen=5 }")
    (folder / "c.bpf.c").write_text("int f;")
    with pytest.raises(SourceError) as e:
        expanded(text, name=str(folder / "main.bt"))
    assert message in e.value.diagnostics[0].message


def test_world_writable_folders_are_refused(folder):
    os.chmod(folder / "lib", 0o777)
    with pytest.raises(SourceError, match="is world-writable"):
        expanded('import "lib/two.bt"; begin {}', name=str(folder / "main.bt"))


def test_errors_inside_of_macros_say_where_they_were_called():
    with pytest.raises(SourceError) as e:
        Compilation("macro bad() { nonsense() }\nmacro worse() { bad(); }\nbegin { worse(); }").check()
    (found,) = e.value.diagnostics
    assert (found.line, found.col) == (1, 15)
    assert [(d.line, d.message) for d in found.trail] == [(2, "expanded from"), (3, "expanded from")]
    assert "stdin:3:9-16: ERROR: expanded from\nbegin { worse(); }\n" in found.render()


def test_arguments_of_macros_keep_their_place():
    with pytest.raises(SourceError) as e:
        Compilation("macro show(x) { print(x); }\nbegin { show(nonsense); }").check()
    (found,) = e.value.diagnostics
    assert (found.line, found.trail) == (2, ())


def test_assert_is_a_macro_that_scripts_may_replace():
    compilation = Compilation('begin { assert(pid > 1, "no"); }')
    compilation.parse()
    assert [s.name for s in compilation.sources][1:] == ["stdlib/base.bt", "stdlib/base.bt"]
    own = Compilation("macro assert(a, b) { print(a); } begin { assert(1, 2); }")
    own.parse()
    assert [s.name for s in own.sources] == ["stdin", "stdin"]


def test_the_standard_library_needs_no_files():
    compilation = Compilation('import "stdlib"; import "stdlib/test"; begin { print(__always_true()); }')
    assert "Integer 1" in dump(compilation.parse())


@pytest.mark.parametrize(
    ("expression", "args", "message"),
    [
        ("$1 + 1", ["5x"], "$1 is '5x', no number"),
        ("5 + $1", ["5x"], "$1 is '5x', no number"),
        ("-$1", ["x"], "$1 is 'x', no number"),
        ("$2 * $1", ["7", "x"], "$2 is 'x', no number"),
        ("pid + $1", ["x"], "$1 is 'x', no number"),
        ("$1 << 1", ["36893488147419103232"], "$1 is '36893488147419103232', more than 64 bits hold"),
        ("$1 + 1", [""], "$1 is '', no number"),
    ],
)
def test_arithmetic_on_parameters_that_are_no_numbers(expression, args, message):
    with pytest.raises(SourceError) as caught:
        expanded("begin { print(" + expression + "); }", *args)
    (found,) = caught.value.diagnostics
    number = message[:2]
    assert (found.message, found.hint) == (message, f"str({number}) takes it as text")
    assert found.col == 15 + expression.index(number)


@pytest.mark.parametrize(
    ("expression", "args"),
    [("$1 + 1", ["7"]), ("str($1 + 1)", ["5x"]), ('$1 + "y"', ["5x"]), ("$1 + $2", ["a", "b"]), ('$1 == "a"', ["a"])],
)
def test_other_uses_of_parameters_stay(expression, args):
    expanded("begin { print(" + expression + "); }", *args)


@pytest.mark.parametrize("call", ["add($1)", "twice($1)"])
def test_arithmetic_on_what_a_macro_was_given(call):
    macros = "macro add(x) { x + 1 } macro twice(y) { add(y) * 2 } "
    with pytest.raises(SourceError) as caught:
        expanded(macros + "begin { print(" + call + "); }", "abc")
    (found,) = caught.value.diagnostics
    assert (found.message, found.hint, found.col) == ("$1 is 'abc', no number", "str($1) takes it as text", 16)
    expanded(macros + "begin { print(" + call + "); }", "41")
