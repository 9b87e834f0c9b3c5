"""Programs that ask for what a kernel's types lack: answered as refused, beside those that load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.objects.clang_bpf import compile_bpf

from osmia.btf import BtfBuilder
from osmia.cli import main

SOURCE = """
extern void no_such_kfunc(void) __ksym;
struct task_struct { int pid; } __attribute__((preserve_access_index));
struct gone { int member; } __attribute__((preserve_access_index));
SEC("freplace/function") int stands_in(int n) { return n; }
SEC("xdp") int fine(void *ctx) { return 2; }
SEC("raw_tp/a") int calls(void *ctx) { no_such_kfunc(); return 0; }
SEC("raw_tp/b") int reads(unsigned long long *ctx) { return ((struct gone *)ctx[0])->member; }
SEC("fentry/no_such_function") int attaches(void *ctx) { return 0; }
char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """The object, and the types of a kernel that has next to nothing."""
    b = BtfBuilder()
    b.struct("task_struct", 8, [("pid", b.int("int", 4, signed=True), 0)])
    (tmp_path / "vmlinux").write_bytes(b.build())
    (tmp_path / "asks.o").write_bytes(compile_bpf(SOURCE, tmp_path))
    return str(tmp_path / "asks.o"), str(tmp_path / "vmlinux")


def test_each_program_has_its_answer(files: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    path, types = files
    assert main(["verify", "-k", "6.1", "--btf", types, path]) == 2  # of one nothing can be said
    said = capfd.readouterr()
    assert said.err.startswith("osmia: verify stands_in: it stands in for a function of another program")
    for words in (
        "fine, kernel 6.1: would load",
        "calls, kernel 6.1: would not load\nprogram: ERROR: the kernel's types have no kfunc 'no_such_kfunc'\n"
        "HINT: guard the call with bpf_ksym_exists() on a __weak declaration\n",
        "ERROR: the kernel's types have no gone.member\n",
        "HINT: guard the access with bpf_core_field_exists(), or use a member that this kernel has\n",
        "program: ERROR: the kernel has no no_such_function to attach to\n",
    ):
        assert words in said.out


def test_sarif_has_one_result_for_all_kernels(files: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    path, types = files
    assert main(["verify", "-k", "6.1..6.4", "--btf", types, "-o", "sarif", path]) == 2
    results = json.loads(capfd.readouterr().out)["runs"][0]["results"]
    texts = [r["message"]["text"] for r in results]
    assert len([text for text in texts if text.startswith("calls on kernels 6.1 to 6.4: ")]) == 1
    assert not any(text.startswith("calls on kernel 6") for text in texts)


def test_as_json(files: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    path, types = files
    assert main(["verify", "-k", "6.1", "--btf", types, "-o", "json", path]) == 2
    rows = {row["program"]: row for row in json.loads(capfd.readouterr().out) if "program" in row}
    assert {name for name, row in rows.items() if row["accepted"]} == {"fine"}
    assert rows["reads"]["reason"] == "the kernel's types have no gone.member"
