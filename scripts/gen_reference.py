"""Write docs/language.md: the prose of scripts/language.md.in, with tables from what the compiler itself uses.

    PYTHONPATH=src python scripts/gen_reference.py

A test compares the two. What the reference lists as missing is what the compiler refuses at this moment.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from osmia.errors import OsmiaError
from osmia.lang.bpftrace import compile_script
from osmia.lang.bpftrace.builtins import TABLE, Builtin
from osmia.lang.bpftrace.checked import Config
from osmia.lang.bpftrace.expressions import BINARY
from osmia.objects.printf import BUFFERS, FLOATS, NUMBERS
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
    "f": "a floating-point number, as C prints it", "F": "the same as `%f`",
    "e": "a floating-point number with an exponent", "E": "the same, with E",
    "g": "a floating-point number, the shorter of `%f` and `%e`", "G": "the same, with E",
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
    "max_map_keys": "most keys of a map that is not declared with `let`; 65,536 different stacks of a kind, or this if "
    "it is more",
    "max_probes": "most probes that a script may attach to",
    "max_strlen": "most bytes of a string",
    "missing_probes": "what to do about a probe that is not there: `error`, `warn` or `ignore`",
    "on_stack_limit": "strings and buffers up to so many bytes live on the stack of the program",
    "perf_rb_pages": "pages of the ring for events; 0 chooses by the memory of the machine",
    "stack_mode": "how stacks print: `bpftrace`, `perf`, `raw` or `build_id`",
    "str_trunc_trailer": "what is printed after a string that was cut",
    "print_maps_on_exit": "print all maps when tracing ends",
    "unstable_tseries": "accepted: `error`, `warn` or `enable`",
    "show_debug_info": "show the line of source in user stacks, where DWARF has it",
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
# How each row of the table is used: shown as its example, and compiled to see whether the compiler takes it.
USES = {  # a statement of a `begin` probe, or a script; names that are not here are printed
    "args": "rawtracepoint:sched_switch { print(args.preempt); }",
    "arg0": "rawtracepoint:sched_switch { print(arg0); }",
    "assert": 'assert(pid > 0, "none");',
    "assert_str": "assert_str(comm);",
    "avg": "@ = avg(1);",
    "break": "for ($i : 0..2) { break; }",
    "bswap": "print(bswap((uint16)1));",
    "buf": 'print(buf("abc", 2));',
    "cat": 'cat("/etc/%s", "hostname");',
    "cgroup_path": "print(cgroup_path(cgroup));",
    "cgroupid": 'print(cgroupid("/sys/fs/cgroup"));',
    "clear": "@ = 1; clear(@);",
    "container_of": "$p = (uint64 *)1; print(container_of($p, typeof(struct task_struct), pid).tgid);",
    "continue": "for ($i : 0..2) { continue; }",
    "count": "@ = count();",
    "ctx": "iter:task { print(ctx.task.pid); }",
    "debugf": 'debugf("%d", 1);',
    "delete": "@[1] = 1; delete(@, 1);",
    "errorf": 'errorf("%d", 1);',
    "exit": "exit(1);",
    "fail": 'if comptime (false) { fail("never"); }',
    "find": "@[1] = 2; $v = 0; if (find(@, 1, $v)) { print($v); }",
    "for": "for ($i : 0..2) { print($i); }",
    "func": "uprobe:libc:usleep { print(func); }",
    "has_key": "@[1] = 2; print(has_key(@, 1));",
    "hist": "@ = hist(1);",
    "if": "if (pid) { print(1); } else { print(2); }",
    "is_array": "print(is_array(comm));",
    "is_err": "print(is_err(curtask));",
    "is_integer": "print(is_integer(1));",
    "is_literal": "print(is_literal(1));",
    "is_ptr": "print(is_ptr(curtask));",
    "is_scalar": "@ = 1; print(is_scalar(@));",
    "is_str": "print(is_str(comm));",
    "is_unsigned_integer": "print(is_unsigned_integer(pid));",
    "join": "iter:task { $a = (char **)1; join($a); }",
    "kaddr": 'print(kaddr("schedule"));',
    "kfunc_allowed": 'print(kfunc_allowed("bpf_rcu_read_lock"));',
    "kfunc_exist": 'print(kfunc_exist("bpf_rcu_read_lock"));',
    "kptr": "print(kptr(curtask).pid);",
    "ksym": "print(ksym(1));",
    "len": "@[1] = 1; print(len(@));",
    "let": "let $x: uint8 = 1; print($x);",
    "lhist": "@ = lhist(1, 0, 10, 2);",
    "macaddr": "struct link { char mac[6]; }; begin { $l = (struct link *)1; print(macaddr($l.mac)); }",
    "max": "@ = max(1);",
    "memcmp": 'print(memcmp("abc", "abd", 2));',
    "min": "@ = min(1);",
    "ntop": "print(ntop(1));",
    "offsetof": "print(offsetof(struct task_struct, pid));",
    "override": "kprobe:__x64_sys_getuid { override(1); }",
    "path": "iter:task_file { print(path(ctx.file.f_path)); }",
    "percpu_kaddr": 'print(percpu_kaddr("runqueues"));',
    "print": "print(pid);",
    "printf": 'printf("%d", 1);',
    "pton": 'print(ntop(pton("::1")));',
    "reg": 'software:cpu:1000000 { print(reg("ip")); }',
    "retval": "uretprobe:libc:usleep { print(retval); }",
    "return": "return;",
    "signal": 'uprobe:libc:usleep { signal("TERM"); }',
    "signal_name": "print(signal_name(9));",
    "signal_thread": "uprobe:libc:usleep { signal_thread(9); }",
    "sizeof": "print(sizeof(struct task_struct));",
    "skboutput": 'rawtracepoint:kfree_skb { skboutput("x", (struct sk_buff *)arg0, 10, 0); }',
    "socket_cookie": "iter:tcp { print(socket_cookie((struct sock *)ctx.sk_common)); }",
    "static_assert": 'static_assert(1 == 1, "no");',
    "stats": "@ = stats(1);",
    "str": "print(str(curtask.comm));",
    "str_concat": 'print(str_concat("a", "b"));',
    "strcap": "print(strcap(comm));",
    "strcontains": 'print(strcontains(comm, "a"));',
    "strerror": "print(strerror(2));",
    "strftime": 'print(strftime("%H", nsecs));',
    "strlen": "print(strlen(comm));",
    "strncmp": 'print(strncmp(comm, "abc", 2));',
    "strstr": 'print(strstr(comm, "a"));',
    "sum": "@ = sum(1);",
    "syscall_name": "print(syscall_name(1));",
    "system": 'system("true");',
    "time": "time();",
    "tseries": "@ = tseries(1, 1s, 5);",
    "typeinfo": "print(typeinfo(1).full_type);",
    "uaddr": 'uprobe:libc:usleep { print(uaddr("environ")); }',
    "unroll": "unroll (2) { print(1); }",
    "unwatch": "watchpoint:0x10000000:8:w { unwatch(0x10000000); }",
    "uptr": "print(uptr(curtask));",
    "usermode": "software:cpu:1000000 { print(usermode); }",
    "usym": "print(usym(1));",
    "warnf": 'warnf("%d", 1);',
    "while": "$i = 0; while ($i < 2) { $i++; }",
    "write_user": "uprobe:libc:usleep { $x = (uint8)1; write_user((uint8 *)1, &$x, 1); }",
    "zero": "@ = 1; zero(@);",
}

# What bpftrace's development version takes: (title, script, remark).
MISSING = (
    ("functions (`fn`)", "fn f(): uint64 { return 1; } begin { print(f()); }", "write a `macro`"),
    ("`dw_ustack`, user stacks by DWARF", "begin { @ = dw_ustack(); }",
     "`ustack` follows frame pointers: compile with `-fno-omit-frame-pointer`"),
    ("calls of kernel functions (kfuncs)", "begin { $t = bpf_task_from_pid(1); }",
     "`kfunc_exist` and `kfunc_allowed` are there"),
)  # fmt: skip


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def _usable(row: Builtin) -> str:
    notes = []
    if refused(use(row.name)):
        notes.append("**Not supported yet.**")
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
            rows.append((forms, row.mode, " ".join(filter(None, (row.doc, _usable(row)))), example(row.name)))
    return table(("form", "when", "what it does", "example"), rows)


def example(name: str) -> str:
    """The use of a name, where it says more than the form."""
    return code(USES[name]) if name in USES and TABLE[name].category != "builtin" else ""


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
    known = {*NUMBERS, *BUFFERS, *FLOATS, "s"}
    assert set(CONVERSIONS) == known, set(CONVERSIONS) ^ known
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


def use(name: str) -> str:
    """The script that shows how a row of the table is used."""
    text = USES.get(name, f"print({name});")
    return text if text.endswith("}") and re.match(r"\w+(?::| \w+ \{)", text) else f"begin {{ {text} }}"


REFUSALS = ("cannot be used here", "not implemented", "functions are not supported", "Unknown function")


@functools.cache
def refused(script: str) -> bool:
    """Whether the compiler refuses a script, whatever this machine may lack."""
    try:
        compile_script(script, name="reference", unsafe=True)
    except OsmiaError as e:
        return any(words in str(e) for words in REFUSALS)
    return False


def missing() -> str:
    rows = [(f"`{name}`", "") for name in TABLE if refused(use(name))]
    rows += [(title, remark) for title, script, remark in MISSING if refused(script)]
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
