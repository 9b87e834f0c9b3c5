"""Recordings: written, read, damaged, replayed with the same output, by whoever."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import osmia
from osmia.cli import main
from osmia.errors import FormatError, OsmiaError, UsageError
from osmia.session import Session
from osmia.session._replay import Replay, replay
from osmia.session._tape import Recorder
from osmia.sinks import TextSink
from osmia.vm import VmTarget
from osmia.vm._recording import MAGIC, RecordingWriter, decode_recording, read_recording

SOURCES = str(Path(osmia.__file__).parents[1])
SCRIPT = """
begin { printf("begin %d\\n", cpid); }
tracepoint:syscalls:sys_enter_openat {
  @opens[comm, str(args.filename)] = count();
  printf("%s %s %d %u %s\\n", comm, str(args.filename), pid == cpid, rand, strftime("%H:%M:%S.%f", nsecs));
  time("%H:%M:%S\\n");
  @stack[ustack(3)] = count();
}
tracepoint:sched:sched_process_exec { @exec = str(args.filename); }
interval:ms:5 { print(@opens); print(nsecs); clear(@opens); }
end { printf("end %d\\n", elapsed); }
"""
OTHER = "tracepoint:syscalls:sys_enter_openat { @[str(args.filename), args.flags & 3] = count(); }"


def entries() -> list[tuple[object, ...]]:
    return [("a", 1, b"x" * 300, None), ("b", (1, -1, 1 << 63), "text"), ("c",)]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "some.osm"
    with RecordingWriter(path) as writer:
        for entry in entries():
            writer.write(entry)
    return path


def test_what_is_written_is_read(written: Path) -> None:
    assert read_recording(written) == entries()


def test_every_damaged_byte_is_found(written: Path) -> None:
    good = written.read_bytes()
    for at in range(len(good)):
        for bad in (good[at] ^ 1, good[at] ^ 0x80):
            with pytest.raises(FormatError) as found:
                decode_recording(good[:at] + bytes([bad]) + good[at + 1 :])
            assert 0 <= found.value.offset <= at


def test_every_cut_is_found(written: Path) -> None:
    good = written.read_bytes()
    for size in range(len(good)):
        with pytest.raises(FormatError) as found:
            decode_recording(good[:size])
        assert found.value.offset <= size
    with pytest.raises(FormatError, match="behind its end"):
        decode_recording(good + good[len(MAGIC) :])


def test_entries_that_are_moved_are_found(written: Path) -> None:
    data = written.read_bytes()
    at = len(MAGIC)
    first = data[at : at + 8 + int.from_bytes(data[at : at + 4], "little")]
    rest = data[at + len(first) :]
    second = rest[: 8 + int.from_bytes(rest[:4], "little")]
    with pytest.raises(FormatError, match="damaged"):
        decode_recording(MAGIC + second + first + rest[len(second) :])


def test_other_versions_say_so() -> None:
    with pytest.raises(FormatError, match="version 9") as found:
        decode_recording(b"OSMREC\x09\nxxxx")
    assert found.value.offset == 6


def record(script: str, path: Path, command: list[str]) -> str:
    """Trace a command in user space, recording it; what was printed."""
    out: list[str] = []
    obj = osmia.compile(script, target="vm", has_cmd=True)
    tape = Recorder(str(path))
    with Session(obj, VmTarget.live(), sink=TextSink(out.append, out.append), cmd=command, tape=tape) as session:
        session.start()
        session.run()
    return "".join(out)


def replayed(path: Path, script: str = "") -> str:
    out: list[str] = []
    tape = Replay(str(path))
    obj = osmia.compile(script, target="vm") if script else tape.object
    with Session(obj, tape.wrap(None), sink=TextSink(out.append, out.append), tape=tape) as session:
        replay(session, tape)
    return "".join(out)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("recording")
    some = folder / "some file"
    some.write_text("x")
    path = folder / "trace.osm"
    command = ["/bin/sh", "-c", f"for i in 1 2 3 4 5; do cat '{some}' >/dev/null; sleep 0.01; done"]
    yield path, record(SCRIPT, path, command)


def test_a_replay_prints_the_very_same(recorded: tuple[Path, str]) -> None:
    path, printed = recorded
    assert printed.count("some file") >= 5
    assert "@stack" in printed
    assert replayed(path) == printed
    assert replayed(path) == printed


def test_another_script_sees_the_same_events(recorded: tuple[Path, str]) -> None:
    path, _ = recorded
    shown = replayed(path, OTHER)
    line = next(line for line in shown.splitlines() if "some file" in line)
    assert line.endswith("some file, 0]: 5")


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user may not start this Python again")
def test_on_the_command_line(recorded: tuple[Path, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.osm"
    argv = [
        "trace",
        "--target",
        "vm",
        "--record",
        str(path),
        "-c",
        "/bin/true",
        "-e",
        'begin { printf("x\\n"); } ' + OTHER,
    ]
    env = {"PYTHONPATH": SOURCES}
    done = subprocess.run(
        [sys.executable, "-m", "osmia", *argv], capture_output=True, text=True, env=env, timeout=60, check=True
    )
    assert done.stdout.startswith("x\n")
    again = subprocess.run(
        [sys.executable, "-m", "osmia", "trace", "--replay", str(path)],
        capture_output=True, text=True, env=env, timeout=60, check=True,
    )  # fmt: skip
    assert again.stdout == done.stdout
    assert main(["trace", "--replay", str(path), "-c", "true"]) == 2
    assert main(["trace", "--replay", str(tmp_path / "none")]) == 2
    (tmp_path / "bad").write_bytes(path.read_bytes()[:-3])
    assert main(["trace", "--replay", str(tmp_path / "bad")]) == 1
    assert "at offset" in capfd.readouterr().err


def test_well_formed_nonsense(recorded: tuple[Path, str], tmp_path: Path) -> None:
    """Entries with right checksums, but changed: typed errors, nothing else."""
    path, _ = recorded
    good = read_recording(path)
    chance = random.Random(5)

    def damaged(entry: tuple[Any, ...]) -> tuple[Any, ...]:
        place = chance.randrange(len(entry))
        new = chance.choice([None, -1, 1 << 70, b"", "x", (), (1, 2), 0, entry[place]])
        if type(entry[place]) is tuple and entry[place] and chance.random() < 0.7:
            new = damaged(entry[place])
        return (*entry[:place], new, *entry[place + 1 :])

    for round in range(60):
        changed = [*good]
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(changed))
            changed[at] = damaged(changed[at]) if round % 3 and changed[at] else ()
            if round % 5 == 0:
                del changed[at]
        bad = tmp_path / "bad.osm"
        with RecordingWriter(bad) as writer:
            for each in changed:
                writer.write(each)
        try:
            replayed(bad)
        except OsmiaError:
            continue


@pytest.mark.parametrize(("kind", "name"), [("batch", "nothing"), ("run", "nothing"), ("map", "nothing")])
def test_entries_of_what_is_not_there(recorded: tuple[Path, str], tmp_path: Path, kind: str, name: str) -> None:
    path, _ = recorded
    changed = list(read_recording(path))
    at = next(i for i, entry in enumerate(changed) if entry[0] == kind)
    changed[at] = (kind, name, *changed[at][2:])
    with RecordingWriter(tmp_path / "bad.osm") as writer:
        for each in changed:
            writer.write(each)
    with pytest.raises(FormatError):
        replayed(tmp_path / "bad.osm")


@pytest.mark.parametrize("values", [(1, 2), ((),), ("x", 1), ((1, 2, 3),)])
def test_a_head_with_other_values(recorded: tuple[Path, str], tmp_path: Path, values: tuple[object, ...]) -> None:
    changed = list(read_recording(recorded[0]))
    changed[0] = (*changed[0][:4], values, *changed[0][5:])
    with RecordingWriter(tmp_path / "bad.osm") as writer:
        for each in changed:
            writer.write(each)
    with pytest.raises(FormatError):
        replayed(tmp_path / "bad.osm")


@pytest.mark.parametrize(
    "script",
    [
        'begin { printf("hi\\n"); }',
        "begin { @x = 1; }",
        'end { @x = 2; printf("bye\\n"); }',
        "begin { @x = nsecs; exit(2); }",
        "begin { print(1); } end { print(2); @x = count(); }",
    ],
)
def test_scripts_without_a_probe(tmp_path: Path, script: str) -> None:
    path = tmp_path / "own.osm"
    printed = record(script, path, ["/bin/true"])
    assert printed
    assert replayed(path) == printed


def test_a_signal_to_the_session_alone(tmp_path: Path) -> None:
    path, out = tmp_path / "own.osm", list[str]()
    obj = osmia.compile('self:signal:SIGUSR1 { printf("told\\n"); @n = count(); }', target="vm")
    tape = Recorder(str(path))
    with Session(obj, VmTarget.live(), sink=TextSink(out.append, out.append), signals=True, tape=tape) as session:
        session.start()
        os.kill(os.getpid(), signal.SIGUSR1)
        while "told" not in "".join(out):
            session.poll(None)
        session.finish()
    assert "@n: 1" in "".join(out)
    assert replayed(path) == "".join(out)


def test_probes_that_were_not_recorded(recorded: tuple[Path, str], tmp_path: Path) -> None:
    path, _ = recorded
    with pytest.raises(
        UsageError, match=r"no events of tracepoint:syscalls:sys_enter_close \(it has those of tracepoint"
    ):
        replayed(path, "tracepoint:syscalls:sys_enter_close { @ = count(); }")
    with pytest.raises(UsageError, match="no events of self:signal:SIGUSR1"):
        replayed(path, "self:signal:SIGUSR1 { @ = count(); } end { print(1); }")
    told: list[str] = []
    obj = osmia.compile(OTHER + " tracepoint:syscalls:sys_enter_close { @closed = count(); }", target="vm")
    tape = Replay(str(path), told.append)
    with Session(obj, tape.wrap(None), tape=tape) as session:
        replay(session, tape)
    assert len(told) == 1
    assert "it has no events of tracepoint:syscalls:sys_enter_close; it has those of tracepoint:" in told[0]
    own = tmp_path / "own.osm"
    record("begin { @x = 1; }", own, ["/bin/true"])
    with pytest.raises(UsageError, match=r"no events of interval:s:1 .*none but BEGIN and END"):
        replayed(own, "interval:s:1 { @ = count(); }")
    assert "\n3\n" in replayed(own, "begin { print(3); }")
