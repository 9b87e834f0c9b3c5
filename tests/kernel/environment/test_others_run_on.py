"""Other programs are not disturbed by `osmia doctor`, which attaches probes, nor by return probes where none can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from _environment import Place, refused

from osmia.elf import open_elf


def starts(times: int) -> int:
    """How many of so many starts of an interpreter fail."""
    argv = [str(Path(sys.executable).resolve()), "-S", "-E", "-c", "pass"]
    return sum(subprocess.run(argv, capture_output=True, timeout=30).returncode != 0 for _ in range(times))


def test_doctor(place: Place) -> None:
    failed = 0
    for _ in range(3):
        with place.popen("doctor") as child:
            while child.poll() is None:
                failed += starts(1)
            child.communicate()
    assert failed == 0


@pytest.fixture
def program(place: Place) -> Path:
    """A copy of a small program, so that a probe on it concerns nobody else."""
    copy = place.folder / "program"
    if not copy.exists():
        copy.write_bytes(Path("/bin/true").read_bytes())
        copy.chmod(0o755)
    return copy


def test_return_probes_at_the_entry_point(place: Place, program: Path) -> None:
    """Nothing called `_start`: what stands where its return address would is the count of arguments."""
    with open_elf(str(program)) as elf:
        entry = elf.entry
    text = refused(place.trace(f"uretprobe:{program}:{entry:#x} {{ @ = count(); }}", "--unsafe"))
    assert "the program starts there, and never returns from it" in text and "hint: use uprobe" in text
    script = f"uprobe:{program}:{entry:#x} {{ @ = count(); }}"
    done = place.run("trace", "--unsafe", "-c", str(program), "-e", script)
    assert (done.returncode, done.stdout) == (0, "\n\n@: 1\n"), done.stderr
