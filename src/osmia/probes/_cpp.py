"""Names of C++ functions as programmers write them."""

from __future__ import annotations

from ._glob import matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def demangle(name: str) -> str:
    """The readable name of a mangled C++ function ("A::f(int)"), or `name` itself when it cannot be told."""
    if not name.startswith("_Z"):
        return name
    try:
        from itanium_demangler import parse
    except ImportError:
        return name
    try:
        tree = parse(name)
    except (NotImplementedError, IndexError, ValueError, RecursionError):
        return name  # a form that the library does not know
    return name if tree is None else str(tree)


def without_params(name: str) -> str:
    """The readable name up to its parameter list; templates and `operator()` keep their brackets."""
    depth = 0
    at = len(name)
    end = name.rfind(")")
    if end < 0 or name[end + 1 :].strip() not in ("", "const", "volatile", "&", "&&", "const &"):
        return name
    for at in range(end, -1, -1):
        depth += (name[at] == ")") - (name[at] == "(")
        if not depth:
            break
    return name if name[:at].endswith("operator") or at == 0 else name[:at]


def cpp_matcher(pattern: str) -> Callable[[str], object]:
    """A function that says whether a mangled name matches a readable pattern.

    Parameters count only if the pattern has a bracket.
    """
    accepts = matcher(pattern)
    whole = "(" in pattern

    def check(mangled: str) -> object:
        if accepts(mangled):
            return True
        if not mangled.startswith("_Z"):
            return False
        readable = demangle(mangled)
        return accepts(readable if whole else without_params(readable))

    return check
