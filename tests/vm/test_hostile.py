"""Programs that no verifier saw, in checked mode: a typed fault that says where, and a machine that goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from _vm_run import execute

from osmia.errors import VmError, VmFault
from osmia.isa import Instruction, encode
from osmia.isa.map_types import ARRAY, HASH
from osmia.vm._machine import MAP_HANDLES, Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import Shape

pytestmark = pytest.mark.parametrize("engine", ["interpreter", "checked JIT"])


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        yield made


def _fault(program: str | bytes, engine: str, machine: Machine, **given: object) -> VmFault:
    with pytest.raises(VmFault) as caught:
        execute(program, engine, machine=machine, **given)  # type: ignore[arg-type]
    assert execute("r0 = 1\nexit", engine, machine=machine) == 1, "the machine is still good"
    return caught.value


@pytest.mark.parametrize("address", [0, 8, 4096, 0xDEAD_BEEF_0000, (1 << 64) - 1, (1 << 64) - 8, 1 << 63, MAP_HANDLES])
@pytest.mark.parametrize("access", ["r0 = *(u64 *)(r1 + 0)", "*(u8 *)(r1 + 0) = 1", "lock *(u64 *)(r1 + 0) += r2"])
def test_wild_pointers(engine: str, machine: Machine, address: int, access: str) -> None:
    fault = _fault(f"r2 = 1\n{access}\nexit", engine, machine, r1=address)
    assert (fault.kind in ("read", "write"), fault.insn, fault.address) == (True, 1, address)


@pytest.mark.parametrize("size", [8, 16, 100, 4096])
def test_ends_of_a_region(engine: str, machine: Machine, size: int) -> None:
    region = machine.memory.allocate(size, "data")
    load = "r2 = *(u64 *)(r1 + 0)\nr0 = *({0} *)(r1 + {1})\nexit"
    for width, name in ((1, "u8"), (2, "u16"), (4, "u32"), (8, "u64")):
        execute(load.format(name, size - width), engine, machine=machine, r1=region.base)
        fault = _fault(load.format(name, size - width + 1), engine, machine, r1=region.base)
        assert (fault.kind, fault.insn, fault.address, fault.size) == ("read", 1, region.base + size - width + 1, width)
        assert "data" in str(fault)
        assert (
            _fault(load.replace("+ {1}", "- 1").format(name), engine, machine, r1=region.base).address
            == region.base - 1
        )


def test_offsets_wrap_around(engine: str, machine: Machine) -> None:
    region = machine.memory.allocate(64, "data")
    assert execute("r1 -= 16\nr0 = *(u8 *)(r1 + 16)\nexit", engine, machine=machine, r1=region.base) == 0
    assert _fault("r0 = *(u8 *)(r1 - 1)\nexit", engine, machine, r1=0).address == (1 << 64) - 1


def test_read_only_memory(engine: str, machine: Machine) -> None:
    region = machine.memory.allocate(64, "constants", writable=False)
    assert execute("r0 = *(u64 *)(r1 + 8)\nexit", engine, machine=machine, r1=region.base) == 0
    fault = _fault("r0 = *(u64 *)(r1 + 8)\n*(u64 *)(r1 + 8) = 1\nexit", engine, machine, r1=region.base)
    assert (fault.kind, fault.insn) == ("write", 1)
    assert "read-only" in str(fault)


def test_memory_that_was_freed(engine: str, machine: Machine) -> None:
    region = machine.memory.allocate(64, "gone")
    machine.mock("probe_read", lambda m, *_: m.memory.free(region) or 0)
    fault = _fault("r6 = r1\nr2 = *(u64 *)(r6 + 0)\ncall bpf_probe_read\nr2 = *(u64 *)(r6 + 0)\nexit", engine, machine,
                   r1=region.base)  # fmt: skip
    assert fault.insn == 3


def test_the_stack_has_ends(engine: str, machine: Machine) -> None:
    assert _fault("r1 = r10\nr0 = *(u64 *)(r1 + 0)\nexit", engine, machine).kind == "read"
    assert _fault("r0 = *(u64 *)(r10 + 0)\nexit", engine, machine).kind == "read"
    assert _fault("r1 = r10\nr1 -= 100000000\n*(u64 *)(r1 + 0) = 1\nexit", engine, machine).kind == "write"


def test_atomics_must_be_aligned(engine: str, machine: Machine) -> None:
    region = machine.memory.allocate(64, "data")
    assert _fault("r2 = 1\nlock *(u64 *)(r1 + 4) += r2\nexit", engine, machine, r1=region.base).kind == "atomic"
    assert _fault("r2 = 1\nlock *(u32 *)(r1 + 2) += r2\nexit", engine, machine, r1=region.base).kind == "atomic"


@pytest.mark.parametrize(
    "program",
    [
        "l:\ngoto l",
        "l:\nr1 += 1\nif r1 != 0 goto l\nexit",
        "l:\ncall f\ngoto l\nf:\nr0 = 0\nexit",
        "r0 = 1\nl:\nif r0 == 0 goto out\ncall bpf_ktime_get_ns\ngoto l\nout:\nexit",
    ],
)
def test_endless_loops(engine: str, machine: Machine, program: str) -> None:
    started = time.monotonic()
    assert _fault(program, engine, machine, fuel=200_000).kind == "fuel"
    assert time.monotonic() - started < 20


def test_endless_callbacks(engine: str, machine: Machine) -> None:
    program = "l:\nr1 = 8000000\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall bpf_loop\ngoto l\nf:\nr0 = 0\nexit"
    assert _fault(program, engine, machine, fuel=300_000).kind == "fuel"


@pytest.mark.parametrize(
    "program", ["call f\nexit\nf:\ncall f\nexit", "call f\nexit\nf:\ncall g\nexit\ng:\ncall f\nexit"]
)
def test_endless_recursion(engine: str, machine: Machine, program: str) -> None:
    assert _fault(program, engine, machine).kind == "depth"


def test_recursion_through_callbacks(engine: str, machine: Machine) -> None:
    program = """
        r7 = subprog[f]
        if r7 == 0 goto f1
    f1:
        r1 = 2
        r2 = r7
        r3 = 0
        r4 = 0
        call bpf_loop
        exit
    f:
        r7 = subprog[f]
        if r7 == 0 goto f2
    f2:
        r1 = 2
        r2 = r7
        r3 = 0
        r4 = 0
        call bpf_loop
        r0 = 0
        exit
    """
    assert _fault(program, engine, machine).kind == "depth"
    assert machine.depth == 0


def test_helpers_do_not_trust_pointers(engine: str, machine: Machine) -> None:
    array = create_map(machine, Shape(ARRAY, 4, 8, 4, name="a"))
    table = create_map(machine, Shape(HASH, 8, 8, 4, name="h"))
    for call in ("bpf_map_lookup_elem", "bpf_map_update_elem", "bpf_map_delete_elem"):
        for made in (array, table):
            fault = _fault(f"r1 = map[fd:0]\nr2 = 64\nr3 = 64\nr4 = 0\ncall {call}\nexit", engine, machine, maps=[made])
            assert fault.address == 64
        assert _fault(f"r1 = 5\nr2 = r10\nr2 += -8\nr3 = r2\nr4 = 0\ncall {call}\nexit", engine, machine).kind == "call"


def test_pointers_to_functions_and_maps_are_no_memory(engine: str, machine: Machine) -> None:
    assert _fault("r1 = subprog[f]\nr0 = *(u8 *)(r1 + 0)\nexit\nf:\nr0 = 0\nexit", engine, machine).kind == "read"
    made = create_map(machine, Shape(ARRAY, 4, 8, 4, name="a"))
    assert _fault("r1 = map[fd:0]\n*(u8 *)(r1 + 0) = 1\nexit", engine, machine, maps=[made]).kind == "write"


BAD = [
    (b"", "no instructions"),
    (b"\x95\0\0", "no whole number"),
    (encode([Instruction(0xB7)]), "past its end"),
    (encode([Instruction(0x05, 0, 0, 5), Instruction(0x95)]), "outside of its function"),
    (encode([Instruction(0x05, 0, 0, -2), Instruction(0x95)]), "outside of its function"),
    (encode([Instruction(0x05, 0, 0, 1), Instruction(0x18), Instruction(0), Instruction(0x95)]), "outside"),
    (encode([Instruction(0xFF), Instruction(0x95)]), "no such instruction"),
    (encode([Instruction(0xB7, 12), Instruction(0x95)]), "registers"),
    (encode([Instruction(0xB7, 10), Instruction(0x95)]), "frame pointer"),
    (encode([Instruction(0xB7, 1, 2), Instruction(0x95)]), "not zero"),
    (encode([Instruction(0xD4, 1, 0, 0, 24), Instruction(0x95)]), "16, 32 or 64"),
    (encode([Instruction(0xDB, 1, 2, 0, 0x77), Instruction(0x95)]), "atomic"),
    (encode([Instruction(0xCB, 1, 2, 0, 0), Instruction(0x95)]), "4 or 8 bytes"),
    (encode([Instruction(0x85, 0, 1, 0, 100), Instruction(0x95)]), "no function"),
    (encode([Instruction(0x18, 1, 1, 0, 3), Instruction(0), Instruction(0x95)]), "no map 3"),
    (encode([Instruction(0x18, 1, 3, 0, 3), Instruction(0), Instruction(0x95)]), "kernel variables"),
]


@pytest.mark.parametrize(("insns", "why"), BAD)
def test_malformed_programs_do_not_load(engine: str, machine: Machine, insns: bytes, why: str) -> None:
    with pytest.raises(VmError, match=why):
        execute(insns, engine, machine=machine)


def test_the_memory_limit_holds(engine: str) -> None:
    with Machine(memory_limit=1 << 20) as machine:
        with pytest.raises(VmError, match="limit"):
            machine.memory.allocate(1 << 20)
        region = machine.memory.allocate(1 << 19)
        machine.memory.free(region)
        machine.memory.allocate(1 << 19)


def test_helpers_do_not_trust_the_type_of_a_map(engine: str, machine: Machine) -> None:
    made = create_map(machine, Shape(ARRAY, 4, 8, 4, name="numbers"))
    program = "r0 = 0\nr1 = map[fd:0]\nr2 = r10\nr2 += -8\nr3 = 8\nr4 = 0\ncall bpf_ringbuf_output\nexit"
    fault = _fault(program, engine, machine, maps=[made])
    assert fault.kind == "call"


def test_other_attribute_errors_are_the_helpers_own(engine: str, machine: Machine) -> None:
    machine.mock("probe_read", lambda m, *_: m.no_such_thing)
    with pytest.raises(AttributeError, match="no_such_thing"):
        execute("call bpf_probe_read\nexit", engine, machine=machine)


@pytest.mark.parametrize("address", [-8, -4096, 0x7FFFFFF0, -0x7FFFFFF0, 0x40000000, 0x80000000, 64])
def test_pointers_made_of_constants(engine: str, machine: Machine, address: int) -> None:
    """LLVM folds such an address into the instruction, where it may be out of reach."""
    for access in ("r0 = *(u64 *)(r1 + 0)", "*(u32 *)(r1 + 4) = 7", "lock *(u64 *)(r1 + 0) += r2"):
        load = f"r1 = {address & (1 << 64) - 1:#x} ll"
        assert _fault(f"r2 = 1\n{load}\n{access}\nexit", engine, machine).kind in ("read", "write")
    text = f"r1 = {address & (1 << 64) - 1:#x} ll\nr2 = r1\nr3 = r10\nr3 += -8\nr4 = 0\ncall bpf_map_lookup_elem\nexit"
    assert _fault(text, engine, machine).kind == "call"
