"""The table of builtins, and folding and formats by themselves."""

from __future__ import annotations

import pytest

from osmia.lang.bpftrace import _check_calls, _check_functions, _check_typeof
from osmia.lang.bpftrace.builtins import FORMATTED, MAP_FUNCTIONS, NAMES, TABLE
from osmia.objects.printf import parse_format

KINDS = {"int", "string", "map", "key", "pointer", "variable", "name", "type", "any", "..."}


def test_rows_are_complete():
    for row in TABLE.values():
        assert row.doc.endswith((".", ")")), row.name
        assert row.signature and row.mode in ("sync", "async", "compile time")
        assert {p.rstrip("!?") for p in row.parameters} <= KINDS
        assert row.at_least <= row.at_most


def test_every_function_has_a_type_or_a_handler():
    known = {
        *_check_functions.HANDLERS,
        *_check_calls._EARLY,
        *_check_typeof.QUESTIONS,
        *FORMATTED,
        *MAP_FUNCTIONS,
        *NAMES,
    }
    for row in TABLE.values():
        if row.category == "function" and row.returns is None:
            assert row.name in known or row.name in ("offsetof",), row.name


@pytest.mark.parametrize(
    ("text", "conversions"),
    [
        ("%d %s\n", ["d", "s"]), ("%-16s|%10d", ["s", "d"]), ("100%% %llu", ["u"]),
        ("%r %rx %rh %gr", ["r", "rx", "rh", "gr"]),
        ("%", []), ("%08llx", ["x"]), ("%.3s", ["s"]), ("%y", []), ("%+d % d %#x", ["d", "d", "x"]),
    ],
)  # fmt: skip
def test_formats(text, conversions):
    items = parse_format(text)
    assert [i.conversion for i in items if i.conversion] == conversions
    assert "".join(i.text for i in items) == text.replace("%%", "%")


def test_parts_of_a_conversion():
    (item,) = parse_format("%-08.3lld")
    assert (item.flags, item.width, item.precision, item.length) == ("-0", 8, 3, "ll")
