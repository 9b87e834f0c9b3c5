"""The same bytecode in the kernel (BPF_PROG_TEST_RUN) and on the user-space machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from kernel.vm.map_pairs import kernel_create

from osmia import syscalls
from osmia.isa import assemble
from osmia.isa.map_types import ARRAY
from osmia.syscalls import possible_cpus
from osmia.vm._code import Code
from osmia.vm._context_packet import SkbContext, XdpContext
from osmia.vm._interpreter import run
from osmia.vm._jit import compile
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import Shape
from osmia.vm._world import World

SOCKET_FILTER, SCHED_CLS, XDP, CGROUP_SKB, RAW_TRACEPOINT, SYSCALL = 1, 3, 6, 8, 17, 31
RESULTS = 64  # u64 that a program can leave
MAP = 0x7E570000  # `r1 = 0x7e570002 ll` is map 2; map 0 is that of the results
VALUE = 0x7E580000  # likewise the address of its (only) value


class Run(NamedTuple):
    retval: int
    packet: bytes
    results: bytes
    context: bytes


def wrap(steps: list[str], last: str = "r0 = 0") -> str:
    """A program of steps: r6 is the context, r7 the results; each `save` stores r0 as the next result."""
    head = """
        r6 = r1
        *(u32 *)(r10 - 4) = 0
        r2 = r10
        r2 += -4
        r1 = 0x7e570000 ll
        call bpf_map_lookup_elem#1
        if r0 == 0 goto out
        r7 = r0
    """
    lines = []
    saved = 0
    for step in steps:
        for line in step.strip().splitlines():
            text = line.strip()
            if text == "save":
                text = f"*(u64 *)(r7 + {8 * saved}) = r0"
                saved += 1
            lines.append(text)
    assert saved <= RESULTS
    return head + "\n".join(lines) + f"\nout:\n{last}\nexit\n"


def _patched(text: str, to: Callable[[int], tuple[int, int]]) -> bytes:
    """Replace loads of map numbers by (source register, immediate)."""
    code = bytearray(assemble(text))
    at = 0
    while at < len(code):
        if code[at] == 0x18:
            imm = int.from_bytes(code[at + 4 : at + 8], "little")
            if imm & ~0xFF in (MAP, VALUE):
                source, value = to(imm & 0xFF)
                code[at + 1] = code[at + 1] & 0xF | (source + (imm & ~0xFF == VALUE)) << 4
                code[at + 4 : at + 8] = value.to_bytes(4, "little")
            at += 8
        at += 8
    return bytes(code)


def in_kernel(
    type: int, text: str, shapes: list[Shape], packet: bytes, context: bytes = b"", constant: bytes = b""
) -> Run:
    """`constant` goes into the last map, which is frozen then."""
    with ExitStack() as stack:
        fds = []
        for shape in shapes:
            fd = kernel_create(shape)
            assert fd >= 0, os.strerror(-fd)
            stack.callback(os.close, fd)
            fds.append(fd)
        if constant:
            assert syscalls.map_update(fds[-1], bytes(4), constant) == 0
            syscalls.map_freeze(fds[-1])
        log = syscalls.buffer(1 << 20)
        program = syscalls.prog_load(
            type=type, insns=_patched(text, lambda n: (1, fds[n])), name="osmia_twin", log_level=1, log=log
        )
        assert program >= 0, text + log.value.decode()
        stack.callback(os.close, program)
        done = syscalls.prog_test_run(
            program, data=packet, context=context, data_out=len(packet) + 4096 if packet else 0
        )
        results = syscalls.map_lookup(fds[0], bytes(4), 8 * RESULTS) or b""
        return Run(done.retval, done.data, results, done.context)


def in_vm(
    type: int,
    text: str,
    shapes: list[Shape],
    packet: bytes,
    prepare: Callable[[Machine], None] | None = None,
    constant: bytes = b"",
    engine: str = "interpreter",
) -> Run:
    with Machine(world=World(cpus=possible_cpus())) as machine:
        if prepare is not None:
            prepare(machine)
        maps = [create_map(machine, shape) for shape in shapes]
        if constant:
            maps[-1].update(bytes(4), constant)
            maps[-1].freeze()
        code = Code(_patched(text, lambda n: (5, n)), machine, maps=maps, type=type)
        if not packet:
            region = machine.memory.allocate(64)
            retval = _run(code, machine, region.base, engine)
            return Run(retval & 0xFFFFFFFF, b"", maps[0].lookup(bytes(4)) or b"", b"")
        made = (
            XdpContext(machine, packet)
            if type == XDP
            else SkbContext(machine, packet, kind={SCHED_CLS: "sched_cls", CGROUP_SKB: "cgroup_skb"}[type])
        )
        retval = _run(code, machine, made.address, engine)
        out = made.frame if isinstance(made, SkbContext) else made.metadata + made.packet
        return Run(retval & 0xFFFFFFFF, out, maps[0].lookup(bytes(4)) or b"", made.raw())


def _run(code: Code, machine: Machine, context: int, engine: str) -> int:
    """By "interpreter", "jit" or "checked" (native code that checks every access)."""
    if engine == "interpreter":
        return run(code, machine, context)
    native = compile(code, machine, checked=engine == "checked")
    try:
        return native.run(context)
    finally:
        native.close()


def results_shape() -> Shape:
    return Shape(ARRAY, 4, 8 * RESULTS, 1)


def words(data: bytes) -> list[int]:
    """Results as signed numbers, for messages."""
    return [int.from_bytes(data[at : at + 8], "little", signed=True) for at in range(0, len(data), 8)]
