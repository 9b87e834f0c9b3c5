"""count, sum, avg, min, max, stats, hist, lhist: against the sizes that the workload wrote."""

from __future__ import annotations

from collections import Counter

import pytest
from _tracing import run
from _workloads import start_activity

SIZES = [1, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 4096]
WRITE = "tracepoint:syscalls:sys_enter_write /pid == $1 && args.fd == 3/"


def traced(body: str, sizes: list[int] = SIZES):
    with start_activity("sizes", *sizes) as work:
        outcome = run(f"{WRITE} {{ {body} }}", work.pid, work=work)
    assert outcome.done["fd"] == 3 and outcome.done["sizes"] == sizes
    return outcome


def power_of_two_bucket(value: int) -> int:
    """The lower bound of the bucket that a value falls into."""
    return value if value < 2 else 1 << (value.bit_length() - 1)


def test_scalar_aggregations() -> None:
    maps = traced(
        "@n = count(); @s = sum(args.count); @a = avg(args.count); @least = min(args.count); @most = max(args.count); "
        "@st = stats(args.count);"
    ).maps
    assert maps["@n"] == len(SIZES)
    assert maps["@s"] == sum(SIZES)
    assert maps["@a"] == sum(SIZES) // len(SIZES)
    assert maps["@least"] == min(SIZES)
    assert maps["@most"] == max(SIZES)
    stats = maps["@st"]
    assert (stats.count, stats.total, stats.average) == (len(SIZES), sum(SIZES), sum(SIZES) // len(SIZES))


def test_keyed_aggregations() -> None:
    maps = traced(
        "$odd = args.count % 2; @n[$odd] = count(); @s[$odd] = sum(args.count); @a[$odd] = avg(args.count); "
        "@least[$odd] = min(args.count); @most[$odd] = max(args.count); @st[$odd] = stats(args.count);"
    ).maps
    groups = {odd: [size for size in SIZES if size % 2 == odd] for odd in (0, 1)}
    assert maps["@n"] == {odd: len(group) for odd, group in groups.items()}
    assert maps["@s"] == {odd: sum(group) for odd, group in groups.items()}
    assert maps["@a"] == {odd: sum(group) // len(group) for odd, group in groups.items()}
    assert maps["@least"] == {odd: min(group) for odd, group in groups.items()}
    assert maps["@most"] == {odd: max(group) for odd, group in groups.items()}
    assert {odd: (s.count, s.total) for odd, s in maps["@st"].items()} == {
        odd: (len(group), sum(group)) for odd, group in groups.items()
    }


def test_aggregations_of_negative_numbers() -> None:
    values = [-size for size in SIZES] + [size // 2 for size in SIZES]
    maps = traced(
        "$v = (int64)args.count; @s = sum(-$v); @s = sum($v / 2); @least = min(-$v); @least = min($v / 2); "
        "@most = max(-$v); @most = max($v / 2); @a = avg(-$v); @a = avg($v / 2); @neg = max(-$v); @h = hist(-$v);"
    ).maps
    assert maps["@s"] == sum(values)
    assert maps["@least"] == min(values)
    assert maps["@most"] == max(values)
    assert maps["@a"] == int(sum(values) / len(values))
    assert maps["@neg"] == -1
    assert maps["@h"].buckets == ((None, 0, len(SIZES)),)


def test_power_of_two_histogram() -> None:
    maps = traced("@h = hist(args.count); @k[args.fd] = hist(args.count);").maps
    expected = Counter(power_of_two_bucket(size) for size in SIZES)
    assert {low: n for low, _high, n in maps["@h"].buckets if n} == expected
    assert maps["@h"].total == len(SIZES)
    assert maps["@k"] == {3: maps["@h"]}


def test_histogram_with_split_buckets() -> None:
    histogram = traced("@h = hist(args.count, 2);").maps["@h"]
    for low, high, n in histogram.buckets:
        assert n == sum(low <= size < high for size in SIZES)
    assert histogram.total == len(SIZES)
    assert any(high - low == low // 4 for low, high, n in histogram.buckets if n and low >= 8)


@pytest.mark.parametrize(("low", "high", "step"), [(0, 100, 10), (5, 50, 5), (100, 1000, 250)])
def test_linear_histogram(low: int, high: int, step: int) -> None:
    histogram = traced(f"@h = lhist(args.count, {low}, {high}, {step});").maps["@h"]
    expected: Counter[int | None] = Counter()
    for size in SIZES:
        expected[None if size < low else high if size >= high else low + (size - low) // step * step] += 1
    assert {first: n for first, _last, n in histogram.buckets if n} == expected


def test_histogram_as_it_prints() -> None:
    text = traced("@h = hist(args.count); if (args.count == 4096) { print(@h); }", [1, 3, 3, 3, 4096]).text
    rows = [line.split("|")[0].split() for line in text.splitlines() if "|" in line]
    assert rows[0] == ["[1]", "1"]
    assert rows[1] == ["[2,", "4)", "3"]
    assert rows[-1] == ["[4K,", "8K)", "1"]
    assert len(rows) == 13
    bars = [line.split("|")[1].count("@") for line in text.splitlines() if "|" in line]
    assert bars[1] == max(bars) == 52 and bars[0] == 52 // 3


def test_reading_an_aggregation_in_the_script() -> None:
    outcome = traced('@n = count(); @s = sum(args.count); if (@n == 10) { printf("%d %d\\n", @n, @s); }')
    assert outcome.records == [(10, sum(SIZES[:10]))]


def test_aggregation_over_all_cpus(request: pytest.FixtureRequest) -> None:
    """A value on every CPU: the parts that each CPU holds are added up."""
    storm = request.getfixturevalue("program")("storm.c", 4, 5000)
    maps = run(
        "tracepoint:syscalls:sys_enter_getpgid /pid == $1/ { $v = -(int32)args.pid; @n = count(); @s = sum($v); "
        "@m = max($v); @least = min($v); @st = stats($v); @t[tid] = count(); @h = hist($v); "
        "@l = lhist($v, 0, 20000, 1000); }",
        storm.pid, work=storm,
    ).maps  # fmt: skip
    assert maps["@n"] == 20_000
    assert maps["@s"] == maps["@st"].total == sum(range(1, 20_001))
    assert (maps["@least"], maps["@m"]) == (1, 20_000)
    assert sorted(maps["@t"].values()) == [5000] * 4
    assert maps["@h"].total == maps["@l"].total == 20_000
    assert {low: n for low, _high, n in maps["@l"].buckets} == {
        **{low: 1000 - (low == 0) for low in range(0, 20_000, 1000)}, 20_000: 1,
    }  # fmt: skip
