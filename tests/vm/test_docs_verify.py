"""The page on verifying, block by block: what it shows is what is said, as an ordinary user too."""

from __future__ import annotations

import pytest
from _pages import ROOT, Page, blocks

PAGE = ROOT / "docs/verify.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(PAGE, tmp_path_factory.mktemp("page"))


@pytest.mark.parametrize("index", range(len(blocks(PAGE))))
def test_the_page_says_what_happens(page: Page, index: int) -> None:
    page.run(index)


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
