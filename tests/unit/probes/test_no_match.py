"""Why a user probe is not found: what is said of its file and its function is so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.errors import ProbeError
from osmia.probes import Catalogue, parse_probe

CODE = """
static int helper(int x) { return x * 3 + 1; }
__attribute__((noinline)) int deposit(int x) { return x + 2; }
int main(int c, char **v) { int s = 0; for (int i = 0; i < 10; i++) s += helper(i * c); return s & deposit(c); }
"""


def refused(probe: str, pid: int = 0) -> ProbeError:
    with Catalogue(pid=pid) as catalogue, pytest.raises(ProbeError) as caught:
        catalogue.require(parse_probe(probe))
    return caught.value


def test_files_that_are_not_there_or_are_no_files(tmp_path: Path) -> None:
    assert (
        refused("u:/none/at/all:f").message == "match uprobe: '/none/at/all' cannot be read: no such file or directory"
    )
    assert refused(f"u:{tmp_path}:f").message == f"match uprobe: '{tmp_path}' is a directory"
    assert refused("u:/dev/null:f").message == "match uprobe: '/dev/null' is no regular file"
    assert refused("u:/etc/passwd:f").message == "match uprobe: '/etc/passwd' is no ELF file"


def test_files_that_may_not_be_read(tmp_path: Path) -> None:
    if not os.geteuid():
        pytest.skip("root may read every file")
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF")
    path.chmod(0o100)
    error = refused(f"u:{path}:f")
    assert error.message == f"match uprobe: '{path}' cannot be read: permission denied" and "sudo" in error.hint


def test_names_of_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Callable[..., str]) -> None:
    assert "is no program in $PATH, and no library" in refused("u:nosuchprogram:f").message
    program = build("prog-nomatch", CODE, "-O2", "-g")
    monkeypatch.chdir(os.path.dirname(program))
    assert refused("u:prog-nomatch:deposit").hint == "did you mean ./prog-nomatch?"
    script = tmp_path / "myscript"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused("u:myscript:f").message == f"match uprobe: 'myscript' is {script}, which is no ELF file"


def test_functions_that_were_inlined_or_stripped(tmp_path: Path, build: Callable[..., str]) -> None:
    program = build("prog-nomatch", CODE, "-O2", "-g")
    assert refused(f"u:{program}:helper").hint.startswith("the compiler inlined helper: ")
    assert refused(f"u:{program}:nothinglike").hint == ""
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", str(stripped), program], check=True)
    assert f"{stripped} has no symbol table (stripped?)" in refused(f"u:{stripped}:deposit").hint


def test_the_beginning_of_a_name(build: Callable[..., str]) -> None:
    program = build("prog-nomatch", CODE, "-O2", "-g")
    assert refused(f"u:{program}:dep").hint == f"did you mean uprobe:{program}:deposit?"


def test_hints_where_missing_probes_cannot_help(build: Callable[..., str]) -> None:
    """An error with a hint of its own gets no other."""
    program = build("prog-nomatch", CODE, "-O2", "-g")
    assert "offsets in deposit are 0 to " in refused(f"u:{program}:deposit+5000").hint
    assert refused("u:libc:malloc", pid=4194303).hint
