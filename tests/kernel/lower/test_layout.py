# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""Keys and values in memory: equal keys are equal bytes, whichever way they were made."""

from __future__ import annotations

import pytest
from kernel.lower.running import begin

SIZES = [*range(1, 71), 100, 127, 128, 129, 200, 255]


def text(size: int) -> str:
    return "".join(chr(ord("a") + i % 26) for i in range(size))


def test_equal_keys_made_in_different_ways() -> None:
    result = begin(
        '$s = "ab"; $t = (1, "abcdefgh"); @seen[$t] = 1; $t = (1, "ab"); @k[(1, "ab")] = 1; @k[$t] = 2; @k[1, "ab"] = 3; '
        "$t = (1, $s); @k[$t] = 4; @hold = $t; @k[@hold] = 5; @n = 1; @k[@n, $s] = 6; @k[(@n, str($s))] = 7; "
        "@by[0] = (1, $s); @k[@by[0]] = 8; @k[@hold.0, @hold.1] = 9;"
    )
    assert result.maps["@k"] == {(1, "ab"): 9}


def test_a_shorter_text_leaves_nothing_of_a_longer_one() -> None:
    result = begin(
        '$s = "a long text of many bytes that is cut"; @long[$s] = 1; $s = "ab"; @k["ab"] = 1; @k[$s] = 2; @v = "long value here"; '
        '@v = $s; @k[@v] = 3; @m["x"] = "another long value"; @m["x"] = "ab"; @k[@m["x"]] = 4; '
        '@k[@v == "ab" ? "ab" : "something else"] = 5; $u = (@v, 1); @k[$u.0] = 6;'
    )
    assert result.maps["@k"] == {"ab": 6}


@pytest.mark.parametrize("scratch", [False, True])
def test_padding_inside_tuples_is_zero(scratch: bool) -> None:
    wide = ', "' + text(60) + '"' if scratch else ""
    result = begin(
        f'$t = ((uint8)1, (int64)2, (uint16)3, "abc"{wide}); $u = ((uint8)200, (int64)-1, (uint16)65535, "xyz"{wide}); @k[$u] = 0; '
        f'$u = $t; @k[$t] = 1; @k[$u] = 2; @k[(uint8)1, (int64)2, (uint16)3, "abc"{wide}] = 3; @hold = $u; @k[@hold] = 4; '
        f"@nested[($t, (uint8)1)] = 1; @nested[($u, (uint8)1)] = 2; @nested[(@hold, (uint8)1)] = 3;"
    )
    tail = (text(60),) if scratch else ()
    assert result.maps["@k"] == {(1, 2, 3, "abc", *tail): 4, (200, -1, 65535, "xyz", *tail): 0}
    assert result.maps["@nested"] == {((1, 2, 3, "abc", *tail), 1): 3}


@pytest.mark.parametrize("start", range(0, len(SIZES), 15))
def test_texts_of_every_size(start: int) -> None:
    sizes = SIZES[start : start + 15]
    bodies = []
    for n in sizes:
        t = text(n)
        bodies.append(
            f'$s = "{t}"; @k{n}[$s] = 1; @k{n}["{t}"] = 2; @v{n} = $s; @k{n}[@v{n}] = 3; $t = ((uint8)7, $s, (uint16)9); '
            f'@t{n}[$t] = 1; @t{n}[(uint8)7, "{t}", (uint16)9] = 2; print($s); print($t); print(@v{n} == $s); '
            f'print($s == "{t}"); print($s == "{t}x"); print($s != "{t[:-1]}"); print(strlen($s)); $w = @v{n}; print($w);'
        )
    result = begin(*bodies)
    for i, n in enumerate(sizes):
        t = text(n)
        assert result.maps[f"@k{n}"] == {t: 3}, n
        assert result.maps[f"@t{n}"] == {(7, t, 9): 2}, n
        assert result.maps[f"@v{n}"] == t, n
        assert result.printed[8 * i : 8 * i + 8] == [t, (7, t, 9), True, True, False, True, n, t], n


def test_integers_of_every_size_as_keys_and_values() -> None:
    names = [f"{u}int{bits}" for bits in (8, 16, 32, 64) for u in ("", "u")]
    body = "".join(
        f"@z = (int64)0; @{n}[({n})(@z - 1)] = ({n})(@z - 1); @{n}[({n})(@z + 1)] = ({n})(@z + 77); print(@{n}[({n})(@z - 1)]); "
        f"@p{n}[({n})(@z - 1), ({n})1] = (({n})(@z - 1), 5); "
        for n in names
    )
    result = begin(body)
    for i, n in enumerate(names):
        least = -1 if n.startswith("i") else (1 << int(n[4:])) - 1
        assert result.maps["@" + n] == {least: least, 1: 77}
        assert result.maps["@p" + n] == {(least, 1): (least, 5)}
        assert result.printed[i] == least


def test_nested_tuples_and_records() -> None:
    result = begin(
        '$r = (a=1, b=(c="xy", d=(uint8)3)); @r = $r; @k[$r] = 1; @k[(a=1, b=(c="xy", d=(uint8)3))] = 2; print($r.b.c); print(@r.b.d); '
        '$t = (((uint8)1, "a"), ("bcd", ((uint8)2, (int64)-3))); @t = $t; @n[$t] = 1; @n[@t] = 2; print($t.1.1.1); print(@t.0.1); '
        '$swap = (b=(c="xy", d=(uint8)3), a=1); print($swap == $r); $x = $t.1; @n2[$x] = 1; @n2[@t.1] = 2; print(@t == $t);'
    )
    assert list(result.maps["@k"].values()) == [2]
    assert result.maps["@n"] == {((1, "a"), ("bcd", (2, -3))): 2}
    assert result.maps["@n2"] == {("bcd", (2, -3)): 2}
    assert result.printed == ["xy", 3, -3, "a", True, True]


def test_buffers() -> None:
    result = begin(
        '$s = "abcdefgh"; @b = buf($s, 4); @k[buf($s, 4)] = 1; $t = ((uint8)1, buf($s, 3)); @t = $t; print(@b); print($t); '
        "@z = (int64)0; for ($i : 0..9) { @n[$i] = buf($s, $i); } "
        '$v = buf("abcdefgh", 5); $v = buf("xy", 2); @same[$v] = 1; @same[buf("xy", 2)] = 2; @w = $v; @same[@w] = 3;'
    )
    assert result.maps["@b"] == b"abcd"
    assert result.maps["@k"] == {b"abcd": 1}
    assert result.maps["@t"] == (1, b"abc")
    assert result.maps["@n"] == {i: b"abcdefgh"[:i] for i in range(9)}
    assert result.maps["@same"] == {b"xy": 3}


def test_numbers_as_arrays() -> None:
    result = begin(
        "@z = (int64)0; $a = (uint8[6])7; print($a[5]); print($a[0]); @k[(uint8[6])7] = 1; @k[$a] = 2; "
        "$b = (uint16[2])(uint32)(@z + 0x00020001); print($b[1]); $c = (uint8[3])5; print($c[0]);"
    )
    assert result.printed == [0, 7, 2, 5]
    assert list(result.maps["@k"].values()) == [2]


def test_elements_of_arrays() -> None:
    result = begin(
        "$a = (uint8[8])(uint64)0x0807060504030201; print($a[0]); print($a[7]); @i = (uint64)3; print($a[@i]); @k[$a] = 1; "
        "@k[(uint8[8])(uint64)0x0807060504030201] = 2; @v = $a; $v = @v; print($v[5]); print((uint64)$a); print($a == @v); print($a[@i + 8]);"
    )
    assert result.printed == [1, 8, 4, 6, 0x0807060504030201, True, 0]
    assert list(result.maps["@k"].values()) == [2]
    assert len(result.faults) == 1
