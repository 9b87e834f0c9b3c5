"""Objects as bytes: what the compile cache and the `.osmia` section of an ELF file hold.

A value is a tag byte and what follows it; numbers are little endian. `pickle` and `marshal` would be quicker, but
both can be made to run code or crash, and an ELF file may come from anyone.

    0 None  1 False  2 True  3 int: u8 size, signed  4 int: u32 size, signed  5 bytes: u32 size
    6 str: u8 size  7 str: u32 size  8 str seen before: u16 index  9 tuple: u8 count  10 tuple: u32 count
    11 record: u8 class, u8 count of leading fields (the rest have their defaults)  12 u16  13 u32
    14 table of records: u8 class, u8 columns, u32 rows, u8 per column (0 u32 numbers, 1 values), then the columns
    0x40..0x7f one of the first 64 strings  0x80..0xff int 0..127
"""

from __future__ import annotations

from struct import unpack_from

from .._data import Data
from ..errors import ObjectError
from ._spec import (
    AttachPoint,
    CoreRelocation,
    Function,
    LineInfo,
    MapSpec,
    Object,
    ProgramSpec,
    Relocation,
)
from ._values import EventFormat, Field, MapFormat, ValueType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# The order is the format: append only. A changed meaning of a class or field needs a new number in MAGIC.
CLASSES: tuple[type[Data], ...] = (
    Object, ProgramSpec, Function, MapSpec, AttachPoint, Relocation, LineInfo, CoreRelocation,
    MapFormat, ValueType, Field, EventFormat,
)  # fmt: skip
MAGIC = b"\x7fOSM\x01"
_NUMBER = {cls: i for i, cls in enumerate(CLASSES)}
_set = object.__setattr__
_DEPTH = 40
_TABLE_ROWS = 4  # from how many equal records on a table is smaller and quicker


def pack(obj: object) -> bytes:
    """Encode None, bool, int, bytes, str, tuples and the record classes of this package. TypeError for others."""
    out: list[bytes] = [MAGIC]
    _encode(obj, out, {})
    return b"".join(out)


def _encode(obj: Any, out: list[bytes], strings: dict[str, int]) -> None:
    kind = type(obj)
    if obj is None or kind is bool:
        out.append(b"\0" if obj is None else b"\2" if obj else b"\1")
    elif kind is int:
        out.append(_encode_int(obj))
    elif kind is str:
        out.append(_encode_str(obj, strings))
    elif kind is bytes:
        out.append(b"\5" + len(obj).to_bytes(4, "little") + obj)
    elif kind is tuple:
        if len(obj) >= _TABLE_ROWS and type(obj[0]) in _NUMBER and all(type(v) is type(obj[0]) for v in obj):
            _encode_table(obj, out, strings)
            return
        out.append(b"\x09" + bytes([len(obj)]) if len(obj) < 256 else b"\x0a" + len(obj).to_bytes(4, "little"))
        for item in obj:
            _encode(item, out, strings)
    elif kind in _NUMBER:
        fields = _leading_fields((obj,))
        out.append(bytes([11, _NUMBER[kind], len(fields)]))
        for field in fields:
            _encode(getattr(obj, field), out, strings)
    else:
        raise TypeError(f"pack: {kind.__name__} cannot be packed")


def _leading_fields(rows: tuple[Any, ...]) -> tuple[str, ...]:
    """The fields up to the last that differs from its default in any row."""
    fields, defaults = rows[0]._fields, rows[0]._defaults
    count = len(fields)
    while count:
        name = fields[count - 1]
        if name not in defaults or any(getattr(row, name) != defaults[name] for row in rows):
            break
        count -= 1
    return tuple(fields[:count])


def _encode_table(rows: tuple[Any, ...], out: list[bytes], strings: dict[str, int]) -> None:
    fields = _leading_fields(rows)
    columns = [[getattr(row, field) for row in rows] for field in fields]
    plain = [all(type(v) is int and 0 <= v < 1 << 32 for v in column) for column in columns]
    head = bytes([14, _NUMBER[type(rows[0])], len(fields)]) + len(rows).to_bytes(4, "little")
    out.append(head + bytes([0 if p else 1 for p in plain]))
    for column, numbers in zip(columns, plain):
        if numbers:
            out.append(b"".join([v.to_bytes(4, "little") for v in column]))
            continue
        for value in column:
            _encode(value, out, strings)


def _encode_int(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes([0x80 | value])
    if 0 <= value < 1 << 32:
        return b"\x0c" + value.to_bytes(2, "little") if value < 1 << 16 else b"\x0d" + value.to_bytes(4, "little")
    size = value.bit_length() // 8 + 1
    head = bytes([3, size]) if size < 256 else b"\4" + size.to_bytes(4, "little")
    return head + value.to_bytes(size, "little", signed=True)


def _encode_str(text: str, strings: dict[str, int]) -> bytes:
    index = strings.get(text)
    if index is not None and index < 1 << 16:
        return bytes([0x40 | index]) if index < 64 else b"\x08" + index.to_bytes(2, "little")
    strings[text] = len(strings)
    raw = text.encode("utf-8", "surrogatepass")
    return (bytes([6, len(raw)]) if len(raw) < 256 else b"\7" + len(raw).to_bytes(4, "little")) + raw


def unpack(data: bytes) -> Any:
    """Decode what `pack` made. Raises ObjectError for anything else; every field has its declared type."""
    if data[: len(MAGIC)] != MAGIC:
        raise ObjectError("unpack object: unknown format", offset=0)
    reader = _Reader(data)
    try:
        value = reader.value(0)
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise ObjectError(f"unpack object: damaged ({error})", offset=reader.at) from None
    if reader.at != len(data):
        raise ObjectError(f"unpack object: {len(data) - reader.at} bytes too many", offset=reader.at)
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = len(MAGIC)
        self.strings: list[str] = []

    def value(self, depth: int) -> Any:
        data, at = self.data, self.at
        tag = data[at]
        self.at = at + 1
        if tag >= 0x80:
            return tag & 0x7F
        if tag >= 0x40:
            return self.strings[tag & 0x3F]
        return _READERS[tag](self, depth)

    def take(self, size: int) -> bytes:
        start = self.at
        end = start + size
        if end > len(self.data):
            raise ValueError("cut off")
        self.at = end
        return self.data[start:end]

    def u8(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self, size: int) -> str:
        text = self.take(size).decode("utf-8", "surrogatepass")
        self.strings.append(text)
        return text

    def string_ref(self, depth: int) -> str:
        return self.strings[self.number(2)]

    def values(self, count: int, depth: int) -> list[Any]:
        if count > len(self.data) - self.at or depth > _DEPTH:
            raise ValueError("cut off or too deep")
        depth += 1
        one = self.value
        return [one(depth) for _ in range(count)]

    def record(self, depth: int) -> Data:
        cls, checks = _class(self.u8())
        count = self.u8()
        row = self.values(count, depth)
        if count > len(checks):
            raise ValueError("too many fields")
        for value, check in zip(row, checks):
            if type(value) is not check[0]:
                check[1](value)
            elif check[2] is not None:
                check[2](value)
        return cls(*row)

    def table(self, depth: int) -> tuple[Data, ...]:
        cls, checks = _class(self.u8())
        width = self.u8()
        rows = self.number(4)
        kinds = self.take(width)
        if width > len(checks) or rows > len(self.data) - self.at:
            raise ValueError("too many fields or rows")
        if rows and not width:
            raise ValueError("rows without columns")
        columns: list[Any] = []
        for kind, check in zip(kinds, checks):
            if kind == 0:
                if check[0] is not int:
                    raise ValueError("a number stands where none belongs")
                columns.append(unpack_from(f"<{rows}I", self.take(rows * 4)))
                continue
            column = self.values(rows, depth)
            want, slow, deep = check
            for value in column:
                if type(value) is not want:
                    slow(value)
                elif deep is not None:
                    deep(value)
            columns.append(column)
        return tuple(_build(cls, columns))


def _build(cls: type[Data], columns: list[Any]) -> list[Data]:
    """Rows out of columns, past `Data.__init__`: a compiled object has hundreds of line records."""
    fields = cls._fields[: len(columns)]
    rest = [(name, cls._defaults[name]) for name in cls._fields[len(columns) :] if name in cls._defaults]
    if len(rest) != len(cls._fields) - len(columns):
        raise ValueError("a field without default is missing")
    new = cls.__new__
    out = [new(cls) for _ in columns[0]] if columns else []
    for name, column in zip(fields, columns):
        for row, value in zip(out, column):
            _set(row, name, value)
    for name, value in rest:
        for row in out:
            _set(row, name, value)
    return out


_Check = tuple[type, "Callable[[Any], None]", "Callable[[Any], None] | None"]
_checks: dict[int, tuple[type[Data], list[_Check]]] = {}


def _class(number: int) -> tuple[type[Data], list[_Check]]:
    found = _checks.get(number)
    if found is None:
        cls = CLASSES[number]
        found = _checks[number] = cls, [_check(cls.__annotations__[field]) for field in cls._fields]
    return found


def _check(annotation: str) -> _Check:
    """(type that passes, what to do with others, what to do with those that pass) of a field."""
    if annotation.startswith("tuple["):
        return tuple, _refuse, _tuple_check(annotation)
    main, _, other = annotation.partition(" | ")
    wanted = _type(main)
    return wanted, _refuse_unless(_type(other)) if other else _refuse, None


def _type(name: str) -> type:
    plain: dict[str, type] = {"int": int, "str": str, "bytes": bytes, "bool": bool, "None": type(None)}
    return plain.get(name) or next(cls for cls in CLASSES if cls.__name__ == name)


def _refuse(value: object) -> None:
    raise ValueError(f"a {type(value).__name__} stands in the wrong place")


def _refuse_unless(other: type) -> Callable[[Any], None]:
    def check(value: object) -> None:
        if type(value) is not other:
            _refuse(value)

    return check


def _tuple_check(annotation: str) -> Callable[[Any], None]:
    """Elements of `tuple[T, ...]`, `tuple[A, B, C]` or `tuple[tuple[A, B | C], ...]`."""
    inner = annotation[len("tuple[") : -1]
    many = inner.endswith(", ...")
    inner = inner.removesuffix(", ...")
    if inner.startswith("tuple["):
        row_check = _tuple_check(inner)

        def rows(value: tuple[Any, ...]) -> None:
            for row in value:
                if type(row) is not tuple:
                    _refuse(row)
                row_check(row)

        return rows
    kinds = [{_type(name) for name in part.split(" | ")} for part in inner.split(", ")]

    def items(value: tuple[Any, ...]) -> None:
        if not many and len(value) != len(kinds):
            _refuse(value)
        for i, item in enumerate(value):
            if type(item) not in kinds[0 if many else i]:
                _refuse(item)

    return items


def _signed(reader: _Reader, size: int) -> int:
    return int.from_bytes(reader.take(size), "little", signed=True)


_READERS: dict[int, Callable[[_Reader, int], Any]] = {
    0: lambda reader, depth: None,
    1: lambda reader, depth: False,
    2: lambda reader, depth: True,
    3: lambda reader, depth: _signed(reader, reader.u8()),
    4: lambda reader, depth: _signed(reader, reader.number(4)),
    5: lambda reader, depth: reader.take(reader.number(4)),
    6: lambda reader, depth: reader.text(reader.u8()),
    7: lambda reader, depth: reader.text(reader.number(4)),
    8: _Reader.string_ref,
    9: lambda reader, depth: tuple(reader.values(reader.u8(), depth)),
    10: lambda reader, depth: tuple(reader.values(reader.number(4), depth)),
    11: _Reader.record,
    12: lambda reader, depth: reader.number(2),
    13: lambda reader, depth: reader.number(4),
    14: _Reader.table,
}
