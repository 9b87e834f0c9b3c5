"""How the blocks of a page are found and compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from _pages import ROOT, Page, _compare, blocks

PAGE = """
```python
x = 2
print(x)
```

```text
2
```

```console
$ echo one; echo two
one
...
```

```python
print(x + 1)
```

Text between.

```text
not what it prints
```

```sh
false
```
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("_pages.ROOT", tmp_path)
    (tmp_path / "docs/examples").mkdir(parents=True)
    path = tmp_path / "docs/page.md"
    path.write_text(PAGE)
    return path


def test_blocks_and_what_they_print(page: Path) -> None:
    found = blocks(page)
    assert [b.code.language for b in found] == ["python", "console", "python"]
    assert [b.output.text if b.output else None for b in found] == ["2\n", None, None]


def test_a_block_runs_those_before_it(page: Path, tmp_path: Path) -> None:
    ran = Page(page, tmp_path)
    ran.run(2)
    assert ran.namespace["x"] == 2
    ran.run(1)  # ran already


@pytest.mark.parametrize("change", [("print(x)\n", "print(5)\n"), ("echo one;", "echo three;")])
def test_other_output_fails(page: Path, tmp_path: Path, change: tuple[str, str]) -> None:
    page.write_text(PAGE.replace(*change))
    with pytest.raises(AssertionError, match="printed"):
        Page(page, tmp_path).run(1)


def test_measured_numbers_may_differ() -> None:
    shown = "@ms:\n[16, 32)   1 |@@@@@|\n[32, 64)   1 |@@@@@|\n"
    printed = "@ms:\n[16, 32)  10 |@@@  |\n"
    _compare("here", shown, printed, True)
    for other in ("@us:\n[16, 32)  10 |@@@  |\n", "@ms:\n"):
        with pytest.raises(AssertionError):
            _compare("here", shown, other, True)
    with pytest.raises(AssertionError):
        _compare("here", shown, printed, False)


def test_the_pages_have_blocks() -> None:
    assert len(blocks(ROOT / "docs/tutorial.md")) > 20
    assert len(blocks(ROOT / "docs/api.md")) > 8
