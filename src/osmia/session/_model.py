"""The Python values that decoded map keys, map values and event fields become.

Numbers, text and tuples are plain Python objects. The classes here are for what Python has no type for; each is
hashable, so that every value can be a key.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar


class Pointer(int):
    """An address: prints in hexadecimal."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"0x{int(self):x}"

    __str__ = __repr__


class Enum(int):
    """A number with the name that its enumeration gives it; `name` is empty where it gives none."""

    name: str

    def __new__(cls, value: int, name: str = "") -> Enum:
        self = super().__new__(cls, value)
        self.name = name
        return self

    def __str__(self) -> str:
        return self.name or int.__repr__(self)

    def __repr__(self) -> str:
        return f"<{self.name}: {int(self)}>" if self.name else int.__repr__(self)


class Single(float):
    """A number of fewer than 64 bits: prints with the digits that tell it from its neighbours, as 0.1."""

    __slots__ = ()

    def __repr__(self) -> str:
        from struct import pack

        # Nine digits are enough for 32 bits.
        texts = (f"{self:.{digits}g}" for digits in range(1, 10))
        return repr(float(next((t for t in texts if pack("f", float(t)) == pack("f", self)), float(self))))

    __str__ = __repr__


class Array(tuple["Any", ...]):
    """Elements of an array."""

    __slots__ = ()


class Record(tuple["Any", ...]):
    """A record, C struct or union: members by attribute, by position, and as `asdict()`."""

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()

    def asdict(self) -> dict[str, Any]:
        """Member name -> value; nested records become dicts too."""
        return {n: v.asdict() if isinstance(v, Record) else v for n, v in zip(self._fields, self)}

    def __getattr__(self, name: str) -> Any:
        try:
            return self[self._fields.index(name)]
        except ValueError:
            raise AttributeError(f"record has no member {name!r}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_record, (type(self).__name__, self._fields, tuple(self))

    def __repr__(self) -> str:
        return "(" + ", ".join(f"{n}={v!r}" for n, v in zip(self._fields, self)) + ")"


def record_class(name: str, fields: tuple[str, ...]) -> type[Record]:
    """A `Record` subclass with these member names."""
    namespace: dict[str, Any] = {"__slots__": (), "_fields": fields}
    for index, field in enumerate(fields):
        # `count` and `index` are methods of tuple: members win over them.
        if field in ("count", "index"):
            namespace[field] = property(_member(index))
    return type(name or "Record", (Record,), namespace)


_restored: dict[tuple[str, tuple[str, ...]], type[Record]] = {}


def _restore_record(name: str, fields: tuple[str, ...], values: tuple[Any, ...]) -> Record:
    cls = _restored.get((name, fields))
    if cls is None:
        cls = _restored[name, fields] = record_class(name, fields)
    return cls(values)


def _member(index: int) -> Callable[[Record], Any]:
    return lambda record: record[index]


class Stack:
    """A kernel or user stack, innermost frame first.

    `addresses` are instruction pointers; `frames` their names, resolved on first use; `pid` is 0 for kernel stacks;
    `mode` is how it prints (bpftrace, perf, raw, build_id). `error` is an errno where the stack could not be taken.
    In a `build_id` stack `addresses` are offsets in files: only its frames say which. They are given with it.
    """

    __slots__ = ("__weakref__", "_frames", "_resolve", "addresses", "error", "mode", "pid")

    def __init__(
        self,
        addresses: tuple[int, ...],
        *,
        pid: int = 0,
        mode: str = "bpftrace",
        resolve: Callable[[Stack], list[str]] | None = None,
        error: int = 0,
        frames: list[str] | None = None,
    ) -> None:
        self.addresses = addresses
        self.pid = pid
        self.mode = mode
        self.error = error
        self._resolve = resolve
        self._frames = frames

    @property
    def frames(self) -> list[str]:
        """One text a frame; inlined functions add frames of their own."""
        if self._frames is None:
            self._frames = self._resolve(self) if self._resolve else [f"0x{a:x}" for a in self.addresses]
        return self._frames

    def take_frames(self, frames: list[str] | None) -> list[str]:
        """`frames`, where they are known from an equal stack and not yet here."""
        if self._frames is None and frames is not None:
            self._frames = frames
        return self.frames

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_stack, (self.addresses, self.pid, self.mode, self.error, self.frames)

    def __str__(self) -> str:
        """Lines as the bpftrace language prints them: a line break, then one indented line a frame."""
        if self.mode == "raw":
            lines = [f"{a:x}" for a in self.addresses]
        elif self.mode == "perf":
            lines = ["\t" + f for f in self.frames]
        elif self.mode == "build_id":
            lines = self.frames
        else:
            lines = ["        " + f for f in self.frames]
        return "\n" + "".join(line + "\n" for line in lines)

    def __len__(self) -> int:
        return len(self.addresses)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stack) and self._identity() == other._identity()

    def _identity(self) -> tuple[Any, ...]:
        """What makes two stacks of one map different keys."""
        return self.addresses, self.pid, self.error, tuple(self.frames) if self.mode == "build_id" else ()

    def __hash__(self) -> int:
        return hash((self.addresses, self.pid))

    def __repr__(self) -> str:
        return f"Stack({';'.join(self.frames)})"


def _restore_stack(addresses: tuple[int, ...], pid: int, mode: str, error: int, frames: list[str]) -> Stack:
    return Stack(addresses, pid=pid, mode=mode, error=error, frames=frames)


class Histogram:
    """Buckets (low, high, count) from the first to the last that is not empty.

    A bucket counts values v with low <= v < high; low None is "anything below", high None "anything above".
    `bits` is the precision of a power-of-two histogram, -1 for a linear one, which has `step`.
    """

    __slots__ = ("bits", "buckets", "step")

    def __init__(
        self, buckets: tuple[tuple[int | None, int | None, int], ...], *, bits: int = -1, step: int = 0
    ) -> None:
        self.buckets = buckets
        self.bits = bits
        self.step = step

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(bucket[2] for bucket in self.buckets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.buckets == other.buckets

    def __hash__(self) -> int:
        return hash(self.buckets)

    def __repr__(self) -> str:
        return f"Histogram({list(self.buckets)})"


class Stats:
    """Count, average (total / count, cut towards zero) and total of the values given to `stats()`."""

    __slots__ = ("average", "count", "total")

    def __init__(self, count: int, average: int, total: int) -> None:
        self.count = count
        self.average = average
        self.total = total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stats) and (self.count, self.total) == (other.count, other.total)

    def __hash__(self) -> int:
        return hash((self.count, self.total))

    def __repr__(self) -> str:
        return f"Stats(count={self.count}, average={self.average}, total={self.total})"


class TimeSeries:
    """Values by interval: `points` are (start in nanoseconds of TAI, value or None); `interval` in nanoseconds."""

    __slots__ = ("interval", "points")

    def __init__(self, points: tuple[tuple[int, int | None], ...], interval: int) -> None:
        self.points = points
        self.interval = interval

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TimeSeries) and self.points == other.points

    def __hash__(self) -> int:
        return hash(self.points)

    def __repr__(self) -> str:
        return f"TimeSeries({list(self.points)})"


def wide_float(name: str) -> Callable[[bytes], float]:
    """`read(bytes)` for a number of 16 bytes, rounded to 64 bits: x86's "long double" of 80 bits, or IEEE 754's 128."""
    from math import inf, ldexp, nan
    from os import uname

    x87 = name == "long double" and uname().machine in ("x86_64", "i686")
    bits = 63 if x87 else 112  # of the fraction; the bit before it is written on x86 alone

    def read(raw: bytes) -> float:
        number = int.from_bytes(raw[:10] if x87 else raw, "little")
        width = bits + x87
        fraction, exponent = number & (1 << width) - 1, number >> width & 0x7FFF
        sign = -1 if number >> width + 15 else 1
        if exponent == 0x7FFF:
            return sign * inf if not fraction & (1 << bits) - 1 else nan
        if not x87 and exponent:
            fraction |= 1 << bits
        try:
            return sign * ldexp(fraction, max(exponent, 1) - 16383 - bits)
        except OverflowError:
            return sign * inf

    return read


def divide(value: int, by: int) -> int:
    """Integer division as in C: cut towards zero."""
    quotient = abs(value) // abs(by)
    return quotient if (value < 0) == (by < 0) else -quotient


def log2_histogram(counts: list[int], bits: int) -> Histogram:
    """The histogram of a `hist()` value: bucket 0 is below zero, the 2**bits that follow hold one value each."""
    width = 1 << bits

    def bound(index: int) -> int:
        # Above, each power of two has 2**bits buckets: the low bits of the index say which.
        return index if index < width else (1 << ((index >> bits) - 1)) * (width + (index & (width - 1)))

    first, last = _filled(counts)
    return Histogram(
        tuple((bound(i - 1) if i else None, bound(i), counts[i]) for i in range(first, last + 1)), bits=bits
    )


def linear_histogram(counts: list[int], bounds: tuple[int, int, int]) -> Histogram:
    """The histogram of an `lhist()` map value with bounds (min, max, step)."""
    low, high, step = bounds
    first, last = _filled(counts)
    above = len(counts) - 1
    buckets = []
    for i in range(first, last + 1):
        # The last step is shorter where the step does not divide the range.
        bottom = None if i == 0 else min(low + (i - 1) * step, high)
        buckets.append((bottom, None if i == above else min(low + i * step, high), counts[i]))
    return Histogram(tuple(buckets), step=step)


def _filled(counts: list[int]) -> tuple[int, int]:
    """Indexes of the first and last count that is not zero; (0, -1) when all are."""
    used = [i for i, n in enumerate(counts) if n]
    return (used[0], used[-1]) if used else (0, -1)
