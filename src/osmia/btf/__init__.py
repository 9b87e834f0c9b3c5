"""BPF Type Format: read it lazily, build it, render it as C.

`load_kernel_btf()` gives the running kernel's types, `Btf(data)` those of any raw BTF. What is rarely needed
(builder, C rendering, .BTF.ext) is imported on first use.
"""

from __future__ import annotations

from ._reader import Btf
from ._types import BtfType, Enumerator, Member, Param, SectionVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._builder import BtfBuilder
    from ._kernel import load_kernel_btf

_LAZY = {
    "BtfBuilder": "_builder",
    "load_kernel_btf": "_kernel",
}

__all__ = [
    "Btf",
    "BtfBuilder",
    "BtfType",
    "Enumerator",
    "Member",
    "Param",
    "SectionVar",
    "load_kernel_btf",
]


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        if name.startswith("KIND_"):
            from . import _types

            return getattr(_types, name)
        raise AttributeError(f"module 'osmia.btf' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
