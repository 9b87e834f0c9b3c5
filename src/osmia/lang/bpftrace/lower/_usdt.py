"""Arguments of USDT probes: where the compiler left each is written in the note (see osmia.elf)."""

from __future__ import annotations

from .. import ast
from ..types import USER, Type
from ._memory import load_scalar
from ._program import Program, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....elf import UsdtArg


def _register_name(name: str) -> str:
    """elf's full-width names (rax, r8, rip, x0) as pt_regs has them (ax, r8, ip, r0)."""
    return name[1:] if name[:1] == "r" and name[1:2].isalpha() else name


def argument(p: Program, number: int, node: ast.Node) -> str:
    """Value of argument `number`, extended to 64 bits by the signedness that the note gives."""
    from ._context import register

    found = p.probe.usdt_args
    if number >= len(found):
        count = f"{len(found)} argument{'s' if len(found) != 1 else ''}"
        raise p.error(f"the probe has {count}, arg{number} is not one of them", node)
    where: UsdtArg = found[number]  # type: ignore[assignment]
    t = Type("int", where.size, where.signed)
    if where.is_float or where.symbol:
        raise p.error(
            f"argument {number} is a floating-point value or in static memory, which cannot be read yet", node
        )
    if where.kind == "const":
        return str(where.value)
    value = register(p, _register_name(where.register), node) if where.register else "0"
    if where.kind == "reg":
        if where.shift:
            value = p.f.op("lshr", value, str(where.shift))
        return p.f.truncate(value, where.size, where.signed)
    if where.index:
        scaled = p.f.op("mul", register(p, _register_name(where.index), node), str(where.scale))
        value = p.f.op("add", value, scaled)
    return load_scalar(p, Value(t, value, USER), where.offset, t)
