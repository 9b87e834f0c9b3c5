"""What the checker refuses, and how it says so."""

from __future__ import annotations

import pytest
from _checking import errors, run, run_with_warnings

from osmia.errors import SourceError


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('begin { @x = 0; @x = "a"; }', "Type mismatch for @x: trying to assign value of type 'string[2]'"),
        ("begin { @x = 0; @x[1] = 1; }", "@x used as a map with an explicit key (non-scalar map)"),
        ("begin { @x[1] = 0; @x = 1; }", "@x used as a map without an explicit key (scalar map)"),
        ('begin { @x[1] = 0; @x["a"] = 1; }', "Argument mismatch for @x: trying to access with arguments: 'string[2]'"),
        ("begin { @x = 1; @x = count(); }", "Type mismatch for @x: trying to assign value of type 'count_t'"),
        ("begin { @x = count(); @x = sum(5); }", "Type mismatch for @x"),
        ("begin { @y = hist(1); @x = @y; }", "Map value 'hist_t' cannot be assigned from one map to another"),
        ("begin { $x = count(); }", "count() must be assigned directly to a map"),
        ("begin { print($nope); }", "Undefined or undeclared variable: $nope"),
        ("begin { print(@nope); }", "Undefined map: @nope"),
        ("begin { let $a: uint8 = 300; }", "Type mismatch for $a: trying to assign value of type 'int16'"),
        ("begin { let $a: uint16 = -1; }", "Type mismatch for $a"),
        ("begin { $a = 1; let $a = 2; }", "Variable $a was already declared"),
        ("begin { nope(); }", "Unknown function: 'nope'"),
        ("begin { @x = nope; }", "Unknown identifier: 'nope'"),
        ('begin { printf("%d\\n"); }', "not enough arguments for format string (0 supplied, 1 expected)"),
        ('begin { printf("%d\\n", 1, 2); }', "too many arguments for format string (2 supplied, 1 expected)"),
        ('begin { printf("%*d", 7, 4); }', "unsupported format specifier: %*d"),
        ('begin { debugf("%d %d %d %d", 1, 2, 3, 4); }', "debugf() cannot use more than 3 conversion specifiers"),
        ('begin { printf("%d\\n", "a"); }', "unsupported format specifier for type 'string[2]': d"),
        ("begin { printf(pid); }", "printf() expects a string literal"),
        ("begin { @x = lhist(1, 10, 5, 1); }", "lhist() min must be less than max"),
        ("begin { @x = lhist(1, 0, 10000, 1); }", "lhist() too many buckets"),
        ("begin { @x = hist(1, 6); }", "hist: bits 6 must be 0..5"),
        ("begin { exit(1, 2); }", "exit() takes up to one argument (2 provided)"),
        ("begin { unroll (101) { } }", "unroll maximum value is 100"),
        ("begin { unroll (0) { } }", "unroll minimum value is 1"),
        ('begin { system("ls"); }', "system() is an unsafe function being used in safe mode"),
        ("begin { @x = args; }", "The args builtin can only be used with"),
        ("begin { @x = arg0; }", "The arg0 builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes"),
        ("begin { @x = retval; }", "The retval builtin can only be used with"),
        ('begin { @x = reg("ip"); }', 'reg can not be used with "begin" probes'),
        ("begin { @x = kstack(perf, 2000); }", "limit shouldn't exceed 1024, 2000 given"),
        ("begin { @x = kstack(nice); }", "Error parsing stack mode"),
        ("begin { @x = pid + \"a\"; }", "The + operator can not be used on expressions of types uint32, string[2]"),
        ("begin { if (comm == 5) { } }", "Type mismatch for '==': comparing string[16] with int8"),
        ("begin { $a = (1, 2); print($a.5); }", "Invalid tuple index: 5. Found 2 elements in tuple."),
        ("struct s { int a; } kprobe:f { print(((struct s *)arg0).b); }", "does not contain a field named 'b'"),
        ("kprobe:f { print(((struct nope *)arg0).b); }", 'Cannot resolve unknown type "struct nope"'),
        ("begin { break; }", "break statement not within a loop"),
        ("begin { @x[1] = 1; for ($kv : @x[1]) { } }", ""),
        ("begin { @x = 1; for ($kv : @x) { } }", "cannot be used for iteration"),
        ("begin { @x[1] = hist(1); for ($kv : @x) { } }", "Loop expression does not support type: hist_t"),
        ("begin { $a = 1; for ($a : 1..2) { } }", "Loop declaration shadows existing variable: $a"),
        ("begin { @x[1] = 1; delete(@x); }", "call to delete() with a single argument expects a map without"),
        ("begin { @x = 1; if (has_key(@x, 1)) { } }", "expects a map with explicit keys"),
        ("begin { @x = 1; print(len(@x)); }", "call to len() expects a map with explicit keys"),
        ('begin { @x = pton("1.2.3"); }', "pton() expects a valid IPv4/IPv6 address"),
        ('begin { static_assert(1 == 2, "never"); }', "never"),
        ("begin { $a = 1; print(*(void *)$a); }", "Can not dereference type 'void *'"),
        ('begin { $a = (string[2])"abcd"; }', "Cannot cast from"),
        ("let @a = nohash(1); begin { @a[1] = 1; }", "Invalid bpf map type: nohash"),
        ("let @a = percpuhash(1); begin { @a[1] = 1; }", "Incompatible map types"),
    ],
)  # fmt: skip
def test_error(script, message):
    if message:
        found = errors(script)
        assert any(message in m for m in found), found
    else:
        with pytest.raises(SourceError):
            run(script)


def test_all_errors_at_once_in_order():
    found = errors("begin { print($a); @x = nope; exit(1, 2); }")
    assert [m.split(":")[0] for m in found] == [
        "Undefined or undeclared variable",
        "Unknown identifier",
        "exit() takes up to one argument (2 provided)",
    ]


def test_place_line_marker_and_hint():
    with pytest.raises(SourceError) as caught:
        run("begin {\n  @count = 1;\n  @count = comm;\n}")
    assert caught.value.diagnostics[0].render() == (
        "stdin:3:3-16: ERROR: Type mismatch for @count: trying to assign value of type 'string[16]' when map already "
        "has a type 'int8'\n  @count = comm;\n  ~~~~~~~~~~~~~\nHINT: @count got its type at 2:3"
    )


@pytest.mark.parametrize(
    ("script", "hint"),
    [
        ("begin { prinft(1); }", "'printf'"),
        ("begin { @x = nsec; }", "did you mean 'nsecs'"),
        ("begin { $counter = 1; print($countr); }", "did you mean '$counter'"),
        ("tracepoint:syscalls:sys_enter_openat { print(args.filname); }", "did you mean 'filename'"),
        ("struct s { int first; } kprobe:f { print(((struct s *)arg0).frist); }", "did you mean 'first'"),
        ("begin { @y = count(); @x = @y; }", "(int64)@y"),
    ],
)
def test_hint(script, hint):
    with pytest.raises(SourceError) as caught:
        run(script)
    assert any(hint in d.hint for d in caught.value.diagnostics)


@pytest.mark.parametrize(
    ("script", "warning"),
    [
        ("begin { exit(); @x = 1; }", "Unreachable statement"),
        ("begin { let $a; print(1); }", "never assigned"),
        ("begin { @x[1] = 1; has_key(@x, 1); }", "Return value discarded"),
        ("let @a = hash(1); begin { }", "Unused map: @a"),
        ("begin { @x = stats(1); print(@x, 5); }", "top and div arguments are ignored"),
    ],
)
def test_warning(script, warning):
    _, warnings = run_with_warnings(script)
    assert any(warning in w for w in warnings), warnings


@pytest.mark.parametrize(
    "script",
    [
        "BEGIN { @start[tid] = nsecs; } END { clear(@start); zero(@start); }",
        "kprobe:f /@start[tid]/ { @ns[comm] = hist(nsecs - @start[tid]); delete(@start[tid]); @start[1] = 5; }",
        'begin { printf("%s %d %p %c %r %gr", comm, pid, nsecs, 65, buf("abc", 3), 5); }',
        "begin { @x[1] = 5; if (@x[1] > 3 && pid) { print(@x[1]); } else if (1) { exit(0); } }",
        "profile:hz:99 { @[kstack, ustack(perf, 5), comm] = count(); }",
        "begin { $i = 0; while ($i < 5) { $i++; if ($i == 3) { break; } } }",
        "begin { for ($i : 0..10) { print($i); continue; } }",
        'begin { print((1, "a", (2, 3))); print(strftime("%H", nsecs)); print(ntop(5)); }',
        "begin { @a = avg(5); @m = max(3); if (@a > 5) { print((int64)@m); } }",
        "begin { @x = pid(); @y = comm(); @z = nsecs(); time(); time(\"%H\"); }",
        'begin { let $a: string[10] = "x"; let $b: uint64; $b = 5; let $c: typeof($b) = 3; }',
        "begin { $p = (uint8 *)5; $q = $p + 3; if ($q != 0) { print($q[2]); } }",
        "uprobe:/bin/sh:f { print(str(arg0)); print(usym(arg1)); print(*(uint32 *)arg2); }",
        "kretprobe:f { @[retval] = count(); print(func); }",
        "begin { @x[probe] = count(); if (probe == \"begin\") { print(probetype); } }",
    ],
)  # fmt: skip
def test_valid(script):
    run(script)
