"""Types as DWARF describes them, without the detail that differs between producers."""

from __future__ import annotations

from .._data import Data
from ..errors import ElfError
from ._dwarf_unit import DECLARATION, NAME, SIGNATURE, Die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# DW_TAG_*.
TAG_ARRAY, TAG_CLASS, TAG_ENUM, TAG_MEMBER, TAG_POINTER, TAG_REFERENCE = 0x01, 0x02, 0x04, 0x0D, 0x0F, 0x10
TAG_STRUCT, TAG_SUBROUTINE, TAG_TYPEDEF, TAG_UNION, TAG_INHERITANCE = 0x13, 0x15, 0x16, 0x17, 0x1C
TAG_TO_MEMBER, TAG_SUBRANGE, TAG_BASE, TAG_CONST, TAG_ENUMERATOR = 0x1F, 0x21, 0x24, 0x26, 0x28
TAG_VOLATILE, TAG_RESTRICT, TAG_RVALUE, TAG_ALIAS, TAG_ATOMIC = 0x35, 0x37, 0x42, 0x43, 0x47
TAG_PARAMETER, TAG_UNSPECIFIED = 0x05, 0x18
_QUALIFIERS = {TAG_CONST: "const", TAG_VOLATILE: "volatile", TAG_RESTRICT: "restrict", TAG_ATOMIC: "_Atomic"}
_PEELED = (*_QUALIFIERS, TAG_TYPEDEF, TAG_ALIAS)
_POINTERS = {TAG_POINTER: "*", TAG_REFERENCE: "&", TAG_RVALUE: "&&"}
_KEYWORDS = {TAG_STRUCT: "struct", TAG_CLASS: "struct", TAG_UNION: "union", TAG_ENUM: "enum"}
# DW_AT_*.
_BYTE_SIZE, _BIT_OFFSET, _BIT_SIZE, _CONST_VALUE, _UPPER, _COUNT = 0x0B, 0x0C, 0x0D, 0x1C, 0x2F, 0x37
_CONVENTION, _MEMBER_LOCATION, _DECL_LINE, _ENCODING, _EXTERNAL = 0x36, 0x38, 0x3B, 0x3E, 0x3F
_VIRTUALITY, _DATA_BIT_OFFSET, _LANGUAGE = 0x4C, 0x6B, 0x13
_DEEPEST = 40  # types inside types: a cycle in damaged input otherwise
_PASS_BY_REFERENCE = 4
_MINUS_ONE = 0x06, 0xFFFFFFFF  # DW_FORM_data4
_SIGNED = (0x05, 0x06, 0x0D)  # DW_ATE_signed, signed_char, signed_fixed
_FLOATS = (0x03, 0x04, 0x09)  # complex_float, float, imaginary_float
_BASES = {0x02: "bool", **dict.fromkeys(_FLOATS, "float")}


class DwarfMember(Data):
    """A member of a struct: `bit` counts from the start of the struct, `bits` is not 0 for bit fields.

    A member without a name is an anonymous struct or union.
    """

    name: str
    type: DwarfType
    bit: int
    bits: int = 0


class DwarfType:
    """A type; `die` None is void. Qualifiers and typedefs are looked through, `text` has them.

    kind: void, int, bool, float, enum, pointer (also references), array, struct (also classes), union, function,
    or bytes (of `size`, nothing else known).
    """

    def __init__(self, die: Die | None, depth: int = 0) -> None:
        self.written = die
        self.typedef = ""
        while die is not None and die.tag in _PEELED:
            depth += 1
            if depth > _DEEPEST:
                raise ElfError("read debug information: types are nested too deeply")
            if die.tag == TAG_TYPEDEF:
                self.typedef = self.typedef or die.name
            die = die.type
        self.die = die
        self._depth = depth
        self._defined: DwarfType | None = None
        tag = die.tag if die is not None else 0
        self.kind = _kind(die)
        self.name = die.name if die is not None else ""
        self.signed = tag == TAG_BASE and die is not None and die.number(_ENCODING) in _SIGNED
        self.is_reference = tag in (TAG_REFERENCE, TAG_RVALUE)

    @property
    def size(self) -> int:
        """Bytes; 0 for void, functions, and structs that are only declared."""
        die = self.die
        if die is None or self.kind in ("void", "function"):
            return 0
        if _BYTE_SIZE in die.values:
            return die.number(_BYTE_SIZE)
        if self.kind == "pointer":
            return 8
        if die.tag == TAG_TO_MEMBER:
            target = die.type
            return 16 if target is not None and target.tag == TAG_SUBROUTINE else 8
        if self.kind == "array":
            return self.element.size * self.count
        if self.kind == "enum":
            return DwarfType(die.type, self._depth + 1).size or 4
        return 0

    @property
    def is_char(self) -> bool:
        """A character of text: C's `char`, whatever its sign."""
        return self.kind == "int" and self.name == "char"

    @property
    def passes_by_reference(self) -> bool | None:
        """Whether values of this class are passed as pointers to copies (C++); None if nothing says."""
        die = self.definition().die
        if die is not None and _CONVENTION in die.values:
            return die.number(_CONVENTION) == _PASS_BY_REFERENCE
        return None

    @property
    def language(self) -> int:
        """DW_LANG_* of its unit."""
        return language_of(self.die) if self.die is not None else 0

    # what it is made of

    @property
    def element(self) -> DwarfType:
        """What a pointer points to; what an array has (arrays of arrays: the outermost dimension is taken off)."""
        die = self.die
        if die is None:
            return self
        inner = DwarfType(die.type, self._depth + 1)
        for count in reversed(self._dimensions()[1:]):
            inner = _Row(inner, count)
        return inner

    @property
    def count(self) -> int:
        """Elements of an array, 0 where the length is not constant."""
        dimensions = self._dimensions()
        return dimensions[0] if dimensions else 0

    def _dimensions(self) -> list[int]:
        if self.die is None or self.die.tag != TAG_ARRAY:
            return []
        found = []
        for child in self.die.children():
            if child.tag == TAG_SUBRANGE:
                upper = child.coded(_UPPER)
                # The bound of an array without elements is -1, which some write without a sign.
                empty = upper is None or upper[1] < 0 or upper[1] >= 1 << 63 or (upper[0], upper[1]) == _MINUS_ONE
                found.append(child.number(_COUNT) if upper is None or empty else upper[1] + 1)
        return [max(count, 0) for count in found]

    def definition(self) -> DwarfType:
        """The struct, union or enum itself where this is only its declaration; else this very type."""
        die = self.die
        if die is None or self.kind not in ("struct", "union", "enum") or DECLARATION not in die.values:
            return self
        if self._defined is None:
            found = die.target(SIGNATURE) if SIGNATURE in die.values else None
            if found is None and self.name:
                tags = (TAG_STRUCT, TAG_CLASS) if self.kind == "struct" else (die.tag,)
                dwarf = die.unit.dwarf
                found = (dwarf.main or dwarf).find_type(self.name, tags, die.unit)
            self._defined = DwarfType(found, self._depth + 1) if found is not None else self
        return self._defined

    def members(self) -> list[DwarfMember]:
        """Members of a struct or union, those of base classes after its own; static ones are left out."""
        return list(self.definition()._members(0, 0))

    def _members(self, bit: int, depth: int) -> Iterator[DwarfMember]:
        die = self.die
        if die is None or depth > _DEEPEST:
            return
        bases = []
        for child in die.children():
            if child.tag == TAG_INHERITANCE:
                bases.append(child)
            elif child.tag == TAG_MEMBER and _EXTERNAL not in child.values and DECLARATION not in child.values:
                t = DwarfType(child.type, depth)
                bits = child.number(_BIT_SIZE)
                yield DwarfMember(child.name, t, bit + _bit_of(child, t, bits), bits)
        for base in bases:
            # Where a virtual base is depends on the object's class.
            if not base.number(_VIRTUALITY):
                inner = DwarfType(base.type).definition()
                yield from inner._members(bit + 8 * base.number(_MEMBER_LOCATION), depth + 1)

    def enumerators(self) -> dict[str, int]:
        """Name -> value of an enum's constants."""
        die = self.definition().die
        if die is None or self.kind != "enum":
            return {}
        # Compilers write negative numbers in forms that have a sign; the others are never negative.
        return {child.name: child.number(_CONST_VALUE) for child in die.children() if child.tag == TAG_ENUMERATOR}

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for the same type in different units of a program, which each describe it again."""
        t = self.definition()
        die = t.die
        if die is None:
            return ("void",)
        file = die.unit.dwarf.path
        if NAME not in die.values or not t.size:
            return (file, t.kind, t.name, id(die.unit.data) if not t.name else 0, die.offset if not t.name else 0)
        return (file, t.kind, t.name, t.size, die.number(_DECL_LINE))

    # text

    @property
    def text(self) -> str:
        """The type as a listing writes it: `int`, `const char*`, `struct Foo*`, `int[3]`, `int (*)(void*)`."""
        return _text(self.written, 0)


class _Row(DwarfType):
    """A row of an array of several dimensions, which has no entry of its own."""

    def __init__(self, inner: DwarfType, count: int) -> None:
        super().__init__(None)
        self.kind = "array"
        self._inner = inner
        self._count = count

    @property
    def size(self) -> int:
        return self._inner.size * self._count

    @property
    def element(self) -> DwarfType:
        return self._inner

    @property
    def count(self) -> int:
        return self._count

    @property
    def text(self) -> str:
        return f"{self._inner.text}[{self._count}]"


def language_of(die: Die) -> int:
    """DW_LANG_* of the unit that an entry is in."""
    return die.unit.root.number(_LANGUAGE) or (die.unit.skeleton.root.number(_LANGUAGE) if die.unit.skeleton else 0)


def _kind(die: Die | None) -> str:
    if die is None:
        return "void"
    tag = die.tag
    if tag == TAG_BASE:
        return _BASES.get(die.number(_ENCODING), "int")
    if tag in _POINTERS:
        return "pointer"
    if tag in _KEYWORDS:
        return _KEYWORDS[tag]
    return {TAG_ARRAY: "array", TAG_SUBROUTINE: "function", TAG_TO_MEMBER: "bytes", 0x3B: "void"}.get(tag, "bytes")


def _bit_of(member: Die, t: DwarfType, bits: int) -> int:
    """Where a member starts, in bits from the start of its struct."""
    if _DATA_BIT_OFFSET in member.values:
        return member.number(_DATA_BIT_OFFSET)
    bit = 8 * member.number(_MEMBER_LOCATION)
    if bits and _BIT_OFFSET in member.values:
        # Before DWARF 4: from the highest bit of the unit of storage to the highest of the field.
        storage = 8 * (member.number(_BYTE_SIZE) or t.size)
        return bit + storage - member.number(_BIT_OFFSET) - bits
    return bit


def _text(die: Die | None, depth: int) -> str:
    if die is None:
        return "void"
    if depth > _DEEPEST:
        return "..."
    tag = die.tag
    if tag in _QUALIFIERS:
        inner = _text(die.type, depth + 1)
        word = _QUALIFIERS[tag]
        return f"{inner} {word}" if inner.endswith(("*", "&")) else f"{word} {inner}"
    if tag in _POINTERS:
        inner = _text(die.type, depth + 1)
        if "(*)" not in inner and inner.endswith(")"):
            return inner.replace("(", f"({_POINTERS[tag]})(", 1)  # a function
        return inner + _POINTERS[tag]
    if tag in _KEYWORDS:
        return f"{_KEYWORDS[tag]} {die.name or '<anonymous>'}"
    if tag == TAG_ARRAY:
        t = DwarfType(die)
        return _text(die.type, depth + 1) + "".join(f"[{n}]" if n else "[]" for n in t._dimensions() or [0])
    if tag == TAG_SUBROUTINE:
        params = [_text(c.type, depth + 1) for c in die.children() if c.tag == TAG_PARAMETER]
        if any(c.tag == TAG_UNSPECIFIED for c in die.children()):
            params.append("...")
        return f"{_text(die.type, depth + 1)} ({', '.join(params) or 'void'})"
    return die.name or "<unknown type>"
