"""Values of maps: one copy, or one copy per CPU that has to be put together."""

from __future__ import annotations

from struct import Struct

from ..objects import AGGREGATIONS
from ._decode import compile_value, make_stats
from ._model import TimeSeries, divide, linear_histogram, log2_histogram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..objects import ValueType
    from ._names import Names

MASK64 = (1 << 64) - 1


def wrap(value: int, signed: bool) -> int:
    """A sum of 64-bit numbers, kept to 64 bits as the kernel's own would be."""
    value &= MASK64
    return value - (1 << 64) if signed and value >> 63 else value


def compile_map_value(t: ValueType, names: Names) -> Callable[[bytes], Any]:
    """`read(bytes)` for a map's value: `bytes` holds one copy, or one per possible CPU (each padded to 8 bytes)."""
    kind = t.kind
    if kind not in AGGREGATIONS:
        return _plain(t, names)
    code = "q" if t.signed else "Q"
    if kind in ("count", "sum"):
        return lambda b: wrap(sum(memoryview(b).cast("Q")), t.signed)
    if kind in ("min", "max"):
        pairs, best = Struct(f"<{code}Q").iter_unpack, min if kind == "min" else max
        return lambda b: best((value for value, is_set in pairs(b) if is_set), default=0)
    if kind in ("avg", "stats"):
        return _average(t, code)
    if kind == "hist":
        return lambda b: log2_histogram(_columns(b, t.count), t.bits)
    if kind == "lhist":
        return lambda b: linear_histogram(_columns(b, t.count), t.bounds)
    if kind == "tseries":
        return lambda b: _series(b, t)
    raise ValueError(f"no way to read a map of {kind}")


def _series(b: bytes, t: ValueType) -> TimeSeries:
    """The intervals that have a value, put together over CPUs, oldest first."""
    found: dict[int, list[tuple[int, int]]] = {}
    for number, value, meta, is_set in Struct(f"<Q{'q' if t.signed else 'Q'}QQ").iter_unpack(b):
        if is_set:
            found.setdefault(number, []).append((value, meta))
    interval = t.bounds[0]
    points = tuple((number * interval, _merged(t.mode, found[number], t.signed)) for number in sorted(found))
    return TimeSeries(points, interval)


def _merged(mode: str, parts: list[tuple[int, int]], signed: bool) -> int:
    values = [value for value, _ in parts]
    if mode in ("min", "max"):
        return min(values) if mode == "min" else max(values)
    if mode in ("avg", "sum"):
        total = wrap(sum(values), signed)
        return total if mode == "sum" else divide(total, sum(count for _, count in parts) or 1)
    return max(parts, key=lambda part: part[1])[0]


def align_series(rows: list[TimeSeries], count: int) -> list[TimeSeries]:
    """All series of a map up to the latest interval of any: the last `count`, those without a value as None."""
    ends = [series.points[-1][0] for series in rows if series.points]
    if not ends:
        return rows
    aligned = []
    for series in rows:
        values = dict(series.points)
        starts = range(max(ends) - (count - 1) * series.interval, max(ends) + 1, series.interval)
        shown = [(start, values.get(start)) for start in starts]
        while shown and shown[0][1] is None:
            del shown[0]
        aligned.append(TimeSeries(tuple(shown), series.interval))
    return aligned


def _plain(t: ValueType, names: Names) -> Callable[[bytes], Any]:
    decode = compile_value(t, names)
    if t.kind != "int":
        return lambda b: decode(b)
    # A number in a per-CPU map (`let @a = percpuhash(n)`) is the sum of its copies.
    size, padded = t.size, -(-t.size // 8) * 8

    def number(b: bytes) -> Any:
        if len(b) <= padded or len(b) == size:
            return decode(b)
        return wrap(sum(decode(b, at) for at in range(0, len(b), padded)), t.signed)

    return number


def _average(t: ValueType, code: str) -> Callable[[bytes], Any]:
    pairs, as_stats = Struct(f"<{code}Q").iter_unpack, t.kind == "stats"

    def read(b: bytes) -> Any:
        total = count = 0
        for part, n in pairs(b):
            total += part
            count += n
        total = wrap(total, t.signed)
        return make_stats(total, count) if as_stats else divide(total, count or 1)

    return read


def _columns(b: bytes, count: int) -> list[int]:
    """Bucket by bucket, the sum over CPUs."""
    numbers = memoryview(b).cast("Q")
    if len(numbers) <= count:
        return list(numbers)
    rows = [numbers[i : i + count] for i in range(0, len(numbers) - count + 1, count)]
    return [sum(column) for column in zip(*rows)]


def compile_order(t: ValueType, names: Names) -> Callable[[bytes], Any] | None:
    """What to sort keys of this type by: their numbers and texts, left to right. None: they have no order."""
    from ._decode import compile_fields

    if t.kind in ("int", "string", "bool", "enum", "float"):
        return compile_value(t, names)
    if t.kind in ("tuple", "record", "struct"):
        fields = [f for f in t.fields if f.type.kind in ("int", "string", "bool", "enum", "float")]
        return compile_fields(fields, names) if fields else None
    return None
