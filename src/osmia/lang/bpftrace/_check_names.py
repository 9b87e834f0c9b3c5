"""What names of types and identifiers stand for: base types, C definitions of the script, the kernel's BTF."""

from __future__ import annotations

from . import ast
from ._check_types import integer, text
from .types import BOOL, KERNEL, USER, VOID, StructDef, StructField, Type, pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._check_state import State

_INTS = {f"{'' if s else 'u'}int{n * 8}": integer(n, s) for n in (1, 2, 4, 8) for s in (True, False)}
# C's own names, and those of the kernel that every script uses: known without a look into BTF.
_C_INTS = {
    "char": (1, True), "signed char": (1, True), "unsigned char": (1, False), "short": (2, True),
    "short int": (2, True),
    "unsigned short": (2, False), "unsigned short int": (2, False), "int": (4, True), "signed": (4, True),
    "signed int": (4, True),
    "unsigned": (4, False), "unsigned int": (4, False), "long": (8, True), "long int": (8, True),
    "signed long": (8, True),
    "unsigned long": (8, False), "unsigned long int": (8, False), "long unsigned int": (8, False),
    "long unsigned": (8, False),
    "long long": (8, True), "long long int": (8, True), "unsigned long long": (8, False), "signed long long": (8, True),
    "unsigned long long int": (8, False), "long long unsigned int": (8, False), "long long unsigned": (8, False),
    "int8_t": (1, True), "int16_t": (2, True), "int32_t": (4, True), "int64_t": (8, True), "uint8_t": (1, False),
    "uint16_t": (2, False), "uint32_t": (4, False), "uint64_t": (8, False), "size_t": (8, False), "ssize_t": (8, True),
    "u8": (1, False), "u16": (2, False), "u32": (4, False), "u64": (8, False), "s8": (1, True), "s16": (2, True),
    "s32": (4, True), "s64": (8, True), "__u8": (1, False), "__u16": (2, False), "__u32": (4, False),
    "__u64": (8, False),
    "__s8": (1, True), "__s16": (2, True), "__s32": (4, True), "__s64": (8, True), "__be16": (2, False),
    "__be32": (4, False),
    "__be64": (8, False), "pid_t": (4, True), "uid_t": (4, False), "gid_t": (4, False), "off_t": (8, True),
    "loff_t": (8, True),
    "uintptr_t": (8, False), "intptr_t": (8, True), "ptrdiff_t": (8, True), "dev_t": (4, False), "mode_t": (2, False),
}  # fmt: skip
_OTHERS = {
    "bool": BOOL, "_Bool": BOOL, "void": VOID, "string": text(0), "buffer": Type("buffer"), "inet": Type("inet", 24),
    "macaddr": Type("mac", 6), "macaddr_t": Type("mac", 6), "ksym": Type("ksym", 8), "ksym_t": Type("ksym", 8),
    "usym": Type("usym", 16), "usym_t": Type("usym", 16), "timestamp": Type("timestamp", 8),
    "username_t": Type("username", 8),
    "cgroup_path_t": Type("cgroup_path", 8), "strerror_t": Type("strerror", 8),
    "kstack_t": Type("kstack", 8, mode="bpftrace", count=127),
    "ustack_t": Type("ustack", 16, mode="bpftrace", count=127), "count_t": Type("count", 8),
    "stats_t": Type("stats", 16, True),
    "ustats_t": Type("stats", 16), "hist_t": Type("hist"), "lhist_t": Type("lhist"), "tseries_t": Type("tseries"),
    **{f"{u}{k}_t": Type(k, 8 if k == "sum" else 16, not u) for k in ("sum", "avg", "min", "max") for u in ("", "u")},
}  # fmt: skip


def suggest(name: str, names: Iterable[str], limit: int = 3) -> str:
    """ "did you mean 'x' or 'y'?", empty if nothing is near."""
    import difflib

    near = difflib.get_close_matches(name, list(names)[:5000], limit, 0.6)
    if not near:
        return ""
    quoted = [f"'{n}'" for n in near]
    return "did you mean " + (", ".join(quoted[:-1]) + " or " if len(quoted) > 1 else "") + quoted[-1] + "?"


# ---------------------------------------------------------------- the script's C definitions


def _defined(st: State, kind: str) -> dict[str, object]:
    """A table of the definitions: structs, typedefs, enums (name -> ...), enumerators."""
    return getattr(st.env.definitions, kind, None) or {}


def struct_def(st: State, t: Type) -> StructDef | None:
    """The definition of a struct type of store "c"."""
    found = st.structs.get(f"{t.kind} {t.name}")
    if found is None:
        wanted = _defined(st, "structs").get(f"{t.kind} {t.name}")
        if isinstance(wanted, StructDef):
            found = st.structs[f"{t.kind} {t.name}"] = wanted
    return found


def struct_type(st: State, kind: str, name: str) -> Type | None:
    """`struct name`: of the script's definitions, else of BTF."""
    found = _defined(st, "structs").get(f"{kind} {name}")
    if isinstance(found, StructDef):
        return Type(kind, found.size, name=name, store="c")
    if st.btf is not None:
        from . import btftypes

        return btftypes.struct(st.btf, kind, name)
    return None


def fields_of(st: State, t: Type) -> list[str]:
    """Names of all fields of a struct, for suggestions."""
    if t.store[:3] == "btf":
        btf = st.btf_of(t)
        if btf is None:
            return []
        from . import btftypes

        return btftypes.field_names(btf, t)
    found = st.dwarf.definition(t) if t.store == "dwarf" else struct_def(st, t)
    return [f.name for f in found.fields if f.name] if found else []


def field_of(st: State, t: Type, name: str) -> StructField | None:
    """A field of a struct or union, anonymous members looked through."""
    if t.store == "lazy":
        t = struct_type(st, t.kind, t.name) or t
    if t.store == "dwarf":
        known = st.dwarf.definition(t)
        field = _find(st, known, name, 0) if known else None
        if field is not None:
            st.dwarf.reached(field.type)
        return field
    if t.store[:3] == "btf":
        btf = st.btf_of(t)
        if btf is None or not t.size:
            return None
        from . import btftypes

        return btftypes.field(btf, t, name)
    found = struct_def(st, t)
    return _find(st, found, name, 0) if found else None


def _find(st: State, d: StructDef, name: str, depth: int) -> StructField | None:
    if depth > 16:
        return None
    for f in d.fields:
        if f.name == name:
            return f
    for f in d.fields:
        if not f.name and f.type.kind in ("struct", "union"):
            inner = field_of(st, f.type, name)
            if inner is not None:
                return inner.replace(offset=inner.offset + f.offset)
    return None


# ---------------------------------------------------------------- types


def base_type(st: State, base: str) -> Type | None:
    """The type that the words in front of the suffixes name."""
    found = _INTS.get(base) or _OTHERS.get(base)
    if found is not None:
        return found
    tag, _, name = base.partition(" ")
    if name and tag in ("struct", "union"):
        own = None if base in _defined(st, "structs") else _of_program(st, base)
        return own or struct_type(st, tag, name)
    if name and tag == "enum":
        own = None if name in _defined(st, "enums") else _of_program(st, base)
        return own or _enum_type(st, name)
    defined = _defined(st, "typedefs").get(base)
    if isinstance(defined, Type):
        return defined
    if base in _C_INTS:
        return integer(*_C_INTS[base])
    own = _of_program(st, base)
    if own is not None:
        return own
    if st.btf is not None:
        from . import btftypes

        return btftypes.named(st.btf, base) or (
            None if name else btftypes.struct(st.btf, "struct", base) or btftypes.struct(st.btf, "union", base)
        )
    return None


def _of_program(st: State, name: str) -> Type | None:
    """What the program that is probed calls by this name: its own types come before the kernel's."""
    return st.dwarf.named(st, name) if st.ctx.provider in ("uprobe", "uretprobe", "usdt") else None


def _enum_type(st: State, name: str) -> Type | None:
    found = _defined(st, "enums").get(name) or _defined(st, "enums").get("enum " + name)
    if found is not None:
        return Type("enum", getattr(found, "size", 4) or 4, bool(getattr(found, "signed", False)), name, store="c")
    if st.btf is not None:
        from . import btftypes

        return btftypes.enum(st.btf, name)
    return None


def resolve_type(st: State, t: ast.TypeName, *, report: bool = True) -> Type | None:
    """The type that is written; None after an error. `typeof(expression)` must be resolved by the caller."""
    found = base_type(st, t.base)
    suffixes = list(t.suffixes)
    if found is None and suffixes and suffixes[0] == "*" and t.base.startswith(("struct ", "union ")):
        # A pointer to a struct nobody defines is still a pointer, it only cannot be looked into.
        if report:
            st.error(t.span, f'Cannot resolve unknown type "{t.base}"', _unknown_hint(st, t.base))
        return None
    if found is None:
        if report:
            st.error(t.span, f'Cannot resolve unknown type "{t.base}"', _unknown_hint(st, t.base))
        return None
    if suffixes and found.kind in ("string", "buffer", "inet") and isinstance(suffixes[0], int) and not found.size:
        size = suffixes.pop(0)
        if isinstance(size, int) and size > 0:
            found = text(size) if found.kind == "string" else found.replace(size=size)
    for suffix in suffixes:
        if suffix == "*":
            found = pointer(found)
        elif isinstance(suffix, int):
            count = max(suffix, 0)
            found = Type("array", found.size * count, element=found, count=count)
    return found


def _unknown_hint(st: State, base: str) -> str:
    names = [*_INTS, *_OTHERS, *_C_INTS, *map(str, _defined(st, "structs")), *map(str, _defined(st, "typedefs"))]
    if st.ctx.provider in ("uprobe", "uretprobe", "usdt") and st.dwarf.problem:
        return st.dwarf.problem
    tag, _, name = base.partition(" ")
    if st.ctx.provider in ("uprobe", "uretprobe", "usdt") and (near := suggest(base, st.dwarf.names_like(st, base))):
        return near
    if st.btf is not None and tag in ("struct", "union", "enum"):
        from . import btftypes

        names = [f"{tag} {n}" for n in btftypes.names_like(st.btf, tag, name[:3])] + names
    return suggest(base, names) or ("" if st.btf is not None else "no BTF: define the type in the script")


def with_space(t: Type, space: str) -> Type:
    """A pointer type all of whose levels point into one kind of memory."""
    if t.kind != "pointer" or t.element is None:
        return t
    element = with_space(t.element, space)
    if element is t.element and t.space == space:
        return t
    return t.replace(element=element, space=space)


# ---------------------------------------------------------------- identifiers


def enumerator(st: State, name: str) -> tuple[int, Type] | None:
    """Value and type of an enumeration constant of the script or the kernel."""
    found = _defined(st, "enumerators").get(name)
    if isinstance(found, tuple) and len(found) == 2:
        value, what = found
        if isinstance(what, Type):
            return int(value), what
        return int(value), _enum_type(st, str(what)) or integer(4, value < 0)
    if isinstance(found, int):
        return found, integer(4 if -(1 << 31) <= found < 1 << 31 else 8, True)
    if st.btf is not None:
        from . import btftypes

        return btftypes.enumerator(st.btf, name)
    return None


def enum_values(st: State, t: Type) -> dict[int, str]:
    """Value -> name of an enum's constants; empty if they are not known."""
    if t.store == "dwarf":
        known = st.enums.get(f"dwarf {t.type_id}")
        return {value: name for name, value in known.values.items()} if known else {}
    btf = st.btf_of(t) if t.store[:3] == "btf" else None
    if btf is not None and t.type_id:
        from . import btftypes

        return btftypes.enumerators(btf, t)
    found = _defined(st, "enums").get(t.name) or _defined(st, "enums").get("enum " + t.name)
    values = getattr(found, "values", None)
    if isinstance(values, dict):
        return {int(v): str(n) for n, v in values.items()}
    if isinstance(values, tuple):
        return {int(v): str(n) for n, v in values}
    return {}


USER_SPACE = USER
KERNEL_SPACE = KERNEL
