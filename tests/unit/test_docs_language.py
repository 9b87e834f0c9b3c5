"""The language reference is what the compiler's tables say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from osmia.lang.bpftrace.builtins import TABLE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gen_reference", ROOT / "scripts/gen_reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date(generator: ModuleType) -> None:
    if not Path("/sys/kernel/btf/vmlinux").exists():
        pytest.skip("what is missing is found out by compiling, which needs the kernel's BTF")
    same = generator.PAGE.read_text() == generator.page()
    assert same, "run: PYTHONPATH=src python scripts/gen_reference.py"


@pytest.mark.parametrize("name", TABLE)
def test_every_row_is_documented(name: str) -> None:
    row = TABLE[name]
    assert row.doc.endswith("."), "a sentence"
    assert row.signature
    page = (ROOT / "docs/language.md").read_text()
    for form in row.signature:
        assert form.replace("|", "\\|") in page


def test_every_row_of_a_table_has_all_cells() -> None:
    rows = [line for line in (ROOT / "docs/language.md").read_text().split("\n") if line.startswith("|")]
    widths = [len(re.split(r"(?<!\\)\|", line)) for line in rows]
    head = 0
    for line, width in zip(rows, widths):
        if set(line) <= set("|- "):
            assert width == head, line
        head = width
    assert min(widths) >= 3


def test_config_variables_without_effect_are_called_so(generator: ModuleType) -> None:
    sources = [p for p in (ROOT / "src/osmia").rglob("*.py") if p.name not in ("config.py", "checked.py")]
    code = "\n".join(p.read_text() for p in sources)
    unused = {name for name in generator.CONFIG if not re.search(rf"\b{name}\b", code)}
    assert unused == {name for name, text in generator.CONFIG.items() if text.startswith("accepted")}
