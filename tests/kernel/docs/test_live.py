"""The first script that a new user sees, `make run`, has nothing to complain of on a busy machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import osmia
from osmia.session import Attached

SCRIPT = Path(__file__).resolve().parents[3] / "docs/examples/live.bt"
FILES = 12_000  # more than there is room for

pytestmark = pytest.mark.usefixtures("require_root", "tracefs")


def test_many_files() -> None:
    warned: list[str] = []
    with osmia.trace(SCRIPT.read_text(), duration=30) as trace:
        for event in trace.events(timeout=20):
            if isinstance(event, Attached):
                break
        for number in range(FILES):
            try:
                os.close(os.open(f"/no/such/file/{number}", os.O_RDONLY))
            except FileNotFoundError:
                continue
        opened = len(trace.maps["@opened"])
        trace.stop()
        trace.wait()
        warned = [str(w) for w in trace.warnings]
    assert 4096 < opened <= 10_000
    assert not warned
