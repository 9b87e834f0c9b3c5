"""What the language reference shows is what happens: its scripts load, its expressions print what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from _snippets import Snippet, snippets

import osmia
from osmia.errors import NotSupported
from osmia.lang.bpftrace.builtins import TABLE
from osmia.session import Print, render

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/language.md"
SCRIPTS = [s for s in snippets(PAGE.read_text(), "docs/language.md") if s.language == "bpftrace"]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gen_reference", ROOT / "scripts/gen_reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = generator()


@pytest.mark.parametrize("name", ["LITERALS", "EXPRESSIONS"])
def test_expressions_print_what_the_reference_says(name: str) -> None:
    rows = getattr(GENERATOR, name)
    script = "begin { " + " ".join(f"print({expression});" for expression, _prints, _why in rows) + " exit() }"
    with osmia.trace(script) as trace:
        printed = [render(e.value) for e in trace.events(timeout=5) if isinstance(e, Print)]
    assert printed == [prints for _expression, prints, _why in rows]


@pytest.mark.parametrize("snippet", SCRIPTS, ids=lambda s: s.name)
def test_scripts_run(snippet: Snippet) -> None:
    with osmia.trace(snippet.text, duration=0.2) as trace:
        assert trace.wait() == 0


@pytest.mark.parametrize("name", TABLE)
def test_a_row_can_be_used_as_it_is_shown(name: str, tracefs: Path) -> None:
    script = GENERATOR.use(name)
    if GENERATOR.refused(script):
        return  # and the page says so
    try:
        osmia.compile(script, unsafe=True, cache=False)
    except NotSupported as e:
        pytest.skip(f"this kernel lacks {e.feature}")
