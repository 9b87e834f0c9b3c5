"""Kernel clocks to wall-clock text."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NSEC = 1_000_000_000
# Seconds between TAI and UTC, where the kernel was not told (its CLOCK_TAI equals UTC then).
CLOCK_TAI = 11


def wall_offset(clock: int) -> int:
    """Nanoseconds to add to a reading of `clock` for the time of day: the best of five readings."""
    best, offset = NSEC, 0
    for _ in range(5):
        before = time.clock_gettime_ns(clock)
        wall = time.time_ns()
        after = time.clock_gettime_ns(clock)
        if after - before < best:
            best, offset = after - before, wall - (before + after) // 2
    return offset


def offset_of(mode: str) -> int:
    """Nanoseconds to add to a time of the clock `mode` for the time of day."""
    if mode in ("boot", ""):
        return wall_offset(time.CLOCK_BOOTTIME)
    if mode == "monotonic":
        return wall_offset(time.CLOCK_MONOTONIC)
    return 0  # tai and sw_tai are times of day already; strftime() of the language prints them as they are


def formatter(text: str, offset: int) -> Callable[[int], str]:
    """`format(nanoseconds)`: strftime in local time, with %f microseconds, %k nanoseconds, %l milliseconds.

    `offset` is that of `offset_of`.
    """
    fraction = "%f" in text or "%k" in text or "%l" in text

    def format(nanoseconds: int) -> str:
        seconds, rest = divmod(nanoseconds + offset, NSEC)
        pattern = text
        if fraction:
            pattern = pattern.replace("%f", f"{rest // 1000:06}")
            pattern = pattern.replace("%k", f"{rest:09}").replace("%l", f"{rest // 1_000_000:03}")
        return time.strftime(pattern, time.localtime(seconds))

    return format
