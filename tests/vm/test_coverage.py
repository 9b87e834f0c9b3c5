"""Coverage of programs: what ran, by instruction, line and branch; as lcov and HTML; over a whole test run."""

from __future__ import annotations

import shutil
import subprocess
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


def test_a_jump_that_went_both_ways_in_two_runs_is_not_partial(osmia_vm: Make) -> None:
    both = Coverage()
    loads = []
    for flags in (1, 11):
        vm = osmia_vm(SCRIPT)
        vm.fire(OPENAT, {"flags": flags})
        assert vm.coverage.lines()["script"][2].is_partial
        loads.append(vm.coverage.lcov().count("BRDA:"))
        both.merge(vm.coverage)
    assert not both.lines()["script"][2].is_partial
    assert both.lcov().count("BRDA:") == loads[0] == loads[1]
    assert both.instruction_rate > osmia_vm(SCRIPT).coverage.instruction_rate


def test_scripts_without_a_file_are_told_apart(osmia_vm: Make, tmp_path: Path) -> None:
    first, second = "interval:s:1 { @ = 1; }", "interval:s:1 {\n  if (@) { @ = 2; }\n}"
    both = Coverage()
    for script in (first, second, first):
        vm = osmia_vm(script)
        vm.advance(1)
        both.merge(vm.coverage)
    names = list(both.lines())
    assert len(names) == 2 and all(name.startswith("script-") for name in names)
    assert sorted(both.texts().values()) == sorted([first, second])
    both.write(str(tmp_path))
    assert sorted(path.read_text() for path in (tmp_path / "scripts").iterdir()) == sorted([first, second])
    page = (tmp_path / "index.html").read_text()
    assert "if (@) { @ = 2; }" in page and "interval:s:1 { @ = 1; }" in page
    genhtml = shutil.which("genhtml")
    if genhtml:
        done = subprocess.run(
            [genhtml, "-q", "--branch-coverage", "--function-coverage", "-o", tmp_path / "out", tmp_path / "lcov.info"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_functions(osmia_vm: Make) -> None:
    vm = osmia_vm(SCRIPT)
    name = vm.object.programs[0].name
    assert f"FNDA:0,{name}" in vm.coverage.lcov()
    vm.fire(OPENAT)
    vm.fire(OPENAT)
    records = vm.coverage.lcov().splitlines()
    assert f"FNDA:2,{name}" in records and "FNH:1" in records
    assert next(r for r in records if r.startswith("FN:")).endswith(f",{name}")


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
    assert repr(vm.verify("6.1")) == "<6.1: would load p0_interval>" == str(vm.verify("6.1"))


def test_a_refusal_says_where_and_why(osmia_vm: Make) -> None:
    vm = osmia_vm('interval:s:1 {\n printf("%d", nsecs);\n}')
    old = vm.verify("5.4")
    assert not old
    assert old.message == (
        "p0_interval: script:2: this kernel does not let programs of this type call bpf_ktime_get_boot_ns(): "
        "invalid func bpf_ktime_get_boot_ns#125"
    )
    assert repr(old) == f"<5.4: would not load {old.message}>"
    assert str(old).startswith("p0_interval: script:2: ERROR: this kernel") and "HINT: Linux 5.8" in str(old)
