"""Programs of the kinds that people post when a verifier has refused them, and what we tell them.

Beside each NAME.c in refused/ are the object that clang made of it, and NAME.txt, what is to be said. To write the
texts again after a change (and read them): python tests/unit/verifier/test_refused.py
The objects: clang -O2 -g -target bpf -mcpu=v3 -fdebug-prefix-map=$PWD=. -c NAME.c -o NAME.bpf.o
(tested_copy: -mcpu=v2, without jumps on 32 bits)
"""

from __future__ import annotations

from pathlib import Path

import pytest

from osmia.objects import read_elf
from osmia.verifier import Verdict, from_spec, profile, verify

ROOM = Path(__file__).parent / "refused"
NAMES = sorted(path.stem for path in ROOM.glob("*.c"))
# Refused by older kernels only.
OLD = {"padding": "5.10"}


def ask(name: str) -> Verdict:
    obj = read_elf((ROOM / f"{name}.bpf.o").read_bytes(), name)
    return verify(from_spec(obj, obj.programs[0]), profile(OLD.get(name)))


def said(name: str) -> str:
    verdict = ask(name)
    assert not verdict.accepted
    assert verdict.explanation is not None
    return verdict.explanation.render() + "\n"


def test_there_are_twenty_of_them() -> None:
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said(name: str) -> None:
    assert said(name) == (ROOM / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", [n for n in NAMES if n != "deep_stack"])
def test_it_names_the_source_line_and_the_remedy(name: str) -> None:
    text = (ROOM / f"{name}.txt").read_text()
    place, source = text.splitlines()[:2]
    file, line, _ = place.split(":", 2)
    assert (ROOM / file).read_text().splitlines()[int(line) - 1].strip() == source.strip()
    assert "\nHINT: " in text


@pytest.mark.parametrize("name", sorted(OLD))
def test_newer_kernels_take_it(name: str) -> None:
    obj = read_elf((ROOM / f"{name}.bpf.o").read_bytes(), name)
    assert verify(from_spec(obj, obj.programs[0])).accepted


if __name__ == "__main__":
    for name in NAMES:
        (ROOM / f"{name}.txt").write_text(said(name))
