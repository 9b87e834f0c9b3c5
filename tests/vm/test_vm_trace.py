"""Traces of commands from user space: the API, the command line, objects built from C; the way out that is offered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import osmia
from osmia.cli import main
from osmia.errors import NotSupported, UsageError
from osmia.session import Attached, Printf

OPENS = "tracepoint:syscalls:sys_enter_openat { @[comm, str(args.filename)] = count(); }"
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


@pytest.mark.skipif(not CLANG, reason="needs clang, which builds the object")
def test_an_object_built_from_c(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "opens.c", tmp_path / "opens.bpf.o"
    source.write_text(SOURCE)
    subprocess.run([str(CLANG), "-O2", "-g", "-target", "bpf", "-c", source, "-o", out], check=True, timeout=60)
    assert main(["run", str(out), "--target", "vm", "-c", "/bin/cat /etc/hostname"]) == 0
    shown = capfd.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("opened[0]: "))
    assert int(line.split(": ")[1]) >= 3
