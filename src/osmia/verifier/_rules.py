"""What a kernel version makes of numbers: the functions of `_scalar_alu` and `_scalar_branch`, or their older kin."""

from __future__ import annotations

from . import _scalar_alu, _scalar_branch
from ._scalar import sync as newest_sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._profile import Profile
    from ._scalar import Scalar
    from ._scalar_branch import Pair

# The stable tree of 6.18 has what newer kernels learned; profile 6.18 is that tree.
NEWEST = (6, 18)


class Rules:
    """Immutable; each field has the signature of the function of the same name of the newest kernel."""

    __slots__ = ("alu", "byte_order", "decide", "forks", "mov32", "moved", "movsx", "neg", "refine", "sync", "truncate")

    def __init__(
        self,
        arithmetic: Any,
        branches: Any,
        sync: Callable[..., Scalar],
        *,
        forks: bool = True,
        byte_order: bool = True,
    ) -> None:
        self.alu: Callable[[int, Scalar, Scalar, bool], Scalar] = arithmetic.alu
        self.neg: Callable[[Scalar, bool], Scalar] = arithmetic.neg
        self.mov32: Callable[[Scalar], Scalar] = arithmetic.mov32
        self.moved: Callable[[Scalar, int], Scalar] = arithmetic.moved
        self.movsx: Callable[[Scalar, int, bool], Scalar] = arithmetic.movsx
        self.truncate: Callable[[Scalar, int], Scalar] = arithmetic.truncate
        self.decide: Callable[[int, Scalar, Scalar, bool], bool | None] = branches.decide
        self.refine: Callable[[int, Scalar, Scalar, bool], tuple[Pair, Pair]] = branches.refine
        self.sync = sync
        self.forks = forks
        self.byte_order = byte_order


NEWEST_RULES = Rules(_scalar_alu, _scalar_branch, newest_sync)
_known: dict[tuple[int, int], Rules] = {}


def rules(profile: Profile) -> Rules:
    """The rules of that version."""
    version = profile.version
    if version >= NEWEST:
        return NEWEST_RULES
    found = _known.get(version)
    if found is None:
        found = _known[version] = _older(profile)
    return found


def _older(profile: Profile) -> Rules:
    from . import _scalar_older as older
    from ._scalar_older_alu import Arithmetic
    from ._scalar_older_branch import Branches, ClassicBranches

    version = profile.version
    if version < (6, 8):
        sync = older.sync_classic if profile.has("bounds32") else older.sync_wide
        return Rules(Arithmetic(version, sync), ClassicBranches(version, sync), sync, forks=False, byte_order=False)
    stable = profile.has("ranges_across_sign")
    if stable:
        sync = older.sync_three_rounds
    else:
        sync = older.sync_two_rounds_extended if version >= (6, 12) else older.sync_two_rounds
    branches = Branches(sync, tnums=profile.has("known_bits_differ"))
    return Rules(Arithmetic(version, sync), branches, sync, forks=profile.has("sign_forks"), byte_order=False)
