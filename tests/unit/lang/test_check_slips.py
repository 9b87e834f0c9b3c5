"""Slips of the pen: what is said about names that are nearly right, and what to write instead."""

from __future__ import annotations

import pytest
from _checking import hints, run, warned

from osmia.btf import Btf, BtfBuilder
from osmia.errors import SourceError


@pytest.mark.parametrize(
    ("condition", "message", "hint"),
    [
        (
            'comm == "averyveryverylongname"',
            "This is always false: comm has at most 15 characters, the text 21.",
            'write "averyveryverylo"',
        ),
        (
            '"0123456789abcdef" != comm',
            "This is always true: comm has at most 15 characters, the text 16.",
            'write "0123456789abcde"',
        ),
        (
            'str((int8 *)1, 3) == "abcd"',
            "This is always false: str((int8 *)1, 3) has at most 3 characters, the text 4.",
            'write "abc"',
        ),
    ],
)
def test_a_text_that_does_not_fit(condition, message, hint):
    (found,) = warned("begin { if (" + condition + ") { } }")
    assert (found.message, found.hint) == (message, hint)


@pytest.mark.parametrize(
    "script",
    ['begin { if (comm == "0123456789abcde") { } }', 'begin { if (str(1) == "0123456789abcdef0123456789") { } }',
     'tracepoint:sched:sched_switch { if (args.prev_comm == "0123456789abcdef") { } }'],
)  # fmt: skip
def test_texts_that_fit(script):
    assert warned(script) == []


def test_one_mistake_with_a_map_is_one_error():
    with pytest.raises(SourceError) as caught:
        run("begin { @opens[1] = count(); @opens = 5; }")
    assert [d.follows for d in caught.value.diagnostics] == [False, True]
    assert "Type mismatch" not in caught.value.message and "Type mismatch" in caught.value.rendered()


@pytest.mark.parametrize(
    "script",
    [
        "begin { @start[1] = 1; @h = hist(@strat[1]); }",
        "begin { @start[1] = 1; delete(@strat, 1); }",
        "begin { @start[1] = 1; delete(@strat[1]); }",
        "begin { @start[1] = 1; if (has_key(@strat, 1)) { } }",
        "begin { @start[1] = 1; if (find(@strat, 1, $v)) { } }",
        "begin { @start = 1; @other = @strat; }",
        "begin /@strat[1]/ { @start[1] = 1; }",
    ],
)
def test_a_map_that_is_only_read(script):
    (found,) = warned(script)
    assert found.message == "Map @strat is read but never assigned to."
    assert found.hint == "did you mean '@start'?"
    assert script[found.col - 1 :].startswith("@strat")


@pytest.mark.parametrize(
    "script",
    [
        "begin { @x++; @y = @x; }",
        "begin { @x[1] = count(); print(@x[1]); }",
        "begin { print(@x); @x += 1; }",
        "begin { @x = @y; } end { @y = @x; }",
        "begin { @x = sizeof(@y); }",
        "begin { @x[1] = 1; $p = &@x[1]; print(*$p); }",
    ],
)
def test_a_map_that_is_assigned_somewhere(script):
    assert not warned(script)


@pytest.mark.parametrize("use", ["print(@strat)", "clear(@strat)", "print(len(@strat))", "for ($kv : @strat) { }"])
def test_whole_maps_that_nobody_fills(use):
    assert hints("begin { @start[1] = 1; " + use + "; }") == [("Undefined map: @strat", "did you mean '@start'?")]


OPENAT = "tracepoint:syscalls:sys_enter_openat "


@pytest.mark.parametrize(
    ("script", "hint"),
    [
        (OPENAT + '/args.filename == "x"/ { }', "read the text that it points to: str(args.filename)"),
        (OPENAT + '{ if ("x" == args.filename) { } }', "read the text that it points to: str(args.filename)"),
        ("begin /comm == bash/ { }", 'quote it if it is text: "bash"'),
        ('begin { @ = comm + "b"; }', "join texts with str_concat(a, b)"),
        ('begin { printf("%q\\n", pid); }', "%q is no conversion: conversions are d i u x"),
        ('begin { printf("%% %d %-5q\\n", pid, 1); }', "%-5q is no conversion: conversions are d i u x"),
        ('begin { printf("5% of %d\\n", pid); }', "'% o' is read as a conversion: a percent sign is written %%"),
        ("begin { @ = AF_INET; }", "it is a constant of C: write 2, or #include <sys/socket.h>"),
        ("begin { @ = NOBODY_KNOWS; }", "constants of C come with their header"),
        ("begin { @ = elapsd; }", "did you mean 'elapsed'?"),
        ("sys_enter_openat { }", "did you mean tracepoint:syscalls:sys_enter_openat?"),
        ("syscalls:sys_enter_openat { }", "did you mean tracepoint:syscalls:sys_enter_openat?"),
        ("tracepont:syscalls:sys_enter_openat { }", "did you mean tracepoint"),
        ('begin { print("%s", comm); }', "use printf() for a format"),
        ("begin { @ = (uint8[9])1; }", "the value has 1 bytes, the array 9"),
    ],
)
def test_what_was_probably_meant(script, hint):
    found = hints(script)
    assert any(h.startswith(hint) for _, h in found), found


@pytest.mark.parametrize(
    ("script", "hint"),
    [
        ('begin /comm = "x"/ { }', "comparison is =="),
        ("begin { int x = 5; }", "variables are called $name and need no declaration: $x = ...;"),
        ("begin { var count; }", "variables are called $name and need no declaration: $count = ...;"),
        ("begin { exit() exit(); }", "end the statement before this with `;`"),
        ("begin { } }", "no block is open here: one } too many"),
    ],
)
def test_what_the_parser_makes_of_it(script, hint):
    with pytest.raises(SourceError) as caught:
        run(script)
    assert caught.value.diagnostics[0].hint == hint


def test_a_word_that_is_compared_with_a_number_is_no_text():
    ((_, hint),) = hints("begin /pid == bash/ { }")
    assert "quote" not in hint


@pytest.mark.parametrize(
    ("script", "hint"),
    [
        (OPENAT + '{ printf("%s\\n", args.filename); }', "write str(args.filename)"),
        ("begin { @m[1] = 1; print(&@m[1] + 8); }", "keep it in a variable and add to that"),
    ],
)
def test_what_is_no_error_but_hardly_meant(script, hint):
    (found,) = warned(script)
    assert found.hint.startswith(hint)


def test_text_that_is_printed_as_text():
    assert not warned(OPENAT + '{ printf("%s %p\\n", str(args.filename), args.filename); }')


def test_kernel_structs_with_nearly_that_name():
    b = BtfBuilder()
    b.struct("task_struct", 8, [("pid", b.int("int", 4, signed=True), 0)])
    found = hints("begin { print(sizeof(struct task_strct)); }", btf=Btf(b.build()))
    assert found == [('Cannot resolve unknown type "struct task_strct"', "did you mean 'struct task_struct'?")]
