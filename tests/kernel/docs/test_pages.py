"""The tutorial and the API page, run block by block."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from _pages import ROOT, Page, blocks

PAGES = ("tutorial.md", "api.md")
CASES = [(name, index) for name in PAGES for index in range(len(blocks(ROOT / "docs" / name)))]
HEADERS = (Path("/usr/include/sys/sdt.h"), *Path("/usr/include").glob("*/sys/sdt.h"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    return {name: Page(ROOT / "docs" / name, tmp_path_factory.mktemp("page")) for name in PAGES}


@pytest.mark.parametrize("name, index", CASES)
def test_a_block_does_what_the_page_says(pages: dict[str, Page], name: str, index: int, tracefs: Path) -> None:
    if not shutil.which("gcc") or not any(header.exists() for header in HEADERS):
        pytest.skip("needs gcc and sys/sdt.h (apt-get install gcc systemtap-sdt-dev)")
    pages[name].run(index)
