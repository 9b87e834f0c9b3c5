"""What the type checker hands to the lowering: the expanded script with every expression typed."""

from __future__ import annotations

from ..._data import Data, MutableData
from ...objects import AttachPoint
from . import ast
from .types import StructDef, Type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...btf import Btf
    from ...errors import Diagnostic
    from .cdefs import EnumDef


class MapInfo(MutableData):
    """A script map. `key` None: scalar. `kind` is "" or what `let @a = kind(n)` said; `max_entries` 0: the default."""

    name: str
    key: Type | None = None
    value: Type | None = None
    kind: str = ""
    max_entries: int = 0
    span: ast.Span | None = None


class Config(Data):
    """Config variables with their defaults; names as in the language's reference."""

    cache_user_symbols: str = "PER_PID"
    cpp_demangle: bool = True
    lazy_symbolication: bool = False
    license: str = "GPL"
    log_size: int = 1_000_000
    max_bpf_progs: int = 1024
    max_cat_bytes: int = 10240
    max_map_keys: int = 4096
    max_probes: int = 1024
    max_strlen: int = 1024
    missing_probes: str = "error"
    on_stack_limit: int = 32
    perf_rb_pages: int = 0  # 0: by memory
    stack_mode: str = "bpftrace"
    str_trunc_trailer: str = ".."
    print_maps_on_exit: bool = True
    unstable_tseries: str = "warn"
    show_debug_info: bool = True

    @property
    def text_size(self) -> int:
        """Bytes of a string read from memory: one more than it may have tells one that was cut from one that fits."""
        return self.max_strlen + 1


class CheckedProbe(MutableData):
    """One program to generate: a probe block with the attach points that share its context layout.

    A block whose `args` differ between its matches comes as several CheckedProbes, each with its own copy of the tree.
    `provider` is the canonical name ("tracepoint", "uretprobe", "begin", ...).
    `args` describes `args`: for tracepoint and usdt offsets are from the start of the record; for fentry, fexit
    and rawtracepoint `offset` is 8 * argument index in the context array; for uprobes it is 8 * argument index.
    `retval` is the type of `retval` where the probe has one. `functions` lists ((arg name, Type), ...) where known.
    `index` numbers the source block (loss accounting, `AttachPoint.source`). `names` are the probe strings, one
    per attach point, for the `probe` builtin.
    """

    index: int
    provider: str
    attach: list[AttachPoint]
    names: list[str]
    predicate: ast.Expr | None
    body: list[ast.Stmt]
    span: ast.Span
    args: StructDef | None = None
    retval: Type | None = None
    uses: set[str] = set()  # builtins and functions that the block uses ("probe", "kstack", ...)
    test_name: str = ""  # test:name, bench:name
    usdt_args: tuple[object, ...] = ()  # elf.UsdtArg per argument, for usdt


class CheckedScript(MutableData):
    sources: list[Source]
    probes: list[CheckedProbe]
    maps: dict[str, MapInfo]
    config: Config
    structs: dict[str, StructDef]  # C definitions of the script, "struct x" / "union x" -> definition
    btf: Btf | None
    cpid: int = 0  # not 0 when there is a command (-c)
    unsafe: bool = False
    enums: dict[str, EnumDef] = {}  # C enums of the script, by tag
    module_btf: Callable[[str], Btf | None] | None = None  # the BTF of a kernel module

    def btf_of(self, t: Type) -> Btf | None:
        """The BTF that a type of store "btf" or "btf:module" is defined in; None for other types."""
        if t.store[:3] != "btf":
            return None
        module = t.store[4:]
        return self.module_btf(module) if module and self.module_btf is not None else self.btf

    def trail(self, span: ast.Span) -> str:
        """Where the macros that this place comes from were called, as messages show it; "" outside of macros."""
        return "\n".join(d.render() for d in trail(self.sources, span.source))


def trail(sources: Sequence[Source], number: int) -> tuple[Diagnostic, ...]:
    """The calls of macros that source `number` stands for, innermost first."""
    from .lexer import diagnostic

    found: list[Diagnostic] = []
    origin = sources[number].origin if 0 <= number < len(sources) else None
    while origin is not None:
        found.append(diagnostic(sources[origin.source], origin.start, origin.end, "expanded from"))
        origin = sources[origin.source].origin
    return tuple(found)


class Source(Data):
    """A source text. `name` is what messages call it ("stdin", a path).

    Nodes that a macro expanded to stand in a source of their own: the macro's, with `origin` saying which call it was.
    """

    name: str
    text: str
    origin: ast.Span | None = None

    def place(self, offset: int) -> tuple[int, int]:
        """(line, column) of a character offset, both from 1."""
        before = self.text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1

    def line(self, number: int) -> str:
        lines = self.text.split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else ""
