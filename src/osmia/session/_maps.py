"""Maps of a running trace as Python mappings, and snapshots of them in printing order."""

from __future__ import annotations

from ..errors import UsageError, did_you_mean
from ..isa.map_types import ARRAY, PERCPU_ARRAY
from ._aggregate import align_series, compile_map_value, compile_order
from ._decode import compile_value
from ._events import MapSnapshot
from ._model import Enum, Histogram, Stats, divide
from ._names import has_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ..objects import MapFormat, ValueType
    from ._names import Names
    from .target import LoadedMap

ARRAYS = (ARRAY, PERCPU_ARRAY)
# Printed by value, least first; all others by key.
BY_VALUE = ("int", "enum", "count", "sum", "min", "max", "avg", "stats", "hist", "lhist")
NUMBERS = ("int", "enum", "count", "sum", "min", "max", "avg")  # their Python values are numbers
SYMBOLIC = ("kstack", "ustack", "ksym", "usym")  # resolved by symbols, of which some end with the trace
_PART = {"count": 8, "sum": 8, "min": 16, "max": 16, "avg": 16, "stats": 16}  # bytes that a CPU has of them
MESSAGE_KINDS = {"hist": "hist", "lhist": "hist", "avg": "stats", "stats": "stats", "tseries": "tseries"}


class NoSuchName(KeyError):
    """A map or a variable that is not there, said in a sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


class Maps(dict[str, "MapView"]):
    """The maps of a script by name; `others` says of maps that have no view what to do instead."""

    others: Mapping[str, str] = {}

    def __missing__(self, name: str) -> MapView:
        if name in self.others:
            raise NoSuchName(f"read map {name}: {self.others[name]}")
        near = did_you_mean(name, self)
        raise NoSuchName(f"read map {name}: there is none ({near or 'maps are ' + (', '.join(self) or 'none')})")


class KeptMap:
    """What a map held when its trace ended: (keys, values, count) laid end to end, as the target gave them."""

    def __init__(self, name: str, kept: list[tuple[bytes, bytes, int]] | None) -> None:
        self._name = name
        self._kept = kept  # None: nothing was
        self._elements: dict[bytes, bytes] = {}

    def batches(self) -> Iterator[tuple[bytes, bytes, int]]:
        if self._kept is None:
            raise UsageError(f"read map {self._name}: the trace has ended, and what the map held was not kept")
        return iter(self._kept)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        for keys, values, count in self.batches():
            yield from zip(_slices(keys, count), _slices(values, count))

    def lookup(self, key: bytes) -> bytes | None:
        if not self._elements:
            self._elements = dict(self.items())
        return self._elements.get(key)

    def update(self, key: bytes, value: bytes) -> None:
        raise UsageError(f"change map {self._name}: the trace has ended", hint="do it inside the with block")

    def delete(self, key: bytes) -> bool:
        raise UsageError(f"change map {self._name}: the trace has ended", hint="do it inside the with block")


class MapView:
    """A map of the script. Reading asks the target each time; when the trace has ended, it is what the map held then.

    A keyed map is a mapping of Python keys to Python values. A scalar map has `value`. Each refuses what is the
    other's with `UsageError`: `scalar` tells which it is.
    Keys are numbers, texts, tuples, ... as the script uses them; aggregations come reduced over all CPUs.

    Elements can be set and deleted, and `value` can be set. Structs may be given as a dict (members that are left out
    are zero), a tuple or bytes, addresses as texts, keys of prefix trees as "10.0.0.0/8"; what does not fit its field
    raises UsageError. The value of a per-CPU map is a list, CPU 0 first (CPUs that are left out have zero); a number
    alone goes to CPU 0, as reading gives the sum. `per_cpu` gives what each CPU has.
    """

    def __init__(self, format: MapFormat, source: LoadedMap, names: Names) -> None:
        self.name = format.name
        self.format = format
        self._map: LoadedMap = source
        self._names = names
        self._decode_key = compile_value(format.key, names) if format.key else None
        self._decode = compile_map_value(format.value, names)
        # A scalar aggregation may live in an array, whose one element is always there: zeros mean "not set".
        self._array = getattr(source, "type", 0) in ARRAYS
        self._zeroed = False
        # Maps of C: keys have types of C, and may be given in several ways.
        self._typed = format.key is not None and format.name == format.map

    @property
    def scalar(self) -> bool:
        return self._decode_key is None

    @property
    def has_names(self) -> bool:
        """Whether keys or values have addresses that become names."""
        return has_kind(self.format.key, SYMBOLIC) or has_kind(self.format.value, SYMBOLIC)

    def _columns(self, decoded: bool) -> tuple[list[Any], list[Any]]:
        """All keys (as bytes unless `decoded`) and all values, in the map's own order."""
        keys: list[Any] = []
        values: list[Any] = []
        batches = None if self._array else getattr(self._map, "batches", None)
        if batches is None or self.format.key is None:
            for key, raw in self._items():
                keys.append(self._decode_key(key) if decoded and self._decode_key else key)
                values.append(self._decode(raw))
            return keys, values
        from ._columns import compile_key_column, compile_value_column

        key_column = compile_key_column(self.format.key, self._names) if decoded else _slices
        value_column = compile_value_column(self.format.value, self._names)
        for some_keys, some_values, count in batches():
            if count:
                keys += key_column(some_keys, count)
                values += value_column(some_values, count)
        return keys, values

    def _items(self) -> Iterator[tuple[bytes, bytes]]:
        for key, raw in self._map.items():
            if not self._array or self._zeroed or any(raw):
                yield key, raw

    @property
    def value(self) -> Any:
        """A scalar map's value; None before the script has set it. UsageError for a map with keys."""
        if not self.scalar:
            raise UsageError(
                f"read value of map {self.name}: it has keys", hint="it is a mapping: dict(), items(), or [key]"
            )
        return self._scalar_value()

    @value.setter
    def value(self, value: Any) -> None:
        if not self.scalar:
            raise UsageError(f"set value of map {self.name}: it has keys", hint="set elements: [key] = value")
        self._set(None, value)
        self._zeroed = True  # from now on zeros are a value

    def _set(self, key: Any, value: Any) -> None:
        from ._edit import set_element

        set_element(self.format, self._map, key, value)

    def _scalar_value(self) -> Any:
        for _key, raw in self._items():
            return self._decode(raw)
        return None

    def read(self, key: bytes) -> Any:
        """The value of a key as the target has it; the type's zero when the key is not there."""
        raw = self._map.lookup(key)
        return self.empty_value() if raw is None else self._decode(raw)

    def _check_keys(self, verb: str = "read") -> None:
        if self.scalar:
            raise UsageError(f"{verb} keys of map {self.name}: it has none", hint="its value is .value")

    def keep(self) -> None:
        """Take what the map holds now, for those who ask when the target has let go of it."""
        batches = None if self._array else getattr(self._map, "batches", None)
        if batches is not None:
            kept = [(keys, values, count) for keys, values, count in batches() if count]
        else:
            kept = [(key, value, 1) for key, value in self._map.items()]
        self._map = KeptMap(self.name, kept)

    def drop(self) -> None:
        """The target has let go of the map: who reads it from now on is told so."""
        if not isinstance(self._map, KeptMap):
            self._map = KeptMap(self.name, None)

    def __iter__(self) -> Iterator[Any]:
        return self.keys()

    def __len__(self) -> int:
        """How many elements there are; of a scalar map 1 if it was set."""
        return sum(1 for _ in self._items())

    def __getitem__(self, key: Any) -> Any:
        return self._decode(self._raw(key))

    def per_cpu(self, key: Any = None) -> list[Any]:
        """The value of a key on each CPU, CPU 0 first; of a scalar map, which takes no key, [] before it is set.

        UsageError for a map that is not per CPU, and where a CPU's part is no value by itself.
        """
        if self.scalar and key is not None:
            self._check_keys()
        raw = self._raw(key) if not self.scalar else next((raw for _key, raw in self._items()), b"")
        t = self.format.value
        if t.kind == "array" and self.format.per_cpu:  # copies, see `derive_formats`
            return list(self._decode(raw))
        size = _PART.get(t.kind) or (8 * t.count if t.kind in ("hist", "lhist") else -(-t.size // 8) * 8)
        if not self.format.per_cpu or t.kind == "tseries":
            raise UsageError(f"read map {self.name} by CPU: it has one value for all", hint="read it as it is: [key]")
        return [self._decode(raw[at : at + size]) for at in range(0, len(raw), size)]

    def _raw(self, key: Any) -> bytes:
        self._check_keys()
        raw = None
        encoded = self._encoded(key)
        if encoded is not None:
            raw = self._map.lookup(encoded)
        if raw is None and self._is_searched(key, encoded):
            decode: Any = self._decode_key
            raw = next((value for bits, value in self._map.items() if decode(bits) == key), None)
        if raw is None:
            raise KeyError(key)
        return raw

    def _encoded(self, key: Any) -> bytes | None:
        """The bytes of a key, None where they cannot be told. KeyError for what is no key of this map."""
        key_type = self.format.key
        try:
            encoded = encode(key_type, key)
        except KeyError:
            if key_type is None or not self._typed:
                raise
        else:
            if encoded is not None or not self._typed:
                return encoded
        from ..objects import Misfit
        from ._edit import encode_key

        try:
            return encode_key(self.format, self._map, key)
        except Misfit as error:
            raise KeyError(key) from UsageError(f"read map {self.name}: {error}", hint=error.hint)

    def _is_searched(self, key: Any, encoded: bytes | None) -> bool:
        """Whether one of the elements may have this key all the same: with other bytes between its members, say."""
        return encoded is None or (self._typed and isinstance(key, tuple))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._check_keys("set")
        self._set(key, value)

    def __delitem__(self, key: Any) -> None:
        self._check_keys("delete")
        if self._array:
            raise UsageError(f"delete from map {self.name}: elements of an array stay", hint="set it to zero")
        encoded = self._encoded(key)
        if encoded is None:
            raise UsageError(f"delete from map {self.name}: keys of this type cannot be told", hint="use clear()")
        if not self._map.delete(encoded):
            raise KeyError(key)

    def update(self, elements: Mapping[Any, Any]) -> None:
        """Set several elements, as that of a dict does."""
        if not hasattr(elements, "items"):
            raise UsageError(
                f"set map {self.name}: {type(elements).__name__} is no dict", hint="give {key: value, ...}"
            )
        for key, value in elements.items():
            self[key] = value

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def keys(self) -> Iterator[Any]:
        """Keys in the map's own order."""
        self._check_keys()
        decode = self._decode_key or bytes
        return (decode(key) for key, _value in self._items())

    def values(self) -> Iterator[Any]:
        """Values in the map's own order."""
        self._check_keys()
        return (self._decode(raw) for _key, raw in self._items())

    def items(self) -> Iterator[tuple[Any, Any]]:
        """(key, value) pairs in the map's own order."""
        self._check_keys()
        return self.decoded()

    def decoded(self) -> Iterator[tuple[Any, Any]]:
        """(key, value) pairs of any map; the key of a scalar one is None."""
        for key, raw in self._items():
            yield (self._decode_key(key) if self._decode_key else None), self._decode(raw)

    def clear(self) -> None:
        """Remove every element."""
        if self._array:
            self.zero()
            self._zeroed = False
            return
        for key in [key for key, _value in self._map.items()]:
            self._map.delete(key)

    def zero(self) -> None:
        """Set every value to zero, keep the keys."""
        for key, raw in list(self._map.items()):
            self._map.update(key, bytes(len(raw)))
        self._zeroed = True

    def snapshot(self, top: int = 0, div: int = 1) -> MapSnapshot:
        """The map as it is now: the `top` last in printing order (0: all), numbers divided by `div`."""
        from ._columns import has_order, sort_numbers

        kind, key_type = self.format.value.kind, self.format.key
        decoded = key_type is not None and has_order(key_type)
        keys, values = self._columns(decoded)
        if kind == "tseries":
            values = align_series(values, self.format.value.count)
        plain = key_type is not None and key_type.kind in ("int", "string") and kind in NUMBERS and kind != "enum"
        numbers = plain and key_type is not None and key_type.kind == "int"
        if numbers and (pairs := sort_numbers(keys, values)):
            keys, values = pairs
        else:
            places = self._places(keys, values, decoded)
            keys, values = [keys[i] for i in places], [values[i] for i in places]
        if top:
            keys, values = keys[-top:], values[-top:]
        if div > 1:
            values = [_scale(value, div) for value in values]

        def entries() -> Iterator[tuple[Any, Any]]:
            if self._decode_key is None:
                return zip([None] * len(values), values)
            return zip(keys if decoded else map(self._decode_key, keys), values)

        columns = (keys, values) if plain else None
        if self._names.keeps and self.has_names:
            named = list(entries())
            return MapSnapshot(self.name, MESSAGE_KINDS.get(kind, "map"), self.scalar, lambda: iter(named))
        return MapSnapshot(self.name, MESSAGE_KINDS.get(kind, "map"), self.scalar, entries, columns)

    def _places(self, keys: list[Any], values: list[Any], decoded: bool) -> list[int]:
        """Indexes in printing order: by key, then by value where maps of this kind are."""
        places = list(range(len(keys)))
        if decoded:
            places.sort(key=keys.__getitem__)
        elif self.format.key and (order := compile_order(self.format.key, self._names)):
            places.sort(key=[order(key) for key in keys].__getitem__)
        kind = self.format.value.kind
        if kind in BY_VALUE:
            places.sort(key=(values if kind in NUMBERS else [_weight(v) for v in values]).__getitem__)
        return places

    def empty_value(self) -> Any:
        """What an unset scalar map prints: its type's zero."""
        t = self.format.value
        size = 8 * t.count if t.kind in ("hist", "lhist") else max(t.size, 16)
        return self._decode(bytes(size if not self.format.per_cpu else -(-size // 8) * 8))

    def __repr__(self) -> str:
        try:
            shown = repr(self.value if self.scalar else dict(self.decoded()))
        except UsageError:
            shown = "not kept"
        return f"<map {self.name}: {shown}>"


def _slices(data: bytes, count: int) -> list[bytes]:
    size = len(data) // count
    return [data[at : at + size] for at in range(0, count * size, size)]


def _weight(value: Any) -> int:
    if type(value) is Histogram:
        return value.total
    if type(value) is Stats:
        return value.average
    return value  # type: ignore[no-any-return]


def _scale(value: Any, div: int) -> Any:
    if type(value) is int:
        return divide(value, div)
    if type(value) is Stats:
        return Stats(value.count, divide(value.average, div), value.total)
    if type(value) is Histogram and value.bits >= 0:
        buckets = tuple((low, high, count // div) for low, high, count in value.buckets)
        return Histogram(buckets, bits=value.bits)
    return value


def encode(t: ValueType | None, value: Any) -> bytes | None:
    """The bytes of a key, or None where a value of this type cannot be told from its Python form (stacks, names)."""
    if t is None:
        return None
    kind = t.kind
    if kind in ("int", "pointer", "enum", "bool"):
        size = t.size or (1 if kind == "bool" else 8)
        if kind == "enum" and isinstance(value, str):
            value = next((number for number, name in t.values if name == value), value)
        if not isinstance(value, int) or (isinstance(value, Enum) and kind != "enum"):
            raise KeyError(value)
        low = 0 if kind == "int" and not t.signed else -1 << 8 * size - 1
        if not low <= value < 1 << 8 * size - (kind == "int" and t.signed):
            raise KeyError(value)  # cut to its size it would be another key
        return (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    if kind == "string":
        if not isinstance(value, str):
            raise KeyError(value)
        text = value.encode("utf-8", "surrogateescape")
        return text.ljust(t.size, b"\0") if len(text) < t.size else None  # what fills a buffer may show that it was cut
    if kind in ("tuple", "record"):
        return _encode_fields(t, value)
    return None


def _encode_fields(t: ValueType, values: Any) -> bytes | None:
    if not isinstance(values, tuple) or len(values) != len(t.fields):
        raise KeyError(values)
    out = bytearray(t.size)
    for field, value in zip(t.fields, values):
        part = encode(field.type, value)
        if part is None or field.bits:
            return None
        out[field.offset : field.offset + len(part)] = part
    return bytes(out)
