"""How DWARF is written down: LEB128 numbers, abbreviations, the forms of attributes (DWARF 5, section 7.5)."""

from __future__ import annotations

from struct import error as StructError
from struct import unpack_from

from ..errors import ElfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

# What reading past the end, or numbers that make no sense, end in.
DAMAGE = (IndexError, StructError, OverflowError, KeyError, UnicodeError)

# Steps of `Abbrev.steps` that are no number of bytes.
ULEB, CSTRING, BLOCK1, BLOCK2, BLOCK4, BLOCK, INDIRECT = -1, -2, -3, -4, -5, -6, -7
OFFSET, REFERENCE = -8, -9  # 4 or 8 bytes by the unit; as an address in DWARF 2

FORM_ADDR, FORM_STRING, FORM_STRP, FORM_INDIRECT, FORM_IMPLICIT = 0x01, 0x08, 0x0E, 0x16, 0x21
FORM_DATA4, FORM_DATA8, FORM_SDATA, FORM_EXPRLOC, FORM_PRESENT = 0x06, 0x07, 0x0D, 0x18, 0x19
FORM_REF_ADDR, FORM_REF_SIG8, FORM_SEC_OFFSET, FORM_LINE_STRP, FORM_STRX = 0x10, 0x20, 0x17, 0x1F, 0x1A
FORM_ADDRX, FORM_LOCLISTX, FORM_RNGLISTX = 0x1B, 0x22, 0x23
FORM_DATA1, FORM_DATA2, FORM_UDATA, FORM_DATA16 = 0x0B, 0x05, 0x0F, 0x1E

LOCAL_REFERENCES = (0x11, 0x12, 0x13, 0x14, 0x15)  # ref1, ref2, ref4, ref8, ref_udata: from the unit's start
STRING_INDEXES = (0x1A, 0x25, 0x26, 0x27, 0x28, 0x1F02)  # strx, strx1 to strx4, GNU_str_index
ADDRESS_INDEXES = (0x1B, 0x29, 0x2A, 0x2B, 0x2C, 0x1F01)  # addrx, addrx1 to addrx4, GNU_addr_index
SUPPLEMENTARY = (0x1C, 0x1D, 0x24, 0x1F20, 0x1F21)  # in another file (dwz -m), which is not read

_STEPS = {
    0x01: 8, 0x03: BLOCK2, 0x04: BLOCK4, 0x05: 2, 0x06: 4, 0x07: 8, 0x08: CSTRING, 0x09: BLOCK, 0x0A: BLOCK1, 0x0B: 1,
    0x0C: 1, 0x0D: ULEB, 0x0E: OFFSET, 0x0F: ULEB, 0x10: REFERENCE, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x15: ULEB,
    0x16: INDIRECT, 0x17: OFFSET, 0x18: BLOCK, 0x19: 0, 0x1A: ULEB, 0x1B: ULEB, 0x1C: 4, 0x1D: OFFSET, 0x1E: 16,
    0x1F: OFFSET, 0x20: 8, 0x21: 0, 0x22: ULEB, 0x23: ULEB, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1,
    0x2A: 2, 0x2B: 3, 0x2C: 4, 0x1F01: ULEB, 0x1F02: ULEB, 0x1F20: OFFSET, 0x1F21: OFFSET,
}  # fmt: skip


def damage_is_error(what: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: what damaged input makes Python raise comes out as ElfError "read debug information: `what` ..."."""

    def wrap(function: Callable[P, T]) -> Callable[P, T]:
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except DAMAGE as error:
                raise ElfError(f"read debug information: {what} is damaged ({error!r})") from None

        guarded.__doc__ = function.__doc__
        return guarded

    return wrap


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """(number, where it ends)."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value, shift = byte & 0x7F, 7
    while byte >= 0x80:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 140:
            raise OverflowError("number is too long")
    return value, at


def sleb(data: bytes, at: int) -> tuple[int, int]:
    """As `uleb`, signed."""
    start = at
    value, at = uleb(data, at)
    bits = 7 * (at - start)
    return (value - (1 << bits) if value >> (bits - 1) else value), at


class Abbrev:
    """The shape of an entry: its tag, whether children follow, (attribute, form, implicit value) of its attributes.

    `steps` is what to skip behind the code: numbers of bytes, or one of the negative constants.
    """

    __slots__ = ("children", "code", "specs", "steps", "tag")

    def __init__(
        self, code: int, tag: int, children: bool, specs: tuple[tuple[int, int, int], ...], offset: int, reference: int
    ) -> None:
        self.code = code
        self.tag = tag
        self.children = children
        self.specs = specs
        steps: list[int] = []
        for _, form, _ in specs:
            step = form_step(form, offset, reference)
            if step >= 0 and steps and steps[-1] >= 0:
                steps[-1] += step
            else:
                steps.append(step)
        self.steps = tuple(steps)

    def has(self, attribute: int) -> bool:
        return any(spec[0] == attribute for spec in self.specs)


def form_step(form: int, offset: int, reference: int) -> int:
    """Bytes of a form (ULEB and so on where they vary); `offset` and `reference` are the unit's sizes of those."""
    step = _STEPS.get(form)
    if step is None:
        raise ElfError(f"read debug information: unknown attribute form {form:#x}")
    return offset if step == OFFSET else reference if step == REFERENCE else step


@damage_is_error("the abbreviation table")
def read_abbrevs(data: bytes, at: int, offset: int, reference: int) -> dict[int, Abbrev]:
    """The abbreviation table at `at`, by code."""
    table: dict[int, Abbrev] = {}
    while True:
        code, at = uleb(data, at)
        if not code:
            return table
        tag, at = uleb(data, at)
        children = data[at]
        at += 1
        specs: list[tuple[int, int, int]] = []
        while True:
            attribute, at = uleb(data, at)
            form, at = uleb(data, at)
            if not attribute and not form:
                break
            implicit = 0
            if form == FORM_IMPLICIT:
                implicit, at = sleb(data, at)
            specs.append((attribute, form, implicit))
        table.setdefault(code, Abbrev(code, tag, bool(children), tuple(specs), offset, reference))


def skip_steps(data: bytes, at: int, steps: tuple[int, ...], offset: int, reference: int) -> int:
    """Where the attributes end that `steps` describe."""
    for step in steps:
        if step >= 0:
            at += step
        elif step == ULEB:
            while data[at] >= 0x80:
                at += 1
            at += 1
        elif step == BLOCK:
            size, at = uleb(data, at)
            at += size
        elif step == CSTRING:
            at = data.index(0, at) + 1 if 0 <= at < len(data) else _past_end()
        elif step == BLOCK1:
            at += 1 + data[at]
        elif step == BLOCK2:
            at += 2 + int(unpack_from("<H", data, at)[0])
        elif step == BLOCK4:
            at += 4 + int(unpack_from("<I", data, at)[0])
        else:
            form, at = uleb(data, at)
            if form == FORM_INDIRECT:
                raise OverflowError("a form that is indirect twice")
            at = skip_steps(data, at, (form_step(form, offset, reference),), offset, reference)
    return at


def _past_end() -> int:
    raise IndexError("past the end")


def read_form(data: bytes, at: int, form: int, offset: int, reference: int) -> tuple[int, int | bytes, int]:
    """(form, value, where it ends). Numbers, offsets and indexes are numbers; blocks and inline strings are bytes."""
    if form == FORM_INDIRECT:
        form, at = uleb(data, at)
        if form in (FORM_INDIRECT, FORM_IMPLICIT):
            raise OverflowError("a form that is indirect twice")
    step = form_step(form, offset, reference)
    if step > 0:
        if at + step > len(data):
            _past_end()
        return form, int.from_bytes(data[at : at + step], "little"), at + step
    if step == 0:
        return form, 1, at
    if form == FORM_SDATA:
        number, at = sleb(data, at)
        return form, number, at
    if step == ULEB:
        number, at = uleb(data, at)
        return form, number, at
    if step == CSTRING:
        end = data.index(0, at)
        return form, data[at:end], end + 1
    if step == BLOCK:
        size, at = uleb(data, at)
    else:
        width = {BLOCK1: 1, BLOCK2: 2, BLOCK4: 4}[step]
        size, at = int.from_bytes(data[at : at + width], "little"), at + width
    if at + size > len(data):
        _past_end()
    return form, data[at : at + size], at + size
