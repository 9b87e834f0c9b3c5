"""A resolved address, and how frames of a stack are written."""

from __future__ import annotations

from .._data import Data


class Symbol(Data):
    """What an address belongs to. `name` is "" when nothing is known there, else `offset` is bytes from its start.

    `module` is "kernel" or a kernel module's name, the path of an ELF file, "[vdso]", or "" (code that a JIT made).
    Without a name, `offset` counts from where the file lays out its bytes (an ELF address), or is 0. `size` is 0 where
    the symbol table does not say; `mangled` is the name as it stands there when `name` is made readable.
    `file` and `line` are where the address is in the source, "" and 0 where no debug information says. An `inlined`
    function is one whose code was put into another; it has no offset.
    """

    name: str
    offset: int = 0
    module: str = ""
    size: int = 0
    mangled: str = ""
    file: str = ""
    line: int = 0
    inlined: bool = False

    def __bool__(self) -> bool:
        return bool(self.name)


UNKNOWN = Symbol("")


def format_frame(symbol: Symbol, address: int, mode: str = "bpftrace", *, offset: bool = True) -> str:
    """One frame as text: `name+offset`, unknown addresses in hex.

    mode "bpftrace": `vfs_read+12`, `0x7f2a1c`, with debug information `main+8@/src/a.c:12`,
    `[inlined] f@/src/a.c:3`; "perf": `ffffffff8130 vfs_read+12 (kernel)`, `7f2a 0x7f2a ([unknown])`;
    "raw": the address in hex without a prefix. `offset` False leaves `+offset` out.
    """
    if mode == "raw":
        return f"{address:x}"
    if symbol.inlined:
        return f"{address:x} {symbol.name} (inlined)" if mode == "perf" else f"[inlined] {symbol.name}{_place(symbol)}"
    text = f"{address:#x}"
    if symbol.name:
        text = f"{symbol.name}+{symbol.offset}" if offset else symbol.name
    if mode == "perf":
        return f"{address:x} {text} ({symbol.module or '[unknown]'})"
    return text + _place(symbol)


def _place(symbol: Symbol) -> str:
    return f"@{symbol.file}:{symbol.line}" if symbol.file else ""
