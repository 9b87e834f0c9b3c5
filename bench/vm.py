"""Native code of the user-space target beside `gcc -O2` and the kernel's JIT: ns per run of the same C functions.

Each function is compiled twice: by gcc for this machine, by clang for BPF; that bytecode is run by our JIT, checked or
not, and (as root) by the kernel through BPF_PROG_TEST_RUN. All must give the same number. Rounds go round the engines,
and the best one counts, so that a busy moment does not hit one of them alone. Compare ratios, not nanoseconds.

    bench/vm.py [--rounds N] [--only NAME,...]
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import struct
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from osmia import syscalls  # noqa: E402
from osmia.elf import ElfFile  # noqa: E402
from osmia.errors import OsmiaError  # noqa: E402
from osmia.isa import assemble, encode  # noqa: E402
from osmia.isa._instruction import Instruction, load_imm64  # noqa: E402
from osmia.vm._code import Code  # noqa: E402
from osmia.vm._interpreter import run  # noqa: E402
from osmia.vm._jit import compile  # noqa: E402
from osmia.vm._jit_run import Native  # noqa: E402
from osmia.vm._machine import Machine  # noqa: E402

MEMORY = 2048
TARGET_NS = 20_000_000
NATIVE_LIMIT, KERNEL_LIMIT, COMPILE_MS, PACKETS_PER_SECOND = 1.05, 0.8, 15, 20e6
TYPES = "typedef unsigned char u8; typedef unsigned short u16; typedef unsigned u32; typedef unsigned long long u64;\n"
FUNCTIONS = {
    "adler32": """
        u32 a = 1, b = 0;
        for (u64 i = 0; i < 512; i++) { a = (a + mem[i]) % 65521; b = (b + a) % 65521; }
        return b << 16 | a;""",
    "histogram": """
        u64 *bins = (u64 *)(mem + 1024);
        for (int i = 0; i < 64; i++) bins[i] = 0;
        for (int i = 0; i < 1000; i++) bins[mem[i] >> 2]++;
        u64 h = 0;
        for (int i = 0; i < 64; i++) h = h * 31 + bins[i];
        return h;""",
    "gcd": """
        u64 sum = 0;
        for (int i = 0; i < 64; i++) {
            u32 a = mem[i] + 1000, b = mem[i + 64] + 17;
            for (int k = 0; k < 24 && b; k++) { u32 t = a % b; a = b; b = t; }
            sum += a;
        }
        return sum;""",
    "popcount": """
        u64 n = 0;
        for (int i = 0; i < 128; i++) { u64 v = ((u64 *)mem)[i]; for (int k = 0; k < 8; k++) n += v >> (k * 8) & 1; }
        return n;""",
    "ipv4": """
        u64 n = 0;
        for (int i = 0; i < 32; i++) {
            u8 *p = mem + i * 64;
            if (p[0] >> 4 != 4) { n += 1; continue; }
            u32 sum = 0;
            for (int k = 0; k < 10; k++) sum += ((u16 *)p)[k];
            sum = (sum & 0xffff) + (sum >> 16);
            n = n * 7 + (sum & 0xffff) + (p[9] == 6 ? 100 : p[9] == 17 ? 50 : 0);
        }
        return n;""",
    "state": """
        u64 s = 0, n = 0;
        for (int i = 0; i < 1024; i++) switch (s) {
            case 0: s = mem[i] < 64 ? 1 : 0; break;
            case 1: s = mem[i] < 128 ? 2 : 3; n++; break;
            case 2: s = mem[i] & 1 ? 4 : 0; n += 3; break;
            case 3: s = mem[i] & 2 ? 5 : 1; n ^= 5; break;
            case 4: s = mem[i] & 4 ? 0 : 5; n += mem[i]; break;
            default: s = mem[i] & 3; n <<= 1; break;
        }
        return n;""",
    "shuffle": """
        u32 x = 12345;
        u64 h = 0;
        for (int i = 0; i < 400; i++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; h += mem[x & 1023] ^ x; }
        return h;""",
    "local": """
        u64 keep[32];
        for (int i = 0; i < 32; i++) keep[i] = mem[i] * 3 + i;
        u64 h = 0;
        for (int i = 0; i < 256; i++) { keep[i & 31] += h; h = h * 5 + keep[mem[i] & 31]; }
        return h;""",
}
FILTER = """
    r2 = *(u32 *)(r1 + 4)
    r1 = *(u32 *)(r1 + 0)
    r0 = 2
    r3 = r1
    r3 += 34
    if r3 > r2 goto out
    r4 = *(u16 *)(r1 + 12)
    if r4 != 0x8 goto out
    r4 = *(u8 *)(r1 + 23)
    if r4 != 17 goto out
    r0 = 1
out:
    exit
"""


def bytecode(folder: Path, name: str, source: Path) -> bytes:
    """The function's instructions."""
    out = folder / f"{name}.o"
    subprocess.run(["clang", "-O2", "-target", "bpf", "-mcpu=v3", "-c", str(source), "-o", str(out)], check=True)
    with ElfFile(out.read_bytes()) as elf:
        text = elf.section(".text")
        assert text is not None
        assert not elf.relocations(text), f"{name} needs relocations"
        return text.data


def native_library(folder: Path, name: str, source: Path) -> Callable[[int, int, int], int]:
    """`repeat(memory, length, times)`: the last result of gcc's code."""
    loop = folder / f"{name}-loop.c"
    loop.write_text(
        TYPES + f"u64 {name}(u8 *, u64);\nu64 repeat(u8 *m, u64 n, u64 times)"
        f'{{ u64 r = 0; for (u64 i = 0; i < times; i++) {{ r = {name}(m, n); __asm__ volatile("" ::: "memory"); }}'
        " return r; }\n"
    )
    out = folder / f"{name}.so"
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", str(source), str(loop), "-o", str(out)], check=True)
    function = ctypes.CDLL(str(out)).repeat
    function.restype, function.argtypes = ctypes.c_uint64, [ctypes.c_uint64] * 3
    return function  # type: ignore[no-any-return]


class Kernel:
    """The function as a subprogram of an XDP program, with its memory in one map and its result in another."""

    def __init__(self, insns: bytes, memory: bytes) -> None:
        self.fds = [syscalls.map_create(type=2, key_size=4, value_size=n, max_entries=1) for n in (MEMORY, 8)]
        syscalls.map_update(self.fds[0], bytes(4), memory)
        head = [*load_imm64(1, self.fds[0], 2), Instruction(0xB7, 2, 0, 0, MEMORY), Instruction(0x85, 0, 1, 0, 5)]
        tail = [*load_imm64(1, self.fds[1], 2), Instruction(0x7B, 1, 0), Instruction(0xB7, 0), Instruction(0x95)]
        fd = syscalls.prog_load(type=6, insns=encode([*head, *tail]) + insns)
        if fd < 0:
            self.close()
            raise OSError(-fd, "the kernel does not take it")
        self.fds.append(fd)

    def repeat(self, times: int) -> tuple[float, int]:
        got = syscalls.prog_test_run(self.fds[2], data=bytes(64), repeat=max(times, 1))
        return float(got.duration), struct.unpack("<Q", syscalls.map_lookup(self.fds[1], bytes(4), 8) or b"")[0]

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def timed(function: Callable[[int], int]) -> Callable[[int], tuple[float, int]]:
    def call(times: int) -> tuple[float, int]:
        began = time.perf_counter_ns()
        result = function(times)
        return (time.perf_counter_ns() - began) / times, result

    return call


class Row:
    """One function in every engine."""

    def __init__(self, folder: Path, name: str, rounds: int) -> None:
        source = folder / f"{name}.c"
        source.write_text(TYPES + f"u64 {name}(u8 *mem, u64 len)\n{{{FUNCTIONS[name]}\n}}\n")
        insns, memory = bytecode(folder, name, source), bytes((i * 167 + i // 7) & 0xFF for i in range(MEMORY))
        gcc = native_library(folder, name, source)
        self.kernel: Kernel | None = None
        with Machine() as machine:
            region = machine.memory.allocate(MEMORY, "memory")
            region.view[:] = memory
            code = Code(insns, machine)
            self.compile_ms = math.inf
            for _ in range(rounds):
                began = time.perf_counter()
                compile(code, machine).close()
                self.compile_ms = min(self.compile_ms, (time.perf_counter() - began) * 1000)
            made = compile(code, machine)
            checked = compile(code, machine, checked=True)
            engines = {
                "gcc": timed(lambda n: gcc(region.base, MEMORY, n)),
                "jit": timed(lambda n: made.repeat(region.base, MEMORY, n)),
                "checked": timed(lambda n: checked.repeat(region.base, MEMORY, n)),
            }
            wanted = run(code, machine, region.base, MEMORY)
            try:
                self.kernel = Kernel(insns, memory)
                engines["kernel"] = self.kernel.repeat
            except (OSError, OsmiaError) as error:
                print(f"{name}: no kernel column: {error}")
            self.ns = measure(engines, wanted, rounds)
            if self.kernel is not None:
                self.kernel.close()
            made.close()
            checked.close()


def measure(engines: dict[str, Callable[[int], tuple[float, int]]], wanted: int, rounds: int) -> dict[str, float]:
    best: dict[str, float] = {}
    times: dict[str, int] = {}
    for name, engine in engines.items():
        ns, result = engine(200)
        assert result == wanted, f"{name}: {result:#x}, wanted {wanted:#x}"
        times[name] = max(20, min(2_000_000, int(TARGET_NS / max(ns, 1))))
    for _ in range(rounds):
        for name, engine in engines.items():
            best[name] = min(best.get(name, math.inf), max(engine(times[name])[0], 0.5))
    return best


def packets(rounds: int) -> float:
    """Packets per second of a simple filter through run_many."""
    count = 1_000_000
    with Machine() as machine:
        region = machine.memory.allocate(64 * count, "packets", low=True)
        frame = bytearray(64)
        frame[12:14], frame[23] = b"\x08\0", 17
        region.view[:] = bytes(frame) * count
        offsets, lengths = array("I", range(0, 64 * count, 64)), array("I", [60]) * count
        best = 0.0
        with compile(Code(assemble(FILTER), machine, type=6), machine) as native:
            for _ in range(rounds + 1):
                best = max(best, _batch(native, region, offsets, lengths))
    return best


def _batch(native: Native, region: object, offsets: array[int], lengths: array[int]) -> float:
    began = time.perf_counter()
    got = native.run_many(region, offsets, lengths)  # type: ignore[arg-type]
    seconds = time.perf_counter() - began
    assert got.histogram[1] == len(offsets)
    return len(offsets) / seconds


def mean(rows: dict[str, Row], one: str, other: str) -> float:
    """Geometric mean of ratios over the functions that both ran."""
    both = [row.ns[one] / row.ns[other] for row in rows.values() if one in row.ns and other in row.ns]
    return math.exp(sum(map(math.log, both)) / len(both)) if both else math.nan


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(FUNCTIONS))
    options = parser.parse_args()
    rows: dict[str, Row] = {}
    with Machine() as machine:  # LLVM is loaded once, and is not what is measured
        compile(Code(assemble("r0 = 0\nexit"), machine), machine).close()
    print(
        f"{'ns per run':12}" + "".join(f"{name:>12}" for name in ("gcc -O2", "kernel", "jit", "checked", "compile ms"))
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            row = rows[name] = Row(Path(folder), name, options.rounds)
            cells = [f"{row.ns[e]:12.1f}" if e in row.ns else f"{'-':>12}" for e in ("gcc", "kernel", "jit", "checked")]
            print(f"{name:12}" + "".join(cells) + f"{row.compile_ms:12.1f}", flush=True)
    native, kernel = mean(rows, "jit", "gcc"), mean(rows, "jit", "kernel")
    compile_ms = sorted(row.compile_ms for row in rows.values())[len(rows) // 2]
    rate = packets(options.rounds)
    checks = [
        (f"jit / gcc -O2           {native:6.3f}  (limit {NATIVE_LIMIT})", native <= NATIVE_LIMIT),
        (
            f"jit / kernel            {kernel:6.3f}  (limit {KERNEL_LIMIT})",
            math.isnan(kernel) or kernel <= KERNEL_LIMIT,
        ),
        (f"compile, median         {compile_ms:6.1f} ms  (limit {COMPILE_MS})", compile_ms <= COMPILE_MS),
        (f"filter, run_many        {rate / 1e6:6.1f} million packets/s  (at least 20)", rate >= PACKETS_PER_SECOND),
    ]
    print(f"checked / gcc -O2       {mean(rows, 'checked', 'gcc'):6.3f}")
    for text, good in checks:
        print(text, "" if good else "  MISSED")
    return 0 if all(good for _, good in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
