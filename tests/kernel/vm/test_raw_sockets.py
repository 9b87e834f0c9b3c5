"""A socket filter on a raw packet socket, and in a test run: the kernel and user space show and keep the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from struct import unpack

import pytest

from osmia.kernel import KernelTarget
from osmia.objects import Object, read_elf
from osmia.vm import VmTarget

SOURCE = """
typedef unsigned char u8; typedef unsigned int u32; typedef unsigned long long u64; typedef long long s64;
#define SEC(n) __attribute__((section(n), used))
struct __sk_buff { u32 len, pkt_type, mark, queue_mapping, protocol; };
static void *(*lookup)(void *map, const void *key) = (void *)1;
static long (*load_bytes)(void *skb, u32 at, void *to, u32 size) = (void *)26;
static long (*load_relative)(void *skb, u32 at, void *to, u32 size, u32 from) = (void *)68;
u64 load_byte(void *skb, u64 at) asm("llvm.bpf.load.byte");
u64 load_half(void *skb, u64 at) asm("llvm.bpf.load.half");
struct { int (*type)[2]; int (*max_entries)[16]; u32 *key; s64 *value; } results SEC(".maps");
static __attribute__((always_inline)) void put(u32 key, s64 value)
{
    s64 *slot = lookup(&results, &key);
    if (slot) *slot = value;
}
static __attribute__((always_inline)) void look(struct __sk_buff *skb)
{
    u64 word = 0;
    put(0, skb->len); put(1, skb->protocol); put(2, skb->pkt_type);
    put(3, load_bytes(skb, 12, &word, 2)); put(4, word);
    put(5, load_relative(skb, 0, &word, 8, 0)); put(6, word);
    put(7, load_relative(skb, 0, &word, 8, 1)); put(8, word);
    put(9, load_byte(skb, 23)); put(10, load_half(skb, 12));
    put(11, load_byte(skb, -0x100000 + 9)); put(12, load_half(skb, -0x200000 + 12));
}
SEC("socket") int whole(struct __sk_buff *skb) { look(skb); return skb->len; }
SEC("socket") int cut(struct __sk_buff *skb) { look(skb); return 20; }
SEC("socket") int more(struct __sk_buff *skb) { look(skb); return 5000; }
char LICENSE[] SEC("license") = "GPL";
"""
# In a network namespace of its own, which goes with it. The socket hears nothing until it has the program.
RECEIVE = """
import socket, subprocess, sys
if subprocess.run([sys.argv[1], *"link add f0 type veth peer name f1".split()]).returncode:
    sys.exit(77)
for name in ("f0", "f1"):
    subprocess.run([sys.argv[1], "link", "set", name, "up"], check=True)
frame = bytes.fromhex(sys.argv[3])
taker = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
taker.setsockopt(socket.SOL_SOCKET, 50, int(sys.argv[2]))  # SO_ATTACH_BPF
taker.bind(("f1", int.from_bytes(frame[12:14], "big")))
taker.settimeout(0.2)
giver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
giver.bind(("f0", 0))
for attempt in range(300):  # a device that has only just come up drops what it is given
    giver.send(frame)
    try:
        print(taker.recv(9000).hex())
        break
    except TimeoutError:
        pass
"""
IPV4 = bytes.fromhex("4500005600004000401126a50a0000010a000002")
FRAMES = [
    b"\xff" * 6 + bytes.fromhex("020000000001 0800") + IPV4 + bytes(range(66)),
    bytes.fromhex("02aabbccddee 020000000001 0800") + IPV4,
    bytes.fromhex("02aabbccddee 020000000001 88b5") + bytes(range(50)),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Object:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("no clang")
    folder: Path = tmp_path_factory.mktemp("c")
    source, out = folder / "a.c", folder / "a.o"
    source.write_text(SOURCE)
    command = [clang, "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-c", str(source), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read_elf(out.read_bytes())


def _left(loaded: object) -> list[int]:
    return [unpack("=q", row)[0] for _, row in loaded.maps["results"].items()]  # type: ignore[attr-defined]


def _received(descriptor: int, frame: bytes) -> bytes:
    """What a raw packet socket with this program gets of a frame."""
    ip, unshare = shutil.which("ip") or "/usr/sbin/ip", shutil.which("unshare")
    if unshare is None or not os.path.exists(ip):
        pytest.skip("ip or unshare is not installed")
    argv = [unshare, "-n", sys.executable, "-c", RECEIVE, ip, str(descriptor), frame.hex()]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, pass_fds=[descriptor])
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"cannot make network devices: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return bytes.fromhex(done.stdout)


@pytest.mark.parametrize("frame", FRAMES, ids=["broadcast", "other", "no-ip"])
@pytest.mark.parametrize("program", ["whole", "cut", "more"])
def test_raw_socket(built: Object, program: str, frame: bytes) -> None:
    with KernelTarget().load(built, programs=[program]) as loaded:
        received = _received(loaded.programs[program].fd, frame)
        wanted = _left(loaded)
    for engine in ("interpreter", "jit"):
        with VmTarget(engine=engine).load(built, programs=[program]) as vm:
            result = vm.programs[program].run_packet(frame)
            assert _left(vm) == wanted
            assert result.packet == frame
            assert result.packet[: result.verdict] == received


@pytest.mark.parametrize("frame", FRAMES[1:], ids=["other", "no-ip"])
def test_test_run(built: Object, frame: bytes) -> None:
    with KernelTarget().load(built, programs=["whole"]) as loaded:
        done = loaded.programs["whole"].test_run(frame)
        wanted = _left(loaded)
    for engine in ("interpreter", "jit"):
        with VmTarget(engine=engine).load(built, programs=["whole"]) as vm:
            ran = vm.programs["whole"].test_run(frame)
            assert (ran.retval, _left(vm)) == (done.retval, wanted)
