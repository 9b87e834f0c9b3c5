"""Hints for common slips: what was probably meant, and what to write for it."""

from __future__ import annotations

from . import ast
from ._check_names import suggest
from ._check_state import State
from ._check_types import as_integer, is_text
from .builtins import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .types import Type

LONGEST = 40  # characters of the script that a hint repeats


def written(st: State, e: ast.Expr, otherwise: str) -> str:
    """The text of an expression as the script has it, `otherwise` if it is long."""
    span = e.span
    if not 0 <= span.source < len(st.env.sources):
        return otherwise
    text = st.env.sources[span.source].text[span.start : span.end].strip()
    return text if text and len(text) <= LONGEST and "\n" not in text else otherwise


def name_hint(st: State, name: str) -> str:
    """For an identifier that is not known."""
    if st.beside_text:
        return f'quote it if it is text: "{name}"'
    found = _constant(name)
    if found is not None:
        header, number = found
        return f"it is a constant of C: write {number}, or #include <{header}> in the first line"
    near = suggest(name, NAMES)
    if not near and name.isupper():
        return "constants of C come with their header (#include <...> in the first line), or as numbers"
    return near


def _constant(name: str) -> tuple[str, int] | None:
    """The header that defines a constant, and its value."""
    from .headers import find

    return find(name) if name[:1].isupper() or name.startswith("__NR_") else None


def text_hint(st: State, e: ast.Binary) -> str:
    """For a comparison of text with what is not text yet."""
    for one, other in ((e.left, e.right), (e.right, e.left)):
        t = as_integer(one.type)
        if other.type.kind == "string" and (t.kind == "pointer" or _is_user_address(t)):
            return f"read the text that it points to: str({written(st, one, '...')})"
    if e.op == "+" and (e.left.type.kind == "string" or e.right.type.kind == "string"):
        return "join texts with str_concat(a, b)"
    return ""


def pointer_to_text(st: State, e: ast.Expr) -> str:
    """What to write for a pointer to characters whose address would be printed; empty if it is something else."""
    t = e.type
    return f"str({written(st, e, '...')})" if t.kind == "pointer" and is_text(t) else ""


def warn_too_long(st: State, e: ast.Binary) -> None:
    """A text that the other side of a comparison has no room for."""
    for one, other in ((e.left, e.right), (e.right, e.left)):
        if not isinstance(one, ast.String) or isinstance(other, ast.String) or other.type.kind != "string":
            continue
        length = len(one.data or one.value.encode("utf-8", "surrogateescape"))
        # A character array may be full; builtins and functions give texts with a final NUL.
        room = other.type.size - isinstance(other, (ast.Name, ast.Call))
        if other.type.size and length > room:
            text = written(st, other, "the other side")
            st.warn(
                e.span,
                f"This is always {'false' if e.op == '==' else 'true'}: {text} has at most {room} characters, "
                f"the text {length}.",
                f'write "{one.value[:room]}"' if room <= LONGEST and one.value.isprintable() else "",
            )


def refuse_float(st: State, e: ast.Expr) -> bool:
    """Report an operand of arithmetic that is a floating-point number; False for others."""
    if not e.type.is_float:
        return False
    text = written(st, e, "...")
    bits = f"; its bits: $x = {text}; *(uint{e.type.size * 8} *)&$x" if e.type.size in (2, 4, 8) else ""
    message = f"{'This' if text == '...' else text} is a {e.type}: BPF has no floating point"
    st.error(e.span, message, f"it can be printed and kept, not computed with{bits}")
    return True


def _is_user_address(t: Type) -> bool:
    return t.kind == "int" and t.size == 8 and bool(t.space)
