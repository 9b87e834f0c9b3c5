"""What the pages say about names, files, options and messages is what there is."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
from _snippets import Snippet, snippets

import osmia
import osmia.session
from osmia import cli, errors

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src/osmia"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
API = (ROOT / "docs/api.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
LINK = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
PYTHON = [s for p in PAGES for s in snippets(p.read_text(), str(p.relative_to(ROOT))) if s.language == "python"]
# design.md is the plan: it names what is not there yet.
NAMED = {name for p in PAGES if p.name != "design.md" for name in re.findall(r"\bosmia(?:\.\w+)+", p.read_text())}


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown renderer gives to headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_anchors_are_headings(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if "://" not in target:
            assert anchor in anchors((page.parent / target) if target else page), f"{target}#{anchor}"


@pytest.mark.parametrize("snippet", PYTHON, ids=lambda s: s.name)
def test_python_compiles(snippet: Snippet) -> None:
    compile(snippet.text, snippet.name, "exec")


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_name_that_a_page_mentions_exists(name: str) -> None:
    value: object = osmia
    for i, part in enumerate(name.split(".")[1:], 2):
        try:
            value = importlib.import_module(".".join(name.split(".")[:i]))
        except ImportError:
            value = getattr(value, part)


def mentioned_files() -> list[str]:
    found = re.findall(r"`([\w./*]+\.(?:py|toml))`", ARCHITECTURE)
    return sorted({name for name in found if "/" in name or not name.startswith("_")})


@pytest.mark.parametrize("name", mentioned_files())
def test_a_file_that_the_architecture_mentions_exists(name: str) -> None:
    assert list(SOURCES.glob(name)) or (ROOT / name).exists()


def test_the_picture_of_the_way_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    flow = importlib.import_module("draw_flow")
    try:
        assert (ROOT / "docs/flow.svg").read_text() == flow.draw(), "run: python docs/draw_flow.py"
        assert [name for name in flow.files() if not (SOURCES / name).exists()] == []
        assert len(flow.files()) > 15
    finally:
        del sys.modules["draw_flow"], sys.modules["draw_layers"]


def test_every_layer_is_described() -> None:
    names = {f"osmia.{p.stem}" for p in SOURCES.iterdir() if (p / "__init__.py").exists() or p.suffix == ".py"}
    names -= {"osmia.__init__", "osmia.__main__"}
    assert {name for name in names if f"| `{name}` |" not in ARCHITECTURE} == set()


def test_the_tree_of_errors() -> None:
    assert errors.__doc__
    tree = inspect.cleandoc(errors.__doc__).partition("    OsmiaError\n")[2].partition("\n\n")[0]
    assert tree.count("\n") > 10
    for line in tree.split("\n"):
        assert line.removeprefix("    ") in API


def test_every_event_is_described() -> None:
    kinds = [getattr(osmia.session, name) for name in osmia.session.__all__]
    events = [k.__name__ for k in kinds if isinstance(k, type) and issubclass(k, osmia.session.Event)]
    assert [name for name in events if name != "Event" and f"`{name}`" not in API] == []


@pytest.mark.parametrize("argument", [p for p in inspect.signature(osmia.trace).parameters if p != "params"])
def test_every_argument_of_trace_is_described(argument: str) -> None:
    assert f"| `{argument}` |" in API


def test_all_that_a_trace_has_is_described() -> None:
    names = [name for name in vars(osmia.Trace) if not name.startswith("_")]
    names = [n for n in names if n not in ("start", "close")]  # what `with` does
    assert [n for n in names if f"`{n}" not in API] == []


def test_every_json_message_is_described() -> None:
    source = (SOURCES / "sinks/_json.py").read_text()
    kinds = set(re.findall(r'(?:"type": "|line\("|counted\(")(\w+)', source)) | {"map", "hist", "stats", "tseries"}
    assert len(kinds) >= 15
    assert {kind for kind in kinds if f"`{kind}`" not in API} == set()


def test_every_command_is_described() -> None:
    assert [name for name in cli.COMMANDS if f"| `{name}` |" not in API] == []
    for status in (cli.ERROR, cli.USAGE, cli.INTERRUPTED, cli.PIPE):
        assert f"| {status} |" in API


def test_every_variable_of_the_environment_is_described() -> None:
    code = "\n".join(p.read_text() for p in SOURCES.rglob("*.py"))
    names = set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", code))
    assert "OSMIA_DEBUG" in names
    assert {name for name in names if f"`{name}`" not in API} == set()
