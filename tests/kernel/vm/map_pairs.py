"""A map in the kernel and its twin in user space, worked on by the same commands of bpf(2)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack

from osmia import syscalls
from osmia.errors import MapError
from osmia.isa.map_types import LRU_PERCPU_HASH, PERCPU_ARRAY, PERCPU_HASH, QUEUE, STACK
from osmia.syscalls import possible_cpus
from osmia.syscalls._call import address, bpf, buffer
from osmia.vm._machine import Machine
from osmia.vm._map import create_map
from osmia.vm._map_base import Shape, VmMap
from osmia.vm._world import World

PER_CPU = (PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH)


class KernelMap:
    """Commands on a real map: bytes, or 0 or minus the errno."""

    def __init__(self, fd: int, shape: Shape, row: int) -> None:
        self.fd, self.shape, self.row = fd, shape, row

    def _elem(self, key: bytes | None, value: object, flags: int) -> bytes:
        at = address(value) if isinstance(value, bytes) else syscalls.address(value) if value is not None else 0  # type: ignore[arg-type]
        return pack("=IIQQQ", self.fd, 0, address(key), at, flags)

    def lookup(self, key: bytes, flags: int = 0) -> bytes | int:
        out = buffer(self.row)
        result = bpf(1, self._elem(key, out, flags))
        return result or out.raw

    def update(self, key: bytes, value: bytes, flags: int = 0) -> bytes | int:
        return bpf(2, self._elem(key, value, flags))

    def delete(self, key: bytes) -> bytes | int:
        return bpf(3, self._elem(key, None, 0))

    def take(self, key: bytes, flags: int = 0) -> bytes | int:
        out = buffer(self.row)
        result = bpf(21, self._elem(key, out, flags))
        return result or out.raw

    def next(self, key: bytes | None) -> bytes | int:
        out = buffer(max(self.shape.key_size, 1))
        result = bpf(4, self._elem(key, out, 0))
        return result or out.raw

    def freeze(self) -> int:
        return bpf(22, pack("=I", self.fd))


class Twin:
    """The same commands on the map of the user-space target."""

    def __init__(self, made: VmMap) -> None:
        self.map = made
        self.lookup = made.sys_lookup
        self.update = made.sys_update
        self.delete = made.sys_delete
        self.take = made.sys_take
        self.next = made.sys_next

    def freeze(self) -> int:
        try:
            self.map.freeze()
        except MapError as error:
            return -error.errno
        return 0


def kernel_create(shape: Shape, inner_fd: int = 0) -> int:
    return syscalls.map_create(
        type=shape.type,
        key_size=shape.key_size,
        value_size=shape.value_size,
        max_entries=shape.max_entries,
        flags=shape.flags,
        name="osmia_twin",
        map_extra=shape.extra,
        inner_map_fd=inner_fd,
    )


def vm_create(machine: Machine, shape: Shape) -> VmMap | int:
    try:
        return create_map(machine, shape)
    except MapError as error:
        return -error.errno


@contextmanager
def pair(shape: Shape) -> Iterator[tuple[KernelMap, Twin]]:
    fd = kernel_create(shape)
    assert fd >= 0, f"kernel: {os.strerror(-fd)}"
    try:
        with Machine(world=World(cpus=possible_cpus())) as machine:
            made = create_map(machine, shape)
            with made:
                yield KernelMap(fd, shape, max(made.row_size, 1)), Twin(made)
    finally:
        os.close(fd)


def content(side: KernelMap | Twin) -> dict[bytes, bytes | int]:
    """What walking by BPF_MAP_GET_NEXT_KEY and looking up gives."""
    found: dict[bytes, bytes | int] = {}
    key: bytes | None = None
    while True:
        following = side.next(key)
        if isinstance(following, int):
            assert following == -2, following
            return found
        assert following not in found, "a key appears twice"
        found[following] = side.lookup(following)
        key = following


def keyless(shape: Shape) -> bool:
    return shape.type in (QUEUE, STACK)
