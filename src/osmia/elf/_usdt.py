"""USDT probes: `.note.stapsdt` records and the text in which they say where the arguments are.

Format: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation. An argument reads `N@OP`: N is the size in
bytes, negative for signed, with an `f` for floats; OP is an operand as the compiler wrote it for the assembler.
"""

from __future__ import annotations

from struct import unpack_from

from .._data import Data
from ..errors import ElfError
from ._records import EM_AARCH64, EM_X86_64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._file import ElfFile


class UsdtArg(Data):
    """Where one argument of a probe is.

    kind   "const"  `value`, plus the address of `symbol` where there is one
           "reg"    `register`, shifted right by `shift` bits (8 for %ah and the like)
           "mem"    `register` + `offset` + `index` * `scale`, plus the address of `symbol` where there is one;
                    "" stands for no register
    `size` is 1, 2, 4 or 8 bytes. Registers are named by their full width: "rax", "r8", "rip", "x0", "sp".
    """

    size: int
    signed: bool
    kind: str
    value: int = 0
    register: str = ""
    shift: int = 0
    offset: int = 0
    index: str = ""
    scale: int = 1
    symbol: str = ""
    is_float: bool = False


class UsdtProbe(Data):
    """One place of a USDT probe (several may share provider and name).

    `pc` and `semaphore` (0: none) are addresses as this file lays them out, prelink's shift (`base`) undone; `offset`
    and `semaphore_offset` are the file offsets that a uprobe and its reference counter take. `args` is the text.
    """

    provider: str
    name: str
    pc: int
    base: int
    semaphore: int
    args: str
    offset: int
    semaphore_offset: int
    machine: int = EM_X86_64

    def arguments(self) -> tuple[UsdtArg, ...]:
        """`args` parsed. Raises ElfError for operands that are not understood."""
        return parse_usdt_args(self.args, self.machine)


def read_probes(file: ElfFile) -> list[UsdtProbe]:
    """See `ElfFile.usdt_probes`."""
    anchor = file.section(".stapsdt.base")
    out: list[UsdtProbe] = []
    for note in file._notes_before(".note.stapsdt"):
        if note.owner != "stapsdt" or note.type != 3:
            continue
        texts = note.desc[24:].split(b"\0")
        if len(note.desc) < 24 or len(texts) < 4:
            raise ElfError(f"read {file.path or 'ELF file'}: USDT note is cut off")
        pc, base, semaphore = unpack_from("<QQQ", note.desc)
        shift = anchor.addr - base if anchor and base else 0
        pc += shift
        semaphore += shift if semaphore else 0
        provider, name, args = (t.decode("utf-8", "backslashreplace") for t in texts[:3])
        where = file.addr_to_offset(semaphore) if semaphore else 0
        out.append(UsdtProbe(provider, name, pc, base, semaphore, args, file.addr_to_offset(pc), where, file.machine))
    return out


def parse_usdt_args(text: str, machine: int = EM_X86_64) -> tuple[UsdtArg, ...]:
    """Parse the argument text of a probe for EM_X86_64 or EM_AARCH64. Raises ElfError for what is not understood."""
    operand = {EM_X86_64: _x86_operand, EM_AARCH64: _arm64_operand}.get(machine)
    if operand is None:
        raise ElfError(f"parse USDT arguments: machine {machine} is not supported")
    out: list[UsdtArg] = []
    for word in _words(text):
        head, at, op = word.partition("@")
        try:
            if not at or not op:
                raise ValueError
            is_float = head.endswith("f")
            size = int(head.removesuffix("f"))
            if abs(size) not in (1, 2, 4, 8):
                raise ValueError
            out.append(_sized(operand(op), size, is_float))
        except ValueError:
            raise ElfError(f"parse USDT argument {word!r}: operand is not understood") from None
    return tuple(out)


def _sized(arg: UsdtArg, size: int, is_float: bool) -> UsdtArg:
    """With the size and sign that stand before the @; compilers write constants with a sign of their own."""
    value = arg.value
    if arg.kind == "const" and abs(size) < 8:
        bits = 8 * abs(size)
        value &= (1 << bits) - 1
        if size < 0 and value >> bits - 1:
            value -= 1 << bits
    return arg.replace(size=abs(size), signed=size < 0, is_float=is_float, value=value)


def _words(text: str) -> list[str]:
    """Split at blanks that are not inside [] or (); assemblers write `[sp, 12]`."""
    out: list[str] = []
    depth, word = 0, ""
    for c in text:
        if c in " \t" and not depth:
            if word:
                out.append(word)
            word = ""
            continue
        depth += (c in "[(") - (c in "])")
        word += c
    return [*out, word] if word else out


def _x86_registers() -> dict[str, tuple[str, int]]:
    names: dict[str, tuple[str, int]] = {"rip": ("rip", 0), "eip": ("rip", 0)}
    for c in "abcd":
        full = f"r{c}x"
        names |= {full: (full, 0), f"e{c}x": (full, 0), f"{c}x": (full, 0), f"{c}l": (full, 0), f"{c}h": (full, 8)}
    for c in ("si", "di", "bp", "sp"):
        names |= {f"r{c}": (f"r{c}", 0), f"e{c}": (f"r{c}", 0), c: (f"r{c}", 0), f"{c}l": (f"r{c}", 0)}
    for n in range(8, 16):
        names |= {f"r{n}{suffix}": (f"r{n}", 0) for suffix in ("", "d", "w", "b")}
    return names | {f"xmm{n}": (f"xmm{n}", 0) for n in range(32)}


_X86: dict[str, tuple[str, int]] = {}


def _x86_register(text: str) -> tuple[str, int]:
    if not _X86:
        _X86.update(_x86_registers())
    if not text.startswith("%") or text[1:] not in _X86:
        raise ValueError
    return _X86[text[1:]]


def _int(text: str) -> int:
    # int() takes "1_000" and blanks inside signs; assemblers do not.
    if "_" in text or " " in text:
        raise ValueError
    return int(text, 0) if text.lstrip("+-")[:1] != "0" or text.lstrip("+-")[1:2] in ("x", "b") else int(text, 8)


def _symbol_and_offset(text: str) -> tuple[str, int]:
    """`-8`, `foo`, `foo+16`, `16+foo`, `foo@GOTPCREL` is refused: its meaning is a load."""
    symbol, offset, term = "", 0, ""
    for c in [*text, "+"]:
        if c not in "+-" or (not term and c == "-"):
            term += c
            continue
        if term:
            if term.lstrip("+-")[:1].isdigit():
                offset += _int(term)
            elif symbol or term.startswith("-") or not _is_symbol(term):
                raise ValueError
            else:
                symbol = term
        term = "-" if c == "-" else ""
    return symbol, offset


def _is_symbol(text: str) -> bool:
    return text[:1] not in ("", "$") and all(c.isalnum() or c in "_.$" for c in text)


def _x86_operand(op: str) -> UsdtArg:
    if op.startswith("$") and len(op) > 1:
        symbol, value = _symbol_and_offset(op[1:])
        return UsdtArg(0, False, "const", value=value, symbol=symbol)
    if op.startswith("%") and ":" not in op:
        register, shift = _x86_register(op)
        return UsdtArg(0, False, "reg", register=register, shift=shift)
    if ":" in op:  # a segment override: thread-local storage, not to be had from pt_regs
        raise ValueError
    outer, paren, inner = op.partition("(")
    symbol, offset = _symbol_and_offset(outer)
    if not paren:
        if not outer:
            raise ValueError
        return UsdtArg(0, False, "mem", offset=offset, symbol=symbol)
    if not inner.endswith(")"):
        raise ValueError
    parts = [p.strip() for p in inner[:-1].split(",")]
    if len(parts) > 3:
        raise ValueError
    base = _x86_register(parts[0])[0] if parts[0] else ""
    index = _x86_register(parts[1])[0] if len(parts) > 1 and parts[1] else ""
    scale = _int(parts[2]) if len(parts) > 2 and parts[2] else 1
    if scale not in (1, 2, 4, 8) or not (base or index):
        raise ValueError
    return UsdtArg(0, False, "mem", register=base, offset=offset, index=index, scale=scale, symbol=symbol)


def _arm64_register(text: str) -> str:
    if text in ("sp", "wsp"):
        return "sp"
    if text in ("fp", "lr"):
        return "x29" if text == "fp" else "x30"
    if text[:1] in ("x", "w") and text[1:].isdecimal() and int(text[1:]) <= 30:
        return f"x{int(text[1:])}"
    if text[:1] in ("v", "d", "s", "q") and text[1:].isdecimal() and int(text[1:]) <= 31:
        return f"v{int(text[1:])}"
    raise ValueError


def _arm64_operand(op: str) -> UsdtArg:
    if op.startswith("["):
        if not op.endswith("]"):
            raise ValueError
        parts = [p.strip() for p in op[1:-1].split(",")]
        base = _arm64_register(parts[0])
        if len(parts) == 1:
            return UsdtArg(0, False, "mem", register=base)
        if len(parts) > 3:
            raise ValueError
        if len(parts) == 2 and (parts[1].startswith("#") or parts[1].lstrip("+-")[:1].isdigit()):
            return UsdtArg(0, False, "mem", register=base, offset=_int(parts[1].removeprefix("#")))
        # A w register as index is sign- or zero-extended first; only the full ones are plain.
        if not parts[1].startswith("x"):
            raise ValueError
        shift = 0
        if len(parts) == 3:
            how, _, amount = parts[2].partition(" ")
            if how != "lsl":
                raise ValueError
            shift = _int(amount.strip().removeprefix("#"))
        if not 0 <= shift <= 4:
            raise ValueError
        return UsdtArg(0, False, "mem", register=base, index=_arm64_register(parts[1]), scale=1 << shift)
    if op.lstrip("#+-")[:1].isdigit():
        return UsdtArg(0, False, "const", value=_int(op.removeprefix("#")))
    return UsdtArg(0, False, "reg", register=_arm64_register(op))
