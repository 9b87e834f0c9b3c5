"""Slips of the pen: what is said about names that are nearly right, and what to write instead."""

from __future__ import annotations

import pytest
from _checking import hints, warned


@pytest.mark.parametrize(
    "script",
    [
        "begin { @start[1] = 1; @h = hist(@strat[1]); }",
        "begin { @start[1] = 1; delete(@strat, 1); }",
        "begin { @start[1] = 1; delete(@strat[1]); }",
        "begin { @start[1] = 1; if (has_key(@strat, 1)) { } }",
        "begin { @start[1] = 1; if (find(@strat, 1, $v)) { } }",
        "begin { @start = 1; @other = @strat; }",
        "begin /@strat[1]/ { @start[1] = 1; }",
    ],
)
def test_a_map_that_is_only_read(script):
    (found,) = warned(script)
    assert found.message == "Map @strat is read but never assigned to."
    assert found.hint == "did you mean '@start'?"
    assert script[found.col - 1 :].startswith("@strat")


@pytest.mark.parametrize(
    "script",
    [
        "begin { @x++; @y = @x; }",
        "begin { @x[1] = count(); print(@x[1]); }",
        "begin { print(@x); @x += 1; }",
        "begin { @x = @y; } end { @y = @x; }",
        "begin { @x = sizeof(@y); }",
        "begin { @x[1] = 1; $p = &@x[1]; print(*$p); }",
    ],
)
def test_a_map_that_is_assigned_somewhere(script):
    assert not warned(script)


@pytest.mark.parametrize("use", ["print(@strat)", "clear(@strat)", "print(len(@strat))", "for ($kv : @strat) { }"])
def test_whole_maps_that_nobody_fills(use):
    assert hints("begin { @start[1] = 1; " + use + "; }") == [("Undefined map: @strat", "did you mean '@start'?")]
