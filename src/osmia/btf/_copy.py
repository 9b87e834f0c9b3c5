"""Copy types with their dependencies from one BTF into a builder."""

from __future__ import annotations

from ..errors import BtfError
from ._types import (
    COMPOSITE,
    ENUMS,
    KIND_ARRAY,
    KIND_CONST,
    KIND_DATASEC,
    KIND_DECL_TAG,
    KIND_ENUM,
    KIND_FLOAT,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_INT,
    KIND_NAMES,
    KIND_PTR,
    KIND_RESTRICT,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_TYPEDEF,
    KIND_UNION,
    KIND_VAR,
    KIND_VOLATILE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._builder import BtfBuilder, MemberLike
    from ._reader import Btf
    from ._types import BtfType

# Types may refer to each other this deep without a struct in between (pointers, prototypes, arrays, ...).
_MAX_DEPTH = 200


def copy(
    builder: BtfBuilder, btf: Btf, id: int, shallow: bool, source: int, done: dict[tuple[int, int, bool], int]
) -> int:
    """Id in `builder` of a copy of type `id`. `done` maps (source, id, behind a pointer) to the copies made so far."""
    run = _Copy(builder, btf, shallow, source, done)
    result = run.visit(id, False, 0)
    while run.structs:
        run.fill(*run.structs.pop())
    return result


class _Copy:
    """One call of `copy`. Structs get their id at once and their members later, so recursion ends at them."""

    def __init__(
        self, builder: BtfBuilder, btf: Btf, shallow: bool, source: int, done: dict[tuple[int, int, bool], int]
    ) -> None:
        self.builder = builder
        self.btf = btf
        self.shallow = shallow
        self.source = source
        self.done = done
        self.structs: list[tuple[int, BtfType]] = []

    def visit(self, id: int, behind: bool, depth: int) -> int:
        if id == 0:
            return 0
        base = self.builder.base
        if base is not None and id < base.end_id and (self.btf is base or self.btf.base is base):
            return id
        behind = behind and self.shallow
        key = (self.source, id, behind)
        found = self.done.get(key)
        if found is None:
            if depth > _MAX_DEPTH:
                raise BtfError(f"copy BTF type {id}: types form a cycle without a struct in it")
            t = self.btf.type(id)
            if t.kind in COMPOSITE:
                found = self.done[key] = self._struct(t, behind)
            else:
                found = self.done[key] = self._other(t, behind, depth + 1)
        return found

    def _struct(self, t: BtfType, behind: bool) -> int:
        b = self.builder
        if behind and t.name:
            return b.fwd(t.name, union=t.kind == KIND_UNION)
        new = b.struct(t.name, t.size) if t.kind == KIND_STRUCT else b.union(t.name, t.size)
        self.structs.append((new, t))
        return new

    def fill(self, new: int, t: BtfType) -> None:
        members: list[MemberLike] = []
        for m in t.members:
            members.append((m.name, self.visit(m.type_id, False, 0), m.bit_offset, m.bit_size))
        self.builder.set_members(new, members)

    def _other(self, t: BtfType, behind: bool, depth: int) -> int:
        b = self.builder
        kind, name = t.kind, t.name
        if kind == KIND_INT:
            # Width and offset of a bit field go into the member, where the kernel wants whole integers.
            enc = t.encoding
            return b.int(name, t.size, signed=bool(enc & 1), char=enc & 3 == 2, bool=enc & 7 == 4)
        if kind in ENUMS:
            make = b.enum if kind == KIND_ENUM else b.enum64
            return make(name, [(v.name, v.value) for v in t.values], size=t.size, signed=t.signed)
        if kind == KIND_FWD:
            return b.fwd(name, union=t.flag)
        if kind == KIND_FLOAT:
            return b.float(name, t.size)
        if kind == KIND_ARRAY:
            element = self.visit(t.type_id, behind, depth)
            return b.array(element, t.count, self.visit(t.index_type_id, False, depth))
        if kind == KIND_FUNC_PROTO:
            params = [(p.name, self.visit(p.type_id, True, depth)) for p in t.params]
            return b.func_proto(self.visit(t.type_id, True, depth), params)
        if kind == KIND_DATASEC:
            return b.datasec(name, [(self.visit(v.type_id, False, depth), v.offset, v.size) for v in t.vars], t.size)
        target = self.visit(t.type_id, behind or kind == KIND_PTR, depth)
        return self._reference(t, target)

    def _reference(self, t: BtfType, target: int) -> int:
        b = self.builder
        if t.kind == KIND_FUNC:
            return b.func(t.name, target, t.linkage)
        if t.kind == KIND_VAR:
            return b.var(t.name, target, t.linkage)
        if t.kind == KIND_DECL_TAG:
            return b.decl_tag(t.name, target, t.component)
        if t.kind in (KIND_TYPEDEF, KIND_TYPE_TAG):
            return (b.typedef if t.kind == KIND_TYPEDEF else b.type_tag)(t.name, target)
        plain = {KIND_PTR: b.ptr, KIND_CONST: b.const, KIND_VOLATILE: b.volatile, KIND_RESTRICT: b.restrict}
        make = plain.get(t.kind)
        if make is None:
            raise BtfError(f"copy BTF type {t.id}: kind {KIND_NAMES[t.kind]} cannot be copied")
        return make(target)
