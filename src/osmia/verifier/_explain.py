"""A refusal for people: what failed, on which line, how the value got there, what to write instead."""

from __future__ import annotations

import re

from .._data import Data
from ..errors import IsaError
from ..isa import PROG_TYPES, Instruction, format_instruction, helper_name, op, prog_type_name
from ._reasons import reason
from ._state import CTX, MAP_VALUE, PACKET, PACKET_END, PACKET_META, SCALAR, STACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..objects import LineInfo
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
_WAY_OUT = {"xdp": "return XDP_PASS;", "sched_cls": "return TC_ACT_OK;"}
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
        if at.insn >= 0:
            out.append(f"  verifier: {self.message}")
            if at.text:
                out.append(f"  instruction {at.insn}: {at.text}")
        else:
            out.append(f"  verifier: {self.message}")
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
        self.lines = sorted((line for line in program.lines if line.line), key=lambda line: line.insn)

    def line(self, slot: int) -> LineInfo | None:
        """The source line of a slot: the last that begins at it or before."""
        found = None
        for line in self.lines:
            if line.insn > slot:
                break
            found = line
        return found

    def place(self, slot: int) -> Place:
        """Where that is."""
        line = self.line(slot) if slot >= 0 else None
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


def explain(
    program: Program,
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
    plain, remedy = (
        _stale(source, text, registers) or _bounds(source, text, insn, registers) or _special(program, message)
        or reason(text)
    )  # fmt: skip
    leaks = acquired if "leak" in text or "Unreleased" in text else ()
    steps = _steps(source, text, insn, trace, registers, leaks)
    return Explanation(message=text, reason=plain, remedy=remedy, place=source.place(insn), steps=steps)


def _steps(
    source: _Source,
    text: str,
    insn: int,
    trace: Sequence[tuple[int, int]],
    registers: Sequence[Reg],
    acquired: Sequence[int],
) -> tuple[Step, ...]:
    found = dict.fromkeys(acquired, "acquired here, and not given back on this path")
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


def _order(trace: Sequence[tuple[int, int]], slot: int) -> int:
    """Where in the path the instruction ran last."""
    return max((at for at, (ran, _) in enumerate(trace) if ran == slot), default=-1)


def _is_test(insn: Instruction) -> bool:
    kind = insn.opcode & op.OP_MASK
    return insn.opcode & op.CLASS_MASK in (op.JMP, op.JMP32) and kind not in (op.JA, op.CALL, op.EXIT)


def _test_note(source: _Source, slot: int, taken: bool) -> str:
    text = source.text(slot)
    condition = text.removeprefix("if ").split(" goto")[0]
    return f"{condition} {'holds' if taken else 'does not hold'} on this path"


def _origin_note(source: _Source, register: int, reg: Reg) -> str:
    name = f"R{register}"
    insn = source.insn(reg.origin)
    if insn is None:
        return f"{name} was set here"
    cls = insn.opcode & op.CLASS_MASK
    if insn.opcode == op.JMP | op.CALL and register:
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


def _stale(source: _Source, text: str, registers: Sequence[Reg]) -> tuple[str, str] | None:
    """A number that was a pointer until a helper took that away."""
    match = re.search(r"R(\d+) invalid mem access '(?:scalar|inv)'", text)
    number = int(match[1]) if match else -1
    if not 0 < number < len(registers):
        return None
    call = source.insn(registers[number].origin)
    if call is None or call.opcode != op.JMP | op.CALL or call.src:
        return None
    from ._prototypes import any_proto

    proto = any_proto(call.imm)
    if proto is not None and proto.changes_packet:
        return (
            f"R{number} pointed into the packet until bpf_{proto.name}() may have moved it",
            "read data and data_end from the context again behind the call, and compare them again",
        )
    if proto is not None and proto.releases:
        return (
            f"R{number} pointed to what bpf_{proto.name}() has given back",
            "use the memory before it is submitted, discarded or released, never after",
        )
    return None


def _bounds(source: _Source, text: str, insn: int, registers: Sequence[Reg]) -> tuple[str, str] | None:
    """An access outside of a packet or a map value: how far it may reach, and how far it is allowed to."""
    match = re.search(r"R(\d+) (offset is outside of the packet|max value is outside|unbounded memory access)", text)
    access = source.insn(insn)
    if match is None or access is None or access.opcode & op.CLASS_MASK not in (op.LDX, op.ST, op.STX):
        return None
    number = int(match[1])
    if number >= len(registers):
        return None
    reg = registers[number]
    size = op.SIZE_BYTES[access.opcode & op.SIZE_MASK]
    last = reg.off + access.off + reg.var.umax + size
    if match[2].startswith("offset"):
        known = (
            f"only {reg.size} of its bytes are known to be there" if reg.size > 0 else "its length is not known here"
        )
        way_out = _WAY_OUT.get(prog_type_name(source.program.type) or "", "return 0;")
        if reg.var.mask:  # what was added to it is known as the program runs
            need = access.off + size
            return (
                f"the packet is used at an offset that is not known before the program runs, and {known}",
                "limit the offset, add it, and compare the sum with the end: "
                f"`if (off > 1500) {way_out} p = data + off; if (p + {need} > data_end) {way_out}`",
            )
        return (
            f"the packet is used up to byte {last - 1}, but {known}",
            f"compare with the end first: `if (data + {last} > data_end) {way_out}`",
        )
    room = reg.map.value_size if reg.map is not None else reg.size
    if last < 1 << 32 and match[2].startswith("max"):
        return (
            f"the access may reach up to byte {last - 1} of {room}",
            f"the offset may be at most {room - size}: test the index against a smaller limit before it is used",
        )
    return (
        f"the offset into {room} bytes has no upper limit on this path",
        "limit the index first: `if (i >= N) return 0;`, or `i &= N - 1` where N is a power of two",
    )


def _special(program: Program, text: str) -> tuple[str, str] | None:
    """Messages whose remedy depends on the program."""
    match = re.search(r"invalid access to packet, off=(-?\d+) size=(\d+)", text)
    if match:
        off, size = int(match[1]), int(match[2])
        return (
            f"packet bytes {off} to {off + size - 1} are used where it is not known that the packet is that long",
            _packet_check(program, off + size),
        )
    match = re.search(r"(?:program of this type cannot use helper|unknown func|invalid func) (bpf_\w+)#(\d+)", text)
    if match:
        return _helper_remedy(program, match[1], int(match[2]))
    match = re.search(r"R(\d+) invalid mem access '(\w+?)_or_null'", text)
    if match:
        return (
            f"R{match[1]} may be null here: nothing on this path compared it with null",
            "test the pointer before its first use: `if (!value) return 0;`",
        )
    match = re.search(r"invalid access to map value, value_size=(\d+) off=(-?\d+) size=(\d+)", text)
    if match:
        value, off, size = (int(n) for n in match.groups())
        return (
            f"bytes {off} to {off + size - 1} of a map value of {value} bytes are used: out of bounds",
            f"keep the offset at {value - size} or below: `if (i > {value - size}) return 0;` before the access",
        )
    return None


def _packet_check(program: Program, least: int) -> str:
    names = {number: name for name, number in PROG_TYPES.items()}
    way_out = {"xdp": "return XDP_PASS;", "sched_cls": "return TC_ACT_OK;"}.get(
        names.get(program.type, ""), "return 0;"
    )
    return f"compare with the end of the packet first: `if (data + {max(least, 1)} > data_end) {way_out}`"


def _helper_remedy(program: Program, name: str, number: int) -> tuple[str, str]:
    from ._profile import OLDEST, profile
    from ._prototypes import why_not

    if not why_not(number, program.type, program.attach_type):
        since = why_not(number, program.type, program.attach_type, profile(OLDEST)).removeprefix("since ")
        return (
            f"this kernel does not let programs of this type call {name}()",
            f"Linux {since} and later do; for older ones do without it",
        )
    own = prog_type_name(program.type) or str(program.type)
    others = sorted(kind for kind, n in PROG_TYPES.items() if not why_not(number, n))
    shown = ", ".join(others[:8]) + (", ..." if len(others) > 8 else "")
    remedy = f"program types that may: {shown}" if shown else "use another helper"
    return f"programs of type {own} may not call {name}()", remedy
