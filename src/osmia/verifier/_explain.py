"""A refusal for people: what failed, on which line, how the value got there, what to write instead."""

from __future__ import annotations

import re

from .._data import Data
from ..errors import IsaError
from ..isa import Instruction, format_instruction, helper_name, op
from ..objects import line_at
from ._reasons import reason
from ._remedies import Case, helper_of, words_for
from ._state import CTX, MAP_VALUE, NOT_INIT, PACKET, PACKET_END, PACKET_META, SCALAR, STACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._profile import Profile
    from ._state import Reg
    from ._types import Program

# Steps of the failing path that are shown: the last tests before the end.
SHOWN_TESTS = 4
_KINDS = {
    CTX: "the context",
    MAP_VALUE: "a map value",
    PACKET: "a pointer into the packet",
    PACKET_META: "a pointer to the packet's metadata",
    PACKET_END: "the packet's end",
    STACK: "a pointer to the stack",
}
_REGISTER = re.compile(r"\bR(\d+)\b")


class Place(Data):
    """One instruction: its slot, its text, and the source line it came from (`line` 0: not known)."""

    insn: int
    text: str = ""
    file: str = ""
    line: int = 0
    source: str = ""


class Step(Data):
    """Something that happened on the way: where, and what it means for the failure."""

    place: Place
    note: str


class Explanation(Data):
    """`message` is the verifier's, `reason` says it in plain words, `remedy` what to write instead.

    `steps` tell how the value got there, in the order they ran, and which tests the path went through.
    """

    message: str
    reason: str
    remedy: str
    place: Place
    steps: tuple[Step, ...] = ()

    def render(self) -> str:
        """Several lines: place, message, reason, the way there, the remedy."""
        at = self.place
        where = f"{at.file}:{at.line}" if at.line else f"instruction {at.insn}" if at.insn >= 0 else "program"
        out = [f"{where}: ERROR: {self.reason or self.message}"]
        if at.source:
            out.append(f"    {at.source.strip()}")
        if self.message != self.reason:
            out.append(f"  verifier: {self.message}")
        if at.insn >= 0 and at.text:
            out.append(f"  instruction {at.insn}: {at.text}")
        if self.steps:
            out.append("  how it came to this:")
            out += [f"    {_where(s.place)}: {s.note}" for s in self.steps]
        if self.remedy:
            out.append(f"HINT: {self.remedy}")
        return "\n".join(out)


def _where(place: Place) -> str:
    return f"line {place.line}, `{place.source.strip()}`" if place.line else f"{place.insn}: {place.text}"


class _Source:
    """Instructions with their places. Slots that are no instruction have no text."""

    def __init__(self, program: Program) -> None:
        code = program.insns
        slots = (code[at : at + 8] for at in range(0, len(code) - 7, 8))
        self.insns = [
            Instruction(
                s[0], s[1] & 15, s[1] >> 4, *(int.from_bytes(p, "little", signed=True) for p in (s[2:4], s[4:]))
            )
            for s in slots
        ]
        self.program = program
        # Compilers mark what belongs to no line as line 0: it counts to the line before.
        self.lines = [line for line in program.lines if line.line]

    def place(self, slot: int) -> Place:
        """Where that is."""
        line = line_at(self.lines, slot)
        text = self.text(slot)
        if line is None:
            return Place(insn=slot, text=text)
        return Place(insn=slot, text=text, file=line.file, line=line.line, source=line.text)

    def text(self, slot: int) -> str:
        """The instruction as the kernel's log writes it."""
        insn = self.insn(slot)
        if insn is None:
            return ""
        try:
            return format_instruction(insn, self.insn(slot + 1) if insn.is_wide else None)
        except IsaError:
            return f"({insn.opcode:02x}) no instruction"

    def insn(self, slot: int) -> Instruction | None:
        """The instruction in a slot; None outside of the program."""
        return self.insns[slot] if 0 <= slot < len(self.insns) else None

    def is_test(self, slot: int) -> bool:
        """Whether that is a conditional jump."""
        insn = self.insn(slot)
        return insn is not None and _is_test(insn)


def explain(
    program: Program,
    profile: Profile,
    message: str,
    insn: int,
    trace: Sequence[tuple[int, int]] = (),
    registers: Sequence[Reg] = (),
    acquired: Sequence[int] = (),
) -> Explanation:
    """Explain a refusal. `message` may have several lines, the last one is the verdict. `trace` is the failing path as
    (slot, next slot), `registers` those of the innermost frame then; `acquired` are the slots of what is still held."""
    source = _Source(program)
    text = message.strip().splitlines()[-1] if message.strip() else ""
    if text.startswith("combined stack size"):
        insn, trace = -1, ()
    setters = [source.insn(reg.origin) for reg in registers]
    tested = [source.place(slot).source for slot in {at for at, _ in trace if source.is_test(at)}]
    case = Case(program, profile, message, source.insn(insn), registers, setters, insn, tested)
    absent = dict(program.absent).get(insn)
    plain, remedy = words_for(case) or reason(text) if absent is None else _words_for_absent(absent)
    leaks = acquired if "leak" in text or "Unreleased" in text else ()
    steps = _steps(source, text, insn, trace, registers, leaks)
    return Explanation(message=text, reason=plain, remedy=remedy, place=source.place(insn), steps=steps)


def _words_for_absent(name: str) -> tuple[str, str]:
    """For the call that CO-RE has put in place of something."""
    return (
        f"the kernel's types have no {name}",
        "guard the access with bpf_core_field_exists(), or use a member that this kernel has",
    )


def _steps(
    source: _Source,
    text: str,
    insn: int,
    trace: Sequence[tuple[int, int]],
    registers: Sequence[Reg],
    acquired: Sequence[int],
) -> tuple[Step, ...]:
    found = dict.fromkeys(acquired, "acquired here, and not given back on this path")
    lock = _lock(source, text, trace)
    if lock >= 0:
        found[lock] = "locked here, and not unlocked on this path"
    for number in re.findall(r"back-edge from insn (\d+)", text):
        found[int(number)] = "the jump back from here closes the loop"
    wanted = [int(n) for n in _REGISTER.findall(text)]
    failing = source.insn(insn)
    if failing is not None and failing.opcode & op.CLASS_MASK in (op.LDX, op.ST, op.STX):
        wanted.append(failing.src if failing.opcode & op.CLASS_MASK == op.LDX else failing.dst)
    for n in dict.fromkeys(wanted):
        if n < len(registers) and registers[n].origin >= 0 and registers[n].origin != insn:
            found.setdefault(registers[n].origin, _origin_note(source, n, registers[n]))
    steps = [(_order(trace, slot), Step(place=source.place(slot), note=note)) for slot, note in found.items()]
    tests: dict[tuple[int, bool], tuple[int, Step]] = {}
    for at, (slot, following) in enumerate(trace):
        jump = source.insn(slot)
        if jump is not None and following >= 0 and _is_test(jump):
            taken = following != slot + 1
            tests.pop((slot, taken), None)
            tests[slot, taken] = at, Step(place=source.place(slot), note=_test_note(source, slot, taken))
    steps += list(tests.values())[-SHOWN_TESTS:]
    steps.sort(key=lambda pair: pair[0])
    return tuple(step for _, step in steps)


def _lock(source: _Source, text: str, trace: Sequence[tuple[int, int]]) -> int:
    """Where the lock was taken that the refusal is about; -1 where it is about none."""
    if "holding a lock" not in text and "bpf_spin_" not in text:
        return -1
    for slot, _ in reversed(trace):
        proto = helper_of(source.insn(slot))
        if proto is not None and proto.name == "spin_lock":
            return slot
    return -1


def _order(trace: Sequence[tuple[int, int]], slot: int) -> int:
    """Where in the path the instruction ran last."""
    return max((at for at, (ran, _) in enumerate(trace) if ran == slot), default=-1)


def _is_test(insn: Instruction) -> bool:
    kind = insn.opcode & op.OP_MASK
    return insn.opcode & op.CLASS_MASK in (op.JMP, op.JMP32) and kind not in (op.JA, op.CALL, op.EXIT)


def _test_note(source: _Source, slot: int, taken: bool) -> str:
    text = source.text(slot)
    condition = text.removeprefix("if ").split(" goto")[0]
    # Compilers turn tests round: what the source has is often the opposite.
    return f"in bytecode, {condition} is {'true' if taken else 'false'} here"


def _origin_note(source: _Source, register: int, reg: Reg) -> str:
    name = f"R{register}"
    insn = source.insn(reg.origin)
    if insn is None:
        return f"{name} was set here"
    cls = insn.opcode & op.CLASS_MASK
    proto = helper_of(insn)
    if register and proto is not None and (reg.kind == NOT_INIT or proto.changes_packet or proto.releases):
        return f"{name} lost its meaning here"
    if insn.opcode == op.JMP | op.CALL and insn.src == 0:
        helper = helper_name(insn.imm) or f"helper {insn.imm}"
        if helper == "map_lookup_elem":
            return f"{name} is what bpf_map_lookup_elem() returned: null where the map lacks the key"
        return f"{name} is what bpf_{helper}() returned"
    if insn.opcode == op.JMP | op.CALL:
        return f"{name} is what the function returned"
    if cls == op.LDX and reg.kind == SCALAR:
        size = op.SIZE_BYTES[insn.opcode & op.SIZE_MASK]
        return f"{name} was loaded from memory here: any number of {size} byte{'s' if size > 1 else ''}"
    if reg.kind == SCALAR:
        return f"{name} was set here: {source.text(reg.origin)}"
    return f"{name}, {_KINDS.get(reg.kind, 'a pointer')}, was set here: {source.text(reg.origin)}"
