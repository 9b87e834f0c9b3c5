"""The page on testing, block by block: what it shows is what happens, as an ordinary user too."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from _pages import ROOT, Page, blocks

STARTS = os.access(sys.executable, os.X_OK)
PAGE = ROOT / "docs/testing.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("page")
    made = Page(PAGE, folder)
    launcher = folder / "bin/python"
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT}/src exec {sys.executable} "$@"\n')
    launcher.chmod(0o755)
    if not any(point.name == "osmia" for point in entry_points(group="pytest11")):
        made.environment["PYTEST_PLUGINS"] = "osmia.testing.plugin"  # this Osmia is a checkout, not installed
    return made


@pytest.mark.parametrize("index", range(len(blocks(PAGE))))
def test_the_page_says_what_happens(page: Page, index: int) -> None:
    if '.c")' in page.blocks[index].code.text and not shutil.which("clang"):
        pytest.skip("needs clang, which compiles the C file")
    if "vm.struct(" in page.blocks[index].code.text and not os.access("/sys/kernel/btf/vmlinux", os.R_OK):
        pytest.skip("needs the kernel's types")
    if page.blocks[index].code.language == "console" and not STARTS:
        page.run(index - 1)
        page._done = index + 1
        pytest.skip("this user may not start this Python again")
    page.run(index)


@pytest.mark.skipif(not STARTS, reason="this user may not start this Python again")
def test_it_ends_with_what_a_test_run_leaves(page: Page) -> None:
    page.run(len(page.blocks) - 1)
    folder = Path(page.folder) / "coverage"
    assert (folder / "lcov.info").read_text().startswith("TN:\nSF:denied.bt\n")
    assert "denied.bt" in (folder / "index.html").read_text()
