"""Native code: memory protection, the cache of compiled code, batches of packets, life and death."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from osmia import codegen
from osmia.errors import UsageError, VmError
from osmia.isa import assemble
from osmia.isa.map_types import ARRAY, HASH, PROG_ARRAY
from osmia.objects import Cache
from osmia.vm._code import Code
from osmia.vm._jit import compile, generate_ir
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import Shape
from osmia.vm._native_image import NativeCode, read_object


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as made:
        yield made


def _around(line: str, address: int) -> bool:
    """Whether a line of /proc/self/maps is about the mapping that holds `address`."""
    low, high = (int(part, 16) for part in line.split()[0].split("-"))
    return low <= address < high


def test_nothing_is_writable_and_executable(machine: Machine) -> None:
    code = Code(assemble("r0 = 1\nexit"), machine)
    with compile(code, machine) as native:
        native.run()
        lines = Path("/proc/self/maps").read_text().splitlines()
        assert not [line for line in lines if "rwx" in line]
        ours = [
            line
            for line in lines
            if int(line.split("-")[0], 16) <= native.entry < int(line.split("-")[1].split()[0], 16)
        ]
        assert len(ours) == 1
        assert " r-xp " in ours[0]


def test_closing_unmaps(machine: Machine) -> None:
    native = compile(Code(assemble("r0 = 1\nexit"), machine), machine)
    assert native.run() == 1
    entry = native.entry
    native.close()
    native.close()
    assert not any(_around(line, entry) for line in Path("/proc/self/maps").read_text().splitlines())
    with pytest.raises(VmError, match="closed"):
        native.run()


def test_constants_and_jump_tables_are_relocated(machine: Machine) -> None:
    """A dense switch becomes a table of addresses or numbers beside the code."""
    cases = "".join(f"if r1 == {i} goto c{i}\n" for i in range(40))
    ends = "".join(f"c{i}:\nr0 = {i * i * 77 % 1000}\nr0 ^= r2\nr0 *= {i + 3}\nexit\n" for i in range(40))
    with compile(Code(assemble(f"{cases}r0 = -1\nexit\n{ends}"), machine), machine) as native:
        for i in range(40):
            assert native.run(i, 5) == ((i * i * 77 % 1000) ^ 5) * (i + 3)
        assert native.run(40) == (1 << 64) - 1


def test_calls_of_the_c_library(machine: Machine) -> None:
    """LLVM may turn a loop of stores into memset or memcpy: those are reached from low memory."""
    ir = """
        declare ptr @memset(ptr, i32, i64)
        define i64 @f(ptr %p) {
          call ptr @memset(ptr %p, i32 7, i64 100000)
          ret i64 3
        }
    """
    from osmia.syscalls.native import native_function

    region = machine.memory.allocate(100_001)
    with NativeCode(read_object(codegen.emit_native(ir))) as native:
        assert native_function(native.address("f"), 1)(region.base) == 3
    assert bytes(region.view) == b"\7" * 100_000 + b"\0"


TEXT = """
    *(u64 *)(r10 - 8) = 3
    r6 = r1
    r1 = map[fd:0]
    r2 = r10
    r2 += -8
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r0 = *(u64 *)(r0 + 0)
    r0 += r6
out:
    exit
"""


def test_cache(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hit needs no LLVM; addresses of this run's maps and helpers are put in."""
    os.chmod(tmp_path, 0o700)
    made = create_map(machine, Shape(HASH, 8, 8, 10, name="m"))
    made.update(struct.pack("<Q", 3), struct.pack("<Q", 40))
    with Cache.open(str(tmp_path)) as cache:
        with compile(Code(assemble(TEXT), machine, maps=[made]), machine, cache=cache) as native:
            assert native.run(2) == 42
        monkeypatch.setattr(codegen, "emit_native", lambda *_, **__: pytest.fail("LLVM was asked"))
        with Machine() as other:
            create_map(other, Shape(ARRAY, 4, 8, 10, name="first"))
            again = create_map(other, Shape(HASH, 8, 8, 10, name="m"))
            again.update(struct.pack("<Q", 3), struct.pack("<Q", 50))
            with compile(Code(assemble(TEXT), other, maps=[again]), other, cache=cache) as native:
                assert native.run(2) == 52


@pytest.mark.parametrize("change", ["text", "shape", "mock", "checked"])
def test_cache_tells_programs_apart(machine: Machine, tmp_path: Path, change: str) -> None:
    os.chmod(tmp_path, 0o700)
    shape = Shape(HASH, 8, 8, 10, name="m")
    made = create_map(machine, shape)
    made.update(struct.pack("<Q", 3), struct.pack("<Q", 40))
    with Cache.open(str(tmp_path)) as cache:
        with compile(Code(assemble(TEXT), machine, maps=[made]), machine, cache=cache) as native:
            assert native.run(2) == 42
        text = TEXT.replace("r0 += r6", "r0 -= r6") if change == "text" else TEXT
        if change == "shape":
            made = create_map(machine, Shape(HASH, 8, 8, 1000, name="m"))
        if change == "mock":
            machine.mock("map_lookup_elem", 0)
        with compile(
            Code(assemble(text), machine, maps=[made]), machine, cache=cache, checked=change == "checked"
        ) as native:
            assert native.run(2) == {"text": 38, "shape": 0, "mock": 0, "checked": 42}[change]
        assert len(list(tmp_path.glob("*.obj"))) == 2


def test_a_damaged_cache_entry_is_not_run(machine: Machine, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)
    with Cache.open(str(tmp_path)) as cache:
        code = Code(assemble("r0 = 5\nexit"), machine)
        compile(code, machine, cache=cache).close()
        (entry,) = tmp_path.glob("*.obj")
        raw = bytearray(entry.read_bytes())
        raw[-10] ^= 1
        entry.write_bytes(raw)
        with compile(code, machine, cache=cache) as native:
            assert native.run() == 5


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, osmia.vm; dear = 'ctypes', 'llvmlite', 'osmia.codegen._llvm', 'osmia.syscalls'; "
        "bad = [m for m in dear if m in sys.modules]; assert not bad, bad"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_memory_is_written_where_the_program_says(machine: Machine) -> None:
    text, _ = generate_ir(Code(assemble("*(u64 *)(r10 - 8) = 1\nr0 = *(u64 *)(r10 - 8)\nexit"), machine))
    assert "alloca [512 x i8]" in text, "a frame that nobody else sees is a local variable"
    text, _ = generate_ir(Code(assemble("*(u64 *)(r10 - 8) = 1\nr0 = r10\nexit"), machine))
    assert "alloca [512 x i8]" not in text


FILTER = """
    r2 = *(u32 *)(r1 + 4)
    r1 = *(u32 *)(r1 + 0)
    r0 = 0
    r3 = r1
    r3 += 14
    if r3 > r2 goto out
    r4 = *(u16 *)(r1 + 12)
    r0 = 1
    if r4 == 0x8 goto out
    r0 = 2
out:
    exit
"""


def _packets(machine: Machine, kinds: list[int]) -> tuple[object, array[int], array[int]]:
    region = machine.memory.allocate(64 * max(len(kinds), 1), "packets", low=True)
    offsets, lengths = array("I"), array("I")
    for i, kind in enumerate(kinds):
        struct.pack_into("<H", region.view, 64 * i + 12, 8 if kind == 1 else 0x86DD)
        offsets.append(64 * i)
        lengths.append(10 if kind == 0 else 60)
    return region, offsets, lengths


@pytest.mark.parametrize("checked", [True, False])
def test_many_packets(machine: Machine, checked: bool) -> None:
    kinds = [(i * 7 + i // 5) % 3 for i in range(5000)]
    region, offsets, lengths = _packets(machine, kinds)
    with compile(Code(assemble(FILTER), machine, type=6), machine, checked=checked) as native:
        got = native.run_many(region, offsets, lengths)
    assert got.done == 5000
    assert list(got.verdicts) == kinds
    assert got.histogram[:4] == (kinds.count(0), kinds.count(1), kinds.count(2), 0)


def test_many_packets_that_do_not_fit(machine: Machine) -> None:
    region, offsets, _ = _packets(machine, [1, 1])
    with compile(Code(assemble(FILTER), machine), machine) as native:
        assert native.run_many(region, array("I"), array("I")).done == 0
        with pytest.raises(UsageError, match="over the end"):
            native.run_many(region, offsets, array("I", [60, 65]))
        with pytest.raises(UsageError, match="offsets"):
            native.run_many(region, offsets, array("I", [60]))
        with pytest.raises(UsageError, match="4 GiB"):
            native.run_many(machine.memory.allocate(64), array("I", [0]), array("I", [60]))


def test_a_batch_ends_with_an_error(machine: Machine) -> None:
    seen = []

    def helper(m: Machine, *_: int) -> int:
        seen.append(1)
        if len(seen) == 3:
            raise ValueError("third")
        return 0

    machine.mock("probe_read", helper)
    region, offsets, lengths = _packets(machine, [1] * 10)
    with compile(Code(assemble("call bpf_probe_read\nexit"), machine), machine) as native:
        with pytest.raises(ValueError, match="third"):
            native.run_many(region, offsets, lengths)
        assert len(seen) == 3
        assert native.run_many(region, offsets, lengths).done == 10


@pytest.mark.parametrize("checked", [True, False])
def test_tail_calls_are_counted_by_packet(machine: Machine, checked: bool) -> None:
    table = create_map(machine, Shape(PROG_ARRAY, 4, 4, 1, name="jumps"))
    table.set(0, Code(assemble("r0 = 2\nexit"), machine, type=6, name="target"))  # type: ignore[attr-defined]
    kinds = [1] * 100
    region, offsets, lengths = _packets(machine, kinds)
    text = "r2 = map[fd:0]\nr3 = 0\ncall bpf_tail_call\nr0 = 1\nexit"
    with compile(Code(assemble(text), machine, type=6, maps=[table]), machine, checked=checked) as native:
        got = native.run_many(region, offsets, lengths)
    assert list(got.verdicts) == [2] * 100
    assert (got.done, got.histogram[2]) == (100, 100)
