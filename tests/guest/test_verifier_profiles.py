"""Older kernels as the oracle: the profiles 6.1 and 6.12 give random programs, new ones each run, their verdicts."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import pytest
from _kernel import PACKAGES, VmUnavailable
from _oracle import Score, programs
from _random_programs import MAPS
from _vm import run

from osmia.isa import MAP_TYPES, PROG_TYPES
from osmia.verifier import MapInfo, Program, profile, verify

COUNT = 1000
LEAST = COUNT // 5
TIMEOUT_S = 240  # 15 are enough where nothing else runs; on a busy machine the guest comes less far
INFOS = tuple(MapInfo(MAP_TYPES[kind], key, value, entries) for kind, key, value, entries in MAPS)
HERE = Path(__file__).parent

pytestmark = pytest.mark.guest


def verdicts_of(kernel: str, folder: Path) -> list[tuple[bool | None, str]]:
    """What that kernel says of the programs in the folder, as far as it came; None: nothing within some seconds."""
    path = os.pathsep.join(sys.path)
    try:
        done = run(
            [sys.executable, str(HERE / "_load_programs.py"), str(folder)],
            kernel=kernel, shared=folder, timeout=TIMEOUT_S,
            env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )  # fmt: skip
    except VmUnavailable as e:
        if os.environ.get("OSMIA_REQUIRE_GUEST"):
            raise
        pytest.skip(str(e))
    found = folder / "verdicts"
    lines = found.read_text().splitlines() if found.exists() else []
    if done.status != 0 and "timed out" not in done.problem:
        pytest.fail(f"{done.problem}\n{done.stderr[-2000:]}\n{done.console[-2000:]}")
    return [(loads, words) for loads, words in map(json.loads, lines)]


@pytest.mark.parametrize("kernel", sorted(PACKAGES))
def test_verdicts_are_the_kernels(kernel: str, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    made = list(programs(seed, COUNT))
    (tmp_path / "programs").write_text("".join(f"{type} {code.hex()}\n" for _, type, _, code in made))
    score = Score()
    for (one, type, text, code), (loads, words) in zip(made, verdicts_of(kernel, tmp_path), strict=False):
        if loads is None:
            continue
        verdict = verify(Program(code, PROG_TYPES[type], maps=INFOS), profile(kernel))
        score.add(f"seed {one} ({type}):\n{text}", loads, words, verdict.accepted, verdict.message)
    judged = score.agreed + len(score.wrong)
    print(f"{score.agreed} of {judged} alike, {score.accepted} accepted")
    if judged < LEAST:
        assert not score.harmful, score.harmful[0]
        pytest.skip(f"this machine is too busy: the guest came to {judged} of {COUNT} programs in {TIMEOUT_S} s")
    score.check(least=LEAST)
