from __future__ import annotations

import os

import pytest

from osmia.cli import main
from osmia.cli._output import Closed, Output


def pipe(mode):
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return reader, Output(writer, mode)


def read(fd):
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""


def test_modes():
    reader, out = pipe("none")
    out.write("a")
    assert read(reader) == b"a"
    reader, out = pipe("line")
    out.write("a\n")
    assert read(reader) == b""
    out.flush()
    assert read(reader) == b"a\n"
    out.write("x" * 5000)
    assert len(read(reader)) == 5000
    reader, out = pipe("full")
    out.write("x" * 5000)
    out.flush()
    assert read(reader) == b""
    out.flush(force=True)
    assert len(read(reader)) == 5000


def test_bytes_that_are_no_text_come_out_as_they_came():
    reader, out = pipe("none")
    out.write(b"\xff\xfe".decode("utf-8", "surrogateescape"))
    assert read(reader) == b"\xff\xfe"


def test_closed_reader():
    reader, out = pipe("none")
    os.close(reader)
    with pytest.raises(Closed):
        out.write("a")


@pytest.mark.parametrize(("place", "status"), [("/dev/full", 1), ("/nonexistent/a.o", 2), ("/", 2)])
def test_a_full_disk_is_no_fault_of_the_command_line(place, status, capfd):
    assert main(["build", "-o", place, "-e", "interval:s:1 { @ = count(); }"]) == status
    said = capfd.readouterr().err
    assert said.startswith(f"osmia: write {place}: ") and ("make room" in said) == (status == 1)
