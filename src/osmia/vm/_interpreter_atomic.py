"""Atomic instructions of the interpreter. Python runs one at a time: what is left is their arithmetic and results."""

from __future__ import annotations

from ..isa import op
from ._interpreter_ops import M
from ._interpreter_steps import STRUCTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..isa import Instruction
    from ._interpreter import Interpreter
    from ._memory import Region

    Step = Callable[[list[Any]], int]

_OPERATIONS: dict[int, Callable[[int, int], int]] = {
    op.ADD: lambda old, b: old + b,
    op.OR: lambda old, b: old | b,
    op.AND: lambda old, b: old & b,
    op.XOR: lambda old, b: old ^ b,
    op.XCHG & ~op.FETCH: lambda old, b: b,
}


def atomic(engine: Interpreter, i: Instruction, at: int, region: Region) -> Step:
    """The closure of one atomic instruction; a fault of kind `atomic` for an address that is not aligned."""
    layout = STRUCTS[i.opcode & op.SIZE_MASK]
    size, mask = layout.size, (1 << layout.size * 8) - 1
    place = _place(engine, i.src if i.imm == op.LOAD_ACQ else i.dst, i.off, at, region, size, i.imm != op.LOAD_ACQ)
    d, s, n = i.dst, i.src, at + 1
    if i.imm == op.LOAD_ACQ:

        def acquire(r: list[Any]) -> int:
            view, where = place(r)
            (r[d],) = layout.unpack_from(view, where)
            return n

        return acquire
    if i.imm == op.STORE_REL:

        def release(r: list[Any]) -> int:
            view, where = place(r)
            layout.pack_into(view, where, r[s] & mask)
            return n

        return release
    if i.imm == op.CMPXCHG:

        def exchange(r: list[Any]) -> int:
            view, where = place(r)
            (old,) = layout.unpack_from(view, where)
            if old == r[0] & mask:
                layout.pack_into(view, where, r[s] & mask)
            r[0] = old
            return n

        return exchange
    operation, fetch = _OPERATIONS[i.imm & ~op.FETCH], i.imm & op.FETCH

    def change(r: list[Any]) -> int:
        view, where = place(r)
        (old,) = layout.unpack_from(view, where)
        layout.pack_into(view, where, operation(old, r[s]) & mask)
        if fetch:
            r[s] = old
        return n

    return change


def _place(
    engine: Interpreter, register: int, off: int, at: int, region: Region, size: int, write: bool
) -> Callable[[list[Any]], tuple[memoryview, int]]:
    find = engine.machine.memory.region

    def place(r: list[Any]) -> tuple[memoryview, int]:
        nonlocal region
        address = (r[register] + off) & M
        if not region.base <= address <= region.end - size:
            region = find(address, size, write, at)
        if address & size - 1:
            why = f"atomic access of {size} bytes at {address:#x}, which is not aligned"
            raise engine.fault(why, "atomic", at, address, size)
        return region.view, address - region.base

    return place
