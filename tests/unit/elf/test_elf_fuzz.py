"""Damaged files: only ElfError comes out, and soon."""

from __future__ import annotations

import random
from pathlib import Path

from osmia.elf import ElfFile
from osmia.errors import ElfError


def _exercise(data: bytes) -> None:
    try:
        file = ElfFile(data)
    except ElfError:
        return
    steps = (
        lambda: file.symbols(mini=True),
        lambda: file.find_symbol("main"),
        lambda: file.find_symbol("puts"),
        lambda: [(s.data, file.relocations(s)) for s in file.sections],
        file.notes,
        file.usdt_probes,
        lambda: (file.build_id, file.debuglink, file.soname),
        lambda: file.addr_to_offset(file.entry),
        lambda: [p.arguments() for p in file.usdt_probes()],
    )
    for step in steps:
        try:
            step()
        except ElfError:
            continue


def _headers(data: bytes) -> list[int]:
    """Offsets worth damaging: the header, program headers, section headers, start of each section."""
    file = ElfFile(data)
    places = list(range(16, 64))
    places += range(64, 64 + 56 * len(file.segments))
    start = file._shoff
    places += range(start, start + 64 * len(file.sections))
    for s in file.sections:
        if s.size and s.type != 8:
            places += range(s.offset, s.offset + min(s.size, 64))
    return [p for p in places if p < len(data)]


def test_flipped_bytes(probes_binary: str) -> None:
    data = Path(probes_binary).read_bytes()
    places = _headers(data)
    rng = random.Random(1)
    for _ in range(400):
        bad = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            bad[rng.choice(places)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        _exercise(bytes(bad))


def test_cut_files(probes_binary: str) -> None:
    data = Path(probes_binary).read_bytes()
    rng = random.Random(2)
    for size in [*range(0, 200, 7), *(rng.randrange(len(data)) for _ in range(100))]:
        _exercise(data[:size])


def test_without_section_headers(probes_binary: str) -> None:
    data = bytearray(Path(probes_binary).read_bytes())
    data[40:48] = bytes(8)
    data[60:64] = bytes(4)
    file = ElfFile(bytes(data))
    dynamic = next(p for p in file.segments if p.type == 2)
    places = [*range(64, 64 + 56 * len(file.segments)), *range(dynamic.offset, dynamic.offset + dynamic.filesz)]
    rng = random.Random(3)
    for _ in range(300):
        bad = bytearray(data)
        bad[rng.choice(places)] = rng.randrange(256)
        _exercise(bytes(bad))
