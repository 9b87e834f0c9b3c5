"""Put a program and the functions that it reaches into one piece, as BPF_PROG_LOAD takes it."""

from __future__ import annotations

from struct import pack_into

from .._data import Data
from ..errors import ObjectError, did_you_mean
from ._spec import CoreRelocation, Function, LineInfo, Object, ProgramSpec, Relocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Source register of call and ld_imm64 (linux/bpf.h): a function of the same program, by distance in instructions.
PSEUDO_CALL, PSEUDO_FUNC = 1, 4
_CALL, _LD_IMM64 = 0x85, 0x18


class LinkedProgram(Data):
    """A linked program. All positions are instruction indexes into `insns` (8 bytes each).

    `relocations` holds what only a target can resolve: map, map_value, kfunc, ksym, kconfig. `func_infos` are
    (first instruction, BTF id of the FUNC), one per function, or () when any function lacks its type: the kernel
    wants all or none. `names` are the functions' names in the order of their instructions.
    """

    name: str
    insns: bytes
    relocations: tuple[Relocation, ...] = ()
    func_infos: tuple[tuple[int, int], ...] = ()
    lines: tuple[LineInfo, ...] = ()
    core: tuple[CoreRelocation, ...] = ()
    names: tuple[str, ...] = ()


def set_wide(code: bytearray, insn: int, source: int, low: int, high: int) -> None:
    """Rewrite the 64-bit load at an instruction: source register and both immediates."""
    at = insn * 8
    code[at + 1] = code[at + 1] & 0x0F | source << 4
    pack_into("<I", code, at + 4, low & 0xFFFFFFFF)
    pack_into("<I", code, at + 12, high & 0xFFFFFFFF)


def line_at(lines: Iterable[LineInfo], insn: int) -> LineInfo | None:
    """The source line of an instruction: the last one that begins at it or before."""
    found = None
    for line in lines:
        if line.insn <= insn and (found is None or found.insn <= line.insn):
            found = line
    return found


def link(program: ProgramSpec, obj: Object) -> LinkedProgram:
    """Append the subprograms of `obj` that `program` calls or passes as callbacks, directly or not.

    Raises ObjectError for a function that is not there, or a relocation that does not fit its instruction.
    """
    functions, starts = _reachable(program, obj)
    code = bytearray(b"".join([f.insns for f in functions]))
    relocations: list[Relocation] = []
    lines: list[LineInfo] = []
    core: list[CoreRelocation] = []
    for function in functions:
        start, count = starts[function.name], len(function.insns) // 8
        for r in function.relocations:
            if not 0 <= r.insn < count:
                raise ObjectError(f"link {program.name}: relocation of {r.symbol!r} lies outside {function.name}")
            if r.kind in ("call", "func"):
                _aim(code, program.name, start + r.insn, starts[r.symbol] + r.addend, r)
            else:
                relocations.append(r.replace(insn=start + r.insn) if start else r)
        if start:
            lines += [LineInfo(i.insn + start, i.file, i.line, i.col, i.text) for i in function.lines]
            core += [CoreRelocation(c.insn + start, c.type_id, c.access, c.kind) for c in function.core]
        else:
            lines += function.lines
            core += function.core
    typed = all(f.type_id for f in functions)
    return LinkedProgram(
        program.name,
        bytes(code),
        tuple(relocations),
        tuple([(starts[f.name], f.type_id) for f in functions]) if typed else (),
        tuple(lines),
        tuple(core),
        tuple([f.name for f in functions]),
    )


def _reachable(program: ProgramSpec, obj: Object) -> tuple[list[Function], dict[str, int]]:
    """The functions in order of first use, entry first, and where each starts."""
    entry = program.function
    functions = [entry]
    starts = {entry.name: 0}
    end = len(entry.insns) // 8
    known: dict[str, Function] = {}
    for function in functions:  # grows while it is walked
        for r in function.relocations:
            if r.kind not in ("call", "func") or r.symbol in starts:
                continue
            if not known:
                known = {p.function.name: p.function for p in obj.programs}
                known.update({f.name: f for f in obj.subprograms})
            found = known.get(r.symbol)
            if found is None:
                raise _missing(program.name, function.name, r, known)
            starts[found.name] = end
            end += len(found.insns) // 8
            functions.append(found)
    return functions, starts


def _aim(code: bytearray, program: str, insn: int, target: int, relocation: Relocation) -> None:
    at = insn * 8
    wanted = _CALL if relocation.kind == "call" else _LD_IMM64
    if code[at] != wanted or (wanted == _LD_IMM64 and at + 16 > len(code)):
        raise ObjectError(
            f"link {program}: {relocation.kind} of {relocation.symbol!r} at instruction {insn} has opcode {code[at]:#x}"
        )
    source = PSEUDO_CALL if wanted == _CALL else PSEUDO_FUNC
    code[at + 1] = code[at + 1] & 0x0F | source << 4
    pack_into("<i", code, at + 4, target - insn - 1)
    if wanted == _LD_IMM64:
        pack_into("<i", code, at + 12, 0)


def _missing(program: str, function: str, relocation: Relocation, known: dict[str, Function]) -> ObjectError:
    hint = did_you_mean(relocation.symbol, known) or "is it defined, and not only declared?"
    return ObjectError(f"link {program}: function {relocation.symbol!r}, called by {function}, is missing", hint=hint)
