"""Find in the target's types what a CO-RE relocation names in the program's own types.

Rules: https://docs.kernel.org/bpf/llvm_reloc.html and https://docs.ebpf.io (CO-RE); `type___flavor` stands for `type`.
"""

from __future__ import annotations

from ..btf import (
    KIND_ARRAY,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_INT,
    KIND_PTR,
    KIND_STRUCT,
    KIND_UNION,
    KIND_VOID,
    Btf,
)
from ..errors import ObjectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import BtfType

COMPOSITE = (KIND_STRUCT, KIND_UNION)
ENUMS = (KIND_ENUM, KIND_ENUM64)
_DEPTH = 32


def essential(name: str) -> str:
    """The name without its flavor: `task_struct___old` is `task_struct`."""
    at = name.rfind("___")
    return name[:at] if at > 0 and name[at - 1] != "_" and at + 3 < len(name) else name


class Step:
    """One step of an access: into member `name` (index `index`) of struct `type_id`, or to element `index` ("")."""

    __slots__ = ("index", "name", "type_id")

    def __init__(self, type_id: int, index: int, name: str = "") -> None:
        self.type_id = type_id
        self.index = index
        self.name = name


class Spec:
    """A place found by following an accessor string: steps, bit offset, and the type and bit width found there."""

    __slots__ = ("bit_offset", "bit_size", "btf", "member", "steps", "type_id")

    def __init__(self, btf: Btf, root: int) -> None:
        self.btf = btf
        self.steps: list[Step] = []
        self.bit_offset = 0
        self.bit_size = 0  # of a bit field
        self.type_id = root
        self.member = False  # whether the last step was into a member


def field_spec(btf: Btf, root: int, access: list[int]) -> Spec:
    """Follow accessor numbers from `root` in the program's own types."""
    spec = Spec(btf, root)
    spec.steps.append(Step(root, access[0]))
    spec.bit_offset = access[0] * btf.size_of(root) * 8
    for index in access[1:]:
        t = btf.type(btf.resolve(spec.type_id))
        if t.kind in COMPOSITE:
            if index >= len(t.members):
                raise ObjectError(f"apply CO-RE relocation: {t.kind_name.lower()} {t.name!r} has no member {index}")
            m = t.members[index]
            spec.bit_offset += m.bit_offset
            spec.bit_size, spec.type_id, spec.member = m.bit_size, m.type_id, True
            if m.name:
                spec.steps.append(Step(t.id, index, m.name))
        elif t.kind == KIND_ARRAY:
            spec.steps.append(Step(t.id, index))
            spec.bit_offset += index * btf.size_of(t.type_id) * 8
            spec.bit_size, spec.type_id, spec.member = 0, t.type_id, False
        else:
            raise ObjectError(f"apply CO-RE relocation: cannot go into {t.kind_name.lower()} {t.name!r}")
    return spec


def match_field(local: Spec, target: Btf, root: int) -> Spec | None:
    """The same place in the target's type `root`, None where it has none."""
    spec = Spec(target, root)
    if target.kind(target.resolve(root)) in (KIND_FWD, KIND_VOID):
        return None
    spec.bit_offset = local.steps[0].index * target.size_of(root) * 8
    for step in local.steps[1:]:
        if not step.name:
            if not _into_array(spec, step.index):
                return None
            continue
        wanted = local.btf.type(step.type_id).members[step.index].type_id
        if not _into_member(spec, local.btf, step.name, wanted):
            return None
    return spec


def _into_array(spec: Spec, index: int) -> bool:
    t = spec.btf.type(spec.btf.resolve(spec.type_id))
    # An array of no elements at the end of a struct has as many as there is room for.
    if t.kind != KIND_ARRAY or (t.count and index >= t.count):
        return False
    spec.bit_offset += index * spec.btf.size_of(t.type_id) * 8
    spec.bit_size, spec.type_id, spec.member = 0, t.type_id, False
    return True


def _into_member(spec: Spec, local: Btf, name: str, wanted: int) -> bool:
    parent = spec.btf.resolve(spec.type_id)
    if spec.btf.kind(parent) not in COMPOSITE:
        return False
    found = spec.btf.field(parent, name)
    if found is None or not fields_compatible(local, wanted, spec.btf, found[2]):
        return False
    spec.bit_offset += found[0]
    spec.bit_size, spec.type_id, spec.member = found[1], found[2], True
    return True


def fields_compatible(local: Btf, a: int, target: Btf, b: int) -> bool:
    """Whether a member of type `a` may be read as one of type `b`: same kind; widths of integers may differ."""
    for _ in range(_DEPTH):
        x, y = local.type(local.resolve(a)), target.type(target.resolve(b))
        if x.kind in COMPOSITE and y.kind in COMPOSITE:
            return True
        if x.kind in ENUMS and y.kind in ENUMS:
            return not x.name or not y.name or essential(x.name) == essential(y.name)
        if x.kind != y.kind:
            return False
        if x.kind == KIND_ARRAY:
            a, b = x.type_id, y.type_id
            continue
        if x.kind == KIND_FWD:
            return essential(x.name) == essential(y.name)
        if x.kind == KIND_INT:
            return not x.bit_offset and not y.bit_offset
        return x.kind in (KIND_PTR, KIND_FLOAT)
    return False


def types_compatible(
    local: Btf, a: int, target: Btf, b: int, depth: int = _DEPTH, seen: set[tuple[int, int]] | None = None
) -> bool:
    """Whether the target has the type: the same kind, and below pointers, arrays and prototypes the same kinds.

    `seen` holds pairs that were looked at or are being: what differs ends the search, so the rest can count as equal.
    """
    seen = set() if seen is None else seen
    if (a, b) in seen:
        return True
    seen.add((a, b))
    x, y = local.type(local.resolve(a)), target.type(target.resolve(b))
    if x.kind in ENUMS and y.kind in ENUMS:
        return True
    if x.kind != y.kind or depth <= 0:
        return False
    if x.kind == KIND_INT:
        return not x.bit_offset and not y.bit_offset
    if x.kind in (KIND_PTR, KIND_ARRAY):
        return types_compatible(local, x.type_id, target, y.type_id, depth - 1, seen)
    if x.kind == KIND_FUNC_PROTO:
        return len(x.params) == len(y.params) and all(
            types_compatible(local, p, target, q, depth - 1, seen) for p, q in _signature(x, y)
        )
    return True


def _signature(x: BtfType, y: BtfType) -> list[tuple[int, int]]:
    return [(x.type_id, y.type_id), *((p.type_id, q.type_id) for p, q in zip(x.params, y.params))]


def types_match(
    local: Btf,
    a: int,
    target: Btf,
    b: int,
    behind: bool = False,
    depth: int = _DEPTH,
    seen: set[tuple[int, int, bool]] | None = None,
) -> bool:
    """Whether the types are the same as far as the program's goes: names, members, sizes of integers.

    Structs `behind` a pointer are compared by name and kind. `seen` as in `types_compatible`.
    """
    seen = set() if seen is None else seen
    if (a, b, behind) in seen:
        return True
    seen.add((a, b, behind))
    x, y = local.type(local.resolve(a)), target.type(target.resolve(b))
    if depth <= 0 or essential(x.name) != essential(y.name):
        return False
    if x.kind in ENUMS:
        return y.kind in ENUMS and {v.name for v in x.values} <= {v.name for v in y.values}
    if x.kind in COMPOSITE or x.kind == KIND_FWD:
        return _composites_match(local, x, target, y, behind, depth, seen)
    if x.kind != y.kind:
        return False
    if x.kind == KIND_INT:
        return (x.size, x.signed) == (y.size, y.signed)
    if x.kind == KIND_PTR:
        return types_match(local, x.type_id, target, y.type_id, True, depth - 1, seen)
    if x.kind == KIND_ARRAY:
        return x.count == y.count and types_match(local, x.type_id, target, y.type_id, behind, depth - 1, seen)
    if x.kind == KIND_FUNC_PROTO:
        return len(x.params) == len(y.params) and all(
            types_match(local, p, target, q, behind, depth - 1, seen) for p, q in _signature(x, y)
        )
    return x.size == y.size


def _composites_match(
    local: Btf, x: BtfType, target: Btf, y: BtfType, behind: bool, depth: int, seen: set[tuple[int, int, bool]]
) -> bool:
    def union(t: BtfType) -> bool:
        return t.flag if t.kind == KIND_FWD else t.kind == KIND_UNION

    if y.kind not in (*COMPOSITE, KIND_FWD) or union(x) != union(y):
        return False
    if behind or x.kind == y.kind == KIND_FWD:
        return True
    if x.kind != y.kind:
        return False
    theirs = {m.name: m.type_id for m in y.members}
    return all(
        m.name in theirs and types_match(local, m.type_id, target, theirs[m.name], False, depth - 1, seen)
        for m in x.members
    )


def candidates(local: Btf, root: int, target: Btf) -> list[int]:
    """Types of the target that have the same name, flavor aside, and kind."""
    t = local.type(root)
    name = essential(t.name)
    if not name:
        raise ObjectError(f"apply CO-RE relocation: type {root} has no name to look for")
    kinds = ENUMS if t.kind in ENUMS else (t.kind,)
    return [id for kind in kinds for id in target.find_all(name, kind)]
