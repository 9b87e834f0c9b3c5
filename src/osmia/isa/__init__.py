"""The BPF instruction set: encode, decode, assemble, disassemble; tables of helpers and types.

`op` holds the numbers of the instruction set (`op.ALU64 | op.ADD | op.X`). Tables such as `HELPERS["map_lookup_elem"]`,
`PROG_TYPES["kprobe"]`, `ATTACH_TYPES["trace_fentry"]` are imported when first used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import _opcodes as op
    from ._asm import assemble
    from ._disasm import disassemble, format_instruction
    from ._gen.attach_types import TABLE as ATTACH_TYPES
    from ._gen.commands import TABLE as COMMANDS
    from ._gen.helpers import TABLE as HELPERS
    from ._gen.link_types import TABLE as LINK_TYPES
    from ._gen.map_types import TABLE as MAP_TYPES
    from ._gen.prog_types import TABLE as PROG_TYPES
    from ._instruction import Instruction, decode, encode, load_imm64
    from ._registers import PT_REGS
    from ._tables import (
        attach_type_name,
        command_name,
        helper_name,
        link_type_name,
        map_type_name,
        prog_type_name,
        table,
    )

__all__ = [
    "ATTACH_TYPES",
    "COMMANDS",
    "HELPERS",
    "LINK_TYPES",
    "MAP_TYPES",
    "PROG_TYPES",
    "PT_REGS",
    "Instruction",
    "assemble",
    "attach_type_name",
    "command_name",
    "decode",
    "disassemble",
    "encode",
    "format_instruction",
    "helper_name",
    "link_type_name",
    "load_imm64",
    "map_type_name",
    "op",
    "prog_type_name",
    "table",
]

_LAZY = {
    "Instruction": "_instruction",
    "PT_REGS": "_registers",
    "assemble": "_asm",
    "decode": "_instruction",
    "disassemble": "_disasm",
    "encode": "_instruction",
    "format_instruction": "_disasm",
    "load_imm64": "_instruction",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'osmia.isa' has no attribute {name!r}")
    value: object
    if name == "op":
        from . import _opcodes as value
    elif name.isupper() and name not in _LAZY:
        from ._tables import table

        value = table(name)
    else:
        value = getattr(__import__(f"{__name__}.{_LAZY.get(name, '_tables')}", fromlist=["*"]), name)
    globals()[name] = value
    return value
