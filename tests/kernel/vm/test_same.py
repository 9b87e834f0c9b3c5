"""Interpreter, native code and the kernel: the same result, maps and packet for every generated program.

OSMIA_PROGRAMS and OSMIA_SEED say how many programs and which; 10,000 are run by hand before a release.
"""

from __future__ import annotations

import os
import random

import pytest
from _vm_programs import make
from _vm_run import ENGINES, in_kernel, in_user_space

COUNT = int(os.environ.get("OSMIA_PROGRAMS", "500"))


@pytest.mark.slow
def test_generated_programs() -> None:
    first = int(os.environ.get("OSMIA_SEED", "0")) or random.randrange(1 << 40)
    print("seed", first)
    refused = []
    for k in range(COUNT):
        program = make(first + k)
        wanted = in_kernel(program)
        if isinstance(wanted, str):
            refused.append((first + k, wanted))
            continue
        # Checked code takes longest to compile: a fifth of them.
        for engine in ENGINES if k % 5 == 0 else ("interpreter", "JIT"):
            assert in_user_space(program, engine) == wanted, (first + k, engine)
    assert len(refused) <= COUNT // 20, refused[:3]
