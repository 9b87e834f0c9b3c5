"""Config variables of the script and of the environment."""

from __future__ import annotations

import pytest

from osmia.errors import SourceError
from osmia.lang.bpftrace.checked import Config, Source
from osmia.lang.bpftrace.config import read_config
from osmia.lang.bpftrace.parser import parse


def config(block: str, **environment: str) -> Config:
    source = Source("stdin", f"config = {{ {block} }} begin {{}}")
    return read_config(parse(source).config, [source], environment)[0]


@pytest.mark.parametrize(
    ("block", "field", "value"),
    [
        ("max_strlen=128", "max_strlen", 128),
        ("BPFTRACE_MAX_STRLEN=0x80;", "max_strlen", 128),
        ("MAX_STRLEN=64", "max_strlen", 64),
        ("strlen=5", "max_strlen", 5),
        ("map_keys_max=9", "max_map_keys", 9),
        ("cat_bytes_max=9", "max_cat_bytes", 9),
        ("no_cpp_demangle=1", "cpp_demangle", False),
        ("cpp_demangle=false", "cpp_demangle", False),
        ("stack_mode=perf", "stack_mode", "perf"),
        ('stack_mode="raw"', "stack_mode", "raw"),
        ("missing_probes=warn", "missing_probes", "warn"),
        ("cache_user_symbols=per_program", "cache_user_symbols", "PER_PROGRAM"),
        ("cache_user_symbols=0", "cache_user_symbols", "NONE"),
        ('license="Dual BSD/GPL"', "license", "Dual BSD/GPL"),
        ('str_trunc_trailer=""', "str_trunc_trailer", ""),
        ("print_maps_on_exit=0", "print_maps_on_exit", False),
        ("unstable_tseries=enable", "unstable_tseries", "enable"),
        ("on_stack_limit=0", "on_stack_limit", 0),
    ],
)
def test_values(block, field, value):
    assert getattr(config(block), field) == value


def test_the_environment_wins():
    found = config(
        "max_strlen=128; stack_mode=raw", BPFTRACE_MAX_STRLEN="256", BPFTRACE_UNKNOWN="1", HOME="/", MAX_PROBES="7"
    )
    assert (found.max_strlen, found.stack_mode, found.max_probes) == (256, "raw", 1024)


@pytest.mark.parametrize(
    ("block", "message", "hint"),
    [
        ("bad_config=1", "bad_config: not a known configuration option", "known are"),
        ("max_strlne=1", "max_strlne: not a known configuration option", "did you mean 'max_strlen'?"),
        ("max_strlen=perf", "max_strlen: expecting a number, got perf", "write max_strlen=1024"),
        ("max_strlen=0", "max_strlen: 0 is out of range", "allowed are 1 to"),
        (
            "missing_probes=never",
            "Invalid value for missing_probes: valid values are error, warn, and ignore.",
            "write",
        ),
        ("stack_mode=5", "Invalid value for stack_mode", "write stack_mode=bpftrace"),
        ("print_maps_on_exit=2", "Invalid bool value: valid values are true, false, 1 or 0.", "write"),
        (
            'license="Potato"',
            "Invalid value for license. Found: Potato. Valid values: Dual MIT/GPL, Dual BSD/GPL",
            "GPL",
        ),
        ("vmlinux=1", "vmlinux: can only be set as an environment variable", "set BPFTRACE_VMLINUX"),
    ],
)
def test_wrong_values(block, message, hint):
    with pytest.raises(SourceError) as e:
        config(block)
    (found,) = e.value.diagnostics
    assert message in found.message and hint in found.hint
    assert found.source_line[found.col - 1 : found.end_col - 1] == block


def test_wrong_values_of_the_environment():
    with pytest.raises(SourceError, match="expecting a number, got many"):
        config("", BPFTRACE_MAX_PROBES="many")


def test_what_has_no_effect_warns():
    source = Source("stdin", "config = { use_blazesym=1 } begin {}")
    found, warnings = read_config(parse(source).config, [source], {})
    assert found == Config() and [w.severity for w in warnings] == ["warning"]
