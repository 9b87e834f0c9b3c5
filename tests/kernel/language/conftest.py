"""Scripts against workloads that the tests start: the numbers are compared with what the workload says it did."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from osmia import syscalls


@pytest.fixture(scope="session", autouse=True)
def _opened_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What Osmia opens once a process and keeps (tracefs) is no leak of the first test; the cache is this run's own."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    if os.geteuid() == 0:
        syscalls.tracefs()


@pytest.fixture(scope="session")
def bpftrace() -> str:
    """The path of Debian's bpftrace, the peer; skips without it."""
    path = shutil.which("bpftrace")
    if path is None:
        pytest.skip("bpftrace is not installed (apt-get install bpftrace)")
    return path


@pytest.fixture(scope="session")
def clock_ticks() -> int:
    """Clock ticks a second, as /proc counts."""
    return os.sysconf("SC_CLK_TCK")


@pytest.fixture
def some_file() -> Iterator[Path]:
    """A file to open whose name no other process knows; short enough for the peer, which cuts strings at 64 bytes."""
    with tempfile.TemporaryDirectory(prefix="osmia-") as folder:
        path = Path(folder, "opened")
        path.touch()
        yield path
