"""Arguments of helpers that an unverified program may get wrong: each wrong one is a VmFault."""

from __future__ import annotations

from ..errors import VmFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._machine import Machine


def map_of(m: Machine, handle: int, *types: int) -> Any:
    """The map at `handle`; VmFault when it is none, or none of these types."""
    found = m.map_at(handle)
    if found.type not in types:
        from ..isa import map_type_name

        raise VmFault(
            f"call: map {found.name} of type {map_type_name(found.type)} does not go with this helper",
            kind="call",
            address=handle,
        )
    return found


def charge(m: Machine, size: int) -> bool:
    """Count `size` bytes that a helper keeps for good against the machine's memory; False when it has no more."""
    memory = m.memory
    if memory.used + size > memory.limit:
        return False
    memory.used += size
    return True


def room(m: Machine, address: int, size: int) -> None:
    """VmFault unless `size` bytes at `address` may be written: asked before bytes are made for them."""
    if size:
        m.memory.region(address, size, True)


def clear(m: Machine, address: int, size: int) -> None:
    """Zero what a helper that fails leaves behind."""
    room(m, address, size)
    m.write(address, bytes(size))
