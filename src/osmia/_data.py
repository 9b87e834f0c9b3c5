"""Frozen and mutable plain-data classes that cost next to nothing to import.

`dataclasses` pulls in `inspect` and compiles an `__init__` per class: 22 ms of CPU before the first line of
ours runs, more than a cached script needs from start to attached. `Data` gives the same face (mypy sees a
dataclass): annotated fields, defaults, `==`, `hash`, `repr`, `replace`.
Modules that define `Data` classes need `from __future__ import annotations`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Literal, Self, dataclass_transform
else:

    def dataclass_transform(**_kw):
        return lambda cls: cls


_set = object.__setattr__
_LATE: Any = object()


def late(*, init: Literal[False] = False) -> Any:
    """A field that is not a constructor argument: None until somebody sets it (mutable classes only)."""
    return _LATE


@dataclass_transform(frozen_default=True)
class _FrozenMeta(type):
    def __new__(mcs, name: str, bases: tuple[type, ...], ns: dict[str, Any]) -> Any:
        return super().__new__(mcs, name, bases, _with_slots(bases, ns))


@dataclass_transform(field_specifiers=(late,))
class _MutableMeta(type):
    def __new__(mcs, name: str, bases: tuple[type, ...], ns: dict[str, Any]) -> Any:
        return super().__new__(mcs, name, bases, _with_slots(bases, ns))


def _with_slots(bases: tuple[type, ...], ns: dict[str, Any]) -> dict[str, Any]:
    """Turn annotations into slots; collect field order and defaults, base classes first."""
    fields: dict[str, None] = {}
    defaults: dict[str, object] = {}
    for base in bases:
        for field in getattr(base, "_fields", ()):
            fields[field] = None
        defaults.update(getattr(base, "_defaults", {}))
    own: list[str] = []
    late_fields = [f for base in bases for f in getattr(base, "_late", ())]
    for field, annotation in ns.get("__annotations__", {}).items():
        if str(annotation).startswith("ClassVar"):
            continue
        if ns.get(field) is _LATE:
            del ns[field]
            late_fields.append(field)
            own.append(field)
            continue
        if field in ns:
            defaults[field] = ns.pop(field)
        if field not in fields:
            own.append(field)
        fields[field] = None
    ns["__slots__"] = tuple(own)
    ns["_fields"] = tuple(fields)
    ns["_defaults"] = defaults
    ns["_late"] = tuple(late_fields)
    return ns


def _init(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    fields = self._fields
    if len(args) > len(fields):
        raise TypeError(f"{type(self).__name__} takes {len(fields)} values, {len(args)} given")
    for field, value in zip(fields, args):
        _set(self, field, value)
    if len(args) < len(fields):
        defaults = self._defaults
        for field in fields[len(args) :]:
            if field in kwargs:
                _set(self, field, kwargs.pop(field))
            elif field in defaults:
                value = defaults[field]
                # A mutable default is a fresh object for every instance.
                _set(self, field, value.copy() if type(value) in (list, dict, set) else value)
            else:
                raise TypeError(f"{type(self).__name__} needs a value for {field!r}")
    if kwargs:
        raise TypeError(f"{type(self).__name__} has no field {next(iter(kwargs))!r}")


def _repr(self: Any) -> str:
    shown = ", ".join(f"{f}={getattr(self, f)!r}" for f in self._fields)
    return f"{type(self).__name__}({shown})"


class Data(metaclass=_FrozenMeta):
    """Base of immutable records: hashable when its values are."""

    if TYPE_CHECKING:
        _fields: ClassVar[tuple[str, ...]]
        _defaults: ClassVar[dict[str, Any]]
    else:

        def __init__(self, *args, **kwargs):
            _init(self, args, kwargs)

    __repr__ = _repr

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, f) == getattr(other, f) for f in self._fields)

    def __hash__(self) -> int:
        return hash((type(self).__name__, *(getattr(self, f) for f in self._fields)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: use .replace({name}=...)")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, f) for f in self._fields)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        values = {f: getattr(self, f) for f in self._fields}
        for name in changes:
            if name not in values:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
        values.update(changes)
        return type(self)(**values)


class MutableData(metaclass=_MutableMeta):
    """Base of mutable records (syntax trees): compared by identity."""

    if TYPE_CHECKING:
        _fields: ClassVar[tuple[str, ...]]
        _defaults: ClassVar[dict[str, Any]]
    else:

        def __init__(self, *args, **kwargs):
            for field in self._late:
                _set(self, field, None)
            _init(self, args, kwargs)

    __repr__ = _repr
