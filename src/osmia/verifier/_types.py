"""What goes into the verifier and what comes out: plain records, the same on every machine."""

from __future__ import annotations

from .._data import Data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf
    from ..objects import LineInfo
    from ._explain import Explanation


class MapInfo(Data):
    """What a verifier has to know of one map. Sizes in bytes; `btf_fields` are (offset, size, kind) in the value."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    name: str = ""
    inner: MapInfo | None = None
    frozen: bytes | None = None
    btf_fields: tuple[tuple[int, int, str], ...] = ()
    btf_value: int = 0
    version_at: int = -1  # where in `frozen` a profile's version is to be put

    @property
    def spin_lock(self) -> int:
        """Offset of the value's `struct bpf_spin_lock`, or -1."""
        return self.field_offset("spin_lock")

    @property
    def timer(self) -> int:
        """Offset of the value's `struct bpf_timer`, or -1."""
        return self.field_offset("timer")

    def field_offset(self, kind: str) -> int:
        """Offset of the first special field of that kind in the value, or -1."""
        return next((off for off, _, k in self.btf_fields if k == kind), -1)


class Subprogram(Data):
    """A function behind the entry: first slot, name, whether it is verified on its own, its BTF type."""

    start: int
    name: str = ""
    is_global: bool = False
    btf_id: int = 0


class Program(Data):
    """A linked program. In `insns`, a 64-bit load with src 1 or 2 holds the index into `maps`.

    `kernel` are the types that the kernel in question has (None: this machine's); whoever gives them closes them.
    `absent` names what they lack: (slot of the call that stands for it, "task_struct.pid").
    """

    insns: bytes
    type: int
    attach_type: int = 0
    license: str = "GPL"
    maps: tuple[MapInfo, ...] = ()
    name: str = ""
    subprograms: tuple[Subprogram, ...] = ()
    lines: tuple[LineInfo, ...] = ()
    btf: bytes = b""
    attach_to: str = ""
    flags: int = 0
    kfuncs: tuple[tuple[int, str], ...] = ()
    kernel: Btf | None = None
    absent: tuple[tuple[int, str], ...] = ()


class Verdict(Data):
    """The answer. `message` is the kernel's last line, `insn` where it stopped (-1: nowhere in particular).

    `trace` is the failing path as (instruction, next instruction) pairs, oldest first; `registers` the final ones.
    """

    accepted: bool
    errno: int = 0
    message: str = ""
    log: str = ""
    insn: int = -1
    processed: int = 0
    stack_depths: tuple[int, ...] = ()
    explanation: Explanation | None = None
    trace: tuple[tuple[int, int], ...] = ()
    registers: tuple[object, ...] = ()


class Refused(Exception):
    """Raised inside the walk where the kernel would refuse; never leaves the package."""

    def __init__(self, message: str, insn: int = -1, errno: int = 22) -> None:
        super().__init__(message)
        self.message = message
        self.insn = insn
        self.errno = errno
