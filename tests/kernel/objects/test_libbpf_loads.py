"""Objects that we write load with libbpf, and what we read out of clang's loads in the kernel."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from clang_bpf import SAMPLE

from osmia.btf import BtfBuilder
from osmia.objects import Function, LineInfo, MapSpec, Object, ProgramSpec, Relocation, read_elf, write_elf

Loadall = Callable[[bytes], tuple[list[str], str]]
# Not everywhere: fentry needs trampolines, `jiffies` a readable kallsyms; and what is not loaded cannot be pinned.
PORTABLE = "\n".join(line for line in SAMPLE.splitlines() if "fentry" not in line)
PORTABLE = PORTABLE.replace(" + (long)&jiffies", "").replace("?raw_tp", "raw_tp")


def test_rewritten_clang_object(loadall: Loadall, compile_c: Callable[..., bytes], tmp_path: Path) -> None:
    data = compile_c(PORTABLE, tmp_path)
    theirs, _ = loadall(data)
    ours, log = loadall(write_elf(read_elf(data)))
    assert ours == theirs and "on_open" in ours
    assert "Error loading .BTF" not in log


def test_own_object(loadall: Loadall) -> None:
    """Subprogram, callback, kfunc, read-only data and maps whose names are no C identifiers."""
    b = BtfBuilder()
    integer = b.int("int", 4, signed=True)
    u64 = b.int("unsigned long long", 8)
    entry_id = b.func("on_enter", b.func_proto(integer, [("ctx", b.ptr(0))]))
    helper_id = b.func("helper", b.func_proto(integer, [("a", integer)]), 0)
    callback_id = b.func("callback", b.func_proto(b.int("long", 8, signed=True), [("i", integer), ("c", b.ptr(0))]), 0)

    def insn(op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
        return struct.pack("<BBhi", op, dst | src << 4, off, imm)

    wide = bytes(8)
    code = b"".join((
        insn(0xB7, 1, imm=1), insn(0x85, 0, 1, imm=-1),  # helper(1)
        insn(0x18, 2), wide,  # callback
        insn(0xB7, 1, imm=4), insn(0xB7, 3), insn(0xB7, 4), insn(0x85, imm=181),  # bpf_loop(4, callback, 0, 0)
        insn(0x18, 1), wide, insn(0x71, 0, 1),  # r0 = strings[6]
        insn(0xB7, 0), insn(0x95),
    ))  # fmt: skip
    zero_key = insn(0x7A, 10, 0, -8) + insn(0xBF, 2, 10) + insn(0x07, 2, imm=-8)
    helper = zero_key + insn(0x18, 1) + wide + insn(0x85, imm=1) + insn(0xB7, 0) + insn(0x95)
    lines = (LineInfo(0, "a.bt", 1, 1, "kprobe:x {"),)
    obj = Object(
        (ProgramSpec("on_enter", "tp/raw_syscalls/sys_enter", 5, Function(
            "on_enter", code,
            (Relocation(1, "call", "helper"), Relocation(2, "func", "callback"),
             Relocation(8, "map_value", "strings", 6)),
            entry_id, lines, is_global=True)),),
        (MapSpec("@x", 1, 8, 8, 16, key_type=u64, value_type=u64),
         MapSpec("strings", 2, 4, 12, 1, 128, contents=b"hello\0world\0", frozen=True),
         MapSpec("ring", 27, 0, 0, 4096),
         MapSpec("outer", 12, 4, 4, 2, inner=MapSpec("", 2, 4, 8, 4), values=((1, "one"),)),
         MapSpec("one", 2, 4, 8, 4)),
        (Function("unused", insn(0xB7) + insn(0x95), type_id=helper_id),
         Function("helper", helper, (Relocation(3, "map", "@x"),), helper_id),
         Function("callback", insn(0xB7) + insn(0x95), type_id=callback_id)),
        b.build(),
    )  # fmt: skip
    names, log = loadall(write_elf(obj))
    assert names == ["on_enter"]
    assert "Error loading .BTF" not in log


def test_kernel_takes_the_fixed_btf(compile_c: Callable[..., bytes], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    from osmia import syscalls

    obj = read_elf(compile_c(SAMPLE, tmp_path))
    fd = syscalls.btf_load(obj.btf)
    assert fd > 0
    os.close(fd)
