"""Time series: a graph of lines in text, points in JSON."""

from __future__ import annotations

from ..session import TimeSeries

WIDTH = 53
NSEC = 1_000_000_000
UNITS = ((NSEC, "", 0), (1_000_000, ".ms", 3), (1_000, ".us", 6), (1, ".ns", 9))


def _clock(nanoseconds: int, pattern: str) -> str:
    import time

    return time.strftime(pattern, time.localtime(nanoseconds // NSEC))


def time_series(series: TimeSeries) -> str:
    """One line an interval: its start, a star at the value's place between least and greatest, the value."""
    values = [value for _start, value in series.points if value is not None]
    if not values:
        return "<no data>"
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 1 if low else low, high + 1
    scale, suffix, digits = next(unit for unit in UNITS if series.interval % unit[0] == 0)
    head = "hh:mm:ss" + suffix
    size = len("hh:mm:ss") + (1 + digits if digits else 0)
    ends = " " * (size + 1) + f"{low:<21}{high:>{WIDTH - 21}}\n"
    lines = [ends, f"{head:<{size + 1}}|{'_' * (WIDTH - 2)}|\n"]
    zero = WIDTH * -low // (high - low) if low < 0 < high else 0
    for start, value in series.points:
        row = list("|" + " " * (WIDTH - 2) + "|")
        if zero:
            row[zero] = "."
        if value is not None:
            row[min(WIDTH - 1, (WIDTH - 1) * (value - low) // (high - low))] = "*"
        fraction = f".{start % NSEC // scale:0{digits}}" if digits else ""
        shown = "-" if value is None else value
        lines.append(f"{_clock(start, '%H:%M:%S')}{fraction} {''.join(row)} {shown}\n")
    lines.append(" " * (size + 1) + "v" + "_" * (WIDTH - 2) + "v\n")
    return "".join([*lines, ends])


def json_points(series: TimeSeries) -> str:
    """[{"interval_start": "date time", "value": number}, ...]; intervals without a value are left out."""
    points = []
    for start, value in series.points:
        if value is not None:
            begin = f"{_clock(start, '%Y-%m-%d %H:%M:%S')}.{start % NSEC:09}"
            points.append(f'{{"interval_start": "{begin}", "value": {value}}}')
    return "[" + ",".join(points) + "]"
