"""User addresses of one process to names, also after it has ended."""

from __future__ import annotations

import os
from bisect import bisect_right
from time import monotonic

from ..errors import ElfError, SymbolError
from ._demangle import demangle
from ._maps import Mapping, read_maps
from ._perfmap import PerfMap
from ._symbol import UNKNOWN, Symbol
from ._table import SymbolTable
from ._tables import Tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..elf import Dwarf
    from ._history import Image

_RETRY = 0.2  # seconds before an address that was in no mapping is looked for in fresh ones again


class ProcessSymbols:
    """Symbols of process `pid`. Its mappings are read now and, for addresses they do not have, again later.

    Files that only this process can reach (other mount namespace, deleted) are opened at once, so that they can be read
    when it has ended. SymbolError if there is no such process. A context manager; `tables` may be shared. With `images`
    (see `History`) nothing is read: these are what a process had mapped that has ended.
    """

    def __init__(
        self, pid: int, tables: Tables | None = None, *, readable: bool = True, images: list[Image] | None = None
    ) -> None:
        self.pid = pid
        self.readable = readable  # demangle names
        self._tables = tables or Tables()
        self._own_tables = tables is None
        self._snapshots: list[list[Mapping]] = []
        self._starts: list[list[int]] = []
        self._recalled: list[tuple[list[int], list[Mapping]]] = []
        self._keys: dict[tuple[str, int, str], tuple[object, ...]] = {}
        self._missed: dict[int, float] = {}
        self._started = start_time(pid) if images is None else 0
        self._root = self._root_of()
        self._perf = [PerfMap(path) for path in self._perf_paths()]
        self._cache: dict[int, Symbol] = {}
        if images is None:
            self._add(read_maps(pid))
        else:
            self.recall(images)

    def __enter__(self) -> ProcessSymbols:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files that were kept open; more than once does no harm."""
        if self._own_tables:
            self._tables.close()

    @property
    def alive(self) -> bool:
        """Whether this very process still runs (not another one with its number)."""
        return bool(self._started) and start_time(self.pid) == self._started

    def _root_of(self) -> str:
        try:
            if os.readlink(f"/proc/{self.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"):
                return f"/proc/{self.pid}/root"
            # A chroot shares the namespace but not the paths.
            return "" if os.readlink(f"/proc/{self.pid}/root") == "/" else f"/proc/{self.pid}/root"
        except OSError:
            return ""  # not ours to ask, or a kernel thread: paths are taken as ours

    def _perf_paths(self) -> list[str]:
        """Where its JIT writes: under the number that it has in its own pid namespace, in its own /tmp."""
        inner = str(self.pid)
        try:
            with open(f"/proc/{self.pid}/status", encoding="utf-8", errors="replace") as file:
                for line in file:
                    if line.startswith("NSpid:"):
                        inner = line.split()[-1]
        except OSError:
            return [f"/tmp/perf-{self.pid}.map"]
        paths = [f"{self._root}/tmp/perf-{inner}.map", f"/tmp/perf-{self.pid}.map"]
        return list(dict.fromkeys(paths))

    def _add(self, mappings: list[Mapping]) -> None:
        if not mappings or (self._snapshots and self._snapshots[0] == mappings):
            return
        # Newest first; older ones still name what was unmapped, or what ran before an exec.
        self._snapshots.insert(0, mappings)
        self._starts.insert(0, [m.start for m in mappings])
        del self._snapshots[4:], self._starts[4:]
        for mapping in mappings:
            if mapping.file.startswith("/"):
                self._keep(mapping)

    def recall(self, images: list[Image]) -> None:
        """Take in what others noted of the process, the newest first: behind what was read from it."""
        self._recalled = [([m.start for m in mappings], mappings) for mappings, _when in images]
        for mappings, when in images:
            for mapping in mappings:
                if mapping.file.startswith("/"):
                    self._keep_recorded(mapping, when)
        self._missed.clear()
        self._cache.clear()

    def _keep_recorded(self, mapping: Mapping, when: int) -> None:
        """As `_keep`, for a file known by its name alone: it must be the one that was mapped at `when`, unchanged."""
        known = (mapping.device, mapping.inode, mapping.file)
        if known in self._keys:
            return
        try:
            status = os.stat(mapping.file)
            same = status.st_ino == mapping.inode and status.st_ctime_ns <= when and not mapping.deleted
        except OSError:
            same = False
        self._keys[known] = self._tables.add(mapping, [mapping.file] if same else [], "", hold=False)

    def refresh(self) -> bool:
        """Read the mappings again, e.g. after dlopen. False if the process has ended."""
        if not self.alive:
            return False
        try:
            self._add(read_maps(self.pid))
        except SymbolError:
            return False
        self._cache.clear()
        return True

    def mapping(self, address: int) -> Mapping | None:
        """The mapping that holds an address, the newest known; reads the mappings again if none does."""
        found = self._mapping(address)
        if found is None:
            page = address >> 12
            now = monotonic()
            if now - self._missed.get(page, -_RETRY) >= _RETRY and address:
                if len(self._missed) > 4096:
                    self._missed.clear()
                if self.refresh():
                    found = self._mapping(address)
                if found is None:
                    self._missed[page] = now
        return found

    def _mapping(self, address: int) -> Mapping | None:
        for starts, mappings in (*zip(self._starts, self._snapshots), *self._recalled):
            at = bisect_right(starts, address) - 1
            if at >= 0 and address < mappings[at].end:
                return mappings[at]
        return None

    def resolve(self, address: int) -> Symbol:
        """The function that covers a runtime address; a Symbol without a name where none is known."""
        found = self._cache.get(address)
        if found is None:
            found = self._resolve(address)
            if found.name:
                self._cache[address] = found
        return found

    def _resolve(self, address: int) -> Symbol:
        mapping = self.mapping(address)
        if mapping is None or not mapping.file.startswith(("/", "[vdso]")) or mapping.file.startswith("/memfd:"):
            return self._jitted(address)
        table = self._table(mapping)
        where = table.address(address - mapping.start + mapping.offset)
        if where is None:
            return self._jitted(address) or Symbol("", address - mapping.start + mapping.offset, mapping.file)
        symbol = table.find(where)
        if symbol is None:
            # node maps the code that it was built with from its own file and names it in its perf map.
            return self._jitted(address) or Symbol("", where, mapping.file)
        name = demangle(symbol.name) if self.readable else symbol.name
        mangled = symbol.name if name != symbol.name else ""
        return Symbol(name, where - symbol.value, mapping.file, symbol.size, mangled)

    def frames(self, address: int, *, returned_to: bool = False) -> list[Symbol]:
        """The functions that a runtime address belongs to, with source lines: inlined ones first, never none.

        `returned_to` says that it is where a call returns to: lines and inlined functions are those of the call.
        """
        symbol = self.resolve(address)
        mapping = self._mapping(address)
        if mapping is None or not mapping.file.startswith("/"):
            return [symbol]
        key = self._keep(mapping)
        where = self._tables.get(key).address(address - mapping.start + mapping.offset)
        dwarf = self._tables.dwarf(key) if where is not None else None
        if dwarf is None or where is None:
            return [symbol]
        return with_lines(dwarf, symbol, where - returned_to, readable=self.readable)

    def _jitted(self, address: int) -> Symbol:
        for perf in self._perf:
            found = perf.find(address)
            if found is not None:
                return Symbol(found[0], address - found[1], "", found[2])
        return UNKNOWN

    def _table(self, mapping: Mapping) -> SymbolTable:
        if mapping.file == "[vdso]":
            return self._tables.vdso()
        return self._tables.get(self._keep(mapping))

    def _keep(self, mapping: Mapping) -> tuple[object, ...]:
        """The key of the mapping's file in the shared tables: notes its version, opens what nobody else can reach."""
        known = (mapping.device, mapping.inode, mapping.file)
        key = self._keys.get(known)
        if key is None:
            path = self._root + mapping.file
            # The mapping itself leads to a file that was deleted or replaced (CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE).
            itself = f"/proc/{self.pid}/map_files/{mapping.start:x}-{mapping.end:x}"
            candidates = [itself, f"/proc/{self.pid}/exe"] if mapping.deleted else [path, itself]
            hold = mapping.deleted or bool(self._root)
            key = self._keys[known] = self._tables.add(mapping, candidates, self._root, hold=hold)
        return key

    def address_of(self, name: str) -> int:
        """Runtime address of a function or variable of the program or its libraries, 0 if none is found."""
        seen = set()
        for mapping in self._snapshots[0] if self._snapshots else ():
            if not mapping.file.startswith("/") or mapping.file in seen:
                continue
            seen.add(mapping.file)
            value = self._tables.value_of(self._keep(mapping), name)
            table = self._table(mapping)
            here = table.address(mapping.offset)
            if value and here is not None:
                return value - here + mapping.start
        return 0


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid it names one process. 0 if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def with_lines(dwarf: Dwarf, symbol: Symbol, where: int, *, readable: bool) -> list[Symbol]:
    """The functions inlined at ELF address `where`, then `symbol` itself, with their places in the source."""
    try:
        found = dwarf.frames(where)
    except ElfError:
        found = []  # damaged: the symbol table still knows the function
    if not found:
        return [symbol]
    inlined = [
        Symbol(demangle(f.name) if readable else f.name, 0, symbol.module, file=f.file, line=f.line, inlined=True)
        for f in found[:-1]
    ]
    return [*inlined, symbol.replace(file=found[-1].file, line=found[-1].line)]
