"""A part of an object: some of its programs."""

from __future__ import annotations

from ..errors import UsageError, did_you_mean
from ..isa.map_types import PROG_ARRAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._spec import Object


def select_programs(obj: Object, names: Iterable[str]) -> Object:
    """The object with these programs only, those that its prog arrays hold from the start, and their attach points.

    UsageError for a name that no program has.
    """
    known = [program.name for program in obj.programs]
    wanted = {names} if isinstance(names, str) else set(names)
    for name in sorted(wanted - set(known)):
        near = did_you_mean(name, known) or f"programs are {', '.join(known) or 'none'}"
        raise UsageError(f"select program {name!r}: the object has none of this name", hint=near)
    wanted.update(name for spec in obj.maps if spec.type == PROG_ARRAY for _, name in spec.values)
    return obj.replace(
        programs=tuple([p.replace(autoload=True) for p in obj.programs if p.name in wanted]),
        attach_points=tuple([p for p in obj.attach_points if p.program in wanted]),
    )
