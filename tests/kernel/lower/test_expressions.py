# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""Expressions in unusual places."""

from __future__ import annotations

import pytest
from kernel.lower.running import begin

from osmia.errors import OsmiaError


def test_an_aggregation_as_the_value_of_a_block() -> None:
    result = begin(
        "@c = count(); @c = count(); @s = sum(-5); @k[1] = 2; print((int64)({ $t = 1; @c })); print(-1 | ({ $t = 2; @k[1] })); "
        "print(@k[1] == ({ $t = 3; @c })); $x = ({ $t = 4; @s }) + 1; print($x); @i[{ $t = 5; @c }] = 1;"
    )
    assert result.printed == [2, -1, True, -4]
    assert result.maps["@i"] == {2: 1}


def test_characters_of_texts() -> None:
    result = begin(
        '@z = (uint64)1; print("abc"[@z]); print("abc"[0]); $s = "xyz"; print($s[@z]); print("abc"[@z + 7]);'
    )
    assert [chr(int(n)) if n else "" for n in result.printed] == ["b", "a", "y", ""]


def test_addresses_have_no_sign() -> None:
    result = begin(
        "$a = (int16)-2; $b = (int64)-1; print((uint8 *)-1); print((uint8 *)$a); print((void *)$b); print((uint64)(int8)-1);"
    )
    assert [int(n) for n in result.printed] == [0xFF, 0xFFFE, 2**64 - 1, 2**64 - 1]


def test_calls_as_statements() -> None:
    assert begin("kstack; ustack; pid; comm; nsecs; @x[1]; $y = 1; $y; print($y);").printed == [1]


def test_results_of_tracing_programs() -> None:
    import osmia

    obj = osmia.compile("iter:task { return 5; } begin { return 7; }", cache=False)
    try:
        with osmia.load(obj) as loaded:
            assert len(loaded.programs) == 2
    except OsmiaError as error:
        pytest.fail(str(error))
