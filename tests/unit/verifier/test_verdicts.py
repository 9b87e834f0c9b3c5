"""Small programs, and what the newest kernel says of them."""

from __future__ import annotations

import random

import pytest

from osmia.isa import MAP_TYPES, PROG_TYPES, assemble
from osmia.verifier import MapInfo, Program, Verdict, profile, verify

MAPS = (
    MapInfo(MAP_TYPES["hash"], 8, 16, 4),
    MapInfo(MAP_TYPES["array"], 4, 16, 4),
    MapInfo(MAP_TYPES["ringbuf"], 0, 0, 4096),
    MapInfo(MAP_TYPES["hash"], 8, 16, 4, btf_fields=((4, 4, "spin_lock"),)),
    MapInfo(MAP_TYPES["array"], 4, 16, 1),
    MapInfo(MAP_TYPES["prog_array"], 4, 4, 4),
)
LOOK_UP = """
    *(u64 *)(r10 - 8) = 0
    r2 = r10
    r2 += -8
    r1 = map[fd:{map}]
    call 1
"""
RESERVE = """
    r1 = map[fd:2]
    r2 = 16
    r3 = 0
    call 131
"""
PACKET = """
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r4 = r2
    r4 += 14
"""


def ask(text: str, type: str = "xdp", *, level: int = 0, kernel: str | None = None, license: str = "GPL") -> Verdict:
    program = Program(assemble(text), PROG_TYPES[type], license=license, maps=MAPS)
    return verify(program, profile(kernel), level=level)


ACCEPTED = {
    "nothing": "r0 = 0\nexit",
    "stack": "*(u64 *)(r10 - 8) = 1\nr0 = *(u64 *)(r10 - 8)\nexit",
    "stack that was never written": "r0 = *(u64 *)(r10 - 8)\nexit",
    "a spilled pointer": "*(u64 *)(r10 - 8) = r1\nr2 = *(u64 *)(r10 - 8)\nr0 = *(u32 *)(r2 + 0)\nr0 = 0\nexit",
    "a look-up": LOOK_UP.format(map=0) + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 8)\nout: r0 = 0\nexit",
    "a look-up that cannot fail": LOOK_UP.format(map=1).replace("u64", "u32") + "r1 = *(u64 *)(r0 + 8)\nr0 = 0\nexit",
    "the null check reaches copies": LOOK_UP.format(map=0)
    + "r6 = r0\n*(u64 *)(r10 - 16) = r0\nif r6 == 0 goto out\nr1 = *(u64 *)(r10 - 16)\nr1 = *(u8 *)(r1 + 15)\n"
    + "out: r0 = 0\nexit",
    "a masked index": LOOK_UP.format(map=0)
    + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\nr1 &= 15\nr0 += r1\nr0 = *(u8 *)(r0 + 0)\nout: r0 = 0\nexit",
    "an index tested on both sides": LOOK_UP.format(map=0)
    + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\nif r1 s< 0 goto out\nif r1 s> 15 goto out\nr0 += r1\n"
    + "r0 = *(u8 *)(r0 + 0)\nout: r0 = 0\nexit",
    "a tested copy bounds the original": LOOK_UP.format(map=0)
    + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\nr2 = r1\nif r2 > 15 goto out\nr0 += r1\nr0 = *(u8 *)(r0 + 0)\n"
    + "out: r0 = 0\nexit",
    "a tested sum bounds the summand": LOOK_UP.format(map=0)
    + "if r0 == 0 goto out\nr1 = *(u32 *)(r0 + 0)\nr2 = r1\nr2 += 1\nif r2 > 15 goto out\nr0 += r1\n"
    + "r0 = *(u8 *)(r0 + 0)\nout: r0 = 0\nexit",
    "a packet": PACKET + "if r4 > r3 goto out\nr0 = *(u16 *)(r2 + 12)\nout: r0 = 2\nexit",
    "a packet, tested the other way": PACKET
    + "if r3 >= r4 goto in\ngoto out\nin: r0 = *(u8 *)(r2 + 13)\nout: r0 = 2\nexit",
    "a loop": "r0 = 0\nl: r0 += 1\nif r0 < 30 goto l\nexit",
    "a loop over the stack": "r1 = 0\nl: r2 = r10\nr2 += r1\n*(u8 *)(r2 - 64) = 0\n"
    + "r1 += 1\nif r1 < 64 goto l\nr0 = 0\nexit",
    "may_goto": "r0 = 0\nl: may_goto out\nr0 += 1\ngoto l\nout: r0 = 0\nexit",
    "a record is given back": RESERVE + "if r0 == 0 goto out\nr1 = r0\nr2 = 0\ncall 132\nout: r0 = 0\nexit",
    "a function": "r1 = 5\ncall f\nexit\nf: r0 = r1\nexit",
    "a function writes its caller's stack": "r1 = r10\nr1 += -8\ncall f\nr0 = *(u64 *)(r10 - 8)\nexit\n"
    + "f: *(u64 *)(r1 + 0) = 1\nr0 = 0\nexit",
    "a callback": "r1 = 10\nr2 = subprog[f]\nr3 = 0\nr4 = 0\ncall 181\nr0 = 0\nexit\nf: r0 = 0\nexit",
    "a lock": LOOK_UP.format(map=3)
    + "if r0 == 0 goto out\nr6 = r0\nr1 = r0\nr1 += 4\ncall 93\nr1 = r6\nr1 += 4\ncall 94\nout: r0 = 0\nexit",
    "dead code behind a known branch": "r0 = 0\nif r0 == 0 goto out\nr0 = *(u64 *)(r9 + 0)\nout: exit",
}  # fmt: skip

REFUSED = {
    "R0 !read_ok": "exit",
    "R3 !read_ok": "r0 = r3\nexit",
    "frame pointer is read only": "r10 = 1\nr0 = 0\nexit",
    "div by zero": "r0 = 1\nr0 /= 0\nexit",
    "invalid shift 64": "r0 = 1\nr0 <<= 64\nexit",
    "unreachable insn 2": "r0 = 0\nexit\nr0 = 1\nexit",
    "last insn is not an exit or jmp": "r0 = 0",
    "jump out of range from insn 1 to 12": "r0 = 0\nif r0 == 0 goto pc+10\nexit",
    "invalid write to stack R10 off=-520 size=8": "*(u64 *)(r10 - 520) = 0\nr0 = 0\nexit",
    "misaligned stack access off 0+0+-5 size 4": "*(u32 *)(r10 - 5) = 0\nr0 = 0\nexit",
    "invalid size of register fill": "*(u64 *)(r10 - 8) = r1\nr0 = *(u32 *)(r10 - 8)\nexit",
    "invalid size of register spill": "*(u32 *)(r10 - 8) = r1\nr0 = 0\nexit",
    "R0 invalid mem access 'map_value_or_null'": LOOK_UP.format(map=0) + "r0 = *(u64 *)(r0 + 0)\nexit",
    "R0 min value is outside of the allowed memory range": LOOK_UP.format(map=0)
    + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 12)\nout: r0 = 0\nexit",
    "R0 max value is outside of the allowed memory range": LOOK_UP.format(map=0)
    + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\nr1 &= 31\nr0 += r1\nr0 = *(u8 *)(r0 + 0)\nout: r0 = 0\nexit",
    "R0 unbounded memory access, make sure to bounds check any such access": LOOK_UP.format(map=0)
    + "if r0 == 0 goto out\nr1 = *(u32 *)(r0 + 0)\nr0 += r1\nr0 = *(u8 *)(r0 + 0)\nout: r0 = 0\nexit",
    "math between map_value pointer and register with unbounded min value is not allowed": LOOK_UP.format(map=0)
    + "if r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\nr0 += r1\nout: r0 = 0\nexit",
    "R0 pointer arithmetic on map_value_or_null prohibited, null-check it first": LOOK_UP.format(map=0)
    + "r0 += 8\nr0 = 0\nexit",
    "R2 offset is outside of the packet": PACKET + "if r4 > r3 goto out\nr0 = *(u16 *)(r2 + 13)\nout: r0 = 2\nexit",
    "R3 pointer arithmetic on pkt_end prohibited": PACKET + "r3 += 1\nr0 = 0\nexit",
    "R2 pointer += pointer prohibited": "r2 = r10\nr2 += r1\nr0 = 0\nexit",
    "R2 32-bit pointer arithmetic prohibited": "r2 = r10\nw2 += -8\nr0 = 0\nexit",
    "R2 bitwise operator &= on pointer prohibited": "r2 = r10\nr2 &= 7\nr0 = 0\nexit",
    "R1 invalid mem access 'scalar'": "r1 = 5\nr0 = *(u64 *)(r1 + 0)\nexit",
    "invalid bpf_context access off=2 size=4": "r0 = *(u32 *)(r1 + 2)\nexit",
    "dereference of modified ctx ptr R1 off=4 disallowed": "r1 += 4\nr0 = *(u32 *)(r1 + 0)\nr0 = 0\nexit",
    "infinite loop detected at insn 1": "r0 = 0\nl: if r0 == 0 goto l\nexit",
    "BPF program is too large. Processed 1000001 insn": "r0 = 0\nl: r0 += 1\nif r0 < 3000000 goto l\nexit",
    "the call stack of 9 frames is too deep": "call f\nexit\nf: call f\nexit",
    "combined stack size of 2 calls is 704. Too large": "*(u64 *)(r10 - 400) = 0\ncall f\nexit\n"
    + "f: *(u64 *)(r10 - 304) = 0\nr0 = 0\nexit",
    "cannot return stack pointer to the caller": "call f\nr0 = 0\nexit\nf: r0 = r10\nexit",
    "BPF_EXIT instruction in main prog would lead to reference leak": RESERVE + "r0 = 0\nexit",
    "tail_call would lead to reference leak": "r6 = r1\n"
    + RESERVE
    + "r1 = r6\nr2 = map[fd:5]\nr3 = 0\ncall 12\nr0 = 0\nexit",
    "R1 invalid mem access 'scalar'?": RESERVE
    + "if r0 == 0 goto out\nr6 = r0\nr1 = r0\nr2 = 0\ncall 132\nr1 = r6\nr0 = *(u64 *)(r1 + 0)\nout: r0 = 0\nexit",
    "R1 must have zero offset when passed to release func or trusted arg to kfunc": RESERVE
    + "if r0 == 0 goto out\nr1 = r0\nr1 += 8\nr2 = 0\ncall 132\nout: r0 = 0\nexit",
    "R2 is not a known constant'": "call 7\nr2 = r0\nr1 = map[fd:2]\nr3 = 0\ncall 131\nr0 = 0\nexit",
    "R1 type=scalar expected=map_ptr": "r1 = 0\nr2 = r10\nr2 += -8\ncall 1\nr0 = 0\nexit",
    "expected prog array map for tail call": "r2 = map[fd:1]\nr3 = 0\ncall 12\nr0 = 0\nexit",
    "invalid func unknown#5000": "call 5000\nexit",
    "function calls are not allowed while holding a lock": LOOK_UP.format(map=3)
    + "if r0 == 0 goto out\nr6 = r0\nr1 = r0\nr1 += 4\ncall 93\ncall 7\nr1 = r6\nr1 += 4\ncall 94\nout: r0 = 0\nexit",
    "bpf_spin_unlock without taking a lock": LOOK_UP.format(map=3)
    + "if r0 == 0 goto out\nr1 = r0\nr1 += 4\ncall 94\nout: r0 = 0\nexit",
    "bpf_spin_lock cannot be accessed directly by load/store": LOOK_UP.format(map=3)
    + "if r0 == 0 goto out\nr1 = *(u32 *)(r0 + 4)\nout: r0 = 0\nexit",
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str) -> None:
    verdict = ask(ACCEPTED[name])
    assert verdict.accepted, verdict.log
    assert verdict.processed > 0


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message: str) -> None:
    verdict = ask(REFUSED[message])
    assert not verdict.accepted
    assert verdict.message == message.removesuffix("?")
    assert verdict.errno in (7, 13, 22)


WRITE = """
    r0 = 1
    r2 = *({0} *)(r1 + {1})
    r3 = *({0} *)(r1 + {2})
    r4 = r2
    r4 += 4
    if r4 > r3 goto out
    *(u32 *)(r2 + 0) = 2
    out: exit
"""


def test_what_is_written_to_packets_and_to_socket_options() -> None:
    options = WRITE.format("u64", 8, 16)
    assert ask(options, "cgroup_sockopt").accepted
    assert ask(options, "cgroup_sockopt", kernel="5.3").accepted
    assert ask(WRITE.format("u32", 76, 80), "cgroup_skb").message == "cannot write into packet"


def test_a_helper_for_gpl_programs_only() -> None:
    text = "*(u64 *)(r10 - 8) = 0\nr1 = r10\nr1 += -8\nr2 = 8\ncall 6\nr0 = 0\nexit"
    assert ask(text).accepted
    assert ask(text, license="MIT").message.startswith("cannot call GPL-restricted function")


def test_range_of_the_result() -> None:
    assert ask("r0 = 1\nexit", "cgroup_skb").accepted
    assert ask("r0 = 2\nexit", "cgroup_skb").message == (
        "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]"
    )


def test_loops_before_they_were_walked() -> None:
    text = "r0 = 0\nl: r0 += 1\nif r0 < 3 goto l\nexit"
    assert ask(text, kernel="5.3").accepted
    assert ask(text, kernel="5.2").message == "back-edge from insn 2 to 1"


def test_the_path_and_the_registers_of_a_refusal() -> None:
    verdict = ask(LOOK_UP.format(map=0) + "r6 = r0\nr0 = *(u64 *)(r6 + 0)\nexit")
    assert verdict.insn == 7
    assert [insn for insn, _ in verdict.trace] == [0, 1, 2, 3, 5, 6, 7]
    assert verdict.registers[6].name == "map_value_or_null"  # type: ignore[attr-defined]


def test_the_log_tells_every_instruction_and_what_it_did() -> None:
    log = ask("r0 = 5\nr0 += 1\nexit", level=1).log.splitlines()
    assert [line.split(";")[0].rstrip() for line in log] == [
        "0: (b7) r0 = 5",
        "1: (07) r0 += 1",
        "2: (95) exit",
        "processed 3 insns (limit 1000000) states 0",
    ]
    assert log[1].endswith("; R0=6")


def test_as_many_cpus_as_there_are() -> None:
    text = "call 8\nr6 = r0\nr1 = r10\nr1 += r6\n*(u8 *)(r1 - 8) = 0\nr0 = 0\nexit"
    program = Program(assemble(text), PROG_TYPES["xdp"])
    assert verify(program, cpus=8).accepted
    assert verify(program, cpus=9).message.startswith("invalid variable-offset write to stack R1")


def damaged(rng: random.Random, code: bytes) -> bytes:
    out = bytearray(code)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out))
        if rng.random() < 0.7:
            out[at] = rng.randrange(256)
        elif len(out) > 8:
            del out[at & ~7 : (at & ~7) + 8]
    return bytes(out)


def test_damaged_programs_get_a_verdict_and_never_crash() -> None:
    rng = random.Random(8)
    texts = [*ACCEPTED.values(), *REFUSED.values()]
    accepted = 0
    for _ in range(1500):
        code = damaged(rng, assemble(rng.choice(texts))) if rng.random() < 0.9 else rng.randbytes(8 * rng.randint(1, 9))
        verdict = verify(Program(code, rng.randrange(34), maps=MAPS), profile(rng.choice((None, "6.1", "4.14"))))
        assert verdict.accepted or verdict.message
        accepted += verdict.accepted
    assert accepted > 20


SLEEPS = "r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\ncall copy_from_user\nr0 = 0\nexit"


def test_sleeping_helpers_are_for_sleepable_programs() -> None:
    from osmia.isa import PROG_TYPES, assemble
    from osmia.verifier import Program, verify

    code = assemble(SLEEPS)
    assert "might sleep" in verify(Program(insns=code, type=PROG_TYPES["kprobe"])).message
    assert verify(Program(insns=code, type=PROG_TYPES["kprobe"], flags=1 << 4)).accepted
    assert "can be sleepable" in verify(Program(insns=code, type=PROG_TYPES["xdp"], flags=1 << 4)).message


def test_a_privilege_that_is_missing_is_what_is_told() -> None:
    """Not the program type: it may call the helper."""
    program = Program(assemble("call probe_read_kernel\nr0 = 0\nexit"), PROG_TYPES["socket_filter"])
    verdict = verify(program, profile("6.12", privileged=False))
    assert verdict.message == "program of this type cannot use helper bpf_probe_read_kernel#113"
    assert verdict.explanation is not None
    assert (
        verdict.explanation.reason == "without CAP_BPF and CAP_PERFMON, programs may not call bpf_probe_read_kernel()"
    )
    older = verify(program, profile("5.4", privileged=False)).explanation
    assert older is not None
    assert older.remedy.startswith("Linux 5.5 and later do for loaders with CAP_BPF and CAP_PERFMON;")


def test_the_unprivileged_load_socket_filters_and_cgroup_skb_only() -> None:
    from osmia.isa import PROG_TYPES, assemble
    from osmia.verifier import Program, profile, verify

    code = assemble("r0 = 1\nexit")
    plain = profile("6.12", privileged=False)
    taken = {kind for kind, n in PROG_TYPES.items() if n and verify(Program(insns=code, type=n), plain).accepted}
    assert taken == {"socket_filter", "cgroup_skb"}
