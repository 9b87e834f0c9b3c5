"""The project's own rules: layers, the size of files, what the start path may import."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import osmia

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(p for p in (ROOT / "src/osmia").rglob("*.py") if "_gen" not in p.parts)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Each of these costs more than a cached script has to spare (measured: 3 to 40 ms of CPU).
SLOW_MODULES = {
    "argparse", "asyncio", "collections.abc", "dataclasses", "enum", "inspect", "json", "llvmlite", "numpy", "pathlib",
    "re", "subprocess", "tempfile", "typing",
}  # fmt: skip


def rel(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert osmia.__version__ == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_package_has_its_layer() -> None:
    contract = PROJECT["tool"]["importlinter"]["contracts"][0]
    placed = {name.strip() for row in contract["layers"] for name in row.split("|")}
    modules = {
        f"osmia.{p.stem}" for p in (ROOT / "src/osmia").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    # osmia.tools holds scripts and no code; __main__ only calls the command line.
    assert modules - placed <= {"osmia.__init__", "osmia.__main__", "osmia.tools"}


def test_the_picture_of_the_layers_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("draw_layers", ROOT / "docs/draw_layers.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (ROOT / "docs/layers.svg").read_text() == script.draw(), "run: python docs/draw_layers.py"


@pytest.mark.parametrize("path", SOURCES, ids=rel)
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 900
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno and f.end_lineno - f.lineno >= 60}
    assert long == {}


@pytest.mark.parametrize("path", SOURCES, ids=rel)
def test_annotations_cost_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text())
    future = any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in tree.body)
    code = [n for n in tree.body if not isinstance(n, ast.Expr | ast.ImportFrom | ast.Import | ast.Assign)]
    assert future or not code


@pytest.mark.parametrize(
    "module", ["osmia", "osmia.cli", "osmia.objects", "osmia.session", "osmia.sinks", "osmia.kernel"]
)
def test_the_start_path_imports_nothing_slow(module: str) -> None:
    # -I -S: no site packages, whose .pth files import what they like.
    program = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); import {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert SLOW_MODULES & set(done.stdout.split()) == set()
