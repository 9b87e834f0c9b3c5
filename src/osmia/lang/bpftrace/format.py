"""The tree as text: one node a line, children indented; for `osmia trace -d ast` and for tests.

    Probe
      attach: tracepoint:sched:sched_switch
      predicate: Binary ==
        left: Name pid
        right: Integer 1

The text is stable: fields appear in the order of their declaration, empty ones are left out, places are not shown.
"""

from __future__ import annotations

from . import ast
from .types import Type

# Fields that say what a node is: shown on its own line.
_HEAD = (
    "name",
    "op",
    "index",
    "value",
    "data",
    "text",
    "base",
    "path",
    "kind",
    "names",
    "params",
    "fields",
    "suffixes",
    "arrow",
    "postfix",
)
_SKIP = frozenset(("span",))


def dump(node: ast.Node) -> str:
    """The text of a tree (a Script or any node of it), with a newline at the end."""
    out: list[str] = []
    _node(node, "", 0, out)
    return "\n".join(out) + "\n"


def _node(node: ast.Node, label: str, depth: int, out: list[str]) -> None:
    if isinstance(node, ast.AttachSpec):
        out.append("  " * depth + label + node.text)
        return
    words = [type(node).__name__]
    children: list[tuple[str, object]] = []
    for field in node._fields:
        value = getattr(node, field)
        if field in _SKIP or value is None or value == [] or value == b"":
            continue
        if isinstance(value, ast.Node) or (isinstance(value, list) and isinstance(value[0], ast.Node)):
            children.append((field, value))
        elif field in _HEAD or not isinstance(value, list):
            shown = _scalar(node, field, value)
            if shown:
                words.append(shown)
    found = getattr(node, "type", None)
    if isinstance(found, Type):
        words.append(f": {found}")
    out.append("  " * depth + label + " ".join(words))
    for field, value in children:
        if isinstance(value, ast.Node):
            _node(value, f"{field}: ", depth + 1, out)
        elif isinstance(value, list):
            for item in value:
                _node(item, f"{field}: ", depth + 1, out)


def _scalar(node: ast.Node, field: str, value: object) -> str:
    """A field on the line of its node; empty when it says nothing."""
    if isinstance(node, ast.Integer):
        return str(value) if field == "value" else f"suffix={value}" if field == "suffix" and value else ""
    if isinstance(node, ast.String):
        # The bytes tell all; the text is shown unless it is the same.
        return ascii(node.data.decode("utf-8", "backslashreplace")) if field == "value" else ""
    if value is False and field in ("arrow", "postfix"):
        return ""
    if value is True and field in ("arrow", "postfix"):
        return field
    if isinstance(value, list):
        return (
            "".join(f"[{v if v != -1 else ''}]" if isinstance(v, int) else str(v) for v in value)
            if field == "suffixes"
            else f"({', '.join(map(str, value))})"
        )
    if isinstance(value, str):
        return ascii(value)[1:-1] if isinstance(node, ast.CDefinition) else value
    return str(value)
