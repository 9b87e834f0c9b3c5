"""BTF of an object file: the object's own, and what libbpf learns from BTF alone (maps, external symbols)."""

from __future__ import annotations

from ..btf import (
    KIND_DATASEC,
    KIND_FUNC,
    KIND_TYPEDEF,
    KIND_VAR,
    Btf,
    BtfBuilder,
    CoreRelo,
    ExtInfo,
    FuncInfo,
    build_ext,
)
from ..btf import LineInfo as ExtLine
from ..errors import ObjectError
from ._btf_edit import LINKAGE_EXTERN, LINKAGE_GLOBAL, STAND_IN, BtfEditor, pack_btf
from ._read_maps import LIMIT
from ._spec import Function, MapSpec

_ENTRIES = (("max_entries", "max_entries"), ("flags", "map_flags"), ("pinning", "pinning"),
            ("numa_node", "numa_node"), ("map_extra", "map_extra"))  # fmt: skip


class BtfWriter:
    """Appends to the object's BTF; ids of its types stay."""

    def __init__(self, raw: bytes) -> None:
        self._edit = BtfEditor(raw or pack_btf(b"", b"\0"))
        self._btf: Btf = self._edit.btf
        self._builder: BtfBuilder = self._edit.builder

    def maps(self, specs: list[tuple[str, MapSpec]]) -> tuple[dict[str, int], int]:
        """Describe maps in a section `.maps`; returns their offsets and the section's size."""
        known = self._btf.find(".maps", KIND_DATASEC)
        if known is not None:
            section = self._btf.type(known)
            places = {self._btf.name(v.type_id): v.offset for v in section.vars}
            missing = [name for name, _ in specs if name not in places]
            if missing:
                raise ObjectError(f"write object: its BTF has a section .maps without {missing[0]!r}")
            offsets = {name: places[name] for name, _ in specs}
            sane = len({*offsets.values()}) == len(offsets) and max(offsets.values()) < section.size <= LIMIT
            if not sane:
                raise ObjectError("write object: its BTF places maps wrongly in the section .maps")
            return offsets, section.size
        entries, end = [], 0
        offsets = {}
        for name, spec in specs:
            definition, size = self._definition(spec)
            offsets[name] = end
            entries.append((self._builder.var(name, definition, LINKAGE_GLOBAL), end, size))
            end += size
        if entries:
            self._builder.datasec(".maps", entries, end)
        return offsets, end

    def _definition(self, spec: MapSpec) -> tuple[int, int]:
        """A struct of attributes and its size, as clang's `__uint` and `__type` macros would make."""
        b = self._builder
        integer = b.int("int", 4, signed=True)
        members = [("type", b.ptr(b.array(integer, spec.type)))]
        for side in ("key", "value"):
            type_id, size = getattr(spec, f"{side}_type"), getattr(spec, f"{side}_size")
            if type_id and self._btf.size_of(type_id) == size:
                members.append((side, b.ptr(type_id)))
            elif size:
                members.append((f"{side}_size", b.ptr(b.array(integer, size))))
        for field, attribute in _ENTRIES:
            number = getattr(spec, field)
            if number >> 32:
                members.append((attribute, b.enum64("", [(f"__unique_value_{spec.name}", number)])))
            elif number:
                members.append((attribute, b.ptr(b.array(integer, number))))
        size = 8 * len(members)
        if spec.inner is not None:
            inner, _ = self._definition(spec.inner)
            members.append(("values", b.array(b.ptr(inner), 0)))
        elif spec.values:
            members.append(("values", b.array(b.ptr(b.func_proto(integer, [("", b.ptr(0))])), 0)))
        struct = b.struct("", size, [(name, id, 64 * i) for i, (name, id) in enumerate(members)])
        slots = max((i for i, _ in spec.values), default=-1) + 1
        return struct, size + 8 * slots

    def externals(self, kfuncs: set[str], ksyms: set[str], kconfig: dict[str, int]) -> None:
        """Declare what the kernel provides; `kconfig` maps names to offsets.

        A function whose address is tested before it is called is a ksym and a kfunc: one FUNC.
        """
        b = self._builder
        entries = [(self._extern_function(name), 0, 0) for name in sorted(kfuncs)]
        entries += [(self._extern_var(name, b.const(0)), 0, 0) for name in sorted(ksyms - kfuncs)]
        known = self._btf.find(".ksyms", KIND_DATASEC)
        listed = {v.type_id for v in self._btf.type(known).vars} if known else set()
        if any(id not in listed for id, _, _ in entries):
            if known:  # the stand-ins that `read_elf` left; libbpf looks at the first section of the name alone
                self._edit.words(known)[0] = b.string(".osmia.ksyms")
            b.datasec(".ksyms", entries)
        if kconfig:
            u32 = b.int("unsigned int", 4)
            vars = [(self._extern_var(name, u32), at, 4) for name, at in kconfig.items()]
            if self._btf.find(".kconfig", KIND_DATASEC) is None:
                b.datasec(".kconfig", vars)

    def _extern_function(self, name: str) -> int:
        for kind in (KIND_TYPEDEF, KIND_FUNC):  # `read_elf` makes typedefs of external functions
            found = self._btf.find(name, kind)
            if found is not None:
                self._edit.set_kind(found, KIND_FUNC, LINKAGE_EXTERN)
                return found
        return self._builder.func(name, self._builder.func_proto(0), LINKAGE_EXTERN)

    def _extern_var(self, name: str, type_id: int) -> int:
        found = self._btf.find(name, KIND_VAR)
        if found is None:
            return self._builder.var(name, type_id, LINKAGE_EXTERN)
        words = self._edit.words(found)
        words[3] = LINKAGE_EXTERN
        stand_in = self._btf.find(STAND_IN, KIND_VAR)
        if stand_in is not None and words[2] == self._btf.type(stand_in).type_id:
            words[2] = type_id  # it had no type before `read_elf` gave it one of a size
        return found

    def build(self, placed: list[tuple[str, int, Function]]) -> tuple[bytes, bytes, tuple[str, ...]]:
        """(.BTF, .BTF.ext, functions given a first line) for functions at (section, byte offset)."""
        funcs: dict[str, list[FuncInfo]] = {}
        lines: dict[str, list[ExtLine]] = {}
        core: dict[str, list[CoreRelo]] = {}
        any_line = next((line for _, _, f in placed for line in f.lines), None)
        added = []
        for section, start, f in placed:
            if f.type_id:
                funcs.setdefault(section, []).append(FuncInfo(start, f.type_id))
            # Where line records are given, the verifier wants one at the start of every function.
            if any_line is not None and not any(line.insn == 0 for line in f.lines):
                first = f.lines[0] if f.lines else any_line
                lines.setdefault(section, []).append(ExtLine(start, first.file, first.text, first.line, first.col))
                added.append(f.name)
            lines.setdefault(section, []).extend(
                ExtLine(start + i.insn * 8, i.file, i.text, i.line, i.col) for i in f.lines
            )
            core.setdefault(section, []).extend(
                CoreRelo(start + c.insn * 8, c.type_id, c.access, c.kind) for c in f.core
            )
        info = ExtInfo(
            {k: tuple(v) for k, v in funcs.items()},
            {k: tuple(v) for k, v in lines.items()},
            {k: tuple(v) for k, v in core.items()},
        )
        ext = build_ext(info, self._builder) if funcs or any_line or any(core.values()) else b""
        return self._edit.build(), ext, tuple(added)
