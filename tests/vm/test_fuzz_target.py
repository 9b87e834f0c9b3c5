"""A few of the inputs that tests/fuzz/fuzz_target.py makes by the hundred thousand: only our own errors come out."""

from __future__ import annotations

import os
import random
import time

import pytest
from _fuzz_inputs import KINDS, _entries, run_replay

COUNTS = {
    "verified": 150, "interpreted": 300, "native": 20, "elf": 50, "btf": 400, "captures": 400, "recordings": 80,
    "replays": 15, "policies": 400,
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_bad_input(name: str) -> None:
    seed = int(os.environ.get("OSMIA_SEED", "0")) or random.randrange(1 << 30)
    print("seed", seed)
    kind = KINDS[name]
    kind.setup()
    seen: dict[str, int] = {}
    for number in range(COUNTS[name]):
        began = time.process_time()
        try:
            outcome = kind.attempt(name, seed, number)
        except Exception as error:
            raise AssertionError(f"fuzz_target.py --again {name} {seed} {number}") from error
        seen[outcome] = seen.get(outcome, 0) + 1
        assert time.process_time() - began < 60, f"fuzz_target.py --again {name} {seed} {number}"
    if name == "replays":  # of recordings with an entry changed it may be that none replays
        assert run_replay(list(_entries())) == "replayed"
    else:
        assert len(seen) > 1, seen
