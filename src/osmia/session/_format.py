"""Values as text, and printf formats.

The conversions are those of the bpftrace language: C's for numbers, `%s` for any value, `%r` `%rx` `%rh` for bytes.
A number is cut to the width that its length modifier says (int without one), as C does.
"""

from __future__ import annotations

from ._model import Array, Record, Stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..objects import Field

FLAGS = "-+ #0"
LENGTHS = {"hh": 1, "h": 2, "": 4, "l": 8, "ll": 8, "j": 8, "z": 8, "t": 8, "L": 8}
MAX_WIDTH = 65535
CONVERSIONS = ("rx", "rh", "gr", "r", "d", "i", "u", "o", "x", "X", "c", "s", "p", *"eEfFgG")


def escape_bytes(data: bytes) -> str:
    """Printable ASCII as it is, other bytes as \\xNN."""
    return "".join(chr(b) if 32 <= b <= 126 else f"\\x{b:02x}" for b in data)


def render(value: Any) -> str:
    """A value as the bpftrace language prints it."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is bytes:
        return escape_bytes(value)
    if kind is Array:
        return "[" + ",".join([render(v) for v in value]) + "]"
    if kind is tuple:
        return "(" + ", ".join([render(v) for v in value]) + ")"
    if value is None:
        return "null"
    if isinstance(value, Record):
        return _members(zip(value._fields, value))
    if kind is Stats:
        return _members((("count", value.count), ("average", value.average), ("total", value.total)))
    return str(value)


def _members(pairs: Any) -> str:
    inside = ", ".join([f".{name} = {render(v)}" for name, v in pairs])
    return f"{{ {inside} }}" if inside else "{}"


def compile_format(text: str, fields: tuple[Field, ...]) -> Callable[[tuple[Any, ...]], str]:
    """`format(args)` for a printf format whose arguments are `fields`."""
    pattern: list[str] = []
    convert: list[Callable[[Any], Any] | None] = []
    at = 0
    while True:
        start = text.find("%", at)
        if start < 0:
            pattern.append(text[at:])
            break
        pattern.append(text[at:start])
        at, piece, function = _conversion(text, start, fields[len(convert)] if len(convert) < len(fields) else None)
        pattern.append(piece)
        if piece not in ("%%",):
            convert.append(function)
    template = "".join(pattern)
    if not convert:
        constant = template % ()
        return lambda args: constant
    if not any(convert):
        return lambda args: template % args
    if len(convert) == 1 and convert[0]:
        only = convert[0]
        return lambda args: template % only(args[0])
    steps = tuple(convert)
    return lambda args: template % tuple([f(a) if f else a for f, a in zip(steps, args)])


def _conversion(text: str, start: int, field: Field | None) -> tuple[int, str, Callable[[Any], Any] | None]:
    """One conversion at `start`: where it ends, its piece of a Python format, and what to do to the argument first."""
    at = start + 1
    while at < len(text) and text[at] in FLAGS:
        at += 1
    flags = text[start + 1 : at]
    digits = at
    while at < len(text) and (text[at].isdigit() or text[at] == "."):
        at += 1
    width, point, precision = text[digits:at].partition(".")
    if width:
        width = str(min(int(width[:9]), MAX_WIDTH))
    if point:
        width += f".{min(int(precision.partition('.')[0][:9] or 0), MAX_WIDTH)}"
    digits = at
    while at < len(text) and text[at] in "hlLjzt":
        at += 1
    length = text[digits:at]
    if text[at : at + 1] == "%":
        return at + 1, "%%", None
    conversion = next((c for c in CONVERSIONS if text.startswith(c, at)), "")
    if not conversion or field is None or length not in LENGTHS:
        return start + 1, "%%", None  # not a conversion: the sign stands for itself
    return at + len(conversion), *_piece(flags, width, length, conversion, field)


def _piece(
    flags: str, width: str, length: str, conversion: str, field: Field
) -> tuple[str, Callable[[Any], Any] | None]:
    left = "-" if "-" in flags else ""
    if conversion in "diuxXo":
        signed = conversion in "di"
        zero = "" if "." in width else "0"  # C: with a precision, it alone says how many digits there are
        keep = "".join(
            f for f in flags if f in f"-{zero}" or (f in "+ " and signed) or (f == "#" and conversion in "xX")
        )
        what = "d" if signed or conversion == "u" else conversion
        function = _integer(LENGTHS[length], signed, field)
        if conversion == "o" and "#" in flags:
            return f"%{left}{width.partition('.')[0]}s", lambda v, f=function: _octal(f(v) if f else int(v))
        return f"%{keep}{width}{what}", function
    if conversion == "s":
        return f"%{left}{width}s", None if field.type.kind == "string" else render
    if conversion in "eEfFgG":
        return f"%{flags}{width}{conversion}", float
    text = f"%{left}{width.partition('.')[0]}s"
    if conversion == "c":
        return text, lambda v: bytes([v & 0xFF]).decode("utf-8", "surrogateescape")
    if conversion == "p":
        return text, lambda v: f"0x{int(v):x}" if v else "0"
    if conversion == "gr":
        from ._gfp import gfp_flags

        return text, gfp_flags
    if conversion == "rx":
        return text, lambda v: "".join(f"\\x{b:02x}" for b in v)
    if conversion == "rh":
        return text, lambda v: v.hex(" ")
    return text, render


def _octal(value: int) -> str:
    return f"0{value:o}" if value else "0"


def _integer(size: int, signed: bool, field: Field) -> Callable[[Any], int] | None:
    """Cut to `size` bytes; None where the argument always fits as it is."""
    t = field.type
    bits = field.bits or 8 * t.size
    if t.kind == "int" and (t.signed == signed or not t.signed) and bits <= 8 * size - (signed and not t.signed):
        return None
    mask, sign = (1 << 8 * size) - 1, 1 << (8 * size - 1)
    if not signed:
        return lambda v: int(v) & mask
    return lambda v: ((int(v) & mask) ^ sign) - sign
