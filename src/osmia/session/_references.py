"""Maps that a session does not print: of programs, maps, devices and CPUs; queues. They can be filled all the same."""

from __future__ import annotations

from ..btf import Btf
from ..errors import UsageError, did_you_mean
from ..isa.map_types import (
    ARRAY_OF_MAPS,
    CPUMAP,
    DEVMAP,
    DEVMAP_HASH,
    HASH_OF_MAPS,
    PROG_ARRAY,
    QUEUE,
    RINGS,
    STACK,
    XSKMAP,
)
from ..objects import BtfTypes, MapFormat, ValueType
from ._maps import Maps, MapView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..objects import MapSpec, Object
    from ._names import Names

_MAPS = (ARRAY_OF_MAPS, HASH_OF_MAPS)
_TARGETS = (DEVMAP, CPUMAP, XSKMAP, DEVMAP_HASH)


def all_maps(obj: Object, loaded: Any, printed: dict[str, MapView], names: Names) -> Maps:
    """The maps that are `printed`, and of an object from a C compiler those of references, queues and stacks."""
    out = Maps(printed)
    out.others = {spec.name: _instead(spec) for spec in obj.maps}
    if not obj.is_plain:
        return out
    for spec in obj.maps:
        if spec.name in out or spec.contents is not None or spec.name.startswith("."):
            continue
        if spec.type == PROG_ARRAY or spec.type in _MAPS:
            out[spec.name] = ReferenceView(spec, loaded, out, names)
        elif spec.type in (QUEUE, STACK):
            value = BtfTypes(Btf(obj.btf) if obj.btf else None).of(spec.value_type, spec.value_size)
            out[spec.name] = QueueView(MapFormat(spec.name, spec.name, None, value), loaded.maps[spec.name], names)
        elif spec.type in _TARGETS:
            out[spec.name] = MapView(_format(spec, _number(spec.value_size)), loaded.maps[spec.name], names)
    return out


def _number(size: int) -> ValueType:
    if size in (1, 2, 4, 8):
        return ValueType("int", size)
    if size == 8 + 4:
        return ValueType("array", size, element=ValueType("int", 4), count=3)
    return ValueType("array", size, element=ValueType("int", 1), count=size)


def _format(spec: MapSpec, value: ValueType) -> MapFormat:
    return MapFormat(spec.name, spec.name, _number(spec.key_size), value)


def _instead(spec: MapSpec) -> str:
    if spec.contents is not None:
        return "its variables are in globals"
    return "its records are events" if spec.type in RINGS else f"a map of type {spec.type} is not read or filled"


class QueueView(MapView):
    """A queue or a stack: `push` puts a value in, `pop` takes the next one out. Nothing else can be asked."""

    def push(self, value: Any) -> None:
        """Put a value in. MapError where it is full, UsageError for what is no value of this map."""
        self._set(None, value)

    def pop(self) -> Any:
        """Take the next value out; None where there is none."""
        source: Any = self._map
        raw = source.pop(b"")
        return None if raw is None else self._decode(raw)

    @property
    def value(self) -> Any:
        raise UsageError(f"read map {self.name}: its values are taken out one by one", hint="use pop()")

    @value.setter
    def value(self, value: Any) -> None:
        raise UsageError(f"set map {self.name}: its values are put in one by one", hint="use push()")

    def _items(self) -> Iterator[tuple[bytes, bytes]]:
        raise UsageError(f"read map {self.name}: its values are taken out one by one", hint="use pop()")

    def keep(self) -> None:
        """It is not read any more when the target has let go of it."""
        self.drop()

    def __repr__(self) -> str:
        return f"<map {self.name}: push() and pop()>"


class ReferenceView(MapView):
    """A prog array, whose elements are names of programs, or a map of maps, whose elements are maps.

    A map of maps takes the name of a map, a `MapView`, or a dict: a new map, with these elements.
    """

    def __init__(self, spec: MapSpec, loaded: Any, maps: Maps, names: Names) -> None:
        super().__init__(_format(spec, ValueType("int", 4)), loaded.maps[spec.name], names)
        self._spec = spec
        self._loaded = loaded
        self._maps = maps
        self._new: dict[int, MapView] = {}  # by id
        self._decode = self._referred

    def _referred(self, raw: bytes) -> Any:
        number = int.from_bytes(raw, "little")
        if self._spec.type == PROG_ARRAY:
            return next((name for name, p in self._loaded.programs.items() if p.id == number), number)
        if number in self._new:
            return self._new[number]
        for name, made in self._loaded.maps.items():
            if made.id == number:
                return self._maps.get(name, name)
        return number

    def _set(self, key: Any, value: Any) -> None:
        from ._edit import element_key

        target: Any = self._map
        encoded = element_key(self.format, target, key)
        target.refer(encoded, self._program(value) if self._spec.type == PROG_ARRAY else self._inner(value))

    def _program(self, value: Any) -> Any:
        programs = self._loaded.programs
        name = getattr(value, "name", value)
        if not isinstance(name, str) or name not in programs:
            hint = did_you_mean(name, programs) or f"programs are {', '.join(programs)}"
            raise UsageError(f"set map {self.name}: value: {value!r} is no program of the object", hint=hint)
        return programs[name]

    def _inner(self, value: Any) -> Any:
        if isinstance(value, str) and value in self._loaded.maps:
            return self._loaded.maps[value]
        if isinstance(value, MapView):
            return value._map
        if not isinstance(value, dict):
            raise UsageError(
                f"set map {self.name}: value: {value!r} is no map of the object",
                hint="give a map's name, a map, or a dict: a new map with these elements",
            )
        spec = self._spec.inner
        if spec is None:
            raise UsageError(f"set map {self.name}: the object does not say what its inner maps are")
        made = self._loaded.new_inner(self.name)
        from ..objects import derive_formats

        spec = spec.replace(name=f"{self.name}[...]")
        formats = derive_formats(self._loaded.object.replace(maps=(spec,), map_formats=()), cpus=made.cpus)
        if not formats:
            raise UsageError(f"set map {self.name}: its inner maps take no dict", hint="give a map")
        view = MapView(formats[0], made, self._names)
        view.update(value)
        self._new[made.id] = view
        return made

    def _items(self) -> Iterator[tuple[bytes, bytes]]:
        for key, raw in self._map.items():
            if raw:
                yield key, raw

    def keep(self) -> None:
        """It is not read any more when the target has let go of it."""
        self.drop()
