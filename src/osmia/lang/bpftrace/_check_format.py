"""Format strings against what they print."""

from __future__ import annotations

from ...objects.printf import BUFFERS, FLOATS, NUMBERS, FormatItem, parse_format
from . import ast
from ._check_convert import value
from ._check_hints import pointer_to_text
from ._check_state import State
from ._check_types import UNKNOWN, as_integer

MAX_TRACE_ARGUMENTS = 3  # of bpf_trace_printk
CONVERSIONS = "conversions are d i u x X o c s p r rx rh gr"


def check_format(st: State, e: ast.Call, form: ast.String) -> None:
    """Check the arguments of printf and its kin; aggregations that are printed become integers."""
    items = [i for i in parse_format(form.value) if i.conversion]
    if e.name == "debugf":
        st.warn(
            e.span,
            "The debugf() builtin is not recommended for production use.",
            "it writes to the trace pipe of the kernel, which everybody shares: use printf()",
        )
        if len(items) > MAX_TRACE_ARGUMENTS:
            st.error(e.span, f"{e.name}() cannot use more than {MAX_TRACE_ARGUMENTS} conversion specifiers")
    starred = next((i for i in items if "*" in i.text), None)
    if starred is not None:
        st.error(e.span, f"unsupported format specifier: {starred.text}", "write the width as a number")
        return
    given = len(e.args) - 1
    if given != len(items):
        many = "not enough" if given < len(items) else "too many"
        message = f"{many} arguments for format string ({given} supplied, {len(items)} expected)"
        st.error(e.span, message, _count_hint(form.value, items, given))
        return
    for i, item in enumerate(items, 1):
        a = e.args[i]
        if not isinstance(a, ast.Expr):
            st.error(a.span, f"{e.name}() expects an expression, not a type")
            continue
        a = e.args[i] = value(st, a)
        problem, hint = _mismatch(item, a)
        if problem:
            st.error(e.span if a.span is None else a.span, problem, hint)
        elif item.conversion == "s" and (text := pointer_to_text(st, a)):
            st.warn(a.span, "A pointer is printed as a number, not as the text that it points to.", f"write {text}")


def _count_hint(text: str, items: list[FormatItem], given: int) -> str:
    """What may be wrong with a format string that takes another number of arguments."""
    unknown = _unknown(text)
    if given > len(items):
        return f"{unknown} is no conversion: {CONVERSIONS}" if unknown else ""
    percent = next((i.text for i in items if " " in i.flags), "")
    return f"'{percent}' is read as a conversion: a percent sign is written %%" if percent else ""


def _unknown(text: str) -> str:
    """The first percent sign with a letter behind it that is no conversion."""
    at = text.find("%")
    while at >= 0:
        first = parse_format(text[at:])[0]
        end = at + 1
        while text[end : end + 1] and text[end] in "-+#.0123456789":
            end += 1
        if not first.conversion and text[end : end + 1].isalpha():
            return text[at : end + 1]
        at = text.find("%", at + (len(first.text) if first.conversion else 2))
    return ""


def _mismatch(item: FormatItem, a: ast.Expr) -> tuple[str, str]:
    """What is wrong with printing `a` by this conversion."""
    t = as_integer(a.type)
    letter = item.conversion
    if t is UNKNOWN:
        return "", ""
    if t.kind in ("none", "void"):
        return f"unable to print none type for specifier: {letter}", ""
    if letter == "s":
        if t.kind in ("hist", "lhist", "tseries"):
            return f"unsupported format specifier for type '{t}': s", "print the whole map with print()"
        return "", ""
    if t.is_float:
        if letter in FLOATS:
            return "", ""
        return f"unsupported format specifier for type '{t}': {letter}", "print it with %f, %g or %s"
    if letter in NUMBERS:
        if t.kind in ("int", "enum", "bool", "pointer"):
            return "", ""
        return f"unsupported format specifier for type '{t}': {letter}", "print it with %s"
    if letter in BUFFERS:
        if t.kind == "buffer":
            return "", ""
        return f"unsupported format specifier for type '{t}': {letter}", "make a buffer of it with buf()"
    return f"unsupported format specifier: {letter}", CONVERSIONS


def render(e: ast.Call) -> str:
    """The text of a format string whose arguments are all literals, as `fail` prints it."""
    form = e.args[0]
    out = []
    args = iter(e.args[1:])
    for item in parse_format(form.value if isinstance(form, ast.String) else ""):
        if not item.conversion:
            out.append(item.text)
            continue
        a = next(args, None)
        v: object = getattr(a, "value", "")
        if isinstance(v, bool):
            v = "true" if v else "false"
        out.append(f"{v:x}" if item.conversion == "x" and isinstance(v, int) else str(v))
    return "".join(out).strip()
