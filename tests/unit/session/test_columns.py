"""Maps of many keys are read and sorted by the column; the result is what one by one gives."""

from __future__ import annotations

import random
from struct import pack

import pytest

from osmia.objects import MapFormat, ValueType
from osmia.session._columns import compile_value_column, sort_numbers
from osmia.session._maps import MapView
from osmia.session._names import Names

S64 = ValueType("int", 8, signed=True)
COUNT = ValueType("count", 8, signed=True)


class Source:
    """A per-CPU map of two CPUs; by the batch, or (`plain`) element by element."""

    def __init__(self, rows: list[tuple[int, int, int]]) -> None:
        self.rows = rows

    def items(self):
        for key, a, b in self.rows:
            yield pack("<q", key), pack("<qq", a, b)

    def batches(self):
        for at in range(0, len(self.rows), 3000):
            some = self.rows[at : at + 3000]
            yield b"".join(pack("<q", r[0]) for r in some), b"".join(pack("<qq", *r[1:]) for r in some), len(some)
        yield b"", b"", 0


class Plain:
    def __init__(self, rows: list[tuple[int, int, int]]) -> None:
        self.items = Source(rows).items


@pytest.mark.parametrize("lowest", [0, -5000], ids=["numbers from 0", "negative keys"])
def test_large_maps_come_in_the_order_of_small_ones(lowest):
    numbers = random.Random(1)
    rows = [(key, numbers.randrange(4), numbers.randrange(4)) for key in range(lowest, 7000)]
    numbers.shuffle(rows)
    format = MapFormat("@", "m", key=S64, value=COUNT, per_cpu=True)
    by_batch = MapView(format, Source(rows), Names()).snapshot()
    one_by_one = MapView(format, Plain(rows), Names()).snapshot()
    expected = sorted(((key, a + b) for key, a, b in rows), key=lambda row: (row[1], row[0]))
    assert list(by_batch.entries()) == list(one_by_one.entries()) == expected
    assert list(zip(*by_batch.columns)) == expected


def test_sums_wrap_at_64_bits():
    column = compile_value_column(ValueType("sum", 8, signed=True), Names())
    top = (1 << 63) - 1
    assert column(pack("<qqqq", top, 1, -1, 1), 2) == [-(1 << 63), 0]


def test_numbers_are_sorted_by_value_then_key():
    keys, values = list(range(5000, 0, -1)), [i % 7 for i in range(5000)]
    assert sort_numbers(keys, values) == tuple(map(list, zip(*sorted(zip(keys, values), key=lambda r: (r[1], r[0])))))
    assert sort_numbers([-1] * 5000, values) is None
    assert sort_numbers([1], [1]) is None
