"""Dynamic symbols of files without section headers, found through PT_DYNAMIC as the dynamic loader finds them."""

from __future__ import annotations

from struct import unpack_from

from ._records import Symbol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._file import ElfFile

DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_GNU_HASH = 4, 5, 6, 10, 0x6FFFFEF5


def dynamic_symbols(file: ElfFile) -> list[Symbol]:
    """Rows of the dynamic symbol table; the hash tables alone tell how many there are."""
    tags = dict(file.dynamic)
    if DT_SYMTAB not in tags or DT_STRTAB not in tags:
        return []
    if DT_HASH in tags:
        start = file.addr_to_offset(tags[DT_HASH])
        count = unpack_from("<II", file.read(start, 8, "hash table"))[1]
    elif DT_GNU_HASH in tags:
        count = _gnu_count(file, file.addr_to_offset(tags[DT_GNU_HASH]))
    else:
        return []
    raw = file.read(file.addr_to_offset(tags[DT_SYMTAB]), count * 24, "dynamic symbol table")
    strings = file.read(file.addr_to_offset(tags[DT_STRTAB]), tags.get(DT_STRSZ, 0), "dynamic string table")
    return file._decode_symbols(raw, strings, [])


def _gnu_count(file: ElfFile, start: int) -> int:
    buckets, first, bloom, _ = unpack_from("<IIII", file.read(start, 16, "hash table"))
    at = start + 16 + bloom * 8
    table = memoryview(file.read(at, buckets * 4, "hash table")).cast("I")
    last = max(table, default=0)
    if last < first:
        return int(first)
    chains = at + buckets * 4
    while not file.read(chains + (last - first) * 4, 1, "hash chain")[0] & 1:
        last += 1
    return int(last) + 1
