"""C++ and Rust names as programmers write them.

The demanglers are packages of their own, imported at the first mangled name: without them, names stay as they are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_cache: dict[str, str] = {}


def demangle(name: str) -> str:
    """The readable form of a mangled name (`A::f(int)`, `core::fmt::write`), or `name` itself."""
    if not name.startswith(("_Z", "_R")):
        return name
    found = _cache.get(name)
    if found is None:
        if len(_cache) > 65536:
            _cache.clear()
        base, dot, suffix = name.partition(".")
        readable = _rust(base) if _is_rust(base) else _cpp(base)
        # Clones that the compiler made ("f.cold", "f.part.0") are not part of the mangling.
        found = _cache[name] = f"{readable} [clone .{suffix}]" if dot and readable != base else readable
        if readable == base:
            found = _cache[name] = name
    return found


def _is_rust(name: str) -> bool:
    """v0 names begin with _R; legacy ones end in `17h`, 16 hex digits and E (rustc's symbol_names/legacy.rs)."""
    if name.startswith("_R"):
        return True
    tail = name[-20:]
    return tail[:3] == "17h" and name.endswith("E") and all(c in "0123456789abcdef" for c in tail[3:-1])


def _rust(name: str) -> str:
    try:
        from rust_demangler import demangle as rust
    except ImportError:
        return name
    try:
        readable = str(rust(name))
    except Exception:  # the library raises bare exceptions of its own for what it does not know
        return name
    # The hash of a legacy name says nothing to people.
    head, colons, tail = readable.rpartition("::h")
    return head if colons and len(tail) == 16 and all(c in "0123456789abcdef" for c in tail) else readable


def _cpp(name: str) -> str:
    try:
        from itanium_demangler import parse
    except ImportError:
        return name
    try:
        tree = parse(name)
        return name if tree is None else _text(tree)
    except (NotImplementedError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return name  # a form that the library does not know


_QUALIFIERS = {"cv_qual": "", "lvalue": " &", "rvalue": " &&"}


def _text(tree: Any) -> str:
    """The tree as text. The library puts a member function's `const` and `&` before its parameters, C++ after them."""
    if tree.kind != "func" or tree.name.kind not in _QUALIFIERS:
        return str(tree)
    name, after = tree.name, ""
    while name.kind in _QUALIFIERS:
        word = _QUALIFIERS[name.kind] or "".join(f" {q}" for q in sorted(name.qual))
        name, after = name.value, word + after
    result, params = "", list(tree.arg_tys)
    if name.kind == "qual_name" and name.value[-1].kind == "tpl_args" and len(params) > 1:
        # An instance of a template names its result first, which the library takes for a parameter here.
        result = f"{params.pop(0)} "
    inside = ", ".join(map(str, params))
    return f"{result}{name}({'' if inside == 'void' else inside}){after}"
