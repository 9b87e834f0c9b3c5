# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""Loops: their bounds, what leaves them, nesting."""

from __future__ import annotations

import pytest
from kernel.lower.running import begin

from osmia.errors import SourceError


def test_break_and_continue_in_unroll_are_about_the_loop_around() -> None:
    result = begin(
        "for ($i : 0..3) { unroll (2) { @once = count(); break; } @never = count(); } "
        "for ($i : 0..3) { unroll (2) { @three = count(); continue; } @never = count(); } "
        "$j = 0; while ($j < 5) { $j++; unroll (3) { if ($j == 2) { continue; } if ($j == 4) { break; } @w = count(); } @after = count(); }"
    )
    maps = result.maps
    assert (maps["@once"], maps["@three"], maps["@never"], maps["@w"], maps["@after"]) == (1, 3, None, 6, 2)


def test_return_from_nested_loops() -> None:
    result = begin(
        "for ($i : 0..10) { $j = 0; while ($j < 10) { $j++; for ($k : 0..10) { @rounds = count(); if ($i == 1 && $j == 2 && $k == 3) { return; } } } "
        "@inner = count(); } @never = count();",
        "@next = count();",
    )
    maps = result.maps
    assert (maps["@rounds"], maps["@inner"], maps["@never"], maps["@next"]) == (100 + 10 + 4, 1, None, 1)


def test_more_rounds_than_a_program_may_do() -> None:
    result = begin(
        "for ($i : 0..8388609) { @for = count(); } $n = 0; while ($n < 8388700) { $n++; } print($n);",
        "@z = (int64)0; for ($i : @z..(@z + 10)) { @fine = count(); } for ($i : (@z + 5)..@z) { @never = count(); }",
    )
    assert len(result.faults) == 2
    assert "more than 8388608" in result.faults[0].text
    assert "after 8388608" in result.faults[1].text
    assert result.printed == [8388608]
    assert (result.maps["@fine"], result.maps["@never"]) == (10, None)


def test_a_range_that_no_integer_counts() -> None:
    with pytest.raises(SourceError, match="more numbers"):
        begin("for ($i : -1..18446744073709551615) { @ = count(); }")
    assert begin("for ($i : 5..5) { @ = count(); } for ($i : 5..-1) { @ = count(); }").maps["@"] is None


def test_bounds() -> None:
    result = begin(
        "@z = (int64)0; for ($i : -5..@z) { @a[$i] = 1; } for ($i : 4294967290..4294967300) { @b[$i] = 1; } "
        "for ($i : (@z - 3000000000)..(@z - 2999999998)) { @c[$i] = 1; }"
    )
    assert sorted(result.maps["@a"]) == [-5, -4, -3, -2, -1]
    assert sorted(result.maps["@b"]) == list(range(4294967290, 4294967300))
    assert sorted(result.maps["@c"]) == [-3000000000, -2999999999]


def test_loops_over_maps() -> None:
    result = begin(
        '@m["one"] = 1; @m["two"] = 2; @m["three"] = 3; @s[1, "x"] = sum(5); @s[2, "y"] = sum(-7); '
        "for ($kv : @m) { if ($kv.1 == 2) { continue; } @names[$kv.0] = $kv.1; for ($lw : @s) { @pairs[$kv.0, $lw.0.1] = (int64)$lw.1; } } "
        "for ($kv : @m) { @left = count(); break; } for ($kv : @m) { delete(@m, $kv.0); } print(len(@m));"
    )
    maps = result.maps
    assert maps["@names"] == {"one": 1, "three": 3}
    assert maps["@pairs"] == {(name, key): value for name in ("one", "three") for key, value in (("x", 5), ("y", -7))}
    assert maps["@left"] == 1
    assert result.printed == [0]
