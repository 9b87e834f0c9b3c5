"""SYN cookies: what was given is taken back, for a while, from whom it was given to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest

from osmia.isa import HELPERS as NUMBERS
from osmia.vm import Machine
from osmia.vm._helpers_socket import sockets

SYN, ACK, RST = 2, 16, 4
MINUTE = 60_000_000_000
V4 = bytes.fromhex("4500003c0000400040060000") + bytes([10, 0, 0, 1]) + bytes([10, 0, 0, 2])
V6 = bytes.fromhex("60000000001406ff") + bytes(15) + b"\1" + bytes(15) + b"\2"
SIZES = {
    4: [(0, 536), (100, 536), (1299, 536), (1300, 1300), (1459, 1440), (1460, 1460), (65535, 1460)],
    6: [(0, 1220), (100, 1220), (1420, 1420), (1439, 1420), (1440, 1440), (9000, 8940)],
}


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        made.world.clock = 100 * MINUTE
        yield made


def tcp(flags: int, sequence: int, acknowledged: int = 0, options: bytes = b"", port: int = 4000) -> bytes:
    head = port.to_bytes(2, "big") + b"\0P" + sequence.to_bytes(4, "big") + acknowledged.to_bytes(4, "big")
    return head + bytes([(20 + len(options)) // 4 << 4, flags]) + bytes(6) + options


def call(machine: Machine, name: str, *arguments: int | bytes) -> int:
    places = [machine.memory.allocate(len(a), "argument") if isinstance(a, bytes) else None for a in arguments]
    for place, data in zip(places, arguments):
        if place is not None and isinstance(data, bytes):
            place.view[:] = data
    values = [place.base if place is not None else int(a) for place, a in zip(places, arguments)]  # type: ignore[arg-type]
    return machine.helper(NUMBERS[name])(machine, *[*values, 0, 0, 0, 0, 0][:5])


@pytest.mark.parametrize("version", [4, 6])
def test_raw_cookies_come_back(machine: Machine, version: int) -> None:
    ip = V4 if version == 4 else V6
    gen, check = f"tcp_raw_gen_syncookie_ipv{version}", f"tcp_raw_check_syncookie_ipv{version}"
    for asked, size in SIZES[version]:
        options = b"\1\1\2\4" + asked.to_bytes(2, "big") + b"\0\0" if asked else b""
        syn = tcp(SYN, 0xFFFFFFFF, options=options)
        found = call(machine, gen, ip, syn, len(syn))
        assert found >> 32 == size
        cookie = found & 0xFFFFFFFF
        answer = tcp(ACK, 0, (cookie + 1) & 0xFFFFFFFF)
        assert call(machine, check, ip, answer) == 0
        assert call(machine, check, ip, tcp(ACK, 100, (cookie + 1) & 0xFFFFFFFF)) == -13
        assert call(machine, check, ip, tcp(ACK, 0, (cookie + (1 << 12)) & 0xFFFFFFFF)) == -13
        assert call(machine, check, ip, tcp(ACK, 0, (cookie + 1) & 0xFFFFFFFF, port=4001)) == -13
    assert call(machine, gen, ip, syn, 19) == -22
    assert call(machine, gen, ip, syn, 40) == -22


def test_cookies_age(machine: Machine) -> None:
    syn = tcp(SYN, 7)
    cookie = call(machine, "tcp_raw_gen_syncookie_ipv4", V4, syn, 20) & 0xFFFFFFFF
    answer = tcp(ACK, 8, (cookie + 1) & 0xFFFFFFFF)
    machine.world.advance(MINUTE)
    assert call(machine, "tcp_raw_check_syncookie_ipv4", V4, answer) == 0
    machine.world.advance(MINUTE)
    assert call(machine, "tcp_raw_check_syncookie_ipv4", V4, answer) == -13


def test_cookies_of_listening_sockets(machine: Machine) -> None:
    table = sockets(machine)
    listening = table.add("tcp", local=("10.0.0.2", 80)).address
    connected = table.add("tcp", local=("10.0.0.2", 80), remote=("10.0.0.1", 4000)).address
    syn = tcp(SYN, 7)
    found = call(machine, "tcp_gen_syncookie", listening, V4, 20, syn, 20)
    assert found >> 32 == 536
    answer = tcp(ACK, 8, ((found & 0xFFFFFFFF) + 1) & 0xFFFFFFFF)
    assert call(machine, "tcp_check_syncookie", listening, V4, 20, answer, 20) == 0
    assert call(machine, "tcp_check_syncookie", listening, V4, 20, tcp(ACK, 9, 5), 20) == -2
    assert call(machine, "tcp_check_syncookie", listening, V4, 20, tcp(ACK | RST, 8, 5), 20) == -2
    assert call(machine, "tcp_gen_syncookie", connected, V4, 20, syn, 20) == -22
    assert call(machine, "tcp_gen_syncookie", listening, V4, 20, tcp(SYN | ACK, 7), 20) == -22
    assert call(machine, "tcp_gen_syncookie", listening, V4, 19, syn, 20) == -22
    assert call(machine, "tcp_gen_syncookie", listening, V6, 40, syn, 20) == -22
    assert call(machine, "tcp_gen_syncookie", listening, b"\x50" + V4[1:], 20, syn, 20) == -93
    six = table.add("tcp", local=(str(ipaddress.ip_address("::2")), 80)).address
    assert call(machine, "tcp_gen_syncookie", six, V6, 40, syn, 20) >> 32 == 1220
