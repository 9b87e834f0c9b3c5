"""Types of the kernel for `osmia list`: "struct NAME", "union NAME", "enum NAME", "typedef NAME", with wildcards."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..btf import Btf

KEYWORDS = ("struct", "union", "enum", "typedef")


def is_type(pattern: str) -> bool:
    """Whether the pattern asks for types, and not for probes."""
    return pattern.startswith(tuple(f"{keyword} " for keyword in KEYWORDS))


def type_texts(btf: Btf, patterns: Iterable[str], *, whole: bool = True) -> Iterator[str]:
    """What the patterns mean: definitions if they are to be `whole`, else names; a line break ends each."""
    for pattern in patterns:
        for keyword, name, id in _matching(btf, pattern):
            yield f"vmlinux: {definition(btf, id)}\n" if whole else f"{keyword} {name}\n"


def definition(btf: Btf, id: int) -> str:
    """A type as C; members of structs and unions with their offsets and sizes in bytes."""
    from ..btf import (
        KIND_ENUM,
        KIND_ENUM64,
        KIND_STRUCT,
        KIND_TYPEDEF,
        KIND_UNION,
        declare,
        describe,
        render_c,
        struct_layout,
    )

    kind = btf.kind(id)
    if kind in (KIND_STRUCT, KIND_UNION):
        head, _, rest = struct_layout(btf, id).partition("\n")
        return f"{head.partition(' //')[0].rstrip()}\n{rest}"
    if kind in (KIND_ENUM, KIND_ENUM64):
        return render_c(btf, [id]).rstrip().removesuffix(";")
    if kind != KIND_TYPEDEF:
        return describe(btf, id)
    t = btf.type(id)
    target = btf.type(t.type_id)
    if not target.name and target.kind in (KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_ENUM64):
        return f"typedef {definition(btf, t.type_id)} {t.name}"
    return f"typedef {declare(btf, t.type_id, t.name)}"


def _matching(btf: Btf, pattern: str) -> Iterator[tuple[str, str, int]]:
    """(keyword, name, id), in alphabetical order where there are several."""
    keyword, _, name = pattern.partition(" ")
    name = name.strip()
    kinds = _kinds(keyword)
    if not any(c in name for c in "*?["):
        ids = [id for kind in kinds if (id := btf.find(name, kind))]
        yield from ((keyword, name, id) for id in ids[:1])
        return
    from ..probes import matcher

    matches = matcher(name)
    found = {n: id for kind in kinds for id in btf.ids(kind) if (n := btf.name(id)) and matches(n)}
    yield from ((keyword, n, found[n]) for n in sorted(found))


def _kinds(keyword: str) -> tuple[int, ...]:
    from ..btf import KIND_ENUM, KIND_ENUM64, KIND_STRUCT, KIND_TYPEDEF, KIND_UNION

    return {
        "struct": (KIND_STRUCT,),
        "union": (KIND_UNION,),
        "enum": (KIND_ENUM, KIND_ENUM64),
        "typedef": (KIND_TYPEDEF,),
    }[keyword]


def similar_types(btf: Btf, pattern: str) -> tuple[str, ...]:
    """Patterns that name a type, for one that names none: of another keyword, of a like name, of an enumerator."""
    keyword, _, name = pattern.rpartition(" ")
    name = name.strip("*?")
    if not name:
        return ()
    same = [f"{k} {name}" for k in KEYWORDS if any(btf.find(name, kind) for kind in _kinds(k))]
    value = btf.enum_value(name)
    if value and btf.name(value[1]):
        same.append(f"enum {btf.name(value[1])}")
    if same or not keyword:
        return tuple(same)
    from ..probes import closest

    names = {n for kind in _kinds(keyword) for id in btf.ids(kind) if (n := btf.name(id))}
    return tuple(f"{keyword} {n}" for n in closest(name, names))
