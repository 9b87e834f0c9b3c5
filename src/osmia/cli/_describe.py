"""What is in an object: programs, maps, variables, as text."""

from __future__ import annotations

from ..isa import map_type_name, prog_type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import MapSpec, Object, ProgramSpec, ValueType


def describe(obj: Object) -> str:
    """One line each, in aligned columns."""
    from ..objects import variables

    subprograms = [("subprogram", f.name, f"{len(f.insns) // 8} instructions") for f in obj.subprograms]
    rows = [_program(p) for p in obj.programs] + subprograms
    rows += [_map(m, obj) for m in obj.maps if m.contents is None or m.name == ".kconfig"]
    sections = {m.name: m.contents for m in obj.maps if m.contents is not None}
    for v in variables(obj):
        data = (sections[v.section] or b"")[v.offset : v.offset + v.type.size]
        rows.append(("variable", v.name, f"{_type(v.type)} in {v.section}, {_value(v.type, data)}"))
    wide = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
    lines = [f"{kind:<{wide[0]}}  {name:<{wide[1]}}  {rest}" for kind, name, rest in rows]
    return "\n".join([f"license {obj.license}", *lines, ""])


def _program(p: ProgramSpec) -> tuple[str, str, str]:
    kind = prog_type_name(p.type) or f"type {p.type}"
    more = "" if p.autoload else ", not loaded by itself"
    core = f", {len(p.function.core)} CO-RE relocations" if p.function.core else ""
    return "program", p.name, f"section {p.section}, {kind}, {len(p.function.insns) // 8} instructions{core}{more}"


def _map(m: MapSpec, obj: Object) -> tuple[str, str, str]:
    kind = map_type_name(m.type) or f"type {m.type}"
    text = f"{kind}, key {m.key_size} bytes, value {m.value_size} bytes, {m.max_entries} entries"
    text += f", flags {m.flags:#x}" if m.flags else ""
    for f in obj.map_formats:
        if f.map == m.name:
            key = f"{_type(f.key)} -> " if f.key else ""
            text += f": {key}{_type(f.value)}"
    return "map", m.name, text


def _type(t: ValueType) -> str:
    if t.kind == "int":
        return f"{'' if t.signed else 'u'}int{8 * t.size}"
    if t.kind == "array" and t.element:
        return f"{_type(t.element)}[{t.count}]"
    if t.kind == "string":
        return f"char[{t.size}]"
    if t.kind in ("struct", "union", "enum") and t.name:
        return f"{t.kind} {t.name}"
    if t.kind in ("struct", "union"):
        return f"{t.kind} {{ {', '.join([f.name for f in t.fields])} }}"
    return "bytes" if t.kind == "none" else t.kind


def _value(t: ValueType, data: bytes) -> str:
    if t.kind == "string":
        return repr(data.partition(b"\0")[0].decode("utf-8", "replace"))
    if t.kind in ("int", "bool", "enum") and len(data) == t.size:
        number = int.from_bytes(data, "little", signed=t.signed)
        return next((name for value, name in t.values if value == number), str(number))
    return f"{len(data)} bytes"
