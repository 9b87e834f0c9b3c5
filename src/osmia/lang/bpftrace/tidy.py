"""Scripts in a uniform layout: one statement a line, two blanks for each level, comments where they were.

Works on the text, not on the tree, so that comments, numbers and C definitions stay as they were written. What comes
out is parsed again: a layout that would change the script's meaning is not given.
"""

from __future__ import annotations

from ...errors import OsmiaError
from .checked import Source

INDENT = "  "
# Words behind a closing brace that go on with the statement.
_CONTINUES = ("else",)
_NO_BLANK_BEFORE = (",", ";", ")", "]")


def tidy(source: Source) -> str:
    """The script in its uniform layout. Raises SourceError when it is no valid script."""
    before = _meaning(source)
    text = _Layout(source.text).run()
    if before != _meaning(Source(source.name, text)):
        raise OsmiaError(
            f"format {source.name}: the layout would change what the script means",
            hint="this is a defect of osmia: please report it, with the script",
        )
    return text


def _meaning(source: Source) -> str:
    """The tree as text; C definitions and attach points without their white space."""
    from .format import dump
    from .parser import parse

    script = parse(source)
    for definition in script.definitions:
        definition.text = "".join(definition.text.split())
    for probe in script.probes:
        for point in probe.attach:
            point.text = "".join(point.text.split())
    return dump(script)


class _Layout:
    """Reads the text once, piece by piece, and writes lines."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.lines: list[str] = []
        self.line = ""  # the one under construction, without its indentation
        self.depth = 0  # of braces
        self.parens = 0
        self.nested: list[int] = []  # open parentheses around each open brace

    def run(self) -> str:
        text = self.text
        while self.pos < len(text):
            c = text[self.pos]
            if c.isspace():
                self.blank()
            elif text.startswith("//", self.pos) and not self.in_path():
                self.comment(self.end_of_line())
            elif text.startswith("/*", self.pos) and not self.in_path():
                end = text.find("*/", self.pos + 2)
                self.comment(end + 2 if end >= 0 else len(text))
            elif c == "#" and not self.line and not self.depth:
                self.directive()
            elif c == '"':
                self.string()
            else:
                self.code(c)
        self.flush()
        while self.lines and not self.lines[-1]:
            self.lines.pop()
        return "\n".join(self.lines) + "\n"

    # ------------------------------------------------------------ pieces

    def end_of_line(self) -> int:
        end = self.text.find("\n", self.pos)
        return end if end >= 0 else len(self.text)

    def in_path(self) -> bool:
        """Inside of an attach point, where a slash that follows a word is part of a path."""
        return not self.depth and bool(self.line) and not self.text[self.pos - 1].isspace() and ":" in self.line

    def blank(self) -> None:
        """White space: one blank at most; an empty line stays between statements."""
        start = self.pos
        while self.pos < len(self.text) and self.text[self.pos].isspace():
            self.pos += 1
        if self.line:
            if not self.line.endswith((" ", "(", "[")):
                self.line += " "
        elif self.text.count("\n", start, self.pos) > 1 and self.lines and self.lines[-1][-1:] not in ("", "{"):
            self.lines.append("")

    def comment(self, end: int) -> None:
        found = self.text[self.pos : end].rstrip()
        behind = self.text.rfind("\n", 0, self.pos)
        alone = not self.text[behind + 1 : self.pos].strip()
        self.pos = end
        if self.line.strip():
            # In the middle of a statement: a line comment ends the line, the statement goes on in the next.
            self.line = f"{self.line.rstrip()} {found} "
            if found.startswith("//"):
                self.flush(more=True)
        elif alone or not self.lines:
            self.lines.append(INDENT * self.depth + found)
        else:
            at = len(self.lines) - (2 if not self.lines[-1] and len(self.lines) > 1 else 1)
            self.lines[at] += f" {found}"

    def directive(self) -> None:
        """A line of the preprocessor, or `#!`: as it is, with the lines that it continues in."""
        end = self.end_of_line()
        while self.text[end - 1 : end] == "\\" and end < len(self.text):
            following = self.text.find("\n", end + 1)
            end = following if following >= 0 else len(self.text)
        self.lines.append(self.text[self.pos : end].rstrip())
        self.pos = end

    def string(self) -> None:
        end = self.pos + 1
        while end < len(self.text) and self.text[end] != '"':
            end += 2 if self.text[end] == "\\" else 1
        self.put(self.text[self.pos : end + 1])
        self.pos = end + 1

    def code(self, c: str) -> None:
        self.pos += 1
        if c == "{":
            self.open()
        elif c == "}":
            self.close()
        elif c == ";" and not self.parens:
            self.line = self.line.rstrip() + ";"
            self.flush()
        else:
            self.parens += (c in "([") - (c in ")]")
            self.put(c)
            if c == "," and (self.depth or self.parens):
                self.line += " "
            elif c == "," and self.text[self.pos :].lstrip(" \t")[:1] == "\n":
                self.flush()  # attach points that stand in lines of their own

    # ------------------------------------------------------------ lines

    def put(self, piece: str) -> None:
        if self.line.endswith(" ") and piece in _NO_BLANK_BEFORE and self.line.strip():
            self.line = self.line.rstrip()
        self.line += piece

    def open(self) -> None:
        self.line = self.line.rstrip()
        blank = " " if self.line and not self.line.endswith("(") else ""
        self.line += blank + "{"
        self.nested.append(self.parens)
        self.parens = 0
        self.flush()
        self.depth += 1

    def close(self) -> None:
        self.flush()
        while self.lines and not self.lines[-1]:
            self.lines.pop()
        self.depth = max(self.depth - 1, 0)
        self.parens = self.nested.pop() if self.nested else 0
        self.line = "}"
        if not self.goes_on():
            self.flush()
            if not self.depth:
                self.lines.append("")

    def goes_on(self) -> bool:
        """Whether what follows a closing brace belongs to its line."""
        rest = self.text[self.pos :].lstrip()
        if rest[:1] in (";", ",", ")", "]", ".") or self.parens:
            return True
        if rest.startswith(_CONTINUES):
            self.line += " "
            return True
        following = rest[:1]
        # A type that is defined on the way: `struct x { ... } name;`
        if not self.depth and (following.isalpha() or following in ("*", "_")):
            end = rest.find(";")
            declared = rest[:end] if end >= 0 else ""
            if declared and all(ch.isalnum() or ch in "_* ,[]()" for ch in declared):
                self.line += " "
                return ":" not in declared
        return False

    def flush(self, *, more: bool = False) -> None:
        """End the line under construction; with `more`, what follows belongs to the same statement."""
        shown = self.line.rstrip()
        if shown:
            self.lines.append(INDENT * self.depth + shown)
        self.line = ""
