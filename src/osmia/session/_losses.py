"""What programs could not hand over, counted by themselves: events by probe, updates by map, stacks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Object
    from .target import LoadedMap


class Losses:
    """Reads u64 counters: one per name in `Object.probe_names`, one per script map that was full, one for stacks.

    They lie in one element of a data section, or in one element each of a per-CPU array.
    """

    def __init__(self, counters: LoadedMap, obj: Object) -> None:
        self._map = counters
        self._section = any(m.name == obj.loss and m.contents is not None for m in obj.maps)
        self._probes = obj.probe_names
        self._maps = tuple(f.name for f in obj.map_formats)
        self._seen: dict[str, int] = {}

    def _counters(self) -> list[int]:
        elements = sorted(self._map.items())
        if self._section:
            return memoryview(elements[0][1]).cast("Q").tolist()
        return [sum(memoryview(copies).cast("Q")) for _key, copies in elements]

    def total(self) -> dict[str, int]:
        """Probe -> lost events since the start; probes that lost none are left out."""
        return _named(self._probes, self._counters())

    def maps(self) -> dict[str, int]:
        """Map -> updates that were lost because it was full."""
        return _named(self._maps, self._counters()[len(self._probes) :])

    def stacks(self) -> int:
        """Stacks that were not recorded because there was no room for more."""
        rest = self._counters()[len(self._probes) + len(self._maps) :]
        return rest[0] if rest else 0

    def new(self) -> dict[str, int]:
        """Probe -> lost events since the last call."""
        now = self.total()
        seen, self._seen = self._seen, now
        return {name: count - seen.get(name, 0) for name, count in now.items() if count > seen.get(name, 0)}


def _named(names: tuple[str, ...], counts: list[int]) -> dict[str, int]:
    return {name: count for name, count in zip(names, counts) if count}


def hidden_addresses(path: str = "/proc/kallsyms") -> str:
    """Why kernel addresses find no names here, and what to do; "" where they do."""
    try:
        with open(path, "rb") as file:
            # A few hundred symbols: those of variables of each CPU, which come first, may be at 0 or close to it.
            shown = any(line[:16].strip(b"0") for line in file.read(16384).splitlines() if line[16:17] == b" ")
    except OSError:
        return ""  # resolving them says what is wrong
    if shown:
        return ""
    from ..syscalls import effective_capabilities, grant_command, sysctl

    text = "kernel addresses stay numbers, since /proc/kallsyms hides them: "
    restrict = sysctl("kernel.kptr_restrict")
    if "CAP_SYSLOG" not in effective_capabilities():
        return f"{text}CAP_SYSLOG is missing (run it with sudo, or grant it: {grant_command('CAP_SYSLOG')})"
    if restrict == 2:
        return f"{text}kernel.kptr_restrict is 2 (sudo sysctl kernel.kptr_restrict=1)"
    return f"{text}CAP_SYSLOG is held and kernel.kptr_restrict is {restrict}, so something else does"
