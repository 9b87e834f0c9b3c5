"""Objects for other kernels: members of kernel types are found in the target's BTF, by name."""

from __future__ import annotations

import os
import struct

import pytest

from osmia.btf import Btf, BtfBuilder
from osmia.errors import SourceError
from osmia.lang.bpftrace import compile_script
from osmia.objects import POISON, Object, apply_core, link, read_elf, unresolved_at, write_elf

pytestmark = pytest.mark.skipif(not os.path.exists("/sys/kernel/btf/vmlinux"), reason="this kernel has no BTF")

SCRIPT = """BEGIN {
  $t = (struct task_struct *)curtask;
  @ = ($t->pid, $t->real_parent->tgid, ppid, $t->real_parent->comm, $t->cred->uid.val, pcomm);
}"""


def kernel(shift: int, *, nested: bool = False, without: str = "", wide: int = 4) -> Btf:
    """Types of a kernel whose members stand `shift` bytes further on; `nested`: some in an anonymous struct."""
    b = BtfBuilder()
    integer, char = b.int("int", 4, signed=True), b.int("char", 1, signed=True)
    task = b.struct("task_struct", 4096)
    cred = b.struct("cred", 256)
    b.set_members(
        cred, [("uid", b.typedef("kuid_t", b.struct("", 8, [("val", b.int("kuid", wide), 0)])), 8 * (4 + shift))]
    )
    both = [("pid", integer, 0), ("tgid", integer, 32)]
    rows = [("", b.struct("", 8, both), 8 * shift)] if nested else [(n, t, at + 8 * shift) for n, t, at in both]
    rows += [
        ("real_parent", b.ptr(task), 8 * (8 + shift)),
        ("cred", b.ptr(b.const(cred)), 8 * (16 + shift)),
        ("comm", b.array(char, 16), 8 * (24 + shift)),
    ]
    b.set_members(task, [row for row in rows if not without or row[0] != without])
    return Btf(b.build())


def offsets(obj: Object, target: Btf, kind: int = 0) -> dict[str, set[int]]:
    """What the offset (or with `kind` 1 the size) of each member that is accessed came to on the target."""
    program = obj.programs[0]
    linked = link(program, obj)
    code = apply_core(linked, obj.btf, target).insns
    found: dict[str, set[int]] = {}
    for relocation in [r for r in linked.core if r.kind == kind]:
        op, _, _, imm = struct.unpack_from("<BBhi", code, relocation.insn * 8)
        value = imm if op == 0x18 else -1 if (op, imm) == (0x85, POISON) else -2
        found.setdefault(unresolved_at(obj, program, relocation.insn), set()).add(value)
    return found


@pytest.mark.parametrize("elf", [False, True])
@pytest.mark.parametrize(("shift", "nested"), [(0, False), (8, False), (640, True), (3000, True)])
def test_offsets_are_the_targets(shift: int, nested: bool, elf: bool) -> None:
    obj = compile_script(SCRIPT, portable=True)
    if elf:
        obj = read_elf(write_elf(obj))
    assert offsets(obj, kernel(shift, nested=nested)) == {
        "task_struct.pid": {shift}, "task_struct.tgid": {shift + 4}, "task_struct.real_parent": {shift + 8},
        "task_struct.cred": {shift + 16}, "task_struct.comm": {shift + 24}, "cred.uid.val": {shift + 4},
    }  # fmt: skip


def test_on_this_kernel_nothing_changes() -> None:
    from osmia.btf import load_kernel_btf

    obj = compile_script(SCRIPT, portable=True)
    linked = link(obj.programs[0], obj)
    assert len(linked.core) >= 9
    assert apply_core(linked, obj.btf, load_kernel_btf()).insns == linked.insns


def test_what_the_target_lacks_is_poison() -> None:
    obj = compile_script(SCRIPT, portable=True)
    found = offsets(obj, kernel(8, without="comm"))
    assert found["task_struct.comm"] == {-1} and found["task_struct.cred"] == {24}


@pytest.mark.parametrize("wide", [1, 2, 4, 8])
def test_as_many_bytes_are_read_as_the_target_has(wide: int) -> None:
    found = offsets(compile_script(SCRIPT, portable=True), kernel(8, wide=wide), 1)
    assert found["cred.uid.val"] == {wide} and found["task_struct.pid"] == {4}


def test_without_portable_there_are_no_relocations() -> None:
    obj = compile_script(SCRIPT)
    assert not any(f.core for f in (*[p.function for p in obj.programs], *obj.subprograms))


def test_in_callbacks_of_loops() -> None:
    script = "BEGIN { for ($i : 0..3) { @[curtask->pid] = $i; } for ($kv : @) { @b[curtask->tgid] = 1; } }"
    obj = compile_script(script, portable=True)
    found = offsets(obj, kernel(32))
    assert {k: v for k, v in found.items() if v} == {"task_struct.pid": {32}, "task_struct.tgid": {36}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("$t = curtask; print($t->sched_reset_on_fork);", "a portable object cannot read bit fields"),
        ("$t = curtask; @ = *$t;", "cannot copy or count in units of struct task_struct"),
        ("$t = curtask; $u = $t + 1; print($u);", "cannot copy or count in units of struct task_struct"),
        ("$t = curtask; print($t[1].pid);", "cannot copy or count in units of struct task_struct"),
        ("print(ncpus);", "cannot know how many CPUs"),
    ],
)
def test_what_depends_on_one_kernel_is_refused(body: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        compile_script(f"BEGIN {{ {body} }}", portable=True)
    (diagnostic,) = caught.value.diagnostics
    assert message in diagnostic.message and diagnostic.line == 1
    compile_script(f"BEGIN {{ {body} }}")


def test_members_of_the_scripts_own_structs_stay_numbers() -> None:
    obj = compile_script("struct mine { int a; int b; } BEGIN { print(((struct mine *)1)->b); }", portable=True)
    assert not obj.programs[0].function.core
