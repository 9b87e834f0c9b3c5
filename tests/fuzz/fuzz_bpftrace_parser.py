"""Feed mutated scripts to the front half of the bpftrace front-end: only SourceError may come out.

python tests/fuzz/fuzz_bpftrace_parser.py COUNT [SEED]
"""

from __future__ import annotations

import glob
import os
import random
import sys
import time

from osmia.errors import SourceError
from osmia.lang.bpftrace.cdefs import read
from osmia.lang.bpftrace.checked import Source
from osmia.lang.bpftrace.config import read_config
from osmia.lang.bpftrace.expand import expand
from osmia.lang.bpftrace.format import dump
from osmia.lang.bpftrace.parser import parse

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "..", "unit", "lang", "scripts", "*.bt")
SLOW = 2.0  # seconds that no script of this size may take
PIECES = (
    *"{}()[]<>;:,.?!~+-*/%&|^=@$#\"'\\ \n\t\0é\ud800", "++", "--", "->", "&&", "||", "<<=", "..", "$1", "$#", "$x",
    "@m", "@m[", "if ", "else ", "for (", "while ", "unroll(", "macro m(x) {", "let ", "config = {", "import ",
    "struct x {", "union u {", "enum e {", "typedef ",
    "#define A A B\n", "#define B A A\n", "#if ", "#endif\n", "#include \"x\"\n",
    "__attribute__((packed))", "sizeof(", "offsetof(", "typeof(", "comptime ", "(struct x *)", "(x)", "/*", "*/", "//",
    "0x", "1e9", "99999999999999999999", "1_", "10ms", "08", "str($1 + ", "getopt(", "begin", "uprobe:/bin/sh:", "_ = ",
    "(" * 90, "{" * 90, "-" * 200, "1+" * 300, "[" * 50, "a?" * 90, "m(" * 60, ".x" * 200, "int x[", ":3",
    "*" * 150, "defined(", "int " + "*" * 40 + "p;", "[2]" * 40, "1+" * 3000,
)  # fmt: skip


def corpus() -> list[str]:
    found = []
    for path in sorted(glob.glob(CORPUS)):
        with open(path, encoding="utf-8") as file:
            found.append(file.read())
    return found


def mutate(rng: random.Random, corpus: list[str]) -> str:
    text = rng.choice(corpus)
    if rng.random() < 0.4:  # a part of it: errors are found where the parser gets to
        start = rng.randrange(len(text))
        text = text[start : start + rng.randrange(20, 600)] if rng.random() < 0.5 else text[: start + 1]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice((1, 1, 2, 5, 20, 100)))
        kind = rng.randrange(6)
        if kind == 0:
            text = text[:at] + text[to:]
        elif kind == 1:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif kind == 2:
            text = text[:at] + rng.choice(PIECES) + text[to:]
        elif kind == 3:
            text = text[:at] + text[at:to] * rng.choice((2, 3, 40)) + text[to:]
        elif kind == 4:
            other = rng.choice(corpus)
            start = rng.randrange(len(other))
            text = text[:at] + other[start : start + rng.randrange(1, 80)] + text[at:]
        else:
            text = text[:at] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) + text[to:]
    return text[:20_000]


def run(text: str) -> bool:
    """The whole front half on one script; True if it is valid."""
    try:
        sources = [Source("stdin", text)]
        script = parse(sources[0])
        read(script.definitions, sources)
        expand(script, sources, positional=["sched", "0x10"], named={"top": "3"} if "getopt" in text else {})
        read_config(script.config, sources, {})
        dump(script)
    except SourceError as e:
        # What is said must be printable, and each finding must have a place or be about the command line.
        assert str(e) and all(d.message for d in e.diagnostics)
        return False
    return True


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    scripts = corpus()
    rng = random.Random(seed)
    valid = 0
    slowest = 0.0
    began = time.monotonic()
    for number in range(count):
        text = mutate(rng, scripts)
        start = time.monotonic()
        try:
            valid += run(text)
        except Exception as e:
            print(f"input {number} of seed {seed}: {type(e).__name__}: {e}\n{text!r}")
            raise
        took = time.monotonic() - start
        if took > slowest:
            slowest = took
            if took > SLOW:
                print(f"input {number} of seed {seed} took {took:.1f} s:\n{text!r}")
                return 1
    print(f"{count} inputs, {valid} valid, slowest {slowest * 1e3:.0f} ms, {time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
