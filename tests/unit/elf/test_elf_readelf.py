"""What we read equals, row by row, what readelf prints."""

from __future__ import annotations

import re
import subprocess

import pytest

from osmia.elf import ElfFile, Note, Symbol, open_elf

TYPES = {0: "NOTYPE", 1: "OBJECT", 2: "FUNC", 3: "SECTION", 4: "FILE", 5: "COMMON", 6: "TLS", 10: "IFUNC"}
BINDS = {0: "LOCAL", 1: "GLOBAL", 2: "WEAK", 10: "UNIQUE"}
VISIBILITY = ("DEFAULT", "INTERNAL", "HIDDEN", "PROTECTED")
Row = tuple[int, int, str, str, str, str, str]


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def _readelf_symbols(readelf: str, path: str) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {}
    rows: list[Row] = []
    for line in _run(readelf, "-Ws", path).splitlines():
        if line.startswith("Symbol table"):
            rows = tables.setdefault(line.split("'")[1], [])
        parts = line.split(maxsplit=7)
        if re.match(r"\s*\d+:", line):
            name = parts[7] if len(parts) > 7 else ""
            # An undefined symbol's version is followed by its number: puts@GLIBC_2.2.5 (2).
            name = re.sub(r" \(\d+\)$", "", name)
            rows.append((int(parts[1], 16), int(parts[2], 0), *parts[3:6], parts[6], name))  # type: ignore[arg-type]
    return tables


def _row(file: ElfFile, s: Symbol) -> Row:
    section = {0: "UND", 0xFFF1: "ABS", 0xFFF2: "COM"}.get(s.section, str(s.section))
    name = s.name
    if s.type == 3 and not name:
        name = file.sections[s.section].name
    if s.version and s.version != s.name:  # readelf leaves it out where a symbol stands for the version itself
        # An undefined symbol asks for one version, so readelf prints a single @.
        name += ("@" if s.hidden or not s.section else "@@") + s.version
    return s.value, s.size, TYPES[s.type], BINDS[s.bind], VISIBILITY[s.visibility], section, name


@pytest.mark.parametrize("which", ["libc", "probes_binary"])
def test_symbol_tables_equal_readelf(which: str, readelf: str, request: pytest.FixtureRequest) -> None:
    path: str = request.getfixturevalue(which)
    theirs = _readelf_symbols(readelf, path)
    with open_elf(path) as file:
        assert [_row(file, s) for s in file.dynsym] == theirs[".dynsym"]
        assert [_row(file, s) for s in file.symtab] == theirs.get(".symtab", [])
    assert len(theirs[".dynsym"]) > 5


def _note_row(note: Note) -> tuple[str, str, int]:
    return note.section, note.owner, len(note.desc)


@pytest.mark.parametrize("which", ["libc", "probes_binary"])
def test_notes_equal_readelf(which: str, readelf: str, request: pytest.FixtureRequest) -> None:
    path: str = request.getfixturevalue(which)
    theirs: list[tuple[str, str, int]] = []
    usdt: list[str] = []
    section = build_id = ""
    for line in _run(readelf, "-nW", path).splitlines():
        words = line.split()
        if line.startswith("Displaying notes found in"):
            section = words[-1]
        elif re.match(r"\s*\S+\s+0x[0-9a-f]{8}\s", line):
            theirs.append((section, words[0], int(words[1], 16)))
        if "Build ID:" in line:
            build_id = words[-1]
        for title in ("Provider: ", "Name: ", "Location: ", "Arguments: "):
            if section == ".note.stapsdt" and title in line:
                usdt.append(title + line.partition(title)[2].strip())
    with open_elf(path) as file:
        assert [_note_row(n) for n in file.notes()] == theirs
        assert file.build_id == build_id != ""
        # readelf prints addresses as they stand in the note; no prelink ran here, so ours are the same.
        ours: list[str] = []
        for p in file.usdt_probes():
            ours += [f"Provider: {p.provider}", f"Name: {p.name}"]
            ours.append(f"Location: {p.pc:#018x}, Base: {p.base:#018x}, Semaphore: {p.semaphore:#018x}")
            ours.append(f"Arguments: {p.args}")
        assert ours == usdt
        assert (which == "probes_binary") == (len(ours) == 8)


def test_sections_equal_readelf(libc: str, readelf: str) -> None:
    theirs = re.findall(r"^\s+\[\s*(\d+)\] (\S*)\s+\S+\s+([0-9a-f]{16}) ([0-9a-f]{6,}) ([0-9a-f]{6,})",
                        _run(readelf, "-SW", libc), re.M)  # fmt: skip
    with open_elf(libc) as file:
        ours = [(s.index, s.name, s.addr, s.offset, s.size) for s in file.sections[1:]]
    assert ours == [(int(i), name, int(a, 16), int(o, 16), int(n, 16)) for i, name, a, o, n in theirs if name]


def test_relocations_equal_readelf(libc: str, readelf: str, probes_binary: str) -> None:
    text = _run(readelf, "-rW", probes_binary)
    theirs = [int(m, 16) for m in re.findall(r"^([0-9a-f]{12,16})  [0-9a-f]{12,16}", text, re.M)]
    with open_elf(probes_binary) as file:
        places = {s.index: s for s in file.sections}
        ours = [r.offset for s in places.values() for r in file.relocations(s)]
    assert sorted(ours) == sorted(theirs) and ours
