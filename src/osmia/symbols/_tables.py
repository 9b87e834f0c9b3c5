"""Symbol tables of files, shared by all processes that map them."""

from __future__ import annotations

import os

from ..elf import find_debug_file, open_elf
from ..errors import ElfError, SymbolError
from ._maps import Mapping, read_maps
from ._table import SymbolTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..elf import Dwarf, ElfFile

_LIMIT = 512  # tables kept; a program's libraries are about 10
_DWARFS = 64  # files whose debug information is kept open
_MOST_DWARF = 512 << 20  # bytes of .debug_info that are read to find lines of stacks
_OPEN = 256  # descriptors kept for files that have no path of ours


class Tables:
    """A cache of `SymbolTable`s by file, the least used dropped first. A context manager."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._tables: dict[tuple[object, ...], SymbolTable] = {}
        self._files: dict[tuple[object, ...], tuple[str, list[str], str]] = {}
        self._fds: dict[tuple[object, ...], int] = {}
        self._vdso: SymbolTable | None = None
        self._dwarfs: dict[tuple[object, ...], Dwarf | None] = {}
        self._elfs: list[ElfFile] = []

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files that were kept open; more than once does no harm."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        for dwarf in self._dwarfs.values():
            if dwarf is not None:
                dwarf.close()
        self._dwarfs = dict.fromkeys(self._dwarfs)
        for elf in self._elfs:
            elf.close()
        self._elfs.clear()

    def add(self, mapping: Mapping, paths: list[str], root: str, *, hold: bool) -> tuple[object, ...]:
        """Register a mapped file, to be read from the first of `paths` that opens; `hold` opens it now. Its key."""
        version = _version(paths[0]) if paths and not mapping.deleted else ()
        key = (mapping.device, mapping.inode, mapping.file, mapping.deleted, version)
        self._files.setdefault(key, (mapping.file, paths, root))
        if hold and key not in self._fds and key not in self._tables:
            for path in paths:
                try:
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except OSError:
                    continue
                # A deleted program's exe link leads to one file only: take it for no other mapping.
                if mapping.deleted and os.fstat(fd).st_ino != mapping.inode:
                    os.close(fd)
                    continue
                if len(self._fds) >= _OPEN:
                    os.close(self._fds.pop(next(iter(self._fds))))
                self._fds[key] = fd
                break
        return key

    def _reader(self, key: tuple[object, ...]) -> str:
        fd = self._fds.get(key)
        if fd is not None:
            return f"/proc/self/fd/{fd}"
        paths = self._files[key][1]
        # A file that was replaced since would name every address wrongly: better no names.
        return next((path for path in paths if key[3] or _version(path) == key[4]), "")

    def get(self, key: tuple[object, ...]) -> SymbolTable:
        """The table of a registered file, read when first asked."""
        table = self._tables.pop(key, None)
        if table is None:
            file, _, root = self._files[key]
            reader = self._reader(key)
            table = SymbolTable(file, reader or "/dev/null", root=root)
            if not reader:
                table.problem = f"read {file}: it was removed or replaced while the process ran"
            if len(self._tables) >= self._limit:
                self._tables.pop(next(iter(self._tables)))
        self._tables[key] = table  # the last used is last
        return table

    def dwarf(self, key: tuple[object, ...]) -> Dwarf | None:
        """The debug information of a registered file, None where there is none, or too much to be read here."""
        if key not in self._dwarfs:
            if len(self._elfs) >= _DWARFS:
                return None
            self._dwarfs[key] = self._open_dwarf(key)
        return self._dwarfs[key]

    def _open_dwarf(self, key: tuple[object, ...]) -> Dwarf | None:
        from ..elf import open_dwarf

        file, _, root = self._files[key]
        reader = self._reader(key)
        if not reader:
            return None
        try:
            elf = open_elf(reader)
        except (ElfError, SymbolError):
            return None  # its symbols could not be read either: `SymbolTable.problem` says why
        self._elfs.append(elf)
        try:
            dwarf = open_dwarf(elf, file, root)
        except ElfError:
            return None  # damaged: names come from the symbol table
        section = dwarf.elf.section(".debug_info") if dwarf is not None else None
        return dwarf if section is not None and section.size <= _MOST_DWARF else None

    def value_of(self, key: tuple[object, ...], name: str) -> int:
        """ELF address of a symbol (function or variable) of a registered file, 0 if it has none."""
        reader = self._reader(key)
        return file_symbol(self._files[key][0], name, reader)[0] if reader else 0

    def vdso(self) -> SymbolTable:
        """The table of the vdso, which the kernel maps into every process alike."""
        if self._vdso is None:
            self._vdso = SymbolTable("[vdso]", data=_own_vdso())
        return self._vdso


def _version(path: str) -> tuple[int, ...]:
    """Tells one content of a path from another; () where there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _own_vdso() -> bytes:
    try:
        for mapping in read_maps(os.getpid()):
            if mapping.file == "[vdso]":
                with open("/proc/self/mem", "rb", buffering=0) as memory:
                    memory.seek(mapping.start)
                    return memory.read(mapping.end - mapping.start)
    except (OSError, SymbolError):
        return b""
    return b""


def file_symbol(path: str, name: str, reader: str = "") -> tuple[int, int]:
    """(ELF address, size) of a symbol of a file or its debug file; (0, 0) if it has none or cannot be read."""
    try:
        with open_elf(reader or path) as elf:
            symbol = elf.find_symbol(name)
            if symbol is None and not elf.symtab:
                separate = find_debug_file(elf, path)
                if separate is not None:
                    with separate:
                        symbol = separate.find_symbol(name)
            return (symbol.value, symbol.size) if symbol is not None else (0, 0)
    except (ElfError, SymbolError):
        return 0, 0
