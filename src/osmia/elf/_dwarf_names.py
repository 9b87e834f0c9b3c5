"""Which units may define a name: found by searching bytes, so that no index is needed and none must be trusted.

Names of any length stand in the section of strings (or, short ones, in the entry itself), and the entries refer to them
by offset or by index. A search for these bytes takes 20 ms for 50 MB; walking the entries would take a minute.
"""

from __future__ import annotations

from bisect import bisect_right

from ._dwarf_forms import FORM_STRING, FORM_STRP, STRING_INDEXES, Abbrev

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._dwarf import Dwarf
    from ._dwarf_unit import Unit

_NAME, _DECLARATION = 0x03, 0x3C
_SIZES = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x0C: 1, 0x19: 0, 0x21: 0}  # forms of a fixed size before the name
_FEW = 4096  # suffixes of other names that a name may be stored as


def units_that_mention(dwarf: Dwarf, name: bytes, tags: tuple[int, ...]) -> Iterator[Unit]:
    """Units that may have an entry of one of `tags` called `name`; split ones by their full unit. No unit twice."""
    seen: set[int] = set()
    every = [(dwarf.section(".debug_info"), dwarf.units), (dwarf.section(".debug_types"), dwarf.old_type_units)]
    for unit in (found for data, units in every for found in _mentions(dwarf, data, units, name, tags)):
        if id(unit) not in seen:
            seen.add(id(unit))
            if dwarf.is_split or not unit.split_name:
                yield unit
    if not dwarf.is_split:
        for unit in dwarf.units:
            if unit.split_name and _in_split(unit.full, name):
                yield unit.full
                yield from units_that_mention(unit.full.dwarf, name, tags)  # its type units, in DWARF 4


def _in_split(unit: Unit, name: bytes) -> bool:
    return name + b"\0" in unit.dwarf.section(".debug_str") or name + b"\0" in unit.data


def _mentions(dwarf: Dwarf, info: bytes, units: list[Unit], name: bytes, tags: tuple[int, ...]) -> Iterator[Unit]:
    if not units:
        return
    starts = [unit.offset for unit in units]
    places = _string_offsets(dwarf.section(".debug_str"), name)
    if len(places) > _FEW:
        yield from units  # a name like "a": the end of too many others
        return
    inline = _Finder(info, name + b"\0", FORM_STRING)
    finders = [inline] + [_Finder(info, at.to_bytes(4, "little"), FORM_STRP) for at in places]
    for finder in finders:
        for at in finder.places():
            unit = units[bisect_right(starts, at) - 1]
            if unit.offset_size != 4 or finder.fits(unit, at, tags):
                yield unit
    if not places:
        return
    indexed = _indexes(dwarf, places)
    for unit in units:
        if unit.version < 5:
            continue
        base = unit.string_offsets_base if indexed else 0
        if unit.offset_size != 4 or (base and any(at >= base for at in indexed) and _uses_indexes(unit, tags)):
            yield unit


def _string_offsets(strings: bytes, name: bytes) -> list[int]:
    """Every offset of the section where `name` stands, also as the end of a longer name (linkers share those)."""
    found: list[int] = []
    needle = name + b"\0"
    at = strings.find(needle)
    while at >= 0 and len(found) <= _FEW:
        found.append(at)
        at = strings.find(needle, at + 1)
    return found


def _indexes(dwarf: Dwarf, places: list[int]) -> list[int]:
    """Where .debug_str_offsets has one of these offsets."""
    table = dwarf.section(".debug_str_offsets")
    found = []
    for place in places if table else ():
        needle = place.to_bytes(4, "little")
        at = table.find(needle)
        while at >= 0:
            if not at % 4:
                found.append(at)
            at = table.find(needle, at + 1)
    return found


def _uses_indexes(unit: Unit, tags: tuple[int, ...]) -> bool:
    """Whether entries of these tags have names by index here."""
    return any(
        abbrev.tag in tags and any(a == _NAME and form in STRING_INDEXES for a, form, _ in abbrev.specs)
        for abbrev in unit.abbrevs.values()
    )


class _Finder:
    """Finds entries whose name is written as `needle` in the form `form`."""

    def __init__(self, info: bytes, needle: bytes, form: int) -> None:
        self._info = info
        self._needle = needle
        self._form = form
        self._shapes: dict[int, list[tuple[bytes, int]] | None] = {}

    def places(self) -> Iterator[int]:
        at = self._info.find(self._needle)
        while at >= 0:
            yield at
            at = self._info.find(self._needle, at + 1)

    def fits(self, unit: Unit, at: int, tags: tuple[int, ...]) -> bool:
        """Whether the bytes before are those of an entry of one of `tags` that defines something."""
        key = id(unit.abbrevs)
        if key not in self._shapes:
            self._shapes[key] = self._heads([a for a in unit.abbrevs.values() if a.tag in tags])
        shapes = self._shapes[key]
        if shapes is None:
            return True
        info = self._info
        return any(info[at - skip - len(code) : at - skip] == code for code, skip in shapes)

    def _heads(self, abbrevs: list[Abbrev]) -> list[tuple[bytes, int]] | None:
        """(code, bytes between it and the name) of shapes with such a name; None if the distance varies."""
        found = []
        for abbrev in abbrevs:
            if abbrev.has(_DECLARATION):
                continue
            skip = 0
            for attribute, form, _ in abbrev.specs:
                if attribute == _NAME:
                    if form == self._form:
                        found.append((_code(abbrev.code), skip))
                    break
                if form not in _SIZES:
                    return None
                skip += _SIZES[form]
        return found


def _code(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
