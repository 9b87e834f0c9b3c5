"""What a refusal means, and what to write instead, where that depends on the program: its maps, registers, helpers."""

from __future__ import annotations

import re

from ..isa import PROG_TYPES, attach_type_name, helper_name, map_type_name, op, prog_type_name
from ._maps_allowed import helpers_for, maps_for
from ._prototypes import any_proto, helper_number, why_not
from ._state import MAP_PTR, MAP_VALUE, MEM, SCALAR, STACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..isa import Instruction
    from ._profile import Profile
    from ._prototypes import Proto
    from ._state import Reg
    from ._types import Program

    Words = tuple[str, str]

_WAY_OUT = {"xdp": "return XDP_PASS;", "sched_cls": "return TC_ACT_OK;"}
_MEMORY = (op.LDX, op.ST, op.STX)
LPM_TRIE = 11
# Types of which some programs may sleep: those of uprobes, fentry, lsm, struct_ops, syscall.
_SOME_SLEEP = ("kprobe", "tracing", "lsm", "struct_ops")
_WITHOUT_SLEEP = {"copy_from_user": "bpf_probe_read_user() reads the same without sleeping"}
# Helpers that copy from the packet, whatever of it lies in one piece.
_COPIES = {"xdp": "xdp_load_bytes"} | dict.fromkeys(
    ("sched_cls", "sched_act", "socket_filter", "cgroup_skb", "sk_skb", "lwt_in", "lwt_out", "lwt_xmit"),
    "skb_load_bytes",
)
_PLAIN_MAPS = {
    "prog_array": "do without: bpf_tail_call() goes on behind the call where the entry is empty",
}


class Case:
    """A refusal: the verifier's message and its last line, the instruction (None: none in particular) and the
    registers of the innermost frame there; `at` is its slot, `tested` the source of the tests on the way."""

    __slots__ = ("at", "insn", "message", "profile", "program", "registers", "setters", "tested", "text")

    def __init__(
        self,
        program: Program,
        profile: Profile,
        message: str,
        insn: Instruction | None,
        registers: Sequence[Reg],
        setters: Sequence[Instruction | None],
        at: int = -1,
        tested: Sequence[str] = (),
    ) -> None:
        self.program = program
        self.profile = profile
        self.message = message
        self.text = message.strip().splitlines()[-1] if message.strip() else ""
        self.insn = insn
        self.registers = registers
        self.at = at
        self.tested = tested
        self.setters = setters  # the instruction that made each register's value

    def register(self, number: int | str) -> Reg | None:
        """A register of the frame."""
        return self.registers[int(number)] if int(number) < len(self.registers) else None

    def helper(self) -> Proto | None:
        """The helper that the instruction calls."""
        return helper_of(self.insn)

    @property
    def in_loop(self) -> bool:
        """Whether a jump leads back over the instruction."""
        code = self.program.insns
        for slot in range(max(self.at, 0), len(code) // 8):
            opcode = code[8 * slot]
            if opcode & op.CLASS_MASK not in (op.JMP, op.JMP32) or opcode & op.OP_MASK in (op.CALL, op.EXIT):
                continue
            first, last = (4, 8) if opcode == op.JMP32 | op.JA else (2, 4)
            off = int.from_bytes(code[8 * slot + first : 8 * slot + last], "little", signed=True)
            if slot + 1 + off <= self.at:
                return True
        return False

    @property
    def way_out(self) -> str:
        return _WAY_OUT.get(prog_type_name(self.program.type) or "", "return 0;")


def helper_of(insn: Instruction | None) -> Proto | None:
    """The helper that an instruction calls."""
    if insn is None or insn.opcode != op.JMP | op.CALL or insn.src or insn.imm <= 0:
        return None
    return any_proto(insn.imm)


def words_for(case: Case) -> Words | None:
    """(what it means, what to do), or None where the message alone tells."""
    for rule in _RULES:
        found = rule(case)
        if found is not None:
            return found
    return None


def _stale(case: Case) -> Words | None:
    """A number that was a pointer until a helper took that away."""
    match = re.search(r"R(\d+) invalid mem access '(?:scalar|inv)'", case.text)
    number = int(match[1]) if match else -1
    if not 0 < number < len(case.registers):
        return None
    proto = helper_of(case.setters[number])
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


def _bounds(case: Case) -> Words | None:
    """An access outside of a packet or a map value: how far it may reach, and how far it is allowed to."""
    match = re.search(
        r"R(\d+) (offset is outside of the packet|(?:min|max) value is outside|unbounded memory access)", case.text
    )
    access = case.insn
    reg = case.register(match[1]) if match else None
    if match is None or reg is None or access is None or access.opcode & op.CLASS_MASK not in _MEMORY:
        return None
    size = op.SIZE_BYTES[access.opcode & op.SIZE_MASK]
    if match[2].startswith("offset"):
        return _packet_bounds(case, reg, access.off, size)
    first, last = reg.off + access.off + reg.var.smin, reg.off + access.off + reg.var.umax + size
    room = reg.map.value_size if reg.map is not None else reg.size
    if match[2].startswith("min"):
        return _beside(first, size, room, known=not reg.var.mask)
    if last < 1 << 32 and match[2].startswith("max"):
        return (
            f"the access may reach up to byte {last - 1} of {room}",
            f"the offset may be at most {room - size}: test the index against a smaller limit before it is used",
        )
    return (
        f"the offset into {room} bytes has no upper limit on this path",
        "limit the index first: `if (i >= N) return 0;`, or `i &= N - 1` where N is a power of two",
    )


def _packet_bounds(case: Case, reg: Reg, off: int, size: int) -> Words:
    meaning, remedy = _packet_compared(case, reg, off, size)
    helper = _COPIES.get(prog_type_name(case.program.type) or "", "")
    if (
        helper
        and case.in_loop
        and not why_not(helper_number(helper) or 0, case.program.type, case.program.attach_type, case.profile)
    ):
        # A comparison for every byte is what people write, and what compilers take out of the loop again.
        remedy += (
            f"; or, for a loop that copies bytes: bpf_{helper}(ctx, offset, buffer, length) does without comparing"
        )
    return meaning, remedy


def _packet_compared(case: Case, reg: Reg, off: int, size: int) -> Words:
    known = f"only {reg.size} of its bytes are known to be there" if reg.size > 0 else "its length is not known here"
    way_out = case.way_out
    if reg.var.mask:  # what was added to it is known as the program runs
        return (
            f"the packet is used at an offset that is not known before the program runs, and {known}",
            "limit the offset, add it, and compare the sum with the end: "
            f"`if (off > 1500) {way_out} p = data + off; if (p + {off + size} > data_end) {way_out}`",
        )
    last = reg.off + off + size
    return (
        f"the packet is used up to byte {last - 1}, but {known}",
        f"compare with the end first: `if (data + {last} > data_end) {way_out}`",
    )


def _beside(first: int, size: int, room: int, *, known: bool) -> Words:
    """Memory of `room` bytes is left at its start, or at its end by an offset that is known."""
    if first < 0:
        return (
            f"the access may begin {-first} bytes in front of the {room} bytes"
            if not known
            else f"the access begins {-first} bytes in front of the {room} bytes",
            "test the index from below, too: `if (i < 0) return 0;`",
        )
    return (
        f"bytes {first} to {first + size - 1} of {room} are used: out of bounds",
        f"use an offset of at most {room - size}, or a larger value"
        if room >= size
        else f"read at most {room} bytes at a time, or use a larger value",
    )


def _tested_copy(case: Case) -> Words | None:
    """A number that the source does test: compilers shift an int to test its sign, and go on with the other copy."""
    if not re.search(r"min value is negative|with unbounded min value|makes \S+ pointer be out of bounds", case.text):
        return None
    if not any(re.search(r"<\s*0\b(?!x)|>=\s*0\b(?!x)|>\s*-1\b", text) for text in case.tested):
        return None
    return (
        "an index or size may be negative: the compiler tested a copy of it, and the copy that is used is not limited",
        "declare it `long n`, not int, and limit it on both sides right before the use: "
        "`if (n < 0 || n >= SIZE) return 0;`, or `n &= SIZE - 1`",
    )


def _index(case: Case) -> Words | None:
    """A pointer and a number that may be negative."""
    match = re.search(
        r"math between \S+ pointer and register with unbounded min value|value -\d+ makes \S+ pointer be out of bounds",
        case.text,
    )
    if match is None or case.insn is None or case.insn.opcode & op.CLASS_MASK != op.ALU64:
        return None
    regs = [case.register(case.insn.src), case.register(case.insn.dst)] if case.insn.opcode & op.X else []
    if not any(reg is not None and reg.kind == SCALAR and reg.var.mask for reg in regs):
        return None
    return (
        "the index may be negative: on this path it is not limited on both sides",
        "test both sides: `if (i < 0 || i >= N) return 0;`, or mask it: `i & (N - 1)` where N is a power of two",
    )


def _key(case: Case) -> Words | None:
    """A variable on the stack that is shorter than the map's key or value."""
    proto = case.helper()
    if proto is None or "stack" not in case.text:
        return None
    info = next((reg.map for reg in case.registers[1:6] if reg.kind == MAP_PTR), None)
    for number, kind in enumerate(proto.args, 1):
        reg = case.register(number)
        if info is None or reg is None or reg.kind != STACK or reg.var.mask or kind not in ("map_key", "map_value"):
            continue
        what, need = ("key", info.key_size) if kind == "map_key" else ("value", info.value_size)
        room = -(reg.off + reg.var.smin)
        if need <= room:
            continue
        remedy = f"give it a variable of the type that the map's definition names: {need} bytes"
        if what == "key" and info.type == LPM_TRIE and need > 4:
            remedy = (
                "the key is the length of the prefix, then the address: "
                f"`struct {{ __u32 prefixlen; __u8 data[{need - 4}]; }} key = {{ .prefixlen = {need * 8 - 32} }};`"
            )
        return f"the {what} of map {info.name or 'in question'} has {need} bytes, what is passed {room} at most", remedy
    return None


def _buffer(case: Case) -> Words | None:
    """Memory and a size for a helper that reach beyond a map value or a record."""
    match = re.search(r"R(\d+) (?:min|max) value is outside", case.text)
    proto = case.helper()
    reg = case.register(match[1]) if match else None
    if match is None or proto is None or reg is None or reg.kind not in (MAP_VALUE, MEM):
        return None
    number = int(match[1])
    sizes = proto.args[number : number + 1]
    size = case.register(number + 1)
    if not sizes or not sizes[0].startswith("size") or size is None or size.kind != SCALAR:
        return None
    room = reg.map.value_size if reg.map is not None else reg.size
    first, most = reg.off + reg.var.umax, size.var.umax
    left = max(room - first, 0)
    where = f"at byte {first} of {room}" if first else f"of {room} bytes"
    return (
        f"bpf_{proto.name}() is given {'' if not size.var.mask else 'up to '}{most} bytes {where}",
        f"pass a field and its own size, `&v->field, sizeof(v->field)`: here at most {left} bytes",
    )


def _locked(case: Case) -> Words | None:
    if "while holding a lock" in case.text:
        proto = case.helper()
        name = f"bpf_{proto.name}()" if proto is not None else "a function"
        return (
            f"{name} is called while a bpf_spin_lock is held: nothing may be called until bpf_spin_unlock()",
            "call it in front of bpf_spin_lock(), and keep what it returns in a variable",
        )
    if re.search(r"inside bpf_spin_lock-ed region|bpf_spin_unlock is missing", case.text):
        return (
            "the program ends on this path with a bpf_spin_lock held",
            "call bpf_spin_unlock() in front of this `return`, too",
        )
    return None


def _map_kind(case: Case) -> Words | None:
    """A helper and a map that are not for each other."""
    match = re.search(r"cannot pass map_type (\d+) into func (bpf_\w+)#(\d+)", case.text)
    if match is None:
        return None
    kind, helper = map_type_name(int(match[1])) or match[1], helper_name(int(match[3])) or ""
    remedy = _PLAIN_MAPS.get(kind) if helper.startswith("map_") else None
    if remedy is None:
        fitting, serving = maps_for(helper), helpers_for(kind)
        names = ", ".join(f"bpf_{name}()" for name in serving)
        remedy = f"for such maps there is {names}" if serving else f"it takes maps of type {', '.join(fitting)}"
        if not serving and not fitting:
            remedy = "use a map of another type"
    return f"{match[2]}() does not work on a map of type {kind}", remedy


def _constant(case: Case) -> Words | None:
    """A write into a map that programs may only read."""
    if "write into map forbidden" not in case.text:
        return None
    info = next((reg.map for reg in case.registers if reg.kind == MAP_VALUE and reg.map is not None), None)
    if case.insn is not None and case.insn.opcode & op.CLASS_MASK in (op.ST, op.STX):
        reg = case.register(case.insn.dst)
        info = reg.map if reg is not None else info
    if info is not None and (info.frozen is not None or info.name.endswith("rodata")):
        return (
            "a constant is written: variables with `const` cannot change once the program is loaded",
            "leave out `const` in the variable's declaration, or write to another variable",
        )
    return "the map's flags forbid programs to write to it", "leave out BPF_F_RDONLY_PROG in the map's definition"


def _sleeps(case: Case) -> Words | None:
    if not re.search(r"might sleep in a non-sleepable|must be sleepable", case.text):
        return None
    proto = case.helper()
    kind = prog_type_name(case.program.type) or ""
    remedies = [_WITHOUT_SLEEP[proto.name]] if proto is not None and proto.name in _WITHOUT_SLEEP else []
    if kind in _SOME_SLEEP:
        remedies.append("programs of uprobe.s, fentry.s, lsm.s and iter.s may sleep (those of kprobes may not)")
    name = f"bpf_{proto.name}() may sleep" if proto is not None else "a function is called that may sleep"
    return f"{name}, and this program may not", "; or: ".join(remedies) or "programs of this type never may: do without"


def _context(case: Case) -> Words | None:
    """A field of the context that can be read only, or an argument that a function has not."""
    match = re.search(r"invalid bpf_context access off=(-?\d+) size=(\d+)", case.text)
    if match is None or case.insn is None:
        return None
    from ._context import access

    off, size = int(match[1]), int(match[2])
    program = case.program
    if case.insn.opcode & op.CLASS_MASK in (op.ST, op.STX):
        if access(program.type, program.attach_type, off, size, False, case.profile) is not None:
            return (
                f"the context's field of {size} bytes at offset {off} may be read here, but not written",
                "leave out the assignment: programs of this type cannot change this field",
            )
    elif prog_type_name(program.type) == "tracing" and not off % 8:
        return (
            f"there is no argument {off // 8 + 1} here",
            "declare the arguments that the function or tracepoint has, and no more: `osmia list` shows them",
        )
    return None


def _helper(case: Case) -> Words | None:
    """A helper that this program may not call."""
    match = re.search(
        r"(?:program of this type cannot use helper|unknown func|invalid func) (bpf_\w+)#(\d+)", case.message
    )
    if match is None:
        return None
    from ._profile import OLDEST, profile

    name, number, program = match[1], int(match[2]), case.program
    if why_not(number, program.type, program.attach_type, case.profile) == "privileged":
        return (
            f"without CAP_BPF and CAP_PERFMON, programs may not call {name}()",
            "load it with these capabilities, or do without",
        )
    if not why_not(number, program.type, program.attach_type):
        since = why_not(number, program.type, program.attach_type, profile(OLDEST)).removeprefix("since ")
        kept = why_not(number, program.type, program.attach_type, profile(privileged=case.profile.privileged))
        who = " for loaders with CAP_BPF and CAP_PERFMON" if kept == "privileged" else ""
        return (
            f"this kernel does not let programs of this type call {name}()",
            f"Linux {since} and later do{who}; for older ones do without it",
        )
    own = prog_type_name(program.type) or str(program.type)
    others = sorted(kind for kind, n in PROG_TYPES.items() if not why_not(number, n))
    shown = ", ".join(others[:8]) + (", ..." if len(others) > 8 else "")
    remedy = f"program types that may: {shown}" if shown else "use another helper"
    return f"programs of type {own} may not call {name}()", remedy


def _target(case: Case) -> Words | None:
    """A helper, or a result, that the target does not allow."""
    program = case.program
    if "not allowed in probe" in case.text:
        from ._hooks import D_PATH

        proto = case.helper()
        name = f"bpf_{proto.name}()" if proto is not None else "the helper"
        where = f"on {program.attach_to}" if program.attach_to else "that attach to nothing"
        places = [f"fentry and fexit of {', '.join(D_PATH)}"] if name == "bpf_d_path()" else []
        places.append("lsm hooks that may sleep, such as file_open")
        return f"{name} may not be called from programs {where}", f"it is for {' and for '.join(places)}"
    match = re.search(r"At program exit the register R0 .*should have been in \[(-?\d+), (\d+)\]", case.text)
    if match is None or prog_type_name(program.type) != "lsm":
        return None
    low, high = int(match[1]), int(match[2])
    allowed = "0, or a negative error of at most 4095" if low < 0 else "1" if low == high else "0 or 1"
    remedy = "return 0 to allow it and -EPERM to refuse it"
    if low >= 0:
        of_cgroup = attach_type_name(program.attach_type) == "lsm_cgroup" and low < high
        remedy = "return 1 to allow it and 0 to refuse it" if of_cgroup else f"return {allowed}"
    hook = program.attach_to.removeprefix("bpf_lsm_")
    return f"programs on the hook {hook} return {allowed}, and this may return something else", remedy


def _null(case: Case) -> Words | None:
    match = re.search(r"R(\d+) invalid mem access '\w+?_or_null_?'", case.text)
    if match is None:
        return None
    return (
        f"R{match[1]} may be null here: nothing on this path compared it with null",
        "test the pointer before its first use: `if (!value) return 0;`",
    )


def _too_complex(case: Case) -> Words | None:
    if not re.search(r"BPF program is too large\. Processed|The sequence of \d+ jumps is too complex", case.text):
        return None
    code = case.program.insns
    loops = any(
        code[at] == op.JMP | op.CALL and not code[at + 1] >> 4 and _is_loop(code, at) for at in range(0, len(code), 8)
    )
    if not loops:
        return None
    return (
        "the program is too complex: the verifier gave up walking all its paths",
        "use fewer branches, keep what callbacks count in maps or globals, or split the program",
    )


def _is_loop(code: bytes, at: int) -> bool:
    return helper_name(int.from_bytes(code[at + 4 : at + 8], "little")) == "loop"


_RULES = (
    _stale, _bounds, _tested_copy, _index, _key, _buffer, _locked, _map_kind, _constant, _sleeps, _context, _helper,
    _target, _null, _too_complex,
)  # fmt: skip
