"""The LLVM layer that all front-ends share: build IR as text, check it, compile it, take the result apart."""

from ._builder import STACK_LIMIT, Function, Module
from ._check import check_text
from ._driver import Compiled, compile_guarded, compile_module

__all__ = ["STACK_LIMIT", "Compiled", "Function", "Module", "check_text", "compile_guarded", "compile_module"]
