"""Instructions, calls and memory in interpreter, checked and unchecked native code: the same answers."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from _vm_run import ENGINES, execute

from osmia.errors import NotSupported, VmFault
from osmia.isa import Instruction, encode
from osmia.isa.map_types import ARRAY, HASH, LRU_HASH, PERCPU_ARRAY, PERCPU_HASH, PROG_ARRAY
from osmia.vm._code import Code
from osmia.vm._interpreter import run
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import Shape
from osmia.vm._world import World

M = (1 << 64) - 1
pytestmark = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine(world=World(cpus=2)) as made:
        yield made


ARITHMETIC = [
    ("r0 = 7\nr0 *= -3\nexit", -21 & M),
    ("r0 = 0x100000000 ll\nw0 += 5\nexit", 5),
    ("r0 = -1\nr0 /= 0\nexit", 0),
    ("r0 = -7\nr1 = 0\nr0 %= r1\nexit", -7 & M),
    ("r0 = -7\nr1 = 0\nw0 %= w1\nexit", 0xFFFFFFF9),
    ("r0 = -7\nr0 s/= 2\nexit", -3 & M),
    ("r0 = -7\nr0 s%= 2\nexit", -1 & M),
    ("r0 = 0x8000000000000000 ll\nr1 = -1\nr0 s/= r1\nexit", 1 << 63),
    ("r0 = 0x8000000000000000 ll\nr1 = -1\nr0 s%= r1\nexit", 0),
    ("r0 = 0x80000000 ll\nw0 s/= -1\nexit", 0x80000000),
    ("r0 = 1\nr1 = 65\nr0 <<= r1\nexit", 2),
    ("r0 = -8\nr1 = 33\nw0 s>>= w1\nexit", 0xFFFFFFFC),
    ("r1 = 0x1234567880 ll\nr0 = (s8)r1\nexit", -128 & M),
    ("r1 = 0x8000 ll\nw0 = (s16)w1\nexit", 0xFFFF8000),
    ("r0 = 0x1122334455667788 ll\nr0 = be32 r0\nexit", 0x88776655),
    ("r0 = 0x1122334455667788 ll\nr0 = bswap64 r0\nexit", 0x8877665544332211),
    ("r0 = 0x1122334455667788 ll\nr0 = le16 r0\nexit", 0x7788),
    ("r0 = -1\nw0 = -w0\nexit", 1),
    ("r1 = -1\nr0 = 1\nif w1 == 0xffffffff goto +1\nr0 = 2\nexit", 1),
    ("r1 = -1\nr0 = 1\nif r1 s< 0 goto +1\nr0 = 2\nexit", 1),
    ("r0 = 0\nr1 = 6\nif r1 & 0x8 goto +1\nr0 = 3\nexit", 3),
]


@pytest.mark.parametrize(("program", "wanted"), ARITHMETIC)
def test_arithmetic(engine: str, machine: Machine, program: str, wanted: int) -> None:
    assert execute(program.replace("goto +", "goto pc+"), engine, machine=machine) == wanted


def test_memory_of_every_size(engine: str, machine: Machine) -> None:
    region = machine.memory.allocate(64, "data")
    region.view[:16] = struct.pack("<Qq", 0x1122334455667788, -2)
    program = """
        r0 = *(u8 *)(r1 + 0)
        r2 = *(s8 *)(r1 + 0)
        r0 += r2
        r2 = *(u16 *)(r1 + 2)
        r0 += r2
        r2 = *(s32 *)(r1 + 8)
        r0 += r2
        *(u8 *)(r1 + 16) = r0
        *(u16 *)(r1 + 18) = 0x1234
        *(u32 *)(r1 + 21) = r0
        *(u64 *)(r1 + 32) = -5
        exit
    """
    wanted = (0x88 - 0x78 + 0x5566 - 2) & M
    assert execute(program, engine, machine=machine, r1=region.base) == wanted
    assert region.view[16] == wanted & 0xFF
    assert struct.unpack_from("<H", region.view, 18) == (0x1234,)
    assert struct.unpack_from("<I", region.view, 21) == (wanted & 0xFFFFFFFF,)
    assert struct.unpack_from("<q", region.view, 32) == (-5,)


def test_atomics(engine: str, machine: Machine) -> None:
    region = machine.memory.allocate(64, "data")
    region.view[:8] = struct.pack("<II", 5, 0xFFFFFFFF)
    program = """
        r2 = 3
        r2 = atomic64_fetch_add((u64 *)(r1 + 8), r2)
        r3 = 1
        r3 = atomic_fetch_add((u32 *)(r1 + 4), r3)
        r0 = 5
        r4 = 9
        r0 = atomic_cmpxchg((u32 *)(r1 + 0), r0, r4)
        r5 = 0xf0
        lock *(u64 *)(r1 + 8) |= r5
        r6 = 1
        r6 = atomic64_xchg((u64 *)(r1 + 16), r6)
        r0 += r3
        r0 += r2
        r0 += r6
        exit
    """
    assert execute(program, engine, machine=machine, r1=region.base) == 5 + 0xFFFFFFFF
    assert struct.unpack_from("<IIQQ", region.view) == (9, 0, 0xF3, 1)


def test_acquire_and_release(engine: str, machine: Machine) -> None:
    region = machine.memory.allocate(16, "data")
    program = encode(
        [
            Instruction(0xB7, 2, 0, 0, 77),
            Instruction(0xDB, 1, 2, 8, 0x110),  # store_release((u64 *)(r1 + 8), r2)
            Instruction(0xC3, 0, 1, 8, 0x100),  # w0 = load_acquire((u32 *)(r1 + 8))
            Instruction(0x95),
        ]
    )
    assert execute(program, engine, machine=machine, r1=region.base) == 77


def test_local_calls_keep_registers_and_frames(engine: str, machine: Machine) -> None:
    program = """
        r6 = 10
        r7 = 20
        *(u64 *)(r10 - 8) = 1
        r1 = 3
        call twice
        r0 += r6
        r0 += r7
        r1 = *(u64 *)(r10 - 8)
        r0 += r1
        exit
    twice:
        r6 = r1
        *(u64 *)(r10 - 8) = 99
        r1 = r10
        r1 += -8
        call read
        r0 += r6
        r0 += r6
        exit
    read:
        *(u64 *)(r10 - 8) = 5
        r0 = *(u64 *)(r1 + 0)
        exit
    """
    assert execute(program, engine, machine=machine) == 99 + 6 + 30 + 1


def test_may_goto_ends_a_loop(engine: str, machine: Machine) -> None:
    # On an engine that ran all of the budget this would be 8,388,608; here the program leaves earlier.
    body = [
        Instruction(0xB7, 0),
        Instruction(0xE5, 0, 0, 2),
        Instruction(0x07, 0, 0, 0, 1),
        Instruction(0xA5, 0, 0, -3, 1000),
        Instruction(0x95),
    ]
    assert execute(encode(body), engine, machine=machine) == 1000
    if engine == "JIT":
        body[3] = Instruction(0x05, 0, 0, -3)
        assert execute(encode(body), engine, machine=machine) == 8 << 20


def test_helpers_get_and_give_64_bits(engine: str, machine: Machine) -> None:
    seen = []

    def helper(machine: Machine, *numbers: int) -> int:
        seen.append(numbers)
        return -2

    machine.mock("probe_read", helper)
    program = "r1 = -1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 0x8000000000000000 ll\ncall bpf_probe_read\nexit"
    assert execute(program, engine, machine=machine) == -2 & M
    assert seen == [(M, 2, 3, 4, 1 << 63)]


def test_what_a_helper_raises_comes_out(engine: str, machine: Machine) -> None:
    class Mine(Exception):
        pass

    def helper(machine: Machine, *numbers: int) -> int:
        raise Mine("here")

    machine.mock("probe_read", helper)
    calls: list[int] = []
    machine.mock("probe_write_user", lambda m, *_: calls.append(1) or 0)
    program = """
        call inner
        call bpf_probe_write_user
        exit
    inner:
        call bpf_probe_read
        call bpf_probe_write_user
        exit
    """
    with pytest.raises(Mine, match="here"):
        execute(program, engine, machine=machine)
    assert calls == []
    assert machine.pending is None
    assert execute("r0 = 1\nexit", engine, machine=machine) == 1


def test_missing_helpers_are_named_when_loading(engine: str, machine: Machine) -> None:
    with pytest.raises(NotSupported, match="bpf_sys_bpf") as caught:
        execute("call bpf_sys_bpf\nexit", engine, machine=machine, name="mine")
    assert "mine" in str(caught.value)


def test_world_in_place(engine: str, machine: Machine) -> None:
    machine.world.set_task(pid=7, tgid=5, comm="x", uid=1000, gid=100)
    machine.world.cpu = 1
    assert execute("call bpf_get_current_pid_tgid\nexit", engine, machine=machine) == 5 << 32 | 7
    assert execute("call bpf_get_current_uid_gid\nexit", engine, machine=machine) == 100 << 32 | 1000
    assert execute("call bpf_get_smp_processor_id\nexit", engine, machine=machine) == 1
    machine.world.clock = 12345
    assert execute("call bpf_ktime_get_ns\nexit", engine, machine=machine) == 12345
    machine.world.clock = None
    import time

    before = time.monotonic_ns()
    assert before <= execute("call bpf_ktime_get_ns\nexit", engine, machine=machine) <= time.monotonic_ns()
    machine.mock("ktime_get_ns", 3)
    assert execute("call bpf_ktime_get_ns\nexit", engine, machine=machine) == 3


COUNT = """
    r6 = r1
    r1 = 10
    r2 = subprog[add]
    r3 = r10
    r3 += -8
    r4 = 0
    *(u64 *)(r10 - 8) = 0
    call bpf_loop
    r1 = *(u64 *)(r10 - 8)
    r0 <<= 32
    r0 |= r1
    exit
add:
    r3 = *(u64 *)(r2 + 0)
    r3 += r1
    *(u64 *)(r2 + 0) = r3
    r0 = 0
    if r1 < 6 goto out
    r0 = 1
out:
    exit
"""


@pytest.mark.parametrize("direct", [True, False])
def test_callbacks(engine: str, machine: Machine, direct: bool) -> None:
    """Ten rounds were asked for; the function stops in the seventh. In native code the loop may be in place or not."""
    program = (
        COUNT if direct else COUNT.replace("r2 = subprog[add]", "r7 = subprog[add]\nif r6 == 1 goto l\nl:\nr2 = r7")
    )
    assert execute(program, engine, machine=machine) == 7 << 32 | sum(range(7))


def test_limits_of_bpf_loop(engine: str, machine: Machine) -> None:
    assert execute(COUNT.replace("r1 = 10", "r1 = 0x800001 ll"), engine, machine=machine) >> 32 == -7 & 0xFFFFFFFF
    assert execute(COUNT.replace("r4 = 0", "r4 = 1"), engine, machine=machine) >> 32 == -22 & 0xFFFFFFFF


def test_errors_in_callbacks_come_out(engine: str, machine: Machine) -> None:
    def helper(machine: Machine, *numbers: int) -> int:
        raise KeyboardInterrupt

    machine.mock("probe_read", helper)
    indirect = "r7 = subprog[f]\nif r6 == 1 goto l\nl:\nr2 = r7\n"
    for way in (indirect, "r2 = subprog[f]\n"):
        text = (
            f"r6 = r1\n{way}r1 = 3\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\nf:\ncall bpf_probe_read\nr0 = 0\nexit"
        )
        with pytest.raises(KeyboardInterrupt):
            execute(text, engine, machine=machine)
        assert machine.depth == 0


def test_callx(engine: str, machine: Machine) -> None:
    text = "r6 = subprog[f]\nr1 = 4\ncallx r6\nexit\nf:\nr0 = r1\nr0 *= 2\nexit"
    insns = encode_callx(text)
    assert execute(insns, engine, machine=machine) == 8
    machine.mock(5, 11)
    assert execute(encode([Instruction(0xB7, 3, 0, 0, 5), Instruction(0x8D, 3), Instruction(0x95)]), engine,
                   machine=machine) == 11  # fmt: skip
    with pytest.raises(VmFault) as caught:
        execute(encode([Instruction(0xBF, 3, 10), Instruction(0x8D, 3), Instruction(0x95)]), engine, machine=machine)
    assert caught.value.kind == "call"


def encode_callx(text: str) -> bytes:
    from osmia.isa import assemble

    insns = bytearray(assemble(text.replace("callx r6", "r0 = 123")))
    at = insns.index(encode([Instruction(0xB7, 0, 0, 0, 123)]))
    insns[at : at + 8] = encode([Instruction(0x8D, 6)])
    return bytes(insns)


LOOKUP = """
    *(u64 *)(r10 - 8) = 0
    *(u32 *)(r10 - 8) = r1
    r1 = map[fd:0]
    r2 = r10
    r2 += -8
    call bpf_map_lookup_elem
    if r0 == 0 goto missing
    r0 = *(u32 *)(r0 + 4)
    exit
missing:
    r0 = -1
    exit
"""


@pytest.mark.parametrize("kind", [ARRAY, HASH, LRU_HASH, PERCPU_ARRAY, PERCPU_HASH])
@pytest.mark.parametrize("key_size", [4, 8, 6])
def test_lookups(engine: str, machine: Machine, kind: int, key_size: int) -> None:
    if kind in (ARRAY, PERCPU_ARRAY) and key_size != 4:
        return
    made = create_map(machine, Shape(kind, key_size, 8, 50, name="m", cpus=2))
    machine.world.cpu = 1
    copies = 2 if kind in (PERCPU_ARRAY, PERCPU_HASH) else 1
    for i in range(0, 50, 2):
        key = i.to_bytes(key_size, "little")
        made.update(key, b"".join(struct.pack("<II", c, 1000 * c + i) for c in range(copies)))
    for i in (0, 1, 2, 31, 48, 49, 50, 10**6):
        got = execute(LOOKUP, engine, machine=machine, r1=i, maps=[made])
        if i % 2 == 0 and i < 50:
            assert got == 1000 * (copies - 1) + i, i
        else:
            assert got == (0 if i < 50 and kind in (ARRAY, PERCPU_ARRAY) else M), i


def test_value_of_a_map_by_address(engine: str, machine: Machine) -> None:
    made = create_map(machine, Shape(ARRAY, 4, 16, 1, name="data"))
    text = "r1 = map[fd:0][0]+8\nr2 = 5\n*(u64 *)(r1 + 0) = r2\nr0 = 0\nexit"
    execute(text, engine, machine=machine, maps=[made])
    assert made.lookup(bytes(4)) == struct.pack("<QQ", 0, 5)


TAIL = "r6 = r1\nr2 = map[fd:0]\nr3 = 1\ncall bpf_tail_call\nr0 = 55\nexit"


def test_tail_calls(engine: str, machine: Machine) -> None:
    table = create_map(machine, Shape(PROG_ARRAY, 4, 4, 3, name="jumps"))
    assert execute(TAIL, engine, machine=machine, maps=[table]) == 55
    from osmia.isa import assemble

    table.set(1, Code(assemble("r0 = r1\nr0 += 1\nexit"), machine, name="target"))
    assert execute(TAIL, engine, machine=machine, r1=41, maps=[table]) == 42
    # Within a function, only that function is replaced.
    text = "call inner\nr0 += 100\nexit\ninner:\nr1 = 1\nr2 = map[fd:0]\nr3 = 1\ncall bpf_tail_call\nr0 = 0\nexit"
    assert execute(text, engine, machine=machine, maps=[table]) == 102


def test_tail_calls_are_limited(engine: str, machine: Machine) -> None:
    table = create_map(machine, Shape(PROG_ARRAY, 4, 4, 1, name="jumps"))
    counter = create_map(machine, Shape(ARRAY, 4, 8, 1, name="count"))
    from osmia.isa import assemble

    text = "r2 = map[fd:1][0]+0\nr3 = 1\nlock *(u64 *)(r2 + 0) += r3\nr2 = map[fd:0]\nr3 = 0\n"
    text += "call bpf_tail_call\nr0 = 7\nexit"
    table.set(0, Code(assemble(text), machine, maps=[table, counter], name="again"))
    assert execute(text, engine, machine=machine, maps=[table, counter]) == 7
    assert counter.lookup(bytes(4)) == (34).to_bytes(8, "little")


def test_packet_loads(engine: str, machine: Machine) -> None:
    context = machine.memory.allocate(192, "context")
    packet = machine.memory.allocate(64, "packet", low=True)
    packet.view[:20] = bytes(range(20))
    struct.pack_into("<II", context.view, 76, packet.base, packet.base + 20)
    text = "r6 = r1\nr7 = 2\nr0 = *({0} *)skb[{1}]\nexit"
    for size, at, wanted in (("u8", 3, 3), ("u16", 12, 0x0C0D), ("u32", 16, 0x10111213), ("u32", 17, 0), ("u8", 20, 0)):
        assert execute(text.format(size, at), engine, machine=machine, r1=context.base) == wanted, (size, at)
    assert execute(text.format("u16", "r7 + 2"), engine, machine=machine, r1=context.base) == 0x0405
    assert execute(text.format("u8", -0x100000), engine, machine=machine, r1=context.base) == 14
    assert execute(text.format("u8", -0x200000 + 1), engine, machine=machine, r1=context.base) == 1


def test_programs_can_run_again_and_inside_each_other(engine: str, machine: Machine) -> None:
    from osmia.isa import assemble

    inner = Code(assemble("*(u64 *)(r10 - 8) = r1\nr2 = r10\nr2 += -8\nr0 = *(u64 *)(r2 + 0)\nexit"), machine)
    machine.mock("probe_read", lambda m, r1, *_: run(inner, m, r1 + 1))
    text = (
        "*(u64 *)(r10 - 8) = 7\nr6 = r10\nr6 += -8\nr1 = 4\ncall bpf_probe_read\nr1 = *(u64 *)(r6 + 0)\nr0 *= r1\nexit"
    )
    for _ in range(3):
        assert execute(text, engine, machine=machine) == 35
