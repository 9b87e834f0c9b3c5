"""The functions of one ELF file, sorted by address."""

from __future__ import annotations

from array import array
from bisect import bisect_right

from ..elf import ElfFile, find_debug_file, open_elf
from ..errors import ElfError, SymbolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..elf import Symbol as ElfSymbol

STB_GLOBAL = 1


class SymbolTable:
    """Functions of an ELF image, and where it is laid out. The file is closed again once they are read.

    `reader` is a path to open, `data` the bytes themselves ([vdso]); `path` is the name for messages and debug files,
    `root` the mount namespace's root. A file that cannot be read gives an empty table; `problem` says why.
    """

    def __init__(self, path: str, reader: str = "", data: bytes | None = None, root: str = "") -> None:
        self.path = path
        self.problem = ""
        self.build_id = ""
        self._starts: array[int] = array("Q")
        self._symbols: list[ElfSymbol] = []
        self._segments: list[tuple[int, int, int]] = []  # file offset, size, address
        try:
            with ElfFile(data, path) if data is not None else open_elf(reader or path) as elf:
                self._read(elf, root)
        except (ElfError, SymbolError) as error:
            self.problem = str(error)

    def _read(self, elf: ElfFile, root: str) -> None:
        self._segments = [(s.offset, s.filesz, s.vaddr) for s in elf.segments if s.type == 1]
        self.build_id = elf.build_id
        symbols = elf.functions()
        if not elf.symtab:
            separate = find_debug_file(elf, self.path, root)
            if separate is not None:
                with separate:
                    symbols = sorted(symbols + separate.functions(), key=lambda s: s.value)
        # One name for each address: what programs call it by, not the library's own aliases (malloc, __libc_malloc).
        best: dict[int, ElfSymbol] = {}
        for symbol in symbols:
            known = best.get(symbol.value)
            if known is None or _rank(symbol) < _rank(known):
                best[symbol.value] = symbol
        self._starts = array("Q", sorted(best))
        self._symbols = [best[start] for start in self._starts]

    def __len__(self) -> int:
        return len(self._symbols)

    def address(self, offset: int) -> int | None:
        """The ELF address that a file offset is laid out at, None where the file loads nothing."""
        for start, size, address in self._segments:
            if start <= offset < start + size:
                return offset - start + address
        # Mappings are whole pages: code may be mapped a little before a segment starts.
        for start, size, address in self._segments:
            if start & ~0xFFF <= offset < start + size:
                return offset - start + address
        return None

    def find(self, address: int) -> ElfSymbol | None:
        """The function that covers an ELF address. One without a size reaches to the next."""
        at = bisect_right(self._starts, address) - 1
        # Functions may lie inside others (entry points of assembly code): the nearest start that covers it wins.
        for i in range(at, max(at - 8, -1), -1):
            symbol = self._symbols[i]
            if address < symbol.value + symbol.size or (not symbol.size and i == at):
                return symbol
        return None


def _rank(symbol: ElfSymbol) -> tuple[bool, bool, int, int, str]:
    name = symbol.name
    return not symbol.size, symbol.bind != STB_GLOBAL, len(name) - len(name.lstrip("_")), len(name), name
