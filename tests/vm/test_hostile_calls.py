"""Calls that run wild: tail calls from functions, runs within runs, numbers that are no functions."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from _vm_run import ENGINES, execute

from osmia.errors import VmFault
from osmia.isa import MAP_TYPES, assemble
from osmia.vm._code import Code
from osmia.vm._interpreter import run
from osmia.vm._jit import compile
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import ARRAY, Shape
from osmia.vm._map_refs import FdArrayMap

engines = pytest.mark.parametrize("engine", ENGINES)
bounded = pytest.mark.parametrize("engine", ENGINES[:2])


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        yield made


def programs(machine: Machine) -> FdArrayMap:
    made = create_map(machine, Shape(MAP_TYPES["prog_array"], 4, 4, 2, name="t"))
    assert isinstance(made, FdArrayMap)
    return made


def go(code: Code, engine: str, *, r1: int = 0, fuel: int = 1_000_000) -> int:
    if engine == "interpreter":
        return run(code, code.machine, r1, fuel=fuel)
    with compile(code, code.machine, checked=engine == "checked JIT") as native:
        return native.run(r1, fuel=fuel)


# Adds 1 to the first number of map 1.
COUNT = """
    *(u32 *)(r10 - 4) = 0
    r1 = map[fd:1]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto none{0}
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
none{0}:
"""


def descent(depth: int) -> str:
    """Functions that each use their stack and call the next; the last one tail-calls."""
    lines = ["r6 = r1", "call f0", "r0 = 7", "exit"]
    for n in range(depth):
        lines += [f"f{n}:", "r6 = r1", COUNT.format(n), "r1 = r6"]
        lines += [f"call f{n + 1}"] if n + 1 < depth else ["r2 = map[fd:0]", "r3 = 0", "call bpf_tail_call"]
        lines += ["r0 = 1", "exit"]
    return "\n".join(lines)


@engines
def test_tail_calls_from_deep_functions_have_a_stack(engine: str, machine: Machine) -> None:
    """34 programs of 8 frames: verified programs do that, and the kernel lets them."""
    table, numbers = programs(machine), create_map(machine, Shape(ARRAY, 4, 8, 1, name="n"))
    code = Code(assemble(descent(7)), machine, maps=[table, numbers])
    table.set(0, code)
    assert go(code, engine) == 7
    assert numbers.lookup(bytes(4)) == (34 * 7).to_bytes(8, "little")


KEEP = """
    r6 = r1
    r1 = r10
    r1 += -8
    r7 = 77
    *(u64 *)(r1 + 0) = r7
    r1 = r6
    call f
    r1 = r10
    r1 += -8
    r0 = *(u64 *)(r1 + 0)
    exit
f:
    r2 = map[fd:0]
    r3 = 0
    call bpf_tail_call
    r0 = 1
    exit
"""


@engines
def test_tail_calls_leave_the_frames_of_callers_alone(engine: str, machine: Machine) -> None:
    table = programs(machine)
    other = "r1 = r10\nr1 += -8\nr7 = 13\n*(u64 *)(r1 + 0) = r7\nr0 = *(u64 *)(r1 + 0)\nexit"
    table.set(0, Code(assemble(other), machine))
    assert go(Code(assemble(KEEP), machine, maps=[table]), engine) == 77


@engines
def test_tail_calls_are_counted_by_run(engine: str, machine: Machine) -> None:
    """Two programs that call each other twice, each time: 33 in all, not 2 ** 33."""
    table, numbers = programs(machine), create_map(machine, Shape(ARRAY, 4, 8, 1, name="n"))
    text = "r6 = r1\ncall f\nr1 = r6\ncall f\nr0 = 7\nexit\nf:\nr6 = r1\n" + COUNT.format(0)
    text += "r1 = r6\nr2 = map[fd:0]\nr3 = {0}\ncall bpf_tail_call\nr0 = 1\nexit"
    codes = [Code(assemble(text.format(n)), machine, maps=[table, numbers]) for n in (1, 0)]
    for n, code in enumerate(codes):
        table.set(n, code)
    assert go(codes[0], engine, fuel=100_000) == 7
    assert numbers.lookup(bytes(4)) == (68).to_bytes(8, "little")


@bounded
def test_a_run_within_a_run_has_its_own_fuel(engine: str, machine: Machine) -> None:
    """A mocked helper that runs the same program must not refill what the outer run has left."""
    calls = [0]

    def again(*_: int) -> int:
        calls[0] += 1
        assert calls[0] < 2000, "the run does not end"
        if machine.depth == 1:
            inner(1)
        return 0

    machine.mock("jiffies64", again)
    code = Code(assemble("if r1 != 0 goto out\nl:\ncall bpf_jiffies64\nif r0 != 5 goto l\nout:\nr0 = 0\nexit"), machine)
    if engine == "interpreter":
        inner = lambda r1: run(code, machine, r1, fuel=1000)  # noqa: E731
    else:
        native = compile(code, machine, checked=True)
        inner = lambda r1: native.run(r1, fuel=1000)  # noqa: E731
    with pytest.raises(VmFault) as caught:
        inner(0)
    assert caught.value.kind == "fuel"
    assert machine.depth == 0


@bounded
@pytest.mark.parametrize("number", [12, 1 << 32, 1 << 63, (1 << 64) - 1, 0xFFFF_C000_0000_0000])
def test_numbers_that_are_no_function(engine: str, machine: Machine, number: int) -> None:
    table = programs(machine)
    table.set(0, Code(assemble("r0 = 77\nexit"), machine))
    callx = struct.pack("<BBhi", 0x8D, 6, 0, 0)
    insns = assemble(f"r2 = map[fd:0]\nr3 = 0\nr6 = {number:#x} ll") + callx + assemble("exit")
    with pytest.raises(VmFault) as caught:
        execute(insns, engine, machine=machine, maps=[table])
    assert caught.value.kind == "call"
