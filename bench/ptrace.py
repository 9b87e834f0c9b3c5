"""What tracing through ptrace costs a program, against strace: `python bench/ptrace.py [ROUNDS] [--realtime]`.

A C program times its own loop: with no tracer, under `strace -f -e trace=openat` printing to a file, and under Osmia's
user-space target. The overhead of a call is the time with a tracer minus the time without one. Rounds are interleaved;
the least of each counts, which is the one that others disturbed least. Done when no ratio of ours to strace's is above
1.

Most of what is measured is how soon a sleeping process runs again, which a busy machine makes a matter of luck: with
`--realtime` (root) all of it runs at real-time priority, for some seconds a round.

`-c` starts the program under the tracer, `-p` attaches to it while it runs. `quiet` are calls that nobody asked for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 120
PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int n = atoi(argv[1]), quiet = atoi(argv[2]);
    char c;
    struct timespec a, b;
    printf("ready %d\n", getpid()); fflush(stdout);
    if (argc > 3 && read(0, &c, 1) != 1) return 3;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < n; i++)
        if (quiet) syscall(SYS_getppid);
        else if (syscall(SYS_openat, AT_FDCWD, "/nothing/there", O_RDONLY) >= 0) return 4;
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("took %.1f\n", ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec) / n);
}
"""
SCRIPTS = {
    "count": "tracepoint:syscalls:sys_enter_openat { @ = count(); }",
    "count by name": "tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }",
    "count by path": "tracepoint:syscalls:sys_enter_openat { @[str(args.filename)] = count(); }",
    "errors": "tracepoint:syscalls:sys_exit_openat /args.ret < 0/ { @[args.ret] = count(); }",
}


def took(output: str) -> float:
    return next(float(line.split()[1]) for line in output.splitlines() if line.startswith("took "))


def run(command: list[str], env: dict[str, str]) -> float:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=env)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr}")
    return took(done.stdout)


def attach(program: list[str], tracer: list[str], ready: str, env: dict[str, str]) -> float:
    """Start the program, attach the tracer, wait for the line that says it is attached, let the program go."""
    with subprocess.Popen([*program, "gate"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as work:
        assert work.stdout is not None and work.stdin is not None
        pid = work.stdout.readline().split()[1]
        command = [word.replace("PID", pid) for word in tracer]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as other:
            assert other.stdout is not None
            for line in other.stdout:
                if ready in line:
                    break
            output = work.communicate("\n", timeout=LIMIT_S)[0]
            other.communicate(timeout=LIMIT_S)
    return took(output)


def measure(folder: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    program = folder / "calls"
    (folder / "calls.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-O2", "-o", str(program), str(folder / "calls.c")], check=True, timeout=60)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "BPFTRACE_NOTIFY": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    osmia = [sys.executable, "-m", "osmia", "trace", "--target", "vm"]
    strace = ["strace", "-f", "-e", "trace=openat", "-o", str(folder / "strace.out")]
    out: dict[str, dict[str, list[float]]] = {}

    def note(row: str, who: str, value: float) -> None:
        out.setdefault(row, {}).setdefault(who, []).append(value)

    for _ in range(rounds):
        for quiet, count in ((0, 10_000), (1, 10_000)):
            words = [str(program), str(count), str(quiet)]
            plain, other = run(words, env), run([*strace, *words], env)
            by_pid = attach(words, [*strace, "-p", "PID"], "attached", env)
            for name, script in SCRIPTS.items():
                if quiet and name != "count":
                    continue
                row = "quiet" if quiet else name
                for who, value in (("plain", plain), ("strace", other)):
                    note(f"-c {row}", who, value)
                note(f"-c {row}", "osmia", run([*osmia, "-c", " ".join(words), "-e", script], env))
                for who, value in (("plain", plain), ("strace", by_pid)):
                    note(f"-p {row}", who, value)
                note(f"-p {row}", "osmia", attach(words, [*osmia, "-p", "PID", "-e", script], "Attached", env))
    return out


def main() -> int:
    for tool in ("strace", "gcc"):
        if not shutil.which(tool):
            print(f"bench/ptrace.py: {tool} is not installed (apt-get install {tool})", file=sys.stderr)
            return 0
    words = [word for word in sys.argv[1:] if word != "--realtime"]
    if len(words) < len(sys.argv) - 1:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    rounds = int(words[0]) if words else 5
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), rounds)
    print(f"ns added to a system call, least of {rounds} interleaved rounds")
    print(f"{'':18} {'strace':>9} {'osmia':>9}  ratio")
    worst = 0.0
    for row, by in found.items():
        plain = min(by["plain"])
        theirs, ours = (min(by[who]) - plain for who in ("strace", "osmia"))
        ratio = ours / theirs
        worst = max(worst, ratio)
        print(f"{row:18} {theirs:9.0f} {ours:9.0f}  {ratio:5.2f}")
    print(f"{'worst ratio':38}  {worst:5.2f}  goal: <= 1.00 {'reached' if worst <= 1 else 'missed'}")
    return 0 if worst <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
