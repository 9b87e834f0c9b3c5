"""Types that the checker infers: literals, arithmetic, variables, maps."""

from __future__ import annotations

import pytest
from _checking import errors, run, run_with_warnings, value_of

from osmia.lang.bpftrace import ast


def map_type(script: str, name: str = "@x") -> str:
    return str(run(script).maps[name].value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", "int8"), ("-1", "int8"), ("128", "int16"), ("-129", "int16"), ("1 << 31", "int64"), ("70000", "int32"),
        ("18446744073709551615", "uint64"), ("1 < 2", "bool"), ("(uint8)1 + (uint16)2", "uint64"),
        ("(uint8)1 - 2", "int64"), ("(int32)1 + 1", "int64"), ("pid", "uint32"), ("pid + 1", "uint64"),
        ("pid == 1", "bool"), ('"abc"', "string[4]"), ('(1, "a")', "(int8,string[2])"), ("nsecs", "uint64"),
        ("pid ? 1 : 1000", "int16"), ("!pid", "bool"), ("~pid", "uint64"), ("comm", "string[16]"),
        ("(a=1, b=true)", "record { .a = int8, .b = bool }"), ("(int32[2])(uint64)5", "int32[2]"),
    ],
)  # fmt: skip
def test_type_of_a_value(value, expected):
    assert map_type(f"begin {{ @x = {value}; }}") == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("begin { @x = 1; } end { @x = 1000; }", "int16"),
        ("begin { @x = (uint64)1; @x = 5; }", "uint64"),
        ("begin { @x = (uint32)1; @x = (int32)1; }", "int64"),
        ("begin { @x++; }", "int64"),
        ("begin { @x += 5; }", "int64"),
        ('begin { @x = "a"; @x = "abcdef"; }', "string[7]"),
        ('begin { @x = (1, "a"); @x = (300, "abc"); }', "(int16,string[4])"),
        ("begin { @y = @x; @x = 1000; }", "int16"),
        ("begin { $a = 1; $a = $a + 1; @x = $a; }", "int64"),
        ("begin { @x = count(); }", "count_t"),
        ("begin { @x = sum(pid); }", "usum_t"),
        ("begin { @x = sum(-1); }", "sum_t"),
    ],
)
def test_maps_hold_the_least_common_type(script, expected):
    assert map_type(script) == expected


def test_uses_anywhere_reach_every_node():
    """A later, wider value widens the variable at its first use."""
    checked = run("begin { $a = 1; print($a); $a = 100000; }")
    first, shown, _ = checked.probes[0].body
    assert str(first.target.type) == "int32" and first.target.slot is shown.expr.args[0].slot


def test_keys_have_one_type():
    checked = run('begin { @x[1, "a"] = 1; @x[1000, "abc"] = 2; }')
    assert str(checked.maps["@x"].key) == "(int16,string[4])"
    literal = checked.probes[0].body[0].target.key
    assert isinstance(literal, ast.TupleLiteral) and str(literal.type) == "(int16,string[4])"


def test_aggregations_read_as_numbers_are_casts():
    value = value_of("begin { @c = count(); @x = @c + 1; }")
    assert isinstance(value, ast.Binary) and isinstance(value.left, ast.Cast) and str(value.left.target) == "uint64"


def test_a_tuple_in_a_variable_is_converted_by_a_cast():
    value = value_of("begin { $a = (1, 2); @x = ((int64)1, (int64)2); @x = $a; }")
    assert isinstance(value, ast.Cast) and str(value.target) == "(int64,int64)"


def test_a_record_is_put_in_order():
    value = value_of("begin { @x = (a=1, b=2); @x = (b=3, a=4); }")
    assert isinstance(value, ast.RecordLiteral) and value.names == ["a", "b"]
    assert [i.value for i in value.items] == [4, 3]


def test_operands_of_a_comparison_agree_in_sign():
    value = value_of("begin { @x = (uint64)5 > 3; }")
    assert not value.left.type.signed and not value.right.type.signed
    value, warnings = run_with_warnings("begin { $a = (int64)-1; @x = nsecs > $a; }")
    assert any("uint64 being cast to type: int64" in w for w in warnings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1 + 2 * 3", 7), ("~10", 2**64 - 11), ("-7 / 2", -3), ("-7 % 2", -1), ("sizeof(uint32)", 4), ("1 << 10", 1024),
     ("sizeof(struct s)", 16), ("offsetof(struct s, b)", 8), ("sizeof((int64)1)", 8), ("X + 1", 8), ("1 ? 5 : 6", 5)],
)  # fmt: skip
def test_constants_are_folded(text, expected):
    value = value_of(f"struct s {{ int a; long b; }} enum e {{ X = 7 }} begin {{ @x = {text}; }}")
    assert isinstance(value, ast.Integer) and value.value == expected


def test_types_can_decide_what_is_compiled():
    script = 'begin { $a = 1; if comptime (typeinfo($a).base_type == "int") { @x = 1; } else { @x = "s"; } }'
    assert map_type(script) == "int8"
    script = 'begin { $a = (int64)1; if comptime (sizeof($a) == 8) { @x = 1; } else { fail("no"); } }'
    assert map_type(script) == "int8"


def test_a_type_that_was_asked_for_stays():
    script = "begin { $a = 1; if comptime (sizeof($a) == 1) { $a = (uint64)5; } }"
    assert "cannot become" in errors(script)[0]


@pytest.mark.parametrize("text", ["1 / 0", "9223372036854775807 * 4", "1 << 64", "1 % 0"])
def test_constants_that_cannot_be(text):
    assert errors(f"begin {{ @x = {text}; }}")


def test_captures():
    checked = run("begin { $a = 1; $b = 2; @m[1] = 1; for ($kv : @m) { $a++; $c = 3; } print($b); }")
    loop = checked.probes[0].body[3]
    assert [s.name for s in loop.captures] == ["$a"] and loop.captures[0].captured


def test_the_value_of_a_loop_over_counts_is_a_number():
    checked = run("begin { @m[1] = count(); for ($kv : @m) { print($kv.1); } }")
    assert str(checked.probes[0].body[1].target.type) == "(int8,uint64)"


def test_assertions_about_types_leave_nothing_behind():
    assert run('begin { static_assert(1 == 1, "no"); assert_str(comm); }').probes[0].body == []
