"""Names of C++ functions as programmers write them, for `uprobe:FILE:cpp:NAME`."""

from __future__ import annotations

from ..errors import NotSupported
from ._glob import matcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# What the demangler wraps around the name of a member function: const, volatile, & and &&.
_QUALIFIERS = ("cv_qual", "lvalue", "rvalue")


def readable_names(mangled: str) -> tuple[str, str] | None:
    """("A::f", "A::f(int)") of a mangled C++ function; None when it is none, or of a form that is not understood."""
    if not mangled.startswith("_Z"):
        return None
    try:
        from itanium_demangler import parse
    except ImportError:
        raise NotSupported(
            "match C++ names: the package itanium-demangler is not installed",
            feature="C++ names",
            hint="pip install itanium-demangler, or write the mangled name without cpp",
        ) from None
    try:
        tree = parse(mangled)
        if tree is None:
            return None
        if tree.kind != "func":
            return str(tree), str(tree)
        name = tree.name
        while name.kind in _QUALIFIERS:
            name = name.value
        params = ", ".join(map(str, tree.arg_tys))
    except (NotImplementedError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return str(name), f"{name}({'' if params == 'void' else params})"


def cpp_matcher(pattern: str) -> Callable[[str], object]:
    """A function that says whether a mangled name matches a readable pattern.

    Parameters count only if the pattern has a bracket. Names that are not mangled match as they are.
    """
    accepts = matcher(pattern)
    whole = "(" in pattern

    def check(mangled: str) -> object:
        names = readable_names(mangled)
        return accepts(mangled) or (names is not None and accepts(names[whole]))

    return check
