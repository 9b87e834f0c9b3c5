"""Addresses to names: the kernel's, those of processes that run or have ended, C++ and Rust names made readable."""

from __future__ import annotations

from .._lazy import lazy
from ._symbol import UNKNOWN, Symbol, format_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._demangle import demangle
    from ._history import History
    from ._kernel import KernelSymbols
    from ._process import ProcessSymbols
    from ._user import UserSymbols

_LAZY = {
    "History": "_history",
    "KernelSymbols": "_kernel",
    "ProcessSymbols": "_process",
    "UserSymbols": "_user",
    "demangle": "_demangle",
}

__all__ = [
    "UNKNOWN",
    "History",
    "KernelSymbols",
    "ProcessSymbols",
    "Symbol",
    "UserSymbols",
    "demangle",
    "format_frame",
]

__getattr__ = lazy(__name__, _LAZY)
