"""Our scalars against the kernel's, range by range: the states in its log after each instruction of random programs."""

from __future__ import annotations

import os
import random
import re

import pytest

from osmia import syscalls
from osmia.isa import HELPERS, PROG_TYPES, Instruction, encode, op
from osmia.verifier import _scalar as sc
from osmia.verifier._scalar_alu import alu, fork, mov32, movsx, neg
from osmia.verifier._scalar_branch import decide, refine

REGISTERS = (6, 7, 8, 9)
CALCULATIONS = [op.ADD, op.SUB, op.MUL, op.DIV, op.OR, op.AND, op.LSH, op.RSH, op.NEG, op.MOD, op.XOR, op.ARSH]
JUMPS = [op.JEQ, op.JGT, op.JGE, op.JSET, op.JNE, op.JSGT, op.JSGE, op.JLT, op.JLE, op.JSLT, op.JSLE]
NUMBERS = [0, 1, -1, 2, 7, 8, 31, 255, -256, 4096, 0x7FFFFFFF, -0x80000000, 12345]
STATE = re.compile(r"\bR(\d)(?:_w)?=(scalar\([^()]*(?:\([^()]*\))?[^()]*\)|-?(?:0x)?[0-9a-f]+)")
CHANGED = re.compile(r"^(\d+): \(([0-9a-f]{2})\)(.*)$", re.M)


def step(rng: random.Random, regs: dict[int, sc.Scalar]) -> tuple[Instruction, dict[int, sc.Scalar]]:
    """One random instruction and the registers after it, on the path that falls through."""
    dst, wide = rng.choice(REGISTERS), rng.random() < 0.6
    source = rng.choice([r for r in REGISTERS if r != dst])
    by_register = rng.random() < 0.4
    number = rng.choice([*NUMBERS, rng.getrandbits(31), -rng.getrandbits(12)])
    after = dict(regs)
    if rng.random() < 0.35:
        operation = rng.choice(JUMPS)
        other = regs[source] if by_register else sc.const(number)
        if decide(operation, regs[dst], other, wide) is None:
            after[dst], learnt = refine(operation, regs[dst], other, wide)[1]
            if by_register:
                after[source] = learnt
            code = (op.JMP if wide else op.JMP32) | operation | (op.X if by_register else op.K)
            # Taken, it goes to the exit, the last instruction: the distance is filled in later.
            return Instruction(code, dst, source if by_register else 0, 0x7FFF, 0 if by_register else number), after
    operation = rng.choice(CALCULATIONS)
    kind = op.ALU64 if wide else op.ALU
    if operation == op.NEG:
        after[dst] = neg(regs[dst], wide)
        return Instruction(kind | op.NEG, dst), after
    if operation in (op.LSH, op.RSH, op.ARSH):
        by_register, number = False, rng.randrange(64 if wide else 32)
    if operation in (op.DIV, op.MOD) and not by_register:
        number = number or 3
    other = regs[source] if by_register else sc.const(number)
    if rng.random() < 0.1:
        bits = rng.choice((8, 16, 32) if wide else (8, 16))
        after[dst] = movsx(regs[dst], bits, wide)
        return Instruction(kind | op.MOV | op.X, dst, dst, bits), after
    if rng.random() < 0.1:
        after[dst] = mov32(regs[dst])
        return Instruction(op.ALU | op.MOV | op.X, dst, dst), after
    split = fork(operation, regs[dst], other)
    after[dst] = alu(operation, split[0] if split else regs[dst], other, wide)
    code = kind | operation | (op.X if by_register else op.K)
    return Instruction(code, dst, source if by_register else 0, 0, 0 if by_register else number), after


def program(rng: random.Random) -> tuple[bytes, list[tuple[int, dict[int, sc.Scalar]]]]:
    """A program, and (index, registers after that instruction) of each of its random instructions."""
    out, states = [], []
    regs = {}
    for r in REGISTERS:  # four unknown numbers, none linked to another
        out += [Instruction(op.JMP | op.CALL, imm=HELPERS["ktime_get_ns"]), Instruction(op.ALU64 | op.MOV | op.X, r, 0)]
        out.append(Instruction(op.ALU64 | op.MOV | op.K, 0, imm=0))
        regs[r] = sc.UNKNOWN
    for _ in range(rng.randint(3, 14)):
        insn, regs = step(rng, regs)
        states.append((len(out), regs))
        out.append(insn)
    out += [Instruction(op.ALU64 | op.MOV | op.K, 0, imm=0), Instruction(op.JMP | op.EXIT)]
    end = len(out) - 2
    fixed = [
        i if i.off != 0x7FFF else Instruction(i.opcode, i.dst, i.src, end - n - 1, i.imm) for n, i in enumerate(out)
    ]
    return encode(fixed), states


def kernel_log(code: bytes) -> str:
    log = syscalls.buffer(1 << 20)
    fd = syscalls.prog_load(type=PROG_TYPES["kprobe"], insns=code, log_level=2, log=log)
    text: str = log.value.decode()
    assert fd >= 0, text
    os.close(fd)
    return text


def first_states(log: str) -> dict[int, str]:
    """Instruction -> what the log says after it the first time it is walked (the path that falls through)."""
    found: dict[int, str] = {}
    for at, _, rest in CHANGED.findall(log):
        found.setdefault(int(at), rest)
    return found


@pytest.mark.parametrize("_round", range(10))
def test_ranges_are_the_kernels(_round: int) -> None:
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    checked = 0
    for _ in range(60):
        code, states = program(rng)
        said = first_states(kernel_log(code))
        for at, regs in states:
            for r, text in STATE.findall(said.get(at, "")):
                if int(r) not in regs:
                    continue
                text = re.sub(r"id=\d+([+-]\d+)?,?", "", text)
                want = sc.describe(regs[int(r)])
                want = want if not regs[int(r)].mask else f"scalar({want})"
                assert same(text, regs[int(r)], want), f"seed {seed}, instruction {at}:{said[at]}\nR{r}: {want}"
                checked += 1
    assert checked > 100


def same(text: str, held: sc.Scalar, want: str) -> bool:
    if not held.mask:
        return not text.startswith("scalar") and int(text, 0) & sc.U64 == held.value
    return text == want


if __name__ == "__main__":
    for _ in range(1000):
        test_ranges_are_the_kernels(0)
