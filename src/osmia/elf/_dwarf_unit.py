"""Units and entries (DIEs) of DWARF 2 to 5, read where asked."""

from __future__ import annotations

from struct import unpack_from

from ..errors import ElfError
from ._dwarf_forms import (
    ADDRESS_INDEXES,
    DAMAGE,
    FORM_ADDR,
    FORM_IMPLICIT,
    FORM_LINE_STRP,
    FORM_REF_ADDR,
    FORM_REF_SIG8,
    FORM_RNGLISTX,
    FORM_STRP,
    LOCAL_REFERENCES,
    STRING_INDEXES,
    SUPPLEMENTARY,
    Abbrev,
    damage_is_error,
    read_form,
    skip_steps,
    uleb,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._dwarf import Dwarf
    from ._dwarf_lines import LineTable

# Attributes (DW_AT_*).
SIBLING, LOCATION, NAME, BYTE_SIZE, STMT_LIST, LOW_PC, HIGH_PC, COMP_DIR = (
    0x01,
    0x02,
    0x03,
    0x0B,
    0x10,
    0x11,
    0x12,
    0x1B,
)
ABSTRACT_ORIGIN, CALL_FILE, CALL_LINE, DECLARATION, SPECIFICATION, TYPE = 0x31, 0x58, 0x59, 0x3C, 0x47, 0x49
RANGES, SIGNATURE, LINKAGE_NAME, MIPS_LINKAGE_NAME, ARTIFICIAL = 0x55, 0x69, 0x6E, 0x2007, 0x34
_STR_OFFSETS_BASE, _ADDR_BASE, _RNGLISTS_BASE, _DWO_NAME = 0x72, 0x73, 0x74, 0x76
_GNU_DWO_NAME, _GNU_DWO_ID, _GNU_RANGES_BASE, _GNU_ADDR_BASE = 0x2130, 0x2131, 0x2132, 0x2133
# Tags (DW_TAG_*).
TAG_SUBPROGRAM, TAG_INLINED = 0x2E, 0x1D
# Unit types (DW_UT_*).
UT_TYPE, UT_SKELETON, UT_SPLIT_COMPILE, UT_SPLIT_TYPE = 2, 4, 5, 6

_LINKS = 12  # DW_AT_abstract_origin and DW_AT_specification that lead to one another


class Unit:
    """A unit of a debug section: [offset, end) of `data`, entries from `first` on.

    `dwarf` is the file it is in; `skeleton` the unit in the program itself that stands for a split one.
    """

    def __init__(self, dwarf: Dwarf, data: bytes, offset: int, section: str = ".debug_info") -> None:
        self.dwarf = dwarf
        self.data = data
        self.offset = offset
        self.section = section
        self.skeleton: Unit | None = None
        self.contributions: dict[int, int] = {}  # of a package file: DW_SECT_* -> offset of this unit's part
        self.signature = self.type_offset = 0
        self._abbrevs: dict[int, Abbrev] | None = None
        self._root: Die | None = None
        self._functions: list[tuple[int, int, int]] | None = None
        self._lines: LineTable | bool | None = False
        self._read_header()

    @damage_is_error("a unit's header")
    def _read_header(self) -> None:
        data, at = self.data, self.offset
        length = unpack_from("<I", data, at)[0]
        at += 4
        self.offset_size = 4
        if length == 0xFFFFFFFF:
            length = unpack_from("<Q", data, at)[0]
            at += 8
            self.offset_size = 8
        elif length >= 0xFFFFFFF0:
            raise IndexError(f"length {length:#x}")
        self.end = at + length
        if self.end > len(data) or not length:
            raise IndexError(f"{length} bytes at {self.offset:#x}")
        self.version = unpack_from("<H", data, at)[0]
        at += 2
        if not 2 <= self.version <= 5:
            raise ElfError(f"read debug information: DWARF version {self.version} is not known")
        self.type = 1
        word = "<I" if self.offset_size == 4 else "<Q"
        if self.version >= 5:
            self.type, self.address_size = data[at], data[at + 1]
            self.abbrev_offset = unpack_from(word, data, at + 2)[0]
            at += 2 + self.offset_size
            if self.type in (UT_SKELETON, UT_SPLIT_COMPILE, UT_TYPE, UT_SPLIT_TYPE):
                self.signature = unpack_from("<Q", data, at)[0]
                at += 8
        else:
            self.abbrev_offset = unpack_from(word, data, at)[0]
            self.address_size = data[at + self.offset_size]
            at += self.offset_size + 1
            if self.section == ".debug_types":
                self.type = UT_TYPE
                self.signature = unpack_from("<Q", data, at)[0]
                at += 8
        if self.type in (UT_TYPE, UT_SPLIT_TYPE):
            self.type_offset = unpack_from(word, data, at)[0]
            at += self.offset_size
        if self.address_size != 8:
            raise ElfError(f"read debug information: addresses of {self.address_size} bytes")
        self.first = at
        self.reference_size = 8 if self.version < 3 else self.offset_size

    @property
    def abbrevs(self) -> dict[int, Abbrev]:
        if self._abbrevs is None:
            at = self.abbrev_offset + self.contributions.get(3, 0)
            self._abbrevs = self.dwarf.abbrev_table(at, self.offset_size, self.reference_size)
        return self._abbrevs

    @property
    def root(self) -> Die:
        """The entry of the unit itself."""
        if self._root is None:
            self._root = Die(self, self.first)
        return self._root

    @property
    def split_name(self) -> str:
        """The .dwo file that the unit is only a stand-in for, "" if it is whole."""
        if self.version >= 5 and self.type != UT_SKELETON:
            return ""
        return self.root.text(_DWO_NAME) or self.root.text(_GNU_DWO_NAME)

    @property
    def dwo_id(self) -> int:
        return self.signature or self.root.number(_GNU_DWO_ID)

    @property
    def full(self) -> Unit:
        """The unit with all entries: itself, or the one in the .dwo or .dwp file. ElfError if that is not found."""
        if self.dwarf.is_split or not self.split_name:
            return self
        return self.dwarf.split_unit(self)

    # walking

    def walk(self, prune: tuple[int, ...] = ()) -> Iterator[tuple[int, Abbrev, int]]:
        """(offset, shape, depth) of all entries, the root at depth 0. Children of the tags in `prune` are left out."""
        try:
            yield from self._walk(prune)
        except DAMAGE as error:
            raise ElfError(f"read debug information: the unit at {self.offset:#x} is damaged ({error!r})") from None

    def _walk(self, prune: tuple[int, ...]) -> Iterator[tuple[int, Abbrev, int]]:
        data, at, end, abbrevs = self.data, self.first, self.end, self.abbrevs
        offset, reference = self.offset_size, self.reference_size
        depth = 0
        hidden = 1 << 30  # the depth from which on entries are not shown
        while at < end:
            start = at
            code = data[at]
            at += 1
            if code >= 0x80:
                code, at = uleb(data, start)
            if not code:
                depth -= 1
                if depth < hidden:
                    hidden = 1 << 30
                if depth <= 0:
                    return
                continue
            abbrev = abbrevs[code]
            if depth < hidden:
                yield start, abbrev, depth
            steps = abbrev.steps
            if len(steps) == 1 and steps[0] >= 0:
                at += steps[0]
            else:
                at = skip_steps(data, at, steps, offset, reference)
            if abbrev.children:
                depth += 1
                if abbrev.tag in prune and depth <= hidden:
                    hidden = depth
                    after = self._after(start, abbrev)
                    if at < after <= end:
                        at, depth, hidden = after, depth - 1, 1 << 30
            elif not depth:
                return

    def _after(self, start: int, abbrev: Abbrev) -> int:
        """Where DW_AT_sibling says that the next entry is, 0 if it does not."""
        if not abbrev.has(SIBLING):
            return 0
        found = Die(self, start).coded(SIBLING)
        return self.offset + found[1] if found else 0

    # what entries refer to

    def string(self, form: int, value: int) -> bytes:
        """A string that stands in a section of strings."""
        if form == FORM_STRP:
            return self.dwarf.string(".debug_str", value)
        if form == FORM_LINE_STRP:
            return self.dwarf.string(".debug_line_str", value)
        if form in STRING_INDEXES:
            at = self.string_offsets_base + value * self.offset_size
            table = self.dwarf.section(".debug_str_offsets")
            where = unpack_from("<I" if self.offset_size == 4 else "<Q", table, at)[0]
            return self.dwarf.string(".debug_str", where)
        return b""  # in a supplementary file

    @property
    def string_offsets_base(self) -> int:
        """Where this unit's part of .debug_str_offsets has its first entry."""
        if self.dwarf.is_split:
            # A .dwo file has one part, behind a header since DWARF 5.
            header = 0 if self.version < 5 else 8 if self.offset_size == 4 else 16
            return self.contributions.get(6, 0) + header
        return self.root.number(_STR_OFFSETS_BASE)

    def address(self, index: int) -> int:
        """An address of .debug_addr, which stands in the program itself for split units, too."""
        owner = self.skeleton or self
        start = owner.root.number(_ADDR_BASE) or owner.root.number(_GNU_ADDR_BASE)
        return int(unpack_from("<Q", owner.dwarf.section(".debug_addr"), start + 8 * index)[0])

    def ranges(self, form: int, value: int) -> list[tuple[int, int]]:
        """[(first address, end)] of a range list."""
        from ._dwarf_ranges import range_list, ranges_before_5

        owner = self.skeleton or self
        base = owner.root.address(LOW_PC) or 0
        if self.version < 5:
            if self.skeleton is not None and self.dwarf.is_split:
                value += owner.root.number(_GNU_RANGES_BASE)
            return ranges_before_5(owner.dwarf.section(".debug_ranges"), value, base)
        data = self.dwarf.section(".debug_rnglists")
        if form == FORM_RNGLISTX:
            header = 12 if self.offset_size == 4 else 20
            start = self.contributions.get(8, 0) + header if self.dwarf.is_split else self.root.number(_RNGLISTS_BASE)
            size = self.offset_size
            value = start + int(unpack_from("<I" if size == 4 else "<Q", data, start + size * value)[0])
        return range_list(data, value, base, self.address)

    # code

    @property
    def functions(self) -> list[tuple[int, int, int]]:
        """(first address, end, offset of the entry) of the functions that have code here, by address."""
        if self._functions is None:
            found = []
            for offset, abbrev, _ in self.walk():
                if abbrev.tag == TAG_SUBPROGRAM and (abbrev.has(LOW_PC) or abbrev.has(RANGES)):
                    found += [(low, high, offset) for low, high in Die(self, offset).ranges()]
            self._functions = sorted(found)
        return self._functions

    @property
    def lines(self) -> LineTable | None:
        """The table of source lines, None if the unit has none."""
        if isinstance(self._lines, bool):
            from ._dwarf_lines import read_line_table

            self._lines = read_line_table(self.skeleton or self)
        return self._lines


class Die:
    """An entry: `tag`, and `values` (attribute -> (form, value)), where strings and addresses may be indexes still."""

    __slots__ = ("children_at", "offset", "tag", "unit", "values")

    def __init__(self, unit: Unit, offset: int) -> None:
        self.unit = unit
        self.offset = offset
        try:
            self._read()
        except DAMAGE as error:
            raise ElfError(f"read debug information: the entry at {offset:#x} is damaged ({error!r})") from None

    def _read(self) -> None:
        unit = self.unit
        data = unit.data
        if not unit.first <= self.offset < unit.end:
            raise IndexError("outside of its unit")
        code, at = uleb(data, self.offset)
        abbrev = unit.abbrevs[code]
        self.tag = abbrev.tag
        values: dict[int, tuple[int, int | bytes]] = {}
        for attribute, form, implicit in abbrev.specs:
            if form == FORM_IMPLICIT:
                values[attribute] = form, implicit
                continue
            form, value, at = read_form(data, at, form, unit.offset_size, unit.reference_size)
            values[attribute] = form, value
        self.values = values
        self.children_at = at if abbrev.children else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Die) and other.offset == self.offset and other.unit.data is self.unit.data

    def __hash__(self) -> int:
        return hash(self.offset)

    def __repr__(self) -> str:
        return f"Die({self.offset:#x}, tag={self.tag:#x}, {self.name!r})"

    def coded(self, attribute: int) -> tuple[int, int] | None:
        """(form, value) of an attribute whose value is a number; None if there is none."""
        found = self.values.get(attribute)
        if found is None:
            return None
        form, value = found
        return (form, value) if isinstance(value, int) else None

    def text(self, attribute: int) -> str:
        """A string attribute, "" if there is none."""
        found = self.values.get(attribute)
        if found is None:
            return ""
        form, value = found
        try:
            raw = value if isinstance(value, bytes) else self.unit.string(form, value)
        except DAMAGE as error:
            raise ElfError(f"read debug information: a string of {self.offset:#x} is damaged ({error!r})") from None
        return raw.decode("utf-8", "backslashreplace")

    @property
    def name(self) -> str:
        return self.text(NAME)

    @property
    def linkage_name(self) -> str:
        return self.text(LINKAGE_NAME) or self.text(MIPS_LINKAGE_NAME)

    def number(self, attribute: int, default: int = 0) -> int:
        """A constant; of a location expression only DW_OP_plus_uconst and DW_OP_constu are known."""
        found = self.values.get(attribute)
        if found is None:
            return default
        value = found[1]
        if isinstance(value, int):
            return value
        if len(value) > 1 and value[0] in (0x23, 0x10):
            try:
                return uleb(value, 1)[0]
            except DAMAGE:
                return default
        return default

    def has(self, attribute: int) -> bool:
        return attribute in self.values

    def target(self, attribute: int) -> Die | None:
        """The entry that an attribute refers to; None if there is none, or it is in a supplementary file."""
        found = self.coded(attribute)
        if found is None:
            return None
        form, value = found
        unit = self.unit
        if form in LOCAL_REFERENCES:
            return Die(unit, unit.offset + value)
        if form == FORM_REF_ADDR:
            return unit.dwarf.die_at(value)
        if form == FORM_REF_SIG8:
            return unit.dwarf.type_unit_die(value)
        if form in SUPPLEMENTARY:
            return None
        raise ElfError(f"read debug information: {form:#x} refers to no entry")

    @property
    def type(self) -> Die | None:
        """The entry of DW_AT_type; None for void."""
        return self.target(TYPE)

    def origin(self) -> Die:
        """The entry that says what a copy of a function or parameter is called: through abstract origins."""
        die = self
        for _ in range(_LINKS):
            following = die.target(ABSTRACT_ORIGIN) or die.target(SPECIFICATION)
            if following is None:
                break
            die = following
        return die

    def inherited(self, attribute: int) -> Die:
        """This entry or the one of its origins that has the attribute; this one if none has."""
        die = self
        for _ in range(_LINKS):
            if attribute in die.values:
                return die
            following = die.target(ABSTRACT_ORIGIN) or die.target(SPECIFICATION)
            if following is None:
                break
            die = following
        return self

    def address(self, attribute: int) -> int | None:
        found = self.coded(attribute)
        if found is None:
            return None
        form, value = found
        if form == FORM_ADDR:
            return value
        if form in ADDRESS_INDEXES:
            try:
                return self.unit.address(value)
            except DAMAGE as error:
                raise ElfError(f"read debug information: address {value} is missing ({error!r})") from None
        return None

    def ranges(self) -> list[tuple[int, int]]:
        """[(first address, end)] of the code, in the order of the file: the first has the entry. Linker's zeros go."""
        found = self.coded(RANGES)
        if found is not None:
            try:
                return [(a, b) for a, b in self.unit.ranges(found[0], found[1]) if a and a < b]
            except DAMAGE as error:
                raise ElfError(f"read debug information: a range list is damaged ({error!r})") from None
        low = self.address(LOW_PC)
        if not low or HIGH_PC not in self.values:
            return []
        high = self.address(HIGH_PC)
        if high is None:
            high = low + self.number(HIGH_PC)  # DWARF 4: the size
        return [(low, high)] if low < high else []

    def children(self) -> Iterator[Die]:
        """The entries right below this one."""
        if not self.children_at:
            return
        unit = self.unit
        at = self.children_at
        try:
            while at < unit.end and unit.data[at]:
                die = Die(unit, at)
                yield die
                at = die._end()
        except DAMAGE as error:
            raise ElfError(f"read debug information: children of {self.offset:#x} ({error!r})") from None

    def _end(self) -> int:
        """Where the next entry on the same level (or the zero that ends it) is."""
        unit = self.unit
        found = self.coded(SIBLING)
        if found is not None:
            after = unit.offset + found[1]
            if self.offset < after <= unit.end:
                return after
        code, at = uleb(unit.data, self.offset)
        depth = 0
        data, abbrevs = unit.data, unit.abbrevs
        abbrev = abbrevs[code]
        while True:
            at = skip_steps(data, at, abbrev.steps, unit.offset_size, unit.reference_size)
            depth += abbrev.children
            while depth and not data[at]:
                at += 1
                depth -= 1
            if not depth:
                return at
            code, at = uleb(data, at)
            abbrev = abbrevs[code]
