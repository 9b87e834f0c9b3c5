"""Change raw BTF in place where compilers leave work to the loader, or append to it; type ids stay as they are."""

from __future__ import annotations

from struct import pack, unpack_from

from ..btf import KIND_DATASEC, KIND_FUNC, KIND_TYPEDEF, KIND_VAR, Btf, BtfBuilder, SectionVar
from ..errors import BtfError, ObjectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..elf import ElfFile, Symbol

LINKAGE_STATIC, LINKAGE_GLOBAL, LINKAGE_EXTERN = 0, 1, 2
STAND_IN = "__osmia_ksym"  # variable that a fixed section .ksyms lists
_MAX_ALIGN = 8


class BtfEditor:
    """Raw BTF with its types as words that can be changed; `builder` takes types to append."""

    def __init__(self, raw: bytes) -> None:
        self.btf = Btf(raw)
        header, types, size, strings, length = unpack_from("<5I", raw, 4)
        self._types = bytearray(raw[header + types : header + types + size])
        self._words = memoryview(self._types).cast("I")
        self._strings = raw[header + strings : header + strings + length]
        self.builder = BtfBuilder(self.btf if len(self.btf) else None)

    def words(self, type_id: int) -> memoryview[int]:
        """The words of a type, from its name on; writing changes it."""
        return self._words[self.btf.offsets[type_id - 1] :]

    def set_kind(self, type_id: int, kind: int, vlen: int) -> None:
        self.words(type_id)[1] = kind << 24 | vlen

    def set_section(self, type_id: int, size: int, entries: list[SectionVar]) -> None:
        """Rewrite the entries of a DATASEC, as many as it had."""
        words = self.words(type_id)
        if max(size, 0, *(e.offset for e in entries)) >= 1 << 32:
            raise ObjectError(f"read object: BTF section {self.btf.name(type_id)!r} is too large")
        words[2] = size
        for i, entry in enumerate(sorted(entries, key=lambda e: e.offset)):
            words[3 + 3 * i], words[4 + 3 * i], words[5 + 3 * i] = entry.type_id, entry.offset, entry.size

    def build(self) -> bytes:
        """The result: split BTF on top of a base is the base with the new types and strings behind it."""
        more = self.builder.build()
        if self.builder.base is None:
            return more
        header, at, size, strings_at, length = unpack_from("<5I", more, 4)
        types = bytes(self._types) + more[header + at : header + at + size]
        return pack_btf(types, self._strings + more[header + strings_at : header + strings_at + length])


def pack_btf(types: bytes, strings: bytes) -> bytes:
    """A BTF header in front of both sections."""
    return pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def loadable_btf(raw: bytes, file: ElfFile) -> tuple[bytes, dict[str, int]]:
    """What the kernel takes out of what the compiler wrote; also the offsets in `.kconfig` by name.

    Compilers leave sizes of sections and offsets of global variables open (the linker's work), and describe external
    functions and variables in ways that btf_func_check_meta() and btf_var_check_meta() refuse.
    """
    edit = BtfEditor(raw)
    kconfig: dict[str, int] = {}
    symbols = {s.name: s for s in file.symtab if s.name and s.bind}
    for section in [t for t in edit.btf if t.kind == KIND_DATASEC]:
        if section.name == ".ksyms":
            _fix_ksyms(edit, section.id, list(section.vars))
        elif section.name == ".kconfig":
            kconfig = _fix_kconfig(edit, section.id, list(section.vars))
        elif not section.size:
            _fix_data(edit, section.id, section.name, list(section.vars), file, symbols)
    return edit.build(), kconfig


def kconfig_places(btf: Btf) -> dict[str, int]:
    """Offsets in `.kconfig` by name, as BTF has them that this package wrote."""
    found = btf.find(".kconfig", KIND_DATASEC)
    return {btf.name(v.type_id): v.offset for v in btf.type(found).vars} if found else {}


def _var(edit: BtfEditor, entry: SectionVar, section: str, kinds: tuple[int, ...] = (KIND_VAR,)) -> str:
    if edit.btf.kind(entry.type_id) not in kinds:
        raise ObjectError(f"read object: type {entry.type_id} in BTF section {section!r} is no variable")
    return edit.btf.name(entry.type_id)


def _fix_data(
    edit: BtfEditor, id: int, name: str, entries: list[SectionVar], file: ElfFile, symbols: dict[str, Symbol]
) -> None:
    section = file.section(name)
    if section is None:
        raise ObjectError(f"read object: BTF describes section {name!r}, which the file lacks")
    fixed = []
    for entry in entries:
        var = _var(edit, entry, name)
        found = symbols.get(var)
        global_ = edit.btf.type(entry.type_id).linkage != LINKAGE_STATIC
        offset = found.value if global_ and found and found.section == section.index else entry.offset
        fixed.append(entry.replace(offset=offset))
    edit.set_section(id, section.size, fixed)


def _fix_ksyms(edit: BtfEditor, id: int, entries: list[SectionVar]) -> None:
    """Functions become typedefs of their prototypes; the section lists stand-ins, as it must list something."""
    integer = edit.builder.int("int", 4, signed=True)
    stand_in = edit.builder.var(STAND_IN, integer, LINKAGE_GLOBAL)
    for entry in entries:
        _var(edit, entry, ".ksyms", (KIND_VAR, KIND_FUNC))
        if edit.btf.kind(entry.type_id) == KIND_FUNC:
            edit.set_kind(entry.type_id, KIND_TYPEDEF, 0)
        else:
            _plain_var(edit, entry.type_id, integer)
    fixed = [SectionVar(stand_in, 4 * i, 4) for i in range(len(entries))]
    edit.set_section(id, 4 * len(entries), fixed)


def _fix_kconfig(edit: BtfEditor, id: int, entries: list[SectionVar]) -> dict[str, int]:
    integer = edit.builder.int("int", 4, signed=True)
    places: dict[str, int] = {}
    fixed: list[SectionVar] = []
    end = 0
    for entry in sorted(entries, key=lambda e: (-min(e.size, _MAX_ALIGN), e.type_id)):
        name = _var(edit, entry, ".kconfig")
        align = min(_MAX_ALIGN, entry.size & -entry.size) or 1
        places[name] = at = (end + align - 1) & -align
        end = at + entry.size
        fixed.append(entry.replace(offset=at))
        _plain_var(edit, entry.type_id, integer)
    edit.set_section(id, end, fixed)
    return places


def _plain_var(edit: BtfEditor, id: int, integer: int) -> None:
    """An external variable as the kernel takes it: allocated, of a type that has a size."""
    words = edit.words(id)
    try:
        edit.btf.size_of(words[2])
    except BtfError:
        words[2] = integer
    words[3] = LINKAGE_GLOBAL
