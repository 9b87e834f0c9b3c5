"""User space as a target: load an `Object` into a machine of its own."""

from __future__ import annotations

import os

from .. import syscalls
from ..errors import CacheError, ObjectError, UsageError
from ..isa.map_types import ARRAY_OF_MAPS, HASH_OF_MAPS, PROG_ARRAY
from ._code import Code
from ._loaded import LoadedVm
from ._machine import Machine
from ._map import create_from_spec, object_types
from ._memory import DEFAULT_LIMIT
from ._oversight import Oversight
from ._program import VmProgram
from ._verdicts import require_verdict
from ._world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Self

    from ..objects import Cache, MapSpec, Object, ProgramSpec
    from ..verifier import Policy
    from ._machine import Helper
    from ._oversight import Quota
    from ._sources import Source


class VmTarget:
    """User space as a target: each `load` makes a machine of its own.

    `sources` makes events happen: None for none (the caller fires them), or a list; `VmTarget.live()` traces processes.
    `engine` is "jit", "interpreter" or "auto": native code where LLVM can make it. Programs are verified for the
    newest kernel and refused with VerifierError, unless `checked` is True: then they run unverified, with every
    access bounded. `helpers` replaces helpers by name; `world` is what they report (default: the host's).
    `policy`, `quota` and `audit` are what a host demands beyond safety: see `Oversight`.
    """

    name = "vm"

    def __init__(
        self,
        *,
        sources: Sequence[Source] | None = None,
        world: World | None = None,
        helpers: Mapping[str | int, Helper | int] | None = None,
        engine: str = "auto",
        checked: bool | None = None,
        memory_limit: int = DEFAULT_LIMIT,
        policy: Policy | None = None,
        quota: Quota | None = None,
        audit: str | os.PathLike[str] | Callable[[Mapping[str, object]], None] | None = None,
    ) -> None:
        if engine not in ("auto", "jit", "interpreter"):
            raise UsageError(f"open target vm: no engine {engine!r}", hint="auto, jit or interpreter")
        self.sources = sources
        self.world = world
        self.helpers = helpers
        self.engine = engine
        self.checked = checked
        self.memory_limit = memory_limit
        self.oversight = Oversight(policy, quota, audit)

    @classmethod
    def live(cls, *, warn: Callable[[str], None] | None = None, keep: bool = False, **options: Any) -> Self:
        """A target whose events are those of a command or a process, through ptrace, and timers.

        `warn` takes texts that a person should read. With `keep`, what a command leaves behind goes on when the session
        has ended, where it can.
        """
        from ._sources_ptrace import PtraceSource
        from ._sources_timer import TimerSource

        return cls(sources=[PtraceSource(warn=warn, keep=keep), TimerSource()], **options)

    @property
    def cleans_up(self) -> bool:
        """Whether what it attaches stays behind when this process is killed: breakpoints in others."""
        return any(getattr(source, "cleans_up", False) for source in self.sources or ())

    def load(
        self,
        obj: Object,
        *,
        contents: Mapping[str, bytes] | None = None,
        max_entries: Mapping[str, int] | None = None,
        programs: Iterable[str] | None = None,
    ) -> LoadedVm:
        """Create the maps and load the programs of `obj`; nothing stays when one fails.

        VerifierError, NotSupported, MapError, ObjectError, VmError. `contents`, `max_entries` and `programs` are as for
        the kernel.
        """
        wanted = None if programs is None else set(programs)
        specs = [p for p in obj.programs if (p.autoload if wanted is None else p.name in wanted)]
        obj = obj.replace(maps=tuple([_made_ready(obj, m, contents or {}, max_entries or {}) for m in obj.maps]))
        world = self.world or World(cpus=syscalls.possible_cpus())
        machine = Machine(world=world, helpers=self.helpers, memory_limit=self.memory_limit)
        loaded = LoadedVm(obj, machine, self.sources)
        btf = object_types(obj)
        try:
            self.oversight.weigh_maps(obj, world.cpus)
            for spec in obj.maps:
                loaded.maps[spec.name] = create_from_spec(machine, spec, btf=btf)
            self._load_programs(loaded, specs)
            _fill_references(loaded)
        except BaseException:
            loaded.close()
            raise
        return loaded

    def _load_programs(self, loaded: LoadedVm, specs: list[ProgramSpec]) -> None:
        cache = self._cache()
        try:
            for spec in specs:
                checked = bool(self.checked)
                require_verdict(loaded.object, spec, self.oversight, refuse=not checked, cache=cache)
                code = Code.from_spec(loaded.object, spec, loaded.machine, loaded.maps)
                loaded.programs[spec.name] = VmProgram(
                    loaded, spec, code, engine=self.engine, checked=checked or self.engine == "interpreter",
                    cache=cache, meter=self.oversight.meter(),
                )  # fmt: skip
        finally:
            if cache is not None:
                cache.close()

    def _cache(self) -> Cache | None:
        if self.engine == "interpreter":
            return None
        from ..objects import Cache

        try:
            return Cache.open()
        except CacheError:
            return None  # whoever compiled a script was told


def _made_ready(obj: Object, spec: MapSpec, contents: Mapping[str, bytes], max_entries: Mapping[str, int]) -> MapSpec:
    """The map as programs find it: what they are verified with is what they run with."""
    if spec.name == ".kconfig":
        from ..objects import kconfig_contents
        from ..verifier import profile

        # There is no kernel: as if it were the newest, built as this machine's was as far as that is known.
        filled = kconfig_contents(obj, spec, (*profile().version, 0), syscalls.kernel_config)
        spec = spec.replace(contents=filled, frozen=True)
    data, size = contents.get(spec.name), max_entries.get(spec.name, 0)
    if data is not None:
        spec = spec.replace(contents=data)
    return spec.replace(max_entries=size) if size else spec


def _fill_references(loaded: LoadedVm) -> None:
    """Initial entries of maps of maps and prog arrays: (index, symbol)."""
    for spec in loaded.object.maps:
        made: Any = loaded.maps[spec.name]
        for index, symbol in spec.values:
            if spec.type in (ARRAY_OF_MAPS, HASH_OF_MAPS):
                inner = loaded.maps.get(symbol)
                if inner is not None:
                    made.set(index.to_bytes(4, "little"), inner)
                    continue
            elif spec.type == PROG_ARRAY:
                program = loaded.programs.get(symbol)
                if program is not None:
                    made.set(index, program.code)
                    continue
            else:
                raise ObjectError(f"fill map {spec.name}: maps of type {spec.type} take no references")
            raise ObjectError(f"fill map {spec.name}: {symbol!r} is not in the object")
