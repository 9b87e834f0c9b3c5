"""Rows of the feature table that take a map or a kernel function to be decided, and what the running kernel says."""

from __future__ import annotations

import os
from struct import pack

from osmia import syscalls
from osmia.btf import KIND_FUNC, load_kernel_btf
from osmia.isa import MAP_TYPES, PROG_TYPES, assemble

# The row, and a kernel function that came with it.
FUNCTIONS = {
    "open_coded_iterators": "bpf_iter_num_new",
    "exceptions": "bpf_throw",
    "preempt_disable": "bpf_preempt_disable",
    "trusted_pointers": "bpf_task_acquire",
}
_CONSTANT_KEY = "*(u32 *)(r10 - 8) = 1\nr2 = r10\nr2 += -8\nr1 = map[fd:0]\ncall 1\nr0 = *(u8 *)(r0 +0)\nr0 = 0\nexit"


def decided() -> dict[str, bool]:
    """Which of these rows the running kernel has."""
    btf = load_kernel_btf()
    found = {row: btf.find(name, KIND_FUNC) is not None for row, name in FUNCTIONS.items()}
    return found | {"constant_keys": _takes_constant_keys(), "address_spaces": _has_arenas()}


def _takes_constant_keys() -> bool:
    fd = syscalls.map_create(type=MAP_TYPES["array"], key_size=4, value_size=8, max_entries=4)
    try:
        code = bytearray(assemble(_CONSTANT_KEY))
        at = code.index(0x18, 24)
        code[at + 4 : at + 8] = pack("<i", fd)
        program = syscalls.prog_load(type=PROG_TYPES["socket_filter"], insns=bytes(code))
    finally:
        os.close(fd)
    if program >= 0:
        os.close(program)
    return bool(program >= 0)


def _has_arenas() -> bool:
    fd = syscalls.map_create(type=MAP_TYPES["arena"], key_size=0, value_size=0, max_entries=1, flags=1 << 10)
    if fd >= 0:
        os.close(fd)
    return bool(fd >= 0)
