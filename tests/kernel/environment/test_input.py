"""Scripts and files that are no scripts; descriptors that are closed; output that nobody takes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from _environment import NOBODY, Place, refused

HELLO = r'begin { printf("hi\n"); @a[1] = 2; exit(); }'
TRACING = ["CAP_BPF", "CAP_PERFMON"]


def wrong(done: subprocess.CompletedProcess[str]) -> str:
    """The message of a wrong command line: status 2."""
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("osmia: ") and "Traceback" not in done.stderr
    return done.stderr.splitlines()[0].removeprefix("osmia: ")


def test_files_that_cannot_be_read(place: Place, tmp_path: Path) -> None:
    assert wrong(place.run("trace", "/none.bt")) == "read script /none.bt: no such file or directory"
    assert wrong(place.run("trace", "/tmp")) == "read script /tmp: is a directory"
    secret = place.folder / "secret.bt"
    secret.write_text(HELLO)
    secret.chmod(0o600)
    done = place.run("trace", str(secret), uid=NOBODY, keep=TRACING)
    assert wrong(done) == f"read script {secret}: permission denied"
    done = place.run("bpftrace", "/none.bt")
    assert (done.returncode, done.stderr) == (1, "ERROR: failed to open file '/none.bt': No such file or directory\n")


@pytest.mark.parametrize("data", [b"\x7fELF\2\1\1\0", b"begin\0{}", b"\xff\xfeb\0e\0g\0"], ids=["ELF", "NUL", "UTF-16"])
def test_binary_files(place: Place, data: bytes) -> None:
    done = place.run("trace", "-", input=data)
    assert wrong(done) == "read script standard input: it is binary, not text"


def test_huge_scripts(place: Place) -> None:
    for text in (HELLO + " //" + "x" * 10_000_000, "begin { @a = 1; }\n" * 600_000):
        assert wrong(place.run("trace", "-", input=text)) == "read script standard input: it is longer than 1 MiB"
    assert place.run("trace", "-q", "-", input=HELLO + " //" + "x" * 900_000).stdout.startswith("hi\n")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'\xef\xbb\xbfbegin { printf("bom\\n"); exit(); }', "bom\n"),
        (b'begin\r\n{\r\n  printf("crlf\\n");\r\n  exit();\r\n}\r\n', "crlf\n"),
        (b'begin { printf("\xff\xfe\xe9\\n"); exit(); }', "\udcff\udcfe\udce9\n"),
        ('begin { printf("grüße 蜂\\n"); exit(); }'.encode(), "grüße 蜂\n"),
        (b'#!/usr/bin/env bpftrace\nbegin { printf("shebang\\n"); exit(); }', "shebang\n"),
    ],
)
def test_odd_text(place: Place, data: bytes, text: str) -> None:
    done = place.run("trace", "-q", "-", input=data)
    assert (done.returncode, done.stdout.removesuffix("\n\n")) == (
        0,
        text.removesuffix("\n\n"),
    ) or done.stdout.startswith(text)
    assert done.stderr == ""


@pytest.mark.parametrize("data", [b"", b"\n\n", b"// nothing\n"])
def test_no_probes(place: Place, data: bytes) -> None:
    done = place.run("trace", "-", input=data)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr == "No probes to attach\n"


@pytest.mark.parametrize("data", [b"begin { \xff\xfe }", b"begin { @a = 1;", b"\x1b[31m", b"{" * 5000, b"((((" * 2000])
def test_no_script(place: Place, data: bytes) -> None:
    done = place.run("trace", "-", input=data)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("stdin:1") and "ERROR" in done.stderr and "internal error" not in done.stderr


def test_a_pipe_that_is_closed(place: Place) -> None:
    read, write = os.pipe()
    os.close(write)
    try:
        done = place.run("trace", "-", stdin=read)
    finally:
        os.close(read)
    assert (done.returncode, done.stderr) == (1, "No probes to attach\n")


@pytest.mark.parametrize("closed", [[0], [2], [0, 2]], ids=str)
def test_closed_descriptors_that_are_not_needed(place: Place, closed: list[int]) -> None:
    done = place.run("trace", "-q", "-e", HELLO, close=closed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n\n\n@a[1]: 2\n", "")
    for words in (["version"], ["doctor"], ["list", "tracepoint:sched:*"], ["--help"]):
        done = place.run(*words, close=closed)
        assert (done.returncode, bool(done.stdout), done.stderr) == (0, True, "")


def test_closed_standard_input_that_is_read(place: Place) -> None:
    assert wrong(place.run("trace", "-", close=[0])) == "read script standard input: bad file descriptor"


@pytest.mark.parametrize(
    "words", [["trace", "-q", "-e", HELLO], ["version"], ["doctor"], ["list", "software:*"], ["--help"]]
)
def test_closed_standard_output(place: Place, words: list[str]) -> None:
    assert refused(place.run(*words, close=[1])).startswith("osmia: write output: it is closed\n")
    assert place.run(*words, close=[0, 1, 2]).returncode == 1


def test_no_file_is_taken_for_standard_output(place: Place) -> None:
    """With 1 and 2 closed, files opened later must not get what is printed."""
    out = Path(place.home(0), "closed.bpf.o")
    assert place.run("build", "-o", str(out), "-e", HELLO, close=[1, 2]).returncode == 0
    assert out.read_bytes().startswith(b"\x7fELF")
    before = {p: p.read_bytes() for p in Path(place.home(0)).rglob("*") if p.is_file()}
    place.run("trace", "-e", HELLO + " // again", close=[1, 2])
    after = {p: p.read_bytes() for p in Path(place.home(0)).rglob("*") if p.is_file()}
    assert all(after[p] == data for p, data in before.items())
    assert not any(
        b"Attached" in data for data in after.values() if not data.startswith((b"Osmia", b"OSM", b"\x7fELF"))
    )


@pytest.mark.parametrize("words", [["trace", "-q", "-e", HELLO], ["version"], ["doctor"], ["list", "tracepoint:*"]])
def test_a_full_disk(place: Place, words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = place.run(*words, stdout=full)
    assert (done.returncode, done.stderr) == (1, "osmia: write output: no space left on device\n")


@pytest.mark.parametrize("words", [["version"], ["doctor"], ["list", "tracepoint:*"], ["--help"]])
def test_a_reader_that_has_gone(place: Place, words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = place.run(*words, stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_files_to_write(place: Place) -> None:
    done = place.run("trace", "--output-file", "/none/x", "-e", HELLO)
    assert wrong(done) == "open output file /none/x: no such file or directory"
    done = place.run("trace", "-q", "--output-file", "/dev/full", "-e", HELLO)
    assert refused(done) == "osmia: write output: no space left on device\n"
    for path, cause in (("/none/x", "no such file or directory"), ("/tmp", "is a directory")):
        done = place.run("build", "-o", path, "-e", HELLO)
        assert wrong(done).startswith(f"write {path}: {cause}")
    done = place.run("build", "-o", "/dev/full", "-e", HELLO)
    assert refused(done).startswith("osmia: write /dev/full: no space left on device\nhint: make room")


def test_object_files(place: Place) -> None:
    for path, cause in (("/none.o", "no such file or directory"), ("/tmp", "is a directory")):
        assert wrong(place.run("run", path)) == f"open {path}: {cause}"
    assert "not an ELF file" in refused(place.run("run", "/etc/passwd"))
    assert "not a BPF object" in refused(place.run("run", place.python))


def test_processes(place: Place) -> None:
    assert wrong(place.run("trace", "-p", "4194304", "-e", HELLO)).startswith("attach to pid 4194304: no such process")
    assert wrong(place.run("trace", "-p", "x1", "-e", HELLO)) == "read option --pid: 'x1' is not a process number"
    assert wrong(place.run("trace", "-p", "99999999999999999999999", "-e", HELLO)).endswith("is out of range")
    for command in ("/none", "/etc/passwd", "/tmp"):
        assert wrong(place.run("trace", "-c", command, "-e", HELLO)).startswith(f"run '{command}': ")
