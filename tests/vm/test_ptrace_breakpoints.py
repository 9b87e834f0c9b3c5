"""uprobe and uretprobe by breakpoints: counts, arguments and results as the program itself reports them."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _workloads import MissingTool, build

sys.path.insert(0, str(Path(__file__).parent))
from _ptrace import Running, trace

X86 = os.uname().machine == "x86_64"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that an ordinary user may read, which those of pytest are not."""
    path = Path(tempfile.mkdtemp(prefix="osmia-ptrace-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def programs(folder: Path) -> Callable[..., Path]:
    def make(name: str, *flags: str) -> Path:
        try:
            return build(name, folder, *flags)
        except MissingTool as error:
            pytest.skip(str(error))

    return make


def compile_text(folder: Path, name: str, text: str, *flags: str) -> Path:
    source = folder / f"{name}.c"
    source.write_text(textwrap.dedent(text))
    target = folder / name
    done = subprocess.run(
        ["gcc", "-O1", "-g", "-fno-omit-frame-pointer", "-pthread", *flags, "-o", str(target), str(source)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return target


def words(record: str) -> tuple[int, ...]:
    data = bytes.fromhex(record)
    return struct.unpack(f"<{len(data) // 8}Q", data)


def arguments(record: str) -> list[int]:
    regs = words(record)
    return [regs[i] for i in ((14, 13, 12, 11) if X86 else (0, 1, 2, 3))]


def result(record: str) -> int:
    return words(record)[10 if X86 else 0]


@pytest.mark.parametrize("flags", [(), ("-O2", "-fno-inline"), ("-fcf-protection=full",)])
def test_calls_arguments_and_results(programs: Callable[..., Path], flags: tuple[str, ...]) -> None:
    program = programs("calls.c", *flags)
    names = ("add", "inner", "middle", "negative", "greet")
    hooks = [f"{kind}:{program}:{name}" for kind in ("uprobe", "uretprobe") for name in names]
    add, add_back = f"uprobe:{program}:add", f"uretprobe:{program}:add"
    keep = {add: "plain", add_back: "plain", f"uprobe:{program}:greet": f"string{14 * 8 if X86 else 0}"}
    with Running([str(program), "50"]) as work, trace(hooks, pid=work.pid, keep=keep) as traced:
        done = work.finish()
        found = traced.result()
    counts = found["counts"]
    if "-O2" not in flags:  # else some are made to wait for nothing
        assert counts == {h: 100 if "inner" in h or "middle" in h else 50 for h in hooks}
        of_add = [r for r in found["records"] if r[0] == add]
        assert [arguments(r[5])[:2] for r in of_add] == [[i, 10] for i in range(50)]
        back = [result(r[5]) for r in found["records"] if r[0] == add_back]
        assert back == [i + 10 for i in range(50)]
        assert sum(back) == done["add"]
        assert {r[6] for r in found["records"] if r[0] == add_back} == {of_add[0][6]}
    texts = [r[7] for r in found["records"] if r[0] == f"uprobe:{program}:greet"]
    assert texts == [f"bee-{i % 3}" for i in range(50)]
    assert done["calls_made"] == 50
    assert work.process.returncode == 0


def test_recursion(programs: Callable[..., Path]) -> None:
    program = programs("calls.c")
    hooks = [f"uprobe:{program}:fibonacci", f"uretprobe:{program}:fibonacci"]
    with Running([str(program), "1"]) as work, trace(hooks, pid=work.pid, keep={hooks[1]: "plain"}) as traced:
        assert work.finish()["fibonacci"] == 55
        found = traced.result()
    assert found["counts"] == {hooks[0]: 177, hooks[1]: 177}
    assert result(found["records"][-1][5]) == 55


def test_threads_miss_nothing(programs: Callable[..., Path]) -> None:
    program = programs("threads.c")
    hooks = [f"uprobe:{program}:step", f"uretprobe:{program}:step"]
    with Running([str(program), "4", "300"]) as work, trace(hooks, pid=work.pid) as traced:
        work.finish()
        found = traced.result()
    assert found["counts"] == {hooks[0]: 1200, hooks[1]: 1200}
    assert work.process.returncode == 0


def test_threads_that_must_be_stepped(folder: Path) -> None:
    """A first instruction that is not carried out by us: all other threads stop meanwhile, and none slips through."""
    if not X86:
        pytest.skip("the instruction is one of x86-64")
    program = compile_text(folder, "stepped", """
        #include <pthread.h>
        #include <stdio.h>
        #include <unistd.h>
        static long sums[8];
        long step(long i, long n);
        __asm__(".globl step\\n.type step,@function\\nstep: imul %rsi, %rdi\\nmov %rdi, %rax\\nret\\n"
                ".size step,.-step\\n");
        static void *worker(void *arg) {
            for (long i = 0; i < 200; i++) sums[(long)arg] += step(i, 3);
            return NULL;
        }
        int main(void) {
            char c;
            pthread_t ids[4];
            printf("{\\"ready\\": %d}\\n", getpid()); fflush(stdout);
            if (read(0, &c, 1) != 1) return 3;
            for (long i = 0; i < 4; i++) pthread_create(&ids[i], NULL, worker, (void *)i);
            for (long i = 0; i < 4; i++) pthread_join(ids[i], NULL);
            printf("{\\"sum\\": %ld}\\n", sums[0] + sums[1] + sums[2] + sums[3]);
        }
    """)  # fmt: skip
    hooks = [f"uprobe:{program}:step", f"uretprobe:{program}:step"]
    with Running([str(program)]) as work, trace(hooks, pid=work.pid) as traced:
        assert work.finish()["sum"] == 4 * 3 * 199 * 100
        found = traced.result()
    assert found["counts"] == {hooks[0]: 800, hooks[1]: 800}


def test_forks_carry_breakpoints_and_exec_gets_new_ones(programs: Callable[..., Path], folder: Path) -> None:
    calls = programs("calls.c")
    program = compile_text(folder, "parent", f"""
        #include <stdio.h>
        #include <spawn.h>
        #include <stdlib.h>
        #include <sys/wait.h>
        #include <unistd.h>
        extern char **environ;
        __attribute__((noinline)) int work(int i) {{ __asm__ volatile(""); return i + 1; }}
        int main(void) {{
            char c; int status, good = 0;
            printf("{{\\"ready\\": %d}}\\n", getpid()); fflush(stdout);
            if (read(0, &c, 1) != 1) return 3;
            for (int i = 0; i < 10; i++) {{
                pid_t pid = fork();
                if (!pid) _exit(work(work(i)) == i + 2 ? 7 : 1);
                waitpid(pid, &status, 0);
                good += WEXITSTATUS(status) == 7;
            }}
            for (int i = 0; i < 5; i++) {{
                pid_t pid = vfork();
                if (!pid) _exit(work(i) == i + 1 ? 7 : 1);
                waitpid(pid, &status, 0);
                good += WEXITSTATUS(status) == 7;
            }}
            for (int i = 0; i < 3; i++) {{
                char *argv[] = {{"sh", "-c", "echo | {calls} 4 >/dev/null", NULL}};
                pid_t pid;
                posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
                waitpid(pid, &status, 0);
                good += status == 0;
            }}
            work(0);
            printf("{{\\"good\\": %d}}\\n", good);
        }}
    """)  # fmt: skip
    hooks = [f"uprobe:{program}:work", f"uretprobe:{program}:work", f"uprobe:{calls}:add", f"uretprobe:{calls}:add"]
    with Running([str(program)]) as work, trace(hooks, pid=work.pid) as traced:
        assert work.finish()["good"] == 18
        found = traced.result()
    assert found["counts"] == {hooks[0]: 26, hooks[1]: 26, hooks[2]: 12, hooks[3]: 12}


def test_signals_while_functions_are_entered(folder: Path) -> None:
    """A timer's signal every millisecond, whose handler is probed too; longjmp leaves functions without a return."""
    program = compile_text(folder, "signals", """
        #include <setjmp.h>
        #include <signal.h>
        #include <stdio.h>
        #include <sys/time.h>
        #include <unistd.h>
        static volatile int handled;
        static jmp_buf back;
        __attribute__((noinline)) void handler(int number) { handled++; }
        __attribute__((noinline)) int work(int i) { __asm__ volatile(""); return i & 1; }
        __attribute__((noinline)) void leaves(int i) { __asm__ volatile(""); longjmp(back, i); }
        int main(void) {
            char c; int sum = 0;
            struct itimerval timer = {{0, 1000}, {0, 1000}}, none = {{0, 0}, {0, 0}};
            printf("{\\"ready\\": %d}\\n", getpid()); fflush(stdout);
            while (read(0, &c, 1) != 1) return 3;
            signal(SIGALRM, handler);
            setitimer(ITIMER_REAL, &timer, NULL);
            for (volatile int i = 0; i < 3000; i++) {
                sum += work(i);
                if (i % 100 == 0 && !setjmp(back)) leaves(1);
            }
            setitimer(ITIMER_REAL, &none, NULL);
            printf("{\\"sum\\": %d, \\"handled\\": %d}\\n", sum, handled);
        }
    """)  # fmt: skip
    names = ("work", "handler", "leaves")
    hooks = [f"{kind}:{program}:{name}" for kind in ("uprobe", "uretprobe") for name in names]
    with Running([str(program)]) as work, trace(hooks, pid=work.pid) as traced:
        done = work.finish()
        counts = traced.result()["counts"]
    assert done["sum"] == 1500
    assert done["handled"] > 10
    assert counts == {
        hooks[0]: 3000, hooks[1]: done["handled"], hooks[2]: 30, hooks[3]: 3000, hooks[4]: done["handled"],
    }  # fmt: skip


def test_a_library_that_is_loaded_later(folder: Path) -> None:
    library = compile_text(
        folder, "late.so", 'int late(int i) { __asm__ volatile(""); return i * 2; }', "-shared", "-fPIC"
    )
    program = compile_text(folder, "loader", f"""
        #include <dlfcn.h>
        #include <stdio.h>
        #include <unistd.h>
        int main(void) {{
            char c; int sum = 0;
            printf("{{\\"ready\\": %d}}\\n", getpid()); fflush(stdout);
            if (read(0, &c, 1) != 1) return 3;
            void *lib = dlopen("{library}", RTLD_NOW);
            int (*late)(int) = (int (*)(int))dlsym(lib, "late");
            for (int i = 0; i < 20; i++) sum += late(i);
            printf("{{\\"sum\\": %d}}\\n", sum);
        }}
    """, "-ldl")  # fmt: skip
    hooks = [f"uprobe:{library}:late", f"uretprobe:{library}:late"]
    with Running([str(program)]) as work, trace(hooks, pid=work.pid) as traced:
        assert work.finish()["sum"] == 380
        found = traced.result()
    assert found["counts"] == {hooks[0]: 20, hooks[1]: 20}


@pytest.mark.parametrize("kill", [False, True])
def test_detached_in_the_middle_nothing_is_left_behind(programs: Callable[..., Path], kill: bool) -> None:
    program = programs("threads.c")
    hooks = [f"uprobe:{program}:step", f"uretprobe:{program}:step"]
    if kill:
        pytest.skip("kill -9 of the tracer leaves breakpoints: no tracer can help that")
    for _ in range(3):
        with Running([str(program), "3", "20000"]) as work, trace(hooks, pid=work.pid) as traced:
            work.release()
            time.sleep(0.2)
            found = traced.stop()
            assert 0 < found["counts"][hooks[0]] < 60000
            work.result()
            assert work.process.returncode == 0


def test_stacks_by_frame_pointers(programs: Callable[..., Path]) -> None:
    program = programs("calls.c")
    hook = f"uprobe:{program}:inner"
    with Running([str(program), "1"]) as work, trace([hook], pid=work.pid, keep={hook: "frames"}) as traced:
        work.finish()
        found = traced.result()
    frames = found["records"][0][7]
    assert len(frames) >= 4
    assert frames[0] == found["records"][0][6]
    low, high = min(frames[:4]), max(frames[:4])
    assert high - low < 0x4000  # inner, middle, outer, main: all of one program
