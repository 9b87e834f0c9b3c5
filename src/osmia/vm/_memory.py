"""Memory that programs may touch: regions of this process, found by address.

Addresses are real ones, so that interpreter, native code and helpers see the same bytes. Whatever lies in no region
is out of bounds for a checked run; helpers read and write through `read` and `write`, which check likewise.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from struct import Struct

from ..errors import VmError, VmFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

DEFAULT_LIMIT = 1 << 30
PAGE = mmap.PAGESIZE
_ROW = Struct("<QQQ")  # base, end, writable: a row of the table that checked native code searches
_LARGE = 1 << 14
UNBOUNDED, BUDGET = 1 << 62, 1 << 34  # of a checked run: some 10 seconds
_HEAD = 16  # of the table, before its rows: how many there are
_TABLE_ROWS = 4096
MASK = 0xFFFF_FFFF_FFFF_FFFF


class Region:
    """`size` bytes at address `base`; `view` is the memory itself, writable for Python whatever programs may do."""

    __slots__ = ("_keep", "base", "end", "name", "view", "writable")

    def __init__(self, base: int, view: memoryview, name: str, writable: bool, keep: object) -> None:
        self.base = base
        self.end = base + len(view)
        self.view = view
        self.name = name
        self.writable = writable
        self._keep = keep

    @property
    def size(self) -> int:
        return self.end - self.base

    def __repr__(self) -> str:
        return f"Region({self.name!r}, {self.base:#x}, {self.size} bytes{'' if self.writable else ', read-only'})"


class Memory:
    """All regions of a machine; a context manager. `limit` bounds the bytes that `allocate` gives out."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.used = 0
        self.budget = UNBOUNDED  # bytes that helpers may yet copy in large pieces in this run
        self.closed_maps = 0  # native code has addresses of theirs
        self.table_address = 0
        self._bases: list[int] = []
        self._regions: list[Region] = []
        self._table: memoryview | None = None
        self._table_keep: object = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Region]:
        return iter(self._regions)

    def allocate(self, size: int, name: str = "", *, low: bool = False, writable: bool = True) -> Region:
        """`size` zeroed bytes at a page boundary; `low`: below 4 GiB, for addresses that contexts hold in 32 bits.

        `writable` is about programs. Costs a mapping of at least a page, and a page of addresses before and behind it
        that belongs to nobody: past its ends is out of bounds, wherever other regions lie. Take one region for many
        small things.
        """
        from ..syscalls.native import buffer_address, low_memory

        if size <= 0 or self.used + size > self.limit:
            raise VmError(f"allocate {size} bytes for {name or 'memory'}: the machine's limit is {self.limit}")
        block: mmap.mmap | memoryview
        try:
            room = PAGE + size + PAGE
            block = low_memory(room) if low else mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError) as error:
            raise VmError(f"allocate {size} bytes for {name or 'memory'}: {error}") from None
        view = memoryview(block).cast("B")[PAGE : PAGE + size]
        region = Region(buffer_address(block) + PAGE, view, name, writable, block)
        self._insert(region)
        self.used += size
        return region

    def adopt(self, buffer: mmap.mmap | bytearray | memoryview, name: str = "", *, writable: bool = True) -> Region:
        """Memory that somebody else owns (a shared mapping, a file): kept alive, and in bounds, until it is freed."""
        from ..syscalls.native import buffer_address

        region = Region(buffer_address(buffer), memoryview(buffer).cast("B"), name, writable, buffer)
        self._insert(region)
        return region

    def _insert(self, region: Region) -> None:
        at = bisect_right(self._bases, region.base)
        before = self._regions[at - 1] if at else None
        after = self._regions[at] if at < len(self._regions) else None
        if self._table is not None and len(self._regions) >= _TABLE_ROWS:
            raise VmError(f"register {region!r}: native code is checked against {_TABLE_ROWS} regions at most")
        if (before and before.end > region.base) or (after and after.base < region.end):
            raise VmError(f"register {region!r}: overlaps {before if before and before.end > region.base else after!r}")
        self._bases.insert(at, region.base)
        self._regions.insert(at, region)
        table = self._table
        if table is not None:
            row, end = _HEAD + at * _ROW.size, _HEAD + len(self._regions) * _ROW.size
            table[row + _ROW.size : end] = table[row : end - _ROW.size]
            _ROW.pack_into(table, row, region.base, region.end, region.writable)
            table[:8] = len(self._regions).to_bytes(8, "little")

    def free(self, region: Region) -> None:
        """Give a region back; does nothing for one that is gone. What programs still hold of it faults."""
        at = bisect_right(self._bases, region.base) - 1
        if at < 0 or self._regions[at] is not region:
            return
        del self._bases[at], self._regions[at]
        if isinstance(region._keep, mmap.mmap):
            self.used -= min(self.used, region.size)
        region.end = region.base
        region.view = memoryview(b"")
        region._keep = None
        table = self._table
        if table is not None:
            table[:8] = len(self._regions).to_bytes(8, "little")
            row, end = _HEAD + at * _ROW.size, _HEAD + len(self._regions) * _ROW.size
            table[row:end] = table[row + _ROW.size : end + _ROW.size]

    def close(self) -> None:
        """Free every region."""
        for region in list(self._regions):
            self.free(region)
        self._table = self._table_keep = None
        self.table_address = 0

    def find(self, address: int, size: int, write: bool = False) -> Region | None:
        """The region that holds all of these bytes (and may be written, if asked), or None."""
        at = bisect_right(self._bases, address) - 1
        if at < 0:
            return None
        region = self._regions[at]
        if address + size > region.end or size < 0 or (write and not region.writable):
            return None
        return region

    def region(self, address: int, size: int, write: bool = False, insn: int = -1) -> Region:
        """As `find`, but raises VmFault of kind read or write."""
        found = self.find(address, size, write)
        if found is None:
            raise fault(self, address, size, write, insn)
        return found

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes; VmFault when they are not all in one region."""
        if size == 0:
            return b""
        if size > _LARGE:
            self._spend(size)
        region = self.region(address, size)
        at = address - region.base
        return bytes(region.view[at : at + size])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes; VmFault when they do not all fit one writable region."""
        if not data:
            return
        if len(data) > _LARGE:
            self._spend(len(data))
        region = self.region(address, len(data), True)
        at = address - region.base
        region.view[at : at + len(data)] = data

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise VmFault("call: helpers have copied too much in one run: an endless loop?", kind="fuel")

    def load(self, address: int, size: int) -> int:
        """A little-endian unsigned number of `size` bytes."""
        return int.from_bytes(self.read(address, size), "little")

    def store(self, address: int, size: int, value: int) -> None:
        """Store the low `size` bytes of a number, little-endian."""
        self.write(address, (value & (1 << size * 8) - 1).to_bytes(size, "little"))

    def read_string(self, address: int, limit: int) -> bytes:
        """Bytes up to a NUL (not included), the region's end, or `limit`; VmFault when the first is out of bounds."""
        region = self.region(address, 1)
        at = address - region.base
        return bytes(region.view[at : min(at + limit, region.size)]).split(b"\0", 1)[0]

    def native_table(self) -> int:
        """Address of the table for checked native code: a count, a pad, then rows of (base, end, writable)."""
        if self._table is None:
            from ..syscalls.native import buffer_address

            if len(self._regions) > _TABLE_ROWS:
                raise VmError(f"check native code against {len(self._regions)} regions: {_TABLE_ROWS} at most")
            block = mmap.mmap(-1, _HEAD + _TABLE_ROWS * _ROW.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._table_keep, self._table = block, memoryview(block)
            self.table_address = buffer_address(block)
            for i, r in enumerate(self._regions):
                _ROW.pack_into(self._table, _HEAD + i * _ROW.size, r.base, r.end, r.writable)
            self._table[:8] = len(self._regions).to_bytes(8, "little")
        return self.table_address


def fault(memory: Memory, address: int, size: int, write: bool, insn: int = -1) -> VmFault:
    """The VmFault for an access that no region allows."""
    kind = "write" if write else "read"
    inside = memory.find(address, max(size, 1))
    near = memory.find(address, 1) or memory.find(address - 1, 1)
    if write and inside is not None:
        why = f"{inside.name or 'the region'} is read-only"
    elif near is not None:
        why = (
            f"runs over the end of {near.name or 'its region'} ({near.size} bytes) by {address + size - near.end} bytes"
        )
    elif address < mmap.PAGESIZE:
        why = "a null pointer"
    else:
        why = "no memory of the program"
    where = f" at instruction {insn}" if insn >= 0 else ""
    return VmFault(
        f"{kind} {size} bytes{where} at address {address:#x}: {why}", kind=kind, insn=insn, address=address, size=size
    )
