from __future__ import annotations

import pytest

from osmia.btf import Btf, BtfBuilder
from osmia.cli._kernel_types import is_type, similar_types, type_texts


@pytest.fixture
def btf():
    b = BtfBuilder()
    number = b.int("int", 4, signed=True)
    b.enum("colour", [("RED", 0), ("GREEN", -1)], signed=True)
    b.enum64("large", [("HUGE", 1 << 40)])
    b.typedef("count_t", number)
    b.typedef("pair_t", b.struct("", 8, [("a", number, 0), ("b", number, 32)]))
    b.struct("point", 8, [("x", number, 0), ("y", number, 32)])
    b.union("either", 4, [("i", number, 0)])
    b.struct("pointer", 4, [("p", number, 0)])
    return Btf(b.build())


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("enum colour", "vmlinux: enum colour {\n\tRED = 0,\n\tGREEN = -1,\n}\n"),
        ("enum large", "vmlinux: enum large {\n\tHUGE = 1099511627776ULL,\n}\n"),
        ("typedef count_t", "vmlinux: typedef int count_t\n"),
        ("typedef pair_t", "vmlinux: typedef struct {\n       0        4  int a\n       4        4  int b\n} pair_t\n"),
        ("struct  point", "vmlinux: struct point {\n       0        4  int x\n       4        4  int y\n}\n"),
        ("union either", "vmlinux: union either {\n       0        4  int i\n}\n"),
        ("struct either", ""),
    ],
)
def test_types_as_c(btf, pattern, text):
    assert is_type(pattern)
    assert "".join(type_texts(btf, [pattern])) == text


def test_wildcards_and_names(btf):
    assert list(type_texts(btf, ["struct poi*", "enum *"], whole=False)) == [
        "struct point\n", "struct pointer\n", "enum colour\n", "enum large\n",
    ]  # fmt: skip
    assert not is_type("structure") and not is_type("tracepoint:a:b")


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("struct pointt", ("struct point", "struct pointer")),
        ("point", ("struct point",)),
        ("struct either", ("union either",)),
        ("enum HUGE", ("enum large",)),
        ("nothing", ()),
        ("struct *", ()),
    ],
)
def test_what_was_meant(btf, pattern, near):
    assert similar_types(btf, pattern) == near
