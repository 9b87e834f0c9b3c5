"""What a probe specification matched on this machine, and how that becomes attach points."""

from __future__ import annotations

from .._data import Data
from ..objects import AttachPoint
from ._names import HARDWARE, SOFTWARE
from ._spec import ProbeSpec


class Location(Data):
    """One place in a file where a user probe goes.

    `offset` is the FILE offset, `address` the address as the ELF file lays it out, `ref_ctr_offset` the file offset
    of a USDT semaphore (0: none), `args` the text that says where a USDT probe's arguments are.
    """

    offset: int
    address: int = 0
    ref_ctr_offset: int = 0
    args: str = ""


class Match(Data):
    """One probe that exists. `target`, `function` and `namespace` mean what they do in `ProbeSpec`, without wildcards.

    `name` is the full canonical name. `locations` are set for uprobe, uretprobe and usdt (one name may stand in several
    places). `note` tells what was changed silently, e.g. a function that newer kernels call something else.
    """

    spec: ProbeSpec
    name: str
    target: str = ""
    function: str = ""
    namespace: str = ""
    locations: tuple[Location, ...] = ()
    note: str = ""

    @property
    def provider(self) -> str:
        """The provider's full name."""
        return self.spec.provider

    def attach_points(self, program: str = "", *, pid: int = 0, source: int = -1) -> tuple[AttachPoint, ...]:
        """Where `program` is to be attached: one attach point, or one a location."""
        spec = self.spec
        base = AttachPoint(spec.provider, program, self.name, self.target, self.function, pid=pid, source=source)
        if self.locations:
            function = f"{self.namespace}:{self.function}" if spec.provider == "usdt" else self.function
            base = base.replace(target=_attach_path(self.target), function=function)
            return tuple(
                base.replace(offset=p.offset, address=p.address, ref_ctr_offset=p.ref_ctr_offset)
                for p in self.locations
            )
        if spec.provider in ("interval", "profile"):
            return (base.replace(period=spec.period, frequency=spec.frequency),)
        if spec.provider in ("software", "hardware"):
            canonical, _, count = (SOFTWARE if spec.provider == "software" else HARDWARE)[self.function]
            return (base.replace(function=canonical, period=spec.count or count),)
        if spec.provider in ("watchpoint", "asyncwatchpoint"):
            return (base.replace(address=spec.address or 0, length=spec.length, mode=spec.mode),)
        return (base.replace(offset=spec.offset, address=spec.address or 0, pin=spec.pin),)


def _attach_path(path: str) -> str:
    """The file that the kernel is told: of a library in an archive, the archive."""
    return path.partition("!/")[0]


def attach_multi(matches: list[Match], program: str = "", *, pid: int = 0, source: int = -1) -> tuple[AttachPoint, ...]:
    """As few attach points as multi links allow: one for all kernel functions, one a file for user functions.

    For kprobe, kretprobe, uprobe and uretprobe; names that share an address are probed once.
    Others as `Match.attach_points`.
    """
    points: list[AttachPoint] = []
    groups: dict[tuple[str, str], list[Match]] = {}
    for match in matches:
        spec = match.spec
        kernel = spec.provider in ("kprobe", "kretprobe") and not spec.offset and spec.address is None
        if kernel:
            groups.setdefault((spec.provider, ""), []).append(match)
        elif spec.provider in ("uprobe", "uretprobe"):
            groups.setdefault((spec.provider, match.target), []).append(match)
        else:
            points += match.attach_points(program, pid=pid, source=source)
    for (provider, target), group in groups.items():
        if len(group) == 1 and len(group[0].locations) < 2:
            points += group[0].attach_points(program, pid=pid, source=source)
            continue
        name = group[0].name if len(group) == 1 else group[0].spec.name
        functions = [m.function for m in group]
        offsets: tuple[int, ...] = ()
        if target:
            by_offset = {where.offset: m.function for m in reversed(group) for where in m.locations}
            offsets = tuple(sorted(by_offset))
            functions = [by_offset[offset] for offset in offsets]
        else:
            functions = list(dict.fromkeys(functions))
        points.append(
            AttachPoint(
                provider,
                program,
                name,
                _attach_path(target),
                pid=pid,
                source=source,
                functions=tuple(functions),
                offsets=offsets,
            )
        )
    return tuple(points)
