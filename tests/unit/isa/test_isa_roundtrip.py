"""Random instructions and random bytes through disassembler and assembler."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.errors import IsaError
from osmia.isa import Instruction, assemble, decode, disassemble, encode, load_imm64, op

REG = st.integers(0, 10)
OFF = st.integers(-(1 << 15), (1 << 15) - 1)
IMM = st.integers(-(1 << 31), (1 << 31) - 1)
ZERO = st.just(0)
ALU = [op.ADD, op.SUB, op.MUL, op.DIV, op.OR, op.AND, op.LSH, op.RSH, op.MOD, op.XOR, op.MOV, op.ARSH]
JUMPS = [op.JEQ, op.JGT, op.JGE, op.JSET, op.JNE, op.JSGT, op.JSGE, op.JLT, op.JLE, op.JSLT, op.JSLE]
SIZES = [op.B, op.H, op.W, op.DW]
RMW = [o | f for o in (op.ADD, op.OR, op.AND, op.XOR) for f in (0, op.FETCH)] + [op.XCHG, op.CMPXCHG]


def one(opcode, dst=ZERO, src=ZERO, off=ZERO, imm=ZERO):
    if not isinstance(opcode, st.SearchStrategy):
        opcode = st.sampled_from(opcode) if isinstance(opcode, list) else st.just(opcode)
    return st.builds(lambda *fields: [Instruction(*fields)], opcode, dst, src, off, imm)


def either(classes, operations, extra=0):
    return [c | o | extra for c in classes for o in operations]


INSTRUCTION = st.one_of(
    one(either([op.ALU, op.ALU64], ALU, op.X), REG, REG),
    one(either([op.ALU, op.ALU64], ALU), REG, imm=IMM),
    one(either([op.ALU, op.ALU64], [op.DIV, op.MOD], op.X), REG, REG, st.just(1)),
    one(either([op.ALU, op.ALU64], [op.DIV, op.MOD]), REG, ZERO, st.just(1), IMM),
    one(op.ALU | op.MOV | op.X, REG, REG, st.sampled_from([8, 16])),
    one(op.ALU64 | op.MOV | op.X, REG, REG, st.sampled_from([8, 16, 32, -1])),
    one(op.ALU64 | op.MOV | op.X, REG, REG, st.just(op.ADDR_SPACE_CAST), IMM),
    one([op.ALU | op.NEG, op.ALU64 | op.NEG], REG),
    one([op.ALU | op.END, op.ALU | op.END | op.X, op.ALU64 | op.END], REG, imm=st.sampled_from([16, 32, 64])),
    one(either([op.JMP, op.JMP32], JUMPS, op.X), REG, REG, OFF),
    one(either([op.JMP, op.JMP32], JUMPS), REG, ZERO, OFF, IMM),
    one([op.JMP | op.JA, op.JMP | op.JCOND], off=OFF),
    one(op.JMP32 | op.JA, imm=IMM),
    one([op.JMP | op.EXIT, 0xC2]),
    one([op.JMP | op.CALL | op.X, op.JMP | op.JA | op.X], REG),
    one(op.JMP | op.CALL, imm=IMM),
    one(op.JMP | op.CALL, src=st.just(1), imm=IMM),
    one(op.JMP | op.CALL, ZERO, st.just(2), OFF, IMM),
    one(either([op.LDX | op.MEM], SIZES), REG, REG, OFF),
    one(either([op.LDX | op.MEMSX], SIZES[:3]), REG, REG, OFF),
    one(either([op.STX | op.MEM], SIZES), REG, REG, OFF),
    one(either([op.ST | op.MEM], SIZES), REG, ZERO, OFF, IMM),
    one(either([op.STX | op.ATOMIC], [op.W, op.DW]), REG, REG, OFF, st.sampled_from(RMW)),
    one(either([op.STX | op.ATOMIC], SIZES), REG, REG, OFF, st.sampled_from([op.LOAD_ACQ, op.STORE_REL])),
    one(either([op.LD | op.ABS], SIZES[:3]), imm=IMM),
    one(either([op.LD | op.IND], SIZES[:3]), ZERO, REG, ZERO, IMM),
    st.builds(load_imm64, REG, st.integers(-(1 << 63), (1 << 64) - 1)),
    st.builds(lambda d, s, lo: load_imm64(d, lo & 0xFFFFFFFF, s), REG, st.sampled_from([1, 4, 5]), IMM),
    st.builds(load_imm64, REG, st.integers(0, (1 << 64) - 1), st.sampled_from([2, 3, 6])),
)


@settings(max_examples=1500, deadline=None)
@given(INSTRUCTION)
def test_valid_instruction_survives_text(slots):
    data = encode(slots)
    assert decode(data) == slots
    assert assemble("\n".join(disassemble(data))) == data
    assert assemble("\n".join(disassemble(data, numbered=True))) == data


@settings(max_examples=150, deadline=None)
@given(st.lists(INSTRUCTION, max_size=20))
def test_valid_program_survives_text(parts):
    data = encode([slot for part in parts for slot in part])
    assert assemble("\n".join(disassemble(data))) == data


@settings(max_examples=1500, deadline=None)
@given(st.binary(min_size=8, max_size=8) | st.binary(max_size=40))
def test_random_bytes_are_refused_or_survive(data):
    try:
        assert encode(decode(data)) == data
        text = disassemble(data)
    except IsaError:
        return
    assert assemble("\n".join(text)) == data


def test_every_opcode_and_small_field_is_refused_or_survives():
    survived = 0
    for opcode in range(256):
        for fields in (
            (1, 2, 0, 0),
            (1, 0, 0, 16),
            (1, 2, 1, 0),
            (1, 2, 8, 0),
            (0, 0, 5, 0),
            (0, 1, 0, 7),
            (1, 2, 4, 0xE1),
        ):
            data = Instruction(opcode, *fields).encode()
            try:
                text = disassemble(data)
            except IsaError:
                continue
            survived += 1
            assert assemble(text[0]) == data, text
    assert survived > 200


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="r w0129=+-*/()[]u8si64goto pc#:x;l", max_size=40))
def test_random_text_is_refused_or_assembled(text):
    try:
        assert len(assemble(text)) % 8 == 0
    except IsaError as e:
        assert "assemble" in str(e)
