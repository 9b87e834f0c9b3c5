"""Where the calling conventions put arguments: System V x86-64 (psABI 3.2.3), AAPCS64.

Places are slots: those of x86-64 are rdi rsi rdx rcx r8 r9, then the words of the stack above the return address;
those of arm64 are x0 to x7.
"""

from __future__ import annotations

from .._data import Data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..elf import DwarfType

REGISTERS = {"x86_64": 6, "aarch64": 8}
_INTEGER, _FLOAT, _MEMORY = "integer", "float", "memory"
# DW_LANG_* whose functions follow the C convention.
_C_LIKE = (0x01, 0x02, 0x0C, 0x1D, 0x2C, 0x3E, 0x04, 0x1A, 0x21, 0x2B, 0x3A, 0x10, 0x11, 0x8001, 0x0)
_C_PLUS_PLUS = (0x04, 0x1A, 0x21, 0x2B, 0x3A, 0x11)
_GO = 0x16


class Place(Data):
    """Where an argument is. `slot` is its first one, -1 if no program can read it: then `problem` says why.

    `by_reference` says that the slot has the address of the value.
    """

    slot: int
    by_reference: bool = False
    problem: str = ""


def places(types: list[DwarfType], returned: DwarfType, language: int, machine: str) -> list[Place]:
    """The place of each argument of a function with these parameters."""
    if language == _GO:
        return [Place(-1, problem="Go passes arguments in registers of its own")] * len(types)
    walk = (_Arm if machine == "aarch64" else _X86)(language)
    if returned.size:
        walk.start(returned)
    return [walk.place(t) for t in types]


class _Walk:
    """Registers given out so far. Once `lost` is set, nothing after it can be placed."""

    def __init__(self, language: int) -> None:
        self.language = language
        self.used = 0
        self.stack = 0
        self.lost = ""

    def start(self, returned: DwarfType) -> None:
        """Take the register in which the address of the result is passed, if it is."""

    def place(self, t: DwarfType) -> Place:
        if self.lost:
            return Place(-1, problem=self.lost)
        if t.kind in ("struct", "union"):
            reference = self.reference(t)
            if reference is None:
                self.lost = "the debug information does not say how a class by value is passed"
                if self.language not in _C_LIKE:
                    self.lost = "how this language passes a struct by value is not known"
                return Place(-1, problem=self.lost)
            if reference:
                return self.scalar(1, by_reference=True)
        return self.value(t)

    def reference(self, t: DwarfType) -> bool | None:
        """Whether a class is passed as a pointer to a copy; None if that cannot be told."""
        told = t.passes_by_reference
        if told is not None:
            return told
        return False if self.language in _C_LIKE and self.language not in _C_PLUS_PLUS else None

    def scalar(self, words: int, *, by_reference: bool = False) -> Place:
        raise NotImplementedError

    def value(self, t: DwarfType) -> Place:
        raise NotImplementedError


class _X86(_Walk):
    def start(self, returned: DwarfType) -> None:
        if returned.kind in ("struct", "union"):
            reference = self.reference(returned)
            if reference is None and returned.size <= 16:
                self.lost = "the debug information does not say how the result is passed"
            self.used += bool(reference) or _MEMORY in _classes(returned)

    def scalar(self, words: int, *, by_reference: bool = False) -> Place:
        if self.used + words <= REGISTERS["x86_64"]:
            self.used += words
            return Place(self.used - words, by_reference)
        return self.memory(words, 8 * words if words > 1 else 8).replace(by_reference=by_reference)

    def memory(self, words: int, align: int) -> Place:
        if align > 8:
            self.stack += self.stack % 2
        self.stack += words
        return Place(REGISTERS["x86_64"] + self.stack - words)

    def value(self, t: DwarfType) -> Place:
        if t.kind in ("struct", "union") and not t.members():
            return Place(-1, problem="it is empty")  # takes no register since GCC 8 and in clang
        classes = _classes(t)
        if _MEMORY in classes:
            return self.memory(-(-t.size // 8), _alignment(t))
        integers = classes.count(_INTEGER)
        if not integers:
            return Place(-1, problem="it is passed in a floating-point register, which BPF programs cannot read")
        if integers < len(classes):
            if self.used + integers <= REGISTERS["x86_64"]:
                self.used += integers
            else:
                self.lost = "an argument before it may be in registers or on the stack"
            return Place(-1, problem="a part of it is in a floating-point register, which BPF programs cannot read")
        return self.scalar(integers) if t.kind in ("int", "bytes") else self.aggregate(integers, t)

    def aggregate(self, words: int, t: DwarfType) -> Place:
        if self.used + words <= REGISTERS["x86_64"]:
            return self.scalar(words)
        return self.memory(words, _alignment(t))


class _Arm(_Walk):
    def scalar(self, words: int, *, by_reference: bool = False) -> Place:
        if words == 2:
            self.used += self.used % 2
        return self.registers(words, by_reference)

    def registers(self, words: int, by_reference: bool = False) -> Place:
        if self.used + words <= REGISTERS["aarch64"]:
            self.used += words
            return Place(self.used - words, by_reference)
        self.used = REGISTERS["aarch64"]
        return Place(-1, problem="it is on the stack")

    def value(self, t: DwarfType) -> Place:
        if t.kind == "float":
            return Place(-1, problem="it is passed in a floating-point register, which BPF programs cannot read")
        if t.kind not in ("struct", "union", "array"):
            return self.scalar(-(-t.size // 8) or 1)
        leaves = _leaves(t)
        if (
            leaves
            and len(leaves) <= 4
            and len({(kind, size) for _, kind, size in leaves}) == 1
            and leaves[0][1] == "float"
        ):
            return Place(-1, problem="it is passed in floating-point registers, which BPF programs cannot read")
        if t.size > 16:
            return self.scalar(1, by_reference=True)
        words = -(-t.size // 8)
        return self.scalar(words) if _alignment(t) > 8 else self.registers(words)


def _leaves(t: DwarfType, at: int = 0, depth: int = 0) -> list[tuple[int, str, int]]:
    """(offset, kind, size) of the scalars in a value, in bytes; kind is "long double" for x87 numbers."""
    if t.kind in ("struct", "union") and depth < 16:
        return [leaf for m in t.members() for leaf in _leaves(m.type, at + m.bit // 8, depth + 1)]
    if t.kind == "array" and depth < 16:
        element = t.element
        return [leaf for i in range(min(t.count, 64)) for leaf in _leaves(element, at + i * element.size, depth + 1)]
    kind = "float" if t.kind == "float" else "other"
    return [(at, "long double" if kind == "float" and "long double" in t.name else kind, t.size or 8)]


def _classes(t: DwarfType) -> list[str]:
    """The class of each eightbyte of a value; ["memory"] for what is passed on the stack."""
    if t.size > 16:
        return [_FLOAT] * 2 if t.kind == "float" and "long double" not in t.name else [_MEMORY]
    classes = [""] * (-(-t.size // 8) or 1)
    for at, kind, size in _leaves(t):
        if kind == "long double" or (size in (2, 4, 8) and at % size):
            return [_MEMORY]
        for i in range(at // 8, -(-(at + size) // 8)):
            if i < len(classes) and classes[i] != _INTEGER:
                classes[i] = _FLOAT if kind == "float" else _INTEGER
    return [c or _INTEGER for c in classes] if any(classes) else [_INTEGER] * len(classes)


def _alignment(t: DwarfType) -> int:
    return max((16 if size >= 16 else size for _, _, size in _leaves(t)), default=8)
