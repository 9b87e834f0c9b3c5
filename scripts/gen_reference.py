"""Write docs/language.md: the prose of scripts/language.md.in, with tables from what the compiler itself uses.

    PYTHONPATH=src python scripts/gen_reference.py

A test compares the two. What the reference lists as missing is what the compiler refuses at this moment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from osmia.errors import OsmiaError
from osmia.lang.bpftrace import compile_script
from osmia.lang.bpftrace.builtins import TABLE, Builtin
from osmia.lang.bpftrace.checked import Config
from osmia.lang.bpftrace.expressions import BINARY
from osmia.objects._format import BUFFERS, NUMBERS
from osmia.probes._names import ALIASES, HARDWARE, PROVIDERS, SOFTWARE
from osmia.probes._spec import _SHAPES as SHAPES

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "scripts/language.md.in"
PAGE = ROOT / "docs/language.md"

PROBES = {
    "begin": "Once, before all others, when everything is attached",
    "end": "Once, when tracing ends",
    "self": "When the tracer gets the signal (SIGUSR1)",
    "test": "With `--test`: a test, which passes when it returns 0",
    "bench": "With `--bench`: run many times, and the time of one run shown",
    "interval": "At an interval, on one processor",
    "profile": "At an interval, on every processor: samples what runs there",
    "tracepoint": "At a tracepoint of the kernel. `args` has its fields",
    "rawtracepoint": "At a tracepoint, with the arguments that the kernel's code gives it. Cheaper",
    "kprobe": "At a function of the kernel, or at an offset in it. `arg0`, `arg1`, ... are its arguments",
    "kretprobe": "When a function of the kernel returns. `retval` is its value",
    "fentry": "At a function of the kernel. `args` has its arguments by name. Cheaper than kprobe",
    "fexit": "When a function of the kernel returns: `args` and `retval`",
    "uprobe": "At a function of a program or library",
    "uretprobe": "When a function of a program or library returns",
    "usdt": "At a probe that the program's author placed",
    "software": "At every COUNT-th software event of the kernel",
    "hardware": "At every COUNT-th event of the processor's counters",
    "iter": "Once for every object of a kind; `ctx` has its fields",
    "watchpoint": "When a process (-p, -c) touches an address; MODE is r, w, x or a union of them",
    "asyncwatchpoint": "As watchpoint",
}
CONVERSIONS = {
    "d": "signed decimal", "i": "the same as `%d`", "u": "unsigned decimal", "x": "hexadecimal, lower case",
    "X": "hexadecimal, upper case", "o": "octal", "c": "one character", "p": "a pointer, with 0x",
    "s": "any value as `print` shows it", "r": "a buffer: text, other bytes as `\\xNN`",
    "rx": "a buffer: all bytes as `\\xNN`", "rh": "a buffer: bytes in hexadecimal, with blanks between them",
    "gr": "GFP flags of the kernel's allocator, by name",
}  # fmt: skip
CONFIG = {
    "cache_user_symbols": "accepted: symbols are always kept by process",
    "cpp_demangle": "accepted: C++ names are always shown as they were written",
    "lazy_symbolication": "accepted: names are looked up when they are printed",
    "license": "license of the programs, as the kernel sees it",
    "log_size": "accepted: the verifier's log is read whole",
    "max_bpf_progs": "most programs that a script may become",
    "max_cat_bytes": "most bytes that `cat` prints of a file",
    "max_map_keys": "most keys of a map that is not declared with `let`",
    "max_probes": "most probes that a script may attach to",
    "max_strlen": "most bytes of a string",
    "missing_probes": "what to do about a probe that is not there: `error`, `warn` or `ignore`",
    "on_stack_limit": "strings and buffers up to so many bytes live on the stack of the program",
    "perf_rb_pages": "pages of the ring for events; 0 chooses by the memory of the machine",
    "stack_mode": "how stacks print: `bpftrace`, `perf`, `raw` or `build_id`",
    "str_trunc_trailer": "what is printed after a string that was cut",
    "print_maps_on_exit": "print all maps when tracing ends",
    "unstable_tseries": "accepted: `error`, `warn` or `enable`",
    "show_debug_info": "accepted: stacks show functions and offsets",
}
# Expressions and what `print` shows of them: a test runs them all.
LITERALS = (
    ("42", "42", "an integer"),
    ("1_000_000", "1000000", "underscores are for the reader"),
    ("0x1f", "31", "hexadecimal"),
    ("017", "15", "octal"),
    ("1e6", "1000000", "an exponent; still an integer"),
    ("10u", "10", "C's suffixes: u, l, ul, ll, ull"),
    ("5ms", "5000000", "a duration in nanoseconds: ns, us, ms, s, m, h, d"),
    ("true", "true", "a boolean"),
    ('"text\\t1"', "text\t1", "a string; escapes \\n \\t \\r \\\" \\\\ \\x41 \\101"),
    ('(1, "two")', "(1, two)", "a tuple"),
    ("(id=7, name=\"x\")", "{ .id = 7, .name = x }", "a record: a tuple with names"),
)  # fmt: skip
EXPRESSIONS = (
    ("7 / 2", "3", "integer division"),
    ("-7 / 2", "-3", "cut towards zero, as in C"),
    ("7 % 4", "3", ""),
    ("1 << 4 | 1", "17", ""),
    ("5 > 3 && 2 != 2", "false", "comparisons give booleans"),
    ('"abc" == "abc"', "true", "strings compare by content"),
    ("(1, 2) == (1, 2)", "true", "tuples too"),
    ('5 > 3 ? "yes" : "no"', "yes", ""),
    ("(uint8)257", "1", "a cast"),
    ("(1, 2).1", "2", "a member of a tuple"),
    ("(id=7, name=\"x\").id", "7", "a member of a record"),
    ("sizeof(uint16)", "2", ""),
    ("strlen(\"bees\")", "4", ""),
)  # fmt: skip
# What bpftrace's development version takes: (title, script, words of the error if it is refused here, remark).
MISSING = (
    ("functions (`fn`)", "fn f(): uint64 { return 1; } begin { print(f()); }", "functions are not supported",
     "write a `macro`"),
    ("`tseries()`", "begin { @ = tseries(1, 1s, 5); }", "not implemented", "`hist` with a key of `nsecs / 1s`"),
    ("`skboutput()`", "rawtracepoint:kfree_skb { skboutput(\"x\", (struct sk_buff *)arg0, 10, 0); }",
     "cannot be used", ""),
    ("`dw_ustack`, user stacks by DWARF", "begin { @ = dw_ustack(); }", "Unknown function",
     "`ustack` follows frame pointers: compile with `-fno-omit-frame-pointer`"),
    ("calls of kernel functions (kfuncs)", "begin { $t = bpf_task_from_pid(1); }", "Unknown function",
     "`kfunc_exist` and `kfunc_allowed` are there"),
)  # fmt: skip


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def _usable(row: Builtin) -> str:
    notes = []
    if row.unsafe:
        notes.append("Needs `--unsafe`.")
    if row.probes:
        notes.append(f"Only in {', '.join(row.probes)}.")
    return " ".join(notes)


def builtins(category: str) -> str:
    """One row a name: forms, when it happens, what it does."""
    rows = []
    for row in TABLE.values():
        if row.category == category:
            forms = "<br>".join(code(form) for form in row.signature)
            rows.append((forms, row.mode, " ".join(filter(None, (row.doc, _usable(row))))))
    return table(("form", "when", "what it does"), rows)


def statements() -> str:
    rows = [row for row in TABLE.values() if row.category == "statement"]
    return table(("form", "what it does"), [("<br>".join(map(code, r.signature)), r.doc) for r in rows])


def probes() -> str:
    assert set(PROBES) == set(PROVIDERS), set(PROBES) ^ set(PROVIDERS)
    rows = []
    for name in PROVIDERS:
        short = [alias for alias, of in ALIASES.items() if of == name]
        rows.append((code(SHAPES[name]), ", ".join(map(code, short)), PROBES[name]))
    return table(("spelling", "also", "when it fires"), rows)


def events(source: dict[str, tuple[str, int, int]]) -> str:
    rows = []
    for name in dict.fromkeys(entry[0] for entry in source.values()):
        also = [alias for alias, entry in source.items() if entry[0] == name != alias]
        rows.append((code(name), ", ".join(map(code, also)), str(source[name][2])))
    return table(("event", "also", "COUNT if left out"), rows)


def conversions() -> str:
    assert set(CONVERSIONS) == {*NUMBERS, *BUFFERS, "s"}, set(CONVERSIONS) ^ {*NUMBERS, *BUFFERS, "s"}
    return table(("conversion", "prints"), [(code("%" + name), text) for name, text in CONVERSIONS.items()])


def config() -> str:
    assert set(CONFIG) == set(Config._fields), set(CONFIG) ^ set(Config._fields)
    rows = []
    for name in Config._fields:
        value = Config._defaults[name]
        shown = (
            str(value).lower() if isinstance(value, bool) else f'"{value}"' if name == "str_trunc_trailer" else value
        )
        rows.append((code(name), code(str(shown)), CONFIG[name]))
    return table(("variable", "default", "meaning"), rows)


def operators() -> str:
    levels: dict[int, list[str]] = {}
    for operator, level in BINARY.items():
        levels.setdefault(level, []).append(operator)
    rows = [("`x.y` `x->y` `x[y]` `f(x)` `x++` `x--`",), ("`!` `~` `-` `+` `*` `&` `++x` `--x` `(type)x`",)]
    rows += [(" ".join(map(code, levels[level])),) for level in sorted(levels, reverse=True)]
    return table(("operators, the tightest first",), [*rows, ("`x ? y : z`",)])


def examples(rows: Iterable[tuple[str, str, str]]) -> str:
    return table(("expression", "prints", ""), [(code(e), code(p.replace("\t", "    ")), why) for e, p, why in rows])


def refused(script: str, words: str) -> bool:
    """Whether the compiler refuses a script; an error without `words` is one that nobody expected."""
    try:
        compile_script(script, name="reference", unsafe=True)
    except OsmiaError as e:
        if words not in str(e):
            raise
        return True
    return False


def missing() -> str:
    rows = [(title, remark) for title, script, words, remark in MISSING if refused(script, words)]
    return table(("not supported", "instead"), rows) if rows else "All of its statements and functions are taken."


FILLERS: dict[str, Callable[[], str]] = {
    "statements": statements,
    "probes": probes,
    "software": lambda: events(SOFTWARE),
    "hardware": lambda: events(HARDWARE),
    "builtins": lambda: builtins("builtin"),
    "functions": lambda: builtins("function"),
    "map functions": lambda: builtins("map function"),
    "conversions": conversions,
    "config": config,
    "operators": operators,
    "literals": lambda: examples(LITERALS),
    "expressions": lambda: examples(EXPRESSIONS),
    "missing": missing,
}


def page() -> str:
    """The text of docs/language.md."""
    used = set(re.findall(r"\{\{ ([\w ]+) \}\}", TEMPLATE.read_text()))
    assert used == set(FILLERS), used ^ set(FILLERS)
    return re.sub(r"\{\{ ([\w ]+) \}\}", lambda m: FILLERS[m[1]](), TEMPLATE.read_text())


if __name__ == "__main__":
    PAGE.write_text(page())
