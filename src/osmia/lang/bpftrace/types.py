"""Types of the bpftrace language, as the type checker computes them and the lowering uses them.

A `Type` is immutable and compared by value. Struct types refer to their definition by (`store`, `type_id`): `store` is
"btf" (the kernel's BTF; id there) or "c" (the script's own C definitions and tracepoint formats, by name).
"""

from __future__ import annotations

from ..._data import Data

TYPE_CHECKING = False

FLOATS = {2: "_Float16", 4: "float", 8: "double", 16: "long double"}  # by their size

# In `Type.space`: what must be used to read through a pointer.
KERNEL, USER, BPF, CONTEXT = "kernel", "user", "bpf", "ctx"


class Type(Data):
    """kind is one of
    none     no value (statements, functions that return nothing)
    void     only behind a pointer
    bool     1 byte
    int      `size` 1, 2, 4, 8; `signed`
    enum     `size`, `signed`, `name`
    string   `size` bytes at most, NUL-terminated in memory
    buffer   u32 length, then `size` bytes at most
    pointer  `element` (pointee), `space` says what kind of memory it points to
    array    `element`, `count`; a floating-point number is the array of its bytes, with its C name as `name`
    struct, union   `name`, `size`, `store`, `type_id`; `space` = where the object lives when it is an lvalue in memory
    tuple    `elements`; record: `elements` and `names`
    kstack, ustack  `mode`, `count` (frame limit)
    ksym, usym, inet, mac, timestamp (`mode`, `name` = format), cgroup_path, username, strerror, signal_name,
    syscall_name, probe
    count, sum, avg, min, max, stats (`signed`), hist (`bits`), lhist (`bounds`), tseries    map values only
    stack_mode, timestamp_mode, type (a type used as a value)                              compile time only
    """

    kind: str
    size: int = 0
    signed: bool = False
    name: str = ""
    element: Type | None = None
    count: int = 0
    elements: tuple[Type, ...] = ()
    names: tuple[str, ...] = ()
    store: str = ""
    type_id: int = 0
    space: str = ""
    mode: str = ""
    bits: int = 0
    bounds: tuple[int, int, int] = (0, 0, 0)

    def __str__(self) -> str:
        k = self.kind
        if k == "int":
            return f"{'' if self.signed else 'u'}int{self.size * 8}"
        if k in ("string", "buffer"):
            return f"{k}[{self.size}]" if self.size else k
        if k == "pointer":
            return f"{self.element} *" if self.element else "void *"
        if k == "array":
            return self.name or f"{self.element}[{self.count}]"
        if k in ("struct", "union", "enum"):
            return f"{k} {self.name}"
        if k == "tuple":
            return "(" + ",".join(map(str, self.elements)) + ")"
        if k == "record":
            return "record { " + ", ".join(f".{n} = {t}" for n, t in zip(self.names, self.elements)) + " }"
        if k in ("sum", "min", "max", "avg", "stats"):
            return f"{'' if self.signed else 'u'}{k}_t"
        if k in ("count", "hist", "lhist", "tseries"):
            return f"{k}_t"
        return k

    @property
    def is_int(self) -> bool:
        """An integer in the arithmetic sense: int, bool or enum."""
        return self.kind in ("int", "bool", "enum")

    @property
    def is_float(self) -> bool:
        """A floating-point number: it can be copied and printed, BPF has no arithmetic for it."""
        return self.kind == "array" and self.name != ""

    @property
    def is_aggregation(self) -> bool:
        return self.kind in ("count", "sum", "avg", "min", "max", "stats", "hist", "lhist", "tseries")

    @property
    def in_register(self) -> bool:
        """Held as one 64-bit value while it is computed; all others live in memory."""
        return self.kind in ("bool", "int", "enum", "pointer", "ksym", "cgroup_path", "username",
                             "strerror", "signal_name", "syscall_name", "probe", "timestamp")  # fmt: skip


NONE = Type("none")
VOID = Type("void")
BOOL = Type("bool", 1)
INT8, INT16, INT32, INT64 = (Type("int", n, True) for n in (1, 2, 4, 8))
UINT8, UINT16, UINT32, UINT64 = (Type("int", n, False) for n in (1, 2, 4, 8))


def pointer(element: Type, space: str = KERNEL) -> Type:
    return Type("pointer", 8, element=element, space=space)


def floating(size: int, name: str) -> Type:
    """A floating-point number. `name` is what its language calls it; those of C's formats get C's name."""
    if "complex" not in name.lower() and name != "__bf16" and size in FLOATS:
        name = "_Float128" if size == 16 and "128" in name else FLOATS[size]
    return Type("array", size, name=name or "floating-point number", element=UINT8, count=size)


def string(size: int, space: str = BPF) -> Type:
    return Type("string", size, space=space)


class StructField(Data):
    """A member: `offset` in bytes; a bit field has `bits` > 0 counted from `bit_offset` (least significant bit first
    within the `type.size` bytes at `offset`). `data_loc`: a tracepoint's __data_loc word whose low 16 bits are
    the offset of the data from the record's start."""

    name: str
    offset: int
    type: Type
    bit_offset: int = 0
    bits: int = 0
    data_loc: bool = False


class StructDef(Data):
    """A struct or union from the script's C definitions or from a tracepoint's format."""

    name: str
    size: int
    fields: tuple[StructField, ...] = ()
    is_union: bool = False
