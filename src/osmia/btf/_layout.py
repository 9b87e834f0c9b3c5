"""How C lays out a struct: alignment, whether it is packed, where padding must be written down."""

from __future__ import annotations

from ..errors import BtfError
from ._describe import MAX_NESTING
from ._types import (
    COMPOSITE,
    ENUMS,
    KIND_ARRAY,
    KIND_FLOAT,
    KIND_INT,
    KIND_PTR,
    KIND_STRUCT,
    POINTER_SIZE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._reader import Btf
    from ._types import BtfType, Member

_PAD_TYPES = ((64, "long"), (32, "int"), (16, "short"), (8, "char"))
_MANY_BITS = 1024  # longer gaps are written as an array


class Layout:
    """Alignment of the C that we write for types, memoised. Explicit padding stands for `aligned` attributes."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._structs: dict[int, tuple[bool, int]] = {}
        self._open: set[int] = set()

    def align_of(self, id: int) -> int:
        """Bytes that the compiler aligns this type to."""
        for _ in range(MAX_NESTING):
            id = self.btf.resolve(id)
            t = self.btf.type(id)
            if t.kind == KIND_ARRAY:
                id = t.type_id
            elif t.kind in COMPOSITE:
                return self.packed(t)[1]
            elif t.kind in (KIND_INT, KIND_FLOAT) or t.kind in ENUMS:
                return max(1, min(16, t.size & -t.size))
            else:
                return POINTER_SIZE if t.kind == KIND_PTR else 1
        raise BtfError(f"lay out BTF type {id}: arrays form a cycle")

    def packed(self, t: BtfType) -> tuple[bool, int]:
        """(whether `t` needs the packed attribute, its alignment in bytes)."""
        found = self._structs.get(t.id)
        if found is None:
            if t.id in self._open or len(self._open) > MAX_NESTING:
                raise BtfError(f"lay out BTF type {t.id}: it contains itself")
            self._open.add(t.id)
            largest, packed = 1, False
            for m in t.members:
                align = self.align_of(m.type_id)
                largest = max(largest, align)
                packed = packed or self._misplaced(m, align)
            packed = packed or t.size % largest != 0
            found = self._structs[t.id] = (packed, 1 if packed else largest)
            self._open.discard(t.id)
        return found

    def _misplaced(self, m: Member, align: int) -> bool:
        if m.bit_size:
            unit = self._storage_bits(m)
            return m.bit_offset % unit + m.bit_size > unit
        return m.bit_offset % (8 * align) != 0

    def _storage_bits(self, m: Member) -> int:
        return 8 * self.btf.size_of(m.type_id) or 8

    def padding_before(self, m: Member, at: int, packed: bool) -> list[str]:
        """Lines of C between bit `at` and the member, where the compiler would not leave that gap by itself."""
        unit = 8 * (1 if packed else self.align_of(m.type_id))
        if m.bit_size:
            storage = self._storage_bits(m)
            fits = packed or at % storage + m.bit_size <= storage
            natural = at if fits else -(-at // storage) * storage
        else:
            natural = -(-at // unit) * unit
        return [] if natural >= m.bit_offset else pad(at, m.bit_offset)

    def padding_after(self, t: BtfType, at: int) -> list[str]:
        """Lines of C after the last member, which ends at bit `at`, up to the struct's size."""
        align = 8 * self.packed(t)[1]
        natural = -(-at // align) * align
        if natural >= 8 * t.size:
            return []
        if t.kind == KIND_STRUCT:
            return pad(at, 8 * t.size)
        return [f"unsigned char __pad[{t.size}];"]


def pad(at: int, to: int) -> list[str]:
    """Unnamed bit fields (which raise no alignment) from bit `at` to bit `to`."""
    out = []
    while at < to:
        if at % 8 == 0 and to - at > _MANY_BITS:
            size = (to - at) // 8
            out.append(f"unsigned char __pad_{at // 8}[{size}];")
            at += size * 8
            continue
        fitting = [unit for unit in _PAD_TYPES if at % unit[0] == 0 and to - at >= unit[0]]
        bits, name = fitting[0] if fitting else (min(8 - at % 8, to - at), "char")
        out.append(f"{name}: {bits};")
        at += bits
    return out
