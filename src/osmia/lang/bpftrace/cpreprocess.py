"""The C preprocessor for the definitions of a script: #define, conditions, #include; and macros in script text.

Loaded only for scripts with C definitions. Works on the tokens of `lexer`, which serve for C declarations as well.
"""

from __future__ import annotations

from ..._data import Data
from . import ast
from .checked import Source
from .expressions import MAX_ERRORS, MAX_HEIGHT, ExpressionParser, SyntaxProblem, is_higher
from .lexer import compile_pattern, diagnostic, lex_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from re import Match

    from ...errors import Diagnostic
    from .lexer import Token

MAX_TOKENS = 50_000  # of one expanded text: macros that double each other would fill the memory
MAX_INCLUDES = 32  # files inside of files
MAX_FILE = 4 << 20  # bytes of a header
_NOISE = compile_pattern(r"""(?s)"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?|//[^\n]*+|/\*.*?(?:\*/|\Z)""")
_DIRECTIVE = compile_pattern(r"(?m)^[ \t]*#[ \t]*([A-Za-z_]*)((?:\\\r?\n|[^\n])*+)")
_DEFINE = compile_pattern(r"[ \t]*([A-Za-z_][A-Za-z0-9_]*)(\([^()]*\))?")
_INCLUDE = compile_pattern(r"""[ \t]*(?:<([^>\n]+)>|"([^"\n]+)")""")
# First folders of headers that belong to the kernel: with BTF their types are known without them.
_KERNEL_DIRS = frozenset((
    "linux", "net", "uapi", "asm", "asm-generic", "scsi", "rdma", "sound", "trace", "crypto", "drm", "media", "kernel",
    "kvm", "xen", "pcmcia", "target", "video", "vdso", "ras", "soc", "acpi", "clocksource", "dt-bindings", "block",
    "fs", "mm", "security", "drivers",
))  # fmt: skip
# Headers of libc whose types this module knows by itself or gets from BTF.
_LIBC = frozenset((
    "stdint.h", "stddef.h", "stdbool.h", "stdio.h", "stdlib.h", "string.h", "errno.h", "syscall.h", "unistd.h",
    "limits.h", "inttypes.h", "signal.h", "time.h", "fcntl.h", "sys/types.h", "sys/socket.h", "sys/stat.h",
    "sys/time.h", "sys/syscall.h", "netinet/in.h", "netinet/tcp.h", "arpa/inet.h", "sys/mman.h", "sys/resource.h",
    "sys/wait.h",
))  # fmt: skip
_SYSTEM_DIRS = ("/usr/include", "/usr/local/include", "/usr/include/x86_64-linux-gnu", "/usr/include/aarch64-linux-gnu")


class Macro(Data):
    """`params` is None for an object-like macro. `text` as written, `body` its tokens."""

    name: str
    params: tuple[str, ...] | None
    text: str
    body: tuple[Token, ...]


class ConstantError(Exception):
    """An expression that is not a constant; the message says why."""


class Preprocessor:
    """Feeds C text through the directives. `sink` gets the tokens of each file or definition and its source."""

    def __init__(
        self,
        sink: Callable[[Source, list[Token]], None],
        lookup: Callable[[str], int | None],
        *,
        have_btf: bool,
        include_dirs: Sequence[str],
    ) -> None:
        self.sink = sink
        self.lookup = lookup
        self.have_btf = have_btf
        self.include_dirs = include_dirs
        self.macros: dict[str, Macro] = {}
        self.errors: list[Diagnostic] = []
        self.seen: set[str] = set()  # files with #pragma once
        # (this branch and those around it are active, some branch was active, the directive) for each open #if
        self.conditions: list[tuple[bool, bool, str]] = []
        self.depth = 0
        if have_btf:
            self.define("BPFTRACE_HAVE_BTF", None, "1")

    def define(self, name: str, params: tuple[str, ...] | None, text: str) -> None:
        self.macros[name] = Macro(name, params, text, tuple(lex_all(text)[:-1]))

    def error(self, source: Source, start: int, end: int, message: str, hint: str = "") -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(diagnostic(source, start, end, message, hint))

    @property
    def active(self) -> bool:
        return self.conditions[-1][0] if self.conditions else True

    def feed(self, source: Source, text: str, base: int, file_dir: str) -> None:
        """Process `text`, which stands at offset `base` of `source`."""
        plain = _NOISE.sub(_blank_comments, text)
        tokens: list[Token] = []
        pos = 0
        for found in _DIRECTIVE.finditer(plain):
            if self.active:
                tokens += _shifted(plain[pos : found.start()], base + pos)
            self.directive(source, found[1], found[2], base + found.start(), base + found.end(), file_dir)
            pos = found.end()
        if self.active:
            tokens += _shifted(plain[pos:], base + pos)
        if tokens:
            end = base + len(text)
            tokens.append(("eof", "", end, end))
            self.sink(source, expand(tokens, self.macros))

    def finish(self, source: Source) -> None:
        """Complain of conditions left open."""
        if self.conditions:
            end = len(source.text)
            self.error(source, end, end, f"unterminated #{self.conditions[-1][2]}", "close it with #endif")
            self.conditions.clear()

    # ------------------------------------------------------------ directives

    def directive(self, source: Source, word: str, rest: str, start: int, end: int, file_dir: str) -> None:
        rest = rest.replace("\\\r\n", " ").replace("\\\n", " ")
        if word in ("if", "ifdef", "ifndef", "elif", "else", "endif"):
            self.condition(source, word, rest, start, end)
        elif not self.active:
            return
        elif word == "define":
            found = _DEFINE.match(rest)
            if found is None:
                self.error(source, start, end, "#define needs a name", "write #define NAME value")
                return
            params = found[2]
            names = tuple(p.strip() for p in params[1:-1].split(",")) if params else None
            self.define(found[1], () if names == ("",) else names, rest[found.end() :].strip())
        elif word == "undef":
            self.macros.pop(rest.strip(), None)
        elif word == "include":
            self.include(source, rest, start, end, file_dir)
        elif word == "error":
            self.error(source, start, end, f"#error{rest.rstrip()}")
        elif word == "pragma":
            if rest.strip() == "once":
                self.seen.add(source.name)
        elif word not in ("warning", "line", "ident", ""):
            self.error(
                source, start, end, f"unknown preprocessor directive '#{word}'", "known are #define, #if, #include"
            )

    def condition(self, source: Source, word: str, rest: str, start: int, end: int) -> None:
        if word in ("if", "ifdef", "ifndef"):
            value = self.active and self.holds(source, word, rest, start, end)
            self.conditions.append((value, value, word))
            return
        if not self.conditions:
            self.error(source, start, end, f"#{word} without #if", "remove it, or add the #if")
            return
        _, taken, opened = self.conditions.pop()
        if word == "endif":
            return
        if word == "else":
            self.conditions.append((self.active and not taken, True, opened))
        else:
            value = not taken and self.active and self.holds(source, "if", rest, start, end)
            self.conditions.append((value, taken or value, opened))

    def holds(self, source: Source, word: str, rest: str, start: int, end: int) -> bool:
        name = rest.strip()
        if word == "ifdef":
            return name in self.macros
        if word == "ifndef":
            return name not in self.macros
        tokens = expand(self.resolve_defined(lex_all(rest)), self.macros)
        try:
            return bool(constant(tokens, lambda name: 0))
        except ConstantError as e:
            self.error(
                source, start, end, f"cannot evaluate the condition: {e}", "use integers, defined(NAME) and operators"
            )
            return False

    def resolve_defined(self, tokens: list[Token]) -> list[Token]:
        """`defined X` and `defined(X)` as 0 or 1."""
        out: list[Token] = []
        at = 0
        while at < len(tokens):
            kind, text, start, end = tokens[at]
            if kind == "id" and text == "defined":
                paren = tokens[at + 1][0] == "(" if at + 1 < len(tokens) else False
                name = tokens[at + 1 + paren] if at + 1 + paren < len(tokens) else tokens[-1]
                if name[0] == "id":
                    out.append(("int", str(int(name[1] in self.macros)), start, end))
                    closed = paren and at + 3 < len(tokens) and tokens[at + 3][0] == ")"
                    at += 4 if closed else 3 if paren else 2
                    continue
            out.append(tokens[at])
            at += 1
        return out

    # ------------------------------------------------------------ files

    def include(self, source: Source, rest: str, start: int, end: int, file_dir: str) -> None:
        found = _INCLUDE.match(rest)
        if found is None:
            self.error(source, start, end, "#include needs a file", 'write #include "file.h" or #include <file.h>')
            return
        name = found[1] or found[2]
        path = self.find(name, file_dir if found[2] else "")
        if path:
            self.read(source, path, start, end)
            return
        if self.is_known(name):
            if self.have_btf:
                self.define_all(name)
                return
            self.error(
                source, start, end, f"cannot include '{name}': kernel headers are not read",
                "run on a kernel with BTF (CONFIG_DEBUG_INFO_BTF), or define the types in the script",
            )  # fmt: skip
            return
        where = start + max(source.text[start:end].find(name) - 1, 0)
        self.error(source, where, end, f"'{name}' file not found", "add its folder with -I")

    def define_all(self, header: str) -> None:
        """The numbers that a header of the system defines, where the script did not define them before."""
        from .headers import constants

        for name, value in constants(header).items():
            self.macros.setdefault(name, Macro(name, None, str(value), tuple(lex_all(str(value))[:-1])))

    def find(self, name: str, file_dir: str) -> str:
        import os

        for folder in ((file_dir,) if file_dir else ()) + tuple(self.include_dirs):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return path
        return name if os.path.isabs(name) and os.path.isfile(name) else ""

    def is_known(self, name: str) -> bool:
        import os

        if name in _LIBC or name.partition("/")[0] in _KERNEL_DIRS:
            return True
        return ".." not in name and any(os.path.isfile(os.path.join(d, name)) for d in _SYSTEM_DIRS)

    def read(self, source: Source, path: str, start: int, end: int) -> None:
        import os

        if path in self.seen:
            return
        if self.depth >= MAX_INCLUDES:
            self.error(
                source,
                start,
                end,
                f"#include nested too deeply: '{path}'",
                "a header includes itself: add #pragma once",
            )
            return
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read(MAX_FILE)
        except OSError as e:
            self.error(source, start, end, f"cannot read '{path}': {e.strerror}", "check its permissions")
            return
        outer, self.conditions = self.conditions, []
        self.depth += 1
        inner = Source(path, text)
        self.feed(inner, text, 0, os.path.dirname(path))
        self.finish(inner)
        self.depth -= 1
        self.conditions = outer


def _blank_comments(found: Match[str]) -> str:
    text: str = found[0]
    if text[0] != "/":
        return text
    # Same length and lines, so that offsets stay true.
    return "".join("\n" if c == "\n" else " " for c in text)


def _shifted(text: str, base: int) -> list[Token]:
    return [(kind, value, start + base, end + base) for kind, value, start, end in lex_all(text)[:-1]]


# ---------------------------------------------------------------- macros


def expand(tokens: list[Token], macros: dict[str, Macro]) -> list[Token]:
    """The tokens with all macros replaced. What comes from a macro carries the place of its use."""
    if not any(t[0] == "id" and t[1] in macros for t in tokens):
        return tokens
    out: list[Token] = []
    _expand(tokens, macros, frozenset(), out)
    return out


def _expand(tokens: Sequence[Token], macros: dict[str, Macro], active: frozenset[str], out: list[Token]) -> None:
    at = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        macro = macros.get(token[1]) if token[0] == "id" else None
        # A macro inside of itself stays a name (C11 6.10.3.4); 64 names deep nobody means it.
        if macro is None or macro.name in active or len(active) > 64 or len(out) > MAX_TOKENS:
            out.append(token)
            continue
        start, end = token[2], token[3]
        body: Sequence[Token] = macro.body
        if macro.params is not None:
            args, following = _arguments(tokens, at)
            if args is None:
                out.append(token)
                continue
            end = max(end, tokens[following - 1][3])
            at = following
            body = _filled(macro, args, macros, active)
        placed = [(kind, text, start, end) for kind, text, _, _ in body]
        _expand(placed, macros, active | {macro.name}, out)


def _arguments(tokens: Sequence[Token], at: int) -> tuple[list[list[Token]] | None, int]:
    """The arguments of a call whose `(` is at `at`, and where the tokens go on; None if it is no call."""
    if at >= len(tokens) or tokens[at][0] != "(":
        return None, at
    args: list[list[Token]] = [[]]
    depth = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token[0] in ("(", "[", "{"):
            depth += 1
            if depth == 1:
                continue
        elif token[0] in (")", "]", "}"):
            depth -= 1
            if depth == 0:
                return args, at
        elif token[0] == "," and depth == 1:
            args.append([])
            continue
        elif token[0] == "eof":
            break
        args[-1].append(token)
    return None, at


def _filled(macro: Macro, args: list[list[Token]], macros: dict[str, Macro], active: frozenset[str]) -> list[Token]:
    """The body with the arguments, themselves expanded, in place of the parameters."""
    values: dict[str, list[Token]] = {}
    for param, arg in zip(macro.params or (), args):
        values[param] = []
        _expand(arg, macros, active, values[param])
    body: list[Token] = []
    for token in macro.body:
        body += values[token[1]] if token[0] == "id" and token[1] in values else (token,)
        if len(body) > MAX_TOKENS:
            break
    return body


# ---------------------------------------------------------------- constants


def constant(
    tokens: list[Token], lookup: Callable[[str], int | None], sizeof: Callable[[ast.TypeName], int] | None = None
) -> int:
    """The value of a constant expression (tokens with `eof`). Raises ConstantError."""
    parser = ExpressionParser(Source("", ""), 0)
    parser.enter(tokens)
    try:
        tree = parser.expression()
    except SyntaxProblem:
        raise ConstantError(parser.errors[-1].message.removeprefix("syntax: ")) from None
    if parser.errors:
        raise ConstantError(parser.errors[0].message.removeprefix("syntax: "))
    if parser.kind != "eof":
        raise ConstantError(f"unexpected {parser.found()}")
    if is_higher(tree, MAX_HEIGHT):
        raise ConstantError("expression too large")
    return evaluate(tree, lookup, sizeof)


def evaluate(
    e: ast.Expr, lookup: Callable[[str], int | None], sizeof: Callable[[ast.TypeName], int] | None = None
) -> int:
    """The value of an integer constant expression."""
    if isinstance(e, ast.Integer):
        return e.value
    if isinstance(e, ast.Boolean):
        return int(e.value)
    if isinstance(e, ast.Name):
        value = lookup(e.name)
        if value is None:
            raise ConstantError(f"'{e.name}' is not a constant")
        return value
    if isinstance(e, ast.Unary) and e.op in ("-", "+", "~", "!"):
        value = evaluate(e.operand, lookup, sizeof)
        return {"-": -value, "+": value, "~": ~value, "!": int(not value)}[e.op]
    if isinstance(e, ast.Binary):
        return _binary(e.op, evaluate(e.left, lookup, sizeof), evaluate(e.right, lookup, sizeof))
    if isinstance(e, ast.Ternary) and e.then is not None:
        return evaluate(e.then if evaluate(e.condition, lookup, sizeof) else e.otherwise, lookup, sizeof)
    if isinstance(e, ast.Cast):
        return evaluate(e.operand, lookup, sizeof)
    if isinstance(e, ast.SizeOf) and isinstance(e.operand, ast.TypeName) and sizeof is not None:
        return sizeof(e.operand)
    raise ConstantError("not a constant expression")


def _binary(op: str, a: int, b: int) -> int:
    if op in ("/", "%"):
        if b == 0:
            raise ConstantError("division by zero")
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)  # C rounds towards zero
        return quotient if op == "/" else a - b * quotient
    if op in ("<<", ">>"):
        if not 0 <= b < 64:
            raise ConstantError(f"shift by {b}")
        return (a << b) & ((1 << 64) - 1) if op == "<<" else a >> b
    value = {
        "+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b, "&&": int(bool(a and b)),
        "||": int(bool(a or b)), "==": int(a == b), "!=": int(a != b), "<": int(a < b), ">": int(a > b),
        "<=": int(a <= b), ">=": int(a >= b),
    }[op]  # fmt: skip
    if not -(1 << 63) <= value < 1 << 64:
        raise ConstantError("overflow")
    return value
