"""Contexts: what a program gets in r1, as bytes in the machine's memory, with named fields.

    context = make_context(machine, "cgroup_sock_addr", user_family=2, user_port=0x1F90)
    code.run(machine, context.address);  context["user_ip4"]

Fields and offsets are those of the kernel's UAPI (`_context_layouts.py`). Packets have classes of their own
(`_context_packet.py`).
"""

from __future__ import annotations

from ..errors import UsageError, did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from ._machine import Machine
    from ._memory import Region

    # name -> (offset, size of one element, number of elements)
    Layout = dict[str, tuple[int, int, int]]


class Context:
    """`size` bytes at `address`. Fields are read and set by name; arrays as tuples. Close it to free its memory."""

    def __init__(self, machine: Machine, kind: str, layout: Layout, size: int, *, writable: bool = True) -> None:
        self.machine = machine
        self.kind = kind
        self.layout = layout
        self.size = size
        self._region: Region | None = machine.memory.allocate(max(size, 8), kind, writable=writable)
        self.address = self._region.base
        self._view = self._region.view

    def _field(self, name: str) -> tuple[int, int, int]:
        try:
            return self.layout[name]
        except KeyError:
            near = did_you_mean(name, self.layout)
            raise UsageError(
                f"use context {self.kind}: no field {name!r}", hint=near or f"it has {', '.join(self.layout)}"
            ) from None

    def __getitem__(self, name: str) -> int | tuple[int, ...]:
        offset, size, count = self._field(name)
        values = tuple(
            int.from_bytes(self._view[at : at + size], "little") for at in range(offset, offset + size * count, size)
        )
        return values[0] if count == 1 else values

    def number(self, name: str) -> int:
        """A field that is one number."""
        offset, size, _ = self._field(name)
        return int.from_bytes(self._view[offset : offset + size], "little")

    def __setitem__(self, name: str, value: int | bytes | tuple[int, ...]) -> None:
        offset, size, count = self._field(name)
        if isinstance(value, bytes):
            if len(value) > size * count:
                raise UsageError(f"set field {name} of {self.kind}: {len(value)} bytes, it has {size * count}")
            self._view[offset : offset + len(value)] = value
            return
        numbers = (value,) if isinstance(value, int) else value
        if len(numbers) > count:
            raise UsageError(f"set field {name} of {self.kind}: {len(numbers)} numbers, it has {count}")
        for i, number in enumerate(numbers):
            at = offset + i * size
            self._view[at : at + size] = (number & (1 << 8 * size) - 1).to_bytes(size, "little")

    def set_fields(self, values: Mapping[str, object], fixed: Sequence[str] = ()) -> None:
        """Set fields from numbers, lists of them, addresses as texts, or bytes. UsageError for what does not fit.

        `fixed` are those that the caller has no say in.
        """
        if not hasattr(values, "items"):
            raise UsageError(f"set fields of {self.kind}: {type(values).__name__} is no dict", hint="{'field': value}")
        for name, value in values.items():
            offset, size, count = self._field(name)
            if name in fixed:
                raise UsageError(f"set field {name} of {self.kind}: it is the packet's", hint="change the packet")
            self._view[offset : offset + size * count] = _field_bytes(f"{name} of {self.kind}", value, size, count)

    def raw(self) -> bytes:
        """All of it."""
        return bytes(self._view[: self.size])

    def load(self, data: bytes) -> None:
        """Replace its bytes (cut or zero-filled to its size)."""
        self._view[: self.size] = data[: self.size].ljust(self.size, b"\0")

    def fields(self) -> dict[str, int | tuple[int, ...]]:
        """All fields by name."""
        return {name: self[name] for name in self.layout}

    def close(self) -> None:
        """Free the memory."""
        region, self._region = self._region, None
        if region is not None:
            self._view = memoryview(b"")
            self.machine.memory.free(region)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _field_bytes(what: str, value: object, size: int, count: int) -> bytes:
    wanted = size * count
    if isinstance(value, str):
        from ..objects import packed_address

        value = packed_address(value) or value
    packed = getattr(value, "packed", value)  # of ipaddress
    if isinstance(packed, bytes):
        if len(packed) != wanted:
            raise UsageError(f"set field {what}: {len(packed)} bytes, it has {wanted}")
        return packed
    numbers = [value] if isinstance(value, int) and count == 1 else value
    if not isinstance(numbers, (list, tuple)) or len(numbers) != count:
        hint = "give a number" if count == 1 else f"give {count} numbers"
        raise UsageError(
            f"set field {what}: got {value!r}", hint=hint + (", or an address" if wanted in (4, 16) else "")
        )
    for number in numbers:
        if not isinstance(number, int) or not -1 << 8 * size - 1 <= number < 1 << 8 * size:
            raise UsageError(f"set field {what}: {number!r} is no number of {8 * size} bits")
    return b"".join((number & (1 << 8 * size) - 1).to_bytes(size, "little") for number in numbers)


def make_context(machine: Machine, kind: str, /, **fields: int | bytes | tuple[int, ...]) -> Context:
    """A context by the name of its program type ("kprobe", "cgroup_sock_addr", "sk_lookup", ...) with fields set.

    "raw_tracepoint" and "tracing" take `args`, a tuple of up to 12 numbers; "tracepoint" takes `data`, the record.
    """
    from ._context_layouts import LAYOUTS

    if kind in ("tracepoint", "raw_bytes"):
        data = fields.get("data", b"")
        if not isinstance(data, bytes):
            raise UsageError(f"make context {kind}: data has to be bytes")
        made = Context(machine, kind, {}, len(data))
        made.load(data)
        return made
    found = LAYOUTS.get(kind)
    if found is None:
        raise UsageError(f"make context {kind!r}: no such context", hint=f"one of {', '.join(LAYOUTS)}, tracepoint")
    made = Context(machine, kind, *found)
    for name, value in fields.items():
        made[name] = value
    return made


def record(fields: dict[str, tuple[int, int]], values: dict[str, int | bytes], *, size: int) -> bytes:
    """The record of a tracepoint: `fields` gives (offset, size) as in its format file.

    Bytes for a field of 4 bytes are dynamic data (`__data_loc`): they go behind the record, the field holds
    length << 16 | offset.
    """
    out = bytearray(size)
    for name, value in values.items():
        if name not in fields:
            raise UsageError(f"make a record: no field {name!r}", hint=f"it has {', '.join(fields)}")
        offset, width = fields[name]
        if isinstance(value, bytes) and width == 4:
            location = len(value) << 16 | len(out)
            out += value
            out[offset : offset + 4] = location.to_bytes(4, "little")
        elif isinstance(value, bytes):
            out[offset : offset + width] = value[:width].ljust(width, b"\0")
        else:
            out[offset : offset + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
    return bytes(out)
