"""The .BTF.ext section of an object: function, source line and CO-RE relocation of each instruction."""

from __future__ import annotations

from struct import Struct, error, pack

from .._data import Data
from ..errors import BtfError
from ._types import MAGIC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeVar

    from ._builder import BtfBuilder
    from ._reader import Btf

    T = TypeVar("T")

_HEADER = Struct("<HBBIIIII")
_HEADER_CORE = Struct("<II")  # in headers of 32 bytes and more
_FUNC = Struct("<II")
_LINE = Struct("<IIII")
_CORE = Struct("<IIII")
_LINE_SHIFT = 10  # line << 10 | column
_MAX_LINE, _MAX_COL = (1 << 22) - 1, (1 << 10) - 1


class FuncInfo(Data):
    """A function starts at byte `insn_off` of its section; `type_id` is its BTF FUNC."""

    insn_off: int
    type_id: int


class LineInfo(Data):
    """Code from byte `insn_off` of its section on comes from this place; `text` is the source line."""

    insn_off: int
    file: str
    text: str
    line: int
    col: int


class CoreRelo(Data):
    """The instruction at byte `insn_off` depends on the target's types; `kind` is enum bpf_core_relo_kind."""

    insn_off: int
    type_id: int
    access: str  # "0:1:2"
    kind: int


class ExtInfo(Data):
    """All of a .BTF.ext section: ELF section name -> records in the order of instructions."""

    funcs: Mapping[str, tuple[FuncInfo, ...]] = {}
    lines: Mapping[str, tuple[LineInfo, ...]] = {}
    core: Mapping[str, tuple[CoreRelo, ...]] = {}


def parse_ext(data: bytes, btf: Btf) -> ExtInfo:
    """Read a .BTF.ext section; `btf` is the object's own BTF. BtfError for damage."""
    try:
        magic, version, _flags, header, func_at, func_len, line_at, line_len = _HEADER.unpack_from(data)
        core_at, core_len = _HEADER_CORE.unpack_from(data, _HEADER.size) if header >= 32 else (0, 0)
    except error:
        raise BtfError(f"read .BTF.ext: {len(data)} bytes are too few for a header", offset=len(data)) from None
    if magic != MAGIC or version != 1:
        raise BtfError(f"read .BTF.ext: bad magic {magic:#06x} or version {version}", offset=0)
    if header < _HEADER.size:
        raise BtfError(f"read .BTF.ext: header length {header} is less than {_HEADER.size}", offset=4)

    def line(insn: int, file: int, text: int, place: int) -> LineInfo:
        return LineInfo(insn, btf.string(file), btf.string(text), place >> _LINE_SHIFT, place & _MAX_COL)

    def core(insn: int, type_id: int, access: int, kind: int) -> CoreRelo:
        return CoreRelo(insn, type_id, btf.string(access), kind)

    return ExtInfo(
        _parse_part(data, btf, header + func_at, func_len, _FUNC, FuncInfo),
        _parse_part(data, btf, header + line_at, line_len, _LINE, line),
        _parse_part(data, btf, header + core_at, core_len, _CORE, core),
    )


def _parse_part(
    data: bytes, btf: Btf, at: int, length: int, record: Struct, make: Callable[..., T]
) -> dict[str, tuple[T, ...]]:
    """One of the three parts: record size, then per ELF section its name, a count and that many records."""
    out: dict[str, tuple[T, ...]] = {}
    if not length:
        return out
    end = at + length
    if end > len(data) or length < 4:
        raise BtfError("read .BTF.ext: a part goes beyond the end of the section", offset=at)
    size = int.from_bytes(data[at : at + 4], "little")
    # Later formats may append fields to a record; what comes first stays.
    if size < record.size or size & 3:
        raise BtfError(f"read .BTF.ext: records of {size} bytes, at least {record.size} expected", offset=at)
    at += 4
    while at < end:
        if at + 8 > end:
            raise BtfError("read .BTF.ext: cut off within a section's head", offset=at)
        name = btf.string(int.from_bytes(data[at : at + 4], "little"))
        count = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8
        if at + count * size > end:
            raise BtfError(f"read .BTF.ext: {count} records of section {name!r} are cut off", offset=at)
        records = tuple(make(*record.unpack_from(data, i)) for i in range(at, at + count * size, size))
        out[name] = out.get(name, ()) + records
        at += count * size
    return out


def build_ext(info: ExtInfo, builder: BtfBuilder) -> bytes:
    """The .BTF.ext section for `info`. Its strings go into `builder`: call this before `builder.build()`."""
    string = builder.string

    def line(r: LineInfo) -> bytes:
        # Places beyond what the format holds are cut, as compilers do.
        place = min(r.line, _MAX_LINE) << _LINE_SHIFT | min(r.col, _MAX_COL)
        return _LINE.pack(r.insn_off, string(r.file), string(r.text), place)

    funcs = _build_part(info.funcs, builder, _FUNC.size, lambda r: _FUNC.pack(r.insn_off, r.type_id))
    lines = _build_part(info.lines, builder, _LINE.size, line)
    core = _build_part(
        info.core, builder, _CORE.size, lambda r: _CORE.pack(r.insn_off, r.type_id, string(r.access), r.kind)
    )
    sizes = (0, len(funcs), len(funcs), len(lines), len(funcs) + len(lines), len(core))
    return pack("<HBBI6I", MAGIC, 1, 0, _HEADER.size + _HEADER_CORE.size, *sizes) + funcs + lines + core


def _build_part(
    sections: Mapping[str, Iterable[T]], builder: BtfBuilder, size: int, encode: Callable[[T], bytes]
) -> bytes:
    out = []
    for name, records in sections.items():
        encoded = [encode(r) for r in sorted(records, key=_insn_off)]
        if encoded:
            out += [pack("<II", builder.string(name), len(encoded)), *encoded]
    # The kernel and libbpf refuse a part that has a record size and no records.
    return pack("<I", size) + b"".join(out) if out else b""


def _insn_off(record: object) -> int:
    offset: int = record.insn_off  # type: ignore[attr-defined]
    return offset
