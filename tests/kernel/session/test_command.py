"""The command on the real kernel: output, signals, exit status."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("tracefs")
OSMIA = [sys.executable, "-m", "osmia"]


@pytest.fixture
def osmia(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    env = {**os.environ, "OSMIA_CACHE_DIR": str(tmp_path / "cache"), "__BPFTRACE_NOTIFY_PROBES_ATTACHED": ""}

    def run(*words: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([*OSMIA, *words], env=env, input=input, capture_output=True, text=True, timeout=60)

    return run


def test_trace_text(osmia) -> None:  # type: ignore[no-untyped-def]
    done = osmia("trace", "-e", 'begin { printf("hi\\n"); @a[1] = 2; }')
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n\n\n@a[1]: 2\n", "Attached 1 probe\n")
    again = osmia("trace", "-q", "-e", 'begin { printf("hi\\n"); @a[1] = 2; }')  # from the cache
    assert (again.stdout, again.stderr) == (done.stdout, "")


def test_trace_json_from_stdin_to_a_file(osmia, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out"
    done = osmia("trace", "-o", "json", "--output-file", str(out), "-", input="begin { @a = 2; }")
    assert done.returncode == 0 and done.stdout == ""
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["attached_probes", "map"]


def test_exit_status_and_parameters(osmia) -> None:  # type: ignore[no-untyped-def]
    done = osmia("trace", "-e", "begin { exit($1); }", "7")
    assert done.returncode == 7
    done = osmia("trace", "-e", 'begin { printf("%s", getopt("a", "b")); }', "--", "--a=c")
    assert done.stdout.startswith("c")


def test_one_process(osmia) -> None:  # type: ignore[no-untyped-def]
    """-p holds for tracepoints too, and for the next process, whose script is compiled anew."""
    script = "tracepoint:raw_syscalls:sys_enter { @[pid] = count(); } interval:ms:100 { @n++; }"
    for _ in range(2):
        with subprocess.Popen(["sh", "-c", "while sleep 0.02; do :; done"]) as work:
            try:
                done = osmia("trace", "-q", "-o", "json", "-p", str(work.pid), "--duration", "0.5", "-e", script)
            finally:
                work.kill()
        maps = [json.loads(line)["data"] for line in done.stdout.splitlines() if '"map"' in line]
        assert {key for values in maps for key in values.get("@", ())} == {str(work.pid)}, done
        assert any(values.get("@n") for values in maps)


def test_tests_and_listing(osmia) -> None:  # type: ignore[no-untyped-def]
    done = osmia("trace", "--test", "-e", "test:good { return 0; } test:bad { return 1; }")
    assert done.returncode == 1 and "OK ]\033[0m good" in done.stdout and "FAILED  ]\033[0m bad" in done.stdout
    done = osmia("list", "tracepoint:sched:*switch")
    assert done.stdout == "tracepoint:sched:sched_switch\n"
    done = osmia("list", "tracepoint:sched:sched_swich*")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing matches" in done.stderr and "did you mean tracepoint:sched:sched_switch?" in done.stderr
    done = osmia("bpftrace", "-l", "tracepoint:sched:sched_swich*")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_listing_types(osmia) -> None:  # type: ignore[no-untyped-def]
    done = osmia("list", "enum tcp_ca_state", "struct list_head")
    assert done.returncode == 0 and "vmlinux: enum tcp_ca_state {\n\tTCP_CA_Open = 0,\n" in done.stdout
    assert "vmlinux: struct list_head {\n" in done.stdout
    assert osmia("bpftrace", "-lv", "enum tcp_ca_state").stdout == done.stdout.partition("vmlinux: struct")[0]
    assert osmia("bpftrace", "-l", "enum tcp_ca_stat*").stdout == "enum tcp_ca_state\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_with_the_final_maps(number: signal.Signals, tmp_path: Path) -> None:
    env = {**os.environ, "OSMIA_CACHE_DIR": str(tmp_path), "__BPFTRACE_NOTIFY_PROBES_ATTACHED": "1"}
    script = "begin { @a = 5; } interval:ms:10 { @n = count(); } end { @e = 1; }"
    child = subprocess.Popen([*OSMIA, "bpftrace", "-e", script], env=env, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert select.select([child.stdout], [], [], 30)[0]
        assert child.stdout.readline() == "__BPFTRACE_NOTIFY_PROBES_ATTACHED\n"
        time.sleep(0.1)
        begin = time.monotonic()
        child.send_signal(number)
        out, _ = child.communicate(timeout=10)
        assert time.monotonic() - begin < 1
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0
    assert "@a: 5\n" in out and "@e: 1\n" in out and "@n: " in out


def test_self_signal_probe(tmp_path: Path) -> None:
    env = {**os.environ, "OSMIA_CACHE_DIR": str(tmp_path)}
    script = 'self:signal:SIGUSR1 { printf("poked\\n"); exit(); }'
    child = subprocess.Popen(
        [*OSMIA, "trace", "-e", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    try:
        assert child.stderr.readline() == "Attached 1 probe\n"
        child.send_signal(signal.SIGUSR1)
        out, _ = child.communicate(timeout=10)
    finally:
        child.kill()
        child.wait()
    assert out.startswith("poked\n") and child.returncode == 0


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    env = {**os.environ, "OSMIA_CACHE_DIR": str(tmp_path)}
    script = 'interval:ms:5 { printf("line\\n"); }'
    child = subprocess.Popen(
        [*OSMIA, "trace", "-q", "-e", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stderr is not None
    try:
        assert child.stdout.readline() == "line\n"
        child.stdout.close()
        assert child.wait(10) == 141
        assert child.stderr.read() == ""
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def test_killed_leaves_nothing(tmp_path: Path) -> None:
    # The leak check of this folder looks for programs, maps and links after the test.
    env = {**os.environ, "OSMIA_CACHE_DIR": str(tmp_path)}
    script = "tracepoint:syscalls:sys_enter_getppid { @[comm] = count(); } interval:ms:10 { @n = count(); }"
    for delay in (0.02, 0.1, 0.3, 0.6):
        child = subprocess.Popen(
            [*OSMIA, "trace", "-e", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(delay)
        child.kill()
        child.communicate(timeout=10)
    time.sleep(0.3)
