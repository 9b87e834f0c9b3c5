"""GFP flags as text, for the %gr conversion.

Bit positions are enum ___gfp_flags_bits of include/linux/gfp_types.h (6.10 and later, in that order); compound masks
come first, as a set that is wholly there is named as one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# fmt: off
BITS = (
    "DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH", "IO", "FS", "ZERO", "UNUSED", "DIRECT_RECLAIM",
    "KSWAPD_RECLAIM", "WRITE", "NOWARN", "RETRY_MAYFAIL", "NOFAIL", "NORETRY", "MEMALLOC", "COMP", "NOMEMALLOC",
    "HARDWALL", "THISNODE", "ACCOUNT", "ZEROTAGS",
)
# fmt: on
RECLAIM = ("DIRECT_RECLAIM", "KSWAPD_RECLAIM")
COMPOUND = (
    ("GFP_TRANSHUGE", ("IO", "FS", "HARDWALL", "HIGHMEM", "MOVABLE", "COMP", "NOMEMALLOC", "NOWARN", "DIRECT_RECLAIM")),
    ("GFP_TRANSHUGE_LIGHT", ("IO", "FS", "HARDWALL", "HIGHMEM", "MOVABLE", "COMP", "NOMEMALLOC", "NOWARN")),
    ("GFP_HIGHUSER_MOVABLE", (*RECLAIM, "IO", "FS", "HARDWALL", "HIGHMEM", "MOVABLE")),
    ("GFP_HIGHUSER", (*RECLAIM, "IO", "FS", "HARDWALL", "HIGHMEM")),
    ("GFP_USER", (*RECLAIM, "IO", "FS", "HARDWALL")),
    ("GFP_KERNEL_ACCOUNT", (*RECLAIM, "IO", "FS", "ACCOUNT")),
    ("GFP_KERNEL", (*RECLAIM, "IO", "FS")),
    ("GFP_NOFS", (*RECLAIM, "IO")),
    ("GFP_ATOMIC", ("HIGH", "KSWAPD_RECLAIM")),
    ("GFP_NOIO", RECLAIM),
    ("GFP_NOWAIT", ("KSWAPD_RECLAIM",)),
    ("GFP_DMA", ("DMA",)),
    ("GFP_DMA32", ("DMA32",)),
)


def _names() -> Iterator[tuple[int, str]]:
    bit = {name: 1 << position for position, name in enumerate(BITS)}
    for name, parts in COMPOUND:
        yield sum(bit[part] for part in parts), name
    for name in BITS:
        if name not in ("UNUSED", "DMA", "DMA32"):
            yield bit[name], "__GFP_" + name


def gfp_flags(flags: int) -> str:
    """Names joined by "|"; bits without a name in hexadecimal; "0" for none."""
    rest, said = int(flags), []
    for mask, name in _names():
        if rest & mask == mask:
            said.append(name)
            rest &= ~mask
    if rest or not said:
        said.append(f"0x{rest:x}" if rest else "0")
    return "|".join(said)
