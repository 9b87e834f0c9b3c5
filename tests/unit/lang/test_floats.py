"""Floating-point numbers can be kept and printed; whatever would take their bits for a number is refused."""

from __future__ import annotations

import pytest
from _checking import hints, run

from osmia.btf import Btf, BtfBuilder
from osmia.lang.bpftrace import btftypes
from osmia.lang.bpftrace.types import floating

REALS = "struct reals { float f; double d; long double l; double two[2]; } "


def test_what_can_be_done_with_them() -> None:
    run(
        REALS + "begin { $r = (struct reals *)1; $d = $r->d; print($d); @[$d, $r->f] = count(); @kept = $r->two[1];"
        ' printf("%f %e %10.2g %lG %s", $d, $d, $r->f, $r->l, $d); print(*(uint64 *)&$d); print((1, $d));'
        " $d = $r->two[0]; }"
    )


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("$x = (int64)$r->d;", "$r->d"),
        ("$x = (uint8[8])$r->d;", "$r->d"),
        ("$x = $r->d + 1;", "$r->d"),
        ("$x = 1 + $r->d;", "$r->d"),
        ("if ($r->two[0] > 1) { }", "$r->two[0]"),
        ("if ($r->d == $r->two[0]) { }", "$r->d"),
        ("if ($r->d) { }", "$r->d"),
        ("$x = !$r->d;", "$r->d"),
        ("$x = $r->d ? 1 : 2;", "$r->d"),
        ("$x = -$r->f;", "$r->f"),
        ("$x = $r->d[0];", "$r->d"),
        ("$x = $r->d && 1;", "$r->d"),
        ("@ = sum($r->l);", "$r->l"),
        ("@ = hist($r->d);", "$r->d"),
        ("$d = $r->d; $d++;", "$d"),
    ],
)
def test_arithmetic_is_refused(statement: str, number: str) -> None:
    kind = {"f": "float", "l": "long double"}.get(number[-1], "double")
    ((message, hint),) = hints(REALS + "begin { $r = (struct reals *)1; " + statement + " }")
    assert message == f"{number} is a {kind}: BPF has no floating point"
    assert hint.startswith("it can be printed and kept, not computed with")
    if kind == "double":
        assert hint.endswith(f"; its bits: $x = {number}; *(uint64 *)&$x")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("@ = $r->d; @ += 1;", "double: BPF has no floating point"),
        ("$x = (double)5;", 'Cannot resolve unknown type "double"'),
        ('printf("%d", $r->d);', "unsupported format specifier for type 'double': d"),
        ('printf("%f", 5);', "unsupported format specifier: f"),
        ("print(str($r->d));", "str() expects a string, integer or a pointer type as first argument (double provided)"),
        (
            "@ = $r->d; @ = $r->f;",
            "Type mismatch for @: trying to assign value of type 'float' when map already has a type 'double'",
        ),
    ],
)  # fmt: skip
def test_other_uses(statement: str, message: str) -> None:
    assert [found for found, _ in hints(REALS + "begin { $r = (struct reals *)1; " + statement + " }")] == [message]


def test_types_of_the_kernel_and_of_other_languages() -> None:
    b = BtfBuilder()
    number = b.float("double", 8)
    btf = Btf(b.build())
    assert str(btftypes.of_id(btf, number)) == "double"
    names = [(4, "f32"), (8, "float64"), (16, "long double"), (16, "_Float128"), (8, "complex float"), (2, "__bf16")]
    assert [str(floating(size, name)) for size, name in names] == [
        "float", "double", "long double", "_Float128", "complex float", "__bf16",
    ]  # fmt: skip
