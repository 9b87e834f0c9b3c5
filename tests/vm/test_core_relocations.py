"""CO-RE relocations in user space: what a program knows of the kernel's structs may be little, or out of date."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.errors import VmFault
from osmia.testing import Vm

Make = Callable[..., Vm]
pytestmark = [
    pytest.mark.skipif(not shutil.which("clang"), reason="needs clang, which builds the programs"),
    pytest.mark.skipif(not os.access("/sys/kernel/btf/vmlinux", os.R_OK), reason="needs the kernel's types"),
]

SOURCE = r"""
typedef unsigned int u32; typedef unsigned long long u64;
#define SEC(x) __attribute__((section(x), used))
struct task_struct {
	int tgid; char comm[16]; struct task_struct *real_parent; int no_such_field;
} __attribute__((preserve_access_index));
static struct task_struct *(*current)(void) = (void *)35;
static long (*read)(void *dst, u32 size, const void *from) = (void *)113;
int tgid, parent, missing = 7, guarded = 1;
char comm[16];
SEC("raw_tp/sched_process_exit") int on(void *ctx)
{
	struct task_struct *t = current(), *p = 0;
	read(&tgid, 4, &t->tgid);
	read(comm, 16, &t->comm);
	read(&p, 8, &t->real_parent);
	read(&parent, 4, &p->tgid);
	if (!guarded || __builtin_preserve_field_info(t->no_such_field, 2 /* BPF_FIELD_EXISTS */))
		read(&missing, 4, &t->no_such_field);
	return 0;
}
char _license[] SEC("license") = "GPL";
"""


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_members_are_where_this_kernel_has_them(osmia_vm: Make, tmp_path: Path, engine: str) -> None:
    path = tmp_path / "core.c"
    path.write_text(SOURCE)
    vm = osmia_vm(path, engine=engine, checked=True)
    vm.fire("rawtracepoint:sched_process_exit", [0], pid=77, comm="bee", ppid=5)
    assert dict(vm.globals) == {"tgid": 77, "comm": "bee", "parent": 5, "missing": 7, "guarded": 1}
    vm.globals["guarded"] = 0
    with pytest.raises(VmFault, match="that this machine's kernel has not"):
        vm.fire("rawtracepoint:sched_process_exit", [0])


def test_what_a_guarded_program_reads_is_verified_and_runs(osmia_vm: Make, tmp_path: Path) -> None:
    path = tmp_path / "core.c"
    path.write_text(SOURCE.replace("!guarded || ", ""))
    vm = osmia_vm(path)
    vm.fire("rawtracepoint:sched_process_exit", [0], pid=78)
    assert (vm.globals["tgid"], vm.globals["missing"]) == (78, 7)


def test_a_verdict_is_of_the_kernel_whose_types_it_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osmia.testing._clang import compile_c
    from osmia.vm._verdicts import verdict_key

    path = tmp_path / "core.c"
    path.write_text(SOURCE)
    relocated = compile_c(str(path))
    path.write_text(SOURCE.replace("__attribute__((preserve_access_index))", "").replace("!guarded || ", "0 && "))
    plain = compile_c(str(path))
    before = [verdict_key(obj, obj.programs[0]) for obj in (relocated, plain)]
    uname = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*uname[:2], "99.0", *uname[3:])))
    after = [verdict_key(obj, obj.programs[0]) for obj in (relocated, plain)]
    assert before[0] != after[0] and before[1] == after[1]
