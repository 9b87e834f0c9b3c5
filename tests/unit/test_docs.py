"""The documentation: public names have docstrings, links lead somewhere, snippets that say they run do run."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
from pathlib import Path

import pytest
from _snippets import Snippet, commands, matches, runnable, snippets

import osmia

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ["osmia", *sorted(m.name for m in pkgutil.walk_packages(osmia.__path__, "osmia.") if m.ispkg)]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def public_names() -> list[tuple[str, str]]:
    return [(p, name) for p in PACKAGES for name in getattr(importlib.import_module(p), "__all__", ())]


@pytest.mark.parametrize("package", [p for p in PACKAGES if not p.endswith("._gen")])
def test_a_package_says_what_it_is(package: str) -> None:
    assert (importlib.import_module(package).__doc__ or "").strip()


@pytest.mark.parametrize("package, name", public_names())
def test_a_public_name_is_there_and_documented(package: str, name: str) -> None:
    value = getattr(importlib.import_module(package), name)
    if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
        assert (value.__doc__ or "").strip(), f"{package}.{name} has no docstring"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [t for t in LINK.findall(page.read_text()) if "://" not in t]
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    reached: set[Path] = set()
    todo = [ROOT / "docs/index.md"]
    while todo:
        page = todo.pop().resolve()
        if page not in reached and page.suffix == ".md" and page.exists():
            reached.add(page)
            todo += [page.parent / t for t in LINK.findall(page.read_text()) if "://" not in t]
    assert {p for p in PAGES if p.is_relative_to(ROOT / "docs")} <= reached


def test_the_commands_of_the_readme_are_make_targets() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = re.findall(r"make ([a-z]+)\b(?= {2,}#)", (ROOT / "README.md").read_text())
    assert set(named) >= {"run", "test"}
    assert set(named) <= set(targets)


@pytest.mark.parametrize("snippet", runnable(PAGES, ROOT), ids=lambda s: s.name)
def test_a_snippet_runs(snippet: Snippet, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "root" in snippet.words:
        if os.geteuid():
            pytest.skip("the snippet needs root")
        request.getfixturevalue("tracefs")
    snippet.run(tmp_path)


# The framework itself.

PAGE = """Text.

```console runnable
$ echo one
one
$ printf 'a\\nb\\nc\\n'
a
...
c
```

```python
never run
```
"""


def test_fences_are_found_with_their_words() -> None:
    first, second = snippets(PAGE, "page.md")
    assert (first.name, first.language, first.words) == ("page.md:3", "console", ("runnable",))
    assert (second.language, second.words) == ("python", ())
    assert commands(first.text)[0] == ("echo one", "one\n")


def test_a_console_snippet_is_compared(tmp_path: Path) -> None:
    good = snippets(PAGE, "page.md")[0]
    good.run(tmp_path)
    with pytest.raises(AssertionError, match="printed"):
        good._replace(text="$ echo one\ntwo\n").run(tmp_path)


def test_a_python_snippet_must_not_fail(tmp_path: Path) -> None:
    Snippet("p.md", 1, "python", (), "import osmia").run(tmp_path)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        Snippet("p.md", 1, "python", (), "1 / 0").run(tmp_path)


@pytest.mark.parametrize(
    "expected, printed, same",
    [
        ("a\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("a ... c\n", "a b c\n", True),
        ("a\n...\n", "a\nb\nc\n", True),
        ("...\nc\n", "a\nb\nc\n", True),
        ("", "", True),
        ("", "x\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_output_is_matched_with_wildcards(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same
