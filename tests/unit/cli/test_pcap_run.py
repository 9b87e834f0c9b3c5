"""`osmia run --pcap-in`: what is read is not written over."""

from __future__ import annotations

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
