"""Literals and wildcards inside of probes."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osmia.errors import ProbeError
from osmia.probes._glob import has_wildcard, matcher
from osmia.probes._numbers import parse_uint


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("10", 10),
        ("0x1F", 31),
        ("0b101", 5),
        ("017", 15),
        ("1_000", 1000),
        ("1e6", 10**6),
        ("5ULL", 5),
        ("10ms", 10**7),
        ("2s", 2 * 10**9),
        ("3us", 3000),
        ("1m", 60 * 10**9),
        ("18446744073709551615", 2**64 - 1),
        ("", None),
        ("x", None),
        ("1x", None),
        ("0x", None),
        ("-1", None),
        ("1.5", None),
    ],
)
def test_literals(text: str, value: int | None) -> None:
    assert parse_uint(text) == value


@pytest.mark.parametrize("text", ["18446744073709551616", "1e20", "4294967296u", "999999999d", "1e999999999"])
def test_literals_that_do_not_fit(text: str) -> None:
    with pytest.raises(OverflowError):
        parse_uint(text)


@given(st.text(alphabet="ab*?_.", max_size=8), st.text(alphabet="ab_.", max_size=8))
def test_patterns_match_like_shell_patterns(pattern: str, name: str) -> None:
    assert bool(matcher(pattern)(name)) == fnmatch.fnmatchcase(name, pattern)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("[ab]c", "bc", True),
        ("[!ab]c", "bc", False),
        ("[a-c]*", "cat", True),
        ("operator[]", "operator[]", True),
        ("operator[]", "operator]", False),
        ("*[]", "operator[]", True),
        ("*", "", True),
        ("a*c", "abbc", True),
        ("a*c", "abcd", False),
    ],
)
def test_sets_and_anchors(pattern: str, name: str, matches: bool) -> None:
    assert bool(matcher(pattern)(name)) is matches


def test_what_is_a_pattern() -> None:
    assert has_wildcard("a*") and has_wildcard("a?") and has_wildcard("[ab]")
    assert not has_wildcard("a") and not has_wildcard("operator[]") and not has_wildcard("a[")


def test_a_bad_set_is_a_probe_error() -> None:
    with pytest.raises(ProbeError, match="read pattern"):
        matcher("[z-a]x")
