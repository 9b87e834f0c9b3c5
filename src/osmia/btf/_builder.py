"""Build raw BTF: for objects of our own (maps, functions, kfuncs) and for types copied out of a kernel's BTF."""

from __future__ import annotations

from struct import error, pack

from ..errors import BtfError
from ._types import (
    COMPOSITE,
    HEADER_SIZE,
    INT_BOOL,
    INT_CHAR,
    INT_SIGNED,
    KIND_ARRAY,
    KIND_CONST,
    KIND_DATASEC,
    KIND_DECL_TAG,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_INT,
    KIND_PTR,
    KIND_RESTRICT,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_TYPEDEF,
    KIND_UNION,
    KIND_VAR,
    KIND_VOLATILE,
    MAGIC,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._reader import Btf

    # (name, type id, bit offset) or (name, type id, bit offset, bit-field width)
    MemberLike = tuple[str, int, int] | tuple[str, int, int, int]

_int = int  # inside the class, `int` is the method
_MAX_VLEN = 0xFFFF
_MAX_BIT_FIELD_OFFSET = 0xFFFFFF


class BtfBuilder:
    """Collects types and strings; every method returns the id of the type, ids count from 1.

    A type equal to an earlier one gets that one's id. A recursive struct is first made with `struct(name, size)`,
    then filled with `set_members`. With `base` the result is split BTF, whose ids go on after the base's.
    """

    def __init__(self, base: Btf | None = None) -> None:
        self.base = base
        self._first_id = base.end_id if base else 1
        self._types: list[tuple[_int, ...]] = []
        self._ids: dict[tuple[_int, ...], _int] = {}
        self._first_string = base.end_string if base else 0
        self._strings: dict[str, _int] = {"": 0}
        self._strings_len = 0 if base else 1
        self._copied: dict[tuple[_int, _int, bool], _int] = {}  # (index in _copied_from, id, behind a pointer)
        self._copied_from: list[Btf] = []

    def __len__(self) -> _int:
        return len(self._types)

    def string(self, text: str) -> _int:
        """Offset of `text` in the string section, added once (the line info of .BTF.ext needs it too)."""
        at = self._strings.get(text)
        if at is None:
            if "\0" in text:
                raise BtfError(f"build BTF: string {text!r} contains NUL")
            at = self._strings[text] = self._first_string + self._strings_len
            self._strings_len += len(text.encode("utf-8", "replace")) + 1
        return at

    def _add(self, words: tuple[_int, ...]) -> _int:
        id = self._ids.get(words)
        if id is None:
            self._types.append(words)
            id = self._ids[words] = self._first_id + len(self._types) - 1
        return id

    def _simple(self, kind: _int, name: str, target: _int, vlen: _int = 0) -> _int:
        return self._add((self.string(name), kind << 24 | vlen, target))

    # scalars

    def int(
        self,
        name: str,
        size: _int,
        *,
        signed: bool = False,
        bool: bool = False,
        char: bool = False,
        bits: _int = 0,
    ) -> _int:
        """An integer of `size` bytes; `bits` if it uses fewer than all of them.

        The kernel takes at most one of signed, bool and char (btf_int_check_meta); `char` in C is `signed` here.
        """
        if signed + bool + char > 1:
            raise BtfError(f"build BTF int {name!r}: it can be only one of signed, bool and char")
        encoding = (INT_SIGNED if signed else 0) | (INT_CHAR if char else 0) | (INT_BOOL if bool else 0)
        return self._add((self.string(name), KIND_INT << 24, size, encoding << 24 | (bits or size * 8)))

    def float(self, name: str, size: _int) -> _int:
        """A floating-point number of `size` bytes."""
        return self._simple(KIND_FLOAT, name, size)

    def enum(
        self, name: str, values: Iterable[tuple[str, _int]], *, size: _int = 4, signed: bool | None = None
    ) -> _int:
        """An enum of up to 4 bytes; signed if a value is negative, unless told."""
        return self._enum(KIND_ENUM, name, tuple(values), size, signed)

    def enum64(
        self, name: str, values: Iterable[tuple[str, _int]], *, size: _int = 8, signed: bool | None = None
    ) -> _int:
        """An enum with 64-bit values (kernel >= 6.0)."""
        return self._enum(KIND_ENUM64, name, tuple(values), size, signed)

    def _enum(
        self, kind: _int, name: str, values: tuple[tuple[str, _int], ...], size: _int, signed: bool | None
    ) -> _int:
        words: list[_int] = []
        limit = 32 if kind == KIND_ENUM else 64
        for label, value in values:
            if not -(1 << (limit - 1)) <= value < 1 << limit:
                raise BtfError(f"build BTF enum {name!r}: {label} = {value} does not fit {limit} bits")
            words += [self.string(label), value & 0xFFFFFFFF]
            if kind == KIND_ENUM64:
                words.append(value >> 32 & 0xFFFFFFFF)
        if signed is None:
            signed = any(value < 0 for _, value in values)
        return self._add((self.string(name), self._info(name, kind, len(values), signed), size, *words))

    # derived types

    def ptr(self, to: _int) -> _int:
        """A pointer; 0 is void."""
        return self._simple(KIND_PTR, "", to)

    def array(self, element: _int, count: _int, index: _int | None = None) -> _int:
        """An array; its index type is a 4-byte unsigned integer unless given."""
        if index is None:
            index = self.int("__ARRAY_SIZE_TYPE__", 4)
        return self._add((0, KIND_ARRAY << 24, 0, element, index, count))

    def typedef(self, name: str, to: _int) -> _int:
        """Another name for a type."""
        return self._simple(KIND_TYPEDEF, name, to)

    def const(self, to: _int) -> _int:
        """`const` of a type."""
        return self._simple(KIND_CONST, "", to)

    def volatile(self, to: _int) -> _int:
        """`volatile` of a type."""
        return self._simple(KIND_VOLATILE, "", to)

    def restrict(self, to: _int) -> _int:
        """`restrict` of a pointer."""
        return self._simple(KIND_RESTRICT, "", to)

    def type_tag(self, name: str, to: _int) -> _int:
        """A tag like "user" on a pointer's target: `ptr(type_tag("user", target))` (kernel >= 5.17)."""
        return self._simple(KIND_TYPE_TAG, name, to)

    def decl_tag(self, name: str, to: _int, component: _int = -1) -> _int:
        """A tag on a struct, member, function or parameter; `component` is the index of the latter (kernel >= 5.16)."""
        return self._add((self.string(name), KIND_DECL_TAG << 24, to, component & 0xFFFFFFFF))

    def fwd(self, name: str, *, union: bool = False) -> _int:
        """A struct or union that is only declared."""
        return self._add((self.string(name), KIND_FWD << 24 | union << 31, 0))

    # structs

    def struct(self, name: str, size: _int, members: Iterable[MemberLike] | None = None) -> _int:
        """A struct of `size` bytes. Without `members` it is always a new type, to be filled by `set_members`."""
        return self._composite(KIND_STRUCT, name, size, members)

    def union(self, name: str, size: _int, members: Iterable[MemberLike] | None = None) -> _int:
        """A union, as `struct`."""
        return self._composite(KIND_UNION, name, size, members)

    def _composite(self, kind: _int, name: str, size: _int, members: Iterable[MemberLike] | None) -> _int:
        if members is None:
            self._types.append((self.string(name), kind << 24, size))
            return self._first_id + len(self._types) - 1
        return self._add(self._with_members(kind, name, size, members))

    def set_members(self, id: _int, members: Iterable[MemberLike]) -> None:
        """Fill a struct or union made without members."""
        index = id - self._first_id
        if not 0 <= index < len(self._types) or self._types[index][1] >> 24 & 31 not in COMPOSITE:
            raise BtfError(f"build BTF: type {id} is no struct or union of this builder")
        name, info, size = self._types[index][:3]
        words = self._with_members(info >> 24 & 31, "", size, members)
        self._types[index] = (name, *words[1:])

    def _with_members(self, kind: _int, name: str, size: _int, members: Iterable[MemberLike]) -> tuple[_int, ...]:
        entries = [(*m, 0) if len(m) == 3 else m for m in members]
        fields = any(m[3] for m in entries)
        words: list[_int] = []
        for label, type_id, offset, bits in entries:
            if fields and (offset > _MAX_BIT_FIELD_OFFSET or bits > 255):
                raise BtfError(f"build BTF struct {name!r}: member {label!r} lies too far for a struct with bit fields")
            words += [self.string(label), type_id, bits << 24 | offset]
        return (self.string(name), self._info(name, kind, len(entries), fields), size, *words)

    def _info(self, name: str, kind: _int, vlen: _int, flag: bool) -> _int:
        if vlen > _MAX_VLEN:
            raise BtfError(f"build BTF {name!r}: {vlen} entries are more than {_MAX_VLEN}")
        return kind << 24 | vlen | flag << 31

    # functions and variables

    def func_proto(self, returns: _int, params: Iterable[tuple[str, _int]] = (), *, variadic: bool = False) -> _int:
        """A function's type: return type (0: void) and (name, type) of each parameter."""
        words = [word for name, type_id in params for word in (self.string(name), type_id)]
        if variadic:
            words += [0, 0]
        return self._add((0, self._info("function", KIND_FUNC_PROTO, len(words) // 2, False), returns, *words))

    def func(self, name: str, proto: _int, linkage: _int = 1) -> _int:
        """A function; linkage 0 static, 1 global, 2 extern (kfuncs)."""
        return self._simple(KIND_FUNC, name, proto, linkage)

    def var(self, name: str, type_id: _int, linkage: _int = 1) -> _int:
        """A variable; linkage 0 static, 1 global, 2 extern."""
        return self._add((self.string(name), KIND_VAR << 24, type_id, linkage))

    def datasec(self, name: str, vars: Iterable[tuple[_int, _int, _int]], size: _int = 0) -> _int:
        """A section: (id of VAR or FUNC, offset, size) of each entry, in the order of offsets.

        `size` 0 means up to the end of the last entry; the kernel refuses a section of no size.
        """
        entries = sorted(vars, key=lambda v: v[1])
        if not size and entries:
            size = max(offset + length for _, offset, length in entries)
        words = [word for entry in entries for word in entry]
        return self._add((self.string(name), self._info(name, KIND_DATASEC, len(entries), False), size, *words))

    # copies and output

    def add_from(self, btf: Btf, id: _int, *, shallow: bool = False) -> _int:
        """Copy a type and all that it needs out of `btf`; returns its id here.

        `shallow` copies structs that are reached through a pointer as forward declarations.
        """
        from ._copy import copy

        if btf not in self._copied_from:
            self._copied_from.append(btf)
        return copy(self, btf, id, shallow, self._copied_from.index(btf), self._copied)

    def build(self) -> bytes:
        """The raw BTF. The builder can be used further."""
        try:
            types = b"".join(pack(f"<{len(words)}I", *words) for words in self._types)
        except error as e:
            raise BtfError(f"build BTF: a number does not fit 32 bits: {e}") from None
        start = 1 if self.base else 0  # the base holds the empty string
        strings = b"".join([text.encode("utf-8", "replace") + b"\0" for text in [*self._strings][start:]])
        head = pack("<HBBIIIII", MAGIC, 1, 0, HEADER_SIZE, 0, len(types), len(types), len(strings))
        return head + types + strings
