"""The kernel as a target: load an `Object`, attach its programs, clean up."""

from __future__ import annotations

from .. import syscalls
from ..errors import KernelError, MapError, ObjectError, OsmiaError
from ..isa.map_types import PERF_EVENT_ARRAY
from ._attach import attach
from ._close import close_links
from ._kernel_types import KernelTypes
from ._load import BtfData, create_map, fill_map, fill_references, link_program, load_program
from ._map import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

    from ..btf import Btf
    from ..objects import AttachPoint, LinkedProgram, MapSpec, Object, ProgramSpec
    from ._link import Link
    from ._perf_buffer import PerfReader
    from ._program import Program
    from ._ring import RingReader


class LoadedObject:
    """Programs, maps and links of one object in the kernel, by name. Closing it detaches and frees all of them.

    `notes` holds what was done without: BTF that the kernel refused, optional probes that were missing.
    `logs` holds the verifier's log by program when `log_level` was given.
    """

    def __init__(self, obj: Object) -> None:
        self.object = obj
        self.programs: dict[str, Program] = {}
        self.maps: dict[str, Map] = {}
        self._inner: list[Map] = []
        self.links: list[Link] = []
        self.logs: dict[str, str] = {}
        self.notes: list[str] = []

    def attach(self, point: AttachPoint) -> Link:
        """Attach the program that `point` names. AttachError, NotSupported, PermissionDenied."""
        program = self.programs.get(point.program)
        if program is None:
            raise ObjectError(f"attach {point.name}: program {point.program!r} is not loaded")
        link = attach(program, point)
        self.links.append(link)
        return link

    def attach_many(self, points: Iterable[AttachPoint]) -> list[Link]:
        """Attach all of them, or none: what was attached is detached when one fails.

        A missing point that is `optional` is noted in `notes` instead.
        """
        links: list[Link] = []
        try:
            for point in points:
                try:
                    links.append(self.attach(point))
                except OsmiaError as error:
                    if not point.optional:
                        raise
                    self.notes.append(str(error))
        except BaseException:
            self._drop(links)
            raise
        return links

    def new_inner(self, name: str) -> Map:
        """A new map that may be an element of the map of maps `name`."""
        spec = next((m.inner for m in self.object.maps if m.name == name), None)
        if spec is None:
            raise ObjectError(f"make a map for {name}: the object does not say what its inner maps are")
        made = create_map(spec, 0)
        self._inner.append(made)
        return made

    def reader(self, name: str) -> RingReader | PerfReader:
        """A reader of the ring buffer or perf event array `name`; the caller closes it."""
        target = self.maps[name]
        if target.type == PERF_EVENT_ARRAY:
            from ._perf_buffer import PerfReader

            return PerfReader(target)
        from ._ring import RingReader

        return RingReader(target)

    def detach(self, link: Link) -> None:
        """Close one link."""
        self._drop([link])

    def _drop(self, links: list[Link]) -> None:
        gone = {id(link) for link in links}
        self.links = [link for link in self.links if id(link) not in gone]
        close_links(links)

    def detach_all(self) -> None:
        """Detach everything; programs and maps stay. No program runs any more when it returns."""
        links, self.links = self.links, []
        close_links(links)

    def close(self) -> None:
        """Detach everything and drop programs and maps."""
        self.detach_all()
        for program in self.programs.values():
            program.close()
        for target in (*self.maps.values(), *self._inner):
            target.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KernelTarget:
    """The running kernel. `btf` replaces the kernel's own types (for tests)."""

    name = "kernel"

    def __init__(self, btf: Btf | None = None) -> None:
        self._btf = btf

    def load(
        self,
        obj: Object,
        *,
        pin_dir: str | None = None,
        log_level: int = 0,
        max_entries: Mapping[str, int] | None = None,
        contents: Mapping[str, bytes] | None = None,
        maps: Mapping[str, Map] | None = None,
        programs: Iterable[str] | None = None,
    ) -> LoadedObject:
        """Create the maps and load the programs of `obj`.

        `max_entries` and `contents` override sizes and data sections by map name; `maps` are used in place of
        those of the object (they stay the caller's: the loaded object works on its own fd of them); `programs`
        limits what is loaded, whatever `autoload` says. Maps with `pinning` 1 are taken from, or pinned to,
        `pin_dir`. `log_level` 1, 2 or 4 keeps the verifier's logs.

        VerifierError, NotSupported, PermissionDenied, MapError, ObjectError; nothing stays loaded then.
        """
        wanted = None if programs is None else set(programs)
        specs = [p for p in obj.programs if (p.autoload if wanted is None else p.name in wanted)]
        syscalls.raise_memlock()
        if pin_dir:
            _make_dir(pin_dir)
        loaded = LoadedObject(obj)
        types = KernelTypes(self._btf)
        btf: BtfData | None = None
        try:
            linked = [(spec, link_program(obj, spec, types)) for spec in specs]
            btf = BtfData(obj.btf, [line for _, code in linked for line in code.lines])
            btf.load()
            if btf.refused:
                loaded.notes.append(f"the kernel refused the object's BTF: {btf.refused}")
            self._create_maps(loaded, btf, pin_dir, max_entries or {}, contents or {}, maps or {})
            self._load_programs(loaded, linked, btf, types, log_level)
        except BaseException:
            loaded.close()
            raise
        finally:
            types.close()
            if btf is not None:
                btf.close()
        return loaded

    def _create_maps(
        self,
        loaded: LoadedObject,
        btf: BtfData,
        pin_dir: str | None,
        max_entries: Mapping[str, int],
        contents: Mapping[str, bytes],
        given: Mapping[str, Map],
    ) -> None:
        for spec in loaded.object.maps:
            if spec.name in given:
                loaded.maps[spec.name] = _shared(given[spec.name])
                continue
            if spec.name == ".kconfig":
                from ..objects import kconfig_contents

                version = syscalls.kernel_version()
                filled = kconfig_contents(loaded.object, spec, version, lambda: syscalls.kernel_config() or None)
                spec = spec.replace(contents=filled, frozen=True)
            path = f"{pin_dir}/{spec.name}" if pin_dir and spec.pinning else ""
            target = _pinned(path, spec) if path else None
            if target is None:
                target = create_map(spec, btf.fd, max_entries.get(spec.name, 0))
                loaded.maps[spec.name] = target
                fill_map(spec, target, contents.get(spec.name, spec.contents))
                if path:
                    target.pin(path)
            loaded.maps[spec.name] = target

    def _load_programs(
        self,
        loaded: LoadedObject,
        linked: list[tuple[ProgramSpec, LinkedProgram]],
        btf: BtfData,
        types: KernelTypes,
        log_level: int,
    ) -> None:
        for spec, code in linked:
            program, log = load_program(loaded.object, spec, code, loaded.maps, btf, types, log_level)
            loaded.programs[spec.name] = program
            if log:
                loaded.logs[spec.name] = log
        for map_spec in loaded.object.maps:
            if map_spec.values:
                fill_references(map_spec, loaded.maps, loaded.programs)


def _shared(target: Map) -> Map:
    """A map object of our own on the same kernel map."""
    import os

    fd = os.dup(target.fd)
    return Map(fd, target.name, target.type, target.key_size, target.value_size, target.max_entries, target.flags)


def _pinned(path: str, spec: MapSpec) -> Map | None:
    """The map pinned at `path`, or None where there is none; MapError where it has another shape."""
    try:
        found = Map.from_fd(syscalls.get_pinned(path))
    except KernelError as error:
        if error.errno == 2:
            return None
        raise
    if (found.type, found.key_size, found.value_size) != (spec.type, spec.key_size, spec.value_size):
        found.close()
        raise MapError(
            f"take map {spec.name} from {path}: it has another type or other sizes",
            errno=22,
            operation="bpf(BPF_OBJ_GET)",
            hint=f"remove it: rm {path}",
        )
    return found


def _make_dir(path: str) -> None:
    import os

    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise syscalls.explain("mkdir", error.errno or 5, path, "CAP_DAC_OVERRIDE") from None
