"""What events point to: strings, bytes and arrays of them in the machine's memory."""

from __future__ import annotations

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._machine import Machine
    from ._memory import Region

KEPT = 512  # pieces of the last events that stay readable: a program may look at what an earlier event pointed to
MASK = 0xFFFF_FFFF_FFFF_FFFF


class EventMemory:
    """Gives out memory for arguments, each piece just as long as what it holds; the oldest go when there are many."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pieces: list[Region] = []

    def place(self, data: bytes, name: str = "argument") -> int:
        """The address of a copy of `data`."""
        if len(self._pieces) >= KEPT:
            for piece in self._pieces[: KEPT // 2]:
                self._machine.memory.free(piece)
            del self._pieces[: KEPT // 2]
        region = self._machine.memory.adopt(bytearray(data or b"\0"), name)
        self._pieces.append(region)
        return region.base

    def value(self, value: object, name: str = "argument") -> int:
        """An argument as the 64 bits of a register: a number, or the address of what it points to.

        str: its bytes and a NUL; bytes: as they are; a list: an array of such values, with a NULL behind it.
        """
        if value is None:
            return 0
        if isinstance(value, (int, bool)):
            if not -1 << 63 <= value <= MASK:
                raise UsageError(f"fire event: {name} is {value}, which does not fit 64 bits")
            return int(value) & MASK
        if isinstance(value, str):
            return self.place(value.encode("utf-8", "surrogateescape") + b"\0", name)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.place(bytes(value), name)
        if isinstance(value, (list, tuple)):
            words = [self.value(item, name) for item in value]
            return self.place(b"".join(word.to_bytes(8, "little") for word in (*words, 0)), name)
        raise UsageError(f"fire event: {name} is {type(value).__name__}", hint="give an int, str, bytes, list or None")
