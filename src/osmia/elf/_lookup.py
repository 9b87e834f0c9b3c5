"""One symbol by name without reading a table: the file's own hash tables, else a search for the name's bytes."""

from __future__ import annotations

from struct import iter_unpack, unpack_from

from ._records import SHN_XINDEX, SHT_DYNSYM, SHT_GNU_HASH, SHT_HASH, SHT_SYMTAB, STB_LOCAL, Symbol
from ._versions import version_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._file import ElfFile
    from ._records import Section


def find_symbol(file: ElfFile, name: str) -> Symbol | None:
    """See `ElfFile.find_symbol`."""
    wanted = name.encode("utf-8", "surrogateescape")
    if not wanted or 0 in wanted:
        return None
    dynsym = file._of_type(SHT_DYNSYM)
    if dynsym is not None:
        found = _hashed(file, dynsym, wanted)
        if found is not None:
            return found
    elif not file.sections:
        return _best([s for s in file.dynsym if s.name == name and s.section])
    symtab = file._of_type(SHT_SYMTAB)
    return _searched(file, symtab, wanted) if symtab is not None else None


def _best(found: list[Symbol]) -> Symbol | None:
    return min(found, key=lambda s: (s.hidden, s.bind == STB_LOCAL, not s.type), default=None)


def _hashed(file: ElfFile, table: Section, name: bytes) -> Symbol | None:
    for section in file.sections:
        if section.link == table.index and section.type in (SHT_GNU_HASH, SHT_HASH):
            raw = section.raw
            rows = gnu_hash_rows(raw, name) if section.type == SHT_GNU_HASH else _sysv_hash_rows(raw, name)
            return _pick(file, table, name, rows)
    return _searched(file, table, name)


def _pick(file: ElfFile, table: Section, name: bytes, rows: list[int]) -> Symbol | None:
    """The best of the defined symbols in `rows` that are really called `name`."""
    strings = file._linked(table)
    hits: list[tuple[int, tuple[int, ...]]] = []
    for row in rows:
        if (row + 1) * 24 > table.size:
            continue
        fields = unpack_from("<IBBHQQ", file.read(table.offset + row * 24, 24, "symbol"))
        at = strings.offset + fields[0]
        fits = at + len(name) < file._len
        if fields[3] and fits and file.read(at, len(name) + 1) == name + b"\0":
            hits.append((row, fields))
    if not hits:
        return None
    numbers, known = version_table(file, table) if table.type == SHT_DYNSYM else (b"", {})
    wide = file._wide_indexes(table) if any(f[3] == SHN_XINDEX for _, f in hits) else b""
    text = name.decode("utf-8", "backslashreplace")
    found: list[Symbol] = []
    for row, (_, info, other, shndx, value, size) in hits:
        version, hidden = known.get(numbers[row], ("", False)) if row < len(numbers) else ("", False)
        if shndx == SHN_XINDEX and len(wide) >= row * 4 + 4:
            shndx = unpack_from("<I", wide, row * 4)[0]
        found.append(Symbol(text, value, size, info & 15, info >> 4, shndx, other & 3, version, hidden))
    return _best(found)


def gnu_hash_rows(raw: bytes, name: bytes) -> list[int]:
    """Rows of `.dynsym` whose hash equals that of `name`, by `.gnu.hash`."""
    if len(raw) < 16:
        return []
    buckets, first, bloom, _ = unpack_from("<IIII", raw)
    chains = 16 + bloom * 8 + buckets * 4
    if not buckets or chains > len(raw):
        return []
    value = 5381
    for c in name:
        value = (value * 33 + c) & 0xFFFFFFFF
    row = unpack_from("<I", raw, chains - buckets * 4 + value % buckets * 4)[0]
    out: list[int] = []
    if row < first:
        return out
    while chains + (row - first) * 4 + 4 <= len(raw):
        entry = unpack_from("<I", raw, chains + (row - first) * 4)[0]
        if entry | 1 == value | 1:
            out.append(row)
        if entry & 1:
            break
        row += 1
    return out


def _sysv_hash_rows(raw: bytes, name: bytes) -> list[int]:
    if len(raw) < 8:
        return []
    buckets, chain = unpack_from("<II", raw)
    if not buckets or 8 + (buckets + chain) * 4 > len(raw):
        return []
    value = 0
    for c in name:
        value = (value << 4) + c
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    row = unpack_from("<I", raw, 8 + value % buckets * 4)[0]
    out: list[int] = []
    while row and row < chain and len(out) <= chain:  # a damaged chain may be a ring
        out.append(row)
        row = unpack_from("<I", raw, 8 + (buckets + row) * 4)[0]
    return out


def _searched(file: ElfFile, table: Section, name: bytes) -> Symbol | None:
    """Find the name in the string table, then rows that start with its offset. Names may share their ends."""
    strings = file._linked(table).raw
    needle = name + b"\0"
    starts: set[int] = set()
    at = strings.find(needle)
    while at >= 0:
        starts.add(at)
        at = strings.find(needle, at + 1)
    if not starts:
        return None
    raw = table.raw
    raw = raw[: len(raw) // 24 * 24]
    rows: list[int] = []
    if len(starts) <= 8:
        for start in starts:
            pattern = start.to_bytes(4, "little")
            at = raw.find(pattern)
            while at >= 0:
                if at % 24 == 0:
                    rows.append(at // 24)
                at = raw.find(pattern, at + 1)
    else:
        rows = [i for i, row in enumerate(iter_unpack("<I20x", raw)) if row[0] in starts]
    return _pick(file, table, name, rows)
