"""Random and half-random bytes as programs, in checked mode: only our own errors come out."""

from __future__ import annotations

import os
import random

import pytest
from _vm_programs import make

from osmia.errors import OsmiaError, VmFault
from osmia.isa.map_types import ARRAY, HASH
from osmia.vm._code import Code
from osmia.vm._code_check import FIELDS
from osmia.vm._interpreter import run
from osmia.vm._jit import compile
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import Shape

OPCODES = sorted(FIELDS)


def _random(r: random.Random) -> bytes:
    """Instructions with fields that are mostly allowed, so that many of them load."""
    count = r.randint(1, 12)
    out = bytearray(b"\xbf\xa9" + bytes(6))  # r9 = r10: the frame lies where all engines share it
    for k in range(count):
        opcode = r.choice(OPCODES)
        fields = FIELDS[opcode]
        cls, code = opcode & 7, opcode & 0xF0
        dst = r.choice((*range(10), 1, 9, 10) if not fields & 16 else range(10)) if fields & 1 else 0
        src = r.choice((*range(11), 1, 9)) if fields & 2 else 0
        off = r.choice((0, 1, -8, -16, -512, 2, 8, r.randint(-20, 20))) if fields & 4 else 0
        imm = r.choice((0, 1, 8, 16, 32, 64, -1, 5, r.getrandbits(31))) if fields & 8 else 0
        if opcode == 0x18:
            src = r.choice((0, 0, 1, 2))
            imm = r.choice((0, 1)) if src else imm
        elif opcode == 0x85:
            src, imm = 0, r.choice((1, 2, 3, 8, 14, 12))
        elif cls in (4, 7):
            off = r.choice((0, 0, 8, 16)) if code == 0xB0 and fields & 4 else off & 1
            imm = r.choice((16, 32, 64)) if code == 0xD0 else imm
        elif opcode & 0xE7 == 0xC3:
            imm = r.choice((0, 1, 0x41, 0x50, 0xA1, 0xE1, 0xF1, 0x100, 0x110))
            opcode = opcode | 0x18 if r.random() < 0.5 else opcode & ~0x18
        elif cls in (5, 6) and opcode not in (0x85, 0x8D, 0x95) and r.random() < 0.9:
            imm, off = (r.randint(-k, count - k), 0) if opcode == 0x06 else (imm, r.randint(-k, count - k))
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


@pytest.mark.parametrize(("maker", "count", "native"), [(_random, 1500, 12), (_mutated, 250, 10), (None, 1500, 1)])
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


def _outcome(engine: object, region: object, base: int) -> object:
    """r0, or which fault where; the context's and the stack's bytes begin alike."""
    region.view[:] = bytes(range(256))  # type: ignore[attr-defined]
    try:
        return engine(base, 256, fuel=5000)  # type: ignore[operator]
    except VmFault as fault:
        return None if fault.kind == "fuel" else (fault.kind, fault.insn, fault.address, fault.size)
    except OsmiaError as error:
        return type(error).__name__


def agree(insns: bytes) -> bool | None:
    """Whether interpreter and checked native code do the same; None when it does not load or runs out of fuel."""
    with Machine(memory_limit=8 << 20) as machine:
        machine.world.clock = 5
        machine.world.random = lambda: 4
        maps = [create_map(machine, Shape(kind, 4, 64, 4, name="m")) for kind in (ARRAY, ARRAY)]
        region = machine.memory.allocate(256, "context")
        try:
            code = Code(insns, machine, maps=maps)
        except OsmiaError:
            return None
        stack = machine.memory.find(machine.stack_top - 8, 8)
        assert stack is not None
        wanted = _outcome(lambda a, b, fuel: run(code, machine, a, b, fuel=fuel), region, region.base)
        for made in maps:
            made.zero()
        stack.view[:] = bytes(stack.size)
        with compile(code, machine, checked=True, level=1) as native:
            got = _outcome(native.run, region, region.base)
        return None if wanted is None or got is None else wanted == got


def test_engines_agree_on_faults() -> None:
    seed = int(os.environ.get("OSMIA_SEED", "0")) or random.randrange(1 << 30)
    print("seed", seed)
    r = random.Random(seed)
    agreed = 0
    for _ in range(300):
        insns = _random(r)
        result = agree(insns)
        assert result is not False, insns.hex()
        agreed += bool(result)
    assert agreed > 30
