"""BPF Type Format: read it lazily, build it, render it as C.

`load_kernel_btf()` gives the running kernel's types, `Btf(data)` those of any raw BTF. What is rarely needed
(builder, C rendering, .BTF.ext) is imported on first use.
"""

from __future__ import annotations

from .._lazy import lazy
from ._reader import Btf
from ._types import (
    KIND_ARRAY,
    KIND_CONST,
    KIND_DATASEC,
    KIND_DECL_TAG,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_INT,
    KIND_PTR,
    KIND_RESTRICT,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_TYPEDEF,
    KIND_UNION,
    KIND_VAR,
    KIND_VOID,
    KIND_VOLATILE,
    BtfType,
    Enumerator,
    Member,
    Param,
    SectionVar,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._builder import BtfBuilder
    from ._describe import declare, describe
    from ._ext import CoreRelo, ExtInfo, FuncInfo, LineInfo, build_ext, parse_ext
    from ._kernel import cache_dir, load_kernel_btf
    from ._render import render_c, struct_layout

_LAZY = {
    "BtfBuilder": "_builder",
    "CoreRelo": "_ext",
    "ExtInfo": "_ext",
    "FuncInfo": "_ext",
    "LineInfo": "_ext",
    "build_ext": "_ext",
    "cache_dir": "_kernel",
    "declare": "_describe",
    "describe": "_describe",
    "load_kernel_btf": "_kernel",
    "parse_ext": "_ext",
    "render_c": "_render",
    "struct_layout": "_render",
}

__all__ = [
    "KIND_ARRAY",
    "KIND_CONST",
    "KIND_DATASEC",
    "KIND_DECL_TAG",
    "KIND_ENUM",
    "KIND_ENUM64",
    "KIND_FLOAT",
    "KIND_FUNC",
    "KIND_FUNC_PROTO",
    "KIND_FWD",
    "KIND_INT",
    "KIND_PTR",
    "KIND_RESTRICT",
    "KIND_STRUCT",
    "KIND_TYPEDEF",
    "KIND_TYPE_TAG",
    "KIND_UNION",
    "KIND_VAR",
    "KIND_VOID",
    "KIND_VOLATILE",
    "Btf",
    "BtfBuilder",
    "BtfType",
    "CoreRelo",
    "Enumerator",
    "ExtInfo",
    "FuncInfo",
    "LineInfo",
    "Member",
    "Param",
    "SectionVar",
    "build_ext",
    "cache_dir",
    "declare",
    "describe",
    "load_kernel_btf",
    "parse_ext",
    "render_c",
    "struct_layout",
]

__getattr__ = lazy(__name__, _LAZY)
