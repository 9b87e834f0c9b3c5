"""Would a kernel load this program? An abstract interpreter as the kernel's, with one profile per kernel version."""

from __future__ import annotations

from .._lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._explain import Explanation, Place, Step, explain
    from ._policy import Policy, Violation, load_policy
    from ._profile import Profile, profile, versions
    from ._reasons import reason
    from ._types import MapInfo, Program, Subprogram, Verdict
    from ._verify import from_spec, verify

# Imported on first use: the kernel's own refusals need the reasons alone.
_LAZY = {
    "Explanation": "_explain",
    "Place": "_explain",
    "Step": "_explain",
    "explain": "_explain",
    "Policy": "_policy",
    "Violation": "_policy",
    "load_policy": "_policy",
    "Profile": "_profile",
    "profile": "_profile",
    "versions": "_profile",
    "reason": "_reasons",
    "MapInfo": "_types",
    "Program": "_types",
    "Subprogram": "_types",
    "Verdict": "_types",
    "from_spec": "_verify",
    "verify": "_verify",
}

__all__ = [
    "Explanation",
    "MapInfo",
    "Place",
    "Policy",
    "Profile",
    "Program",
    "Step",
    "Subprogram",
    "Verdict",
    "Violation",
    "explain",
    "from_spec",
    "load_policy",
    "profile",
    "reason",
    "verify",
    "versions",
]

__getattr__ = lazy(__name__, _LAZY)
