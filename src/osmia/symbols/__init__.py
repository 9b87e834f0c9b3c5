"""Addresses to names: the kernel's, those of processes that run or have ended, C++ and Rust names made readable."""

from __future__ import annotations

from ._symbol import UNKNOWN, Symbol, format_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._demangle import demangle
    from ._kernel import KernelSymbols
    from ._process import ProcessSymbols
    from ._user import UserSymbols

_LAZY = {
    "KernelSymbols": "_kernel",
    "ProcessSymbols": "_process",
    "UserSymbols": "_user",
    "demangle": "_demangle",
}

__all__ = ["UNKNOWN", "KernelSymbols", "ProcessSymbols", "Symbol", "UserSymbols", "demangle", "format_frame"]


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'osmia.symbols' has no attribute {name!r}")
    value = getattr(__import__(f"{__name__}.{module}", fromlist=["*"]), name)
    globals()[name] = value
    return value
