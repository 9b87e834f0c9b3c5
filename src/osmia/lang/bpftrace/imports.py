"""`import "..."`: scripts, C headers and folders of both, merged into the script that asks for them."""

from __future__ import annotations

import os

from ...errors import Diagnostic, SourceError
from . import ast
from .checked import Source
from .lexer import diagnostic
from .parser import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FILES = 1000
MAX_BYTES = 16 << 20  # of one script


def merge(
    script: ast.Script,
    sources: list[Source],
    errors: list[Diagnostic],
    *,
    have_btf: bool,
    include_dirs: Sequence[str],
) -> None:
    """Add probes, macros, map declarations and C definitions of all imports to `script`; each file counts once."""
    importer = _Importer(script, sources, errors, have_btf, include_dirs)
    importer.all_of(script)
    script.imports = []


class _Importer:
    def __init__(
        self,
        script: ast.Script,
        sources: list[Source],
        errors: list[Diagnostic],
        have_btf: bool,
        include_dirs: Sequence[str],
    ) -> None:
        self.script = script
        self.sources = sources
        self.errors = errors
        self.have_btf = have_btf
        self.include_dirs = include_dirs
        self.seen: set[str] = set()

    def error(self, span: ast.Span, message: str, hint: str = "") -> None:
        self.errors.append(diagnostic(self.sources[span.source], span.start, span.end, message, hint))

    def all_of(self, script: ast.Script) -> None:
        for item in script.imports:
            if item.path == "stdlib" or item.path.startswith("stdlib/"):
                continue  # built in: its functions and macros are there without being asked for
            base = os.path.dirname(self.sources[item.span.source].name)
            self.path(item, os.path.join(base, item.path))

    def path(self, item: ast.Import, path: str) -> None:
        real = os.path.realpath(path)
        if real in self.seen:
            return
        self.seen.add(real)
        if len(self.seen) > MAX_FILES:
            self.error(item.span, f"import '{item.path}': more than {MAX_FILES} files", "import fewer folders")
            return
        folder = real if os.path.isdir(real) else os.path.dirname(real)
        try:
            mode = os.stat(folder).st_mode
            os.stat(real)
        except OSError as e:
            self.error(item.span, f"import '{item.path}': {e.strerror}", "paths are relative to the script's folder")
            return
        if mode & 0o002:
            self.error(
                item.span,
                f"import '{item.path}': folder '{folder}' is world-writable",
                f"chmod o-w {folder}, or move the files",
            )
            return
        if os.path.isdir(real):
            for name in sorted(os.listdir(real)):
                if name.endswith((".bt", ".h", ".bpf.c")):
                    self.path(item, os.path.join(real, name))
        else:
            self.file(item, real)

    def file(self, item: ast.Import, path: str) -> None:
        if path.endswith(".h"):
            start = item.span
            self.script.definitions.append(ast.CDefinition(start, f'#include "{path}"'))
        elif path.endswith(".bt"):
            self.script_file(item, path)
        elif path.endswith(".c"):
            self.error(
                item.span,
                f"import '{item.path}': C code cannot be compiled here",
                "write it as a macro, or compile it into an object",
            )
        else:
            self.error(
                item.span, f"import '{item.path}': unknown kind of file", "importable are .bt and .h files, and folders"
            )

    def script_file(self, item: ast.Import, path: str) -> None:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                text = file.read(MAX_BYTES)
        except OSError as e:
            self.error(item.span, f"import '{item.path}': {e.strerror}", "check the file's permissions")
            return
        source = Source(path, text)
        index = len(self.sources)
        self.sources.append(source)
        try:
            found = parse(
                source, index, have_btf=self.have_btf, include_dirs=self.include_dirs, file_dir=os.path.dirname(path)
            )
        except SourceError as e:
            self.errors += e.diagnostics
            return
        if found.config:
            self.error(
                found.config[0].span, "only the root script can have a config block", "move it to the root script"
            )
        self.script.definitions += found.definitions
        self.script.macros += found.macros
        self.script.maps += found.maps
        self.script.probes += found.probes
        self.all_of(found)
