"""Generated programs give the same result, maps and packet in all engines."""

from __future__ import annotations

import os
import random

from _vm_programs import make
from _vm_run import in_user_space


def test_generated_programs() -> None:
    first = int(os.environ.get("OSMIA_SEED", "0")) or random.randrange(1 << 40)
    print("seed", first)
    for k in range(40):
        program = make(first + k)
        wanted = in_user_space(program, "interpreter")
        for engine in ("JIT", "checked JIT") if k % 4 == 0 else ("JIT",):
            assert in_user_space(program, engine) == wanted, (first + k, engine)
