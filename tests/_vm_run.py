"""Run a generated program in each engine; what it returned, what it left in its maps and its packet."""

from __future__ import annotations

from _vm_programs import ARRAY, PACKET, Program

from osmia import syscalls
from osmia.isa import assemble
from osmia.vm._code import Code
from osmia.vm._context_packet import XdpContext
from osmia.vm._interpreter import run
from osmia.vm._jit import compile
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import Shape

Result = tuple[int, list[list[tuple[bytes, bytes]]], bytes]
XDP = 6
ENGINES = ("interpreter", "checked JIT", "JIT")


def in_user_space(program: Program, engine: str) -> Result:
    """The low half of r0, sorted contents of the maps, the packet."""
    with Machine() as machine:
        maps = [create_map(machine, Shape(t, k, v, n, name=f"m{i}")) for i, (t, k, v, n) in enumerate(program.maps)]
        context = XdpContext(machine, PACKET)
        context.activate()
        code = Code(program.insns, machine, maps=maps, type=XDP)
        if engine == "interpreter":
            r0 = run(code, machine, context.address)
        else:
            with compile(code, machine, checked=engine == "checked JIT") as native:
                r0 = native.run(context.address)
        result = r0 & 0xFFFFFFFF, [sorted(m.items()) for m in maps], bytes(context.packet)
        context.close()
        return result


def in_kernel(program: Program) -> Result | str:
    """The same from BPF_PROG_TEST_RUN, or the verifier's last words."""
    import os
    import struct

    fds: list[int] = []
    try:
        for t, k, v, n in program.maps:
            fds.append(syscalls.map_create(type=t, key_size=k, value_size=v, max_entries=n))
        insns = bytearray(program.insns)
        at = 0
        while at < len(insns):
            if insns[at] == 0x18:
                if insns[at + 1] >> 4 in (1, 2):
                    (index,) = struct.unpack_from("<I", insns, at + 4)
                    struct.pack_into("<I", insns, at + 4, fds[index])
                at += 8
            at += 8
        fd, log = load(bytes(insns))
        if fd < 0:
            return log
        fds.append(fd)
        got = syscalls.prog_test_run(fd, data=PACKET, data_out=len(PACKET) + 256)
        maps = [_items(fds[i], m) for i, m in enumerate(program.maps)]
        return got.retval, maps, got.data[: len(PACKET)]
    finally:
        for fd in fds:
            os.close(fd)


def load(insns: bytes) -> tuple[int, str]:
    """A descriptor, or minus an errno and the end of the log."""
    log = syscalls.buffer(1 << 20)
    fd = syscalls.prog_load(type=XDP, insns=insns)
    if fd >= 0:
        return fd, ""
    syscalls.prog_load(type=XDP, insns=insns, log=log, log_level=2)
    return fd, f"errno {-fd}: {log.value.decode('latin-1')[-600:]}"


def _items(fd: int, spec: tuple[int, int, int, int]) -> list[tuple[bytes, bytes]]:
    kind, key_size, value_size, entries = spec
    if kind == ARRAY:
        keys = [i.to_bytes(4, "little") for i in range(entries)]
    else:
        keys, key = [], syscalls.map_next_key(fd, None, key_size)
        while key is not None:
            keys.append(key)
            key = syscalls.map_next_key(fd, key, key_size)
    return sorted((k, syscalls.map_lookup(fd, k, value_size)) for k in keys)


def execute(
    program: str | bytes,
    engine: str,
    *,
    machine: Machine,
    r1: int = 0,
    r2: int = 0,
    fuel: int = 1_000_000,
    **given: object,
) -> int:
    """r0 of a program, as text or bytes, in one engine; `given` goes to Code."""
    insns = assemble(program) if isinstance(program, str) else program
    code = Code(insns, machine, **given)  # type: ignore[arg-type]
    if engine == "interpreter":
        return run(code, machine, r1, r2, fuel=fuel)
    with compile(code, machine, checked=engine == "checked JIT") as native:
        return native.run(r1, r2, fuel=fuel)
