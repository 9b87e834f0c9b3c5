"""Modules named with an underscore belong to their package: others take what the package exports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import osmia

ROOT = Path(osmia.__file__).parent
PACKAGES = sorted(p.name for p in ROOT.iterdir() if (p / "__init__.py").exists())


def reached(file: Path) -> list[str]:
    """The private modules of other packages that `file` imports, or imports from."""
    package = file.relative_to(ROOT).parts[0]
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        inside = file.relative_to(ROOT).parts[: -node.level]
        module = [*inside, *(node.module or "").split(".")] if node.module else [*inside]
        for name in node.names:
            parts = [*module, name.name]
            if parts[0] in PACKAGES and parts[0] != package and any(p.startswith("_") for p in parts):
                found.append(".".join(parts))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_reaches_into_another(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    assert {str(f.relative_to(ROOT)): r for f in files if (r := reached(f))} == {}
