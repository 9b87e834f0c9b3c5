"""The writer of relocatable files, read back by our reader and by readelf."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from osmia.elf import STB_GLOBAL, STB_LOCAL, STT_FUNC, ElfFile, ElfWriter
from osmia.errors import ElfError


@pytest.fixture
def data() -> bytes:
    w = ElfWriter(247)
    code = w.section("xdp", b"\x95" + bytes(15), flags=6, align=8)
    bss = w.section(".bss", type=8, flags=3, align=8, size=24)
    main = w.symbol("main", code, 0, 8, type=STT_FUNC, bind=STB_GLOBAL)
    w.symbol("static", code, 8, 8, type=STT_FUNC, bind=STB_LOCAL)
    outside = w.symbol("outside")
    w.relocation(code, 8, 10, outside)
    w.relocation(code, 0, 1, main)
    w.relocation(code, 4, 1, w.section_symbol(bss))
    assert w.section_symbol(bss) == w.section_symbol(bss)
    return w.build()


def test_reads_back(data: bytes) -> None:
    file = ElfFile(data)
    assert (file.type, file.machine) == (1, 247)
    xdp, bss = file.section("xdp"), file.section(".bss")
    assert xdp and xdp.data == b"\x95" + bytes(15) and xdp.offset % 8 == 0
    assert bss and bss.size == 24 and bss.data == b""
    names = [s.name for s in file.symtab]
    assert set(names[1:3]) == {"static", ""} and set(names[3:]) == {"main", "outside"}
    symtab = file.section(".symtab")
    assert symtab and symtab.info == 3  # first symbol that is not local
    rows = [(r.offset, r.type, file.symtab[r.symbol].name, file.symtab[r.symbol].section)
            for r in file.relocations(xdp)]  # fmt: skip
    assert rows == [(0, 1, "main", 1), (4, 1, "", 2), (8, 10, "outside", 0)]


def test_readelf_takes_it(data: bytes, readelf: str, tmp_path: Path) -> None:
    path = tmp_path / "x.o"
    path.write_bytes(data)
    done = subprocess.run([readelf, "-aW", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""
    assert ".relxdp" in done.stdout and "outside" in done.stdout


def test_bad_input_is_an_elf_error() -> None:
    w = ElfWriter(247)
    w.symbol("a\0b")
    with pytest.raises(ElfError, match="contains NUL"):
        w.build()
    w = ElfWriter(247)
    w.symbol("a", value=1 << 64)
    with pytest.raises(ElfError, match="does not fit"):
        w.build()
