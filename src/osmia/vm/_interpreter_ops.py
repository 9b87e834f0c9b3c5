"""What each arithmetic instruction and jump does, as Python expressions over `a` (destination) and `b` (source).

The reference: short enough to be compared with RFC 9669 line by line. Registers hold unsigned 64-bit numbers.
"""

from __future__ import annotations

from ..isa import op

M = 0xFFFF_FFFF_FFFF_FFFF
W = 0xFFFF_FFFF
H64, H32 = 1 << 63, 1 << 31


def signed_divide(a: int, b: int, half: int) -> int:
    """Signed division that truncates towards zero; 0 for a zero divisor. `half` is the sign bit."""
    a, b = (a ^ half) - half, (b ^ half) - half
    if b == 0:
        return 0
    quotient = abs(a) // abs(b)
    return (quotient if (a < 0) == (b < 0) else -quotient) & (half << 1) - 1


def signed_modulo(a: int, b: int, half: int) -> int:
    """The remainder with the dividend's sign; the dividend for a zero divisor."""
    a, b = (a ^ half) - half, (b ^ half) - half
    if b == 0:
        return a & (half << 1) - 1
    rest = abs(a) % abs(b)
    return (-rest if a < 0 else rest) & (half << 1) - 1


def swap(value: int, width: int) -> int:
    """The low `width` bits with their bytes in the other order."""
    size = width >> 3
    return int.from_bytes((value & (1 << width) - 1).to_bytes(size, "little"), "big")


# {m} is the mask of the width, {h} its sign bit, {s} what a shift is limited to.
ALU = {
    op.ADD: "(a + b) & {m}",
    op.SUB: "(a - b) & {m}",
    op.MUL: "(a * b) & {m}",
    op.DIV: "a // b if b else 0",
    op.OR: "a | b",
    op.AND: "a & b",
    op.LSH: "(a << (b & {s})) & {m}",
    op.RSH: "a >> (b & {s})",
    op.NEG: "-a & {m}",
    op.MOD: "a % b if b else a",
    op.XOR: "a ^ b",
    op.MOV: "b",
    op.ARSH: "(((a ^ {h}) - {h}) >> (b & {s})) & {m}",
}
ALU_SIGNED = {op.DIV: "signed_divide(a, b, {h})", op.MOD: "signed_modulo(a, b, {h})"}
JUMPS = {
    op.JEQ: "a == b",
    op.JGT: "a > b",
    op.JGE: "a >= b",
    op.JSET: "a & b",
    op.JNE: "a != b",
    op.JSGT: "(a ^ {h}) > (b ^ {h})",
    op.JSGE: "(a ^ {h}) >= (b ^ {h})",
    op.JLT: "a < b",
    op.JLE: "a <= b",
    op.JSLT: "(a ^ {h}) < (b ^ {h})",
    op.JSLE: "(a ^ {h}) <= (b ^ {h})",
}
ATOMICS = {
    op.ADD: "(a + b) & {m}",
    op.OR: "a | b",
    op.AND: "a & b",
    op.XOR: "a ^ b",
    op.XCHG & ~op.FETCH: "b",
}


def expression(text: str, wide: bool, immediate: bool) -> str:
    """`text` with the operands put in: `r[d]` and `r[s]`, or the constant `k`; the low halves when not `wide`."""
    a = "r[d]" if wide else f"(r[d] & {W})"
    b = "k" if immediate else "r[s]" if wide else f"(r[s] & {W})"
    half = H64 if wide else H32
    text = text.format(m=M if wide else W, h=half, s=63 if wide else 31)
    out, word = [], ""
    for c in text + " ":
        if c.isalnum() or c == "_":
            word += c
            continue
        out += [{"a": a, "b": b}.get(word, word), c]
        word = ""
    return "".join(out).rstrip()
