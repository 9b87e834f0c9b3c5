"""Documentation that is run as it stands, block by block.

    ```console           lines with `$ ` are commands; what follows is what they print (stdout and stderr)
    ```console numbers   the same, but numbers, and the rows and bars of histograms, may differ: they were measured
    ```python            runs in one namespace with the other Python blocks of the page
    ```text              directly behind a Python block: what that prints (`numbers` as above)

In what is printed, `...` stands for anything, and empty lines do not count. Blocks run in the order of the page, in a
folder that begins as a copy of docs/examples.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from _snippets import Snippet, commands, matches, snippets

ROOT = Path(__file__).resolve().parents[1]
COMMAND_TIMEOUT_S = 30
NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
BAR = re.compile(r" *\|@* *\|")


class Block(NamedTuple):
    """A snippet and, for Python, the snippet that says what it prints."""

    code: Snippet
    output: Snippet | None = None


def blocks(path: Path) -> list[Block]:
    """All blocks of a page that run."""
    text = path.read_text()
    found = snippets(text, str(path.relative_to(ROOT)))
    out = []
    for snippet, behind in zip(found, [*found[1:], None]):
        if snippet.language == "console":
            out.append(Block(snippet))
        elif snippet.language == "python":
            direct = behind is not None and behind.language == "text" and _adjacent(text, snippet, behind)
            out.append(Block(snippet, behind if direct else None))
    return out


def _adjacent(text: str, first: Snippet, second: Snippet) -> bool:
    end = first.line + first.text.count("\n") + 2  # the line behind the closing fence
    return all(not line.strip() for line in text.split("\n")[end - 1 : second.line - 1])


class Page:
    """The state that the blocks of one page share."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.blocks = blocks(path)
        self.folder = folder / "examples"
        self.namespace: dict[str, Any] = {"__name__": "page"}
        self._done = 0
        shutil.copytree(ROOT / "docs/examples", self.folder)
        # `osmia` is the one under test, wherever it is installed.
        tools = folder / "bin"
        tools.mkdir()
        launcher = tools / "osmia"
        launcher.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT}/src exec {sys.executable} -m osmia "$@"\n')
        launcher.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{tools}:{os.environ.get('PATH', '')}", "NO_COLOR": "1"}

    def run(self, index: int) -> None:
        """Run a block, after those before it that did not run yet."""
        while self._done <= index:
            self._done += 1
            self._run(self.blocks[self._done - 1])

    def _run(self, block: Block) -> None:
        if block.code.language == "console":
            for command, expected in commands(block.code.text):
                _compare(f"{block.code.name}: {command}", expected, self.shell(command), "numbers" in block.code.words)
            return
        printed = self.python(block.code)
        if block.output is not None:
            _compare(block.output.name, block.output.text, printed, "numbers" in block.output.words)

    def shell(self, command: str) -> str:
        """What a command prints, its status left alone."""
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip
        return done.stdout.decode("utf-8", "replace")

    def python(self, snippet: Snippet) -> str:
        """What a program prints; its exceptions come through, with the page in the traceback."""
        source = compile("\n" * snippet.line + snippet.text, str(ROOT / snippet.file), "exec")
        printed = io.StringIO()
        here = os.getcwd()
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(printed):
                exec(source, self.namespace)
        finally:
            os.chdir(here)
        return printed.getvalue()


def _compare(where: str, expected: str, printed: str, numbers: bool) -> None:
    wanted, got = _lines(expected, numbers), _lines(printed, numbers)
    assert matches(wanted, got), f"{where}\nprinted:\n{printed}\nnot:\n{expected}"


def _lines(text: str, numbers: bool) -> str:
    """The text to compare: without empty lines and blanks at the ends, numbers and bars made equal if asked for."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    if numbers:
        # Wider numbers eat the blanks before them.
        lines = [re.sub(r" +", " ", NUMBER.sub("N", BAR.sub(" |", line))) for line in lines]
        # A histogram may have more rows or fewer.
        lines = [line for line, before in zip(lines, ["", *lines]) if line != before]
    return "\n".join(lines)
