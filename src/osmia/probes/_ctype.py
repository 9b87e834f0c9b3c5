"""BTF types as C text, one line each."""

from __future__ import annotations

from ..btf import (
    KIND_ARRAY,
    KIND_CONST,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_PTR,
    KIND_RESTRICT,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_UNION,
    KIND_VOID,
    KIND_VOLATILE,
    Btf,
)

_KEYWORDS = {KIND_STRUCT: "struct", KIND_UNION: "union", KIND_ENUM: "enum", KIND_ENUM64: "enum"}
_QUALIFIERS = {KIND_CONST: "const", KIND_VOLATILE: "volatile", KIND_RESTRICT: "restrict"}


def type_text(btf: Btf, id: int, depth: int = 0) -> str:
    """The type as C writes it without a name: `const char *`, `struct sock *`, `int (*)(void *)`, `u8[16]`."""
    if depth > 32:
        return "..."  # deeper than any C declaration: a cycle in damaged BTF
    kind = btf.kind(id)
    if kind == KIND_VOID:
        return "void"
    if kind in _KEYWORDS:
        return f"{_KEYWORDS[kind]} {btf.name(id) or '{...}'}"
    t = btf.type(id)
    if kind == KIND_FWD:
        return f"{'union' if t.flag else 'struct'} {t.name}"
    if kind == KIND_PTR:
        target = t.type_id
        while btf.kind(target) == KIND_TYPE_TAG:
            target = btf.type(target).type_id  # __user, __rcu: annotations, no C type
        inner = type_text(btf, target, depth + 1)
        if btf.kind(target) == KIND_FUNC_PROTO:
            return inner.replace("(", "(*)(", 1)
        return inner + ("*" if inner.endswith("*") else " *")
    if kind in _QUALIFIERS:
        inner = type_text(btf, t.type_id, depth + 1)
        word = _QUALIFIERS[kind]
        return f"{inner} {word}" if inner.endswith("*") else f"{word} {inner}"
    if kind == KIND_ARRAY:
        return f"{type_text(btf, t.type_id, depth + 1)}[{t.count}]"
    if kind == KIND_FUNC_PROTO:
        params = [type_text(btf, p.type_id, depth + 1) if p.name or p.type_id else "..." for p in t.params]
        return f"{type_text(btf, t.type_id, depth + 1)} ({', '.join(params) or 'void'})"
    if kind == KIND_TYPE_TAG:
        return type_text(btf, t.type_id, depth + 1)
    return t.name
