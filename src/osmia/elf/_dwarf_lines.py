"""Line tables: which source line an address belongs to (DWARF 5, section 6.2)."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from struct import unpack_from

from ..errors import ElfError
from ._dwarf_forms import damage_is_error, read_form, sleb, uleb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._dwarf_unit import Unit

_STMT_LIST, _COMP_DIR = 0x10, 0x1B
_CONTENT_PATH, _CONTENT_DIRECTORY = 1, 2  # DW_LNCT_*
_TOP = (1 << 64) - 1


class LineTable:
    """The table of one unit. `files` are paths by file number; rows are read when first asked for."""

    def __init__(self, unit: Unit, data: bytes, at: int, folder: bytes) -> None:
        self._unit = unit
        self._data = data
        self._folder = folder
        self._rows: list[tuple[int, int, int, int, bool, bool]] | None = None
        self._starts: array[int] = array("Q")
        self.files: list[bytes] = []
        self._read_header(at)

    # header

    @damage_is_error("a line table's header")
    def _read_header(self, at: int) -> None:
        data = self._data
        length = unpack_from("<I", data, at)[0]
        at += 4
        self._offset_size = 4
        if length == 0xFFFFFFFF:
            length = unpack_from("<Q", data, at)[0]
            at += 8
            self._offset_size = 8
        self._end = at + length
        if self._end > len(data):
            raise IndexError(f"{length} bytes")
        self.version = unpack_from("<H", data, at)[0]
        at += 2
        if not 2 <= self.version <= 5:
            raise ElfError(f"read debug information: line table version {self.version} is not known")
        if self.version >= 5:
            at += 2  # sizes of addresses and segment selectors
        word = "<I" if self._offset_size == 4 else "<Q"
        self._program = at + self._offset_size + int(unpack_from(word, data, at)[0])
        at += self._offset_size
        self._min_length = data[at]
        at += 1 + (self.version >= 4)  # operations of a VLIW instruction: always 1 on our machines
        self._default_is_stmt = bool(data[at])
        self._line_base = unpack_from("<b", data, at + 1)[0]
        self._line_range = data[at + 2] or 1
        self._opcode_base = data[at + 3]
        at += 4
        self._lengths = data[at : at + self._opcode_base - 1]
        at += self._opcode_base - 1
        if self.version >= 5:
            self._read_files(at)
        else:
            self._read_files_before_5(at)

    def _read_files(self, at: int) -> None:
        folders, at = self._entries(at)
        paths = [self._join(self._folder, folder) for folder, _ in folders]
        files, _ = self._entries(at)
        for name, where in files:
            self.files.append(self._join(paths[where] if where < len(paths) else self._folder, name))

    def _entries(self, at: int) -> tuple[list[tuple[bytes, int]], int]:
        """[(path, directory)] of one of the header's two tables."""
        data, unit = self._data, self._unit
        formats = []
        count = data[at]
        at += 1
        for _ in range(count):
            content, at = uleb(data, at)
            form, at = uleb(data, at)
            formats.append((content, form))
        count, at = uleb(data, at)
        if count > len(data):
            raise IndexError(f"{count} files")
        found = []
        for _ in range(count):
            path, where = b"", 0
            for content, form in formats:
                form, value, at = read_form(data, at, form, self._offset_size, self._offset_size)
                if content == _CONTENT_PATH:
                    path = value if isinstance(value, bytes) else unit.string(form, value)
                elif content == _CONTENT_DIRECTORY and isinstance(value, int):
                    where = value
            found.append((path, where))
        return found, at

    def _read_files_before_5(self, at: int) -> None:
        data = self._data
        folders = [self._folder]
        while data[at]:
            end = data.index(0, at)
            folders.append(self._join(self._folder, data[at:end]))
            at = end + 1
        self.files.append(b"")  # numbers start at 1
        at += 1
        while data[at]:
            end = data.index(0, at)
            name = data[at:end]
            where, at = uleb(data, end + 1)
            _, at = uleb(data, at)
            _, at = uleb(data, at)
            self.files.append(self._join(folders[where] if where < len(folders) else self._folder, name))

    @staticmethod
    def _join(folder: bytes, name: bytes) -> bytes:
        return name if name.startswith(b"/") or not folder else folder + b"/" + name

    def path(self, number: int) -> str:
        """The path of a file by its number, "" for a wrong one; `.` and `..` are resolved."""
        if not 0 <= number < len(self.files):
            return ""
        text = self.files[number].decode("utf-8", "backslashreplace")
        if "/." in text or "//" in text:
            from os.path import normpath

            return normpath(text)
        return text

    # rows

    @property
    def rows(self) -> list[tuple[int, int, int, int, bool, bool]]:
        """(address, file, line, column, starts a statement, ends a sequence), by address."""
        if self._rows is None:
            rows = self._run()
            # Where one sequence ends and another starts, the end comes first.
            rows.sort(key=lambda row: (row[0], not row[5]))
            self._rows = rows
            self._starts = array("Q", [row[0] for row in rows])
        return self._rows

    def find(self, address: int) -> tuple[int, int, int] | None:
        """(file, line, column) of an address, None if no row covers it."""
        rows = self.rows
        at = bisect_right(self._starts, address) - 1
        if at < 0 or rows[at][5]:
            return None
        return rows[at][1:4]

    @damage_is_error("a line program")
    def _run(self) -> list[tuple[int, int, int, int, bool, bool]]:
        data, at, end = self._data, self._program, self._end
        base, line_base, line_range, step = self._opcode_base, self._line_base, self._line_range, self._min_length
        rows: list[tuple[int, int, int, int, bool, bool]] = []
        address, file, line, column, is_stmt, first = 0, 1, 1, 0, self._default_is_stmt, 0
        while at < end:
            op = data[at]
            at += 1
            if op >= base:
                op -= base
                address += op // line_range * step
                line += line_base + op % line_range
                rows.append((address, file, line, column, is_stmt, False))
            elif op == 1:  # copy
                rows.append((address, file, line, column, is_stmt, False))
            elif op == 2:  # advance_pc
                value, at = uleb(data, at)
                address += value * step
            elif op == 3:  # advance_line
                value, at = sleb(data, at)
                line += value
            elif op == 4:  # set_file
                file, at = uleb(data, at)
            elif op == 5:  # set_column
                column, at = uleb(data, at)
            elif op == 6:  # negate_stmt
                is_stmt = not is_stmt
            elif op == 8:  # const_add_pc
                address += (255 - base) // line_range * step
            elif op == 9:  # fixed_advance_pc
                address += unpack_from("<H", data, at)[0]
                at += 2
            elif op == 0:
                size, at = uleb(data, at)
                after = at + size
                kind = data[at]
                if kind == 1:  # end_sequence
                    rows.append((address, file, line, column, is_stmt, True))
                    # Code that the linker dropped is left at address 0 (lld: at the top): no such code exists.
                    if not 0 < rows[first][0] <= address < _TOP >> 1:
                        del rows[first:]
                    address, file, line, column, is_stmt, first = 0, 1, 1, 0, self._default_is_stmt, len(rows)
                elif kind == 2:  # set_address
                    address = unpack_from("<Q", data, at + 1)[0]
                at = after
            elif op not in (7, 10, 11):  # no operands: basic_block, prologue_end, epilogue_begin
                for _ in range(self._lengths[op - 1]):
                    _, at = uleb(data, at)
        del rows[first:]  # a sequence without an end
        return rows


def read_line_table(unit: Unit) -> LineTable | None:
    """The line table of a unit, None if it has none."""
    root = unit.root
    if _STMT_LIST not in root.values:
        return None
    data = unit.dwarf.section(".debug_line")
    folder = root.text(_COMP_DIR).encode("utf-8", "surrogateescape")
    return LineTable(unit, data, root.number(_STMT_LIST), folder)
