"""Numbers as written in probes: `0x1f`, `1_000`, `1e6`, `10ms`, `5ULL`."""

from __future__ import annotations

_SUFFIXES = {
    "": 1, "u": 1, "l": 1, "ul": 1, "ll": 1, "ull": 1,
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9,
}  # fmt: skip
_LIMITS = {"u": 1 << 32, "l": 1 << 63, "ll": 1 << 63}
_DIGITS = "0123456789abcdef"


def parse_uint(text: str) -> int | None:
    """The value of an unsigned literal (durations in nanoseconds), or None when `text` is not a number.

    Raises OverflowError for a number that does not fit in 64 bits or in the type that its suffix names.
    """
    digits = text.replace("_", "").lower()
    base = 10
    if digits[:2] in ("0x", "0b"):
        base = 16 if digits[1] == "x" else 2
        digits = digits[2:]
    elif len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567":
        base = 8
        digits = digits[1:]
    end = 0
    while end < len(digits) and digits[end] in _DIGITS[:base]:
        end += 1
    if not end:
        return None
    value = int(digits[:end], base)
    suffix = digits[end:]
    if base == 10 and suffix[:1] == "e" and suffix[1:2].isdigit():
        end = 1
        while end < len(suffix) and suffix[end].isdigit():
            end += 1
        exponent = int(suffix[1:end])
        if exponent > 19 and value:
            raise OverflowError(text)
        value *= 10**exponent
        suffix = suffix[end:]
    if suffix not in _SUFFIXES:
        return None
    value *= _SUFFIXES[suffix]
    if value >= _LIMITS.get(suffix, 1 << 64):
        raise OverflowError(text)
    return value
