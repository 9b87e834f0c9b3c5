"""Packet programs over captures: verdicts counted, what passes written, on the command line too."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import osmia
from osmia.cli import main
from osmia.errors import NotSupported, UsageError, VmError
from osmia.objects import read_elf
from osmia.testing import Vm
from osmia.vm import Packet, VmTarget, packet_program, read_capture, run_packets, write_capture

CLANG = shutil.which("clang")
pytestmark = pytest.mark.skipif(not CLANG, reason="needs clang, which builds the programs")

SOURCE = r"""
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
#define SEC(x) __attribute__((section(x), used))
struct xdp_md { u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
struct __sk_buff { u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority;
	u32 ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end; };
static long (*map_lookup)(void *map, const void *key) = (void *)1;
static long (*adjust_head)(void *ctx, int delta) = (void *)44;
static unsigned (*random)(void) = (void *)7;
static long (*branches)(void *ctx, void *buf, u32 size, u64 flags) = (void *)119;
static long (*output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static long (*timer_init)(void *timer, void *map, u64 flags) = (void *)169;
static long (*timer_set)(void *timer, void *callback) = (void *)170;
static long (*timer_start)(void *timer, u64 after, u64 flags) = (void *)171;
struct bpf_timer { u64 opaque[2]; } __attribute__((aligned(8)));
struct element { struct bpf_timer timer; u64 fired; };
struct { int (*type)[2]; u32 *key; struct element *value; int (*max_entries)[1]; } timed SEC(".maps");
struct { int (*type)[27]; int (*max_entries)[4096]; } ring SEC(".maps");
struct { int (*type)[2]; u32 *key; u64 *value; int (*max_entries)[4]; } seen SEC(".maps");

SEC("xdp") int filter(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + 34 > end || data[12] != 8 || data[13])
		return 2;
	u32 key = data[23] == 17;
	u64 *count = (u64 *)map_lookup(&seen, &key);
	if (count)
		*count += 1;
	if (data[23] == 17)
		return 1;          /* UDP: dropped */
	data[22] -= 1;             /* the others lose a hop */
	return 3;
}
SEC("xdp") int cut(struct xdp_md *ctx) { return adjust_head(ctx, 14) ? 0 : 2; }
static int fired(void *map, int *key, struct element *e)
{
	e->fired += 1;
	timer_start(&e->timer, 1, 0);
	return 0;
}
SEC("xdp") int timing(struct xdp_md *ctx)
{
	u32 key = 0;
	struct element *e = (struct element *)map_lookup(&timed, &key);
	if (!e)
		return 0;
	if (!timer_init(&e->timer, &timed, 1)) {
		timer_set(&e->timer, fired);
		timer_start(&e->timer, 1, 0);
	}
	return adjust_head(ctx, -20) ? 1 : 3;
}
SEC("xdp") int chance(struct xdp_md *ctx) { return random() ? 2 : 1; }
SEC("xdp") int tell(struct xdp_md *ctx)
{
	u64 words[16] = {};
	return output(&ring, words, sizeof(words), 0) ? 1 : 2;
}
#ifdef LACKING
SEC("perf_event") int lacking(void *ctx) { u64 words[3] = {}; return branches(ctx, words, sizeof(words), 0) < 0; }
#endif
SEC("tc") int classify(struct __sk_buff *skb) { return skb->protocol == 0x0008 ? 0 : 2; }
SEC("socket") int take(struct __sk_buff *skb) { return skb->len > 40 ? 20 : 0; }
SEC("cgroup_skb/ingress") int allow(struct __sk_buff *skb)
{
	u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	return data + 20 <= end && data[9] == 6;
}
char _license[] SEC("license") = "GPL";
"""
ETHERNET = bytes.fromhex("020000000001 020000000002 0800".replace(" ", ""))
ARP = ETHERNET[:12] + b"\x08\x06" + bytes(28)


def ip(protocol: int, size: int = 60) -> bytes:
    head = bytes.fromhex("4500") + size.to_bytes(2, "big") + bytes(4) + bytes([64, protocol]) + bytes(10)
    return head.ljust(size, b"\x55")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packets")
    source, out = folder / "p.c", folder / "p.bpf.o"
    source.write_text(SOURCE)
    build(source, out)
    build(source, folder / LACKING, "-DLACKING")
    return out


LACKING = "lacking.bpf.o"  # beside the other: it has a program that user space cannot run


def build(source: Path, out: Path, *more: str) -> None:
    subprocess.run([str(CLANG), "-O2", "-g", "-target", "bpf", *more, "-c", source, "-o", out], check=True, timeout=60)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "in.pcap"
    write_capture(path, [Packet(data, 1_000 + i) for i, data in enumerate(FRAMES)])
    return path


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_one_packet(osmia_vm: Callable[..., Vm], built: Path, engine: str) -> None:
    vm = osmia_vm(built, engine=engine)
    dropped = vm.run(ETHERNET + ip(17), program="filter")
    assert (dropped.verdict, dropped.name) == (1, "DROP")
    sent = vm.run(ETHERNET + ip(6), program="filter")
    assert sent.name == "TX"
    assert sent.packet == ETHERNET + ip(6)[:8] + b"\x3f" + ip(6)[9:]
    assert dict(vm.maps["seen"]) == {0: 1, 1: 1}
    assert vm.run(ETHERNET + ip(6), program="cut").packet == ip(6)
    assert vm.run(ARP, program="classify").name == "SHOT"
    assert vm.run(ETHERNET + ip(6), program="take").verdict == 20
    assert vm.run(ETHERNET + ip(6), program="allow").name == "PASS"
    with pytest.raises(UsageError, match="filter, cut, timing, chance, tell, classify, take, allow"):
        vm.run(ARP)


def run(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["run", *map(str, words)]) == 0
    return capfd.readouterr().out


def test_verdicts_on_the_command_line(built: Path, capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = run(capfd, built, "--pcap-in", capture, "--program", "filter")
    rows = [line.split() for line in out.splitlines() if line]
    assert rows[:5] == [
        ["verdict", "packets", "bytes"], ["DROP", "2", "288"], ["PASS", "1", "42"], ["TX", "2", "1488"],
        ["total", "5", "1818"],
    ]  # fmt: skip
    assert "seen[0]: 2" in out
    assert "seen[1]: 2" in out


def test_verdicts_as_json(built: Path, capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = run(capfd, built, "--pcap-in", capture, "--program", "classify", "-o", "json")
    first = json.loads(out.splitlines()[0])
    assert first["type"] == "verdicts"
    assert first["data"]["verdicts"] == {"OK": {"packets": 4, "bytes": 1776}, "SHOT": {"packets": 1, "bytes": 42}}


FRAMES = [ETHERNET + ip(6), ETHERNET + ip(17), ARP, ETHERNET + ip(17, 200), ETHERNET + ip(6, 1400)]


def one_hop_less(frame: bytes) -> bytes:
    return frame[:22] + b"\x3f" + frame[23:]


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        ("filter", [one_hop_less(FRAMES[0]), ARP, one_hop_less(FRAMES[4])]),
        ("cut", [frame[14:] for frame in FRAMES]),
        ("take", [frame[:20] for frame in FRAMES]),
        ("allow", [FRAMES[0], FRAMES[4]]),
    ],
)
def test_packets_that_pass_are_written(
    built: Path, capture: Path, tmp_path: Path, program: str, wanted: list[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.pcap"
    run(capfd, built, "--pcap-in", capture, "--pcap-out", out, "--program", program)
    assert [packet.data for packet in read_capture(out)] == wanted


def test_bare_ip_packets(built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "raw.pcap", tmp_path / "out.pcap"
    write_capture(path, [Packet(ip(6), link=101), Packet(ip(17), link=101)], link=101)
    text = run(capfd, built, "--pcap-in", path, "--pcap-out", out, "--program", "filter")
    assert "TX" in text
    assert "DROP" in text
    found = list(read_capture(out))
    assert [(p.link, p.data) for p in found] == [(101, ip(6)[:8] + b"\x3f" + ip(6)[9:])]


@pytest.mark.parametrize(
    ("link", "header"),
    [
        (228, b""),
        (113, bytes.fromhex("0000 0001 0006 020000000002 0000 0800")),
        (276, bytes.fromhex("0800 0000 00000002 0001 00 06 020000000002 0000")),
    ],
    ids=["ipv4", "cooked", "cooked-2"],
)
@pytest.mark.parametrize(
    ("program", "wanted"), [("filter", ip(6)[:8] + b"\x3f" + ip(6)[9:]), ("take", ip(6)[:6]), ("allow", ip(6))]
)
def test_links_that_get_an_ethernet_header(
    built: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    link: int,
    header: bytes,
    program: str,
    wanted: bytes,
) -> None:
    path, out = tmp_path / "in.pcap", tmp_path / "out.pcap"
    write_capture(path, [Packet(header + ip(6), link=link), Packet(header + ip(17, 20), link=link)], link)
    run(capfd, built, "--pcap-in", path, "--pcap-out", out, "--program", program)
    assert [(p.link, p.data) for p in read_capture(out)] == [(link, header + wanted)]


@pytest.mark.parametrize(("link", "name"), [(0, "BSD loopback"), (105, r"802\.11 \(Wi-Fi\)"), (147, "link type 147")])
def test_links_that_no_program_takes(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], link: int, name: str
) -> None:
    path = tmp_path / "in.pcap"
    write_capture(path, [Packet(ip(6), link=link)], link)
    assert main(["run", str(built), "--pcap-in", str(path), "--program", "filter"]) == 2
    assert re.search(f"the capture is of {name}$", capfd.readouterr().err, re.MULTILINE)


def pcapng(data: bytes, length: int) -> bytes:
    """A section, an Ethernet interface, a packet of which `data` was captured."""
    bodies = [(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), (1, struct.pack("<HHI", 1, 0, 64))]
    padded = data.ljust(len(data) + 3 & ~3, b"\0")
    bodies.append((6, struct.pack("<IIIII", 0, 0, 0, len(data), length) + padded))
    return b"".join(
        struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12) for kind, body in bodies
    )


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_packets_captured_in_part_are_told(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], form: str
) -> None:
    path = tmp_path / "in.pcap"
    if form == "pcapng":
        path.write_bytes(pcapng(FRAMES[4][:62], 1414) + pcapng(FRAMES[0], 74))
    else:
        write_capture(path, [Packet(FRAMES[4][:62], length=1414), Packet(FRAMES[0])])
    assert main(["run", str(built), "--pcap-in", str(path), "--program", "filter"]) == 0
    wanted = "WARNING: 1 of 2 packets were captured in part: programs see that part only (tcpdump -s 0 captures whole"
    assert wanted in capfd.readouterr().err
    write_capture(path, [Packet(frame) for frame in FRAMES])
    assert main(["run", str(built), "--pcap-in", str(path), "--program", "filter"]) == 0
    assert "WARNING" not in capfd.readouterr().err


@pytest.mark.parametrize("program", ["filter", "classify"])
def test_packets_that_are_too_large_are_left_out(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], program: str
) -> None:
    path = tmp_path / "in.pcap"
    write_capture(path, [Packet(FRAMES[0]), Packet(FRAMES[0] + bytes(65_536)), Packet(FRAMES[0])])
    assert main(["run", str(built), "--pcap-in", str(path), "--program", program]) == 0
    out, err = capfd.readouterr()
    assert ["total", "2", "148"] in [line.split() for line in out.splitlines()]
    assert "WARNING: 1 packets are not run: they are larger than 65535 bytes" in err


def test_what_does_not_go_together(built: Path, capture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(built), "--pcap-out", "x"]) == 2
    assert main(["run", str(built), "--pcap-in", str(capture), "--target", "kernel"]) == 2
    assert main(["run", str(built), "--pcap-in", str(capture), "-c", "true"]) == 2
    assert main(["run", str(built), "--pcap-in", str(capture)]) == 2
    assert "filter, cut, timing, chance, tell, classify, take, allow" in capfd.readouterr().err
    assert main(["run", str(built), "--pcap-in", str(capture), "--program", "nothing"]) == 2
    assert "select program 'nothing': the object has none of this name" in capfd.readouterr().err


def test_ends_that_move_without_a_capture_to_write(
    built: Path, capture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = run(capfd, built, "--pcap-in", capture, "--program", "cut")
    assert ["PASS", "5", "1818"] in [line.split() for line in out.splitlines()]


def test_timers_run_between_packets(built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, written = tmp_path / "in.pcap", tmp_path / "out.pcap"
    write_capture(path, [Packet(frame) for frame in FRAMES * 20])
    out = run(capfd, built, "--pcap-in", path, "--pcap-out", written, "--program", "timing", "-o", "json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["data"]["verdicts"] == {"TX": {"packets": 100, "bytes": 20 * 1818}}
    assert [len(packet.data) for packet in read_capture(written)] == [len(frame) + 20 for frame in FRAMES * 20]
    assert '"fired": 0' not in out
    assert '"fired": ' in out


def test_a_packet_that_no_program_takes_ends_the_run(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, written = tmp_path / "in.pcap", tmp_path / "out.pcap"
    write_capture(path, [Packet(FRAMES[0]), Packet(FRAMES[1]), Packet(bytes(10)), Packet(FRAMES[0])])
    words = ["run", str(built), "--pcap-in", str(path), "--pcap-out", str(written), "--program", "classify"]
    assert main(words) != 0
    out, err = capfd.readouterr()
    assert ["OK", "2", "148"] in [line.split() for line in out.splitlines()]
    assert "run packet 3: load a packet: 10 bytes are less than an Ethernet header" in err
    assert [packet.data for packet in read_capture(written)] == FRAMES[:2]


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
def test_counts_before_an_error(built: Path, capture: Path, engine: str) -> None:
    asked = []

    def random(machine: object, *_: int) -> int:
        asked.append(1)
        if len(asked) == 4:
            raise VmError("ask: no more numbers")
        return len(asked) % 2

    target = VmTarget(engine=engine, helpers={"get_prandom_u32": random})
    obj, name = packet_program(read_elf(built.read_bytes()), "chance")
    with target.load(obj) as loaded:
        tally = run_packets(loaded, loaded.programs[name], read_capture(capture))
    assert tally.packets == {"PASS": 2, "DROP": 1}
    assert tally.bytes == {"PASS": 116, "DROP": 74}
    assert isinstance(tally.failure, VmError)
    assert tally.failure.message.startswith("run packet 4: ")


def test_rings_are_read_before_they_are_full(built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.pcap"
    write_capture(path, [Packet(FRAMES[0])] * 200)
    out = run(capfd, built, "--pcap-in", path, "--program", "tell")
    assert ["PASS", "200", "14800"] in [line.split() for line in out.splitlines()]
    assert out.count("ring: 00 00") == 200


def test_programs_that_user_space_lacks_are_left_alone(
    built: Path, capture: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lacking = built.with_name(LACKING)
    with pytest.raises(NotSupported, match="load lacking: helper bpf_read_branch_records"):
        VmTarget().load(read_elf(lacking.read_bytes()))
    run(capfd, lacking, "--pcap-in", capture, "--program", "filter")
    assert main(["run", str(lacking), "--pcap-in", str(capture), "--program", "lacking"]) == 2
    assert "run program lacking: it takes no packets" in capfd.readouterr().err


@pytest.mark.skipif(not os.access(sys.executable, os.X_OK), reason="this user may not start this Python again")
def test_an_interrupt_leaves_the_counts(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.pcap"
    write_capture(path, [Packet(FRAMES[0])] * 20_000)
    words = [sys.executable, "-m", "osmia", "run", str(built), "--pcap-in", str(path), "--program", "tell"]
    environment = {**os.environ, "PYTHONPATH": str(Path(osmia.__file__).parents[1])}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ring: 00")
        process.send_signal(signal.SIGINT)  # while it waits for us to read: all of it is more than a pipe holds
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    last = out.rstrip().splitlines()[-1].split()
    assert last[0] == b"total"
    assert 0 < int(last[1]) < 20_000
