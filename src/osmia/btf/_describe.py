"""C declarators: a type, with or without a name, as one line of C."""

from __future__ import annotations

from ..errors import BtfError
from ._types import (
    KIND_ARRAY,
    KIND_CONST,
    KIND_DATASEC,
    KIND_DECL_TAG,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_PTR,
    KIND_RESTRICT,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_UNION,
    KIND_VAR,
    KIND_VOID,
    KIND_VOLATILE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._reader import Btf
    from ._types import BtfType


MAX_NESTING = 64
MAX_WORK = 500_000  # declarations; task_struct with all that is inside takes 400
QUALIFIERS = {KIND_CONST: "const", KIND_VOLATILE: "volatile", KIND_RESTRICT: "restrict"}
KEYWORDS = {KIND_STRUCT: "struct", KIND_UNION: "union", KIND_ENUM: "enum", KIND_ENUM64: "enum"}


def describe(btf: Btf, id: int) -> str:
    """One line of C: `struct task_struct *`, `const char *`, `int (*)(void *, u64)`, `struct {...}`.

    A function gives its whole prototype (`long vfs_read(struct file *file, ...)`), a variable its declaration.
    """
    t = btf.type(id)
    if t.kind in (KIND_FUNC, KIND_VAR):
        return Declarator(btf).declare(t.type_id, t.name)
    if t.kind == KIND_DATASEC:
        return f"section {t.name}"
    return Declarator(btf).declare(id, "")


def declare(btf: Btf, id: int, name: str) -> str:
    """C that declares `name` as of type `id`, without a semicolon: `int (*name)(void *, u64)`."""
    return Declarator(btf).declare(id, name)


class Declarator:
    """Puts types into C declarations. What it may write is limited, for types that are wound up to explode."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.left = MAX_WORK
        self.depth = 0

    def declare(self, id: int, name: str) -> str:
        """C that declares `name` (or nobody, if empty) as of type `id`. BtfError for cycles."""
        # C declarators read inside out: the text grows around the name while we walk from the outermost type in.
        text, wanted = name, id
        qualifiers: list[str] = []
        after_pointer = False
        self.left -= 1
        if self.left < 0:
            raise BtfError(f"describe BTF type {id}: it is too large")
        for _ in range(MAX_NESTING):
            t = self.btf.type(id)
            kind = t.kind
            if kind in QUALIFIERS:
                if QUALIFIERS[kind] not in qualifiers:
                    qualifiers.append(QUALIFIERS[kind])
            elif kind == KIND_DECL_TAG:
                return f"/* {t.name} */"
            elif kind == KIND_PTR:
                text = f"* {' '.join(qualifiers)} {text}".rstrip() if qualifiers else f"*{text}"
                qualifiers, after_pointer = [], True
            elif kind == KIND_ARRAY:
                # Qualifiers of an array are those of its elements.
                text = f"({text})[{t.count}]" if after_pointer else f"{text}[{t.count}]"
                after_pointer = False
            elif kind in (KIND_FUNC_PROTO, KIND_FUNC):
                proto = t if kind == KIND_FUNC_PROTO else self.btf.type(t.type_id)
                params = self.params(proto)
                text = f"({text})({params})" if after_pointer else f"{text}({params})"
                id, after_pointer = proto.type_id, False
                continue
            elif (
                kind != KIND_TYPE_TAG
            ):  # tags (__user, __rcu) are shown by Btf.type_tags; not every compiler takes them
                head = " ".join([*qualifiers, self.base_name(t)])
                return f"{head}{text}" if text[:1] in ("", "[") else f"{head} {text}"
            id = t.type_id
        raise BtfError(f"describe BTF type {wanted}: its pointers and qualifiers form a cycle")

    def params(self, t: BtfType) -> str:
        """The inside of the parentheses of a prototype."""
        out = []
        self.enter(t)
        for i, p in enumerate(t.params):
            variadic = p.type_id == 0 and not p.name and i == len(t.params) - 1
            out.append("..." if variadic else self.declare(p.type_id, p.name))
        self.depth -= 1
        return ", ".join(out) or "void"

    def enter(self, t: BtfType) -> None:
        """One level deeper; the caller takes it back from `depth`."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise BtfError(f"describe BTF type {t.id}: types are nested in a cycle")

    def base_name(self, t: BtfType) -> str:
        """`int`, `struct file`, `u64`, `struct {...}`: what stands left of a declarator."""
        if t.kind == KIND_VOID:
            return "void"
        if t.kind == KIND_FWD:
            return f"{'union' if t.flag else 'struct'} {t.name}"
        keyword = KEYWORDS.get(t.kind)
        if keyword is None:
            return t.name or f"/* {t.kind_name.lower()} */"
        return f"{keyword} {t.name or '{...}'}"
