"""Putting Python values into maps: `maps["rules"][key] = value`."""

from __future__ import annotations

from ..errors import MapError, UsageError
from ..isa.map_types import ARRAY_OF_MAPS, CPUMAP, DEVMAP, LPM_TRIE, PROG_ARRAY, XSKMAP
from ..objects import Misfit, encode_prefix, encode_value
from ._maps import ARRAYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..objects import MapFormat

_INDEXED = (*ARRAYS, PROG_ARRAY, ARRAY_OF_MAPS, DEVMAP, CPUMAP, XSKMAP)
# Scalars, and what holds them; all others (aggregations, stacks, names, ...) are made by programs.
_SETTABLE = (
    "bool", "int", "pointer", "enum", "float", "string", "array", "tuple", "record", "struct", "union", "count", "sum",
)  # fmt: skip
_TOTALS = ("int", "count", "sum")  # of which the copies of all CPUs add up
_E2BIG = 7


def encode_key(format: MapFormat, source: Any, key: Any) -> bytes:
    """A key as the map wants it. Misfit for what is none."""
    t = format.key
    kind, size = getattr(source, "type", 0), getattr(source, "key_size", t.size if t else 4)
    if t is None:
        return bytes(size)
    if isinstance(key, str) and kind == LPM_TRIE:
        return encode_prefix(size, key, "key")
    if isinstance(key, str) and kind in ARRAYS:
        raise Misfit("key", f"{key!r} is str", "give an index")
    return encode_value(t, key, "key").ljust(size, b"\0")


def element_key(format: MapFormat, source: Any, key: Any) -> bytes:
    """The key of an element that is to be set. UsageError for what is none.

    MapError for an index that an array has not: its own error would say that it is full.
    """
    try:
        raw_key = encode_key(format, source, key)
    except Misfit as error:
        raise _unfit(format, error) from None
    index, entries = int.from_bytes(raw_key, "little"), getattr(source, "max_entries", 0)
    if getattr(source, "type", 0) in _INDEXED and entries and index >= entries:
        raise MapError(
            f"set map {format.name}: key: there is no {index}", errno=_E2BIG, operation="update",
            hint=f"an array of {entries} has 0 to {entries - 1}",
        )  # fmt: skip
    return raw_key


def set_element(format: MapFormat, source: Any, key: Any, value: Any) -> None:
    """Set one element. UsageError for a key or a value that is not of the map's types, MapError from the map."""
    raw_key = element_key(format, source, key)
    try:
        row = _row(format, source, value)
    except Misfit as error:
        raise _unfit(format, error) from None
    source.update(raw_key, row)


def _unfit(format: MapFormat, error: Misfit) -> UsageError:
    return UsageError(f"set map {format.name}: {error}", hint=error.hint)


def _row(format: MapFormat, source: Any, value: Any) -> bytes:
    """The bytes that the map takes: one copy for each CPU of a per-CPU map."""
    t = format.value
    size: int = getattr(source, "row_size", t.size)
    if isinstance(value, (bytes, bytearray, memoryview)) and len(value) == size:
        return bytes(value)
    if t.kind not in _SETTABLE:
        raise Misfit("value", f"a {t.kind} is made by programs", f"bytes can be set: {size} of them")
    one = t.replace(kind="int", size=8) if t.kind in ("count", "sum") else t
    cpus: int = getattr(source, "cpus", 1)
    if not format.per_cpu:
        return encode_value(one, value).ljust(size, b"\0")
    if one.kind == "array" and one.element is not None:  # copies, see `derive_formats`
        one = one.element
    slot = size // cpus
    if not isinstance(value, (list, tuple)):
        if t.kind not in _TOTALS:
            raise Misfit("value", "the map has one for each CPU", "give a list of values, CPU 0 first")
        value = [value]  # the copies add up to it
    if len(value) > cpus:
        raise Misfit("value", f"{len(value)} values, there are {cpus} CPUs", "give a list of values, CPU 0 first")
    copies = [encode_value(one, item, f"value[{i}]").ljust(slot, b"\0") for i, item in enumerate(value)]
    return b"".join(copies).ljust(size, b"\0")
