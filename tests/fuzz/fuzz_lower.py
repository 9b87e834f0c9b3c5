# ruff: noqa: E402, E501  (texts of scripts and IR are not wrapped)
"""Compile generated scripts that the checker accepts, and load them: only Osmia's own errors may come out, and the
verifier must take what the compiler made.

python tests/fuzz/fuzz_lower.py COUNT [SEED] [--load]
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "src")]

from unit.lang import test_fuzz_check as scripts

from osmia.errors import NotSupported, OsmiaError, SourceError, VerifierError
from osmia.kernel import KernelTarget
from osmia.lang.bpftrace.compile import Compilation

# Probes that every kernel with BTF has; programs are loaded, never attached.
PROBES = (
    "begin", "end", "interval:s:1", "profile:hz:9", "tracepoint:sched:sched_switch", "tracepoint:syscalls:sys_enter_openat",
    "rawtracepoint:sched_switch", "uprobe:libc:puts", "software:cpu-clock:1000000", "iter:task", "uretprobe:libc:puts",
    "uprobe:libc:malloc", "kprobe:vfs_read", "fexit:vfs_read",
)  # fmt: skip
ACCEPTABLE = ("too complex", "too large", "512 bytes of stack", "too many", "back-edge", "infinite loop")


def generate(rng: random.Random) -> str:
    """Statements that each pass the checker alone, so that most scripts do as well."""
    scripts.PROBES = PROBES
    blocks = []
    for _ in range(rng.choice((1, 1, 2))):
        wanted = rng.randrange(1, 4)
        lines: list[str] = []
        for _ in range(60):
            line = scripts.statement(rng, 1)
            if scripts.survives(scripts.HEAD + f"begin {{ {scripts.START} {' '.join(lines)} {line} }}"):
                lines.append(line)
            if len(lines) == wanted:
                break
        blocks.append(f"{rng.choice(PROBES)} {{ {scripts.START} {' '.join(lines)} }}")
    return scripts.HEAD + "\n".join(blocks)


class Findings:
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.refused = 0

    def run(self, text: str, load: bool) -> None:
        compilation = Compilation(text, name="fuzz", unsafe=True)
        try:
            lowering = compilation.lower()
        except OsmiaError:
            self.outcomes["not valid"] += 1
            return
        try:
            obj = lowering.lower()
        except SourceError as error:
            message = error.diagnostics[0].message
            self.outcomes["compile: " + message[:100]] += 1
            if " IR: " in message:  # LLVM does not read or take what we wrote
                self.refused += 1
                print(f"wrong IR: {message}\n{text}\n", flush=True)
            return
        self.outcomes["compiled"] += 1
        if load:
            try:
                with KernelTarget().load(obj):
                    self.outcomes["loaded"] += 1
            except NotSupported as error:
                self.outcomes["kernel lacks " + error.feature] += 1
            except VerifierError as error:
                if any(word in str(error) for word in ACCEPTABLE):
                    self.outcomes["too complex"] += 1
                    return
                self.refused += 1
                print(f"refused: {error.message}\n{text}\n{error.log[-600:]}\n", flush=True)


def main() -> int:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    count = int(words[0]) if words else 1000
    seed = int(words[1]) if len(words) > 1 else 1
    rng = random.Random(seed)
    findings = Findings()
    began = time.monotonic()
    for number in range(count):
        text = generate(rng)
        try:
            findings.run(text, "--load" in sys.argv)
        except Exception as error:
            print(f"input {number} of seed {seed}: {type(error).__name__}: {error}\n{text}")
            raise
    for what, n in findings.outcomes.most_common():
        print(f"{n:6} {what}")
    print(f"{count} scripts, {findings.refused} refused by the verifier, {time.monotonic() - began:.0f} s")
    return 1 if findings.refused else 0


if __name__ == "__main__":
    sys.exit(main())
