"""What the checker knows while it walks: the environment, the maps, the probe it is in, the scopes, the errors."""

from __future__ import annotations

from ..._data import MutableData
from ...errors import Diagnostic
from . import ast
from ._check_types import UNKNOWN, promote, same, spaced_like, stored
from .checked import Config, trail
from .types import StructDef, Type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...btf import Btf
    from ...errors import PermissionDenied
    from .cdefs import EnumDef
    from .checked import Source
    from .dwarftypes import DwarfTypes


class Environment(MutableData):
    """What `check` is given besides the script.

    `definitions` are the C definitions (`cdefs.Definitions`), None when it has none. `btf` is the kernel's BTF,
    or a function that loads it: most one-liners need no BTF, and then it is not called. `catalogue` resolves probes
    (`osmia.probes.Catalogue`).
    `pid` limits user probes to a process, `cpid` is the process of -c. `params` are the positional
    parameters, for `$1` in attach points. Warnings are added to `warnings`.
    """

    sources: list[Source]
    definitions: Any = None
    btf: Btf | Callable[[], Btf | None] | None = None
    catalogue: Any = None
    config: Config = Config()
    pid: int = 0
    cpid: int = 0
    unsafe: bool = False
    arch: str = "x86_64"
    params: tuple[str, ...] = ()
    warnings: list[Diagnostic] = []


class MapState(MutableData):
    """What is known of a map. `keyed` is None until a use shows whether it has keys."""

    name: str
    keyed: bool | None = None
    keyed_span: ast.Span | None = None
    key: Type = UNKNOWN
    value: Type = UNKNOWN
    value_span: ast.Span | None = None
    argument: Type = UNKNOWN  # what sum(), min(), ... were called with
    kind: str = ""
    max_entries: int = 0
    span: ast.Span | None = None  # where it is declared or first used
    read: bool = False  # used as a value, so it may come into being by that (`@x++`)
    read_span: ast.Span | None = None  # where its value is first looked at
    assigned: bool = False  # something may put a value into it


class Context(MutableData):
    """The probe whose body is walked. `space` is where its integer arguments point to if cast to pointers."""

    provider: str = ""
    space: str = ""
    args: StructDef | None = None
    args_type: Type | None = None
    args_error: str = ""
    retval: Type | None = None
    target: str = ""
    function: str = ""
    probe_name: str = ""
    names: list[str] = []
    uses: set[str] = set()
    split_by_name: bool = False
    reads_name: bool = False  # uses `probe`
    usdt_count: int = -1  # number of arguments, -1 when not known
    unreadable: dict[str, str] = {}  # arguments that no program can read -> why


class Loop(MutableData):
    """A loop whose body is a callback: slots of `outer` scopes that it uses are captured."""

    depth: int
    captures: list[ast.VariableSlot] = []


class State:
    """One run of the checker. `final` is False while types are inferred: no error is reported then."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.config = env.config
        self.final = False
        self.changed = False
        self.settling = False  # types are stable: fold sizeof, typeinfo and conditions on them
        self.unsettled = False  # something to fold when types are stable was seen
        self.folded = False
        self.settled: list[tuple[ast.Expr, Type]] = []  # expressions whose type was folded into a constant
        self.maps: dict[str, MapState] = {}
        self.ctx = Context()
        self.scopes: list[dict[str, ast.VariableSlot]] = []
        self.loops: list[Loop] = []
        self.loop_depth = 0
        self.quiet = 0  # inside of sizeof and the like: nothing there is run
        self.errors: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []
        self.denied: PermissionDenied | None = None  # why a probe cannot be looked for
        self.unresolved: list[tuple[ast.Span, str, str]] = []  # place, message, hint
        self._seen: set[tuple[int, int, int, str]] = set()
        self._btf: Btf | None = None
        self._btf_loaded = False
        self.structs: dict[str, StructDef] = {}
        self.enums: dict[str, EnumDef] = {}  # of DWARF, by "dwarf N"
        self._dwarf: DwarfTypes | None = None
        self.assigned: set[int] = set()  # ids of slots that were given a value
        self.assigned_later: set[int] = set()  # those of the walk before the final one
        self.slots: list[ast.VariableSlot] = []  # all of them
        self.declared: dict[int, Type] = {}  # slot id -> the type it was declared with
        self.placed: set[int] = set()  # slots of declared pointers whose address space is known
        self.value_spans: dict[int, ast.Span] = {}  # slot id -> where it got its type
        self.flexible: list[ast.Expr] = []  # nodes whose type may still carry marks of inference
        self.beside_text = False  # the other operand of the comparison at hand is a string
        self.recheck = False  # only asking for types of nodes that are bound already
        self.dead = 0  # inside of a branch whose condition is a false literal

    @property
    def btf(self) -> Btf | None:
        if not self._btf_loaded:
            self._btf_loaded = True
            given = self.env.btf
            self._btf = given() if callable(given) else given
        return self._btf

    def btf_of(self, t: Type) -> Btf | None:
        """The BTF that a struct type's id belongs to."""
        module = t.store[4:]
        if module and self.env.catalogue is not None:
            found: Btf | None = self.env.catalogue.module_btf(module)
            return found
        return self.btf

    @property
    def dwarf(self) -> DwarfTypes:
        """The types of the programs that are probed."""
        if self._dwarf is None:
            from .dwarftypes import DwarfTypes

            self._dwarf = DwarfTypes(self.structs, self.enums)
        return self._dwarf

    @property
    def loaded_btf(self) -> Btf | None:
        """The BTF if anything needed it."""
        if self._btf_loaded:
            return self._btf
        return None if callable(self.env.btf) else self.env.btf

    # ------------------------------------------------------------ diagnostics

    def error(self, span: ast.Span, message: str, hint: str = "") -> None:
        """Report an error, once, in the final walk."""
        if self.final:
            self._report("error", span, message, hint, self.errors)

    def consequence(self, span: ast.Span, message: str, hint: str = "") -> None:
        """Report what another error that is reported leads to: it adds nothing to that one."""
        before = len(self.errors)
        self.error(span, message, hint)
        if len(self.errors) > before:
            self.errors[-1] = self.errors[-1].replace(follows=True)

    def fatal(self, span: ast.Span, message: str, hint: str = "") -> None:
        """Report an error that does not depend on inferred types, in whichever walk sees it."""
        self._report("error", span, message, hint, self.errors)

    def noted(self, span: ast.Span, message: str, hint: str = "") -> None:
        """Report a warning in whichever walk sees it."""
        self._report("warning", span, message, hint, self.warnings)

    def warn(self, span: ast.Span, message: str, hint: str = "") -> None:
        if self.final and not self.quiet:
            self._report("warning", span, message, hint, self.warnings)

    def _report(self, severity: str, span: ast.Span, message: str, hint: str, into: list[Diagnostic]) -> None:
        key = (span.source, span.start, span.end, message)
        if key in self._seen:
            return
        self._seen.add(key)
        into.append(self.diagnostic(severity, span, message, hint))

    def diagnostic(self, severity: str, span: ast.Span, message: str, hint: str = "") -> Diagnostic:
        if not 0 <= span.source < len(self.env.sources):
            return Diagnostic(severity, message, hint=hint)
        source = self.env.sources[span.source]
        line, col = source.place(span.start)
        end_line, end_col = source.place(max(span.end, span.start))
        found = Diagnostic(severity, message, source.name, line, col, end_line, end_col, source.line(line), hint)
        return found if source.origin is None else found.replace(trail=trail(self.env.sources, span.source))

    def place(self, span: ast.Span | None) -> str:
        """`line:col` for messages that point to another place."""
        if span is None or not 0 <= span.source < len(self.env.sources):
            return ""
        line, col = self.env.sources[span.source].place(span.start)
        return f"{line}:{col}"

    # ------------------------------------------------------------ variables

    def find(self, name: str) -> tuple[ast.VariableSlot, int] | None:
        """The slot of a variable in sight and the depth of its scope."""
        for depth in range(len(self.scopes) - 1, -1, -1):
            slot = self.scopes[depth].get(name)
            if slot is not None:
                return slot, depth
        return None

    def declare(self, v: ast.Variable) -> ast.VariableSlot:
        """Bind a variable in the innermost scope. Its slot stays the same from walk to walk."""
        if v.slot is None:
            v.slot = ast.VariableSlot(v.name)
            v.slot.type = UNKNOWN
            v.slot.captured = False
            self.slots.append(v.slot)
        self.scopes[-1][v.name] = v.slot
        return v.slot

    def orphan(self, name: str) -> ast.VariableSlot:
        """A slot for a variable that does not exist, so that later passes find one."""
        slot = ast.VariableSlot(name)
        slot.type = UNKNOWN
        slot.captured = False
        return slot

    def use(self, slot: ast.VariableSlot, depth: int) -> None:
        """Note that callbacks around this place need the variable."""
        for loop in self.loops:
            if depth < loop.depth:
                slot.captured = True
                if all(c is not slot for c in loop.captures):
                    loop.captures.append(slot)

    def refine(self, slot: ast.VariableSlot, t: Type, span: ast.Span) -> bool:
        """Widen a variable's type by a value's; False if they have nothing in common."""
        if id(slot) in self.declared:
            self._adopt_space(slot, t)
            return True
        if t is UNKNOWN:
            return True
        old = slot.type
        new = promote(old, stored(t))
        if new is None:
            return False
        if old is UNKNOWN:
            self.value_spans[id(slot)] = span
        if new is not old and new != old:
            slot.type = new
            self.changed = True
        return True

    def _adopt_space(self, slot: ast.VariableSlot, t: Type) -> None:
        """`let $p : struct x *` does not say whose memory it means: the first value does."""
        if t.kind not in ("pointer", "array") or slot.type.kind != t.kind or id(slot) in self.placed:
            return
        self.placed.add(id(slot))
        told = spaced_like(slot.type, t)
        if told is not slot.type:
            slot.type = told
            self.changed = True

    # ------------------------------------------------------------ maps

    def map(self, name: str, span: ast.Span) -> MapState:
        found = self.maps.get(name)
        if found is None:
            found = self.maps[name] = MapState(name, span=span)
        return found

    def refine_key(self, m: MapState, t: Type) -> bool:
        if t is UNKNOWN:
            return True
        new = promote(m.key, stored(t))
        if new is None:
            return False
        if new is not m.key and new != m.key:
            m.key = new
            self.changed = True
        return True

    def refine_value(self, m: MapState, t: Type, span: ast.Span) -> bool:
        if t is UNKNOWN:
            return True
        if m.value.is_aggregation and not same(m.value, t):
            return False
        new = promote(m.value, stored(t))
        if new is None:
            return False
        if m.value is UNKNOWN:
            m.value_span = span
        if new is not m.value and new != m.value:
            m.value = new
            self.changed = True
        return True
