"""Structs of the kernel that a test makes, for programs that follow pointers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.errors import UsageError
from osmia.testing import Vm

Make = Callable[..., Vm]
pytestmark = pytest.mark.skipif(
    not os.access("/sys/kernel/btf/vmlinux", os.R_OK), reason="needs the kernel's types"
)  # fmt: skip
SCRIPT = """
kprobe:vfs_read {
  $file = (struct file *)arg0;
  @[str($file->f_path.dentry->d_name.name), $file->f_path.dentry->d_parent->d_name.len, arg2] = count();
}
"""


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_pointers_lead_to_what_was_given(osmia_vm: Make, engine: str) -> None:
    vm = osmia_vm(SCRIPT, engine=engine)
    dentry = {"d_name": {"name": "passwd", "len": 6}, "d_parent": {"d_name": {"len": 3}}}
    file = vm.struct("file", f_path={"dentry": dentry})
    assert repr(file).startswith("0x")
    vm.fire("kprobe:vfs_read", {"file": file, "count": 9})
    vm.fire("kprobe:vfs_read", [vm.struct("struct file", f_path={"dentry": vm.struct("dentry")}), 0, 8])
    assert dict(vm.maps["@"]) == {("passwd", 3, 9): 1, ("", 0, 8): 1}


@pytest.mark.parametrize(
    ("name", "members", "why"),
    [
        ("no_such_struct", {}, "there is no such type.*clang drops"),
        ("file", {"f_pat": 1}, r"it has no member 'f_pat' \(did you mean 'f_path'"),
        ("file", {"f_path": {"dentri": 1}}, r"file.f_path: it has no member 'dentri' \(did you mean 'dentry'"),
        ("file", {"f_mode": 1 << 40}, "file.f_mode: 1099511627776 is not from"),
        ("task_struct", {"comm": "sixteen letters!"}, "task_struct.comm: 16 bytes of text, there is room for 15"),
        ("task_struct", {"pid": "x"}, "task_struct.pid: 'x' is str"),
        ("task_struct", {"stack": {"x": 1}}, "points to no struct that is known"),
        ("task_struct", {"sched_reset_on_fork": 2}, "2 is no number of 1 bits"),
    ],
)
def test_what_is_not_in_the_struct(osmia_vm: Make, name: str, members: dict[str, object], why: str) -> None:
    vm = osmia_vm("interval:s:1 { }")
    with pytest.raises(UsageError, match=why):
        vm.struct(name, **members)


@pytest.mark.skipif(not shutil.which("clang"), reason="needs clang, which builds the program")
def test_c_programs(osmia_vm: Make, tmp_path: Path) -> None:
    path = tmp_path / "exit.c"
    path.write_text(r"""
struct mine { int a; struct mine *next; char *name; unsigned low:3, high:5; };
struct task_struct { int exit_code; char comm[16]; struct task_struct *group_leader; int pid; }
    __attribute__((preserve_access_index));
static long (*read)(void *dst, unsigned size, const void *from) = (void *)113;
static long (*read_str)(void *dst, unsigned size, const void *from) = (void *)115;
struct mine *unused; /* clang drops types that nothing global uses */
int code, leader, a, bits; char comm[16], name[8];
__attribute__((section("raw_tp/sched_process_exit"), used)) int on(unsigned long long *ctx)
{
	struct task_struct *t = (void *)ctx[0], *l = 0;
	struct mine m = {}, n = {};
	read(&code, 4, &t->exit_code);
	read(comm, 16, &t->comm);
	read(&l, 8, &t->group_leader);
	read(&leader, 4, &l->pid);
	read(&m, sizeof(m), (void *)ctx[1]);
	read(&n, sizeof(n), m.next);
	read_str(name, 8, n.name);
	a = n.a;
	bits = m.low + 10 * m.high;
	return 0;
}
char _license[] __attribute__((section("license"))) = "GPL";
""")
    vm = osmia_vm(path)
    task = vm.struct("task_struct", exit_code=256, comm="bee", group_leader={"pid": 7})
    mine = vm.struct("mine", next={"a": 5, "name": "sweet"}, low=7, high=9)
    vm.fire("rawtracepoint:sched_process_exit", [task, mine])
    assert {name: vm.globals[name] for name in vm.globals if name != "unused"} == {
        "code": 256,
        "comm": "bee",
        "leader": 7,
        "a": 5,
        "name": "sweet",
        "bits": 97,
    }
