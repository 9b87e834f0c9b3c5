"""Compiled programs (callbacks, iterators, locks, timers, dynptrs, sockets, global functions, kernel structs): the
kernel's verdict and its last words are ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from osmia.btf import Btf, load_kernel_btf
from osmia.errors import VerifierError
from osmia.kernel import KernelTarget
from osmia.objects import Object, read_elf
from osmia.verifier import from_spec, profile, verify

ROOM = Path(__file__).parent / "objects"
SOURCES = ("calls", "memory")
NOISE = ("processed ", "verification time", "stack depth", "insns ")


@pytest.fixture(scope="module", params=SOURCES)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Object:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang")
    made = tmp_path_factory.mktemp("objects") / f"{request.param}.o"
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-w", "-c", "-o", str(made)]
    subprocess.run([clang, *flags, str(ROOM / f"{request.param}.c")], check=True, timeout=60)
    return read_elf(made.read_bytes(), request.param)


def kernel_says(obj: Object, name: str, types: Btf) -> tuple[bool, str]:
    try:
        KernelTarget(types).load(obj, programs=[name]).close()
    except VerifierError as e:
        lines = [line for line in e.log.splitlines() if line.strip() and not line.startswith(NOISE)]
        return False, lines[-1] if lines else ""
    return True, ""


def test_the_kernel_says_the_same(compiled: Object) -> None:
    live = profile(os.uname().release)
    different, same_words, refused = [], 0, 0
    with closing(load_kernel_btf()) as types:
        answers = [
            (spec.name, kernel_says(compiled, spec.name, types), verify(from_spec(compiled, spec, types), live))
            for spec in compiled.programs
        ]
    for name, (loads, words), verdict in answers:
        if verdict.accepted != loads:
            different.append(f"{name}: the kernel says {words or 'yes'!r}, we say {verdict.message or 'yes'!r}")
        elif not loads:
            refused += 1
            same_words += verdict.message == words
    assert not different, "\n".join(different)
    assert same_words >= refused * (0.95 if live.version >= (6, 18) else 0.5)
