from __future__ import annotations

import pytest
from unit.session.fakes import S32, S64, U64, text_type

from osmia.objects import Field, ValueType
from osmia.session import Array, Enum, Pointer, Stats, render
from osmia.session._format import compile_format
from osmia.session._model import record_class

BUFFER = ValueType("buffer", 16)
BOOL = ValueType("bool", 1)
REAL = ValueType("float", 8, name="double")


def printf(text, *pairs):
    fields = tuple(Field("", 0, t) for t, _v in pairs)
    return compile_format(text, fields)(tuple(v for _t, v in pairs))


@pytest.mark.parametrize(
    ("text", "pairs", "out"),
    [
        ("plain %% text\n", (), "plain % text\n"),
        ("%d", ((S32, -3),), "-3"),
        ("%5d|%-5d|%05d|%+d", ((S32, 7),) * 4, "    7|7    |00007|+7"),
        ("%d", ((S64, 5_000_000_000),), "705032704"),
        ("%lld", ((S64, 5_000_000_000),), "5000000000"),
        ("%u", ((S64, -1),), "4294967295"),
        ("%lu", ((S64, -1),), "18446744073709551615"),
        ("%hhx %hx %x %jx", ((U64, 0x12345678ABCDEF),) * 4, "ef cdef 78abcdef 12345678abcdef"),
        ("%X %#x %o %#o", ((S32, 255),) * 4, "FF 0xff 377 0377"),
        ("%.3d|%5.3d|%05.3d|%.4x", ((S32, 7),) * 4, "007|  007|  007|0007"),
        ("%.2s|%5.3s|%-5.1s|%.s|", ((text_type(8), "abcdef"),) * 4, "ab|  abc|a    ||"),
        ("%99999999999999d", ((S32, 1),), " " * 65534 + "1"),
        ("%c%c", ((S32, 65), (S32, 0x142)), "AB"),
        ("%p %p", ((U64, 0xABC), (U64, 0)), "0xabc 0"),
        ("%s|%8s|%-8s|", ((text_type(8), "abc"),) * 3, "abc|     abc|abc     |"),
        ("%s", ((S32, -4),), "-4"),
        ("%f|%.2f|%8.1e|%-6g|%G|%lf|%s", ((REAL, 1.5),) * 7, "1.500000|1.50| 1.5e+00|1.5   |1.5|1.500000|1.5"),
        ("%s %d", ((BOOL, True), (BOOL, True)), "true 1"),
        ("%r %rx %rh", ((BUFFER, b"a\x00\n"),) * 3, "a\\x00\\x0a \\x61\\x00\\x0a 61 00 0a"),
        ("%dms %sa", ((S32, 1), (text_type(4), "x")), "1ms xa"),
        ("%gr", ((U64, 1),), "GFP_DMA"),
        ("%gr", ((U64, 0xCC0 | 1 << 40),), "GFP_KERNEL|0x10000000000"),
        ("%gr", ((U64, 0),), "0"),
        ("100%! %d", ((S32, 1),), "100%! 1"),
        ("%-6s%6s", ((ValueType("enum", 4), Enum(1, "ONE")),) * 2, "ONE      ONE"),
    ],
)  # fmt: skip
def test_printf(text, pairs, out):
    assert printf(text, *pairs) == out


def test_render():
    record = record_class("r", ("a", "b"))
    value = (1, "x", (True, None), Array((1, 2)), record((1, "y")), Pointer(255), b"\x01", Stats(1, 2, 3))
    assert render(value) == (
        "(1, x, (true, null), [1,2], { .a = 1, .b = y }, 0xff, \\x01, { .count = 1, .average = 2, .total = 3 })"
    )
    assert render(record_class("e", ())()) == "{}"
