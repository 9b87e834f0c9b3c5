"""Scripts: from text to the tree of `ast.py`, all syntax errors in one go."""

from __future__ import annotations

from ...errors import SourceError
from . import ast
from .ast import Span
from .checked import Source
from .expressions import MAX_ERRORS, MAX_HEIGHT, TAGS, ExpressionParser, SyntaxProblem, is_higher
from .lexer import attach_end, c_chunk_end, compile_pattern, lex_region, skip_blank, word_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .cpreprocess import Macro

    # What a block holds: statements, and the last expression when no `;` follows it.
    Parts = tuple[list[ast.Stmt], ast.Expr | None]

ASSIGN = frozenset(("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="))
# A statement of fewer tokens cannot be too high a tree.
_FEW_TOKENS = MAX_HEIGHT
# Providers whose attach points hold no file paths: a `/` behind their `:` begins a predicate.
_NO_PATHS = frozenset((
    "kprobe", "k", "kretprobe", "kr", "tracepoint", "t", "rawtracepoint", "rt", "fentry", "f", "fexit", "fr", "kfunc",
    "kretfunc", "profile", "p", "interval", "i", "software", "s", "hardware", "h", "watchpoint", "w",
    "asyncwatchpoint", "aw", "begin", "end", "BEGIN", "END", "self", "test", "bench",
))  # fmt: skip
# Names that always are builtins (others can be shadowed by macros).
BUILTINS = frozenset(("args", "ctx", "kstack", "nsecs", "pid", "tid", "ustack"))
_LINE = compile_pattern(r"(?:\\\r?\n|/\*(?s:.*?)\*/|[^\n])*+")
_C_HEAD = compile_pattern(r"[^:/,;{]*+[{;]")


def parse(
    source: Source,
    index: int = 0,
    *,
    have_btf: bool = True,
    include_dirs: Sequence[str] = (),
    file_dir: str = "",
    head: Source | None = None,
) -> ast.Script:
    """The tree of one script. `index` is the number that spans carry: the script's place among the sources.

    `#define` lines apply to the text behind them; `have_btf`, `include_dirs` and `file_dir` (where `#include "x.h"`
    looks first) are what `cdefs.read` takes; `head` is C text that comes before the script.
    Raises SourceError with all errors found.
    """
    parser = Parser(source, index)
    parser.c_options = (have_btf, tuple(include_dirs), file_dir)
    parser.head = head
    try:
        script = parser.script()
    except RecursionError:
        # The limits keep the parser far from this, unless it is called on a stack that is nearly full.
        parser.report(parser.tok[2], parser.tok[3], "nested too deeply", "split the statement with variables")
    if parser.errors:
        raise SourceError(sorted(parser.errors, key=lambda d: (d.line, d.col)))
    return script


class Parser(ExpressionParser):
    """Statements and the top level."""

    def __init__(self, source: Source, index: int) -> None:
        super().__init__(source, index)
        self.pos = 0  # of the top level, in characters
        self.imports: list[ast.Import] = []
        self.macros: dict[str, Macro] = {}
        self.defined = False  # whether the #define lines were looked at
        self.c_options: tuple[bool, tuple[str, ...], str] = (True, (), "")
        self.head: Source | None = None

    # ------------------------------------------------------------ blocks

    def block(self, want_value: bool) -> Parts:
        """`{ statements value }`. Errors inside are recorded; the cursor ends behind the closing brace."""
        opened = self.tok
        self.expect("{")
        self.descend()
        depth, predicate = self.depth, self.in_predicate
        self.in_predicate = False
        out: list[ast.Stmt] = []
        value: ast.Expr | None = None
        while self.kind != "}":
            if self.kind == "eof":
                if self.unterminated:
                    raise SyntaxProblem
                line, _ = self.source.place(opened[2])
                raise self.fail("expected '}'", f"the block that begins on line {line} is not closed")
            if self.kind == ";":
                self.advance()
                continue
            at = self.at
            try:
                value = self.statement(out, want_value)
                if depth == 1 and self.at - at > _FEW_TOKENS:
                    self.check_height(value if value is not None else out[-1] if out else None)
            except SyntaxProblem:
                self.depth = depth
                value = None
                if len(self.errors) >= MAX_ERRORS:
                    raise
                self.recover(at)
        self.advance()
        self.depth = depth - 1
        self.in_predicate = predicate
        if value is not None and not want_value:
            out.append(as_statement(value))
            value = None
        return out, value

    def recover(self, at: int) -> None:
        """Skip to behind the `;` or the block that ends a broken statement, or to the brace that ends its block."""
        depth = 0
        # An error before any step would not end; blocks the error lies inside of were left by exception.
        for kind, _, _, _ in self.tokens[at : self.at]:
            if kind == "{":
                depth += 1
            elif kind == "}":
                depth -= 1
        depth = max(depth, 0)
        if self.at == at and self.kind not in (";", "{", "}"):
            self.advance()
        while self.kind != "eof":
            if self.kind == "{":
                depth += 1
            elif self.kind == "}":
                if depth == 0:
                    return
                depth -= 1
                if depth == 0:
                    self.advance()
                    return
            elif self.kind == ";" and depth == 0:
                self.advance()
                return
            self.advance()

    def end_statement(self) -> None:
        if self.kind == ";":
            self.advance()
        elif self.kind != "}":
            raise self.fail("expected ';'", "end the statement before this with `;`")

    def statement(self, out: list[ast.Stmt], want_value: bool) -> ast.Expr | None:
        """Append one statement to `out`; the expression instead when it is the value at the end of the block."""
        if self.kind == "id":
            special = _STATEMENTS.get(self.tok[1])
            if special is not None:
                taken, value = special(self, out, want_value)
                if taken:
                    return value
        elif self.kind == "{":
            return self.block_statement(out, want_value)
        start = self.tok[2]
        expr = self.expression()
        if self.kind in ASSIGN:
            out.append(self.assignment(expr, start))
            return None
        if self.kind == "}":
            return expr
        if self.kind != ";":
            hint = "end the statement before this with `;`"
            if isinstance(expr, ast.Name) and self.kind == "id" and self.peek() in (*ASSIGN, ";"):
                # `int x = 5` of C, `var x = 5` of other languages
                hint = f"variables are called $name and need no declaration: ${self.tok[1]} = ...;"
            if self.kind == ":" and isinstance(expr, ast.Variable):
                hint = f"to declare a type, write `let {expr.name}: type`"
            raise self.fail("expected ';'", hint)
        self.advance()
        out.append(ast.ExprStmt(self.span(start), expr))
        return None

    def assignment(self, target: ast.Expr, start: int) -> ast.Stmt:
        op = self.kind
        if isinstance(target, ast.TupleIndex):
            self.advance()
            self.expression()
            self.report(
                start, self.last_end, "tuples and records are immutable once created",
                "consider creating a new value and assigning it instead",
            )  # fmt: skip
        elif not isinstance(target, ast.Variable | ast.MapRef | ast.Member | ast.Index):
            hint = "only $variables and @maps can be assigned to"
            if isinstance(target, ast.Name):
                hint = f"write `${target.name} {op} ...` for a variable, `@{target.name} {op} ...` for a map"
            raise self.fail("expected ';'", hint)
        else:
            self.advance()
        value = self.expression() if not isinstance(target, ast.TupleIndex) else target
        span = self.span(start)
        self.end_statement()
        return ast.Assign(span, target, op, value)

    def block_statement(self, out: list[ast.Stmt], want_value: bool) -> ast.Expr | None:
        start = self.tok[2]
        body, value = self.block(True)
        if value is not None and want_value and self.kind == "}":
            return ast.BlockExpr(self.span(start), body, value)
        if value is not None:
            body.append(as_statement(value))
        out.append(ast.Block(self.span(start), body))
        return None

    # Handlers of words at the start of a statement: (taken, value). Not taken: it is an expression after all.

    def let_statement(self, out: list[ast.Stmt], want_value: bool) -> tuple[bool, ast.Expr | None]:
        start = self.tok[2]
        self.advance()
        _, name, first, end = self.tok
        if self.kind != "var":
            hint = (
                "maps are declared outside of probes: let @a = hash(100);"
                if self.kind == "map"
                else "write `let $name = value;`"
            )
            raise self.fail("expected variable after 'let'", hint)
        self.advance()
        target = ast.Variable(Span(first, end, self.index), name)
        to: ast.TypeName | None = None
        value: ast.Expr | None = None
        if self.kind == ":":
            self.advance()
            to = self.type_name()
        if self.kind == "=":
            self.advance()
            value = self.expression()
        span = self.span(start)
        self.end_statement()
        out.append(ast.Declare(span, target, to, value))
        return True, None

    def discard_statement(self, out: list[ast.Stmt], want_value: bool) -> tuple[bool, ast.Expr | None]:
        if self.peek() != "=":
            return False, None
        start = self.tok[2]
        self.advance()
        self.advance()
        value = self.expression()
        span = self.span(start)
        self.end_statement()
        out.append(ast.Assign(span, None, "=", value))
        return True, None

    def if_statement(self, out: list[ast.Stmt], want_value: bool) -> tuple[bool, ast.Expr | None]:
        start = self.tok[2]
        condition, then, otherwise = self.if_parts()
        if want_value and self.kind == "}" and _has_value(then, otherwise):
            return True, _if_value(self.span(start), condition, then, otherwise)
        out.append(_if_statement(self.span(start), condition, then, otherwise))
        return True, None

    def while_statement(self, out: list[ast.Stmt], want_value: bool) -> tuple[bool, ast.Expr | None]:
        start = self.tok[2]
        self.advance()
        condition = self.condition()
        body, _ = self.block(False)
        out.append(ast.While(self.span(start), condition, body))
        return True, None

    def unroll_statement(self, out: list[ast.Stmt], want_value: bool) -> tuple[bool, ast.Expr | None]:
        start = self.tok[2]
        self.advance()
        count = self.condition()
        body, _ = self.block(False)
        out.append(ast.Unroll(self.span(start), count, body))
        return True, None

    def for_statement(self, out: list[ast.Stmt], want_value: bool) -> tuple[bool, ast.Expr | None]:
        start = self.tok[2]
        self.advance()
        closed = self.kind == "("
        if closed:
            self.advance()
        _, name, first, end = self.tok
        if self.kind != "var":
            raise self.fail(
                "expected variable in for loop", "write `for ($kv : @map) { ... }` or `for ($i : 0..10) { ... }`"
            )
        self.advance()
        target = ast.Variable(Span(first, end, self.index), name)
        self.expect(":", "write `for ($kv : @map) { ... }` or `for ($i : 0..10) { ... }`")
        at = self.tok
        low = self.unary()
        high: ast.Expr | None = None
        if self.kind == "..":
            self.advance()
            high = self.unary()
        elif not isinstance(low, ast.MapRef):
            end = self.last_end
            if closed:
                self.expect(")", "put a bound that is more than one operand in parentheses")
            self.report(at[2], end, "expected map or range in for loop", "write `@map` or `0..10`")
            closed = False
        if closed:
            self.expect(")", "put a bound that is more than one operand in parentheses")
        body, _ = self.block(False)
        if high is not None:
            out.append(ast.ForRange(self.span(start), target, low, high, body))
        elif isinstance(low, ast.MapRef):
            out.append(ast.ForMap(self.span(start), target, low, body))
        return True, None

    def jump_statement(self, out: list[ast.Stmt], want_value: bool) -> tuple[bool, ast.Expr | None]:
        _, text, start, end = self.tok
        self.advance()
        node: ast.Stmt
        if text == "return":
            value = None if self.kind in (";", "}") else self.expression()
            node = ast.Return(self.span(start), value)
        else:
            node = (ast.Break if text == "break" else ast.Continue)(Span(start, end, self.index))
        self.end_statement()
        out.append(node)
        return True, None

    def import_statement(self, out: list[ast.Stmt], want_value: bool) -> tuple[bool, ast.Expr | None]:
        if self.peek() not in ("str", "id", "int"):
            return False, None
        self.imports.append(self.import_path())
        if self.kind == ";":
            self.advance()
        elif self.kind != "}":
            raise self.fail("expected ';' after import")
        return True, None

    def import_path(self) -> ast.Import:
        start = self.tok[2]
        self.advance()
        if self.kind != "str":
            raise self.fail("expected string after 'import'", 'write import "file.bt";')
        path = self.string().value
        return ast.Import(self.span(start), path)

    # ------------------------------------------------------------ if and blocks as values

    def condition(self) -> ast.Expr:
        """`(expression)` or one operand without parentheses. A parenthesis here never is a record or a cast."""
        if self.kind != "(":
            return self.unary()
        self.advance()
        found = self.expression()
        self.expect(")", "comparison is ==" if self.kind == "=" else "")
        if self.kind != "{":
            hint = (
                "put the whole condition in parentheses" if self.kind not in ("eof", "id") else "the body needs braces"
            )
            raise self.fail("expected '{'", hint)
        return found

    def if_parts(self) -> tuple[ast.Expr, Parts, Parts | ast.Node | None]:
        """(condition, then, else) with the cursor on `if`; else is a block's parts, an If or IfExpr, or None."""
        self.descend()
        self.advance()
        condition = self.condition()
        then = self.block(True)
        otherwise: Parts | ast.Node | None = None
        if self.kind == "id" and self.tok[1] == "else":
            self.advance()
            if self.kind == "{":
                otherwise = self.block(True)
            elif self.kind == "id" and self.tok[1] == "if":
                start = self.tok[2]
                inner = self.if_parts()
                if _has_value(inner[1], inner[2]):
                    otherwise = _if_value(self.span(start), *inner)
                else:
                    otherwise = _if_statement(self.span(start), *inner)
            else:
                raise self.fail("expected '{' or 'if' after 'else'")
        self.depth -= 1
        return condition, then, otherwise

    def if_expression(self) -> ast.Expr:
        start = self.tok[2]
        condition, then, otherwise = self.if_parts()
        if not _has_value(then, otherwise):
            self.report(
                start, start + 2, "an `if` used as a value needs a value in every branch",
                "add else, and leave off the `;` behind the last expression of each branch",
            )  # fmt: skip
            raise SyntaxProblem
        return _if_value(self.span(start), condition, then, otherwise)

    def block_expression(self) -> ast.Expr:
        start = self.tok[2]
        body, value = self.block(True)
        if value is None:
            self.report(
                self.last_end - 1, self.last_end, "a block used as a value must end in an expression",
                "leave off the `;` behind the last expression",
            )  # fmt: skip
            value = ast.Boolean(self.span(start), False)
        return ast.BlockExpr(self.span(start), body, value)

    def check_height(self, node: ast.Node | None) -> None:
        """Refuse a tree that later passes could not walk (`1+1+1+...`): they recurse."""
        if node is not None and is_higher(node, MAX_HEIGHT):
            self.report(
                node.span.start, node.span.end, f"expression too large, more than {MAX_HEIGHT} levels",
                "split it with variables",
            )  # fmt: skip

    # ------------------------------------------------------------ top level

    def script(self) -> ast.Script:
        text = self.source.text
        out = ast.Script(Span(0, len(text), self.index), [], [], self.imports, [], [], [])
        if text.startswith("#!"):
            self.pos = text.find("\n") + 1 or len(text)
        phase = 0  # 0: C definitions, 1: config and imports, 2: the rest
        while True:
            self.pos = skip_blank(text, self.pos)
            if self.pos >= len(text) or len(self.errors) >= MAX_ERRORS:
                return out
            if text[self.pos] == ";":
                self.pos += 1
                continue
            self.depth = 0
            self.in_predicate = False
            before = self.pos
            try:
                phase = self.item(out, phase)
            except SyntaxProblem:
                self.skip_item(before)

    def item(self, out: ast.Script, phase: int) -> int:
        """One thing of the top level; returns the phase from which on some things come too late."""
        text, start = self.source.text, self.pos
        if text[start] == "#":
            found = _LINE.match(text, start)
            self.pos = found.end() if found else len(text)
            out.definitions.append(ast.CDefinition(Span(start, self.pos, self.index), text[start : self.pos]))
            self.late(phase > 0, "C definitions must appear before probes and functions", start)
            return phase
        word = word_at(text, start)
        if not word:
            self.probe(out)
            return 2
        if word == "typedef" or (word in TAGS and _is_c_definition(text, start)):
            self.c_definition(out, start)
            self.late(phase > 0, "C definitions must appear before probes and functions", start)
            return phase
        if not self.defined:
            self.defined = True
            if out.definitions or self.head is not None:
                self.take_macros(out)
        handler = _TOP_LEVEL.get(word)
        if handler is not None:
            following = skip_blank(text, start + len(word))
            char = text[following : following + 1]
            if char not in (":", "/", ",", "") and (char != "{" or word == "config"):
                return max(phase, handler(self, out, phase, following))
        self.probe(out)
        return 2

    def late(self, is_late: bool, message: str, start: int) -> None:
        if is_late:
            end = self.source.text.find("\n", start)
            end = end if end >= 0 else len(self.source.text)
            self.report(start, min(self.pos, end), message, "move it to the top of the script")

    def skip_item(self, before: int) -> None:
        """Where to go on behind an error of the top level: behind the region, or behind the next block or `;`."""
        if self.pos > before:
            return
        text = self.source.text
        depth = 0
        while self.pos < len(text):
            self.pos = c_chunk_end(text, self.pos)
            char = text[self.pos : self.pos + 1]
            self.pos += 1
            depth += 1 if char == "{" else -1 if char == "}" else 0
            if depth <= 0 and char in ("}", ";", ""):
                return

    def region(self, pos: int, *, predicate: bool = False, stop: str = "}") -> None:
        """Lex from `pos` and start on the tokens; on an error the top level goes on behind the region."""
        tokens = lex_region(self.source.text, pos, predicate=predicate, stop=stop)
        self.pos = tokens[-1][3]
        if self.macros:
            from .cpreprocess import expand

            tokens = expand(tokens, self.macros)
        self.enter(tokens)

    def take_macros(self, out: ast.Script) -> None:
        """Before the first region: what the #define lines mean in the text behind them.

        Errors in these lines are left to `cdefs.read`, which sees them all.
        """
        lines = [d for d in out.definitions if d.text[0] == "#"]
        if lines or self.head is not None:
            from .cpreprocess import Preprocessor

            have_btf, include_dirs, file_dir = self.c_options
            cpp = Preprocessor(lambda *_: None, lambda _: None, have_btf=have_btf, include_dirs=include_dirs)
            if self.head is not None:
                cpp.feed(self.head, self.head.text, 0, "")
            for line in lines:
                cpp.feed(self.source, line.text, line.span.start, file_dir)
            self.macros = cpp.macros

    def c_definition(self, out: ast.Script, start: int) -> None:
        """A struct, union or enum with its body and attributes, or anything else up to its `;`."""
        text = self.source.text
        pos, depth = start, 0
        while True:
            pos = c_chunk_end(text, pos)
            char = text[pos : pos + 1]
            if not char:
                self.report(
                    start,
                    start + len(text[start:].split("\n", 1)[0]),
                    "unterminated C definition",
                    "close it with `}` or `;`",
                )
                self.pos = pos
                raise SyntaxProblem
            pos += 1
            depth += 1 if char == "{" else -1 if char == "}" else 0
            if depth <= 0 and (char == ";" or (char == "}" and not text.startswith("typedef", start))):
                break
        if text[pos - 1] == "}":
            pos = self.attributes(pos)
            following = skip_blank(text, pos)
            if text.startswith(";", following):
                pos = following + 1
        self.pos = pos
        out.definitions.append(ast.CDefinition(Span(start, pos, self.index), text[start:pos]))

    def attributes(self, pos: int) -> int:
        """The end of the `__attribute__((...))` groups from `pos` on."""
        text = self.source.text
        while text.startswith("__attribute__", following := skip_blank(text, pos)):
            opened = skip_blank(text, following + 13)
            if not text.startswith("((", opened):
                self.report(
                    opened, opened + 1, "__attribute__ syntax error, expected '(('", "write __attribute__((packed))"
                )
                self.pos = opened
                self.skip_item(opened)
                raise SyntaxProblem
            depth, pos = 0, opened
            while True:
                char = text[pos : pos + 1]
                depth += 1 if char == "(" else -1 if char == ")" else 0
                if char in ("", "{", "}") or depth == 0:
                    break
                pos += 1
            pos += 1
            if depth:
                self.report(
                    opened,
                    opened + 1,
                    "__attribute__ syntax error, mismatched '(' and ')'",
                    "write __attribute__((packed))",
                )
                self.pos = opened
                self.skip_item(opened)
                raise SyntaxProblem
        return pos

    # Handlers of words at the top level: they get where the word's follower begins, and return the new phase.

    def config(self, out: ast.Script, phase: int, following: int) -> int:
        start = self.pos
        self.region(following)
        if phase > 1:
            self.report(
                start, start + 6, "config must appear before probes and functions", "move it to the top of the script"
            )
        elif out.config:
            self.report(start, start + 6, "only one config block is allowed", "merge the two")
        self.expect("=", "write config = { name=value; ... }")
        self.expect("{")
        while self.kind != "}":
            if self.kind == ";":
                self.advance()
                continue
            first = self.tok[2]
            name = self.expect_name("expected config key", "write config = { name=value; ... }")
            self.expect("=")
            value = self.config_value()
            out.config.append(ast.ConfigEntry(self.span(first), name, value))
            if self.kind != "}":
                self.expect(";", "separate the entries with `;`")
        self.advance()
        return 1

    def config_value(self) -> int | str | bool:
        kind, text, _, _ = self.tok
        value: int | str | bool
        if kind == "int":
            value = self.integer_value()[0]
        elif kind == "id":
            value = text == "true" if text in ("true", "false") else text
        elif kind == "str":
            return self.string().value
        else:
            raise self.fail("expected string, int, boolean, or ident", "write name=value")
        self.advance()
        return value

    def root_import(self, out: ast.Script, phase: int, following: int) -> int:
        start = self.pos
        self.region(start, stop=";")
        path = self.import_path()
        self.expect(";")
        if phase > 1:
            self.report(
                start,
                start + 6,
                "root imports must appear before probes and functions",
                "move it to the top of the script",
            )
        out.imports.append(path)
        return 1

    def map_declaration(self, out: ast.Script, phase: int, following: int) -> int:
        start = self.pos
        self.region(start, stop=";")
        self.advance()
        name = self.tok[1]
        if self.kind != "map":
            raise self.fail(
                "expected '@' in map declaration", "at the top level only maps are declared: let @a = hash(100);"
            )
        self.advance()
        self.expect("=", "write let @a = hash(100);")
        kind = self.expect_name("expected map type name", "map types are hash, lruhash, percpuhash, percpulruhash")
        self.expect("(")
        if self.kind == ")":
            raise self.fail("expected positive integer for map declaration max entries", "write let @a = hash(100);")
        entries = self.expression()
        self.expect(")")
        span = self.span(start)
        self.expect(";")
        out.maps.append(ast.MapDeclaration(span, name, kind, entries))
        return 2

    def macro(self, out: ast.Script, phase: int, following: int) -> int:
        start = self.pos
        self.region(following)
        name = self.expect_name("expected macro name")
        params: list[str] = []
        if self.kind == "(":
            self.advance()
            while self.kind != ")":
                kind, text, first, end = self.tok
                if kind not in ("id", "var", "map"):
                    raise self.fail("expected macro argument ($var, @map, or identifier)")
                if kind == "id" and text in BUILTINS:
                    self.report(first, end, f"builtin '{text}' can't be used as a macro argument", "use another name")
                self.advance()
                params.append(text)
                if self.kind != ")":
                    self.expect(",")
            self.advance()
        span = self.span(start)
        body, value = self.block(True)
        out.macros.append(ast.Macro(span, name, params, body, value))
        return 2

    def function(self, out: ast.Script, phase: int, following: int) -> int:
        start = self.pos
        self.region(following)
        self.report(start, start + 2, "functions are not supported", "write `macro name($var, @map, expr) { ... }`")
        return 2

    def probe(self, out: ast.Script) -> None:
        text, start = self.source.text, self.pos
        name, pos = _probe_name(text, start)
        attach: list[ast.AttachSpec] = []
        while True:
            pos = skip_blank(text, pos)
            char = text[pos : pos + 1]
            if attach and char in ("{", "/"):
                break
            if char == "}" and not attach:
                self.report(pos, pos + 1, "expected attach point, found '}'", "no block is open here: one } too many")
                raise SyntaxProblem
            end = attach_end(text, pos, word_at(text, pos) in _NO_PATHS)
            if end == pos:
                self.report(
                    pos,
                    pos + 1,
                    "expected attach point",
                    "write `probe:name { ... }`, as in tracepoint:sched:sched_switch",
                )
                raise SyntaxProblem
            attach.append(ast.AttachSpec(Span(pos, end, self.index), text[pos:end]))
            pos = skip_blank(text, end)
            if not text.startswith(",", pos):
                break
            pos += 1
        span = Span(start, end, self.index)
        predicate: ast.Expr | None = None
        if text.startswith("/", pos):
            predicate = self.predicate(pos)
        elif text.startswith("{", pos):
            self.region(pos)
        else:
            found = (
                "the end of the script" if pos >= len(text) else repr((text[pos : pos + 20].split() or [text[pos]])[0])
            )
            self.report(
                pos, pos + 1, f"expected '{{', found {found}", "a probe is followed by /predicate/ or by { statements }"
            )
            raise SyntaxProblem
        body, _ = self.block(False)
        out.probes.append(ast.Probe(span, attach, predicate, body, name))

    def predicate(self, pos: int) -> ast.Expr:
        self.region(pos, predicate=True)
        behind = self.pos
        try:
            self.advance()
            self.in_predicate = True
            found = self.expression()
            if self.at > _FEW_TOKENS:
                self.check_height(found)
            if self.kind != "/":
                hint = "comparison is ==" if self.kind == "=" else "write /condition/ { ... }"
                raise self.fail("expected '/' to close predicate", hint)
        except SyntaxProblem:
            # Without its closing `/` the region was lexed too far: find the next block anew.
            self.pos = pos
            self.skip_item(pos)
            raise
        self.advance()
        self.in_predicate = False
        self.pos = behind
        return found


def _probe_name(text: str, start: int) -> tuple[str, int]:
    """The name of `name = probe:... { }`, or "", and where the first attach point begins."""
    name = word_at(text, start)
    pos = _skip_space(text, start + len(name))
    if not name or not text.startswith("=", pos):
        return "", start
    return name, _skip_space(text, pos + 1)


def _skip_space(text: str, pos: int) -> int:
    while text[pos : pos + 1].isspace():
        pos += 1
    return pos


def _is_c_definition(text: str, start: int) -> bool:
    """Whether `struct ...` begins a C definition and not an attach point."""
    return _C_HEAD.match(text, start) is not None


def _has_value(then: Parts, otherwise: Parts | ast.Node | None) -> bool:
    if then[1] is None or otherwise is None:
        return False
    return otherwise[1] is not None if isinstance(otherwise, tuple) else isinstance(otherwise, ast.Expr)


def _if_value(span: Span, condition: ast.Expr, then: Parts, otherwise: Parts | ast.Node | None) -> ast.Expr:
    other = _as_expression(otherwise, span) if isinstance(otherwise, tuple) else otherwise
    return ast.IfExpr(span, condition, _as_expression(then, span), other)  # type: ignore[arg-type]


def _as_expression(parts: Parts, span: Span) -> ast.Expr:
    body, value = parts
    assert value is not None
    return ast.BlockExpr(span, body, value) if body else value


def _if_statement(span: Span, condition: ast.Expr, then: Parts, otherwise: Parts | ast.Node | None) -> ast.If:
    if isinstance(otherwise, tuple):
        rest = _as_statements(otherwise)
    elif otherwise is None:
        rest = []
    else:
        rest = [otherwise if isinstance(otherwise, ast.Stmt) else as_statement(otherwise)]  # type: ignore[arg-type]
    return ast.If(span, condition, _as_statements(then), rest)


def _as_statements(parts: Parts) -> list[ast.Stmt]:
    body, value = parts
    if value is not None:
        body.append(as_statement(value))
    return body


def as_statement(value: ast.Expr) -> ast.Stmt:
    """A value that nobody uses: blocks and ifs become statements, so that their last calls need no value."""
    if isinstance(value, ast.IfExpr):
        then, otherwise = (_statements_of(b) for b in (value.then, value.otherwise))
        return ast.If(value.span, value.condition, then, otherwise)
    if isinstance(value, ast.BlockExpr):
        return ast.Block(value.span, _statements_of(value))
    return ast.ExprStmt(value.span, value)


def _statements_of(value: ast.Expr) -> list[ast.Stmt]:
    return [*value.body, as_statement(value.value)] if isinstance(value, ast.BlockExpr) else [as_statement(value)]


_STATEMENTS: dict[str, Callable[[Parser, list[ast.Stmt], bool], tuple[bool, ast.Expr | None]]] = {
    "let": Parser.let_statement,
    "_": Parser.discard_statement,
    "if": Parser.if_statement,
    "while": Parser.while_statement,
    "unroll": Parser.unroll_statement,
    "for": Parser.for_statement,
    "break": Parser.jump_statement,
    "continue": Parser.jump_statement,
    "return": Parser.jump_statement,
    "import": Parser.import_statement,
}
_TOP_LEVEL: dict[str, Callable[[Parser, ast.Script, int, int], int]] = {
    "config": Parser.config,
    "import": Parser.root_import,
    "let": Parser.map_declaration,
    "macro": Parser.macro,
    "fn": Parser.function,
}
