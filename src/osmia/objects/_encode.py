"""Python values to the bytes that a program reads, by their `ValueType`: what users put into maps and variables.

Nothing is cut to size: what does not fit its field is refused.
"""

from __future__ import annotations

from struct import error as StructError
from struct import pack

from ..errors import did_you_mean
from ._values import FLOAT_FORMATS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ._values import Field, ValueType

_ADDRESSES = {4: "IPv4", 16: "IPv6"}


class Misfit(Exception):
    """A value is not of the type: `where` in it, the `cause`, and what would do (`hint`)."""

    def __init__(self, where: str, cause: str, hint: str = "") -> None:
        super().__init__(f"{where}: {cause}")
        self.where = where
        self.cause = cause
        self.hint = hint


def encode_value(t: ValueType, value: Any, where: str = "value", *, numerals: bool = False) -> bytes:
    """The `t.size` bytes of `value`; `where` is what an error calls it. Misfit for what is not of this type.

    Numbers, bools and enumerators (by name too) as such; texts for char arrays; lists for arrays; dicts for structs
    (members that are left out are zero) and unions, or tuples with all members. Addresses of 4 and 16 bytes and MACs
    may be texts, and go in network byte order. bytes of the right size set anything. With `numerals`, texts of numbers
    are numbers ("0x10").
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        if len(data) == t.size:
            return data
        raise Misfit(where, f"{len(data)} bytes, it has {t.size}", wanted(t))
    if t.kind in ("struct", "union", "record", "tuple"):
        return _members(t, value, where, numerals)
    if t.kind == "array":
        return _array(t, value, where, numerals)
    if t.kind == "string":
        return _text(t, value, where)
    if t.kind == "float" and isinstance(value, (int, float)):
        return _float(t, value, where)
    if t.kind in ("int", "bool", "enum", "pointer"):
        return _scalar(t, value, where, numerals)
    raise Misfit(where, f"a {t.kind} cannot be set to {_shown(value)}", wanted(t))


def wanted(t: ValueType) -> str:
    """What a value of this type may be given as."""
    size = f"{t.size} bytes"
    if t.kind == "tuple":
        return f"give a tuple of {len(t.fields)}"
    if t.kind in ("struct", "record", "union"):
        names = ", ".join(f.name for f in t.fields[:8]) + (", ..." if len(t.fields) > 8 else "")
        what = f"{t.kind} {t.name}".strip()
        return f"{what} takes a dict ({names})" + ("" if t.kind == "union" else ", a tuple") + f" or {size}"
    if t.kind == "array":
        return f"give a list of {t.count}, or {size}"
    if t.kind == "string":
        return f"give a text of less than {size}"
    if t.kind == "enum":
        return "one of " + ", ".join(name for _, name in t.values[:8])
    if t.kind == "bool":
        return "give True or False"
    if t.kind in ("int", "pointer"):
        return "give a number" + (", or an IPv4 address" if t.kind == "int" and t.size == 4 and not t.signed else "")
    if t.kind == "float":
        return "give a number"
    return f"give {size}"


def fits(number: int, size: int, signed: bool | None) -> bool:
    """Whether a number goes into `size` bytes; `signed` None takes both readings."""
    low = -1 << 8 * size - 1 if signed is not False else 0
    high = 1 << 8 * size - (1 if signed else 0)
    return low <= number < high


def limits(size: int, signed: bool) -> str:
    """The numbers that `size` bytes hold."""
    return f"{-1 << 8 * size - 1} to {(1 << 8 * size - 1) - 1}" if signed else f"0 to {(1 << 8 * size) - 1}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"a {type(value).__name__}"


def _scalar(t: ValueType, value: Any, where: str, numerals: bool) -> bytes:
    size = t.size or 8
    number = _number(t, value, where, numerals)
    if isinstance(number, bytes):
        return number
    # Compilers before clang 16 do not say whether an enumeration is signed.
    signed = None if t.kind == "enum" else t.signed
    high = 1 if t.kind == "bool" else None
    if not fits(number, size, signed) or (high is not None and not 0 <= number <= high):
        raise Misfit(where, f"{number} is not from {'0 to 1' if high else limits(size, t.signed)}")
    return (number & (1 << 8 * size) - 1).to_bytes(size, "little")


def _number(t: ValueType, value: Any, where: str, numerals: bool) -> int | bytes:
    """A number; or, of an address, its bytes."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        names = {name: number for number, name in t.values}
        if t.kind == "bool":
            names = {"true": 1, "false": 0}
        if value in names:
            return names[value]
        number = _numeral(value) if numerals else None
        if number is not None:
            return number
        if names:
            raise Misfit(where, f"cannot read {value!r}", f"one of {', '.join(names)}")
    if t.kind == "int" and t.size == 4 and not t.signed:
        return _address(value, 4, where, t)
    if isinstance(value, str) and numerals:
        raise Misfit(where, f"cannot read {value!r}", "it is a number")
    raise Misfit(where, f"{_shown(value)} is {type(value).__name__}", wanted(t))


def _numeral(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None  # an address, perhaps


def _address(value: Any, size: int, where: str, t: ValueType) -> bytes:
    """Network byte order: as packets have it."""
    if size not in _ADDRESSES:
        raise Misfit(where, f"{_shown(value)} is {type(value).__name__}", wanted(t))
    packed = getattr(value, "packed", None)  # of the standard library's ipaddress
    if isinstance(packed, bytes) and len(packed) == size:
        return packed
    if isinstance(value, str):
        found = packed_address(value)
        if len(found) == size:
            return found
        raise Misfit(where, f"cannot read {value!r} as an {_ADDRESSES[size]} address", wanted(t))
    raise Misfit(where, f"{_shown(value)} is {type(value).__name__}", wanted(t))


def packed_address(text: str) -> bytes:
    """The bytes of an IPv4 or IPv6 address; b"" for another text."""
    from _socket import inet_pton

    for family in (2, 10):  # AF_INET, AF_INET6
        try:
            return inet_pton(family, text)
        except (OSError, ValueError):
            continue
    return b""


def encode_prefix(size: int, text: str, where: str) -> bytes:
    """A key of a prefix tree (u32 length in bits, address) of "10.0.0.0/8"; without a length it is all of the address.

    Misfit where that is no network, or not as long as the key.
    """
    address, slash, bits = text.partition("/")
    packed = packed_address(address)
    length = 8 * len(packed) if not slash else int(bits) if bits.isascii() and bits.isdigit() else -1
    if not packed or not 0 <= length <= 8 * len(packed):
        raise Misfit(where, f"{text!r} is no network", 'give "10.0.0.0/8", (8, "10.0.0.0"), or a dict')
    if 4 + len(packed) != size:
        raise Misfit(where, f"{text!r} needs a key of {4 + len(packed)} bytes, it has {size}", "give a dict, or bytes")
    return length.to_bytes(4, "little") + packed


def _text(t: ValueType, value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise Misfit(where, f"{_shown(value)} is {type(value).__name__}", wanted(t))
    data = value.encode("utf-8", "surrogateescape")
    if len(data) >= t.size:
        raise Misfit(where, f"{len(data)} bytes of text, there is room for {t.size - 1}")
    return data.ljust(t.size, b"\0")


def _float(t: ValueType, value: float, where: str) -> bytes:
    code = FLOAT_FORMATS.get(t.name, "")
    if not code:
        raise Misfit(where, f"a {t.name} cannot be set to a number", f"give {t.size} bytes")
    try:
        return pack("<" + code, value)
    except (StructError, OverflowError):
        raise Misfit(where, f"{value!r} does not fit a {t.name}") from None


def _array(t: ValueType, value: Any, where: str, numerals: bool) -> bytes:
    element = t.element
    if element is None:
        return bytes(t.size)
    if isinstance(value, str) or hasattr(value, "packed"):
        return _array_of_text(t, value, where)
    if not isinstance(value, (list, tuple)):
        raise Misfit(where, f"{_shown(value)} is {type(value).__name__}", wanted(t))
    if len(value) != t.count:
        raise Misfit(where, f"{len(value)} elements, it has {t.count}", wanted(t))
    data = b"".join(encode_value(element, item, f"{where}[{i}]", numerals=numerals) for i, item in enumerate(value))
    return data.ljust(t.size, b"\0")


def _array_of_text(t: ValueType, value: Any, where: str) -> bytes:
    octets = t.element is not None and t.element.kind == "int" and t.element.size == 1
    if octets and t.size == 6:
        parts = value.split(":") if isinstance(value, str) else []
        try:
            data = bytes.fromhex("".join(parts)) if all(len(p) == 2 for p in parts) else b""
        except ValueError:
            data = b""
        if len(data) == 6:
            return data
        raise Misfit(where, f"{value!r} is no MAC address", 'give "02:00:00:00:00:01", or 6 bytes')
    if t.size in _ADDRESSES and t.element is not None and t.element.kind == "int":
        return _address(value, t.size, where, t)
    raise Misfit(where, f"{_shown(value)} is {type(value).__name__}", wanted(t))


def _members(t: ValueType, value: Any, where: str, numerals: bool) -> bytes:
    if t.name in ("in_addr", "in6_addr") and (isinstance(value, str) or hasattr(value, "packed")):
        return _address(value, t.size, where, t)
    out = bytearray(t.size)
    for field, item in _pairs(t, value, where):
        _put(out, field, item, f"{where}.{field.name}", numerals)
    return bytes(out)


def _pairs(t: ValueType, value: Any, where: str) -> Iterable[tuple[Field, Any]]:
    if isinstance(value, (tuple, list)) and (t.kind != "union" or hasattr(value, "_fields")):
        if len(value) != len(t.fields):
            raise Misfit(where, f"{len(value)} values, it has {len(t.fields)} members", wanted(t))
        return zip(t.fields, value)
    if not hasattr(value, "keys"):
        raise Misfit(where, f"{_shown(value)} is {type(value).__name__}", wanted(t))
    known = {f.name: f for f in t.fields}
    for name in value:
        if name not in known:
            raise Misfit(where, f"it has no member {name!r}", did_you_mean(name, known) or wanted(t))
    if t.kind == "union" and len(value) > 1:
        raise Misfit(where, f"{len(value)} members of a union are given", "give one of them")
    pairs: Mapping[str, Any] = value
    return [(known[name], item) for name, item in pairs.items()]


def _put(out: bytearray, field: Field, value: Any, where: str, numerals: bool) -> None:
    t = field.type
    if not field.bits:
        data = encode_value(t, value, where, numerals=numerals)
        out[field.offset : field.offset + len(data)] = data
        return
    if not isinstance(value, int):
        raise Misfit(where, f"{_shown(value)} is {type(value).__name__}", "give a number")
    low, high = (-1 << field.bits - 1, (1 << field.bits - 1) - 1) if t.signed else (0, (1 << field.bits) - 1)
    if not low <= value <= high:
        raise Misfit(where, f"{value} is not from {low} to {high}")
    word = int.from_bytes(out[field.offset : field.offset + t.size], "little")
    mask = (1 << field.bits) - 1 << field.bit_offset
    word = word & ~mask | value << field.bit_offset & mask
    out[field.offset : field.offset + t.size] = word.to_bytes(t.size, "little")
