"""BTF of a compiled script: a FUNC for each function (line info needs it) and plain types for the maps."""

from __future__ import annotations

from ....btf import BtfBuilder
from ..types import Type
from ._layout import size_of, tuple_layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ....codegen import Function as IrFunction
    from ....objects import Function, MapSpec
    from ..checked import MapInfo


class _Types:
    def __init__(self) -> None:
        self.b = BtfBuilder()
        self.char = self.b.int("char", 1, signed=True)
        self.u8 = self.b.int("unsigned char", 1)
        self.i64 = self.b.int("long", 8, signed=True)
        self._tuples = 0

    def integer(self, size: int, signed: bool) -> int:
        names = {1: "char", 2: "short", 4: "int", 8: "long long"}
        name = names[size] if signed else "unsigned " + names[size]
        return self.b.int(name, size, signed=signed)

    def of(self, t: Type) -> int:
        k = t.kind
        if k in ("int", "bool", "enum") and size_of(t) in (1, 2, 4, 8):
            return self.integer(size_of(t), t.signed)
        if k == "string":
            return self.b.array(self.char, t.size)
        if k in ("tuple", "record"):
            offsets, size = tuple_layout(t)
            names = t.names or tuple(f"f{i}" for i in range(len(t.elements)))
            self._tuples += 1
            members = [(n, self.of(e), 8 * o) for n, e, o in zip(names, t.elements, offsets)]
            return self.b.struct(f"tuple{self._tuples}", size, members)
        if k == "array" and t.element:
            return self.b.array(self.of(t.element), t.count)
        return self.plain(size_of(t))

    def plain(self, size: int) -> int:
        return self.integer(size, False) if size in (1, 2, 4, 8) else self.b.array(self.u8, size)


def object_btf(
    maps: dict[str, MapInfo],
    functions: dict[str, Function],
    built: list[IrFunction],
    specs: list[MapSpec],
    add_types: Callable[[BtfBuilder], None] | None = None,
) -> tuple[bytes, dict[str, int], dict[str, tuple[int, int]]]:
    """(BTF, FUNC id by function name, (key type, value type) by map name)."""
    types = _Types()
    void = types.b.ptr(0)
    ids = {}
    for function in built:
        if function.name in functions:
            params = [("ctx" if i == 0 else f"a{i}", void) for i in range(function.arguments)]
            proto = types.b.func_proto(types.i64, params)
            ids[function.name] = types.b.func(function.name, proto, 0 if function.internal else 1)
    map_types = dict.fromkeys((spec.name for spec in specs), (0, 0))
    by_name = {"AT_" + name[1:]: info for name, info in maps.items()}
    for spec in specs:
        info = by_name.get(spec.name)
        if info is None or spec.key_size == 0:
            continue
        key = types.of(info.key) if info.key is not None else types.plain(spec.key_size)
        value = types.of(info.value) if info.value is not None and not info.value.is_aggregation else 0
        map_types[spec.name] = (key, value or types.plain(spec.value_size))
    if add_types:
        add_types(types.b)
    return types.b.build(), ids, map_types
