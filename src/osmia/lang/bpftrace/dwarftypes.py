"""Types of the DWARF of probed programs as types of the language; only those that a script reaches are read.

A struct type has store "dwarf" and a number as its id: equal for the same type in different units of a program. Its
definition is in `State.structs` under "dwarf N".
"""

from __future__ import annotations

from ._check_types import integer, text
from .btftypes import MAX_DEPTH, place
from .cdefs import EnumDef
from .types import BOOL, USER, VOID, StructDef, StructField, Type, floating, pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...elf import DwarfType
    from ._check_state import State

STORE = "dwarf"
SEARCHED = 16 << 20  # bytes of names that are looked through for one that was meant
# DW_TAG_*: what `struct x`, `union x`, `enum x` and a plain name may be.
_TAGS = {"struct": (0x13, 0x02), "union": (0x17,), "enum": (0x04,), "": (0x16, 0x24, 0x02, 0x13, 0x17)}


def key(t: Type) -> str:
    """Where the definition of a struct or enum type is filed."""
    return f"{STORE} {t.type_id}"


class DwarfTypes:
    """The types read so far for one script. Definitions go into `structs` and `enums`."""

    def __init__(self, structs: dict[str, StructDef], enums: dict[str, EnumDef]) -> None:
        self._structs = structs
        self._enums = enums
        self._ids: dict[tuple[object, ...], int] = {}
        self._types: list[DwarfType] = []
        self._named: dict[tuple[str, str], Type | None] = {}
        self.problem = ""  # why the types of a program cannot be read

    def of(self, t: DwarfType, depth: int = 0) -> Type:
        """The type, with the definitions of the structs in it, and of those that it points to."""
        result = self._of(t, depth)
        inner: Type | None = result
        while inner is not None and inner.kind in ("pointer", "array"):
            inner = inner.element
        if inner is not None:
            self._define(inner, depth)
        return result

    def _of(self, t: DwarfType, depth: int) -> Type:
        kind = t.kind
        if depth > MAX_DEPTH:
            return VOID
        if kind == "bool":
            return BOOL if t.size == 1 else integer(t.size, False)
        if kind == "int" and t.size in (1, 2, 4, 8):
            return integer(t.size, t.signed)
        if kind == "pointer":
            return pointer(self._of(t.element, depth + 1), USER)
        if kind in ("struct", "union"):
            found = t.definition()
            return Type(kind, found.size, name=found.name, store=STORE, type_id=self._id(found))
        if kind == "enum":
            return self._enum(t.definition())
        if kind == "array":
            element = t.element
            if t.count and element.is_char:
                return text(t.count)
            inner = self._of(element, depth + 1)
            return Type("array", inner.size * t.count, element=inner, count=t.count)
        if kind in ("void", "function"):
            return VOID
        if kind == "float":
            return floating(t.size, t.name)
        # 128-bit numbers, for which the language has no arithmetic.
        return Type("array", t.size, element=integer(1, False), count=t.size)

    def _id(self, t: DwarfType) -> int:
        identity = t.identity
        if identity not in self._ids:
            self._ids[identity] = len(self._types) + 1
            self._types.append(t)
        return self._ids[identity]

    def _enum(self, t: DwarfType) -> Type:
        values = t.enumerators()
        size = t.size if t.size in (1, 2, 4, 8) else 4
        signed = any(value < 0 for value in values.values())
        result = Type("enum", size, signed, t.name, store=STORE, type_id=self._id(t))
        self._enums.setdefault(key(result), EnumDef(t.name, size, signed, values))
        return result

    def _define(self, t: Type, depth: int = 0) -> None:
        """File the definition of a struct, and of the structs inside of it."""
        if t.store != STORE or t.kind not in ("struct", "union") or key(t) in self._structs or depth > MAX_DEPTH:
            return
        members = self._types[t.type_id - 1].members()
        self._structs[key(t)] = StructDef(t.name, t.size)  # while its members are looked at
        fields: list[StructField] = []
        seen: set[str] = set()
        for m in members:
            its = self._of(m.type, depth + 1)
            inner: Type | None = its
            while inner is not None and inner.kind == "array":
                inner = inner.element
            if inner is not None:
                self._define(inner, depth + 1)
            # A class may have a member that is called as one of its base class: its own comes first.
            if its.kind != "void" and (not m.name or m.name not in seen):
                seen.add(m.name)
                fields.append(place(m.name, its, m.bit, m.bits))
        self._structs[key(t)] = StructDef(t.name, t.size, tuple(fields), t.kind == "union")

    def definition(self, t: Type) -> StructDef | None:
        """The members of a struct or union; None where it is only declared."""
        self._define(t)
        found = self._structs.get(key(t))
        return found if t.size else None

    def reached(self, t: Type) -> None:
        """A field of this type is used: what it points to may be looked into next."""
        while t.kind in ("pointer", "array") and t.element is not None:
            t = t.element
        self._define(t)

    def named(self, st: State, name: str) -> Type | None:
        """A type that the program of the current probe defines under a C name: "struct Foo", "size_type"."""
        target = st.ctx.target
        if not target or not hasattr(st.env.catalogue, "file"):
            return None
        if (target, name) not in self._named:
            self._named[target, name] = self._find(st, target, name)
        return self._named[target, name]

    def names_like(self, st: State, name: str) -> list[str]:
        """Types of the current probe's program whose names look like this one: "struct account" for "struct acount"."""
        from difflib import get_close_matches

        from ...errors import OsmiaError

        tag, _, rest = name.rpartition(" ")
        start = b"\0" + rest[:1].encode("utf-8", "surrogateescape")
        try:
            dwarf = st.env.catalogue.file(st.ctx.target).dwarf if hasattr(st.env.catalogue, "file") else None
            strings = b"\0" + dwarf.section(".debug_str") if dwarf is not None else b""
        except OsmiaError:
            return []  # the look-up that led here has told
        if not rest or len(strings) > SEARCHED:
            return []
        found, at = [], strings.find(start)
        while at >= 0:
            end = strings.find(b"\0", at + 1)
            if abs(end - at - 1 - len(rest)) <= 2:
                found.append(strings[at + 1 : end].decode("utf-8", "replace"))
            at = strings.find(start, at + 1)
        near = [f"{tag} {n}" if tag else n for n in get_close_matches(rest, found)]
        return [n for n in near if self.named(st, n) is not None]

    def _find(self, st: State, target: str, name: str) -> Type | None:
        from ...errors import OsmiaError

        try:
            dwarf = st.env.catalogue.file(target).dwarf
            if dwarf is None:
                return None
            from ...elf import DwarfType

            tag, _, rest = name.partition(" ")
            word = tag if rest and tag in _TAGS else ""
            die = dwarf.find_type(rest if word else name, _TAGS[word])
        except OsmiaError as problem:
            self.problem = problem.message
            return None
        return self.of(DwarfType(die)) if die is not None else None
