"""libbpf says in its debug log what it makes of each CO-RE relocation; ours must be the same."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

from osmia.btf import load_kernel_btf
from osmia.objects import apply_core, link, read_elf

SOURCE = r"""
#define access_index __attribute__((preserve_access_index))
struct list_head { struct list_head *next, *prev; } access_index;
struct task_struct___ours { s32 pid; s32 tgid; struct task_struct___ours *real_parent; u32 sched_reset_on_fork : 1;
    u32 in_execve : 1; struct list_head tasks; char comm[16]; s32 nowhere; unsigned long start_time; } access_index;
enum pid_type { PIDTYPE_PID = 17, PIDTYPE_NEVER = 18 };
struct nothing { int x; } access_index;
struct task_struct;
u64 out[32];
SEC("tp_btf/sched_process_exit") int on_exit(u64 *ctx)
{
    struct task_struct___ours *t = (void *)ctx[0];
    volatile u64 *o = out;
    o[0] = t->pid;
    o[1] = t->real_parent->tgid;
    o[2] = __builtin_preserve_field_info(t->in_execve, 0);
    o[3] = __builtin_preserve_field_info(t->in_execve, 1);
    o[4] = __builtin_preserve_field_info(t->in_execve, 4);
    o[5] = __builtin_preserve_field_info(t->in_execve, 5);
    o[6] = __builtin_preserve_field_info(t->in_execve, 3);
    o[7] = __builtin_preserve_field_info(t->nowhere, 2);
    o[8] = __builtin_preserve_field_info(t->comm, 1);
    o[9] = __builtin_preserve_field_info(t->comm[3], 0);
    o[10] = (u64)&t->tasks.prev;
    o[11] = __builtin_preserve_enum_value(*(enum pid_type *)PIDTYPE_PID, 1);
    o[12] = __builtin_preserve_enum_value(*(enum pid_type *)PIDTYPE_NEVER, 0);
    o[13] = __builtin_preserve_type_info(*(struct nothing *)0, 0);
    o[14] = __builtin_preserve_type_info(*(struct list_head *)0, 1);
    o[15] = __builtin_btf_type_id(*(struct list_head *)0, 1);
    if (__builtin_preserve_field_info(t->nowhere, 2))
        o[16] = t->nowhere;
    o[17] = t->start_time;
    return 0;
}
char LICENSE[] SEC("license") = "GPL";
"""


def test_every_patched_value_is_libbpfs(
    loadall: Callable[[bytes], tuple[list[str], str]], compile_c: Callable[..., bytes], tmp_path: Path
) -> None:
    data = compile_c(SOURCE, tmp_path)
    _, log = loadall(data)
    theirs: dict[int, int | str] = {}
    pattern = (
        r"relo #\d+: (?:patched insn #(\d+) \([A-Z/0-9_]+\) (?:off|imm|imm64) -?\d+ -> (-?\d+)"
        r"|substituting insn #(\d+))"
    )
    for patched, value, poisoned in re.findall(pattern, log):
        if patched:
            theirs[int(patched)] = int(value)
        else:
            theirs[int(poisoned)] = "poison"
    obj = read_elf(data)
    linked = link(obj.programs[0], obj)
    code = apply_core(linked, obj.btf, load_kernel_btf()).insns
    ours: dict[int, int | str] = {}
    for relocation in linked.core:
        op, _, offset, imm = struct.unpack_from("<BBhi", code, relocation.insn * 8)
        value_: int | str = imm if op & 7 in (0, 4, 7) else offset
        ours[relocation.insn] = "poison" if (op, imm) == (0x85, 0xBAD2310) else value_
    assert len(ours) >= 15
    assert ours == theirs
