"""What only DWARF knows: parameters of functions, and which addresses a source line has. pyelftools, when asked for.

Split debug information (.dwo) is not followed.
"""

from __future__ import annotations

from .._data import Data
from ..errors import ElfError, OsmiaError, SymbolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

_DEPTH = 12
_QUALIFIERS = {"DW_TAG_const_type": "const", "DW_TAG_volatile_type": "volatile", "DW_TAG_restrict_type": "restrict"}
_TAGGED = {"DW_TAG_structure_type": "struct", "DW_TAG_union_type": "union", "DW_TAG_enumeration_type": "enum"}


class DwarfParam(Data):
    """A parameter: `type` as C writes it, `byte_size` 0 for unknown.

    `location` is "frame" (relative to the frame base), "register", "list" (differs by address), "const", "address",
    "other", or "" where it was optimised away.
    """

    name: str
    type: str
    byte_size: int
    location: str


def dwarf_functions(path: str, name: str) -> dict[str, tuple[DwarfParam, ...]]:
    """Parameters of the functions called `name` in `path`, by linkage name (C: the name itself).

    Inlined and declared-only ones are left out. Raises SymbolError without debug information, ElfError for damage.
    """
    return _guarded(path, lambda info: _functions(info, name.encode()))


def lines_to_addrs(path: str, file: str, line: int) -> list[int]:
    """Addresses (as linked, ascending) where statements of source line `line` start.

    `file` is compared from the right, by path components: "main.c" or "src/main.c". Raises as `dwarf_functions`.
    """
    return _guarded(path, lambda info: _addresses(info, file.encode().strip(b"/").split(b"/"), line))


def _guarded(path: str, work: Callable[[Any], T]) -> T:
    """Run `work` on the DWARF of a file; whatever pyelftools raises over damage comes out as ElfError."""
    from elftools.elf.elffile import ELFFile

    try:
        stream = open(path, "rb")  # noqa: SIM115 (closed by the `with` below)
    except OSError as error:
        raise SymbolError(f"open {path}: {error.strerror}") from None
    with stream:
        try:
            file = ELFFile(stream)
            if not file.has_dwarf_info(strict=True):
                raise SymbolError(f"read {path}: no debug information", hint="install its debug symbols")
            return work(file.get_dwarf_info())
        except OsmiaError:
            raise
        except Exception as error:
            # pyelftools checks little: damaged input ends in KeyError, AssertionError, RecursionError, struct.error ...
            raise ElfError(f"read debug information of {path}: {error!r}") from None


def _functions(info: Any, wanted: bytes) -> dict[str, tuple[DwarfParam, ...]]:
    out: dict[str, tuple[DwarfParam, ...]] = {}
    for unit in info.iter_CUs():
        for die in unit.iter_DIEs():
            if die.tag != "DW_TAG_subprogram" or "DW_AT_declaration" in die.attributes:
                continue
            base = _origin(die)
            if wanted not in (_text(base, "DW_AT_name"), _text(base, "DW_AT_linkage_name")):
                continue
            if "DW_AT_low_pc" not in die.attributes and "DW_AT_ranges" not in die.attributes:
                continue
            linkage = _text(base, "DW_AT_linkage_name") or wanted
            children = [c for c in die.iter_children() if c.tag == "DW_TAG_formal_parameter"]
            out[linkage.decode("utf-8", "backslashreplace")] = tuple([_param(c) for c in children])
    return out


def _addresses(info: Any, wanted: list[bytes], line: int) -> list[int]:
    found: set[int] = set()
    for unit in info.iter_CUs():
        program = info.line_program_for_CU(unit)
        if program is None:
            continue
        matches: dict[int, bool] = {}
        for entry in program.get_entries():
            state = entry.state
            if state is None or state.end_sequence or state.line != line or not state.is_stmt:
                continue
            if state.file not in matches:
                parts = _file_path(program, state.file).split(b"/")
                matches[state.file] = parts[-len(wanted) :] == wanted
            if matches[state.file]:
                found.add(state.address)
    return sorted(found)


def _origin(die: Any) -> Any:
    """The DIE that has the name: an out-of-line copy refers to it."""
    for _ in range(_DEPTH):
        for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if link in die.attributes:
                die = die.get_DIE_from_attribute(link)
                break
        else:
            return die
    return die


def _text(die: Any, attribute: str) -> bytes:
    found = die.attributes.get(attribute)
    return bytes(found.value) if found is not None and isinstance(found.value, bytes) else b""


def _param(die: Any) -> DwarfParam:
    base = _origin(die)
    name = _text(base, "DW_AT_name").decode("utf-8", "backslashreplace")
    return DwarfParam(name, _type_name(base, _DEPTH), _type_size(base, _DEPTH), _location(die))


def _type(die: Any) -> Any:
    return die.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in die.attributes else None


def _type_name(die: Any, depth: int) -> str:
    """The type of `die`, as C writes it where that needs no name inside it."""
    target = _type(die)
    if target is None:
        return "void"
    if depth <= 0:
        return "..."
    tag = target.tag
    own = _text(target, "DW_AT_name").decode("utf-8", "backslashreplace")
    if tag in _QUALIFIERS:
        inner = _type_name(target, depth - 1)
        return f"{inner} {_QUALIFIERS[tag]}" if inner.endswith("*") else f"{_QUALIFIERS[tag]} {inner}"
    if tag in _TAGGED:
        return f"{_TAGGED[tag]} {own}" if own else _TAGGED[tag]
    if tag == "DW_TAG_pointer_type":
        inner = _type_name(target, depth - 1)
        return f"{inner}*" if inner.endswith("*") else f"{inner} *"
    if tag in ("DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"):
        return f"{_type_name(target, depth - 1)} {'&' if tag == 'DW_TAG_reference_type' else '&&'}"
    if tag == "DW_TAG_array_type":
        return f"{_type_name(target, depth - 1)}[]"
    if tag == "DW_TAG_subroutine_type":
        params = [_type_name(c, depth - 1) for c in target.iter_children() if c.tag == "DW_TAG_formal_parameter"]
        return f"{_type_name(target, depth - 1)} ({', '.join(params) or 'void'})"
    return own or "?"


def _type_size(die: Any, depth: int) -> int:
    target = _type(die)
    if target is None or depth <= 0:
        return 0
    size = target.attributes.get("DW_AT_byte_size")
    if size is not None:
        return int(size.value)
    if target.tag in ("DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"):
        return 8
    if target.tag in _QUALIFIERS or target.tag == "DW_TAG_typedef":
        return _type_size(target, depth - 1)
    return 0


def _location(die: Any) -> str:
    if "DW_AT_const_value" in die.attributes:
        return "const"
    found = die.attributes.get("DW_AT_location")
    if found is None:
        return ""
    if found.form in ("DW_FORM_sec_offset", "DW_FORM_loclistx", "DW_FORM_data4", "DW_FORM_data8"):
        return "list"
    op = found.value[0] if found.value else 0
    if op == 0x91:  # DW_OP_fbreg
        return "frame"
    if 0x50 <= op <= 0x6F or op == 0x90:  # DW_OP_reg0..31, DW_OP_regx
        return "register"
    return "address" if op == 0x03 else "other"


def _file_path(program: Any, index: int) -> bytes:
    """Directory and name of a row of the file table; it counts from 1 before DWARF 5, from 0 since."""
    header = program.header
    new = header.version >= 5
    files = header["file_entry"]
    at = index if new else index - 1
    if not 0 <= at < len(files):
        return b""
    entry = files[at]
    folders = header["include_directory"]
    folder_at = entry.dir_index if new else entry.dir_index - 1
    folder = folders[folder_at] if 0 <= folder_at < len(folders) else b""
    name = bytes(entry.name)
    return name if name.startswith(b"/") or not folder else bytes(folder) + b"/" + name
