"""Symbols where root is needed: the whole kernel table, other mount namespaces, deleted programs."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from osmia.symbols import KernelSymbols, UserSymbols

CODE = """
#include <stdio.h>
#include <unistd.h>
int work(int x) { return x * 2; }
int main(void) { printf("%p\\n", (void *)work); fflush(stdout); getchar(); return work(1) > 5; }
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    (tmp_path / "p.c").write_text(CODE)
    subprocess.run(["gcc", "-O0", "-o", tmp_path / "p", tmp_path / "p.c"], check=True, timeout=60)
    return tmp_path / "p"


def start(*argv: object) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline(), 16)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=20)


def test_whole_kernel_table() -> None:
    rows = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    core = [(int(row[0], 16), row[2]) for row in rows if len(row) == 3]
    if not core[-1][0]:
        pytest.skip("kernel addresses are hidden")
    first: dict[int, str] = {}
    for address, name in core:
        first.setdefault(address, name)
    symbols = KernelSymbols()
    for address, name in random.Random(7).sample(sorted(first.items()), 2000):
        found = symbols.resolve(address)
        assert (found.name, found.offset, found.module) == (name, 0, "kernel")
    for name in ("vfs_read", "schedule"):
        assert symbols.resolve(symbols.address_of(name) + 5).name == name


def test_deleted_program_after_it_ended(program: Path) -> None:
    process, work = start(program)
    try:
        program.unlink()
        with UserSymbols() as symbols:
            symbols.capture(process.pid)
            end(process)
            found = symbols.resolve(process.pid, work + 2)
            assert (found.name, found.offset) == ("work", 2)
    finally:
        end(process)


def test_program_in_its_own_mount_namespace(program: Path, tmp_path: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed")
    inside = tmp_path / "inside"
    inside.mkdir()
    script = f"mount -t tmpfs none {inside} && cp {program} {inside}/hidden && exec {inside}/hidden"
    process, work = start("unshare", "-m", "sh", "-c", script)
    try:
        assert not (inside / "hidden").exists()
        with UserSymbols() as symbols:
            assert symbols.resolve(process.pid, work).name == "work"
        with UserSymbols() as symbols:
            symbols.capture(process.pid)
            end(process)
            assert symbols.resolve(process.pid, work + 1).name == "work"
    finally:
        end(process)
