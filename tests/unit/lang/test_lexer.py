"""Literals, tokens and places."""

from __future__ import annotations

import pytest

from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.lexer import diagnostic, lex_all, lex_region, parse_integer, parse_string


def kinds(text: str) -> list[str]:
    return [t[0] for t in lex_all(text)]


def test_tokens_are_the_longest_possible():
    assert kinds("a<<=b>>c->d++ ..$1$#$x@y@;") == [
        "id",
        "<<=",
        "id",
        ">>",
        "id",
        "->",
        "id",
        "++",
        "..",
        "pos",
        "pos",
        "var",
        "map",
        "map",
        ";",
        "eof",
    ]


def test_comments_and_blanks_leave_the_places_true():
    text = "a /* x */ b // c\n\tc"
    assert [(t[1], text[t[2] : t[3]]) for t in lex_all(text)[:-1]] == [("a", "a"), ("b", "b"), ("c", "c")]


@pytest.mark.parametrize("text", ["/* open", '"open', '"a\nb"', "é", "$", "'a'", "\0"])
def test_what_is_no_token_comes_as_bad(text):
    assert "bad" in kinds(text)


def test_a_region_ends_with_its_outermost_brace():
    text = "{ a { b } } c { d }"
    assert lex_region(text, 0)[-1][2] == text.index("c") - 1
    text = "/ {1} == 1 / { a } b"
    assert lex_region(text, 0, predicate=True)[-1][2] == text.index("b") - 1


@pytest.mark.parametrize(
    ("text", "value", "suffix"),
    [
        ("0", 0, ""),
        ("18446744073709551615", (1 << 64) - 1, ""),
        ("0x1F", 31, ""),
        ("0XfFu", 255, "u"),
        ("0755", 493, ""),
        ("1e6", 1_000_000, ""),
        ("1e1_0", 10**10, ""),
        ("1_000ull", 1000, "ull"),
        ("7LL", 7, "ll"),
        ("3ns", 3, ""),
        ("2us", 2000, ""),
        ("10ms", 10**7, ""),
        ("1s", 10**9, ""),
        ("1m", 60 * 10**9, ""),
        ("2h", 7200 * 10**9, ""),
        ("1d", 86400 * 10**9, ""),
        ("0x5e5", 0x5E5, ""),
    ],
)
def test_integers(text, value, suffix):
    assert parse_integer(text) == (value, suffix)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("18446744073709551616", "overflow error, maximum value is 18446744073709551615", (0, 20)),
        ("1e21", "overflow", (0, 4)),
        ("10000000000m", "overflow", (0, 12)),
        ("12e4", "coefficient part of scientific literal must be 1-9: 12e4", (0, 4)),
        ("5e", "invalid trailing bytes: 5e", (0, 2)),
        ("1_", "trailing underscore in integer literal", (1, 2)),
        ("1ulll", "invalid integer suffix 'l'", (4, 5)),
        ("1lul", "invalid integer suffix 'ul'", (2, 4)),
        ("08", "invalid digit '8' in an octal literal", (1, 2)),
        ("0x", "invalid integer", (0, 2)),
        ("9" * 5000, "overflow", (0, 5000)),
    ],
)
def test_wrong_integers_say_what_and_where(text, message, place):
    with pytest.raises(ValueError) as e:
        parse_integer(text)
    assert message in e.value.args[0]
    assert e.value.args[1:] == place


def test_strings_keep_their_bytes():
    assert parse_string(r'"a\n\t\r\"\\"') == ('a\n\t\r"\\', b'a\n\t\r"\\')
    assert parse_string(r'"\x41\101\xff\3é"') == ("AA\xff\x03é", b"AA\xff\x03\xc3\xa9")
    assert parse_string('"\udcff"')[1] == b"\xff"  # a byte of the file that is not UTF-8


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        (r'"\777"', r"octal escape sequence out of range '\777'", (1, 5)),
        (r'"ab\q"', r"invalid escape character '\q'", (3, 5)),
        (r'"\xg"', "invalid hex escape sequence", (1, 3)),
    ],
)
def test_wrong_escapes(text, message, place):
    with pytest.raises(ValueError) as e:
        parse_string(text)
    assert e.value.args == (message, *place)


def test_a_diagnostic_shows_its_place():
    found = diagnostic(Source("stdin", "one\ntwo three"), 8, 13, "wrong", "write four")
    assert found.render() == "stdin:2:5-10: ERROR: wrong\ntwo three\n    ~~~~~\nHINT: write four"
