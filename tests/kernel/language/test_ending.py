"""How a trace ends: each way within a second, with the final maps, and quietly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from _tracing import SOURCES, command, start_command
from _workloads import start_activity

import osmia

# A second, on a machine that has a processor for us: others may have loaded this one.
WITHIN_S = 1.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
COUNTING = (
    'BEGIN { printf("ready\\n"); @begun = 1; } tracepoint:syscalls:sys_enter_getppid { @calls = count(); } '
    'END { printf("end\\n"); }'
)


@contextmanager
def tracing(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """A tracer that has attached its probes."""
    with start_command("trace", *argv) as tracer:
        try:
            assert tracer.stderr is not None
            assert tracer.stderr.readline().startswith("Attached ")
            yield tracer
        finally:
            tracer.kill()


def ended(tracer: subprocess.Popen[str], since: float) -> str:
    out, err = tracer.communicate(timeout=20)
    took = time.monotonic() - since
    assert took < WITHIN_S, f"{took:.2f} s"
    assert err == ""
    return out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(number: signal.Signals) -> None:
    with tracing("-e", COUNTING) as tracer:
        start = time.monotonic()
        tracer.send_signal(number)
        out = ended(tracer, start)
    assert out.startswith("ready\nend\n") and "@begun: 1" in out
    assert tracer.returncode == 0


def test_nohup() -> None:
    """SIGHUP that is ignored when the trace starts does not end it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited
    try:
        with tracing("-e", COUNTING) as tracer:
            tracer.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert tracer.poll() is None
            start = time.monotonic()
            tracer.send_signal(signal.SIGINT)
            assert "@begun: 1" in ended(tracer, start)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_command_ends() -> None:
    start = time.monotonic()
    with tracing("-c", "/bin/sleep 0.3", "-e", COUNTING) as tracer:
        out = ended(tracer, max(time.monotonic(), start + 0.3))
    assert "end\n" in out and "@begun: 1" in out


def test_command_is_counted_from_its_first_call() -> None:
    done = command(
        "trace",
        "-q",
        "-c",
        "/bin/true",
        "-e",
        "tracepoint:syscalls:sys_enter_exit_group /pid == cpid/ { @ = count(); }",
    )
    assert done.stdout.split() == ["@:", "1"]


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_traced_process_ends(how: signal.Signals | None) -> None:
    what = ("waits",) if how else ("opens", "/etc/hostname", 3)
    with start_activity(*what) as work, tracing("-p", str(work.pid), "-e", COUNTING) as tracer:
        start = time.monotonic()
        if how:
            work.kill(how)
        else:
            work.finish()
        out = ended(tracer, start)
    assert "end\n" in out and "@begun: 1" in out


def test_a_process_that_is_not_there() -> None:
    with start_activity("opens", "/etc/hostname", 1) as work:
        work.finish()
    done = command("trace", "-p", str(work.pid), "-e", COUNTING)
    assert done.returncode == 2  # as for any command line that cannot be done
    assert f"pid {work.pid}" in done.stderr and "no such process" in done.stderr


def test_duration() -> None:
    start = time.monotonic()
    with tracing("--duration", "0.5", "-e", COUNTING) as tracer:
        out = ended(tracer, time.monotonic() + 0.5)
    assert time.monotonic() - start >= 0.5
    assert "end\n" in out and "@begun: 1" in out


def test_exit_function() -> None:
    with tracing(
        "-e", f"{COUNTING} tracepoint:syscalls:sys_enter_getppid /pid == $1/ {{ exit(5); }}", str(os.getpid())
    ) as tracer:
        start = time.monotonic()
        os.getppid()
        out = ended(tracer, start)
    assert "end\n" in out and "@begun: 1" in out
    assert tracer.returncode == 5


def test_from_python() -> None:
    for end in ("stop", "duration", "close"):
        with osmia.trace(COUNTING, duration=0.3 if end == "duration" else None) as trace:
            start = time.monotonic()
            if end == "stop":
                trace.stop()
            if end != "close":
                trace.wait()
                assert trace.maps["@begun"].value == 1
        assert time.monotonic() - start < WITHIN_S + 0.3


def test_many_probes_end_in_time() -> None:
    """Several hundred tracepoints: detaching must not wait for each of them."""
    with tracing("-e", "tracepoint:syscalls:sys_enter_* { @ = count(); }") as tracer:
        start = time.monotonic()
        tracer.send_signal(signal.SIGINT)
        assert "@: " in ended(tracer, start)


PRINTING = 'interval:ms:1 { printf("line %d\\n", 1); }'


def test_reader_goes_away(tmp_path: Path) -> None:
    """`osmia trace ... | head -1` ends soon, and says nothing."""
    start = time.monotonic()
    with start_command("trace", "-q", "-e", PRINTING) as tracer:
        with subprocess.Popen(["head", "-1"], stdin=tracer.stdout, stdout=subprocess.PIPE, text=True) as head:
            assert tracer.stdout is not None
            tracer.stdout.close()
            assert head.communicate(timeout=20)[0] == "line 1\n"
        status = tracer.wait(timeout=20)
        assert tracer.stderr is not None
        assert tracer.stderr.read() == ""
    assert status in (0, 141) and time.monotonic() - start < 5


def test_output_is_closed_from_the_start() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with start_command("trace", "-q", "-e", PRINTING, stdout=writer) as tracer:
            err = tracer.communicate(timeout=20)[1]
    finally:
        os.close(writer)
    assert err == "" and tracer.returncode in (0, 141)


def test_a_second_signal_while_it_ends_does_no_harm() -> None:
    with tracing("-e", COUNTING) as tracer:
        start = time.monotonic()
        tracer.send_signal(signal.SIGINT)
        tracer.send_signal(signal.SIGINT)
        tracer.send_signal(signal.SIGTERM)
        out = ended(tracer, start)
    assert "@begun: 1" in out and "Traceback" not in out


def test_sigterm_while_it_starts() -> None:
    """At any moment of the start: it ends, and no traceback is printed."""
    for delay in (0.02, 0.05, 0.1, 0.15, 0.2):
        with start_command("trace", "-e", COUNTING) as tracer:
            time.sleep(delay)
            tracer.terminate()
            _out, err = tracer.communicate(timeout=20)
        assert tracer.returncode in (0, -signal.SIGTERM)
        assert "Traceback" not in err


@pytest.mark.parametrize("imports", [1, 5, 20, 60, 80, 100])
def test_sigint_while_it_starts(imports: int) -> None:
    """Behind so many imports of the start, and within them: it is not lost (Python loses some, those in callbacks)."""
    code = f"""
import os, signal, sys
from osmia.cli import main
left = {imports}
def hook(event, args):
    global left
    if event == "import":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(hook)
status = main()
print("left:", left)
raise SystemExit(status)
"""
    env = {**os.environ, "PYTHONPATH": SOURCES}
    argv = [sys.executable, "-c", code, "trace", "--no-cache", "--duration", "5", "-e", COUNTING]
    start = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, env=env)
    if done.returncode != -signal.SIGINT:
        assert (done.returncode, done.stderr) == (0, "Attached 3 probes\n")
        assert int(done.stdout.rpartition("left: ")[2]) <= 0
        assert time.monotonic() - start < 5
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_before_the_session_catches_it(number: str) -> None:
    """Between the end of the compiler and the start of the session: what came is not lost."""
    code = (
        "import os, signal; from osmia.cli import _engine, main; real = _engine.open_target; "
        f"_engine.open_target = lambda o: (os.kill(os.getpid(), signal.{number}), real(o))[1]; "
        f"raise SystemExit(main(['trace', '-e', {COUNTING!r}]))"
    )
    env = {**os.environ, "PYTHONPATH": SOURCES}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, env=env)
    assert (done.returncode, done.stderr) == (0, "Attached 3 probes\n")
    assert "ready" in done.stdout and "end" in done.stdout and "@begun: 1" in done.stdout


def test_script_from_a_closed_pipe() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    try:
        with start_command("trace", "-", stdin=reader) as tracer:
            _out, err = tracer.communicate(timeout=20)
    finally:
        os.close(reader)
    assert tracer.returncode == 1
    assert err and "Traceback" not in err


def test_maps_are_final(tmp_path: Path) -> None:
    """What happens before the signal is in the maps: 50 calls, then SIGINT at once."""
    with (
        start_activity("becomes", 0, 0, 50) as work,
        tracing("-e", "tracepoint:syscalls:sys_enter_getppid /pid == $1/ { @ = count(); }", str(work.pid)) as tracer,
    ):
        work.finish()
        tracer.send_signal(signal.SIGINT)
        out, _err = tracer.communicate(timeout=20)
    assert out.split() == ["@:", "50"]


def test_sources_under_test() -> None:
    """The commands run these sources, not an installed copy."""
    assert Path(SOURCES, "osmia", "__init__.py").samefile(osmia.__file__)
