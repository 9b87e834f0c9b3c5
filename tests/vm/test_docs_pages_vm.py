"""The pages on verifying and on user space, block by block: what they show is what happens, as an ordinary user too."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pages import ROOT, Page, blocks

PAGES = [ROOT / "docs/verify.md", ROOT / "docs/userspace.md"]
BLOCKS = [(page, index) for page in PAGES for index in range(len(blocks(page)))]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    return {page: Page(page, tmp_path_factory.mktemp("page")) for page in PAGES}


@pytest.mark.parametrize(("page", "index"), BLOCKS, ids=[f"{page.stem}-{index}" for page, index in BLOCKS])
def test_the_page_says_what_happens(pages: dict[Path, Page], page: Path, index: int) -> None:
    pages[page].run(index)


def test_scripts_on_system_calls_are_verified_without_tracefs() -> None:
    """As an ordinary user for whom tracefs is closed."""
    import os
    import subprocess
    import sys

    if os.geteuid() == 0 and not os.access("/usr/bin/setpriv", os.X_OK):
        pytest.skip("no setpriv to become an ordinary user with")
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    probe = subprocess.run([*become, sys.executable, "-c", ""], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("an ordinary user cannot start this Python")
    script = "tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }"
    done = subprocess.run(
        [*become, sys.executable, "-m", "osmia", "verify", "-k", "6.1", "-e", script],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kernel 6.1: would load" in done.stdout
