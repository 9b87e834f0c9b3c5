"""Offsets of kernel types as CO-RE relocations, for objects that are to run on other kernels.

While a program is lowered, such an offset is a `KernelOffset`: an int, with a symbol that stands for it in the code.
The symbol is declared as a kernel variable, so LLVM loads it with an ld_imm64; afterwards the instruction gets the
offset of this machine's kernel, and a relocation by which loaders correct it.
"""

from __future__ import annotations

from struct import pack_into

from ....objects import CoreRelocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....btf import Btf, BtfBuilder
    from ....objects import Function
    from ..types import Type
    from ._program import Program

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _ENUM64 = 1, 2, 3, 4, 5, 6, 19  # linux/btf.h
_BYTE_OFFSET, _BYTE_SIZE = 0, 1  # enum bpf_core_relo_kind (linux/bpf.h)
_SIZE = ".size"


class KernelOffset(int):
    """Byte offset of a member, as on this machine; `symbol` stands for it in the code, `symbol`.size for its size."""

    symbol: str
    size: int


def move(p: Program, address: str, offset: int) -> str:
    """The address `offset` bytes further on; of members of kernel types, the target kernel says how many."""
    if isinstance(offset, KernelOffset):
        return p.f.op("add", address, _number(p, offset.symbol))
    return p.f.op("add", address, str(offset)) if offset else address


def width(p: Program, slot: str, size: int, offset: int) -> int | str:
    """How many bytes to read of a number at `offset` into the 8 bytes at `slot`, which are cleared if that may differ:
    where the target kernel's member is narrower, what lies behind it must not be read."""
    if not isinstance(offset, KernelOffset) or offset.size != size:
        return size
    p.f.store("0", slot)
    return _number(p, offset.symbol + _SIZE)


def _number(p: Program, symbol: str) -> str:
    # Opaque: the optimizer must neither fold the symbol into other constants nor draw conclusions from it.
    return p.f.opaque(p.f.to_int(p.module.kernel_symbol(symbol)))


class Accesses:
    """The members that the programs of one object access, and the types that describe them."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._places: dict[tuple[str, str, tuple[str, ...]], tuple[int, KernelOffset]] = {}
        self._types: dict[str, tuple[int, str]] = {}  # symbol -> type id in the object, accessor

    def offset(self, p: Program, struct: Type, path: tuple[str, ...]) -> KernelOffset:
        """Where the member `path` (a.b.c) of a kernel type is. CodegenError for what no relocation can say."""
        if struct.store != "btf" or not struct.name:
            what = f"{struct.kind} {struct.name}" if struct.name else f"a {struct.kind} without a name"
            raise p.f.fail(
                f"a portable object cannot access members of {what}: loaders find types of vmlinux, by name",
                "build it on the kernel that it is to run on, without --portable",
            )
        key = (struct.kind, struct.name, path)
        if key not in self._places:
            at, id = 0, struct.type_id
            for name in path:
                bit, _, member = self._btf.field(self._btf.resolve(id), name) or (0, 0, 0)
                at, id = at + bit, member
            found = KernelOffset(at // 8)
            found.symbol, found.size = f"core.{len(self._places)}", self._btf.size_of(id)
            self._places[key] = (struct.type_id, found)
        return self._places[key][1]

    def add_types(self, builder: BtfBuilder) -> None:
        """Give the object structs of the same names with the members that are accessed: loaders match by name."""
        roots: dict[int, _Node] = {}
        for (_, _, path), (type_id, _) in self._places.items():
            node = roots.setdefault(self._btf.resolve(type_id), _Node())
            for name in path:
                node = node.members.setdefault(name, _Node())
        ids = {id: _Writer(self._btf, builder).struct(id, node) for id, node in roots.items()}
        for (_, _, path), (type_id, offset) in self._places.items():
            node, access = roots[self._btf.resolve(type_id)], ["0"]
            for name in path:
                access.append(str(node.order.index(name)))
                node = node.members[name]
            self._types[offset.symbol] = (ids[self._btf.resolve(type_id)], ":".join(access))

    def relocated(self, function: Function) -> Function:
        """The function with offsets in place of symbols. Call after `add_types`."""
        places = [offset for _, offset in self._places.values()]
        values = {o.symbol: int(o) for o in places} | {o.symbol + _SIZE: o.size for o in places}
        code, core, others = bytearray(function.insns), [], []
        for relocation in function.relocations:
            if relocation.kind != "ksym" or relocation.symbol not in values:
                others.append(relocation)
                continue
            type_id, access = self._types[relocation.symbol.removesuffix(_SIZE)]
            pack_into("<i", code, relocation.insn * 8 + 4, values[relocation.symbol])
            kind = _BYTE_SIZE if relocation.symbol.endswith(_SIZE) else _BYTE_OFFSET
            core.append(CoreRelocation(relocation.insn, type_id, access, kind))
        return function.replace(insns=bytes(code), relocations=tuple(others), core=tuple(core))


class _Node:
    """Members of a struct that are accessed; `order` is the order in which they stand in the object's struct."""

    def __init__(self) -> None:
        self.members: dict[str, _Node] = {}
        self.order: list[str] = []


class _Writer:
    """Types of the kernel, cut down to what is accessed."""

    def __init__(self, btf: Btf, builder: BtfBuilder) -> None:
        self._btf = btf
        self._b = builder

    def struct(self, id: int, node: _Node) -> int:
        t = self._btf.type(id)
        rows = []
        for name, inner in node.members.items():
            bit, _, member = self._btf.field(id, name) or (0, 0, 0)
            rows.append((bit, name, self._member(member, inner)))
        rows.sort()  # the kernel wants members in the order of their offsets
        node.order = [name for _, name, _ in rows]
        make = self._b.union if t.kind == _UNION else self._b.struct
        return make(t.name, t.size, [(name, member, bit) for bit, name, member in rows])

    def _member(self, type_id: int, node: _Node) -> int:
        """A type that is compatible with the member's: what it points to, or holds and nobody accesses, is left out."""
        b, id = self._b, self._btf.resolve(type_id)
        t = self._btf.type(id)
        if t.kind in (_STRUCT, _UNION):
            return self.struct(id, node)
        if t.kind == _PTR:
            return b.ptr(0)
        if t.kind == _ARRAY:
            return b.array(self._member(t.type_id, _Node()), t.count)
        if t.kind == _INT:
            return b.int(t.name, t.size, signed=t.signed)
        return b.add_from(self._btf, id, shallow=True)
