"""The runner itself: exit status, output, shared folder, time limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from _kernel import VmUnavailable
from _vm import GuestRun, run

pytestmark = pytest.mark.guest


def guest(*command: str, **options: object) -> GuestRun:
    try:
        return run(list(command), env={"PATH": os.environ["PATH"]}, **options)  # type: ignore[arg-type]
    except VmUnavailable as e:
        if os.environ.get("OSMIA_REQUIRE_GUEST"):
            raise
        pytest.skip(str(e))


def test_status_and_output_are_exact_and_writes_stay_inside(tmp_path: Path) -> None:
    script = f"echo out; echo err >&2; echo kept >{tmp_path}/kept; touch /lost; yes | head -c 300000; exit 37"
    done = guest("sh", "-c", script, shared=tmp_path)
    assert (done.status, done.stderr, done.problem) == (37, "err\n", "")
    assert done.stdout == "out\n" + "y\n" * 150_000
    assert (tmp_path / "kept").read_text() == "kept\n"
    assert not Path("/lost").exists()


def test_a_guest_that_takes_too_long_is_stopped() -> None:
    done = guest("sleep", "1000", timeout=8)
    assert (done.status, done.problem) == (None, "timed out after 8 s")
