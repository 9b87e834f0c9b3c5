"""Generated tables: right where it is known, and what the running kernel's BTF gives."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from osmia import isa
from osmia.btf import load_kernel_btf

ROOT = Path(__file__).parents[3]


def test_known_numbers():
    assert isa.HELPERS["map_lookup_elem"] == 1
    assert isa.HELPERS["get_stackid"] == 27
    assert isa.helper_name(130) == "ringbuf_output"
    assert isa.PROG_TYPES["kprobe"] == 2
    assert isa.MAP_TYPES["percpu_hash"] == 5
    assert isa.MAP_TYPES["ringbuf"] == 27
    assert isa.ATTACH_TYPES["trace_fentry"] == 24
    assert isa.LINK_TYPES["tracing"] == 2
    assert isa.COMMANDS["map_create"] == 0


def test_numbers_to_names():
    assert isa.map_type_name(19) == "cgroup_storage"
    assert isa.prog_type_name(6) == "xdp"
    assert isa.attach_type_name(25) == "trace_fexit"
    assert isa.link_type_name(1) == "raw_tracepoint"
    assert isa.command_name(18) == "btf_load"
    assert isa.helper_name(1 << 30) is None
    for number in isa.HELPERS.values():
        assert isa.HELPERS[isa.helper_name(number)] == number


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'NOPE'"):
        isa.NOPE  # noqa: B018


def test_tables_are_those_of_the_running_kernel():
    if not os.access("/sys/kernel/btf/vmlinux", os.R_OK):
        pytest.skip("no kernel BTF")
    spec = importlib.util.spec_from_file_location("gen_tables", ROOT / "scripts/gen_tables.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    btf = load_kernel_btf()
    running = script.read_table(btf, "bpf_cmd", "BPF_")
    for module in script.TABLES:
        committed = (ROOT / "src/osmia/isa/_gen" / f"{module}.py").read_text()
        table = script.read_table(btf, *script.TABLES[module][:2])
        ours = importlib.import_module(f"osmia.isa._gen.{module}").TABLE
        assert table.items() <= ours.items() or ours.items() <= table.items(), "a number changed its meaning"
        if running != isa.COMMANDS:
            pytest.skip("the running kernel is not the one that the tables were made on")
        assert script.render(btf, module) == committed


def test_import_is_cheap():
    code = "import sys, osmia.isa; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    loaded = set(run.stdout.split())
    assert not loaded & {"re", "typing", "enum", "dataclasses", "osmia.isa._asm", "osmia.isa._gen.helpers"}
