"""The LLVM layer that all front-ends share: build IR as text, check it, compile it, take the result apart."""

from __future__ import annotations

from .._lazy import lazy
from ._builder import STACK_LIMIT, Function, Module
from ._check import check_text
from ._driver import Compiled, compile_guarded, compile_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._llvm import emit_native

__all__ = [
    "STACK_LIMIT",
    "Compiled",
    "Function",
    "Module",
    "check_text",
    "compile_guarded",
    "compile_module",
    "emit_native",
]

__getattr__ = lazy(__name__, {"emit_native": "_llvm"})
