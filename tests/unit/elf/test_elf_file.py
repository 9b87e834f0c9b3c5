"""Looking things up in files that a real tool chain made."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from osmia.elf import ElfFile, open_elf
from osmia.errors import ElfError, SymbolError


def test_find_symbol_agrees_with_the_whole_table(libc: str) -> None:
    with open_elf(libc) as file:
        defined = {s.name: s for s in file.dynsym if s.section and not s.hidden}
        for name in ("malloc", "memcpy", "environ", "pthread_create", "qsort_r"):
            assert file.find_symbol(name) == defined[name]
        assert file.find_symbol("no_such_function") is None
        assert file.find_symbol("") is None


def test_every_default_version_of_libc_is_found(libc: str) -> None:
    with open_elf(libc) as file:
        for s in file.dynsym[1::17]:
            if s.section and not s.hidden:
                found = file.find_symbol(s.name)
                assert found is not None and (found.value, found.type) == (s.value, s.type)


def test_find_symbol_in_libc_is_quick(libc: str) -> None:
    best = 1.0
    for _ in range(5):
        with open_elf(libc) as file:
            start = time.perf_counter()
            assert file.find_symbol("malloc", mini=False)
            best = min(best, time.perf_counter() - start)
    assert best < 0.005


def test_static_functions_are_found_by_name(probes_binary: str) -> None:
    with open_elf(probes_binary) as file:
        work, main = file.find_symbol("work"), file.find_symbol("main")
        assert work and main and work.size > 0
        assert [s.name for s in file.functions() if s.name in ("work", "main")] == ["work", "main"]
        assert file.find_symbol("puts") is None  # undefined here
        # The symbol's bytes in the file are where the address says.
        offset = file.addr_to_offset(work.value)
        assert file.offset_to_addr(offset) == work.value
        with pytest.raises(ElfError, match="not in the file"):
            file.addr_to_offset(1 << 60)


def test_data_of_a_symbol_is_at_its_offset(probes_binary: str) -> None:
    with open_elf(probes_binary) as file:
        table = file.find_symbol("table")
        assert table is not None
        raw = file.read(file.addr_to_offset(table.value), table.size)
    assert raw == b"".join(n.to_bytes(4, "little") for n in (1, 2, 3, 4))


def test_usdt_probe_places(probes_binary: str) -> None:
    with open_elf(probes_binary) as file:
        first, second = file.usdt_probes()
        assert file.read(first.offset, 1) == b"\x90"  # the nop that the kernel replaces
        semaphore = file.find_symbol("ours_second_semaphore")
        assert semaphore and second.semaphore == semaphore.value
        assert file.read(second.semaphore_offset, 2) == b"\0\0"
        assert (first.semaphore, first.semaphore_offset) == (0, 0)
        a, b, five = first.arguments()
        assert (a.kind, a.size, a.signed) == ("reg", 4, True)
        assert (b.kind, b.size, b.signed) == ("mem", 8, False)
        assert (five.kind, five.value) == ("const", 5)


def test_soname_and_dynamic_symbols_without_section_headers(libc: str) -> None:
    with open_elf(libc) as file:
        soname, exported = file.soname, {(s.name, s.value) for s in file.dynsym if s.section}
    raw = bytearray(Path(libc).read_bytes())
    raw[40:48] = bytes(8)  # e_shoff
    raw[60:64] = bytes(4)  # e_shnum, e_shstrndx
    bare = ElfFile(bytes(raw))
    assert bare.soname == soname == "libc.so.6"
    assert bare.sections == []
    assert {(s.name, s.value) for s in bare.dynsym if s.section} == exported
    assert bare.find_symbol("malloc") is not None
    assert bare.build_id


@pytest.mark.parametrize("how", ["zlib", "zlib-gnu-abi"])
def test_compressed_debug_sections(how: str, probes_binary: str, tmp_path: Path) -> None:
    objcopy = shutil.which("objcopy")
    if objcopy is None:
        pytest.skip("objcopy is not installed")
    out = tmp_path / "packed"
    style = "zlib-gabi" if how == "zlib-gnu-abi" else how
    subprocess.run([objcopy, f"--compress-debug-sections={style}", probes_binary, out], check=True, timeout=60)
    with open_elf(probes_binary) as plain, open_elf(str(out)) as packed:
        for section in plain.sections:
            if section.name.startswith(".debug_"):
                other = packed.section(section.name)
                assert other is not None and other.data == section.data


def test_minidebuginfo_and_debuglink(probes_binary: str, tmp_path: Path) -> None:
    import lzma

    objcopy = shutil.which("objcopy")
    if objcopy is None:
        pytest.skip("objcopy is not installed")
    mini, bare, out = tmp_path / "mini.xz", tmp_path / "bare", tmp_path / "out"
    mini.write_bytes(lzma.compress(Path(probes_binary).read_bytes()))
    subprocess.run([objcopy, "--strip-all", probes_binary, bare], check=True, timeout=60)
    (tmp_path / "x.debug").write_bytes(b"debug")
    link = f"--add-gnu-debuglink={tmp_path / 'x.debug'}"
    subprocess.run(
        [objcopy, f"--add-section=.gnu_debugdata={mini}", link, bare, out], check=True, timeout=60, capture_output=True
    )
    with open_elf(str(out)) as file:
        assert file.find_symbol("work", mini=False) is None
        assert "work" not in {s.name for s in file.symbols()}
        assert file.find_symbol("work") is not None
        assert "work" in {s.name for s in file.functions()}
        assert file.debuglink is not None and file.debuglink[0] == "x.debug"


def test_what_is_not_a_64_bit_file_is_refused(tmp_path: Path) -> None:
    head = b"\x7fELF" + bytes([1, 1, 1]) + bytes(60)
    with pytest.raises(ElfError, match="32-bit"):
        ElfFile(head)
    with pytest.raises(ElfError, match="big-endian"):
        ElfFile(b"\x7fELF" + bytes([2, 2, 1]) + bytes(60))
    with pytest.raises(ElfError, match="not an ELF file"):
        ElfFile(b"#!/bin/sh\n")
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    with pytest.raises(ElfError, match="not an ELF file"):
        open_elf(str(empty))
    with pytest.raises(SymbolError, match="No such file"):
        open_elf(str(tmp_path / "absent"))
    with pytest.raises(ElfError):
        open_elf(str(tmp_path))


def test_close_is_idempotent_and_ends_reading(libc: str) -> None:
    file = open_elf(libc)
    malloc = file.find_symbol("malloc")
    file.close()
    file.close()
    assert malloc is not None and malloc.name == "malloc"
    with pytest.raises(ElfError):
        file.read(0, 4)
