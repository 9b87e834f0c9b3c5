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
