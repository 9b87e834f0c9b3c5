"""What callbacks of helpers may do: the profile says what the booted kernel does, also where kernels differ."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from osmia.btf import load_kernel_btf
from osmia.errors import VerifierError
from osmia.kernel import KernelTarget
from osmia.objects import Object, read_elf
from osmia.verifier import from_spec, profile, verify

SOURCE = Path(__file__).parents[2] / "kernel" / "verifier" / "objects" / "calls.c"


@pytest.fixture
def compiled(tmp_path: Path) -> Object:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang")
    made = tmp_path / "calls.o"
    flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-w", "-c", "-o", str(made)]
    subprocess.run([clang, *flags, str(SOURCE)], check=True, timeout=90)
    return read_elf(made.read_bytes(), "calls")


def test_the_kernel_says_the_same(compiled: Object) -> None:
    live = profile(os.uname().release)
    kernel, ours = {}, {}
    with closing(load_kernel_btf()) as types:
        for spec in compiled.programs:
            if not spec.name.startswith(("loop", "each")):
                continue
            ours[spec.name] = verify(from_spec(compiled, spec, types), live).accepted
            try:
                KernelTarget(types).load(compiled, programs=[spec.name]).close()
                kernel[spec.name] = True
            except VerifierError:
                kernel[spec.name] = False
    assert ours == kernel
    assert ours["loop_far"] is (live.version < (6, 6))
    assert len(set(kernel.values())) == 2
