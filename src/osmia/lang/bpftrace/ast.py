"""The syntax tree of the bpftrace language.

Passes over it: parse -> expand (imports, macros, positional parameters) -> check (probes, types) -> lower (IR).
The parser fills the constructor fields; fields declared with `late()` are None until the pass named beside them sets
them.
"""

from __future__ import annotations

from ..._data import Data, MutableData, late
from .types import StructField, Type


class Span(Data):
    """Character offsets [start, end) in source number `source` of the compilation."""

    start: int
    end: int
    source: int = 0


class Node(MutableData):
    span: Span


# ---------------------------------------------------------------- types as written


class TypeName(Node):
    """`struct task_struct *`, `uint8[4]`, `int32*[4]*`, `string[64]`, `typeof(expr)`.

    `base` is the words in front ("struct task_struct", "uint8", "string"), or "" with `of` (typeof).
    `suffixes` are in source order: "*" or an array length (int; -1 for `[]`).
    """

    base: str
    suffixes: list[str | int] = []
    of: Expr | None = None


# ---------------------------------------------------------------- expressions


class Expr(Node):
    type: Type = late()  # check


class Integer(Expr):
    """Literal, also the value of a folded expression. `text` as written; a negative `value` only from folding."""

    value: int
    text: str = ""
    suffix: str = ""  # "", u, l, ul, ull, ...: as written, lower case
    declared: Type | None = None  # a folded expression keeps the type it had


class Boolean(Expr):
    value: bool


class String(Expr):
    """A literal: `value` has its escapes resolved; `data` is what the program gets."""

    value: str
    data: bytes = b""  # the bytes, UTF-8 for what was written literally, escapes as they say, no trailing NUL


class Positional(Expr):
    """`$1`, `$N` (`index`); `$#` has index 0. Replaced by a literal in expand."""

    index: int


class Name(Expr):
    """A bare identifier: builtin, enumerator, macro without parentheses, struct-less type in sizeof, stack mode, ..."""

    name: str


class Variable(Expr):
    """`$x`."""

    name: str  # with the $
    slot: VariableSlot = late()  # check


class VariableSlot(MutableData):
    """One scratch variable in one scope, all its uses share it."""

    name: str
    type: Type = late()
    captured: bool = False  # used inside a callback (loop body over a map)


class MapRef(Expr):
    """`@x` (key None) or `@x[key]`; several keys are one `TupleLiteral`."""

    name: str  # with the @
    key: Expr | None = None


class Call(Expr):
    """`name(args)`; an argument may be a `TypeName` where the function takes types."""

    name: str
    args: list[Expr | TypeName]


class Unary(Expr):
    """op: ! ~ - + * (dereference) & (address of) ++ -- ; `postfix` for x++ and x--."""

    op: str
    operand: Expr
    postfix: bool = False


class Binary(Expr):
    """op: + - * / % << >> & | ^ && || == != < > <= >=."""

    op: str
    left: Expr
    right: Expr


class Ternary(Expr):
    """`a ? b : c`; `a ?: c` has `then` None."""

    condition: Expr
    then: Expr | None
    otherwise: Expr


class Cast(Expr):
    to: TypeName
    operand: Expr
    target: Type = late()  # check


class Member(Expr):
    """`operand.name` (`arrow` False) or `operand->name`."""

    operand: Expr
    name: str
    arrow: bool = False
    field: StructField = late()  # check: for struct members, offset from the start of the operand's struct


class TupleIndex(Expr):
    """`operand.0`; check turns `operand[0]` on tuples into this."""

    operand: Expr
    index: int


class Index(Expr):
    """`operand[index]` on arrays, pointers and strings."""

    operand: Expr
    index: Expr


class TupleLiteral(Expr):
    items: list[Expr]


class RecordLiteral(Expr):
    """`(x=1, y=2)`."""

    names: list[str]
    items: list[Expr]


class SizeOf(Expr):
    operand: Expr | TypeName


class OffsetOf(Expr):
    of: Expr | TypeName
    fields: list[str]


class TypeInfo(Expr):
    operand: Expr | TypeName


class Comptime(Expr):
    operand: Expr


class BlockExpr(Expr):
    """`{ statements; value }`."""

    body: list[Stmt]
    value: Expr


class IfExpr(Expr):
    """`if` used as a value: both branches are `BlockExpr` or expressions."""

    condition: Expr
    then: Expr
    otherwise: Expr


# ---------------------------------------------------------------- statements


class Stmt(Node):
    pass


class ExprStmt(Stmt):
    expr: Expr


class Assign(Stmt):
    """`target op value`; op is "=", "+=", ... `target` is a Variable, a MapRef, or None for `_`."""

    target: Expr | None
    op: str
    value: Expr


class Declare(Stmt):
    """`let $x`, `let $x: T`, `let $x = v` and all three together."""

    target: Variable
    to: TypeName | None = None
    value: Expr | None = None


class If(Stmt):
    condition: Expr
    then: list[Stmt]
    otherwise: list[Stmt] = []


class While(Stmt):
    condition: Expr
    body: list[Stmt]


class ForRange(Stmt):
    """`for ($i : start..end)`: start included, end not."""

    target: Variable
    start: Expr
    end: Expr
    body: list[Stmt]
    captures: list[VariableSlot] = late()  # check: outer variables used in the body


class ForMap(Stmt):
    """`for ($kv : @map)`; $kv is a tuple (key, value)."""

    target: Variable
    map: MapRef
    body: list[Stmt]
    captures: list[VariableSlot] = late()  # check


class Unroll(Stmt):
    count: Expr
    body: list[Stmt]


class Break(Stmt):
    pass


class Continue(Stmt):
    pass


class Return(Stmt):
    value: Expr | None = None


class Block(Stmt):
    body: list[Stmt]


# ---------------------------------------------------------------- top level


class CDefinition(Node):
    """A C declaration or preprocessor line before the probes, as text."""

    text: str


class ConfigEntry(Node):
    name: str
    value: int | str | bool


class Import(Node):
    path: str


class MapDeclaration(Node):
    """`let @a = lruhash(1000);`"""

    name: str
    kind: str
    max_entries: Expr


class Macro(Node):
    """`macro name(expr, $var, @map) { ... }`: parameters keep their sigils; the body's value is `value` or nothing."""

    name: str
    params: list[str]
    body: list[Stmt]
    value: Expr | None = None


class AttachSpec(Node):
    """One attach point as written, unparsed (osmia.probes parses it), and what it matched."""

    text: str


class Probe(Node):
    """`[name=]attach, attach /predicate/ { body }`."""

    attach: list[AttachSpec]
    predicate: Expr | None
    body: list[Stmt]
    name: str = ""


class Script(Node):
    definitions: list[CDefinition]
    config: list[ConfigEntry]
    imports: list[Import]
    macros: list[Macro]
    maps: list[MapDeclaration]
    probes: list[Probe]
