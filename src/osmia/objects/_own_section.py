"""The section `.osmia`: what a standard BPF object cannot say, so that writing and reading give the same `Object`."""

from __future__ import annotations

from struct import unpack_from

from ..errors import ObjectError
from ._btf_edit import pack_btf
from ._pack import pack, unpack
from ._spec import Function, MapSpec, Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERSION = 1


def own_section(
    obj: Object,
    btf: bytes,
    renamed: tuple[tuple[str, str], ...],
    patches: tuple[tuple[str, int, bytes], ...],
    added_lines: tuple[str, ...],
) -> bytes:
    """Content of `.osmia`. `btf` is what stands in the file.

    `renamed`: (name in the file, name of the map). `patches`: bytes of instructions that the file has otherwise, as
    (function, byte offset, bytes). `added_lines`: functions whose first line record is not theirs.
    """
    shell = obj.replace(
        programs=tuple([p.replace(function=_bare(p.function)) for p in obj.programs]),
        subprograms=tuple([_bare(f) for f in obj.subprograms]),
        maps=tuple([m.replace(contents=b"") if m.contents and m.name != ".kconfig" else m for m in obj.maps]),
        btf=b"",
    )
    return pack((_VERSION, shell, _btf_size(obj.btf, btf), renamed, patches, added_lines))


def _bare(function: Function) -> Function:
    return Function(function.name, b"", type_id=function.type_id, is_global=function.is_global)


def _btf_size(raw: bytes, written: bytes) -> tuple[int, int] | bytes:
    """Sizes of both parts, by which the original is cut out of the extended BTF; the whole where that fails."""
    if len(raw) < 24:
        return raw
    size, _, length = unpack_from("<3I", raw, 12)
    return (size, length) if _cut_btf(written, (size, length)) == raw else raw


def restore(obj: Object, data: bytes) -> Object:
    """The object that was written, from what was read and the content of `.osmia`."""
    found = unpack(data)
    if type(found) is not tuple or len(found) != 6 or found[0] != _VERSION or type(found[1]) is not Object:
        raise ObjectError("read object: section .osmia is of another version", hint="build the object again")
    try:
        return _restore(obj, *found[1:])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ObjectError(
            f"read object: section .osmia does not fit the rest ({error!r})", hint="build the object again"
        ) from None


def _restore(obj: Object, shell: Object, btf: Any, renamed: Any, patches: Any, added_lines: Any) -> Object:
    names = {str(old): str(new) for old, new in renamed}
    ours = {f.name: f for f in (*[p.function for p in obj.programs], *obj.subprograms)}
    code: dict[str, bytearray] = {}
    for name, at, raw in patches:
        code.setdefault(name, bytearray(ours[name].insns))[at : at + len(raw)] = raw

    def full(bare: Function) -> Function:
        f = ours[bare.name]
        insns = bytes(code[f.name]) if f.name in code else f.insns
        if len(insns) != len(f.insns):
            raise ValueError("patch outside its function")
        return f.replace(
            insns=insns,
            type_id=bare.type_id,
            is_global=bare.is_global,
            lines=f.lines[1:] if f.name in added_lines else f.lines,
            relocations=tuple([r.replace(symbol=names[r.symbol]) if r.symbol in names else r for r in f.relocations]),
        )

    contents = {names.get(m.name, m.name): m.contents for m in obj.maps}

    def filled(spec: MapSpec) -> MapSpec:
        in_file = spec.contents == b"" and spec.value_size
        return spec.replace(contents=contents[spec.name]) if in_file else spec

    return shell.replace(
        programs=tuple([p.replace(function=full(p.function)) for p in shell.programs]),
        subprograms=tuple([full(f) for f in shell.subprograms]),
        maps=tuple([filled(m) for m in shell.maps]),
        btf=_cut_btf(obj.btf, btf),
    )


def _cut_btf(raw: bytes, size: tuple[int, int] | bytes) -> bytes:
    if isinstance(size, bytes):
        return size
    header, types, have_types, strings, have_strings = unpack_from("<5I", raw, 4)
    if size[0] > have_types or size[1] > have_strings:
        raise ValueError("BTF is shorter than it was")
    return pack_btf(raw[header + types :][: size[0]], raw[header + strings :][: size[1]])
