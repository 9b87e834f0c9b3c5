"""Types of the kernel's BTF as types of the language, and look-up of fields in them."""

from __future__ import annotations

from ._check_types import integer, text
from .types import BOOL, KERNEL, USER, VOID, StructField, Type, floating, pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...btf import Btf

# BTF kinds (linux/btf.h).
_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF, _FLOAT, _ENUM64 = 1, 2, 3, 4, 5, 6, 7, 8, 16, 19
_BOOL_ENCODING, _CHAR_ENCODING = 4, 2
MAX_DEPTH = 32  # pointers to arrays of pointers ...; deeper ones are damaged BTF


def of_id(btf: Btf, type_id: int, depth: int = 0, store: str = "btf") -> Type:
    """The type with this id: qualifiers and typedefs stripped, character arrays as strings, functions as void.

    `store` is what struct types say of where their id is from: "btf", or "btf:module" for a module's BTF.
    """
    end = btf.resolve(type_id)
    if end == 0 or depth > MAX_DEPTH:
        return VOID
    t = btf.type(end)
    kind = t.kind
    if kind == _INT:
        if t.encoding & _BOOL_ENCODING:
            return BOOL
        return integer(t.size, t.signed) if t.size in (1, 2, 4, 8) else _bytes(t.size)
    if kind == _PTR:
        space = USER if "user" in btf.type_tags(end) else KERNEL
        return pointer(of_id(btf, t.type_id, depth + 1, store), space)
    if btf.base is not None and end < btf.start_id:
        store = "btf"
    if kind in (_STRUCT, _UNION):
        return Type("struct" if kind == _STRUCT else "union", t.size, name=t.name, store=store, type_id=end)
    if kind in (_ENUM, _ENUM64):
        return Type("enum", t.size, t.signed, t.name, store=store, type_id=end)
    if kind == _ARRAY:
        return _array(btf, t.type_id, t.count, depth, store)
    if kind == _FWD:
        return Type("struct", 0, name=t.name, store=store, type_id=end)
    if kind == _FLOAT:
        return floating(t.size, t.name)
    return VOID


def _bytes(size: int) -> Type:
    """What the language has no arithmetic for (128-bit integers): its bytes."""
    return Type("array", size, element=integer(1, False), count=size)


def _array(btf: Btf, element_id: int, count: int, depth: int, store: str) -> Type:
    element = of_id(btf, element_id, depth + 1, store)
    if count and element.kind == "int" and element.size == 1 and _is_char(btf, element_id):
        return text(count)
    return Type("array", element.size * count, element=element, count=count)


def _is_char(btf: Btf, type_id: int) -> bool:
    """Whether a one-byte integer is meant as text. Compilers mark `char` by name alone; u8 is another type."""
    t = btf.type(btf.resolve(type_id))
    return bool(t.encoding & _CHAR_ENCODING) or t.name == "char"


def struct(btf: Btf, kind: str, name: str) -> Type | None:
    """`struct name` (kind "struct"), `union name`; None if BTF does not define it."""
    found = btf.find(name, _STRUCT if kind == "struct" else _UNION)
    return None if found is None else of_id(btf, found)


def enum(btf: Btf, name: str) -> Type | None:
    found = btf.find(name, _ENUM) or btf.find(name, _ENUM64)
    return None if found is None else of_id(btf, found)


def named(btf: Btf, name: str) -> Type | None:
    """A typedef or base type: `u64`, `size_t`, `atomic_t`."""
    for kind in (_TYPEDEF, _INT):
        found = btf.find(name, kind)
        if found is not None:
            return of_id(btf, found)
    return None


def enumerator(btf: Btf, name: str) -> tuple[int, Type] | None:
    """Value and enum type of an enumerator."""
    found = btf.enum_value(name)
    if found is None:
        return None
    value, enum_id = found
    return value, of_id(btf, enum_id)


def enumerators(btf: Btf, t: Type) -> dict[int, str]:
    return {v.value: v.name for v in btf.type(t.type_id).values}


def field(btf: Btf, t: Type, name: str) -> StructField | None:
    """A field of a struct or union, also of its anonymous members; the offset counts from the start of `t`."""
    found = btf.field(t.type_id, name)
    if found is None:
        return None
    bit, width, type_id = found
    return place(name, of_id(btf, type_id, 0, t.store), bit, width)


def place(name: str, t: Type, bit: int, width: int) -> StructField:
    """A field at bit `bit`; `width` is 0 unless it is a bit field."""
    if not width:
        return StructField(name, bit // 8, t)
    unit = (t.size or 1) * 8
    offset = bit // unit * (unit // 8)
    start = bit - offset * 8
    if start + width > unit:  # a packed bit field may lie across two units
        offset, start = bit // 8, bit % 8
    return StructField(name, offset, t, start, width)


def field_names(btf: Btf, t: Type, depth: int = 0) -> list[str]:
    """All names that `field` finds."""
    names: list[str] = []
    if depth > MAX_DEPTH:
        return names
    for m in btf.members(t.type_id):
        if m.name:
            names.append(m.name)
        else:
            inner = of_id(btf, m.type_id)
            if inner.kind in ("struct", "union"):
                names += field_names(btf, inner, depth + 1)
    return names


def names_like(btf: Btf, tag: str, start: str) -> list[str]:
    """Names of the structs, unions or enums (by `tag`) that begin like this."""
    kinds = {"struct": (_STRUCT,), "union": (_UNION,)}.get(tag, (_ENUM, _ENUM64))
    names = {btf.name(id) for kind in kinds for id in btf.ids(kind)}
    return sorted(n for n in names if n.startswith(start))


def resolve(btf: Btf | None, name: str) -> Type | None:
    """A type by its C name: "struct sock", "union x", "enum y", "pid_t"; None if BTF does not define it."""
    if btf is None:
        return None
    tag, _, rest = name.partition(" ")
    if rest and tag in ("struct", "union"):
        return struct(btf, tag, rest)
    if rest and tag == "enum":
        return enum(btf, rest)
    return named(btf, name)
