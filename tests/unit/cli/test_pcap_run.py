"""`osmia run --pcap-in`: what is read is not written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osmia import cli
from osmia.vm import Packet, write_capture

EXAMPLE = Path(__file__).resolve().parents[3] / "docs/examples/drop_dns.bpf.o"


def test_the_capture_that_is_read_is_not_written_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.pcap"
    write_capture(path, [Packet(data=bytes(60))])
    before = path.read_bytes()
    assert cli.main(["run", str(EXAMPLE), "--pcap-in", str(path), "--pcap-out", str(path)]) == 2
    assert "it is the one that is read" in capfd.readouterr().err
    assert path.read_bytes() == before


def test_a_capture_from_standard_input(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.pcap"
    write_capture(path, [Packet(data=bytes(60))] * 3)
    before = os.dup(0)
    with open(path, "rb") as file:
        os.dup2(file.fileno(), 0)
    try:
        assert cli.main(["run", str(EXAMPLE), "--pcap-in", "-"]) == 0
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert ["total", "3", "180"] in [line.split() for line in capfd.readouterr().out.splitlines()]


def test_counts_come_before_a_capture_that_cannot_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, full = tmp_path / "in.pcap", tmp_path / "full"
    full.symlink_to("/dev/full")
    write_capture(path, [Packet(data=bytes(60))])
    assert cli.main(["run", str(EXAMPLE), "--pcap-in", str(path), "--pcap-out", str(full)]) == 2
    out, err = capfd.readouterr()
    assert ["total", "1", "60"] in [line.split() for line in out.splitlines()]
    assert "No space left on device" in err
    assert full.is_symlink()  # what is no file of ours is not removed
    assert cli.main(["run", str(EXAMPLE), "--pcap-in", str(path), "--pcap-out", "-"]) == 2
    assert not Path("-").exists()


@pytest.mark.parametrize("words", [["run", str(EXAMPLE), "--pcap-in"], ["trace", "--replay"]])
def test_files_without_an_end(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "/dev/zero"]) == 1
    assert "/dev/zero" in capfd.readouterr().err
