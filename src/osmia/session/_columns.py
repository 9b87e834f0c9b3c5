"""Many keys or values of a map at once, from the bytes of one batch: a tenth of what one call for each would cost."""

from __future__ import annotations

from ._aggregate import compile_map_value, wrap
from ._decode import SIGNED, UNSIGNED, compile_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from ..objects import ValueType
    from ._names import Names

    # `column(data, count)`: `count` values that lie end to end in `data`.
    Column: TypeAlias = Callable[[bytes, int], list[Any]]

WORTH_IT = 4096  # elements of a map from which on libc sorts them
# Kinds whose Python values have an order, which is the one that maps are printed in.
ORDERED = ("int", "string", "bool", "enum", "float")


def has_order(t: ValueType) -> bool:
    """Whether keys of this type sort as the Python values that they become (and cost nothing to look up)."""
    if t.kind in ("tuple", "record"):
        return all(f.type.kind in ORDERED for f in t.fields)
    return t.kind in ORDERED


def compile_key_column(t: ValueType, names: Names) -> Column:
    """The column of a map's keys."""
    decode = compile_value(t, names)

    def column(data: bytes, count: int) -> list[Any]:
        if t.kind == "int" and len(data) == count * t.size:
            return _numbers(data, t.size, t.signed)
        size = len(data) // count
        return [decode(data, at) for at in range(0, count * size, size)]

    return column


def compile_value_column(t: ValueType, names: Names) -> Column:
    """The column of a map's values; each holds one copy, or one for every possible CPU."""
    read = compile_map_value(t, names)

    def column(data: bytes, count: int) -> list[Any]:
        size = len(data) // count
        if t.kind in ("count", "sum") and size % 8 == 0:
            return _totals(_numbers(data, 8, t.signed), size // 8, t.signed)
        if t.kind == "int" and size == t.size:
            return _numbers(data, size, t.signed)
        return [read(data[at : at + size]) for at in range(0, count * size, size)]

    return column


def _numbers(data: bytes, size: int, signed: bool) -> list[int]:
    code = (SIGNED if signed else UNSIGNED)[size]
    numbers: list[int] = memoryview(data).cast(code).tolist()  # type: ignore[call-overload]
    return numbers


def _totals(numbers: list[int], copies: int, signed: bool) -> list[int]:
    """Sums of `copies` numbers each, kept to 64 bits."""
    if copies == 1:
        return numbers
    from operator import add

    totals = numbers[::copies]
    for i in range(1, copies):
        totals = list(map(add, totals, numbers[i::copies]))
    top = 1 << 63 if signed else 1 << 64
    if max(totals) >= top or min(totals) < -top:
        totals = [wrap(total, signed) for total in totals]
    return totals


def sort_numbers(keys: list[int], values: list[int]) -> tuple[list[int], list[int]] | None:
    """Keys and values by value, then by key; None where there are negative ones, or too few to be worth it."""
    if len(keys) < WORTH_IT:
        return None
    from array import array
    from sys import byteorder

    from .. import syscalls

    pairs = array("Q", bytes(16 * len(keys)))
    try:
        pairs[0::2], pairs[1::2] = array("Q", values), array("Q", keys)
    except OverflowError:
        return None
    if byteorder == "little":
        pairs.byteswap()
    if not syscalls.sort_records(pairs, 16):
        return None
    if byteorder == "little":
        pairs.byteswap()
    return pairs[1::2].tolist(), pairs[0::2].tolist()
