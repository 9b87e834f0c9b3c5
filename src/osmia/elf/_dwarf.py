"""DWARF of one program: functions with their parameters, types by name, source lines, inlined functions.

Nothing is walked as a whole: a function is looked up through its address and .debug_aranges (or the ranges of the
units), a type by searching the section of strings for its name and the entries for references to that.
"""

from __future__ import annotations

import os
from bisect import bisect_right

from .._data import Data
from ..errors import ElfError, OsmiaError
from ._dwarf_forms import Abbrev, read_abbrevs
from ._dwarf_ranges import address_index
from ._dwarf_unit import (
    CALL_FILE,
    CALL_LINE,
    DECLARATION,
    RANGES,
    TAG_INLINED,
    TAG_SUBPROGRAM,
    UT_SPLIT_TYPE,
    UT_TYPE,
    Die,
    Unit,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._file import ElfFile

TAG_CLASS, TAG_ENUM, TAG_STRUCT, TAG_TYPEDEF, TAG_UNION = 0x02, 0x04, 0x13, 0x16, 0x17


class DwarfFrame(Data):
    """A function that an address belongs to: `file` and `line` are where it is at, "" and 0 where nothing says.

    `inlined` says that its code was put into the function of the frame after it.
    """

    name: str
    file: str = ""
    line: int = 0
    inlined: bool = False


class Dwarf:
    """The debug information of `elf`, which stays open until `close`; raises ElfError for damage. A context manager.

    `path` is where the program lives: split debug information (.dwo, .dwp) is looked for beside it, too.
    """

    def __init__(
        self, elf: ElfFile, path: str = "", *, owned: bool = False, main: Dwarf | None = None, suffix: str = ""
    ) -> None:
        self.elf = elf
        self.path = path or elf.path
        self._owned = owned
        self._suffix = suffix
        self.main = main  # of a .dwo or .dwp file: the program that it belongs to
        self._sections: dict[str, bytes] = {}
        self._abbrevs: dict[tuple[int, int, int], dict[int, Abbrev]] = {}
        self._units: list[Unit] | None = None
        self._offsets: list[int] = []
        self._type_units: dict[int, Unit] | None = None
        self._old_type_units: list[Unit] | None = None
        self._aranges: list[tuple[int, int, int]] | None = None
        self._scanned: list[tuple[int, int, Unit]] | None = None
        self._splits: dict[str, Dwarf | None] = {}
        self._full: dict[int, Unit] = {}

    def __enter__(self) -> Dwarf:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened for it; more than once does no harm."""
        for split in self._splits.values():
            if split is not None:
                split.close()
        self._splits.clear()
        if self._owned:
            self.elf.close()

    def paths(self) -> list[str]:
        """The files that were read: the one with the debug information, and those of its split parts."""
        return [self.elf.path, *(path for path, split in self._splits.items() if split is not None)]

    # sections and units

    @property
    def is_split(self) -> bool:
        """Whether this is a .dwo or .dwp file."""
        return bool(self._suffix)

    def section(self, name: str) -> bytes:
        """A section's content, b"" if there is none."""
        found = self._sections.get(name)
        if found is None:
            section = self.elf.section(name + self._suffix)
            found = self._sections[name] = section.data if section is not None else b""
        return found

    def string(self, section: str, at: int) -> bytes:
        data = self.section(section)
        end = data.find(0, at)
        if at < 0 or end < 0:
            raise IndexError(f"string {at:#x} is outside of {section}")
        return data[at:end]

    def abbrev_table(self, at: int, offset: int, reference: int) -> dict[int, Abbrev]:
        key = at, offset, reference
        found = self._abbrevs.get(key)
        if found is None:
            found = self._abbrevs[key] = read_abbrevs(self.section(".debug_abbrev"), *key)
        return found

    @property
    def units(self) -> list[Unit]:
        """All units of .debug_info in order; of split ones, those that stand for them."""
        if self._units is None:
            self._units = self._read_units(".debug_info")
            self._offsets = [unit.offset for unit in self._units]
        return self._units

    def _read_units(self, section: str) -> list[Unit]:
        data = self.section(section)
        found = []
        at = 0
        while at < len(data):
            unit = Unit(self, data, at, section)
            found.append(unit)
            at = unit.end
        return found

    def unit_at(self, offset: int) -> Unit:
        """The unit that covers an offset of .debug_info."""
        units = self.units
        at = bisect_right(self._offsets, offset) - 1
        if at < 0 or offset >= units[at].end:
            raise ElfError(f"read debug information: {offset:#x} is in no unit")
        return units[at]

    def die_at(self, offset: int) -> Die:
        return Die(self.unit_at(offset), offset)

    @property
    def old_type_units(self) -> list[Unit]:
        """The units of .debug_types, where DWARF 4 keeps types that several units share."""
        if self._old_type_units is None:
            self._old_type_units = self._read_units(".debug_types")
        return self._old_type_units

    def type_unit_die(self, signature: int) -> Die | None:
        """The type with this signature, None if it is in no file that is there."""
        if self._type_units is None:
            every = self.units + self.old_type_units
            self._type_units = {unit.signature: unit for unit in every if unit.type in (UT_TYPE, UT_SPLIT_TYPE)}
            if self._suffix:
                self._place_in_package([*self._type_units.values()], ".debug_tu_index")
        unit = self._type_units.get(signature)
        return Die(unit, unit.offset + unit.type_offset) if unit is not None else None

    # split debug information

    def split_unit(self, skeleton: Unit) -> Unit:
        """The unit that `skeleton` stands for. ElfError if its file is not found."""
        known = self._full.get(skeleton.offset)
        if known is not None:
            return known
        name = skeleton.split_name
        for path in self._split_files(skeleton, name):
            split = self._open_split(path)
            unit = split._unit_with_id(skeleton.dwo_id) if split is not None else None
            if unit is not None:
                unit.skeleton = skeleton
                self._full[skeleton.offset] = unit
                return unit
        raise ElfError(
            f"read debug information of {self.path}: it is split, and {os.path.basename(name)!r} is not found",
            hint=f"keep {name} where the program was built, beside the program, or packed as {self.path}.dwp",
        )

    def _split_files(self, skeleton: Unit, name: str) -> list[str]:
        here = os.path.dirname(os.path.abspath(self.path))
        folder = skeleton.root.text(0x1B)  # DW_AT_comp_dir
        own = self.elf.path
        beside = [os.path.join(here, name), os.path.join(here, os.path.basename(name))]
        places = [f"{self.path}.dwp", f"{own}.dwp", os.path.join(folder, name), *beside]
        return list(dict.fromkeys(places))

    def _open_split(self, path: str) -> Dwarf | None:
        if path not in self._splits:
            from ._file import open_elf

            self._splits[path] = None
            if os.path.isfile(path):
                try:
                    elf = open_elf(path)
                except OsmiaError:
                    return None  # no ELF file: the next place may have the right one
                self._splits[path] = Dwarf(elf, path, owned=True, main=self, suffix=".dwo")
        return self._splits[path]

    def _unit_with_id(self, id: int) -> Unit | None:
        """The unit of a .dwo or .dwp file with this number."""
        for unit in self.units:
            if unit.type in (UT_TYPE, UT_SPLIT_TYPE):
                continue
            self._place_in_package([unit], ".debug_cu_index")
            if unit.dwo_id == id:
                return unit
        return None

    def _place_in_package(self, units: list[Unit], index: str) -> None:
        """Tell units of a .dwp file where their parts of the other sections are."""
        section = self.elf.section(index)
        if section is None:
            return
        from ._dwarf_package import contributions

        table = contributions(section.data)
        for unit in units:
            # The signature is in the header since DWARF 5; before, in the entry that needs the parts to be read.
            parts = table.get(unit.signature) if unit.signature else None
            if parts is None:
                size = {p.get(1, p.get(2, -1)): p for p in table.values()}
                parts = size.get(unit.offset)
            unit.contributions = parts or {}

    # addresses

    def unit_of(self, address: int) -> Unit | None:
        """The unit whose code covers an address (as the file lays it out), None if there is none."""
        if self._aranges is None:
            self._aranges = address_index(self.section(".debug_aranges"))
        at = bisect_right(self._aranges, (address, 1 << 64)) - 1
        if at >= 0 and address < self._aranges[at][1]:
            return self.unit_at(self._aranges[at][2])
        if self._scanned is None:
            # clang writes no .debug_aranges: the units' own entries say what they cover.
            known = {row[2] for row in self._aranges}
            rest = [unit for unit in self.units if unit.offset not in known and unit.type not in (UT_TYPE, 6)]
            rows = [(low, high, unit) for unit in rest for low, high in unit.root.ranges()]
            self._scanned = sorted(rows, key=lambda row: row[:2])
        at = bisect_right(self._scanned, address, key=lambda row: row[0]) - 1
        if at >= 0 and address < self._scanned[at][1]:
            return self._scanned[at][2]
        return None

    def function_at(self, address: int) -> Die | None:
        """The function that starts at an address; None if the debug information has none there."""
        unit = self.unit_of(address)
        if unit is None:
            return None
        unit = unit.full
        pattern = address.to_bytes(8, "little")
        if unit.data.find(pattern, unit.first, unit.end) >= 0:
            # The quick way: its address stands in the entry itself.
            for offset, abbrev, _ in unit.walk(prune=(TAG_SUBPROGRAM,)):
                if abbrev.tag == TAG_SUBPROGRAM and abbrev.has(0x11):
                    die = Die(unit, offset)
                    if die.address(0x11) == address and not die.has(RANGES):
                        return die
        for low, _, offset in unit.functions:
            if low == address:
                die = Die(unit, offset)
                return die if die.ranges()[0][0] == address else None  # not where it goes on elsewhere
        return None

    def frames(self, address: int) -> list[DwarfFrame]:
        """The functions that an address belongs to, the innermost first; empty if nothing is known of it.

        The last one is the function itself, all before it were inlined.
        """
        unit = self.unit_of(address)
        if unit is None:
            return []
        lines = unit.lines
        row = lines.find(address) if lines is not None else None
        file, line = (lines.path(row[0]), row[1]) if lines is not None and row is not None else ("", 0)
        try:
            unit = unit.full
        except ElfError:
            return [DwarfFrame("", file, line)]  # the .dwo file is gone; lines are in the program itself
        function = _covering(unit, address)
        if function is None:
            return [DwarfFrame("", file, line)]
        frames = []
        chain = _inlined_at(function, address)
        for die in reversed(chain):
            named = die.origin()
            frames.append(DwarfFrame(named.linkage_name or named.name, file, line, True))
            file = lines.path(die.number(CALL_FILE)) if lines is not None else ""
            line = die.number(CALL_LINE)
        named = function.origin()
        return [*frames, DwarfFrame(named.linkage_name or named.name, file, line)]

    # names

    def find_type(self, name: str, tags: tuple[int, ...], near: Unit | None = None) -> Die | None:
        """The first type of one of `tags` (DW_TAG_*) that is defined under `name`; the unit `near` is asked first."""
        from ._dwarf_names import units_that_mention

        raw = name.encode("utf-8", "surrogateescape")
        units: Iterable[Unit] = units_that_mention(self, raw, tags)
        if near is not None:
            found = _type_in(near, name, tags)
            if found is not None:
                return found
        for unit in units:
            found = _type_in(unit, name, tags)
            if found is not None:
                return found
        return None

    # source lines

    def source_files(self, file: str) -> dict[str, list[tuple[Unit, set[int]]]]:
        """Path -> [(unit, file numbers)] of the source files whose path ends in `file`, component by component."""
        tail = "/" + os.path.normpath(file).lstrip("/")
        exact = os.path.normpath(file) if file.startswith("/") else ""
        last = tail.rsplit("/", 1)[1].encode("utf-8", "surrogateescape")
        found: dict[str, list[tuple[Unit, set[int]]]] = {}
        for unit in self.units:
            lines = unit.lines if unit.type != UT_TYPE else None  # a type unit's table only has its files
            if lines is None:
                continue
            numbers: dict[str, set[int]] = {}
            for number, raw in enumerate(lines.files):
                if raw.endswith(last):
                    path = lines.path(number)
                    if path == exact if exact else ("/" + path).endswith(tail):
                        numbers.setdefault(path, set()).add(number)
            for path, its in numbers.items():
                found.setdefault(path, []).append((unit, its))
        return found

    def statements(self, unit: Unit, files: set[int]) -> Iterator[tuple[int, int, int]]:
        """(address, line, column) of the statements of these files in a unit's table, by address."""
        lines = unit.lines
        for address, file, line, column, starts, ends in lines.rows if lines is not None else ():
            if starts and not ends and file in files and line:
                yield address, line, column

    def block_of(self, unit: Unit, address: int) -> int:
        """A number for the function, or inlined copy of one, that an address belongs to; 0 for none."""
        try:
            unit = unit.full
        except ElfError:
            return 0
        function = _covering(unit, address)
        if function is None:
            return 0
        chain = _inlined_at(function, address)
        return chain[-1].offset if chain else function.offset


def _covering(unit: Unit, address: int) -> Die | None:
    """The function that covers an address: of nested ones the innermost."""
    functions = unit.functions
    at = bisect_right(functions, (address, 1 << 64, 0)) - 1
    for i in range(at, max(at - 16, -1), -1):
        if functions[i][0] <= address < functions[i][1]:
            return Die(unit, functions[i][2])
    return None


def _inlined_at(function: Die, address: int) -> list[Die]:
    """The inlined calls around an address, from the outermost in."""
    chain: list[Die] = []
    blocks = [function]
    while blocks:
        parent = blocks.pop()
        for die in parent.children():
            if die.tag == TAG_INLINED:
                if any(low <= address < high for low, high in die.ranges()):
                    chain.append(die)
                    blocks = [die]
                    break
            elif die.tag == 0x0B and die.children_at:  # DW_TAG_lexical_block: may have no range of its own
                ranges = die.ranges()
                if not ranges or any(low <= address < high for low, high in ranges):
                    blocks.append(die)
        if len(chain) > 256:
            break
    return chain


def _type_in(unit: Unit, name: str, tags: tuple[int, ...]) -> Die | None:
    for offset, abbrev, _ in unit.walk():
        if abbrev.tag in tags and not abbrev.has(DECLARATION):
            die = Die(unit, offset)
            if die.name == name:
                return die
    return None


def open_dwarf(elf: ElfFile, path: str = "", root: str = "", dirs: tuple[str, ...] = ()) -> Dwarf | None:
    """The debug information of a program: its own, or that of its separate debug file; None if there is none.

    `path`, `root` and `dirs` as for `find_debug_file`. The program must stay open as long as the result.
    """
    if elf.section(".debug_info") is not None:
        return Dwarf(elf, path)
    from ._debugfile import find_debug_file

    found = find_debug_file(elf, path, root, dirs, ".debug_info")
    return Dwarf(found, path or elf.path, owned=True) if found is not None else None
