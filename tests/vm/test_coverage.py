"""Coverage of programs: what ran, by instruction, line and branch; as lcov and HTML; over a whole test run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.errors import UsageError
from osmia.testing import Vm
from osmia.vm import Coverage

OPENAT = "tracepoint:syscalls:sys_enter_openat"
SCRIPT = f"""{OPENAT} {{
  if (args.flags > 10) {{
    @many = count();
  }} else {{
    @few = count();
  }}
}}
"""
Make = Callable[..., Vm]


def test_lines(osmia_vm: Make) -> None:
    vm = osmia_vm(SCRIPT)
    assert vm.coverage.line_rate == 0.0
    vm.fire(OPENAT, {"flags": 11})
    vm.fire(OPENAT, {"flags": 12})
    lines = vm.coverage.lines()["script"]
    assert (lines[2].hits, lines[3].hits, lines[5].hits) == (2, 2, 0)
    assert lines[2].is_partial
    assert vm.coverage.missed_lines() == {"script": [5]}
    assert 0 < vm.coverage.instruction_rate < 1
    vm.fire(OPENAT, {"flags": 1})
    assert vm.coverage.missed_lines() == {}
    assert not vm.coverage.lines()["script"][2].is_partial


def test_lcov(osmia_vm: Make) -> None:
    vm = osmia_vm(SCRIPT)
    vm.fire(OPENAT, {"flags": 11})
    records = vm.coverage.lcov().splitlines()
    assert records[:2] == ["TN:", "SF:script"] and records[-1] == "end_of_record"
    assert {"DA:2,1", "DA:3,1", "DA:5,0"} <= set(records)
    found, hit = (int(next(r for r in records if r.startswith(key)).split(":")[1]) for key in ("LF", "LH"))
    assert (found, hit) == (sum(r.startswith("DA:") for r in records), found - 1)
    assert {r.rsplit(",", 1)[1] for r in records if r.startswith("BRDA:2,")} == {"0", "1"}


def test_html(osmia_vm: Make, tmp_path: Path) -> None:
    path = tmp_path / "a <b>.bt"
    path.write_text(SCRIPT)
    vm = osmia_vm(path)
    vm.fire(OPENAT, {"flags": 11})
    vm.coverage.write_html(tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    assert "a &lt;b&gt;.bt" in page and "<b>" not in page
    assert page.count('class="miss"') > 1 and page.count('class="hit"') > 3 and 'class="part"' in page
    assert "call bpf_map_lookup_elem" in page
    with pytest.raises(UsageError, match="write coverage"):
        vm.coverage.write_lcov(tmp_path / "none" / "x")


def test_several_runs_add_up(osmia_vm: Make) -> None:
    both = Coverage()
    for flags in (1, 11):
        vm = osmia_vm(SCRIPT)
        vm.fire(OPENAT, {"flags": flags})
        both.merge(vm.coverage)
    assert both.missed_lines() == {}
    assert both.line_rate == 1.0
    assert both.lines()["script"][2].hits == 2


def test_native_code_counts_nothing(osmia_vm: Make) -> None:
    vm = osmia_vm(SCRIPT, engine="jit")
    with pytest.raises(UsageError, match="counts nothing"):
        _ = vm.coverage
    with pytest.raises(UsageError, match="built in"):
        vm.mock("get_prandom_u32", 1)


def test_other_kernels_are_asked(osmia_vm: Make) -> None:
    vm = osmia_vm("interval:s:1 { @ = count(); }")
    assert vm.verify() and vm.verify("6.1")
    old = vm.verify("4.14")
    assert (old.accepted, bool(old.message)) == (bool(old), not old)
