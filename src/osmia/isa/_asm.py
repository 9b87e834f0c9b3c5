"""The assembler: the disassembler's syntax, with labels and comments.

    start:                          ; a label; comments begin with ; or // or, at the start of a line, with #
      r1 = 5                        a 64-bit move of a signed 32-bit number
      r1 = 0x5                      a 64-bit load (two slots), as in the verifier log; `r1 = 5 ll` too
      if r1 s> 0x5 goto start       a jump to a label, or `goto pc+3`
      call bpf_map_lookup_elem#1    name or number may be left out
      call name                     a function in the same text, if `name` is a label; `r1 = subprog[name]` likewise
Numbers and opcodes in front of an instruction (`12: (bf) r6 = r1`) are skipped, so that logs can be pasted.
"""

from __future__ import annotations

import re

from ..errors import IsaError, did_you_mean
from . import _opcodes as op
from ._disasm import ALU_SIGNS, FETCH_NAMES, JUMP_SIGNS, MOVSX, NOSPEC, SIGNED, SIGNED_ALU, UNSIGNED
from ._instruction import Instruction, load_imm64
from ._tables import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # A jump to resolve: field to set ("off" or "imm") and the label.
    Target = tuple[str, str] | None
    Result = tuple[list[Instruction], Target]


def _invert(names: dict[int, str]) -> dict[str, int]:
    return {text: number for number, text in names.items()}


_ALU = _invert(ALU_SIGNS)
_SIGNED_ALU = _invert(SIGNED_ALU)
_JUMPS = _invert(JUMP_SIGNS)
_SIZES = _invert(UNSIGNED)
_SIGNED_SIZES = _invert(SIGNED)
_MOVSX = {text[1:-1]: bits for bits, text in MOVSX.items()}
_FETCH = _invert(FETCH_NAMES)

_REG = r"r(\d+)"
_NUM = r"([+-]?(?:0[xX][0-9a-fA-F]+|\d+))"
_U = r"\(\s*(u8|u16|u32|u64)\s*\*\s*\)"
_AT = rf"\(\s*{_REG}\s*(?:([+-])\s*(\w+))?\s*\)"
_GOTO = r"(?:pc\s*([+-]\s*\w+)|([A-Za-z_.$][\w.$]*))"

_LABEL = re.compile(r"([A-Za-z_.$][\w.$]*)\s*:")
_PREFIX = re.compile(r"(?:\d+\s*:\s*)?(?:\([0-9a-f]{2}\)\s*)?")
_NARROW = re.compile(r"\(\s*u(?:8|16|32)\s*\*\s*\)\s*\(")
_W = re.compile(r"\bw(\d+)\b")
_COMMENT = re.compile(r";|//|^\s*#")


class _Bad(Exception):
    """The text of an instruction is wrong; the message says why."""


def assemble(text: str) -> bytes:
    """The bytes of a program. IsaError names the line of the first error."""
    slots: list[Instruction] = []
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str, str, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            body = _take_labels(_COMMENT.split(line, maxsplit=1)[0].strip(), labels, len(slots))
            if body:
                made, target = _parse(body)
                if target:
                    jumps.append((len(slots), *target, number))
                slots += made
        except _Bad as e:
            raise IsaError(f"assemble line {number} {line.strip()!r}: {e}") from None
    for at, field, label, number in jumps:
        _resolve(slots[at], at, field, label, labels, number)
    try:
        return b"".join([i.encode() for i in slots])
    except IsaError as e:
        raise IsaError(f"assemble program: {e.message}") from None


def _take_labels(body: str, labels: dict[str, int], here: int) -> str:
    while True:
        m = _LABEL.match(body)
        if m is None:
            return body
        if m[1] in labels:
            raise _Bad(f"label {m[1]!r} is there twice")
        labels[m[1]] = here
        body = body[m.end() :].strip()


def _resolve(i: Instruction, at: int, field: str, label: str, labels: dict[str, int], line: int) -> None:
    """Fill in a jump or call of `label`; a call of no label may name a helper."""
    target = labels.get(label)
    if target is not None:
        distance = target - at - 1
        if field == "off" and not -(1 << 15) <= distance < 1 << 15:
            hint = "use gotol" if i.opcode == op.JMP | op.JA else "jump over a gotol"
            raise IsaError(f"assemble line {line}: label {label!r} is {distance} slots away", hint=hint)
        setattr(i, field, distance)
        return
    helper = table("HELPERS").get(label.removeprefix("bpf_"))
    if helper is not None and i.opcode == op.JMP | op.CALL:
        i.src, i.imm = 0, helper
        return
    known = [*labels, *(f"bpf_{name}" for name in table("HELPERS"))] if field == "imm" else [*labels]
    raise IsaError(
        f"assemble line {line}: no label or helper {label!r}"
        if field == "imm"
        else f"assemble line {line}: no label {label!r}",
        hint=did_you_mean(label, known),
    )


def _parse(body: str) -> Result:
    body = body[_PREFIX.match(body).end() :]  # type: ignore[union-attr]  # it matches the empty string
    if _NARROW.search(body):
        body = _W.sub(r"r\1", body)  # LLVM names the value of a 32-bit access w1, the kernel r1
    for pattern, make in _FORMS:
        m = pattern.fullmatch(body)
        if m is not None:
            return make(m)
    raise _Bad("no such instruction")


def _reg(text: str) -> int:
    number = int(text)
    if number > op.MAX_REGISTER:
        raise _Bad(f"there is no register r{number}")
    return number


def _int(text: str, low: int, high: int) -> int:
    try:
        value = int(text.replace(" ", ""), 16 if "x" in text.lower() else 10)
    except ValueError:
        raise _Bad(f"{text!r} is no number") from None
    if not low <= value <= high:
        raise _Bad(f"{text} is not between {low} and {high}")
    return value


def _imm(text: str) -> int:
    value = _int(text, -(1 << 31), (1 << 32) - 1)
    return value - (1 << 32) if value >> 31 > 0 else value


def _off(sign: str | None, text: str | None) -> int:
    return _int((sign or "") + text, -(1 << 15), (1 << 15) - 1) if text else 0


def _goto(m: re.Match[str], group: int, field: str = "off") -> tuple[int, Target]:
    """(distance, None) for `pc+3`, (0, (field, label)) for a label."""
    if m[group] is None:
        return 0, (field, m[group + 1])
    bits = 15 if field == "off" else 31
    return _int(m[group], -(1 << bits), (1 << bits) - 1), None


def _same_width(*letters: str) -> int:
    if len(set(letters)) != 1:
        raise _Bad("r and w registers do not mix")
    return op.ALU64 if letters[0] == "r" else op.ALU


def _alu_reg(m: re.Match[str]) -> Result:
    cls = _same_width(m[1], m[4])
    sign = m[3]
    off = 1 if sign in _SIGNED_ALU else 0
    operation = _SIGNED_ALU[sign] if off else _ALU[sign]
    return [Instruction(cls | operation | op.X, _reg(m[2]), _reg(m[5]), off)], None


def _alu_imm(m: re.Match[str]) -> Result:
    sign, dst = m[3], _reg(m[2])
    if sign == "=" and m[1] == "r" and "x" in m[4].lower():
        return load_imm64(dst, _int(m[4], -(1 << 63), (1 << 64) - 1)), None
    off = 1 if sign in _SIGNED_ALU else 0
    operation = _SIGNED_ALU[sign] if off else _ALU[sign]
    return [Instruction(_same_width(m[1]) | operation, dst, 0, off, _imm(m[4]))], None


def _load64(m: re.Match[str]) -> Result:
    return load_imm64(_reg(m[1]), _int(m[2], -(1 << 63), (1 << 64) - 1)), None


def _map(m: re.Match[str]) -> Result:
    by_fd = m[2] == "fd"
    src = op.PSEUDO_MAP_FD if by_fd else op.PSEUDO_MAP_IDX
    offset = 0
    if m[4] is not None:
        src = op.PSEUDO_MAP_VALUE if by_fd else op.PSEUDO_MAP_IDX_VALUE
        offset = _imm(m[4])
    return _pair(_reg(m[1]), src, _imm(m[3]), offset), None


def _pair(dst: int, src: int, low: int, high: int) -> list[Instruction]:
    return [Instruction(op.LD_IMM64, dst, src, 0, low), Instruction(0, 0, 0, 0, high)]


def _btf_id(m: re.Match[str]) -> Result:
    return _pair(_reg(m[1]), op.PSEUDO_BTF_ID, _imm(m[2]), _imm(m[3] or "0")), None


def _subprog(m: re.Match[str]) -> Result:
    slots = _pair(_reg(m[1]), op.PSEUDO_FUNC, _imm(m[2]) if m[2] else 0, 0)
    return slots, None if m[2] else ("imm", m[3])


def _movsx(m: re.Match[str]) -> Result:
    bits = _MOVSX[m[3]]
    cls = _same_width(m[1], m[4])
    if cls == op.ALU and bits == 32:
        raise _Bad("a 32-bit register has no 32 bits to extend")
    return [Instruction(cls | op.MOV | op.X, _reg(m[2]), _reg(m[5]), bits)], None


def _negate(m: re.Match[str]) -> Result:
    if m[2] != m[4]:
        raise _Bad("negation has one register")
    return [Instruction(_same_width(m[1], m[3]) | op.NEG, _reg(m[2]))], None


def _swap(m: re.Match[str]) -> Result:
    if m[1] != m[4]:
        raise _Bad("a byte swap has one register")
    opcode = {"le": op.ALU | op.END, "be": op.ALU | op.END | op.X, "bswap": op.ALU64 | op.END}[m[2]]
    return [Instruction(opcode, _reg(m[1]), imm=int(m[3]))], None


def _cast(m: re.Match[str]) -> Result:
    imm = _int(m[3], 0, 0xFFFF) << 16 | _int(m[4], 0, 0xFFFF)
    imm -= imm >> 31 << 32
    return [Instruction(op.ALU64 | op.MOV | op.X, _reg(m[1]), _reg(m[2]), op.ADDR_SPACE_CAST, imm)], None


def _percpu(m: re.Match[str]) -> Result:
    return [Instruction(op.ALU64 | op.MOV | op.X, _reg(m[1]), _reg(m[2]), op.ADDR_PERCPU)], None


def _skb(m: re.Match[str]) -> Result:
    size = _SIZES[m[1]]
    if size == op.DW:
        raise _Bad("packet loads take 1, 2 or 4 bytes")
    if m[2] is None:
        return [Instruction(op.LD | op.ABS | size, imm=_imm(m[4]))], None
    return [Instruction(op.LD | op.IND | size, 0, _reg(m[2]), 0, _imm(m[3]))], None


def _load(m: re.Match[str]) -> Result:
    signed = m[2] in _SIGNED_SIZES
    opcode = op.LDX | (op.MEMSX | _SIGNED_SIZES[m[2]] if signed else op.MEM | _SIZES[m[2]])
    return [Instruction(opcode, _reg(m[1]), _reg(m[3]), _off(m[4], m[5]))], None


def _store(m: re.Match[str]) -> Result:
    size, dst, off = _SIZES[m[1]], _reg(m[2]), _off(m[3], m[4])
    if m[5] is not None:
        return [Instruction(op.STX | op.MEM | size, dst, _reg(m[5]), off)], None
    return [Instruction(op.ST | op.MEM | size, dst, 0, off, _imm(m[6]))], None


def _atomic_slot(size: str, dst: str, sign: str, off: str, src: str, imm: int) -> Result:
    if size not in ("u32", "u64"):
        raise _Bad("atomic operations take 4 or 8 bytes")
    return [Instruction(op.STX | op.ATOMIC | _SIZES[size], _reg(dst), _reg(src), _off(sign, off), imm)], None


def _lock(m: re.Match[str]) -> Result:
    operation = _ALU[m[5]]
    if operation not in FETCH_NAMES:
        raise _Bad(f"there is no atomic {m[5]}")
    return _atomic_slot(m[1], m[2], m[3], m[4], m[6], operation)


def _fetch(m: re.Match[str]) -> Result:
    wide, what = m[2] == "64", m[3]
    if m[1] != m[8]:
        raise _Bad("the register that receives the old value is the operand")
    if wide and m[4] != "u64":  # LLVM says atomic_ for both sizes
        raise _Bad("atomic64 goes with u64")
    imm = op.XCHG if what == "xchg" else _FETCH[what.removeprefix("fetch_")] | op.FETCH
    return _atomic_slot(m[4], m[5], m[6], m[7], m[8], imm)


def _cmpxchg(m: re.Match[str]) -> Result:
    if m[1] and m[2] != "u64":
        raise _Bad("atomic64 goes with u64")
    return _atomic_slot(m[2], m[3], m[4], m[5], m[6], op.CMPXCHG)


def _acquire(m: re.Match[str]) -> Result:
    opcode = op.STX | op.ATOMIC | _SIZES[m[2]]
    return [Instruction(opcode, _reg(m[1]), _reg(m[3]), _off(m[4], m[5]), op.LOAD_ACQ)], None


def _release(m: re.Match[str]) -> Result:
    opcode = op.STX | op.ATOMIC | _SIZES[m[1]]
    return [Instruction(opcode, _reg(m[2]), _reg(m[5]), _off(m[3], m[4]), op.STORE_REL)], None


def _branch(m: re.Match[str]) -> Result:
    off, target = _goto(m, 7)
    letters = (m[1], m[4]) if m[4] else (m[1],)
    cls = op.JMP if _same_width(*letters) == op.ALU64 else op.JMP32
    operation = _JUMPS[m[3]]
    if m[4]:
        return [Instruction(cls | operation | op.X, _reg(m[2]), _reg(m[5]), off)], target
    return [Instruction(cls | operation, _reg(m[2]), 0, off, _imm(m[6]))], target


def _jump(m: re.Match[str]) -> Result:
    if m[1] == "gotol":
        imm, target = _goto(m, 2, "imm")
        return [Instruction(op.JMP32 | op.JA, imm=imm)], target
    off, target = _goto(m, 2)
    return [Instruction(op.JMP | (op.JA if m[1] == "goto" else op.JCOND), off=off)], target


def _by_register(m: re.Match[str]) -> Result:
    return [Instruction(op.JMP | op.X | (op.CALL if m[1] == "callx" else op.JA), _reg(m[2]))], None


def _call_near(m: re.Match[str]) -> Result:
    imm, target = _goto(m, 1, "imm")
    return [Instruction(op.JMP | op.CALL, 0, op.PSEUDO_CALL, 0, imm)], target


def _call_number(m: re.Match[str]) -> Result:
    """`call name#number`: a helper by that name, or, as the verifier log has it, a kfunc."""
    name, number = m[1] or "", _imm(m[2])
    known = table("HELPERS").get(name.removeprefix("bpf_"))
    if known is not None and known != number:
        raise _Bad(f"helper {name} has number {known}")
    if known is None and name not in ("", "unknown"):
        return [Instruction(op.JMP | op.CALL, 0, op.PSEUDO_KFUNC_CALL, _off("", m[3]), number)], None
    return [Instruction(op.JMP | op.CALL, imm=number)], None


def _fixed(opcode: int) -> Callable[[re.Match[str]], Result]:
    return lambda m: ([Instruction(opcode)], None)


def _forms() -> Iterator[tuple[re.Pattern[str], Callable[[re.Match[str]], Result]]]:
    signs = "|".join(map(re.escape, sorted([*_ALU, *_SIGNED_ALU], key=len, reverse=True)))
    jumps = "|".join(map(re.escape, sorted(_JUMPS, key=len, reverse=True)))
    any_size = r"\(\s*([us](?:8|16|32)|u64)\s*\*\s*\)"
    any_reg = r"([rw])(\d+)"
    for form, make in (
        (rf"{any_reg}\s*({signs})\s*{any_reg}", _alu_reg),
        (rf"{any_reg}\s*({signs})\s*{_NUM}", _alu_imm),
        (rf"{_REG}\s*=\s*\*\s*{any_size}\s*{_AT}", _load),
        (rf"\*\s*{_U}\s*{_AT}\s*=\s*(?:{_REG}|{_NUM})", _store),
        (rf"if\s+{any_reg}\s*({jumps})\s*(?:{any_reg}|{_NUM})\s+goto\s+{_GOTO}", _branch),
        (rf"(goto|gotol|may_goto)\s+{_GOTO}", _jump),
        (r"call\s+([A-Za-z_][\w-]*)?#(-?\d+)(?::(-?\d+))?", _call_number),
        (r"call\s+(\d+)", lambda m: ([Instruction(op.JMP | op.CALL, imm=_imm(m[1]))], None)),
        (rf"call\s+{_GOTO}", _call_near),
        (r"exit", _fixed(op.JMP | op.EXIT)),
        (rf"{_REG}\s*=\s*{_NUM}\s*ll", _load64),
        (rf"{any_reg}\s*=\s*\(\s*(s8|s16|s32)\s*\)\s*{any_reg}", _movsx),
        (rf"{any_reg}\s*=\s*-\s*{any_reg}", _negate),
        (rf"{_REG}\s*=\s*(le|be|bswap)(16|32|64)\s+{_REG}", _swap),
        (rf"lock\s+\*\s*{_U}\s*{_AT}\s*({signs})\s*{_REG}", _lock),
        (rf"{_REG}\s*=\s*atomic(64)?_(xchg|fetch_(?:add|or|and|xor))\(\s*{_U}\s*{_AT}\s*,\s*{_REG}\s*\)", _fetch),
        (rf"r0\s*=\s*atomic(64)?_cmpxchg\(\s*{_U}\s*{_AT}\s*,\s*r0\s*,\s*{_REG}\s*\)", _cmpxchg),
        (rf"{_REG}\s*=\s*load_acquire\(\s*{_U}\s*{_AT}\s*\)", _acquire),
        (rf"store_release\(\s*{_U}\s*{_AT}\s*,\s*{_REG}\s*\)", _release),
        (rf"{_REG}\s*=\s*map\[(fd|idx):{_NUM}\](?:\[0\]{_NUM})?", _map),
        (rf"{_REG}\s*=\s*btf_id\[{_NUM}(?::{_NUM})?\]", _btf_id),
        (rf"{_REG}\s*=\s*subprog\[(?:{_NUM}|([A-Za-z_.$][\w.$]*))\]", _subprog),
        (rf"{_REG}\s*=\s*addr_space_cast\(\s*{_REG}\s*,\s*{_NUM}\s*,\s*{_NUM}\s*\)", _cast),
        (rf"{_REG}\s*=\s*&\(void __percpu \*\)\(\s*{_REG}\s*\)", _percpu),
        (rf"r0\s*=\s*\*\s*{_U}\s*skb\[\s*(?:{_REG}\s*\+\s*{_NUM}|{_NUM})\s*\]", _skb),
        (rf"(callx|gotox)\s+{_REG}", _by_register),
        (r"nospec", _fixed(NOSPEC)),
    ):
        yield re.compile(form), make


_FORMS = tuple(_forms())
