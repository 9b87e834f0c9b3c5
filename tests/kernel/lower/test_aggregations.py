# ruff: noqa: E501  (texts of scripts and IR are not wrapped)
"""Aggregations against the same in Python: signs, edges of buckets, reading them inside the program."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from kernel.lower.running import begin

from osmia.session import Histogram

MIN, MAX = -(2**63), 2**63 - 1
NUMBERS = [0, 1, -1, 5, -7, 100, -1000, 2**31, -(2**31), 2**32 + 1, 2**62, -(2**62), 3, 3]


def number(n: int) -> str:
    return str(n) if n != MIN else "(-9223372036854775807 - 1)"


def feed(numbers: list[int], kind: str = "int64") -> str:
    """A body that puts the numbers in @in, and a loop over them as $n."""
    fill = " ".join(f"@in[{i}] = ({kind}){number(n)};" for i, n in enumerate(numbers))
    return f"{fill} for ($i : 0..{len(numbers)}) {{ $n = @in[$i]; BODY }}"


def quotient(a: int, b: int) -> int:
    return abs(a) // b * (1 if a >= 0 else -1)


def test_plain_aggregations() -> None:
    body = (
        "@c = count(); @s = sum($n); @a = avg($n); @mn = min($n); @mx = max($n); @st = stats($n); "
        "@kc[$i % 2] = count(); @ks[$i % 2] = sum($n); @ka[$i % 2] = avg($n); @kmn[$i % 2] = min($n); @kmx[$i % 2] = max($n);"
    )
    read = (
        " print((int64)@c); print((int64)@s); print((int64)@a); print((int64)@mn); print((int64)@mx); "
        "print((int64)@kc[1]); print((int64)@ks[1]); print((int64)@ka[1]); print((int64)@kmn[1]); print((int64)@kmx[1]); "
        "print((int64)@ks[9]); print((int64)@kmn[9]); print(@mn == min_is_known); print(@s < 0);"
    ).replace("min_is_known", number(min(NUMBERS)))
    result = begin(feed(NUMBERS).replace("BODY", body) + read)
    odd = NUMBERS[1::2]
    n = len(NUMBERS)
    expected = [n, sum(NUMBERS), quotient(sum(NUMBERS), n), min(NUMBERS), max(NUMBERS)]
    expected += [len(odd), sum(odd), quotient(sum(odd), len(odd)), min(odd), max(odd), 0, 0, True, sum(NUMBERS) < 0]
    assert result.printed == expected
    maps = result.maps
    assert (maps["@c"], maps["@s"], maps["@mn"], maps["@mx"]) == (n, sum(NUMBERS), min(NUMBERS), max(NUMBERS))
    assert maps["@ks"] == {0: sum(NUMBERS[::2]), 1: sum(odd)}
    assert maps["@kmn"] == {0: min(NUMBERS[::2]), 1: min(odd)}


def test_unsigned_extremes() -> None:
    numbers = [2**63, 2**64 - 1, 5, 2**63 - 1]
    body = "@mn = min($n); @mx = max($n); @kmx[1] = max($n);"
    result = begin(
        feed(numbers, "uint64").replace("BODY", body) + "print((uint64)@mx); print((uint64)@mn); print(@mx > 1);"
    )
    assert (result.maps["@mn"], result.maps["@mx"], result.maps["@kmx"][1]) == (5, 2**64 - 1, 2**64 - 1)
    assert result.printed == [2**64 - 1, 5, True]


def bucket(n: int, bits: int) -> int | None:
    """Where the bucket begins that counts `n`: single values up to 2**bits, then 2**bits buckets a power of two."""
    if n < 0:
        return None
    shift = max(0, n.bit_length() - 1 - bits)
    return n >> shift << shift


def edges(bits: int) -> list[int]:
    rng = random.Random(bits)
    found = {MIN, -1, 0, 1, MAX}
    for power in range(63):
        found |= {2**power - 1, 2**power, 2**power + 1, (2**power * 3) // 2, rng.randrange(2**power, 2 ** (power + 1))}
    return sorted(found)


def filled(view: Histogram) -> dict[int | None, int]:
    """Count by where the bucket begins (None: below all)."""
    return {low: count for low, _, count in view.buckets if count}


@pytest.mark.parametrize("bits", range(6))
def test_histogram_buckets(bits: int) -> None:
    numbers = edges(bits)
    wanted = Counter(bucket(n, bits) for n in numbers)
    result = begin(feed(numbers).replace("BODY", f"@h = hist($n, {bits}); @k[1] = hist($n, {bits});"))
    for view in (result.maps["@h"], result.maps["@k"][1]):
        assert filled(view) == wanted


@pytest.mark.parametrize(("low", "high", "step"), [(0, 100, 10), (0, 50, 7), (1, 2, 1), (5, 1000, 333), (3, 90, 87)])
def test_linear_histogram_buckets(low: int, high: int, step: int) -> None:
    numbers = [MIN, MAX, *(edge + d for edge in [*range(low, high, step), high] for d in (-1, 0, 1))]
    wanted = Counter(None if n < low else high if n >= high else n - (n - low) % step for n in numbers)
    result = begin(
        feed(numbers).replace(
            "BODY", f"@h = lhist($n, {low}, {high}, {step}); @k[1] = lhist($n, {low}, {high}, {step});"
        )
    )
    for view in (result.maps["@h"], result.maps["@k"][1]):
        assert filled(view) == wanted


def test_delete_clear_and_zero() -> None:
    result = begin(
        "@c = count(); @k[1] = sum(5); @k[2] = sum(-6); @m[1] = 2; @h = hist(5); delete(@k, 1); delete(@m, 7); print(has_key(@k, 1)); "
        "print(has_key(@k, 2)); print(len(@k)); delete(@c); @c = count(); print((int64)@c); print(delete(@m, 1)); print(delete(@m, 1)); "
        "@x[1]++; @x[1]++; --@x[2]; @y += 5; @y -= 7; print(@x[2]); print((int64)@y); print(@x[1]++); print(++@x[1]);"
    )
    assert result.printed == [False, True, 1, 1, True, False, -1, -2, 2, 4]
    assert result.maps["@k"] == {2: -6}
    assert result.maps["@x"] == {1: 4, 2: -1}


def test_narrow_maps() -> None:
    """A map of a narrow type wraps as its type does."""
    result = begin(
        "@z = (int64)0; @a = (uint8)(@z + 250); @b = (int16)(@z - 32768); @a = (uint8)(@a + 10); "
        "@b = (int16)(@b - 1); print((int64)@a); print((int64)@b); @n[1] = (uint32)4294967295; print(@n[1]); $v = @n[1] + 1; print($v);"
    )
    assert result.printed == [4, 32767, 2**32 - 1, 2**32]
