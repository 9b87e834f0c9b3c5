"""Parameters and source lines of a program built with -g."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from osmia.elf import dwarf_functions, lines_to_addrs, open_elf
from osmia.errors import ElfError, OsmiaError, SymbolError


def test_parameters(probes_binary: str) -> None:
    (params,) = dwarf_functions(probes_binary, "work").values()
    assert [(p.name, p.type, p.byte_size) for p in params] == [("a", "int", 4), ("b", "long int", 8)]
    (params,) = dwarf_functions(probes_binary, "main").values()
    assert [(p.name, p.type, p.byte_size) for p in params] == [("argc", "int", 4), ("argv", "char **", 8)]
    assert all(p.location in ("frame", "register", "list") for p in params)
    assert dwarf_functions(probes_binary, "absent") == {}


def test_lines(probes_binary: str) -> None:
    source = Path(probes_binary).with_name("probes.c").read_text().splitlines()
    line = next(i for i, text in enumerate(source, 1) if text.startswith("int main"))
    addrs = lines_to_addrs(probes_binary, "probes.c", line)
    with open_elf(probes_binary) as file:
        main = file.find_symbol("main")
    assert main is not None and addrs
    assert main.value in addrs and all(main.value <= a < main.value + main.size for a in addrs)
    assert lines_to_addrs(probes_binary, "other.c", line) == []
    assert lines_to_addrs(probes_binary, "elf/probes.c", 10_000) == []


def test_every_address_agrees_with_addr2line(probes_binary: str) -> None:
    import shutil

    if shutil.which("addr2line") is None:
        pytest.skip("addr2line is not installed")
    source = Path(probes_binary).with_name("probes.c").read_text().splitlines()
    line = next(i for i, text in enumerate(source, 1) if "return helper(a)" in text)
    for addr in lines_to_addrs(probes_binary, "probes.c", line):
        out = subprocess.run(
            ["addr2line", "-e", probes_binary, hex(addr)], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        assert out.split()[0].rpartition("/")[2].startswith("probes.c:")


def test_without_debug_information(tmp_path: Path, libc: str) -> None:
    with pytest.raises(SymbolError, match="no debug information"):
        dwarf_functions(libc, "malloc")
    (tmp_path / "x").write_bytes(b"not an ELF file")
    with pytest.raises(ElfError):
        dwarf_functions(str(tmp_path / "x"), "malloc")
    with pytest.raises(SymbolError, match="No such file"):
        lines_to_addrs(str(tmp_path / "y"), "a.c", 1)


def test_damaged_debug_information(probes_binary: str, tmp_path: Path) -> None:
    import random

    data = Path(probes_binary).read_bytes()
    with open_elf(probes_binary) as file:
        places = [s for s in file.sections if s.name.startswith(".debug_")]
        spots = [p for s in places for p in range(s.offset, s.offset + s.size)]
    rng = random.Random(7)
    target = tmp_path / "bad"
    for _ in range(60):
        bad = bytearray(data)
        for _ in range(5):
            bad[rng.choice(spots)] = rng.randrange(256)
        target.write_bytes(bad)
        try:
            dwarf_functions(str(target), "main")
            lines_to_addrs(str(target), "probes.c", 20)
        except OsmiaError:
            continue
