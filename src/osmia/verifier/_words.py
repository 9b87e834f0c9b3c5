"""What older kernels said in other words: the last line of a refusal, as the version at hand writes it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# Before this version, a line that matches is written so. Read off the logs of 6.1 and 6.12.
_LINES: tuple[tuple[tuple[int, int], str, str], ...] = (
    ((6, 13), r"^expected prog array map for tail call$", "kernel subsystem misconfigured verifier"),
    ((6, 10), r"^program of this type cannot use helper (\S+)$", r"unknown func \1"),
    ((6, 8), r"^R\d+ (invalid zero-sized read): .*$", r"\1"),
    ((6, 8), r"^(misaligned \w+ access off) (-?\d+)\+", "bits"),
    (
        (6, 8),
        r"^(At program exit the register R0 has) smin=(-?\d+) smax=\2 (should have been in) \[(\d), (\d)\]$",
        "result",
    ),
    ((6, 8), r"^(At program exit the register R0 has unknown .* been in) \[(\d), (\d)\]$", "unknown result"),
    ((6, 3), r", trusted_ptr_.*$", ""),
    ((6, 2), r"\bringbuf_mem, ", "alloc_mem, "),
    ((6, 2), r"\bringbuf_mem", "alloc_mem"),
)
LEAK = "BPF_EXIT instruction in main prog would lead to reference leak"


def as_said(message: str, version: tuple[int, int], before: str) -> str:
    """The message in that version's words; `before` is the line of the log in front of it."""
    if message == LEAK and version < (6, 13) and before.startswith("Unreleased reference"):
        return before
    import re

    for until, pattern, words in _LINES:
        if version < until:
            message = re.sub(pattern, _MADE.get(words, words), message)
    return message


def _bits(match: re.Match[str]) -> str:
    """Known offsets were written as known bits."""
    return f"{match[1]} ({int(match[2]) & (1 << 64) - 1:#x}; 0x0)+"


def _result(match: re.Match[str]) -> str:
    return f"{match[1]} value ({int(match[2]) & (1 << 64) - 1:#x}; 0x0) {match[3]} {_range(match[4], match[5])}"


def _unknown_result(match: re.Match[str]) -> str:
    return f"{match[1]} {_range(match[2], match[3])}"


def _range(low: str, high: str) -> str:
    """0..1, 0..3 or one number, written as known bits."""
    return f"({int(low):#x}; {int(low) ^ int(high):#x})"


_MADE = {"bits": _bits, "result": _result, "unknown result": _unknown_result}
