"""Draw docs/flow.svg, the way of the data with the files that matter: `python docs/draw_flow.py` (a test compares)."""

from __future__ import annotations

from pathlib import Path

from draw_layers import COLOURS, text

DOCS = Path(__file__).resolve().parent
WIDTH, HEIGHT = 1120, 660
BOX_WIDTH, BOX_HEIGHT, PITCH = 196, 84, 223
# name, group, what it does, file below src/osmia; by row, from left to right.
ROWS = (
    ("from text to an object: nothing is loaded", 44, (
        ("parse", "front", "text to a tree", "lang/bpftrace/parser.py"),
        ("expand", "front", "macros, imports, $1", "lang/bpftrace/expand.py"),
        ("check", "front", "types, all errors at once", "lang/bpftrace/check.py"),
        ("lower", "front", "LLVM IR, maps, formats", "lang/bpftrace/lower/"),
        ("LLVM", "front", "IR checked, then compiled", "codegen/_driver.py"),
    )),
    ("an object: plain data", 204, (
        ("script", "face", "osmia trace, osmia.trace", "_api.py, cli/_trace.py"),
        ("cache", "face", "compiled before? as bytes", "_cached.py, objects/"),
        ("ELF file", "plain", "osmia build, osmia run", "objects/_read_elf.py"),
        ("Object", "plain", "programs, maps, formats", "objects/_spec.py"),
        ("link", "plain", "CO-RE, subprograms", "objects/_core.py, _link.py"),
    )),
    ("in the kernel", 364, (
        ("read", "target", "ring and maps, in batches", "kernel/_ring.py, _map.py"),
        ("programs run", "target", "count in maps, fill the ring", "what did not fit is counted"),
        ("attach", "target", "one function per provider", "kernel/_attach.py"),
        ("verify", "target", "the log in plain words", "kernel/_verifier_log.py"),
        ("load", "target", "maps, then programs", "kernel/_load.py"),
    )),
    ("a running trace", 524, (
        ("decode", "run", "bytes to Python values", "session/_decode.py"),
        ("names", "run", "addresses, users, errnos", "session/_names.py"),
        ("act", "run", "printf, print, exit, losses", "session/_actions.py"),
        ("sinks", "run", "text, NDJSON", "sinks/_text.py, _json.py"),
        ("you", "face", "events, maps as dicts", "_api.py"),
    )),
)  # fmt: skip
# Arrows between boxes, by name; "down" is between rows.
ARROWS = (
    ("parse", "expand"), ("expand", "check"), ("check", "lower"), ("lower", "LLVM"),
    ("script", "cache"), ("cache", "parse"), ("LLVM", "Object"), ("ELF file", "Object"), ("Object", "link"),
    ("link", "load"), ("load", "verify"), ("verify", "attach"), ("attach", "programs run"), ("programs run", "read"),
    ("read", "decode"), ("decode", "names"), ("names", "act"), ("act", "sinks"), ("sinks", "you"),
)  # fmt: skip


def place(row: int, column: int) -> tuple[int, int]:
    return 16 + column * PITCH, ROWS[row][1]


def box(x: int, y: int, name: str, group: str, what: str, where: str) -> list[str]:
    fill, line = COLOURS[group]
    middle = x + BOX_WIDTH / 2
    return [
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="7" fill="{fill}" stroke="{line}"/>',
        text(middle, y + 25, name, 16, colour=line, more='font-weight="bold"'),
        text(middle, y + 47, what, 12),
        text(middle, y + 68, where, 11, colour="#555", more='font-family="monospace"' if "/" in where else ""),
    ]


def line(start: tuple[int, int], end: tuple[int, int]) -> str:
    """An arrow from box to box: along a row, or from the bottom (top) of one to the top (bottom) of the other."""
    (x1, y1), (x2, y2) = start, end
    if y1 == y2:
        right = x2 > x1
        a = (x1 + (BOX_WIDTH if right else 0), y1 + BOX_HEIGHT // 2)
        b = (x2 + (0 if right else BOX_WIDTH), a[1])
        return f'<path d="M{a[0]} {a[1]} L{b[0]} {b[1]}" {STROKE}/>'
    down = y2 > y1
    a = (x1 + BOX_WIDTH // 2, y1 + (BOX_HEIGHT if down else 0))
    b = (x2 + BOX_WIDTH // 2, y2 + (0 if down else BOX_HEIGHT))
    half = b[1] + (-22 if down else 22)
    return f'<path d="M{a[0]} {a[1]} V{half} H{b[0]} V{b[1]}" {STROKE}/>'


def hit(cache: tuple[int, int], obj: tuple[int, int]) -> list[str]:
    """The way around the compiler, below the row."""
    (x1, y), (x2, _y) = cache, obj
    a, b, bottom = x1 + BOX_WIDTH // 2, x2 + BOX_WIDTH // 2, y + BOX_HEIGHT
    return [
        f'<path d="M{a} {bottom} V{bottom + 26} H{b} V{bottom}" {STROKE}/>',
        text(a + 8, bottom + 20, "hit", 12, anchor="start", colour="#555"),
    ]


STROKE = 'fill="none" stroke="#444" stroke-width="2" marker-end="url(#tip)"'
TIP = (
    '<defs><marker id="tip" viewBox="0 0 10 10" refX="10" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 L10 5 L0 10 Z" fill="#444"/></marker></defs>'
)


def files() -> list[str]:
    """Every path that the picture names, below src/osmia."""
    out = []
    for _title, _y, boxes in ROWS:
        for _name, _group, _what, where in boxes:
            folder = ""
            for part in where.split(", "):
                if not part.endswith((".py", "/")):
                    continue
                if "/" in part:
                    folder = part.rpartition("/")[0] + "/"
                out.append(part if "/" in part or not folder else folder + part)
    return out


def draw() -> str:
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        TIP,
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    places = {}
    for i, (title, y, boxes) in enumerate(ROWS):
        x = 130 if i == 3 else 16  # beside the arrow
        out.append(text(x, y - 14, title, 14, anchor="start", colour="#222", more='font-style="italic"'))
        for j, entry in enumerate(boxes):
            x, top = places[entry[0]] = place(i, j)
            out += box(x, top, *entry)
    out += [line(places[a], places[b]) for a, b in ARROWS]
    out += hit(places["cache"], places["Object"])
    x, y = places["cache"]
    out.append(text(x + BOX_WIDTH / 2 + 8, y - 10, "miss", 12, anchor="start", colour="#555"))
    out.append(text(16, HEIGHT - 22, "Paths are below src/osmia.", 12, anchor="start", colour="#555"))
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    (DOCS / "flow.svg").write_text(draw())
