"""Wildcards of probes: `*`, `?` and `[...]`."""

from __future__ import annotations

from ..errors import ProbeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def has_wildcard(text: str) -> bool:
    """Whether `text` is a pattern. An empty `[]` is the C++ operator, not a set of characters."""
    if "*" in text or "?" in text:
        return True
    left = text.find("[")
    return left >= 0 and text.find("]", left + 2) > 0


def matcher(pattern: str) -> Callable[[str], object]:
    """A function that says whether a name matches the whole of `pattern`."""
    if pattern == "*":
        return lambda name: True
    if not has_wildcard(pattern):
        return pattern.__eq__
    middle = pattern[1:-1]
    if not has_wildcard(middle) and "]" not in pattern and "[" not in pattern:
        # The usual shapes without a regular expression: importing `re` costs 8 ms.
        head, tail = pattern[0], pattern[-1]
        if head == "*" and tail == "*":
            return lambda name: middle in name
        if head == "*" and tail != "?":
            return lambda name: name.endswith(pattern[1:])
        if tail == "*" and head != "?":
            return lambda name: name.startswith(pattern[:-1])
    import re

    try:
        return re.compile(to_regex(pattern), re.S).fullmatch
    except re.error as error:
        raise ProbeError(f"read pattern {pattern!r}: {error}", probe=pattern) from None


def to_regex(pattern: str) -> str:
    """The pattern as the text of a regular expression (not anchored)."""
    import re

    out = []
    i = 0
    while i < len(pattern):
        c = pattern[i]
        i += 1
        if c == "*":
            out.append(".*")
        elif c == "?":
            out.append(".")
        elif c == "[" and (end := pattern.find("]", i + 1)) > 0:
            inside = pattern[i:end].replace("\\", "\\\\").replace("[", "\\[").replace("&", "\\&")
            if inside[0] == "!":
                inside = "^" + inside[1:]
            elif inside[0] == "^":
                inside = "\\" + inside
            out.append(f"[{inside}]")
            i = end + 1
        else:
            out.append(re.escape(c))
    return "".join(out)
