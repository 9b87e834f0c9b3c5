"""Traces of commands from user space: the API, the command line, objects built from C; the way out that is offered."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

import osmia
from osmia.cli import main
from osmia.errors import NotSupported, UsageError
from osmia.session import Attached, Printf
from osmia.syscalls import has_capability
from osmia.vm._sources_ptrace_begin import yama

OPENS = "tracepoint:syscalls:sys_enter_openat { @[comm, str(args.filename)] = count(); }"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(osmia.__file__).parents[1])}
CLANG = shutil.which("clang")


def test_a_command_of_the_api(tmp_path: Path) -> None:
    some = tmp_path / "some file"
    some.touch()
    script = OPENS + ' tracepoint:syscalls:sys_exit_openat /args.ret < 0/ { printf("%d\\n", args.ret); }'
    with osmia.trace(script, cmd=["cat", str(some), "/no/such"], target="vm") as trace:
        trace.wait()
        events = list(trace.events())
    assert trace.maps["@"]["cat", str(some)] == 1
    assert trace.maps["@"]["cat", "/no/such"] == 1
    assert any(isinstance(event, Attached) and event.count == 2 for event in events)
    assert -2 in [event.args[0] for event in events if isinstance(event, Printf)]


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user may not start this Python again")
def test_a_running_process() -> None:
    code = "import time, os\nwhile True: os.close(os.open('/etc/hostname', 0)); time.sleep(0.002)"
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
        try:
            with osmia.trace(OPENS, pid=process.pid, target="vm", duration=0.5) as trace:
                trace.wait()
        finally:
            process.kill()
    assert sum(n for (_comm, name), n in trace.maps["@"].items() if name == "/etc/hostname") > 10


LISTENER = "import os\nfor line in iter(lambda: os.read(0, 100), b''): os.write(1, b'heard\\n')"


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user may not start this Python again")
def test_sigquit_takes_breakpoints_out() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", LISTENER], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        words = [sys.executable, "-m", "osmia", "trace", "--target", "vm", "-p", str(process.pid)]
        tracer = subprocess.Popen(
            [*words, "-e", "uprobe:libc:write { @ = count(); }"], stdout=PIPE, stderr=STDOUT, env=ENVIRONMENT
        )
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == b"Attached 1 probe\n"
        for ended in (False, True):
            if ended:
                tracer.send_signal(signal.SIGQUIT)
                out, _ = tracer.communicate(timeout=60)
                assert b"@: 1" in out
                assert tracer.returncode == 0
            process.stdin.write(b"x")
            process.stdin.flush()
            assert process.stdout.readline() == b"heard\n"
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user may not start this Python again")
@pytest.mark.parametrize("script", ["tracepoint:sched:sched_process_exec", "tracepoint:syscalls:sys_enter_openat"])
def test_what_the_command_leaves_in_the_background(script: str, tmp_path: Path) -> None:
    gate, done = tmp_path / "gate", tmp_path / "done"
    os.mkfifo(gate)
    command = f"(read line < {gate}; : > {done}) >/dev/null 2>&1 & exit 0"
    words = [sys.executable, "-m", "osmia", "trace", "-q", "--target", "vm", "-e", script + " { @ = count(); }"]
    ran = subprocess.run([*words, "-c", f"sh -c '{command}'"], capture_output=True, timeout=60, env=ENVIRONMENT)
    assert b"@: " in ran.stdout
    if "syscalls" in script and yama() and not has_capability("CAP_SYS_PTRACE"):
        assert b"WARNING: 1 process that the command started still run" in ran.stderr
        return
    assert not ran.stderr
    open_gate(gate, done)


LEFT = """
import os, subprocess, sys, threading
if os.fork(): os._exit(0)
go = threading.Event()
def work():
    for _ in range(300): os.close(os.open('/dev/null', 0))
    go.wait()
    for _ in range(300): os.close(os.open('/dev/null', 0))
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for _ in range(20): subprocess.run(['/bin/cat', '/dev/null'], check=True)
open(sys.argv[1]).read()
go.set()
for thread in threads: thread.join()
subprocess.run(['/bin/cat', '/dev/null'], check=True)
os.close(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT))
"""


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user may not start this Python again")
@pytest.mark.skipif(bool(yama()) and not has_capability("CAP_SYS_PTRACE"), reason="Yama lets parents alone trace")
def test_threads_and_children_that_are_left_behind_go_on(tmp_path: Path) -> None:
    gate, done, program = tmp_path / "gate", tmp_path / "done", tmp_path / "left.py"
    os.mkfifo(gate)
    program.write_text(LEFT)
    command = f"sh -c 'exec {sys.executable} -S {program} {gate} {done} >/dev/null 2>&1'"
    words = [sys.executable, "-m", "osmia", "trace", "-q", "--target", "vm", "-c", command]
    ran = subprocess.run([*words, "-e", OPENS], capture_output=True, timeout=60, env=ENVIRONMENT)
    assert b"@[" in ran.stdout
    assert not ran.stderr
    open_gate(gate, done)


def open_gate(gate: Path, done: Path) -> None:
    """Let what waits for the gate go on, and wait for it."""
    deadline = time.monotonic() + 60
    while not done.exists() and time.monotonic() < deadline:
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))  # its read ends
        except OSError as error:
            assert error.errno == errno.ENXIO  # it has not come to it
        time.sleep(0.01)
    assert done.exists()


@pytest.mark.skipif(not shutil.which("taskset"), reason="needs taskset (util-linux)")
def test_the_cpu_and_the_name_of_the_parent(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    some = tmp_path / "some file"
    some.touch()
    script = f"""tracepoint:syscalls:sys_enter_openat /str(args.filename) == "{some}"/ {{
      @cpu = cpu; @names = (comm, curtask->real_parent->comm); }}"""
    command = ["sh", "-c", f"taskset -c {cpu} cat '{some}'; true"]
    with osmia.trace(script, cmd=command, target="vm") as trace:
        trace.wait()
    assert trace.maps["@cpu"].value == cpu
    assert trace.maps["@names"].value == ("cat", "sh")


def test_begin_end_and_intervals_need_no_process() -> None:
    script = 'begin { printf("a"); } interval:ms:20 { @n++; if (@n == 3) { exit(5); } } end { printf("z"); }'
    with osmia.trace(script, target="vm", duration=20) as trace:
        assert trace.wait() == 5
        assert [event.text for event in trace.events() if isinstance(event, Printf)] == ["a", "z"]


def test_what_needs_a_process_says_so() -> None:
    with pytest.raises(UsageError, match="user space traces a command or a process"), osmia.trace(OPENS, target="vm"):
        pass


def test_probes_that_only_the_kernel_has() -> None:
    script = "software:faults:1 { @ = count(); }"
    with (
        pytest.raises(NotSupported, match="use the kernel target"),
        osmia.trace(script, cmd="true", target="vm"),
    ):
        pass


def test_on_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    argv = ["trace", "--target", "vm", "-c", "/bin/echo hello", "-e"]
    assert main([*argv, "tracepoint:syscalls:sys_enter_write /args.fd == 1/ { @[comm] = sum(args.count); }"]) == 0
    shown = capfd.readouterr()
    assert shown.out.startswith("hello\n")
    assert "@[echo]: 6" in shown.out
    assert "Attached 1 probe" in shown.err


@pytest.mark.skipif(os.geteuid() == 0, reason="needs an ordinary user")
@pytest.mark.parametrize("script", [OPENS, "interval:s:1 { @ = count(); }"])
def test_the_way_out_is_offered(script: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "-e", script]) == 1
    assert "osmia trace --target vm -c COMMAND" in capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="needs an ordinary user")
def test_it_is_not_offered_where_it_would_not_work(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "-e", "software:faults:1 { @ = count(); }"]) == 1
    assert "--target vm" not in capfd.readouterr().err


SOURCE = r"""
typedef unsigned int u32; typedef unsigned long long u64;
#define SEC(x) __attribute__((section(x), used))
struct { int (*type)[2]; u32 *key; u64 *value; int (*max_entries)[1]; } opened SEC(".maps");
static void *(*lookup)(void *map, const void *key) = (void *)1;
static u64 (*pid_tgid)(void) = (void *)14;
struct args { u64 common; long nr; long dfd; const char *filename; };

SEC("tracepoint/syscalls/sys_enter_openat") int count(struct args *ctx)
{
	u32 key = 0;
	u64 *n = lookup(&opened, &key);
	if (n && pid_tgid() >> 32)
		__sync_fetch_and_add(n, 1);
	return 0;
}
char _license[] SEC("license") = "GPL";
"""


TIMER = r"""
typedef unsigned int u32; typedef unsigned long long u64;
#define SEC(x) __attribute__((section(x), used))
static long (*map_lookup)(void *map, const void *key) = (void *)1;
static long (*timer_init)(void *timer, void *map, u64 flags) = (void *)169;
static long (*timer_set)(void *timer, void *callback) = (void *)170;
static long (*timer_start)(void *timer, u64 after, u64 flags) = (void *)171;
struct bpf_timer { u64 opaque[2]; } __attribute__((aligned(8)));
struct element { struct bpf_timer timer; u64 fired; };
struct { int (*type)[2]; u32 *key; struct element *value; int (*max_entries)[1]; } timed SEC(".maps");
static int fired(void *map, int *key, struct element *e) { e->fired += 1; return 0; }
SEC("tracepoint/syscalls/sys_enter_openat") int start(void *ctx)
{
	u32 key = 0;
	struct element *e = (struct element *)map_lookup(&timed, &key);
	if (e && !timer_init(&e->timer, &timed, 1)) {
		timer_set(&e->timer, fired);
		timer_start(&e->timer, 1, 0);
	}
	return 0;
}
SEC("kprobe/vfs_read") int other(void *ctx) { return 0; }
char _license[] SEC("license") = "GPL";
"""


@pytest.mark.skipif(not CLANG, reason="needs clang, which builds the object")
def test_timers_of_programs_run_behind_events(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "t.c", tmp_path / "t.bpf.o"
    source.write_text(TIMER)
    subprocess.run([str(CLANG), "-O2", "-g", "-target", "bpf", "-c", source, "-o", out], check=True, timeout=60)
    words = ["run", "-q", "--target", "vm", str(out), "-c", "cat /dev/null"]
    assert main(words) != 0
    assert "use the kernel target" in capfd.readouterr().err
    assert main([*words, "--program", "start"]) == 0
    assert ".fired = 1 }" in capfd.readouterr().out


@pytest.mark.skipif(not CLANG, reason="needs clang, which builds the object")
def test_an_object_built_from_c(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "opens.c", tmp_path / "opens.bpf.o"
    source.write_text(SOURCE)
    subprocess.run([str(CLANG), "-O2", "-g", "-target", "bpf", "-c", source, "-o", out], check=True, timeout=60)
    assert main(["run", str(out), "--target", "vm", "-c", "/bin/cat /etc/hostname"]) == 0
    shown = capfd.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("opened[0]: "))
    assert int(line.split(": ")[1]) >= 3
