"""BTF as C: a header that any C compiler lays out as the types say, and layouts for people."""

from __future__ import annotations

from ..errors import BtfError
from ._describe import KEYWORDS, MAX_WORK, Declarator
from ._layout import Layout
from ._types import (
    COMPOSITE,
    ENUMS,
    KIND_ARRAY,
    KIND_DECL_TAG,
    KIND_ENUM64,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_PTR,
    KIND_TYPEDEF,
    KIND_UNION,
    KIND_VAR,
    REFERENCES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._reader import Btf
    from ._types import BtfType

_TAGGED = COMPOSITE | ENUMS | {KIND_FWD}
# Types that compilers declare themselves.
_BUILTIN = ("__builtin_va_list",)
_ENUM_MODES = {1: "QI", 2: "HI", 8: "DI"}
# Deepest chain of definitions that need one another; vmlinux needs about 60.
_MAX_DEPTH = 250


def render_c(btf: Btf, ids: Iterable[int] | None = None) -> str:
    """C declarations of these types and all that they need, in an order that compiles.

    Without `ids`: every struct, union, enum and typedef. Functions and variables are declared when asked for by id.
    A second type of a name already taken is called `name___2`. Gaps are written as unnamed bit fields.
    """
    run = _Renderer(btf)
    for id in _all_ids(btf) if ids is None else ids:
        run.left = MAX_WORK
        run.top(id)
    return "".join(f"{text}\n" for text in run.out)


def _all_ids(btf: Btf) -> Iterator[int]:
    inner: set[int] = set()  # anonymous enums that stand inside another type
    wanted = []
    for id in range(1, btf.end_id):
        t = btf.type(id)
        inner.update(m.type_id for m in t.members)
        if t.kind in REFERENCES or t.kind == KIND_ARRAY:
            inner.add(t.type_id)
        if t.kind == KIND_TYPEDEF or (t.kind in _TAGGED and (t.name or t.kind in ENUMS)):
            wanted.append((id, bool(t.name)))
    return (id for id, named in wanted if named or id not in inner)


class _Renderer(Declarator):
    """Writes each type once, after those that it needs whole; those it only points to are declared."""

    def __init__(self, btf: Btf) -> None:
        super().__init__(btf)
        self.out: list[str] = []
        self.layout = Layout(btf)
        self.names: dict[int, str] = {}
        self.taken: dict[tuple[str, str], int] = {}  # (name space, name) -> how many have it
        self.forward: dict[str, str] = {}  # forward-declared name -> its tag, shared with the definition
        self.done: set[int] = set()
        self.begun: set[int] = set()
        self.declared: set[str] = set()
        self.weak: set[int] = set()

    def top(self, id: int) -> None:
        """Write one type that was asked for."""
        t = self.btf.type(id)
        self.need(id, True, 0)
        if t.kind in (KIND_FUNC, KIND_VAR):
            extern = "extern " if t.kind == KIND_VAR else ""
            self.out.append(f"{extern}{self.declare(id if t.kind == KIND_FUNC else t.type_id, t.name)};\n")
        elif t.kind in ENUMS and not t.name:
            self.out.append(f"{self.enum_body(t)};\n")

    # order

    def need(self, id: int, whole: bool, depth: int) -> None:
        """Make sure that `id` can be used in what is written next; `whole`: its size must be known."""
        if id == 0 or id in self.done or (not whole and id in self.weak):
            return
        if depth > _MAX_DEPTH:
            raise BtfError(f"render BTF type {id}: types need each other in a cycle")
        t = self.btf.type(id)
        depth += 1
        if t.kind in COMPOSITE:
            self.need_struct(t, whole, depth)
        elif t.kind == KIND_TYPEDEF:
            self.need_typedef(t, whole, depth)
        elif t.kind in ENUMS:
            if t.name:
                self.out.append(f"{self.enum_body(t)};\n")
                self.done.add(id)
        elif t.kind == KIND_FWD:
            self.announce(t)
        elif t.kind == KIND_FUNC_PROTO:
            self.weak.add(id)
            for p in t.params:
                self.need(p.type_id, False, depth)
            self.need(t.type_id, False, depth)
        elif t.kind == KIND_ARRAY:
            self.need(t.type_id, True, depth)
        elif t.kind in REFERENCES and t.kind != KIND_DECL_TAG:
            self.need(t.type_id, whole and t.kind != KIND_PTR, depth)

    def need_struct(self, t: BtfType, whole: bool, depth: int) -> None:
        if t.name and not whole:
            self.announce(t)
            return
        if t.id in self.begun:
            raise BtfError(f"render BTF type {t.id}: {KEYWORDS[t.kind]} {t.name!r} contains itself")
        self.begun.add(t.id)
        for m in t.members:
            self.need(m.type_id, True, depth)
        if t.name:
            self.out.append(f"{self.struct_body(t)};\n")
            self.declared.add(self.base_name(t))
            self.done.add(t.id)
        else:
            # Written where it is used; what it needs is there now.
            self.begun.discard(t.id)
            self.done.add(t.id)

    def need_typedef(self, t: BtfType, whole: bool, depth: int) -> None:
        if t.id not in self.weak:
            if t.id in self.begun:
                raise BtfError(f"render BTF type {t.id}: typedef {t.name!r} needs itself")
            self.begun.add(t.id)
            self.need(t.type_id, False, depth)
            if t.name not in _BUILTIN:
                self.out.append(f"typedef {self.declare(t.type_id, self.unique(t, 'name'))};\n")
            self.weak.add(t.id)
        if whole:
            self.need(t.type_id, True, depth)
            self.done.add(t.id)

    def announce(self, t: BtfType) -> None:
        name = self.base_name(t)
        if name not in self.declared:
            self.declared.add(name)
            self.out.append(f"{name};\n")

    # names

    def unique(self, t: BtfType, space: str) -> str:
        name = self.names.get(t.id)
        if name is None:
            name = self.names[t.id] = self.fresh(t.name, space)
        return name

    def fresh(self, name: str, space: str) -> str:
        """`name`, or `name___2` if it was given away in this name space before."""
        count = self.taken[space, name] = self.taken.get((space, name), 0) + 1
        return name if count == 1 else f"{name}___{count}"

    def base_name(self, t: BtfType) -> str:
        if t.kind == KIND_FWD:
            return f"{'union' if t.flag else 'struct'} {self.forward_tag(t.name, t.flag)}"
        if t.kind == KIND_TYPEDEF:
            return self.names.get(t.id, t.name)
        if t.kind not in KEYWORDS:
            return super().base_name(t)
        if not t.name:
            return self.enum_body(t) if t.kind in ENUMS else self.struct_body(t)
        if t.id not in self.names and t.kind in COMPOSITE:
            # The first struct of a name is the one that forward declarations of that name mean.
            self.names[t.id] = self.forward_first(t)
        return f"{KEYWORDS[t.kind]} {self.unique(t, 'tag')}"

    def forward_tag(self, name: str, union: bool) -> str:
        key = f"{'union' if union else 'struct'} {name}"
        tag = self.forward.get(key)
        if tag is None:
            tag = self.forward[key] = self.fresh(name, "tag")
        return tag

    def forward_first(self, t: BtfType) -> str:
        key = f"{KEYWORDS[t.kind]} {t.name}"
        if f"defined {key}" in self.forward:
            return self.fresh(t.name, "tag")
        self.forward[f"defined {key}"] = ""
        return self.forward_tag(t.name, t.kind == KIND_UNION)

    # bodies

    def struct_body(self, t: BtfType) -> str:
        """`struct name {...} __attribute__((packed))`, several lines, no semicolon."""
        head = f"{self.base_name(t) if t.name else KEYWORDS[t.kind]} {{"
        self.enter(t)
        packed, _ = self.layout.packed(t)
        lines = []
        at = 0
        for m in t.members:
            lines += self.layout.padding_before(m, at, packed)
            declared = self.declare(m.type_id, m.name)
            lines.append(f"{declared}: {m.bit_size};" if m.bit_size else f"{declared};")
            end = m.bit_offset + (m.bit_size or 8 * self.btf.size_of(m.type_id))
            at = max(at, end) if t.kind == KIND_UNION else end
        lines += self.layout.padding_after(t, at)
        self.depth -= 1
        inside = "".join(f"\t{line}\n" for text in lines for line in text.split("\n"))
        return f"{head}\n{inside}}}{' __attribute__((packed))' if packed else ''}"

    def enum_body(self, t: BtfType) -> str:
        """`enum name {...}`, several lines, no semicolon."""
        head = f"enum {self.unique(t, 'tag')} {{" if t.name else "enum {"
        suffix = ("LL" if t.signed else "ULL") if t.kind == KIND_ENUM64 else ""
        lines = [f"\t{self.fresh(v.name, 'name')} = {_number(v.value, suffix)},\n" for v in t.values]
        self.left -= len(lines)
        # The smallest size that C gives an enum is an int's; only values beyond 32 bits make it longer.
        large = any(not -(1 << 31) <= v.value < 1 << 32 for v in t.values)
        mode = None if t.size == 8 and large else _ENUM_MODES.get(t.size)
        if not lines:
            return head.removesuffix(" {")
        return f"{head}\n{''.join(lines)}}}{f' __attribute__((mode({mode})))' if mode else ''}"


def _number(value: int, suffix: str) -> str:
    if value == -(1 << 63):
        return f"(-{(1 << 63) - 1}LL - 1)"  # C has no negative literals
    return f"{value}{suffix}"


def struct_layout(btf: Btf, id: int) -> str:
    """A struct or union with offset and size of every member in bytes, anonymous members opened:

        struct list_head {    // 16 bytes
               0    8  struct list_head *next
               8    8  struct list_head *prev
        }
    A bit field shows its offset as `byte:bit` and its width in bits as `bits`.
    """
    t = btf.type(btf.resolve(id))
    if t.kind not in COMPOSITE:
        raise BtfError(f"lay out BTF type {id}: it is {t.kind_name.lower()} {t.name!r}, no struct or union")
    declarator = Declarator(btf)
    head = f"{KEYWORDS[t.kind]} {t.name}".rstrip()
    return "\n".join([f"{head} {{    // {t.size} bytes", *_rows(declarator, t, 0, 1), "}"])


def _rows(declarator: Declarator, t: BtfType, start: int, depth: int) -> Iterator[str]:
    btf = declarator.btf
    declarator.enter(t)
    for m in t.members:
        at = start + m.bit_offset
        inner = btf.type(btf.resolve(m.type_id))
        place = f"{at // 8}:{at % 8}" if m.bit_size else str(at // 8)
        size = f"{m.bit_size} bits" if m.bit_size else str(btf.size_of(m.type_id))
        row = f"{place:>8} {size:>8}  {'    ' * (depth - 1)}"
        if m.name or inner.kind not in COMPOSITE:
            yield f"{row}{declarator.declare(m.type_id, m.name)}"
        else:
            yield f"{row}{KEYWORDS[inner.kind]} {{"
            yield from _rows(declarator, inner, at, depth + 1)
            yield f"{'':19}{'    ' * (depth - 1)}}}"
    declarator.depth -= 1
