"""Linking: only what is reached, calls and callbacks by distance."""

from __future__ import annotations

import struct

import pytest

from osmia.errors import ObjectError
from osmia.objects import CoreRelocation, Function, LineInfo, Object, ProgramSpec, Relocation, link

EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)
CALL = struct.pack("<BBhi", 0x85, 0, 0, -1)
LOAD = struct.pack("<BBhi", 0x18, 2, 0, 0) + bytes(8)


def _function(name: str, *parts: tuple[bytes, str, str], type_id: int = 1) -> Function:
    """`parts`: (instruction, relocation kind, symbol)."""
    code, relocations = b"", []
    for raw, kind, symbol in parts:
        relocations.append(Relocation(len(code) // 8, kind, symbol))
        code += raw
    return Function(name, code + EXIT, tuple(relocations), type_id, (LineInfo(0, "a.c", 7, 1),))


def _insn(code: bytes, index: int) -> tuple[int, int, int]:
    op, regs, _, imm = struct.unpack_from("<BBhi", code, index * 8)
    return op, regs >> 4, imm


def _program(function: Function) -> ProgramSpec:
    return ProgramSpec(function.name, "xdp", 6, function)


def test_only_reached_functions_are_appended_in_order_of_use() -> None:
    entry = _function("entry", (CALL, "call", "b"), (LOAD, "func", "c"), (LOAD, "map", "m"), type_id=10)
    b = _function("b", (CALL, "call", "c"), (CALL, "call", "b"), type_id=11)
    c = _function("c", type_id=12).replace(core=(CoreRelocation(0, 4, "0:1", 0),))
    unused = _function("unused", (CALL, "call", "nowhere"))
    program = _program(entry)
    linked = link(program, Object((program,), (), (unused, c, b)))
    assert linked.names == ("entry", "b", "c")
    assert linked.func_infos == ((0, 10), (6, 11), (9, 12))
    assert len(linked.insns) == (6 + 3 + 1) * 8
    assert _insn(linked.insns, 0) == (0x85, 1, 5)  # 0 -> 6
    assert _insn(linked.insns, 1) == (0x18, 4, 7)  # 1 -> 9
    assert _insn(linked.insns, 6) == (0x85, 1, 2)  # 6 -> 9
    assert _insn(linked.insns, 7) == (0x85, 1, -2)  # 7 -> 6, itself
    assert linked.relocations == (Relocation(3, "map", "m"),)
    assert [line.insn for line in linked.lines] == [0, 6, 9]
    assert linked.core == (CoreRelocation(9, 4, "0:1", 0),)


def test_relocations_of_subprograms_move_with_them() -> None:
    entry = _function("entry", (CALL, "call", "b"))
    b = _function("b", (LOAD, "map_value", ".rodata"), (CALL, "kfunc", "bpf_task_release"))
    program = _program(entry)
    linked = link(program, Object((program,), (), (b,)))
    assert [(r.insn, r.kind, r.symbol) for r in linked.relocations] == [
        (2, "map_value", ".rodata"),
        (4, "kfunc", "bpf_task_release"),
    ]


def test_function_info_is_all_or_nothing() -> None:
    entry = _function("entry", (CALL, "call", "b"), type_id=10)
    program = _program(entry)
    assert link(program, Object((program,), (), (_function("b", type_id=0),))).func_infos == ()


def test_missing_function_is_named_with_a_suggestion() -> None:
    program = _program(_function("entry", (CALL, "call", "helprr")))
    with pytest.raises(
        ObjectError, match=r"function 'helprr', called by entry, is missing \(did you mean 'helper'\?\)"
    ):
        link(program, Object((program,), (), (_function("helper"),)))


@pytest.mark.parametrize("raw", [EXIT, LOAD])
def test_relocation_on_the_wrong_instruction(raw: bytes) -> None:
    program = _program(_function("entry", (raw, "call", "b")))
    with pytest.raises(ObjectError, match="has opcode"):
        link(program, Object((program,), (), (_function("b"),)))


def test_relocation_outside_its_function() -> None:
    entry = _function("entry").replace(relocations=(Relocation(5, "map", "m"),))
    with pytest.raises(ObjectError, match="outside entry"):
        link(_program(entry), Object((_program(entry),), ()))
