"""How long our verifier takes: the programs of docs/examples, one-liners, a long program with branches, refused loops.

Scripts are compiled first, which is not measured; each program is then verified as the newest kernel would, several
times, of which the fastest counts. Goals: the median program within 5 ms, 10,000 instructions within 3 s.

    bench/verifier.py [--rounds N] [SCRIPT OR OBJECT ...]
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import osmia  # noqa: E402
from osmia.errors import OsmiaError  # noqa: E402
from osmia.isa import PROG_TYPES, assemble  # noqa: E402
from osmia.objects import Object, read_elf  # noqa: E402
from osmia.verifier import MapInfo, Program, Verdict, from_spec, verify  # noqa: E402

MEDIAN_MS, LONG_S = 5.0, 3.0
REFUSED = ROOT / "tests" / "unit" / "verifier" / "refused"
OPENAT = "tracepoint:syscalls:sys_enter_openat"
ONE_LINERS = {
    "count": "tracepoint:raw_syscalls:sys_enter { @[comm] = count(); }",
    "names": OPENAT + ' { printf("%s %s\\n", comm, str(args.filename)); }',
    "sizes": "tracepoint:syscalls:sys_exit_read /args.ret > 0/ { @[pid] = hist(args.ret); }",
    "latency": "tracepoint:raw_syscalls:sys_enter { @s[tid] = nsecs; } tracepoint:raw_syscalls:sys_exit /@s[tid]/ "
    "{ @ns[comm] = hist(nsecs - @s[tid]); delete(@s, tid); }",
    "stacks": "profile:hz:99 { @[kstack(5), ustack(5)] = count(); }",
    "switch": "tracepoint:sched:sched_switch { @[args.prev_comm, args.next_comm] = stats(args.next_prio); }",
    "loop": OPENAT + " { $n = 0; while ($n < 20) { if ($n % 3) { @[$n] = sum($n); } $n++; } }",
    "tests": OPENAT + ' { if (pid > 5 && comm == "sh") { @a = max(tid); } else if (uid == 0) { @b = avg(cpu); } }',
    "timer": "interval:s:1 { print(@x); clear(@x); } begin { @x[1] = 1; } end { delete(@x, 1); }",
}


def long_program(count: int, seed: int) -> Program:
    """`count` instructions: branches on unknown numbers, arithmetic, stack, look-ups with their null checks."""
    r = random.Random(seed)
    lines = ["r6 = r1", "call 7", "r7 = r0", "call 7", "r8 = r0", "r9 = 0", "*(u64 *)(r10 - 8) = 0"]
    size, label = len(lines), 0
    while size < count - 2:
        label += 1
        how = r.random()
        if how < 0.3:
            piece = [
                f"if r7 > {r.getrandbits(20)} goto l{label}",
                "r9 += 1",
                f"r9 ^= {r.getrandbits(10)}",
                f"l{label}:",
            ]
        elif how < 0.45:
            piece = [f"if w8 s< {r.getrandbits(20)} goto l{label}", f"r8 |= {r.getrandbits(8)}", f"l{label}:"]
        elif how < 0.6:
            piece = ["r1 = map[fd:0]", "r2 = r10", "r2 += -8", "call 1", f"if r0 == 0 goto l{label}"]
            piece += ["r1 = *(u64 *)(r0 + 8)", "r9 += r1", "*(u64 *)(r0 + 0) = r7", f"l{label}:"]
            size += 1  # map[fd:0] takes two
        elif how < 0.75:
            at = -8 * r.randint(2, 40)
            piece = [f"*(u64 *)(r10 {at:+d}) = r9", f"r7 += {r.getrandbits(6)}", f"r9 = *(u64 *)(r10 {at:+d})"]
        else:
            piece = [
                f"r9 += {r.getrandbits(8)}",
                "r9 *= 31",
                "r9 >>= 3",
                "w7 ^= w9",
                "r7 &= 0xfffff",
                "call 7",
                "r8 = r0",
            ]
        lines += piece
        size += sum(not p.endswith(":") for p in piece)
    insns = assemble("\n".join([*lines, "r0 = 0", "exit"]))
    return Program(insns, PROG_TYPES["xdp"], maps=(MapInfo(2, 4, 64, 4, name="a"),))


def programs(obj: Object, name: str) -> dict[str, Program]:
    return {f"{name}: {spec.section or spec.name}": from_spec(obj, spec) for spec in obj.programs}


def realistic(paths: list[str]) -> dict[str, Program]:
    """Programs of scripts and objects; what cannot be compiled here is said and left out."""
    out: dict[str, Program] = {}
    examples = ROOT / "docs" / "examples"
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        subprocess.run(["gcc", "-g", "-O1", str(examples / "shop.c"), "-o", str(shop)], check=True)
        found = [*sorted(examples.glob("*.bt")), *sorted(examples.glob("*.bpf.o")), *map(Path, paths)]
        for path in found:
            try:
                if path.name.endswith(".o"):
                    obj = read_elf(path.read_bytes(), path.name)
                else:
                    text = path.read_text().replace("./shop", str(shop))
                    obj = osmia.compile(text, params=["x"], unsafe=True, has_cmd=True)
                out.update(programs(obj, path.name))
            except OsmiaError as error:
                print(f"left out: {path.name}: {str(error).splitlines()[0]}")
        for name, text in ONE_LINERS.items():
            out.update(programs(osmia.compile(text, cache=False), name))
    return out


def measure(program: Program, rounds: int) -> tuple[float, Verdict]:
    best = 1e9
    for _ in range(rounds):
        began = time.process_time()
        verdict = verify(program)
        best = min(best, time.process_time() - began)
    return best, verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args()
    print(f"{'ms':>9} {'walked':>8} {'insns':>6}  program")
    times, walked = [], 0
    for name, program in realistic(options.paths).items():
        seconds, verdict = measure(program, options.rounds)
        said = "" if verdict.accepted else f"  refused: {verdict.message}"
        print(f"{seconds * 1000:9.2f} {verdict.processed:8} {len(program.insns) // 8:6}  {name}{said}")
        times.append(seconds)
        walked += verdict.processed
    median, most = statistics.median(times) * 1000, max(times) * 1000
    long_times = []
    for seed in range(3):
        program = long_program(10_000, seed)
        seconds, verdict = measure(program, max(1, options.rounds // 3))
        print(f"{seconds * 1000:9.1f} {verdict.processed:8} {len(program.insns) // 8:6}  long program, seed {seed}")
        assert verdict.accepted, verdict.message
        long_times.append(seconds)
        rate = verdict.processed / seconds
    loops = {}
    for name in ("huge_loop", "unbounded_loop"):
        obj = read_elf((REFUSED / f"{name}.bpf.o").read_bytes(), name)
        seconds, verdict = measure(from_spec(obj, obj.programs[0]), 1)
        loops[name] = seconds
        print(f"{seconds * 1000:9.1f} {verdict.processed:8} {'':6}  {name}: {verdict.message}")
    print(f"{len(times)} programs: median {median:.2f} ms (at most {MEDIAN_MS}), maximum {most:.1f} ms, "
          f"{walked / sum(times):.0f} instructions walked per second; long programs {rate:.0f}")  # fmt: skip
    print(f"10,000 instructions: {max(long_times):.2f} s (at most {LONG_S})")
    return 0 if median <= MEDIAN_MS and max(long_times) <= LONG_S else 1


if __name__ == "__main__":
    sys.exit(main())
