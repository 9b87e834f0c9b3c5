"""The kernel against a model: random expressions and programs must give what the language says.

CI runs 1,500 expressions and 120 programs with seeds of the day's choice; for a long run
    python tests/kernel/lower/test_differential.py COUNT [SEED]
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[3] / "src")]

import pytest
from kernel.lower.model import Variables
from kernel.lower.programs import Program, expressions
from kernel.lower.running import Result
from kernel.lower.texts import text_checks

from osmia.errors import OsmiaError

SEED = int(os.environ.get("OSMIA_TEST_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
PROBES, LINES = 5, 10  # few lines in a probe: the verifier walks every combination of branches


def outcome(script: str, seed: int) -> Result:
    try:
        return Result(script)
    except OsmiaError as error:
        error.add_note(f"seed {seed}:\n{script}")
        raise


def run_expressions(seed: int) -> int:
    rng = random.Random(seed)
    blocks, expected = [], []
    for _ in range(PROBES):
        body, wanted = expressions(rng, LINES)
        blocks.append(f"begin {{ {body} }}")
        expected += wanted
    result = outcome("\n".join(blocks) + "\nbegin { exit(); }", seed)
    assert len(result.printed) == len(expected), f"seed {seed}"
    for value, (expression, wanted) in zip(result.printed, expected):
        assert int(value) == wanted, f"seed {seed}: {expression.text}"
    return len(expected)


def run_programs(seed: int) -> int:
    rng = random.Random(seed)
    programs = [Program(rng) for _ in range(4)]
    blocks = [
        f"begin {{ @z = (int64)0; {p.setup()} {p.text} print(({i}, {', '.join(p.scope)})); }}"
        for i, p in enumerate(programs)
    ]
    result = outcome("\n".join(blocks) + "\nbegin { exit(); }", seed)
    printed = {value[0]: tuple(value[1:]) for value in result.printed}
    for i, p in enumerate(programs):
        final: Variables = p.run()
        wanted = None if "returned" in final else tuple(final[name] for name in p.scope)
        assert printed.get(i) == wanted, f"seed {seed}, program {i}: {p.text}\n{p.start}"
    return len(programs)


def run_texts(seed: int) -> int:
    rng = random.Random(seed)
    blocks, expected = [], []
    for _ in range(PROBES):
        body, wanted = text_checks(rng, LINES)
        blocks.append(f"begin {{ {body} }}")
        expected += wanted
    result = outcome("\n".join(blocks) + "\nbegin { exit(); }", seed)
    assert len(result.printed) == len(expected), f"seed {seed}"
    for value, (text, wanted) in zip(result.printed, expected):
        assert value == wanted, f"seed {seed}: {text}"
    return len(expected)


@pytest.mark.parametrize("number", range(30))
def test_expressions(number: int) -> None:
    run_expressions(SEED + number)


@pytest.mark.parametrize("number", range(30))
def test_programs(number: int) -> None:
    run_programs(SEED + number)


@pytest.mark.parametrize("number", range(10))
def test_texts_and_tuples(number: int) -> None:
    run_texts(SEED + number)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else SEED
    done = 0
    while done < count:
        try:
            done += run_expressions(seed) + run_programs(seed) + run_texts(seed)
        except AssertionError as problem:
            print(problem)
            return 1
        seed += 1
    print(f"{done} expressions and programs agree, seeds up to {seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
