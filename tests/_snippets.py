"""Code in the documentation that says it runs: fences whose info string has the word `runnable`.

    ```python runnable          a program; it must end without an exception
    ```console runnable root    lines with `$ ` are commands, what follows is their whole output

`root` marks what needs root. In expected output, `...` stands for any text (over lines when alone on its line).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(\w+)((?: \w+)*)\n(.*?)^```$", re.M | re.S)
TIMEOUT_S = 60


class Snippet(NamedTuple):
    """One fenced block. `line` counts from 1 in its file."""

    file: str
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line}"

    def run(self, folder: Path) -> None:
        """Run it with `folder` as the current one; AssertionError when it does not do what it says."""
        if self.language == "python":
            done = _run([sys.executable, "-c", self.text], folder)
            assert done.returncode == 0, f"{self.name} fails:\n{done.stdout}"
            return
        for command, expected in commands(self.text):
            done = _run(["sh", "-c", command], folder)
            assert matches(expected, done.stdout), f"{self.name}: {command} printed:\n{done.stdout}\nnot:\n{expected}"


def runnable(files: list[Path], root: Path) -> list[Snippet]:
    """All snippets of those files that say they run."""
    return [
        s for path in files for s in snippets(path.read_text(), str(path.relative_to(root))) if "runnable" in s.words
    ]


def snippets(text: str, file: str) -> list[Snippet]:
    """All fenced blocks of a Markdown text."""
    return [
        Snippet(file, text.count("\n", 0, m.start()) + 1, m[1], tuple(m[2].split()), m[3]) for m in FENCE.finditer(text)
    ]


def commands(text: str) -> list[tuple[str, str]]:
    """(command, expected output) pairs of a console block; a command goes on after a backslash."""
    pairs: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(("$ ", "# ")):
            pairs.append((line[2:].rstrip("\n"), ""))
        elif not pairs:
            raise ValueError(f"output before the first command: {line!r}")
        elif pairs[-1][0].endswith("\\") and not pairs[-1][1]:
            pairs[-1] = (f"{pairs[-1][0]}\n{line.rstrip()}", "")
        else:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] + line)
    return pairs


def matches(expected: str, printed: str) -> bool:
    """Compare, with `...` as a wildcard; trailing blanks do not count."""
    pattern = ""
    for line in expected.rstrip("\n").split("\n"):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r".*?".join(re.escape(part) for part in line.rstrip().split("...")) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n") is not None


def _run(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"  # so that `osmia` is the one under test
    sources = ":".join(str(Path(p).absolute()) for p in os.environ.get("PYTHONPATH", "").split(":") if p)
    return subprocess.run(
        argv, cwd=folder, env={**os.environ, "PATH": path, "PYTHONPATH": sources}, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S,
    )  # fmt: skip
