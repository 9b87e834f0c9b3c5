"""BTF kinds and the records that types decode into (Documentation/bpf/btf.rst of the kernel)."""

from __future__ import annotations

from .._data import Data

MAGIC = 0xEB9F
HEADER_SIZE = 24

KIND_VOID = 0
KIND_INT = 1
KIND_PTR = 2
KIND_ARRAY = 3
KIND_STRUCT = 4
KIND_UNION = 5
KIND_ENUM = 6
KIND_FWD = 7
KIND_TYPEDEF = 8
KIND_VOLATILE = 9
KIND_CONST = 10
KIND_RESTRICT = 11
KIND_FUNC = 12
KIND_FUNC_PROTO = 13
KIND_VAR = 14
KIND_DATASEC = 15
KIND_FLOAT = 16
KIND_DECL_TAG = 17
KIND_TYPE_TAG = 18
KIND_ENUM64 = 19

KIND_NAMES = (
    "VOID", "INT", "PTR", "ARRAY", "STRUCT", "UNION", "ENUM", "FWD", "TYPEDEF", "VOLATILE", "CONST", "RESTRICT",
    "FUNC", "FUNC_PROTO", "VAR", "DATASEC", "FLOAT", "DECL_TAG", "TYPE_TAG", "ENUM64",
)  # fmt: skip

# Words of a type: FIXED[kind] + PER_ENTRY[kind] * vlen. Kind 0 never stands in a type section.
FIXED = (0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3)
PER_ENTRY = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)

# Kinds that resolve() walks through, and kinds whose third word is a type id rather than a size.
MODIFIERS = frozenset((KIND_TYPEDEF, KIND_VOLATILE, KIND_CONST, KIND_RESTRICT, KIND_TYPE_TAG))
REFERENCES = MODIFIERS | {KIND_PTR, KIND_FUNC, KIND_FUNC_PROTO, KIND_VAR, KIND_DECL_TAG}
COMPOSITE = frozenset((KIND_STRUCT, KIND_UNION))
ENUMS = frozenset((KIND_ENUM, KIND_ENUM64))

INT_SIGNED = 1
INT_CHAR = 2
INT_BOOL = 4

POINTER_SIZE = 8


class Member(Data):
    """A member of a struct or union. `bit_offset` counts from the start of the struct.

    `bit_size` is the width of a bit field, 0 for an ordinary member. `name` is empty for an anonymous one.
    """

    name: str
    type_id: int
    bit_offset: int
    bit_size: int = 0


class Param(Data):
    """A parameter of a function prototype; the last one of a variadic function has no name and type 0."""

    name: str
    type_id: int


class Enumerator(Data):
    """A constant of an enum."""

    name: str
    value: int


class SectionVar(Data):
    """A variable of a DATASEC: `type_id` is its VAR; `offset` and `size` in bytes."""

    type_id: int
    offset: int
    size: int


class BtfType:
    """One type. Fields that a kind does not use stay at 0 or ().

    id, kind, name  always; `flag` is the kind flag of the info word
    size            bytes of INT, STRUCT, UNION, ENUM, ENUM64, FLOAT, DATASEC
    type_id         target of PTR, TYPEDEF, CONST, VOLATILE, RESTRICT, TYPE_TAG, DECL_TAG; type of a VAR;
                    prototype of a FUNC; return type of a FUNC_PROTO; element of an ARRAY
    members         STRUCT, UNION        values  ENUM, ENUM64
    params          FUNC_PROTO           vars    DATASEC
    signed          INT, ENUM, ENUM64    encoding, bits, bit_offset  INT
    count, index_type_id  ARRAY          linkage VAR, FUNC (0 static, 1 global, 2 extern)
    component       DECL_TAG: index of the member or parameter it is about, -1 for the whole
    """

    __slots__ = (
        "bit_offset", "bits", "component", "count", "encoding", "flag", "id", "index_type_id", "kind", "linkage",
        "members", "name", "params", "signed", "size", "type_id", "values", "vars",
    )  # fmt: skip

    def __init__(self, id: int, kind: int, name: str, flag: bool = False, size: int = 0, type_id: int = 0) -> None:
        self.id = id
        self.kind = kind
        self.name = name
        self.flag = flag
        self.size = size
        self.type_id = type_id
        self.members: tuple[Member, ...] = ()
        self.values: tuple[Enumerator, ...] = ()
        self.params: tuple[Param, ...] = ()
        self.vars: tuple[SectionVar, ...] = ()
        self.signed = False
        self.encoding = self.bits = self.bit_offset = 0
        self.count = self.index_type_id = self.linkage = 0
        self.component = -1

    @property
    def kind_name(self) -> str:
        """`STRUCT`, `FUNC_PROTO`, ..."""
        return KIND_NAMES[self.kind]

    def __repr__(self) -> str:
        return f"<BtfType [{self.id}] {self.kind_name} {self.name or '(anon)'!r}>"
