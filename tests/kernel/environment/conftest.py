"""A place to start commands from; see tests/_environment.py."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from _environment import Place


@pytest.fixture(scope="session")
def place(require_root: None, tracefs: Path) -> Iterator[Place]:
    """Where commands are started; see `Place`."""
    folder = Path(tempfile.mkdtemp(prefix="osmia-environment-"))
    place = Place(folder)
    yield place
    for mounted in place.mountpoints:
        mounted.rmdir()  # not rmtree: should something be mounted there after all, it must not be lost
    shutil.rmtree(folder)
