"""GNU symbol versions: `.gnu.version` with the names from `.gnu.version_d` and `.gnu.version_r`."""

from __future__ import annotations

from struct import unpack_from

from ..errors import ElfError
from ._records import SHT_GNU_VERDEF, SHT_GNU_VERNEED, SHT_GNU_VERSYM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._file import ElfFile
    from ._records import Section


def symbol_versions(file: ElfFile, table: Section) -> list[tuple[str, bool]]:
    """(version, hidden) for each row of `table`; empty where the file has no versions."""
    rows, known = version_table(file, table)
    none = ("", False)
    return [known.get(n, none) for n in rows]


def version_table(file: ElfFile, table: Section) -> tuple[memoryview, dict[int, tuple[str, bool]]]:
    """The version number of each row of `table`, and what the numbers mean: (version, hidden)."""
    numbers = next((s for s in file.sections if s.type == SHT_GNU_VERSYM and s.link == table.index), None)
    if numbers is None:
        return memoryview(b"").cast("H"), {}
    names: dict[int, str] = {}
    for section in file.sections:
        if section.type == SHT_GNU_VERDEF:
            _definitions(file, section, names)
        elif section.type == SHT_GNU_VERNEED:
            _needs(file, section, names)
    raw = numbers.raw
    known = {n | flag: (name, bool(flag)) for n, name in names.items() for flag in (0, 0x8000)}
    return memoryview(raw[: len(raw) & ~1]).cast("H"), known


def _strings(file: ElfFile, section: Section) -> bytes:
    return file._linked(section).raw


def _at(raw: bytes, offset: int, form: str, size: int, section: Section) -> tuple[int, ...]:
    if offset + size > len(raw):
        raise ElfError(f"read section {section.name!r}: record at {offset:#x} is cut off", offset=section.offset)
    return unpack_from(form, raw, offset)


def _definitions(file: ElfFile, section: Section, names: dict[int, str]) -> None:
    raw, strings = section.raw, _strings(file, section)
    at = 0
    # Records are chained by relative offsets that only grow, so a damaged chain ends at the section's end.
    for _ in range(len(raw) // 20):
        _, flags, number, _, _, aux, step = _at(raw, at, "<HHHHIII", 20, section)
        if not flags & 1:  # VER_FLG_BASE names the file itself, not a version
            (name, _) = _at(raw, at + aux, "<II", 8, section)
            names[number & 0x7FFF] = file._text(strings, name)
        if not step:
            return
        at += step


def _needs(file: ElfFile, section: Section, names: dict[int, str]) -> None:
    raw, strings = section.raw, _strings(file, section)
    at = 0
    budget = len(raw) // 16
    while budget > 0:
        _, count, _, aux, step = _at(raw, at, "<HHIII", 16, section)
        inner = at + aux
        for _ in range(min(count, budget)):
            budget -= 1
            _, _, number, name, more = _at(raw, inner, "<IHHII", 16, section)
            names[number & 0x7FFF] = file._text(strings, name)
            if not more:
                break
            inner += more
        if not step:
            return
        at += step
        budget -= 1
