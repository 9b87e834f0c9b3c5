"""Names of code that a JIT made: /tmp/perf-PID.map, as node --perf-basic-prof, java and python -X perf write it."""

from __future__ import annotations

import os
from bisect import bisect_right

LIMIT = 256 << 20  # bytes; a process of somebody else's must not fill our memory


class PerfMap:
    """The perf map file at `path`, read when first asked and again whenever it grew."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] = (0, 0, 0)
        self._starts: list[int] = []
        self._rows: dict[int, tuple[int, str]] = {}

    def find(self, address: int) -> tuple[str, int, int] | None:
        """(name, start, size) of the code at `address`; where ranges overlap, the one written last."""
        self._update()
        at = bisect_right(self._starts, address) - 1
        for i in range(at, max(at - 8, -1), -1):
            start = self._starts[i]
            size, name = self._rows[start]
            if address < start + size:
                return name, start, size
        return None

    def _update(self) -> None:
        try:
            status = os.stat(self.path)
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp == self._stamp:
                return
            with open(self.path, encoding="utf-8", errors="replace") as file:
                text = file.read(LIMIT)
        except OSError:
            return  # not there (yet), or gone with its process: what was read remains true
        self._stamp = stamp
        rows = {}
        for line in text.split("\n")[: -1 if not text.endswith("\n") else None]:
            # A last line without a newline is still being written.
            fields = line.split(" ", 2)
            if len(fields) == 3:
                try:
                    rows[int(fields[0], 16)] = (int(fields[1], 16), fields[2])
                except ValueError:
                    continue  # not in the format: somebody else's line
        self._rows = rows
        self._starts = sorted(rows)
