"""Random and half-random bytes as programs, in checked mode: only our own errors come out."""

from __future__ import annotations

import os
import random

import pytest
from _vm_programs import make

from osmia.errors import OsmiaError
from osmia.vm._code import Code
from osmia.vm._code_check import FIELDS
from osmia.vm._interpreter import run
from osmia.vm._jit import compile
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import ARRAY, HASH, Shape

OPCODES = sorted(FIELDS)


def _random(r: random.Random) -> bytes:
    """Instructions with fields near what is allowed, so that many of them load."""
    out = bytearray()
    for _ in range(r.randint(1, 12)):
        opcode = r.choice(OPCODES)
        fields = FIELDS[opcode]
        dst = r.randrange(11) if fields & 1 else 0
        src = r.randrange(11) if fields & 2 else 0
        off = r.choice((0, 1, -8, -16, -512, 2, r.randint(-20, 20))) if fields & 4 else 0
        imm = r.choice((0, 1, 8, 16, 32, 64, -1, 5, 0xE1, r.getrandbits(31))) if fields & 8 else 0
        if opcode == 0x18:
            src = r.choice((0, 0, 1, 2, 4))
            imm = r.choice((0, 1, 2)) if src else imm
        elif opcode == 0x85:
            src = r.randrange(2)
            imm = r.randint(-3, 8) if src else r.choice((1, 2, 3, 5, 6, 7, 8, 14, 181, 12))
        out += bytes((opcode, dst | src << 4)) + off.to_bytes(2, "little", signed=True)
        out += (imm & 0xFFFFFFFF).to_bytes(4, "little")
        if opcode == 0x18:
            out += bytes(8)
    return bytes(out) + b"\x95" + bytes(7)


def _mutated(r: random.Random) -> bytes:
    """An accepted program with a few bytes changed."""
    out = bytearray(make(r.getrandbits(30)).insns)
    for _ in range(r.randint(1, 4)):
        at = r.randrange(len(out))
        out[at] = r.choice((r.getrandbits(8), out[at] ^ 1 << r.randrange(8)))
    return bytes(out)


def attempt(insns: bytes, *, native: bool) -> str:
    """ "" when it ran, else the name of the error."""
    with Machine(memory_limit=8 << 20) as machine:
        maps = [create_map(machine, Shape(kind, 4, 64, 4, name="m")) for kind in (ARRAY, ARRAY, HASH)]
        region = machine.memory.allocate(256, "context")
        try:
            code = Code(insns, machine, maps=maps)
            run(code, machine, region.base, 256, fuel=5000)
            if native:
                with compile(code, machine, checked=True, level=1) as made:
                    made.run(region.base, 256, fuel=5000)
        except OsmiaError as error:
            return type(error).__name__
        return ""


@pytest.mark.parametrize(("maker", "count", "native"), [(_random, 1500, 8), (_mutated, 300, 6), (None, 1500, 1)])
def test_only_our_errors(maker: object, count: int, native: int) -> None:
    seed = int(os.environ.get("OSMIA_SEED", "0")) or random.randrange(1 << 30)
    print("seed", seed)
    r = random.Random(seed)
    seen: dict[str, int] = {}
    for k in range(count):
        insns = maker(r) if callable(maker) else r.randbytes(8 * r.randint(0, 5) + r.choice((0, 0, 3)))
        result = attempt(insns, native=k % native == 0)
        seen[result] = seen.get(result, 0) + 1
    assert set(seen) <= {"", "VmError", "VmFault", "NotSupported"}, seen
    if maker is not None:
        assert seen.get(""), seen
        assert seen.get("VmFault"), seen
