"""Probe blocks: programs by context, arguments, missing probes."""

from __future__ import annotations

import pytest
from _checking import errors, run, run_with_warnings

from osmia.lang.bpftrace import ast
from osmia.lang.bpftrace.checked import Config


def test_one_program_for_matches_that_share_a_layout():
    checked = run("tracepoint:sched:* { @[comm] = count(); }")
    assert len(checked.probes) == 1
    assert checked.probes[0].names == ["tracepoint:sched:sched_switch", "tracepoint:sched:sched_other"]
    assert [a.source for a in checked.probes[0].attach] == [0, 0]
    assert len(run("tracepoint:sched:* { print(args.prev_state); }").probes) == 1


def test_a_program_for_each_layout():
    script = "tracepoint:sched:sched_switch, tracepoint:syscalls:sys_enter_openat { print(args); }"
    first, second = run(script).probes
    assert first.args is not None and second.args is not None and first.args.name != second.args.name
    assert first.body[0] is not second.body[0] and first.index == second.index == 0


def test_fields_of_tracepoints():
    script = "tracepoint:syscalls:sys_enter_openat { @f = args.filename; @d = args->dfd; }"
    filename, dfd = (s.value for s in run(script).probes[0].body)
    assert isinstance(filename, ast.Member) and filename.field.offset == 24
    assert filename.type.kind == "pointer" and filename.type.space == "user" and str(filename.type.element) == "int8"
    assert dfd.field.offset == 16 and str(dfd.type) == "uint64"
    script = "tracepoint:sched:sched_switch { @c = args.prev_comm; @p = args.skbaddr; @n = args.name; }"
    comm, pointer, name = (s.value for s in run(script).probes[0].body)
    assert str(comm.type) == "string[16]" and comm.type.space == "ctx"
    assert pointer.type.space == "kernel"
    assert name.field.data_loc and name.type.kind == "string" and name.type.space == "kernel"


def test_user_pointers_stay_user_pointers():
    """From an argument through a map into another probe."""
    script = "tracepoint:syscalls:sys_enter_openat { @f[tid] = args.filename; }"
    script += " tracepoint:sched:sched_switch { print(str(@f[tid])); }"
    checked = run(script)
    assert checked.maps["@f"].value.space == "user"
    assert checked.probes[1].body[0].expr.args[0].args[0].type.space == "user"
    cast = run("uprobe:/bin/sh:f { $a = (uint8 *)arg0; @x = *$a; }").probes[0].body[0].value
    assert cast.target.space == "user"
    cast = run("uprobe:/bin/sh:f { $a = kptr((uint8 *)arg0); }").probes[0].body[0].value
    assert cast.type.space == "kernel"


def test_unknown_fields_and_common_fields():
    assert errors("tracepoint:sched:sched_switch { print(args.nope); }") == [
        "Struct/union of type 'tracepoint:sched:sched_switch args' does not contain a field named 'nope'"
    ]


def test_missing_probes():
    script = "tracepoint:sched:nope { } begin { }"
    assert "No matches for tracepoint sched:nope." in errors(script)[0]
    checked, warnings = run_with_warnings(script, config=Config(missing_probes="warn"))
    assert [p.provider for p in checked.probes] == ["begin"] and "Skipping" in warnings[0]
    _, warnings = run_with_warnings(script, config=Config(missing_probes="ignore"))
    assert not warnings


def test_too_many_probes():
    found = errors("tracepoint:sched:* { }", config=Config(max_probes=1))
    assert "Can't attach to 2 probes because it exceeds the current limit of 1 probes." in found[0]


def test_probe_is_text_where_it_is_computed_with():
    script = 'tracepoint:sched:* { if (probe == "tracepoint:sched:sched_switch") { print(1); } }'
    assert len(run(script).probes) == 2
    assert len(run("tracepoint:sched:* { @[probe] = count(); }").probes) == 1


def test_unsafe_and_uses():
    checked = run('interval:s:1 { system("ls"); }', unsafe=True)
    assert "system" in checked.probes[0].uses and checked.unsafe


@pytest.mark.parametrize("script", ["nope:x { }", "tracepoint:x { }", "interval:s:x { }"])
def test_malformed(script):
    assert errors(script)


def test_a_function_that_is_missing_is_called_untraceable_first():
    found = errors_and_warnings("kprobe:nonsense { }")
    assert [d.severity for d in found][:2] == ["warning", "error"]
    assert "nonsense is not traceable" in found[0].message and "No matches for kprobe nonsense." in found[1].message


def errors_and_warnings(script):
    from osmia.errors import SourceError

    with pytest.raises(SourceError) as e:
        run(script)
    return e.value.diagnostics


def test_unsafe_attaches_to_functions_that_are_not_known():
    assert run("kprobe:nonsense { }", unsafe=True).probes[0].names == ["kprobe:nonsense"]


def test_declared_pointers_take_the_address_space_of_the_first_value():
    script = "struct C { int a; } uprobe:/bin/x:f { let $c : struct C*; $c = (struct C*)arg0; print($c.a); }"
    body = run(script).probes[0].body
    assert body[1].target.slot.type.space == "user"
