"""Numbers of the BPF instruction set (RFC 9669; Documentation/bpf/standardization/instruction-set.rst).

An opcode byte is class | source | operation (arithmetic, jumps) or class | size | mode (loads, stores).
"""

from __future__ import annotations

# Classes: low three bits.
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
CLASS_MASK = 0x07

# Source of the second operand: immediate or register.
K = 0x00
X = 0x08

# Operations of ALU and ALU64.
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH = range(0x00, 0x80, 0x10)
NEG, MOD, XOR, MOV, ARSH, END = range(0x80, 0xE0, 0x10)

# Operations of JMP and JMP32.
JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE = range(0x00, 0x80, 0x10)
CALL, EXIT, JLT, JLE, JSLT, JSLE, JCOND = range(0x80, 0xF0, 0x10)
OP_MASK = 0xF0

# Sizes and modes of loads and stores.
W, H, B, DW = 0x00, 0x08, 0x10, 0x18
SIZE_MASK = 0x18
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0
MODE_MASK = 0xE0
SIZE_BYTES = {W: 4, H: 2, B: 1, DW: 8}

# `imm` of STX | ATOMIC: ADD, OR, AND, XOR, with FETCH or not, and these.
FETCH = 0x01
XCHG = 0xE0 | FETCH
CMPXCHG = 0xF0 | FETCH
LOAD_ACQ = 0x100
STORE_REL = 0x110

LD_IMM64 = LD | IMM | DW  # takes two slots

# `src` of LD_IMM64: what the number stands for (BPF_PSEUDO_*).
PSEUDO_MAP_FD = 1
PSEUDO_MAP_VALUE = 2
PSEUDO_BTF_ID = 3
PSEUDO_FUNC = 4
PSEUDO_MAP_IDX = 5
PSEUDO_MAP_IDX_VALUE = 6

# `src` of a call: 0 is a helper.
PSEUDO_CALL = 1
PSEUDO_KFUNC_CALL = 2

# `off` of ALU64 | MOV | X that is no move (addr_space_cast: UAPI since 6.9; percpu: only in translated programs).
ADDR_SPACE_CAST = 1
ADDR_PERCPU = -1

MAX_REGISTER = 11  # r0 to r10; r11 is the kernel's scratch register, seen in translated programs
STACK_SIZE = 512
