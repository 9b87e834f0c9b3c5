"""Where x86-64 instructions start, against objdump on real programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osmia.elf import instruction_length, is_boundary, open_elf
from osmia.errors import ElfError

FILES = ("/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libm.so.6", "/bin/bash")
LINE = re.compile(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*(\S*)")


@pytest.mark.skipif(not shutil.which("objdump"), reason="objdump is not installed")
@pytest.mark.parametrize("path", FILES)
def test_lengths_agree_with_objdump(path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"no {path} here")
    text = subprocess.run(
        ["objdump", "-d", "-w", "--section=.text", path], stdout=subprocess.PIPE, text=True, check=True, timeout=120
    ).stdout
    checked = wrong = 0
    for line in text.splitlines():
        found = LINE.match(line)
        if not found or "(bad)" in line:
            continue
        code = bytes.fromhex(found[2].replace(" ", ""))
        if code[0] == 0x9B:
            continue  # objdump shows fwait and the instruction behind it as one
        checked += 1
        try:
            wrong += instruction_length(code) != len(code)
        except ElfError:
            wrong += 1
    assert checked > 10_000 and wrong == 0


def test_boundaries_of_a_function() -> None:
    # push %rbp; mov %rsp,%rbp; movabs $0x1122334455667788,%rax; jne .+0x10; ret
    code = bytes.fromhex("55 4889e5 48b88877665544332211 0f850a000000 c3".replace(" ", ""))
    assert [i for i in range(len(code)) if is_boundary(code, i)] == [0, 1, 4, 14, 20]


@given(st.binary(max_size=32))
def test_any_bytes(code: bytes) -> None:
    try:
        assert 0 < instruction_length(code) <= 15
    except ElfError:
        pass


@pytest.mark.parametrize("code", [b"", b"\x60", b"\x0f", b"\x48", b"\x66" * 15, b"\xc4\xe2"])
def test_no_instruction(code: bytes) -> None:
    with pytest.raises(ElfError):
        instruction_length(code)


def test_every_function_start_is_reached() -> None:
    path = FILES[0]
    if not os.path.exists(path):
        pytest.skip(f"no {path} here")
    with open_elf(path) as elf:
        symbol = elf.find_symbol("malloc")
        assert symbol is not None
        code = elf.read(elf.addr_to_offset(symbol.value), symbol.size)
    assert is_boundary(code, 0)
    assert not all(is_boundary(code, i) for i in range(1, 8))
