"""Random BPF programs that every verifier accepts: all instructions, frames, maps, packets, loops, calls.

`make(seed)` gives an XDP program that folds all it computed into the first element of map 0 and into its return value.
"""

from __future__ import annotations

import random
import struct

ARRAY, HASH = 2, 1
W, H, B, DW = 0x00, 0x08, 0x10, 0x18
BYTES = {W: 4, H: 2, B: 1, DW: 8}
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR, MOV, ARSH = range(0, 0xD0, 0x10)
CONDITIONS = (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0)
SCALARS = (0, 1, 2, 3, 4, 5, 7, 8)  # r6 is the context, r9 counts loops
SLOTS = range(-64, 0, 8)
INTERESTING = (0, 1, -1, 2, 7, 8, 31, 32, 63, 64, 127, 128, 255, 256, 0x7FFFFFFF, -0x80000000, 0x55555555, -2, 1000)
PACKET = bytes.fromhex("020000000001020000000002080045000028") + bytes(range(100))


class Program:
    """`insns` with map indexes in their 64-bit loads; `maps` are (type, key size, value size, entries)."""

    def __init__(self, insns: bytes, maps: list[tuple[int, int, int, int]]) -> None:
        self.insns = insns
        self.maps = maps


class Maker:
    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.code: list[list[object]] = []
        self.subprograms: list[int] = []
        self.depth = 0
        self.in_loop = False
        self.with_maps = self.r.random() < 0.6
        self.maps = [(ARRAY, 4, 64, 1)]
        if self.with_maps:
            self.maps += [(ARRAY, 4, 24, self.r.randint(1, 9)), (HASH, self.r.choice((4, 8, 12, 5)), 16, 64)]

    # Parts

    def emit(self, opcode: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0, to: str = "") -> None:
        self.code.append([opcode, dst, src, off, imm, to])

    def label(self) -> str:
        self.depth += 1
        return f"l{self.depth}"

    def mark(self, label: str) -> None:
        self.code.append([label])

    def number(self) -> int:
        r = self.r
        return r.choice(INTERESTING) if r.random() < 0.6 else r.randint(-(1 << 31), (1 << 31) - 1)

    def load64(self, dst: int, value: int, src: int = 0) -> None:
        value &= (1 << 64) - 1
        self.emit(0x18, dst, src, 0, value & 0xFFFFFFFF)
        self.emit(0, 0, 0, 0, value >> 32)

    def scalar(self, register: int) -> None:
        """Any number into a register."""
        if self.r.random() < 0.3:
            self.load64(register, self.r.getrandbits(64))
        else:
            self.emit(0xB7, register, 0, 0, self.number())

    def arithmetic(self, registers: tuple[int, ...] = SCALARS) -> None:
        r = self.r
        cls = r.choice((4, 7))
        width = 32 if cls == 4 else 64
        d, s = r.choice(registers), r.choice(registers)
        what = r.choice((ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR, MOV, ARSH, "swap", "extend"))
        if what == "swap":
            self.emit(r.choice((0xD4, 0xDC, 0xD7)), d, 0, 0, r.choice((16, 32, 64)))
        elif what == "extend":
            self.emit(cls | MOV | 8, d, s, r.choice((8, 16, 32) if cls == 7 else (8, 16)))
        elif what == NEG:
            self.emit(cls | NEG, d)
        else:
            off = r.choice((0, 1)) if what in (DIV, MOD) else 0
            if r.random() < 0.5:
                self.emit(cls | what | 8, d, s, off)
                return
            imm = self.number()
            if what in (LSH, RSH, ARSH):
                imm = r.randrange(width)
            self.emit(cls | what, d, 0, off, imm or 3 if what in (DIV, MOD) else imm)

    def frame(self) -> None:
        """Load from or store to the frame, all of which is written at the start."""
        r = self.r
        size = r.choice((W, H, B, DW))
        off = r.choice(SLOTS) + r.randrange(0, 8, BYTES[size])
        kind = r.randrange(4)
        if kind == 0:
            self.emit(0x61 | size, r.choice(SCALARS), 10, off)
        elif kind == 1 and size != DW:
            self.emit(0x81 | size, r.choice(SCALARS), 10, off)
        elif kind == 2:
            self.emit(0x62 | size, 10, 0, off, self.number())
        else:
            self.emit(0x63 | size, 10, r.choice(SCALARS), off)

    def atomic(self, base: int, offsets: range) -> None:
        r = self.r
        size = r.choice((W, DW))
        off = r.choice(offsets) + (r.choice((0, 4)) if size == W else 0)
        what = r.choice((0, 0x40, 0x50, 0xA0, 1, 0x41, 0x51, 0xA1, 0xE1, 0xF1))
        self.emit(0xC3 | size, base, r.choice([s for s in SCALARS if s != base]), off, what)

    def branch(self) -> None:
        r = self.r
        skip = self.label()
        cls = r.choice((5, 6))
        if r.random() < 0.5:
            self.emit(cls | r.choice(CONDITIONS) | 8, r.choice(SCALARS), r.choice(SCALARS), 0, 0, skip)
        else:
            self.emit(cls | r.choice(CONDITIONS), r.choice(SCALARS), 0, 0, self.number(), skip)
        self.some(r.randint(1, 4), nested=True)
        if r.random() < 0.3:
            done = self.label()
            self.emit(*r.choice(((0x05,), (0x06,))), to=done)
            self.mark(skip)
            self.some(r.randint(1, 3), nested=True)
            self.mark(done)
        else:
            self.mark(skip)

    def loop(self) -> None:
        r = self.r
        if self.in_loop:
            self.arithmetic()
            return
        self.in_loop = True
        head, out = self.label(), self.label()
        budget = r.random() < 0.3
        self.emit(0xB7, 9, 0, 0, r.randint(1, 6))
        self.mark(head)
        if budget:
            self.emit(0xE5, 0, 0, 0, 0, out)
        for _ in range(r.randint(1, 3)):
            self.arithmetic() if r.random() < 0.6 else self.frame()
        self.emit(0x07, 9, 0, 0, -1)
        self.emit(0x55, 9, 0, 0, 0, head)
        self.mark(out)
        self.in_loop = False

    def clobbered(self) -> None:
        """After a call, r0 to r5 are numbers again."""
        for register in range(6):
            self.scalar(register)

    def packet(self) -> None:
        r = self.r
        out, size = self.label(), r.choice((W, H, B, DW))
        at = r.randrange(0, 40)
        self.emit(0x61, 2, 6, 0)
        self.emit(0x61, 3, 6, 4)
        self.emit(0xBF, 4, 2)
        self.emit(0x07, 4, 0, 0, r.choice((48, 60, 4000)))
        self.emit(0x2D, 4, 3, 0, 0, out)
        self.emit(0x61 | size, 7, 2, at)
        if r.random() < 0.4:
            self.emit(0x63 | size, 2, r.choice((7, 8)), r.randrange(0, 40))
        self.mark(out)
        self.clobbered()

    def lookup(self) -> None:
        """A look-up, with an update before it at times; what it finds is read, written and changed atomically."""
        r = self.r
        index = r.randrange(1, len(self.maps))
        kind, _, value, entries = self.maps[index]
        for off in (-72, -80):
            self.emit(0x7A, 10, 0, off, r.randrange(entries + 2) if off == -80 else r.randrange(2))
        if r.random() < 0.4:
            self.load64(1, index, 1)
            self.point(2, -80)
            self.point(3, -64)
            self.emit(0xB7, 4, 0, 0, r.choice((0, 0, 1, 2)))
            self.emit(0x85, 0, 0, 0, 2)
            self.emit(0xBF, 8, 0)
        elif kind == HASH and r.random() < 0.3:
            self.load64(1, index, 1)
            self.point(2, -80)
            self.emit(0x85, 0, 0, 0, 3)
            self.emit(0xBF, 8, 0)
        self.load64(1, index, 1)
        self.point(2, -80)
        self.emit(0x85, 0, 0, 0, 1)
        out = self.label()
        self.emit(0x15, 0, 0, 0, 0, out)
        for register in range(1, 6):
            self.scalar(register)
        size = r.choice((W, H, B, DW))
        self.emit(0x61 | size, 7, 0, r.randrange(0, value - 8, BYTES[size]))
        self.emit(0x63 | size, 0, r.choice((7, 8)), r.randrange(0, value - 8, BYTES[size]))
        if r.random() < 0.5:
            self.emit(0xDB, 0, r.choice((1, 2, 3)), 8, r.choice((0, 1, 0x41, 0xE1)))
        self.mark(out)
        self.clobbered()

    def point(self, register: int, off: int) -> None:
        self.emit(0xBF, register, 10)
        self.emit(0x07, register, 0, 0, off)

    def call(self) -> None:
        self.subprograms.append(self.r.getrandbits(32))
        for register in range(1, 6):
            self.scalar(register) if self.r.random() < 0.3 else self.emit(0xBF, register, self.r.choice((7, 8)))
        self.emit(0x85, 0, 1, 0, 0, f"f{len(self.subprograms)}")
        for register in range(1, 6):
            self.scalar(register)

    def some(self, count: int, nested: bool = False) -> None:
        r = self.r
        for _ in range(count):
            k = r.random()
            if k < 0.5:
                self.arithmetic()
            elif k < 0.68:
                self.frame()
            elif k < 0.74:
                self.atomic(10, SLOTS)
            elif nested or k < 0.82:
                if nested:
                    self.arithmetic()
                else:
                    self.branch()
            elif k < 0.87:
                self.loop()
            elif k < 0.91:
                self.packet()
            elif k < 0.95 and self.with_maps:
                self.lookup()
            else:
                self.call()

    def subprogram(self, number: int, seed: int) -> None:
        """A function of its five arguments, with a frame of its own at times."""
        outer, self.r = self.r, random.Random(seed)
        self.mark(f"f{number}")
        self.emit(0xBF, 0, 1)
        registers = (0, 1, 2, 3, 4, 5)
        for _ in range(self.r.randint(1, 8)):
            self.arithmetic(registers)
        if self.r.random() < 0.5:
            self.emit(0x7B, 10, self.r.choice(registers), -8)
            self.arithmetic(registers)
            self.emit(0x61 | W, 1, 10, self.r.choice((-8, -4)))
            self.emit(0x0F, 0, 1)
        out = self.label()
        self.emit(5 | self.r.choice(CONDITIONS) | 8, self.r.choice(registers), self.r.choice(registers), 0, 0, out)
        self.arithmetic((0, 2, 3))
        self.mark(out)
        self.emit(0x95)
        self.r = outer

    # All of it

    def make(self) -> Program:
        self.emit(0xBF, 6, 1)
        for register in SCALARS:
            self.scalar(register)
        for off in SLOTS:
            if self.r.random() < 0.5:
                self.emit(0x7A, 10, 0, off, self.number())
            else:
                self.emit(0x7B, 10, self.r.choice(SCALARS), off)
        self.some(self.r.randint(5, 30))
        for register in SCALARS[1:]:
            self.emit(0x27, 0, 0, 0, 31)
            self.emit(0xAF, 0, register)
        self.load64(1, 0, 2)
        self.emit(0x7B, 1, 0, 0)
        for k, off in enumerate(range(-56, 0, 8)):
            self.emit(0x79, 2, 10, off)
            self.emit(0x7B, 1, 2, 8 + 8 * k)
        self.emit(0x95)
        for number, seed in enumerate(self.subprograms, 1):
            self.subprogram(number, seed)
        return Program(self._assemble(), self.maps)

    def _assemble(self) -> bytes:
        places: dict[str, int] = {}
        slots = []
        for row in self.code:
            if len(row) == 1:
                places[str(row[0])] = len(slots)
            else:
                slots.append(row)
        out = bytearray()
        for at, (opcode, dst, src, off, imm, to) in enumerate(slots):
            if to:
                distance = places[to] - at - 1
                if opcode in (0x85, 0x06):
                    imm = distance
                else:
                    off = distance
            out += struct.pack("<BBhI", opcode, dst | src << 4, off, imm & 0xFFFFFFFF)
        return bytes(out)


def make(seed: int) -> Program:
    """The program of this seed."""
    return Maker(seed).make()
