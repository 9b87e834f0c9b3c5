"""Random programs whose verdict hangs on what is known of one number: it ends up as an index into a map's value."""

from __future__ import annotations

from _random_programs import Writer

_JUMPS = ("==", "!=", "<", ">", "<=", ">=", "s<", "s>", "s<=", "s>=", "&")
_SUMS = ("+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>=", "s>>=", "/=", "%=")
_NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 31, 40, 63, 64, 255, 256, -1, -2, -8, 0x7FFFFFFF, -0x80000000)

_DISTANCES = (0, 1, 4, 5, 16, 100, -1, -5, 0x7FFFFFFF, -0x80000000)


class Ranges(Writer):
    """r1 is the number, r2 to r5 are copies and other numbers, r0 is the value."""

    def piece(self) -> None:
        if self.depth or self.rng.random() < 0.4:
            super().piece()
        else:
            self.ranged()

    def ranged(self) -> None:
        rng = self.rng
        out, total = self.value()
        for n in (1, 2, 3):
            size = rng.choice(("u8", "u16", "u32", "u64"))
            self.add(f"r{n} = *({size} *)(r0 +{8 * n - 8})")
        for _ in range(rng.randint(1, 5)):
            rng.choice((self.test, self.test, self.sum, self.sum, self.trip, self.copy, self.link, self.change))(out)
        last = rng.randrange(4)
        if last == 0:
            self.add(f"if r1 > {self.slip(total - 1, total)} goto {out}")
        elif last == 1:
            self.add(f"r1 &= {self.slip(15, 127)}")
        elif last == 2:
            self.add(f"if r1 s< 0 goto {out}", f"if r1 s> {total - 1} goto {out}")
        self.add("r0 += r1", "r1 = *(u8 *)(r0 +0)", f"{out}:")

    def one(self) -> int:
        """The number, or sometimes another one."""
        return self.rng.choice((1, 1, 1, 2, 3))

    def test(self, out: str) -> None:
        rng, wide = self.rng, self.rng.choice("rrw")
        right = f"{wide}{self.one()}" if rng.random() < 0.3 else str(rng.choice(_NUMBERS))
        self.add(f"if {wide}{self.one()} {rng.choice(_JUMPS)} {right} goto {out}")

    def sum(self, _out: str) -> None:
        rng, wide, operation = self.rng, self.rng.choice("rrw"), self.rng.choice(_SUMS)
        if operation in ("<<=", ">>=", "s>>="):
            right = str(rng.choice((1, 2, 4, 8, 24, 31) if wide == "w" else (1, 8, 32, 56, 60, 63)))
        elif rng.random() < 0.3 and operation not in ("/=", "%="):
            right = f"{wide}{self.one()}"
        else:
            right = str(rng.choice([n for n in _NUMBERS if n]))
        self.add(f"{wide}{self.one()} {operation} {right}")

    def trip(self, _out: str) -> None:
        """Over the stack and back, perhaps with another size."""
        size = self.rng.choice(("u8", "u16", "u32", "u64"))
        back = size if self.rng.random() < 0.7 else self.rng.choice(("u8", "u16", "u32", "u64"))
        what = str(self.rng.choice(_NUMBERS)) if self.rng.random() < 0.2 else f"r{self.one()}"
        self.add(f"*(u64 *)(r10 -256) = {self.rng.choice((0, 5))}") if self.rng.random() < 0.5 else None
        self.add(f"*({size} *)(r10 -256) = {what}", f"r{self.one()} = *({back} *)(r10 -256)")

    def copy(self, out: str) -> None:
        """What is learnt of a copy may hold for the number."""
        wide = self.rng.choice("rrw")
        self.add(f"{wide}4 = {wide}{self.one()}")
        if self.rng.random() < 0.5:
            self.add(f"r4 += {self.rng.choice((1, 4, -1))}")
        self.add(f"if {wide}4 {self.rng.choice(_JUMPS)} {self.rng.choice(_NUMBERS)} goto {out}")

    def link(self, out: str) -> None:
        """So may what is learnt of a sum or a difference, and the other way round."""
        rng, one, other = self.rng, self.one(), self.rng.choice((1, 2, 3))
        if rng.random() < 0.5:
            self.add(f"r{other} = r{one}")
        self.add(f"{rng.choice('rww')}{one} {rng.choice(('+=', '+=', '-='))} {rng.choice(_DISTANCES)}")
        if rng.random() < 0.4:
            left = rng.choice((one, other))
            self.add(f"if {rng.choice('rrw')}{left} {rng.choice(_JUMPS)} {rng.choice(_NUMBERS)} goto {out}")

    def change(self, _out: str) -> None:
        n = self.one()
        self.add(self.rng.choice((f"r{n} = -r{n}", f"w{n} = -w{n}", f"w{n} = w{n}", f"r{n} = be16 r{n}")))


def write(seed: int) -> tuple[str, str]:
    """(program type, text) of the program of that seed."""
    writer = Ranges(seed)
    return writer.type, writer.text()
