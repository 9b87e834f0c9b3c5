"""Random programs about half of which a kernel takes: pieces that would be right, with numbers that may be wrong."""

from __future__ import annotations

import random

SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
# Shapes of the maps: type, key size, value size, entries.
MAPS = (("hash", 8, 24, 4), ("array", 4, 64, 8), ("ringbuf", 0, 0, 4096), ("prog_array", 4, 4, 2), ("array", 4, 40, 1))
CONTEXT = {"xdp": (16, 4), "sched_cls": (40, 4), "socket_filter": (16, 4), "tracepoint": (16, 4), "kprobe": (40, 8)}


class Writer:
    """One program in the making. r6 is the context; r7 to r9 hold numbers."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.type = self.rng.choice(list(CONTEXT))
        self.lines: list[str] = []
        self.functions: list[str] = []
        self.labels = 0
        self.depth = 0
        self.wrong = self.rng.random() < 0.5

    def text(self) -> str:
        rng = self.rng
        self.add("r6 = r1", *[f"r{n} = {rng.choice([0, 1, 7, -1, 300])}" for n in (7, 8, 9)])
        if rng.random() < 0.6:
            self.add("call 7", f"r{rng.choice((7, 8, 9))} = r0")
        for _ in range(rng.randint(1, 6)):
            self.piece()
        self.add("r0 = 0" if rng.random() < 0.8 else f"r0 = {self.number()}", "exit")
        lines = self.lines + self.functions
        if rng.random() < 0.15:
            self.damage(lines)
        return "\n".join(lines)

    def add(self, *lines: str) -> None:
        self.lines += lines

    def label(self) -> str:
        self.labels += 1
        return f"L{self.labels}"

    def slip(self, right: int, *wrong: int) -> int:
        """The right number, or perhaps a wrong one."""
        return self.rng.choice(wrong) if self.wrong and self.rng.random() < 0.25 else right

    def number(self) -> str:
        return self.rng.choice(("r7", "r8", "r9"))

    def slot(self) -> int:
        return -8 * self.rng.randint(1, 12)

    def piece(self) -> None:
        self.depth += 1
        pieces = [self.sums, self.stack, self.near, self.look_up, self.spill, self.context, self.atomic, self.helper]
        if self.depth < 4:
            pieces += [self.branch, self.loop, self.packet, self.function, self.record, self.index, self.index]
        self.rng.choice(pieces)()
        self.depth -= 1

    def sums(self) -> None:
        rng = self.rng
        for _ in range(rng.randint(1, 4)):
            operation = rng.choice(("+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>=", "s>>=", "=", "/=", "%="))
            wide = rng.choice("rrw")
            dst, src = self.number()[1], self.number()[1]
            if rng.random() < 0.5 and operation not in ("<<=", ">>=", "s>>="):
                self.add(f"{wide}{dst} {operation} {wide}{src}")
            else:
                self.add(f"{wide}{dst} {operation} {self.slip(rng.randint(1, 31), 0, 64, -1)}")

    def stack(self) -> None:
        size = self.rng.choice(list(SIZES))
        at = self.slip(self.slot(), 0, -516, -3, 8)
        self.add(f"*({size} *)(r10 {at:+d}) = {self.number()}")
        self.add(f"{self.number()} = *({self.rng.choice(list(SIZES))} *)(r10 {at:+d})")

    def near(self) -> None:
        """The stack at an offset that is a number."""
        out = self.label()
        at, limit = self.slot(), self.slip(7, 8, 600)
        self.add(f"*(u64 *)(r10 {at:+d}) = 0", f"r1 = {self.number()}", f"if r1 > {limit} goto {out}")
        self.add(
            "r2 = r10", "r2 += r1", f"*(u8 *)(r2 {at:+d}) = 1", f"{self.number()} = *(u8 *)(r2 {at:+d})", f"{out}:"
        )

    def key(self, number: int) -> None:
        size = MAPS[number][1]
        at = self.slot()
        self.add(f"*({'u64' if size == 8 else 'u32'} *)(r10 {at:+d}) = {self.rng.randint(0, 9)}", "r2 = r10")
        self.add(f"r2 += {self.slip(at, 0, 4, -600)}", f"r1 = map[fd:{self.slip(number, 2, 3)}]", "call 1")

    def value(self) -> tuple[str, int]:
        """r0 is a map's value; the label behind what uses it, and the value's size."""
        number = self.rng.choice((0, 1, 4))
        self.key(number)
        out = self.label()
        if not self.slip(0, 1):
            self.add(f"if r0 == 0 goto {out}")
        return out, MAPS[number][2]

    def look_up(self) -> None:
        out, total = self.value()
        size = self.rng.choice(list(SIZES))
        at = self.slip(self.rng.randrange(total - SIZES[size] + 1), total, -1, total - SIZES[size] + 1)
        if self.rng.random() < 0.5:
            self.add(f"{self.number()} = *({size} *)(r0 {at:+d})")
        else:
            self.add(f"*({size} *)(r0 {at:+d}) = {self.number()}")
        self.add(f"{out}:")

    def index(self) -> None:
        out, total = self.value()
        if self.rng.random() < 0.5:
            self.add(f"r1 = *({self.rng.choice(list(SIZES))} *)(r0 +0)")
        else:
            self.add(f"r1 = {self.number()}")
        limit = self.slip(total - 1, total, 4 * total)
        how = self.rng.randrange(5)
        if how == 0:
            self.add(f"if r1 > {limit} goto {out}")
        elif how == 1:
            self.add(f"if r1 s< {self.slip(0, -1)} goto {out}", f"if r1 s>= {limit + 1} goto {out}")
        elif how == 2:
            self.add(f"r1 &= {self.slip(15, 127)}")
        elif how == 3:
            self.add("w1 = w1", f"if w1 > {limit} goto {out}")
        else:
            self.add("r3 = r1", "r3 += 3", f"if r3 > {limit} goto {out}")
        self.add("r0 += r1", f"{self.number()} = *({'u8' if self.slip(0, 1) == 0 else 'u32'} *)(r0 +0)", f"{out}:")

    def spill(self) -> None:
        at = self.slot()
        kind = self.rng.choice(("ctx", "value", "number"))
        if kind == "value":
            out, _ = self.value()
            self.add(f"*(u64 *)(r10 {at:+d}) = r0", f"r3 = *(u64 *)(r10 {at:+d})", f"{self.number()} = *(u8 *)(r3 +2)")
            self.add(f"{out}:")
        elif kind == "ctx":
            off, width = CONTEXT[self.type]
            size = "u32" if width == 4 else "u64"
            self.add(f"*({'u64' if not self.slip(0, 1) else 'u32'} *)(r10 {at:+d}) = r6")
            if self.slip(0, 1):
                self.add(f"*(u8 *)(r10 {at + 1:+d}) = 0")
            self.add(f"r3 = *(u64 *)(r10 {at:+d})", f"{self.number()} = *({size} *)(r3 {off:+d})")
        else:
            self.add(f"*(u64 *)(r10 {at:+d}) = {self.number()}", f"{self.number()} = *(u32 *)(r10 {at:+d})")

    def context(self) -> None:
        off, width = CONTEXT[self.type]
        size = {4: "u32", 8: "u64"}[self.slip(width, 4, 8)]
        self.add(f"{self.number()} = *({size} *)(r6 {self.slip(off, -4, off + 1, 9000):+d})")

    def atomic(self) -> None:
        at = self.slip(self.slot(), -4, -12, 0)
        self.add(f"*(u64 *)(r10 {at & ~7:+d}) = 1", f"lock *(u64 *)(r10 {at:+d}) += {self.number()}")

    def helper(self) -> None:
        at = self.slot() - 16
        if self.type in ("sched_cls", "socket_filter"):
            self.add("r1 = r6", "r2 = 0", "r3 = r10", f"r3 += {self.slip(at, -4, 0)}")
            self.add(f"r4 = {self.slip(16, 0, -1, 600)}", "call 26")
        elif self.rng.random() < 0.5:
            self.add(
                f"*(u64 *)(r10 {at:+d}) = 7", "r1 = r10", f"r1 += {self.slip(at, 0)}", f"r2 = {self.slip(8, 0, -8)}"
            )
            self.add("call 6")
        else:
            self.add(f"call {self.slip(5, 4000, 26)}")
        self.add(f"{self.number()} = {'r0' if not self.slip(0, 1) else 'r3'}")

    def branch(self) -> None:
        rng = self.rng
        other, end = self.label(), self.label()
        sign = rng.choice(("==", "!=", "<", ">", "<=", ">=", "s<", "s>", "&"))
        right = self.number() if rng.random() < 0.3 else str(rng.choice((0, 1, 8, 255)))
        self.add(f"if {self.number()} {sign} {right} goto {other}")
        self.piece()
        self.add(f"goto {end}", f"{other}:")
        self.piece()
        self.add(f"{end}:")

    def loop(self) -> None:
        """r5 would not survive calls: the counter lies on the stack."""
        top = self.label()
        at = -8 * self.rng.randint(20, 24)
        self.add(f"*(u64 *)(r10 {at:+d}) = 0", f"{top}:")
        self.piece()
        self.add(f"r5 = *(u64 *)(r10 {at:+d})", f"r5 += {self.slip(1, 0, 2)}", f"*(u64 *)(r10 {at:+d}) = r5")
        self.add(f"if r5 {'<' if not self.slip(0, 1) else '!='} {self.rng.choice((2, 5, 9, 20))} goto {top}")

    def packet(self) -> None:
        places = {"xdp": (0, 4), "sched_cls": (76, 80)}.get(self.type)
        if places is None:
            self.context()
            return
        out = self.label()
        need = self.rng.choice((1, 14, 34))
        self.add(f"r2 = *(u32 *)(r6 +{places[0]})", f"r3 = *(u32 *)(r6 +{places[1]})", "r4 = r2", f"r4 += {need}")
        self.add(self.rng.choice((f"if r4 > r3 goto {out}", f"if r3 < r4 goto {out}")))
        size = "u8" if need == 1 else self.rng.choice(list(SIZES))
        last = need - SIZES[size]
        self.add(f"{self.number()} = *({size} *)(r2 {self.slip(last, last + 1, -1):+d})", f"{out}:")

    def function(self) -> None:
        name, at = self.label(), self.slot()
        if self.rng.random() < 0.5:
            self.add(f"*(u64 *)(r10 {at:+d}) = 3", "r1 = r10", f"r1 += {at}")
            body = [f"r0 = *(u64 *)(r1 {self.slip(0, 8, 512):+d})", "*(u32 *)(r1 +0) = 1"]
        else:
            self.add(f"r1 = {self.number()}")
            body = ["r0 = r1", f"r0 += {'r1' if not self.slip(0, 1) else 'r7'}"]
        self.add(f"call {name}", f"{self.number()} = {'r0' if not self.slip(0, 1) else 'r2'}")
        self.functions += [f"{name}:", *body, "exit"]

    def record(self) -> None:
        out = self.label()
        self.add("r1 = map[fd:2]", "r2 = 16", "r3 = 0", "call 131")
        if not self.slip(0, 1):
            self.add(f"if r0 == 0 goto {out}")
        self.add(f"*(u64 *)(r0 +{self.slip(8, 16, 12)}) = 1", "r1 = r0", f"r1 += {self.slip(0, 8)}", "r2 = 0")
        if not self.slip(0, 1):
            self.add(f"call {self.rng.choice((132, 133))}")
        self.add(f"{out}:")

    def damage(self, lines: list[str]) -> None:
        at = self.rng.randrange(len(lines))
        if lines[at].endswith(":") or lines[at] == "exit":
            return
        if self.rng.random() < 0.5:
            del lines[at]
        else:
            lines[at] = lines[at].replace("r7", self.rng.choice(("r1", "r2", "r6", "r10"))).replace("r0", "r3")


def write(seed: int) -> tuple[str, str]:
    """(program type, text) of the program of that seed."""
    writer = Writer(seed)
    return writer.type, writer.text()
