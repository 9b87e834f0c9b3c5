"""Events that a program could not hand over, counted by the program itself, per probe."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._target import LoadedMap


class Losses:
    """Reads a per-CPU array of u64 counters, one per name in `probes`."""

    def __init__(self, counters: LoadedMap, probes: Sequence[str]) -> None:
        self._map = counters
        self._probes = probes
        self._seen: dict[str, int] = {}

    def total(self) -> dict[str, int]:
        """Probe -> lost events since the start; probes that lost none are left out."""
        lost: dict[str, int] = {}
        for key, copies in self._map.items():
            count = sum(memoryview(copies).cast("Q"))
            if count:
                index = int.from_bytes(key, "little")
                name = self._probes[index] if index < len(self._probes) else ""
                lost[name] = lost.get(name, 0) + count
        return lost

    def new(self) -> dict[str, int]:
        """Probe -> lost events since the last call."""
        now = self.total()
        fresh = {
            name: count - self._seen.get(name, 0) for name, count in now.items() if count > self._seen.get(name, 0)
        }
        self._seen = now
        return fresh
