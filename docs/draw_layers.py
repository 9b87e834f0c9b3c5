"""Draw docs/layers.svg from the layers in pyproject.toml: `python docs/draw_layers.py` (a test compares the two)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).resolve().parent
WIDTH, ROW, GAP, MARGIN, SIDE = 960, 58, 10, 16, 96
# What stands under each name; the groups give the colours.
CAPTIONS = {
    "cli": ("face", "the osmia command"),
    "testing": ("face", "unit tests of programs, in user space"),
    "_api": ("face", "osmia.trace, compile, load: the typed library"),
    "_cached": ("face", "compile a script, or take it from the cache"),
    "sinks": ("run", "events as text and NDJSON"),
    "session": ("run", "attach, poll, decode, count what was lost, act"),
    "kernel": ("target", "programs, maps, links, rings of the running kernel"),
    "vm": ("target", "interpreter, JIT, maps, helpers, event sources in user space"),
    "lang": ("front", "front-ends: the bpftrace language to LLVM IR"),
    "probes": ("front", "what can be probed"),
    "symbols": ("run", "addresses to names"),
    "verifier": ("plain", "would it load? abstract interpreter, one profile a kernel"),
    "codegen": ("front", "LLVM: IR, checks, object code"),
    "objects": ("plain", "programs, maps, attach points, event formats as plain data; ELF; cache"),
    "btf": ("plain", "types: read, build, copy, render"),
    "elf": ("plain", "sections, symbols, USDT, DWARF"),
    "isa": ("plain", "instructions, helpers, types"),
    "syscalls": ("target", "bpf(2), perf events, tracefs, through ctypes"),
    "errors": ("ground", "the one tree of errors"),
    "_data": ("ground", "plain-data classes, cheap to import"),
    "_files": ("ground", "files written as a whole"),
    "_lazy": ("ground", "names imported when asked for"),
    "_version": ("ground", "the version"),
}
COLOURS = {
    "face": ("#e8def8", "#6b4ba1"),
    "run": ("#d9ead3", "#3f7d2c"),
    "target": ("#fce5cd", "#b45f06"),
    "front": ("#d0e3f7", "#2a659e"),
    "plain": ("#f3f3f3", "#666666"),
    "ground": ("#ffffff", "#999999"),
}
MEANING = {
    "face": "faces",
    "front": "front-ends",
    "run": "a running trace",
    "plain": "plain data, no kernel",
    "target": "the kernel",
}


def layers() -> list[list[str]]:
    """The rows from the top, each a list of package names below `osmia`."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())
    contract = next(c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return [[name.strip().removeprefix("osmia.") for name in row.split("|")] for row in contract["layers"]]


def text(
    x: float, y: float, content: str, size: int, *, anchor: str = "middle", colour: str = "#222", more: str = ""
) -> str:
    style = f'font-size="{size}" text-anchor="{anchor}" fill="{colour}" {more}'.strip()
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(content)}</text>'


def box(x: float, y: float, width: float, name: str) -> list[str]:
    group, caption = CAPTIONS[name]
    fill, line = COLOURS[group]
    middle = x + width / 2
    return [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{ROW}" rx="7" fill="{fill}" stroke="{line}"/>',
        text(middle, y + 25, name, 16, colour=line, more='font-weight="bold"'),
        text(middle, y + 44, caption, 12),
    ]


def arrow(x: float, top: float, bottom: float) -> list[str]:
    middle = (top + bottom) / 2
    return [
        f'<path d="M{x} {top} V{bottom - 12}" stroke="#444" stroke-width="2"/>',
        f'<path d="M{x - 7} {bottom - 14} L{x} {bottom} L{x + 7} {bottom - 14} Z" fill="#444"/>',
        text(x + 22, middle, "an import only points down", 14, more=f'transform="rotate(90 {x + 22} {middle:g})"'),
    ]


def draw() -> str:
    rows = layers()
    height = MARGIN + len(rows) * (ROW + GAP) + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    space = WIDTH - MARGIN - SIDE
    for i, names in enumerate(rows):
        width = (space - GAP * (len(names) - 1)) / len(names)
        for j, name in enumerate(names):
            out += box(MARGIN + j * (width + GAP), MARGIN + i * (ROW + GAP), width, name)
    out += arrow(WIDTH - SIDE + 30, MARGIN, height - 44)
    for i, (group, meaning) in enumerate(MEANING.items()):
        x = MARGIN + i * 180
        fill, line = COLOURS[group]
        out.append(f'<rect x="{x}" y="{height - 26}" width="14" height="14" rx="3" fill="{fill}" stroke="{line}"/>')
        out.append(text(x + 20, height - 14, meaning, 12, anchor="start"))
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    (DOCS / "layers.svg").write_text(draw())
