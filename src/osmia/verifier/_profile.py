"""Kernel versions as profiles: what each can do, as far as a verifier's answer depends on it."""

from __future__ import annotations

from .._data import Data
from ..errors import OsmiaError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._features import Feature

NEWEST = (6, 18)
OLDEST = (4, 14)
_LAST_MINOR = {4: 20, 5: 19}
MILLION = 1_000_000
_SMALL = 4096


class Profile(Data):
    """One kernel version; `privileged` is False for a loader without CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN."""

    version: tuple[int, int]
    privileged: bool = True

    @property
    def name(self) -> str:
        """`6.1`."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def insn_limit(self) -> int:
        """Instructions of a program: 4096, and a million for the privileged since 5.2 (c04c0d2b968a)."""
        return MILLION if self.privileged and self.has("million_insns") else _SMALL

    @property
    def complexity_limit(self) -> int:
        """Instructions that the verifier walks before it gives up."""
        return MILLION if self.has("million_insns") else 131072

    @property
    def bounded_loops(self) -> bool:
        """Back edges are walked rather than refused; for the privileged only."""
        return self.privileged and self.has("bounded_loops")

    @property
    def max_stack(self) -> int:
        """Bytes of stack of a chain of calls."""
        return 512

    @property
    def max_frames(self) -> int:
        """Functions on the stack at a time."""
        return 8 if self.has("bpf_calls") else 1

    def has(self, feature: str) -> bool:
        """Whether this kernel has a row of FEATURES; KeyError for a name that is none."""
        from ._features import FEATURES

        row = FEATURES[feature]
        return self.version >= row.since or self.version in row.stable

    def unprivileged(self) -> Profile:
        """The same kernel for a loader without privileges."""
        return Profile(self.version, False)


def profile(name: str | tuple[int, int] | None = None, *, privileged: bool = True, known: bool = False) -> Profile:
    """The profile of a kernel version as `uname -r` prints it (`6.1`, `5.10.0-23-amd64`); None is the newest known.

    Raises OsmiaError for text that is no version and for versions before 4.14. A newer kernel is treated as the newest,
    unless it must be a `known` one.
    """
    version = NEWEST if name is None else _parse(name) if isinstance(name, str) else name
    if not isinstance(version, tuple) or [type(part) for part in version] != [int, int]:
        raise UsageError(
            f"choose kernel {name!r}: {type(name).__name__} is no version", hint='give a text, as in "6.1"'
        )
    if version < OLDEST:
        raise OsmiaError(f"choose kernel {name}: profiles begin at 4.14", hint="name 4.14 or a later version")
    if known and version > NEWEST:
        newest = f"{NEWEST[0]}.{NEWEST[1]}"
        raise OsmiaError(f"choose kernel {name}: profiles end at {newest}", hint=f"name one from 4.14 to {newest}")
    if version[1] > _LAST_MINOR.get(version[0], 99):
        last = f"{version[0]}.{_LAST_MINOR[version[0]]}"
        raise OsmiaError(f"choose kernel {name}: there was none", hint=f"the last one of that series was {last}")
    return Profile(min(version, NEWEST), privileged)


def versions() -> tuple[str, ...]:
    """Every kernel version that has a profile, oldest first."""
    out = [
        f"{major}.{minor}"
        for major, last in _LAST_MINOR.items()
        for minor in range(last + 1)
        if (major, minor) >= OLDEST
    ]
    return (*out, *(f"6.{minor}" for minor in range(NEWEST[1] + 1)))


def _parse(name: str) -> tuple[int, int]:
    major, _, rest = name.strip().removeprefix("v").partition(".")
    minor = rest.split(".")[0].split("-")[0].split("+")[0]
    if not (major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        raise OsmiaError(f"choose kernel {name!r}: no version", hint="write MAJOR.MINOR, as in 6.1")
    return int(major), int(minor)


def __getattr__(name: str) -> dict[str, Feature]:
    if name == "FEATURES":
        from ._features import FEATURES

        return FEATURES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
