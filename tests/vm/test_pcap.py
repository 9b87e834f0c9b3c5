"""Capture files: what we write reads back, files of both formats and byte orders, damaged ones."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from osmia.errors import FormatError, UsageError
from osmia.vm._pcap import ETHERNET, RAW_IP, Capture, Packet, encode_pcap, read_capture, write_capture

FRAMES = [bytes(range(n)) for n in (0, 14, 60, 200)]


def packets(link: int = ETHERNET) -> list[Packet]:
    return [
        Packet(data=f, time=1_700_000_000_000_000_123 + n * 10**9, length=len(f) + n, link=link)
        for n, f in enumerate(FRAMES)
    ]


def pcap(order: str, magic: int, fraction: int) -> bytes:
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, ETHERNET)
    for frame in FRAMES:
        out += struct.pack(order + "IIII", 7, fraction, len(frame), len(frame) + 5) + frame
    return out


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def pcapng(order: str) -> bytes:
    out = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(order, 1, struct.pack(order + "HHI", ETHERNET, 0, 100) + struct.pack(order + "HHB3x", 9, 1, 9))
    out += block(order, 1, struct.pack(order + "HHI", RAW_IP, 0, 0))
    out += block(order, 5, b"statistics, which nobody reads")
    when = 1_700_000_000_123_456_789
    out += block(order, 6, struct.pack(order + "IIIII", 0, when >> 32, when & 0xFFFFFFFF, 60, 64) + FRAMES[2])
    micro = 1_700_000_000_123_456
    out += block(order, 6, struct.pack(order + "IIIII", 1, micro >> 32, micro & 0xFFFFFFFF, 14, 14) + FRAMES[1])
    return out + block(order, 3, struct.pack(order + "I", 200) + FRAMES[3][:100])


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    assert write_capture(path, packets()) == 4
    back = read_capture(path)
    assert list(back) == packets()
    assert back.links == {ETHERNET}
    assert back.truncated == 0


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("magic", "fraction", "nanoseconds"), [(0xA1B2C3D4, 5, 5000), (0xA1B23C4D, 5, 5)])
def test_pcap(order: str, magic: int, fraction: int, nanoseconds: int) -> None:
    got = Capture(pcap(order, magic, fraction))
    assert [p.data for p in got] == FRAMES
    assert {p.time for p in got} == {7_000_000_000 + nanoseconds}
    assert [p.length for p in got] == [len(f) + 5 for f in FRAMES]


@pytest.mark.parametrize("order", "<>")
def test_pcapng(order: str) -> None:
    got = Capture(pcapng(order))
    assert [(p.data, p.link, p.length) for p in got] == [
        (FRAMES[2], ETHERNET, 64),
        (FRAMES[1], RAW_IP, 14),
        (FRAMES[3][:100], ETHERNET, 200),
    ]
    assert [p.time for p in got] == [1_700_000_000_123_456_789, 1_700_000_000_123_456_000, 0]
    assert got.links == {ETHERNET, RAW_IP}


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="no tcpdump to read what we wrote")
def test_tcpdump_reads_it(tmp_path: Path) -> None:
    write_capture(tmp_path / "x.pcap", packets())
    out = subprocess.run(["tcpdump", "-nr", tmp_path / "x.pcap"], capture_output=True, text=True, timeout=20)
    assert out.returncode == 0
    assert len(out.stdout.splitlines()) >= 4


def test_a_capture_that_was_cut_keeps_its_whole_packets() -> None:
    whole = b"".join(encode_pcap(packets()))
    cut = Capture(whole[:-3])
    assert len(cut) == 3
    assert cut.truncated == 200 + 16 - 3
    assert len(Capture(pcapng("<")[:-3])) == 2


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a pcap"),
        (b"\x7fELF" + bytes(40), "not a pcap"),
        (b"\xd4\xc3\xb2\xa1" + bytes(10), "cut to 14"),
        (pcap("<", 0xA1B2C3D4, 0)[:24] + struct.pack("<IIII", 0, 0, 1 << 31, 0), "2147483648 bytes"),
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "magic"),
        (pcapng("<")[:28] + block("<", 6, struct.pack("<IIIII", 3, 0, 0, 0, 0)), "interface 3"),
    ],
)
def test_what_is_no_capture_says_where(data: bytes, what: str) -> None:
    with pytest.raises(FormatError, match=what):
        Capture(data)


def test_a_file_of_mixed_links_is_refused_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    with pytest.raises(UsageError, match="a packet of raw IP in a file of Ethernet"):
        write_capture(path, [*packets(), *packets(RAW_IP)])
    assert not path.exists()


def test_damaged_files_give_our_error_only() -> None:
    rng = random.Random(4)
    for base in (b"".join(encode_pcap(packets())), pcapng("<"), pcapng(">")):
        for _ in range(700):
            data = bytearray(base)
            for _ in range(rng.randint(1, 6)):
                data[rng.randrange(len(data))] = rng.choice((0, 255, rng.getrandbits(8)))
            try:
                for packet in Capture(bytes(data[: rng.choice((len(data), rng.randrange(len(data))))])):
                    assert len(packet.data) <= len(data)
            except FormatError:
                continue
