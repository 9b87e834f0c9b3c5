"""The algebra of types: what a literal is, what two types have in common, what a variable holds.

While types are inferred, `mode` of an integer type may be FLEX: a value that comes from non-negative literals
alone, whose sign follows whatever it meets. `settle` takes the mark away when the types are final. The `space`
of an integer is where it points to if it is cast to a pointer (arguments, registers).
"""

from __future__ import annotations

from .types import BPF, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64, Type

FLEX = "flex"
UNKNOWN = Type("unknown")  # not inferred yet, or in error: whatever is done with it is fine

_SIGNED = {1: INT8, 2: INT16, 4: INT32, 8: INT64}
_UNSIGNED = {1: UINT8, 2: UINT16, 4: UINT32, 8: UINT64}
_FLEXIBLE = {n: t.replace(mode=FLEX) for n, t in _SIGNED.items()}
_STRINGS: dict[int, Type] = {}

CASTABLE = ("count", "sum", "min", "max", "avg")  # aggregations that can be read as one integer
STACKS = ("kstack", "ustack")
# Values that only user space can turn into text: they can be kept, compared by no operator, and printed.
OPAQUE = ("ksym", "usym", "inet", "mac", "timestamp", "cgroup_path", "username", "strerror", "signal_name",
          "syscall_name", "probe", "buffer", *STACKS)  # fmt: skip


def integer(size: int, signed: bool, space: str = "", flexible: bool = False) -> Type:
    t = _FLEXIBLE[size] if flexible else (_SIGNED if signed else _UNSIGNED)[size]
    return t.replace(space=space) if space else t


def text(size: int) -> Type:
    """A string of `size` bytes, its NUL counted."""
    found = _STRINGS.get(size)
    if found is None:
        found = _STRINGS[size] = Type("string", size, space=BPF)
    return found


def literal_type(value: int) -> Type:
    """The smallest signed type that holds it; uint64 beyond int64."""
    if value > 0x7FFF_FFFF_FFFF_FFFF:
        return UINT64
    size = 8
    for n in (1, 2, 4):
        if -(1 << (8 * n - 1)) <= value < 1 << (8 * n - 1):
            size = n
            break
    return _FLEXIBLE[size] if value >= 0 else _SIGNED[size]


def fits_literal(value: int, t: Type) -> bool:
    """Whether an integer type holds this value."""
    bits = t.size * 8
    if t.signed:
        return -(1 << (bits - 1)) <= value < 1 << (bits - 1)
    return 0 <= value < 1 << bits


def is_number(t: Type) -> bool:
    """An integer or enumerator; bool is its own type."""
    return t.kind in ("int", "enum")


def same(a: Type, b: Type) -> bool:
    """Equal as types of values: neither the sign's origin nor the address space counts."""
    if a is b:
        return True
    if a.kind != b.kind:
        return False
    kind = a.kind
    if kind == "int":
        return a.size == b.size and a.signed == b.signed
    if kind == "pointer":
        return a.element is b.element or (
            a.element is not None and b.element is not None and same(a.element, b.element)
        )
    if kind == "array":
        return (
            a.name == b.name
            and a.count == b.count
            and a.element is not None
            and b.element is not None
            and same(a.element, b.element)
        )
    if kind in ("tuple", "record"):
        return (
            len(a.elements) == len(b.elements)
            and a.names == b.names
            and all(same(x, y) for x, y in zip(a.elements, b.elements))
        )
    if kind in ("struct", "union", "enum"):
        return a.name == b.name and a.size == b.size and a.type_id == b.type_id
    if kind == "string":
        return a.size == b.size
    return a == b


def _merged_space(a: str, b: str) -> str:
    if a == b or not b:
        return a
    return b if not a else ""


def spaced_like(t: Type, source: Type) -> Type:
    """The type with pointers into the kinds of memory that those of `source` point into; `t` itself if they do."""
    if t.kind != source.kind or t.kind not in ("pointer", "array") or t.element is None or source.element is None:
        return t
    element = spaced_like(t.element, source.element)
    space = (source.space or t.space) if t.kind == "pointer" else t.space
    return t if element is t.element and space == t.space else t.replace(element=element, space=space)


def _promoted_int(a: Type, b: Type) -> Type:
    space = _merged_space(a.space, b.space)
    size = max(a.size, b.size)
    if a.signed == b.signed:
        return integer(size, a.signed, space, a.mode == FLEX and b.mode == FLEX)
    if a.mode == FLEX or b.mode == FLEX:
        return integer(size, (a if b.mode == FLEX else b).signed, space)
    signed, unsigned = (a, b) if a.signed else (b, a)
    if signed.size > unsigned.size:
        return integer(signed.size, True, space)
    return integer(min(8, size * 2), True, space)


def promote(a: Type, b: Type) -> Type | None:
    """The least type that holds values of both, None if there is none."""
    if a is b or b is UNKNOWN:
        return a
    if a is UNKNOWN:
        return as_integer(b)
    if a.kind in ("int", "enum") and b.kind in ("int", "enum"):
        if a.kind == "enum" and a == b:
            return a
        return _promoted_int(a, b)
    if is_number(a) and b.kind in CASTABLE:
        return _promoted_int(a, as_integer(b))
    if is_number(b) and a.kind in CASTABLE:
        return _promoted_int(as_integer(a), b)
    if a.kind != b.kind:
        return None
    return _promote_alike(a, b)


def _promote_alike(a: Type, b: Type) -> Type | None:
    kind = a.kind
    if kind in ("string", "buffer"):
        return a if a.size >= b.size else b
    if kind == "tuple":
        return _promoted_tuple(a, b)
    if kind == "record":
        return _promoted_record(a, b)
    if kind == "pointer":
        if a.element is None or b.element is None or not compatible(a.element, b.element):
            return None
        return a if a.space == b.space else a.replace(space=_merged_space(a.space, b.space))
    if kind in ("struct", "union"):
        return a if a.name == b.name and a.size == b.size else None
    if kind == "array":
        if a.element is None or b.element is None or a.name != b.name or not same(a.element, b.element):
            return None
        return a if a.count == b.count or not b.count else (None if a.count else b)
    if kind in STACKS:
        return a if (a.mode, a.count) == (b.mode, b.count) else None
    if kind in CASTABLE:
        return a if a.signed == b.signed or a.signed else b
    if kind in ("hist", "lhist") and a != b:
        return None
    return a


def _promoted_tuple(a: Type, b: Type) -> Type | None:
    if len(a.elements) != len(b.elements):
        return None
    elements = [promote(x, y) for x, y in zip(a.elements, b.elements)]
    if None in elements:
        return None
    if all(x is y for x, y in zip(elements, a.elements)):
        return a
    return Type("tuple", elements=tuple(e for e in elements if e))


def _promoted_record(a: Type, b: Type) -> Type | None:
    """Fields keep the order of `a`."""
    if a.names != b.names and sorted(a.names) != sorted(b.names):
        return None
    other = dict(zip(b.names, b.elements))
    elements = [promote(t, other[n]) for n, t in zip(a.names, a.elements)]
    if None in elements:
        return None
    if all(x is y for x, y in zip(elements, a.elements)):
        return a
    return Type("record", elements=tuple(e for e in elements if e), names=a.names)


def compatible(a: Type, b: Type) -> bool:
    return promote(a, b) is not None


def fits(source: Type, target: Type) -> bool:
    """Whether every value of `source` is a value of `target` (of the same kind)."""
    kind = target.kind
    if is_number(source) and is_number(target):
        if source.mode == FLEX or source.signed == target.signed:
            return source.size <= target.size
        return not source.signed and source.size < target.size
    if source.kind != kind:
        return False
    if kind in ("string", "buffer"):
        return source.size <= target.size
    if kind == "tuple" and len(source.elements) == len(target.elements):
        return all(fits(a, b) for a, b in zip(source.elements, target.elements))
    if kind == "record" and sorted(source.names) == sorted(target.names):
        wanted = dict(zip(target.names, target.elements))
        return all(fits(t, wanted[n]) for n, t in zip(source.names, source.elements))
    return compatible(target, source)


def as_integer(t: Type) -> Type:
    """What reading an aggregation as a number gives; other types stay."""
    if t.kind in CASTABLE:
        return INT64 if t.signed else UINT64
    return t


def stored(t: Type) -> Type:
    """The type of a copy of the value in a variable or a map: it lives in BPF memory."""
    kind = t.kind
    if kind in ("string", "buffer"):
        return t if t.space == BPF else (text(t.size) if kind == "string" else t.replace(space=BPF))
    if kind in ("struct", "union", "array"):
        return t if t.space == BPF else t.replace(space=BPF)
    if kind in ("tuple", "record"):
        elements = tuple(stored(as_integer(e)) for e in t.elements)
        if all(a is b for a, b in zip(elements, t.elements)):
            return t
        return t.replace(elements=elements)
    return t


def settle(t: Type) -> Type:
    """The type without the marks of inference."""
    if t.mode == FLEX:
        return integer(t.size, t.signed, t.space)
    if t.elements and t.kind in ("tuple", "record"):
        elements = tuple(map(settle, t.elements))
        if any(a is not b for a, b in zip(elements, t.elements)):
            return t.replace(elements=elements)
    elif t.kind == "pointer" and t.element is not None and t.element.mode == FLEX:
        return t.replace(element=settle(t.element))
    return t


def size_of(t: Type) -> int:
    """Bytes of a value as `sizeof` counts them; tuples are laid out as C structs."""
    kind = t.kind
    if kind == "array":
        return t.count * size_of(t.element) if t.element else 0
    if kind in ("tuple", "record"):
        end = 0
        for e in t.elements:
            align = alignment(e)
            end = (end + align - 1) // align * align + size_of(e)
        align = alignment(t)
        return (end + align - 1) // align * align
    if t.size:
        return t.size
    return _SIZES.get(kind, 0)


_SIZES = {
    "ksym": 8, "usym": 16, "inet": 24, "mac": 6, "timestamp": 8, "cgroup_path": 8, "username": 8, "strerror": 8,
    "signal_name": 8, "syscall_name": 8, "probe": 8, "kstack": 8, "ustack": 16, "count": 8, "sum": 8, "min": 16,
    "max": 16, "avg": 16, "stats": 16, "pointer": 8, "bool": 1,
}  # fmt: skip


def alignment(t: Type) -> int:
    kind = t.kind
    if kind in ("string", "buffer", "mac"):
        return 1
    if kind == "array":
        return alignment(t.element) if t.element else 1
    if kind in ("tuple", "record"):
        return max((alignment(e) for e in t.elements), default=1)
    if kind in ("int", "enum", "bool"):
        return t.size or 1
    return 8


def is_text(t: Type) -> bool:
    """A string, or characters: an array of bytes or a pointer to them."""
    if t.kind == "string":
        return True
    return (
        not t.is_float
        and t.kind in ("array", "pointer")
        and t.element is not None
        and t.element.kind == "int"
        and t.element.size == 1
    )


def kind_name(t: Type) -> str:
    """What messages call the kind of a type."""
    if t.kind in ("enum", "int"):
        return "int"
    return {"none": "void", "struct": "c_type", "union": "c_type"}.get(t.kind, t.kind)


def binary_type(op: str, left: Type, right: Type) -> Type:
    """Result of integer arithmetic: 64 bits, unsigned only if both sides are and nothing is subtracted."""
    a, b = as_integer(left), as_integer(right)
    asigned, bsigned = a.signed, b.signed
    if a.mode == FLEX and b.mode != FLEX:
        asigned = bsigned
    elif b.mode == FLEX and a.mode != FLEX:
        bsigned = asigned
    if op in ("<<", ">>"):
        bsigned = asigned
    return integer(8, asigned or bsigned or op == "-", _merged_space(a.space, b.space))
