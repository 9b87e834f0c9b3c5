"""CO-RE relocation against the running kernel's own types."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from osmia.btf import KIND_STRUCT, Btf, load_kernel_btf
from osmia.objects import apply_core, link, read_elf

FIELDS = (
    ("task_struct", "pid", "s32"), ("task_struct", "tgid", "s32"), ("task_struct", "start_time", "u64"),
    ("task_struct", "real_parent", "void *"), ("task_struct", "prio", "s32"), ("task_struct", "exit_code", "s32"),
    ("file", "f_flags", "u32"), ("sock", "sk_protocol", "u16"), ("mm_struct", "total_vm", "unsigned long"),
    ("sk_buff", "len", "u32"), ("dentry", "d_inode", "void *"), ("inode", "i_ino", "unsigned long"),
)  # fmt: skip


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        pytest.skip("this kernel has no BTF")
    return load_kernel_btf()


def test_offsets_are_those_of_the_kernel(vmlinux: Btf, compile_c: Callable[..., bytes], tmp_path: Path) -> None:
    parts = []
    for i, (name, field, kind) in enumerate(FIELDS):
        parts.append(
            f"struct {name}___{i} {{ {kind} {field}; }} __attribute__((preserve_access_index));\n"
            f'SEC("raw_tp/p{i}") int p{i}(u64 *ctx) '
            f"{{ struct {name}___{i} *p = (void *)ctx[0]; return (u64)p->{field}; }}\n"
        )
    obj = read_elf(compile_c("".join(parts), tmp_path))
    for program, (name, field, _) in zip(obj.programs, FIELDS):
        id = vmlinux.find(name, KIND_STRUCT)
        assert id is not None
        found = vmlinux.field(id, field)
        assert found is not None
        linked = link(program, obj)
        (relocation,) = linked.core
        op, offset = struct.unpack_from("<Bxh", apply_core(linked, obj.btf, vmlinux).insns, relocation.insn * 8)
        assert (name, field, offset) == (name, field, found[0] // 8)
        assert op & 7 == 1
