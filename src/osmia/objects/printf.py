"""Format strings of printf and its kin, parsed once for the compiler (checks) and the session (printing)."""

from __future__ import annotations

from .._data import Data

_FLAGS = "-+ #0"
_LENGTHS = "hlLjzt"
_ONE = "diouxXeEfFGaAcsnpg"
# Conversions that printf of the bpftrace language takes; "s" takes anything.
NUMBERS = frozenset(("d", "i", "u", "o", "x", "X", "c", "p", "gr"))
FLOATS = frozenset("eEfFgG")  # floating-point numbers alone
BUFFERS = frozenset(("r", "rx", "rh"))


class FormatItem(Data):
    """Literal text (`conversion` empty), or a conversion such as `%-10lld`.

    `flags` holds those of "-+ #0" that were given, `width` and `precision` are -1 when not given (`*` is ignored),
    `length` is "hh", "h", "l", "ll", ... or empty; `conversion` is the letter, or r, rx, rh (buffers), gr (GFP flags).
    """

    text: str
    conversion: str = ""
    flags: str = ""
    width: int = -1
    precision: int = -1
    length: str = ""


def parse_format(text: str) -> list[FormatItem]:
    """Split a format string. `%%` becomes text; a `%` that starts no conversion stays text, as C's printf prints it."""
    items: list[FormatItem] = []
    literal = ""
    at = 0
    while True:
        percent = text.find("%", at)
        if percent < 0:
            literal += text[at:]
            break
        literal += text[at:percent]
        if text[percent + 1 : percent + 2] == "%":
            literal += "%"
            at = percent + 2
            continue
        found = _conversion(text, percent)
        if found is None:
            literal += "%"
            at = percent + 1
            continue
        item, at = found
        if literal:
            items.append(FormatItem(literal))
            literal = ""
        items.append(item)
    if literal:
        items.append(FormatItem(literal))
    return items


def _conversion(text: str, start: int) -> tuple[FormatItem, int] | None:
    """The conversion at the percent sign at `start` and the position after it."""
    at = start + 1
    end = len(text)
    while at < end and text[at] in _FLAGS:
        at += 1
    flags = text[start + 1 : at]
    width, at = _number(text, at)
    precision = -1
    if at < end and text[at] == ".":
        precision, at = _number(text, at + 1)
        precision = max(precision, 0)
    first = at
    while at < end and text[at] in _LENGTHS:
        at += 1
    length = text[first:at]
    letter = text[at : at + 1]
    if letter == "r":
        letter = text[at : at + 2] if text[at + 1 : at + 2] in ("x", "h") else "r"
    elif letter == "g" and text[at + 1 : at + 2] == "r":
        letter = "gr"
    elif not letter or letter not in _ONE:
        return None
    at += len(letter)
    return FormatItem(text[start:at], letter, flags, width, precision, length), at


def _number(text: str, at: int) -> tuple[int, int]:
    start = at
    if text[at : at + 1] == "*":
        return -1, at + 1
    while text[at : at + 1].isdigit():
        at += 1
    return (min(int(text[start:at]), 65535) if at > start else -1), at
