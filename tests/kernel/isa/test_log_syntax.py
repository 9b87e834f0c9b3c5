"""The disassembler against the kernel's: every line of a verifier log must be ours, to the letter."""

from __future__ import annotations

import os
import re

from osmia import syscalls
from osmia.isa import PROG_TYPES, assemble, disassemble

# One of each form that a socket filter may use; every jump goes to the next instruction, so that all are logged.
V3 = """
r6 = r1
r0 = 0
r1 = 5
w1 = w1
w2 = -7
r2 = -r2
w2 = -w2
r2 /= 7
w2 %= 3
r3 = 0x123456789abcdef0
r3 = be16 r3
r3 = le64 r3
*(u64 *)(r10 -8) = r3
*(u32 *)(r10 -16) = 7
*(u64 *)(r10 -16) = -1
lock *(u64 *)(r10 -8) += r3
lock *(u32 *)(r10 -8) ^= r3
r3 = atomic64_fetch_add((u64 *)(r10 -8), r3)
r3 = atomic_fetch_or((u32 *)(r10 -8), r3)
r3 = atomic64_xchg((u64 *)(r10 -8), r3)
r0 = atomic_cmpxchg((u32 *)(r10 -8), r0, r3)
r0 = *(u8 *)(r10 -8)
if r0 s> 0x5 goto pc+0
if w0 == 0xffffffff goto pc+0
if w0 s<= w1 goto pc+0
if r0 & 0x7 goto pc+0
goto pc+0
r0 s>>= 3
w0 <<= 3
r0 ^= r1
call bpf_ktime_get_ns#5
call pc+4
r1 = r6
r0 = *(u32 *)skb[14]
r0 = *(u16 *)skb[r0 + 2]
exit
r0 = 3
exit
"""
V4 = """
r1 = (s8)r1
w2 = (s16)w1
r1 = (s32)r1
r2 = 8
r2 s/= 3
w2 s%= 3
r3 = r2
r3 = bswap32 r3
*(u64 *)(r10 -8) = r3
r0 = *(s8 *)(r10 -8)
r0 = *(s32 *)(r10 -8)
gotol pc+0
"""
V4_LATER = """
may_goto pc+0
r0 = load_acquire((u8 *)(r10 -8))
store_release((u16 *)(r10 -8), r0)
"""


def check(text: str) -> None:
    code = assemble(text)
    log = syscalls.buffer(1 << 20)
    fd = syscalls.prog_load(type=PROG_TYPES["socket_filter"], insns=code, log_level=2, log=log)
    shown = log.value.decode()
    assert fd >= 0, shown
    os.close(fd)
    theirs = dict(re.findall(r"^(\d+): (\([0-9a-f]{2}\) [^;\n]*?)\s*(?:;.*)?$", shown, re.M))
    ours = dict(line.split(": ", 1) for line in disassemble(code, numbered=True))
    assert ours == theirs


def test_v3():
    check(V3)


def test_v4():
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    later = V4_LATER if release >= (6, 15) else ""
    check(f"r1 = 7\n{V4}{later}r0 = 0\nexit" if release >= (6, 6) else V3)
