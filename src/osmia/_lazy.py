"""Names that a package exports but imports only when somebody asks for them: the start path pays for what it uses."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def lazy(package: str, table: dict[str, str]) -> Callable[[str], object]:
    """A module-level `__getattr__` for `package`; `table` says which of its modules has each name."""

    def load(name: str) -> object:
        module = table.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(__import__(f"{package}.{module}", fromlist=["*"]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
