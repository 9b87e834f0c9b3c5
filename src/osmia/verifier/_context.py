"""What a program may read and write in its context, and what it gets there.

`access()` answers for contexts of a fixed layout (`_gen/contexts.py`, measured on a kernel). Those of tracing, LSM and
struct_ops programs are the arguments of a kernel function: `_context_btf.py`.
"""

from __future__ import annotations

from .._data import Data
from ._profile import profile as newest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._gen.contexts import Row
    from ._profile import Profile


class Access(Data):
    """An access that the kernel allows.

    `kind` is "scalar" (zero-extended to 64 bits), "pkt", "pkt_end", "pkt_meta", "sock", "sock_or_null",
    "sock_common_or_null", "tp_buffer", "flow_keys", "btf" (a trusted pointer to the kernel struct `struct`),
    "btf_or_null", or "" for a store. `size` is the width in bytes.
    """

    kind: str
    size: int
    struct: str = ""
    trusted: bool = True


_blocks: dict[tuple[int, int], tuple[Row, ...]] = {}
_answers: dict[tuple[int, int, int, int, bool, tuple[int, int]], Access | None] = {}
# Packet pointers and the time stamp of a socket buffer are for the privileged in cgroup_skb (b39b5f411dcf, 5.0).
_CGROUP_SKB = 8
_PRIVILEGED = frozenset(((76, False), (80, False), (152, True)))
_TRUSTED = "trusted_ptr_"


def access(
    prog_type: int, attach_type: int, off: int, size: int, write: bool, profile: Profile | None = None
) -> Access | None:
    """The access of `size` bytes at `off`; None if the kernel says "invalid bpf_context access"."""
    kernel = profile or newest(None)
    key = (prog_type, attach_type, off, size, write, kernel.version)
    if key not in _answers:
        _answers[key] = _look_up(prog_type, attach_type, off, size, write, kernel.version)
    if not kernel.privileged and prog_type == _CGROUP_SKB and (off, write) in _PRIVILEGED:
        return None
    return _answers[key]


def has_layout(prog_type: int) -> bool:
    """Whether the context of this type is in the table (not made by the BTF of what the program attaches to)."""
    return bool(_rows(prog_type, 0))


def context_size(prog_type: int, attach_type: int = 0) -> int:
    """The first offset behind all that can be read."""
    return max((last + size for _, size, _, last, _, _ in _rows(prog_type, attach_type)), default=0)


def _look_up(prog: int, attach: int, off: int, size: int, write: bool, version: tuple[int, int]) -> Access | None:
    way = "w" if write else "r"
    for row_way, row_size, first, last, step, kind in _rows(prog, attach):
        if row_way == way and row_size == size and first <= off <= last and (off - first) % step == 0:
            return _then(prog, attach, off, write, version, _access(kind, size))
    return None


def _access(kind: str, size: int) -> Access:
    if kind.startswith(_TRUSTED):
        return Access("btf", size, kind[len(_TRUSTED) :])
    return Access(kind, size)


def _then(prog: int, attach: int, off: int, write: bool, version: tuple[int, int], found: Access) -> Access | None:
    """What an older kernel makes of an access that the newest allows."""
    from ._context_since import since

    return found if version >= since(prog, attach, off, write) else None


def _rows(prog: int, attach: int) -> tuple[Row, ...]:
    """The block of that type and attach type; where the attach type does not matter, of the type."""
    if not _blocks:
        _fill()
    return _blocks.get((prog, attach)) or _blocks.get((prog, -1), ())


def _fill() -> None:
    from ..isa import table
    from ._gen.contexts import BLOCKS

    progs, attaches = table("PROG_TYPES"), table("ATTACH_TYPES")
    for rooms, rows in BLOCKS:
        for prog, attach in rooms:
            number = progs[prog]
            if attach:
                _blocks[number, attaches[attach]] = rows
            _blocks.setdefault((number, -1), rows)
