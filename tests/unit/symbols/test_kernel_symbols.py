"""Kernel addresses to names, from a made-up table and from the running kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osmia.symbols import KernelSymbols, format_frame

TABLE = b"""\
ffffffff81000000 T first
ffffffff81000000 T _stext
ffffffff81000100 T vfs_read
ffffffff81000180 t helper
ffffffff81000300 T last
ffffffffc0002000 t late\t[mod]
ffffffffc0001000 t early\t[mod]
ffffffffc0001000 d datum\t[mod]
ffffffffc0009000 t bpf_prog_1122334455667788_x\t[bpf]
"""


@pytest.mark.parametrize(
    ("address", "name", "offset", "module"),
    [
        (0xFFFFFFFF81000000, "first", 0, "kernel"),
        (0xFFFFFFFF810000FF, "first", 0xFF, "kernel"),
        (0xFFFFFFFF81000100, "vfs_read", 0, "kernel"),
        (0xFFFFFFFF8100017F, "vfs_read", 0x7F, "kernel"),
        (0xFFFFFFFF81000310, "last", 16, "kernel"),
        (0xFFFFFFFFC0001004, "early", 4, "mod"),
        (0xFFFFFFFFC0002000, "late", 0, "mod"),
        (0xFFFFFFFFC0009008, "bpf_prog_1122334455667788_x", 8, "bpf"),
    ],
)
def test_resolve(address: int, name: str, offset: int, module: str) -> None:
    symbol = KernelSymbols(TABLE).resolve(address)
    assert (symbol.name, symbol.offset, symbol.module) == (name, offset, module)


@pytest.mark.parametrize("address", [0, 1, 0xFFFFFFFF80FFFFFF, 0xFFFFFFFF91000000, 0x7FFF00000000, 2**64 - 1])
def test_nothing_there(address: int) -> None:
    symbol = KernelSymbols(TABLE).resolve(address)
    assert not symbol and symbol.name == ""
    assert format_frame(symbol, address) == hex(address)


def test_by_name() -> None:
    symbols = KernelSymbols(TABLE)
    assert symbols.address_of("vfs_read") == 0xFFFFFFFF81000100
    assert symbols.address_of("early") == 0xFFFFFFFFC0001000
    assert symbols.address_of("read") == 0 and symbols.address_of("vfs_rea") == 0
    assert symbols.has("late") and not symbols.has("vfs")


def test_hidden_addresses_are_said_to_be_hidden() -> None:
    symbols = KernelSymbols(b"0000000000000000 T first\n0000000000000000 T vfs_read\n")
    assert symbols.restricted and "hidden" in symbols.problem and "kptr_restrict" in symbols.hint
    assert not symbols.resolve(0xFFFFFFFF81000100)
    assert not symbols.resolve(0)


def test_no_table(tmp_path: Path) -> None:
    symbols = KernelSymbols(path=str(tmp_path / "none"))
    assert not symbols.resolve(5) and "no such file" in symbols.problem and not symbols.restricted
    assert KernelSymbols(b"").problem == ""


def test_refresh_reads_again(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_bytes(TABLE)
    symbols = KernelSymbols(path=str(path))
    assert symbols.resolve(0xFFFFFFFFC0001004).name == "early"
    path.write_bytes(TABLE.replace(b"early", b"fresh"))
    assert symbols.resolve(0xFFFFFFFFC0001004).name == "early"
    symbols.refresh()
    assert symbols.resolve(0xFFFFFFFFC0001004).name == "fresh"


@given(st.lists(st.integers(2**63, 2**63 + 5000), min_size=1, max_size=60), st.integers(2**63 - 10, 2**63 + 6000))
def test_search_equals_a_plain_walk(starts: list[int], address: int) -> None:
    rows = sorted(starts)
    table = "".join(f"{start:016x} t f{i}\n" for i, start in enumerate(rows)).encode()
    expected = ("", 0)
    below = [start for start in rows if start <= address]
    if below:
        expected = (f"f{rows.index(below[-1])}", address - below[-1])
    found = KernelSymbols(table).resolve(address)
    assert (found.name, found.offset) == expected


def test_frames_as_text() -> None:
    symbol = KernelSymbols(TABLE).resolve(0xFFFFFFFF81000104)
    address = 0xFFFFFFFF81000104
    assert format_frame(symbol, address) == "vfs_read+4"
    assert format_frame(symbol, address, offset=False) == "vfs_read"
    assert format_frame(symbol, address, "perf") == "ffffffff81000104 vfs_read+4 (kernel)"
    assert format_frame(symbol, address, "raw") == "ffffffff81000104"
    assert format_frame(KernelSymbols(TABLE).resolve(16), 16, "perf") == "10 0x10 ([unknown])"
