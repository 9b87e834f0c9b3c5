"""Known instructions: bytes (from RFC 9669 and LLVM) and text, labels, messages."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from osmia.errors import IsaError
from osmia.isa import Instruction, assemble, decode, disassemble, load_imm64, op

KNOWN = [
    ("0f21000000000000", "r1 += r2"),
    ("0721000000000000", None),  # source register of an immediate operation
    ("07010000f8ffffff", "r1 += -8"),
    ("b701000005000000", "r1 = 5"),
    ("bc21000000000000", "w1 = w2"),
    ("bf12080000000000", "r2 = (s8)r1"),
    ("bf12200000000000", "r2 = (s32)r1"),
    ("bc12200000000000", None),
    ("3f21010000000000", "r1 s/= r2"),
    ("9401010003000000", "w1 s%= 3"),
    ("8701000000000000", "r1 = -r1"),
    ("d401000010000000", "r1 = le16 r1"),
    ("dc01000040000000", "r1 = be64 r1"),
    ("d701000020000000", "r1 = bswap32 r1"),
    ("d701000021000000", None),
    ("7961100000000000", "r1 = *(u64 *)(r6 +16)"),
    ("9161ffff00000000", "r1 = *(s8 *)(r6 -1)"),
    ("9961000000000000", None),
    ("7b1af8ff00000000", "*(u64 *)(r10 -8) = r1"),
    ("620af8ff07000000", "*(u32 *)(r10 -8) = 7"),
    ("db21000000000000", "lock *(u64 *)(r1 +0) += r2"),
    ("c321000001000000", "r2 = atomic_fetch_add((u32 *)(r1 +0), r2)"),
    ("db210000e1000000", "r2 = atomic64_xchg((u64 *)(r1 +0), r2)"),
    ("db210000f1000000", "r0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r2)"),
    ("d321000000010000", "r1 = load_acquire((u8 *)(r2 +0))"),
    ("cb21040010010000", "store_release((u16 *)(r1 +4), r2)"),
    ("d321000000000000", None),
    ("6501030005000000", "if r1 s> 0x5 goto pc+3"),
    ("1601feffffffffff", "if w1 == 0xffffffff goto pc-2"),
    ("0500ffff00000000", "goto pc-1"),
    ("06000000a0860100", "gotol pc+100000"),
    ("e500020000000000", "may_goto pc+2"),
    ("8500000001000000", "call bpf_map_lookup_elem#1"),
    ("850000000f270000", "call unknown#9999"),
    ("8510000007000000", "call pc+7"),
    ("852000004d000000", "call kernel-function#77"),
    ("852002004d000000", "call kernel-function#77:2"),
    ("8d01000000000000", "callx r1"),
    ("9500000000000000", "exit"),
    ("9500000001000000", None),
    ("200000000e000000", "r0 = *(u32 *)skb[14]"),
    ("4870000002000000", "r0 = *(u16 *)skb[r7 + 2]"),
    ("1801000005000000" "0000000001000000", "r1 = 0x100000005"),
    ("1811000005000000" "0000000000000000", "r1 = map[fd:5]"),
    ("1821000005000000" "0000000008000000", "r1 = map[fd:5][0]+8"),
    ("1851000000000000" "0000000000000000", "r1 = map[idx:0]"),
    ("1831000005000000" "0000000000000000", "r1 = btf_id[5]"),
    ("1841000003000000" "0000000000000000", "r1 = subprog[+3]"),
    ("1871000003000000" "0000000000000000", None),
    ("bf21010001000000", "r1 = addr_space_cast(r2, 0, 1)"),
    ("0fc1000000000000", None),  # r12
]  # fmt: skip


@pytest.mark.parametrize(("code", "text"), KNOWN)
def test_known(code, text):
    data = bytes.fromhex(code)
    if text is None:
        with pytest.raises(IsaError, match="disassemble slot 0"):
            disassemble(data)
    else:
        assert disassemble(data) == [text]
        assert assemble(text) == data


@pytest.mark.parametrize(
    ("loose", "strict"),
    [
        ("r1=*(u64*)(r6+16)", "r1 = *(u64 *)(r6 +16)"),
        ("r1 = *(u8 *)(r6 - 0x10)", "r1 = *(u8 *)(r6 -16)"),
        ("if r1 == 5 goto pc + 3", "if r1 == 0x5 goto pc+3"),
        ("if r1 == -1 goto pc+3", "if r1 == 0xffffffff goto pc+3"),
        ("r3 = 7 ll", "r3 = 0x7"),
        ("r3 = -1 ll", "r3 = 0xffffffffffffffff"),
        ("call 5", "call bpf_ktime_get_ns#5"),
        ("call bpf_ktime_get_ns", "call bpf_ktime_get_ns#5"),
        ("call ktime_get_ns", "call bpf_ktime_get_ns#5"),
        ("call #5", "call bpf_ktime_get_ns#5"),
        ("call bpf_iter_num_new#4711", "call kernel-function#4711"),
        ("12: (bf) r6 = r1          ; R1=ctx() R6_w=ctx()", "r6 = r1"),
        ("w2 = atomic_fetch_add((u32 *)(r1 + 0), w2)", "r2 = atomic_fetch_add((u32 *)(r1 +0), r2)"),
        ("r2 = atomic_xchg((u64 *)(r1 + 0), r2)", "r2 = atomic64_xchg((u64 *)(r1 +0), r2)"),
        ("  exit  // done", "exit"),
    ],
)
def test_other_spellings(loose, strict):
    assert assemble(loose) == assemble(strict)


def test_labels_comments_and_functions():
    text = """
    # sum 1..10, then a local call
        r0 = 0
        r1 = 10              ; counter
    loop: r0 += r1
        r1 -= 1
        if r1 != 0 goto loop // back
        r2 = subprog[twice]
        call twice
        goto out
    twice:
        r0 <<= 1
    out:
        exit
    """
    assert disassemble(assemble(text)) == [
        "r0 = 0",
        "r1 = 10",
        "r0 += r1",
        "r1 -= 1",
        "if r1 != 0x0 goto pc-3",
        "r2 = subprog[+3]",
        "call pc+1",
        "goto pc+1",
        "r0 <<= 1",
        "exit",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r0 = 0\nr1 = = 2", "line 2 'r1 = = 2': no such instruction"),
        ("r12 = 0", "there is no register r12"),
        ("r1 = w2", "do not mix"),
        ("r1 = 5000000000", "not between"),
        ("r1 = *(u64 *)(r2 +40000)", "not between"),
        ("goto nowhere", "no label 'nowhere'"),
        ("call bpf_map_lokup_elem", "did you mean 'bpf_map_lookup_elem'"),
        ("a:\na:\nexit", "label 'a' is there twice"),
        ("call bpf_map_lookup_elem#2", "has number 1"),
        ("lock *(u8 *)(r1 +0) += r2", "4 or 8 bytes"),
        ("lock *(u64 *)(r1 +0) *= r2", "no atomic"),
        ("r1 = atomic64_xchg((u64 *)(r3 +0), r2)", "operand"),
        ("start:\n" + "r0 = 0\n" * 40_000 + "goto start", "use gotol"),
    ],
)
def test_messages(text, message):
    with pytest.raises(IsaError, match=message):
        assemble(text)


def test_bytes_that_are_no_program():
    with pytest.raises(IsaError, match="no whole number"):
        decode(b"\x95" * 7)
    with pytest.raises(IsaError, match="half a 64-bit load"):
        decode(load_imm64(1, 2)[0].encode())
    with pytest.raises(IsaError, match="no second half"):
        decode(load_imm64(1, 2)[0].encode() + Instruction(op.JMP | op.EXIT).encode())


def test_fields_that_do_not_fit():
    for wrong in (
        Instruction(256),
        Instruction(0x95, dst=16),
        Instruction(5, off=1 << 15),
        Instruction(5, imm=1 << 32),
    ):
        with pytest.raises(IsaError, match="encode instruction"):
            wrong.encode()
    with pytest.raises(IsaError, match="64 bits"):
        load_imm64(1, 1 << 64)


def test_numbering_counts_slots():
    data = assemble("r1 = 0x5\nr2 = r1\nexit")
    assert disassemble(data, numbered=True, start=10) == ["10: (18) r1 = 0x5", "12: (bf) r2 = r1", "13: (95) exit"]
    assert disassemble(assemble("call kernel-function#7"), kfuncs={7: "bpf_rcu_read_lock"}) == [
        "call bpf_rcu_read_lock#7"
    ]


@pytest.mark.skipif(not shutil.which("llvm-mc"), reason="llvm-mc is not installed")
def test_llvm_assembles_the_same_bytes():
    """What LLVM's assembler and we both take gives the same bytes."""
    ours = ["r1 += r2", "r1 = 5", "w1 = w2", "r1 = *(u64 *)(r6 +16)", "*(u32 *)(r10 -8) = w1", "r1 = -r1",
            "if r1 s> 5 goto pc+3", "if w1 == w2 goto pc-2", "goto pc+7", "call 5", "exit", "r1 = be16 r1", "r1 = 7 ll",
            "lock *(u64 *)(r1 +0) += r2", "r0 = *(u32 *)skb[14]",
            "r3 s>>= 4", "w3 ^= 255", "*(u8 *)(r1 +0) = w2", "w2 = *(u16 *)(r1 +0)"]  # fmt: skip
    theirs = "\n".join(ours).replace("goto pc", "goto ").replace("(r1 +0)", "(r1 + 0)")
    command = ["llvm-mc", "-triple=bpfel", "-mcpu=v3", "-filetype=obj", "-"]
    made = subprocess.run(command, input=theirs.encode(), capture_output=True, timeout=30, check=False)
    assert made.returncode == 0, made.stderr.decode()
    assert assemble("\n".join(ours)) in made.stdout
