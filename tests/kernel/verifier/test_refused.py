"""The running kernel refuses the same programs, with the same last words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osmia.errors import VerifierError
from osmia.kernel import KernelTarget
from osmia.objects import read_elf

ROOM = Path(__file__).parents[2] / "unit/verifier/refused"
OLD = ("padding",)
NAMES = sorted(path.stem for path in ROOM.glob("*.c") if path.stem not in OLD)
# Where the words are those of this version, and of later ones.
NEW_WORDS = tuple(int(n) for n in os.uname().release.split(".")[:2]) >= (6, 15)


@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_refuses_it(name: str) -> None:
    obj = read_elf((ROOM / f"{name}.bpf.o").read_bytes(), name)
    with pytest.raises(VerifierError) as caught:
        KernelTarget().load(obj).close()
    said = next(line for line in (ROOM / f"{name}.txt").read_text().splitlines() if line.startswith("  verifier: "))
    if NEW_WORDS:
        assert said.removeprefix("  verifier: ") in caught.value.log
