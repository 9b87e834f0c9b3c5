"""Types and expressions: recursive descent with precedence climbing.

`ExpressionParser` walks the token list of one region (see `lexer.lex_region`). The statement parser on top of it
recovers from `SyntaxProblem`, so one run reports every error of a script.
"""

from __future__ import annotations

from . import ast
from .ast import Span
from .checked import Source
from .lexer import bad_token, diagnostic, parse_integer, parse_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...errors import Diagnostic
    from .lexer import Token

# Levels of nesting, and height of the tree of one statement. Later passes recurse over the tree with a few Python
# frames a level, and Python allows 1000 frames in all.
MAX_NESTING = 80
MAX_HEIGHT = 120
MAX_ERRORS = 100  # nobody reads more, and each costs a look for its line
MAX_SUFFIXES = 16  # `*` and `[n]` of one type

BINARY = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
PREFIX = frozenset(("!", "~", "-", "+", "*", "&", "++", "--"))
POSTFIX = frozenset((".", "->", "[", "++", "--"))
# Kinds of tokens an expression can begin with.
STARTS = PREFIX | {"id", "int", "str", "var", "map", "pos", "("}

# Names that are values though they stand alone: `(pid) - 1` is a subtraction, `(foo) - 1` a cast to foo.
VALUES = frozenset((
    "args", "cgroup", "comm", "cpid", "cpu", "ctx", "curtask", "elapsed", "func", "gid", "jiffies", "kstack",
    "leader_comm", "leader_tid", "ncpus", "nsecs", "numaid", "pcomm", "pid", "ppid", "probe", "probetype", "rand",
    "retval", "tid", "uid", "usermode", "username", "ustack", "true", "false",
))  # fmt: skip
BASE_TYPES = frozenset((
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "string", "buffer", "void",
    "inet", "macaddr", "timestamp", "ksym", "usym", "kstack_t", "ustack_t", "ksym_t", "usym_t", "username_t",
    "macaddr_t", "cgroup_path_t", "strerror_t", "count_t", "sum_t", "usum_t", "avg_t", "uavg_t", "min_t", "umin_t",
    "max_t", "umax_t", "stats_t", "ustats_t", "hist_t", "lhist_t", "tseries_t",
))  # fmt: skip
C_WORDS = frozenset(("unsigned", "signed", "long", "int", "short", "char", "const", "volatile"))
TAGS = frozenset(("struct", "union", "enum"))


class SyntaxProblem(Exception):
    """An error that was already recorded; unwinds to the next place where parsing can go on."""


class ExpressionParser:
    """Token cursor, types and expressions. `errors` collects what is wrong; `kind` and `tok` are the current token."""

    def __init__(self, source: Source, index: int) -> None:
        self.source = source
        self.index = index
        self.errors: list[Diagnostic] = []
        self.tokens: list[Token] = []
        self.at = 0
        self.tok: Token = ("eof", "", 0, 0)
        self.kind = "eof"
        self.last_end = 0  # end of the token before the current one
        self.depth = 0
        self.in_predicate = False
        self.unterminated = False  # a string or comment without end was reported: closing braces may be inside

    # ------------------------------------------------------------ cursor

    def enter(self, tokens: list[Token]) -> None:
        """Start on a token list (its last token is `eof`)."""
        self.tokens = tokens
        self.at = 0
        self.tok = tokens[0]
        self.kind = self.tok[0]
        self.last_end = self.tok[2]

    def advance(self) -> None:
        """Step to the next token; `eof` stays."""
        self.last_end = self.tok[3]
        if self.kind != "eof":
            self.at += 1
            self.tok = self.tokens[self.at]
            self.kind = self.tok[0]

    def peek(self, ahead: int = 1) -> str:
        """The kind of a later token."""
        at = self.at + ahead
        return self.tokens[at][0] if at < len(self.tokens) else "eof"

    def seek(self, at: int) -> None:
        """Go back (or forth) to token number `at`."""
        self.at = at
        self.tok = self.tokens[at]
        self.kind = self.tok[0]
        self.last_end = self.tokens[at - 1][3] if at else self.tok[2]

    def span(self, start: int) -> Span:
        """From `start` to the end of the last consumed token."""
        return Span(start, self.last_end if self.last_end > start else start, self.index)

    # ------------------------------------------------------------ errors

    def report(self, start: int, end: int, message: str, hint: str = "") -> None:
        """Record a syntax error without leaving off."""
        self.errors.append(diagnostic(self.source, start, end, f"syntax: {message}", hint))

    def fail(self, message: str, hint: str = "") -> SyntaxProblem:
        """Record an error at the current token; the caller raises what it gets."""
        kind, text, start, end = self.tok
        if kind == "bad":
            # What is wrong with the token is the better message.
            message, hint = bad_token(text)
            self.unterminated = self.unterminated or message.startswith("unterminated")
        elif message.startswith("expected"):
            message += ", found " + self.found()
        self.report(start, max(end, start + 1) if kind != "eof" else end, message, hint)
        return SyntaxProblem()

    def found(self) -> str:
        """The current token, for messages."""
        kind, text, _, _ = self.tok
        if kind == "eof":
            return "the end of the script"
        if kind == "str":
            return "a string"
        return f"'{text if len(text) <= 40 else text[:37] + '...'}'"

    def expect(self, kind: str, hint: str = "") -> None:
        if self.kind != kind:
            raise self.fail(f"expected '{kind}'", hint)
        self.advance()

    def expect_name(self, message: str, hint: str = "") -> str:
        if self.kind != "id":
            raise self.fail(message, hint)
        text = self.tok[1]
        self.advance()
        return text

    def descend(self) -> None:
        """One level deeper; the caller goes up again with `depth -= 1` (not needed when it raises: see recovery)."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise self.fail(f"nested too deeply, more than {MAX_NESTING} levels", "split the expression with variables")

    # ------------------------------------------------------------ types

    def type_name(self) -> ast.TypeName:
        """A type where only a type can stand: `let $x: T`, also `typeof(...)`."""
        if self.kind == "id" and self.tok[1] == "typeof" and self.peek() == "(":
            return self.typeof()
        start = self.tok[2]
        base = self.base_type()
        if base is None:
            raise self.fail(
                "expected type name", "types are int8..int64, uint8..uint64, bool, string, struct NAME, ..."
            )
        suffixes = self.type_suffixes()
        if suffixes is None:
            raise self.fail("expected array size", "write [4], or [] to take the size of the value")
        return ast.TypeName(self.span(start), base, suffixes)

    def base_type(self) -> str | None:
        """The words in front of a type: `struct x`, `unsigned int`, `uint8`; None when there are none."""
        if self.kind != "id":
            return None
        word = self.tok[1]
        if word in TAGS:
            if self.peek() != "id":
                return None
            self.advance()
            word = f"{word} {self.tok[1]}"
            self.advance()
            return word
        if word not in C_WORDS:
            self.advance()
            return word
        words = []
        while self.kind == "id" and self.tok[1] in C_WORDS:
            if self.tok[1] not in ("const", "volatile"):
                words.append(self.tok[1])
            self.advance()
        if words:
            return " ".join(words)
        return self.base_type()  # const struct x

    def type_suffixes(self) -> list[str | int] | None:
        """`*` and `[n]` in any order; None (position undefined) when a bracket holds no size."""
        out: list[str | int] = []
        while True:
            if len(out) > MAX_SUFFIXES:
                raise self.fail(f"type with more than {MAX_SUFFIXES} suffixes", "nobody points that deep")
            if self.kind == "*":
                out.append("*")
                self.advance()
            elif self.kind == "id" and self.tok[1] in ("const", "volatile"):
                self.advance()
            elif self.kind == "[":
                following = self.peek()
                if following == "]":
                    out.append(-1)
                elif following == "int" and self.peek(2) == "]":
                    self.advance()
                    out.append(self.integer_value()[0])
                else:
                    return None
                self.advance()
                self.advance()
            else:
                return out

    def typeof(self) -> ast.TypeName:
        """`typeof(type)` is that type, `typeof(expression)` is a TypeName with `of`; suffixes may follow."""
        start = self.tok[2]
        self.advance()
        self.expect("(")
        inner = self.type_or_expression(")")
        self.expect(")")
        if isinstance(inner, ast.TypeName):
            inner.span = self.span(start)
            return inner
        return ast.TypeName(self.span(start), "", [], inner)

    def type_or_expression(self, terminator: str) -> ast.Expr | ast.TypeName:
        """What sizeof and its kin take. A lone unknown name comes as `Name`: only the checker can tell."""
        found = self.try_type(terminator)
        return found if found is not None else self.expression()

    def try_type(self, terminator: str) -> ast.TypeName | None:
        """A type that ends before `terminator`, or None with the cursor where it was.

        A lone name is taken only when it is surely a type.
        """
        if self.kind != "id":
            return None
        word = self.tok[1]
        if word == "typeof" and self.peek() == "(":
            # No way back: parsing what is inside once more at every level would take 2^levels.
            found = self.typeof()
            suffixes = self.type_suffixes()
            if suffixes is None or self.kind != terminator:
                raise self.fail(
                    f"expected '{terminator}'", "typeof() stands for a type: it can be cast to and measured"
                )
            found.suffixes = [*found.suffixes, *suffixes]
            return found
        if word in VALUES or is_argument(word):
            return None
        at, start = self.at, self.tok[2]
        base = self.base_type()
        sure = word in TAGS or word in C_WORDS or word in BASE_TYPES
        suffixes = self.type_suffixes() if base is not None else None
        if base is None or suffixes is None or self.kind != terminator or not (sure or suffixes):
            self.seek(at)
            return None
        return ast.TypeName(self.span(start), base, suffixes)

    # ------------------------------------------------------------ expressions

    def expression(self) -> ast.Expr:
        """Any expression: ternary is the loosest operator."""
        self.descend()
        start = self.tok[2]
        condition = self.binary()
        if self.kind == "?":
            self.advance()
            then = None if self.kind == ":" else self.expression()
            self.expect(":", "a ternary is written condition ? value : other")
            otherwise = self.expression()
            condition = ast.Ternary(self.span(start), condition, then, otherwise)
        self.depth -= 1
        return condition

    def binary(self) -> ast.Expr:
        """Operands joined by binary operators. No recursion: an operator waits until a looser one follows."""
        start = self.tok[2]
        expr = self.unary() if self.kind in PREFIX else self.postfix()
        if self.kind not in BINARY:
            return expr
        # (left operand, its start, operator, level) of the operators that wait for their right operand
        waiting: list[tuple[ast.Expr, int, str, int]] = []
        while True:
            op = self.kind
            level = BINARY.get(op, 0)
            if op == "/" and self.in_predicate and self.peek() == "{":
                level = 0
            while waiting and waiting[-1][3] >= level:
                left, start, held, _ = waiting.pop()
                expr = ast.Binary(self.span(start), held, left, expr)
            if not level:
                return expr
            waiting.append((expr, start, op, level))
            self.advance()
            start = self.tok[2]
            expr = self.unary() if self.kind in PREFIX else self.postfix()

    def unary(self) -> ast.Expr:
        if self.kind not in PREFIX:
            return self.postfix()
        op, _, start, _ = self.tok
        self.descend()
        self.advance()
        at = self.tok
        operand = self.unary()
        self.depth -= 1
        if op in ("++", "--"):
            if not isinstance(operand, ast.Variable | ast.MapRef):
                self.report(
                    at[2], at[3], "increment/decrement requires a variable or map", f"write `$x = ... {op[0]} 1`"
                )
        elif op == "&" and not isinstance(operand, ast.Variable | ast.MapRef):
            self.report(
                at[2],
                at[3],
                "address-of operator (&) can only be used on a map or variable",
                "assign the value to a variable",
            )
        return ast.Unary(self.span(start), op, operand)

    def postfix(self) -> ast.Expr:
        start = self.tok[2]
        expr = self.primary()
        while self.kind in POSTFIX:
            op = self.kind
            at = self.tok
            self.advance()
            if op == "." or op == "->":
                expr = self.member(expr, start, op)
            elif op == "[":
                index = self.expression()
                self.expect("]")
                expr = ast.Index(self.span(start), expr, index)
            else:
                if not isinstance(expr, ast.Variable | ast.MapRef):
                    self.report(
                        at[2], at[3], "increment/decrement requires a variable or map", f"write `$x = ... {op[0]} 1`"
                    )
                expr = ast.Unary(self.span(start), op, expr, True)
        return expr

    def member(self, operand: ast.Expr, start: int, op: str) -> ast.Expr:
        """What follows `.` or `->`."""
        kind, text, first, _ = self.tok
        if kind == "id":
            self.advance()
            return ast.Member(self.span(start), operand, text, op == "->")
        if kind == "int" and op == ".":
            if isinstance(operand, ast.Integer) and operand.span.end == first - 1:
                raise self.fail(
                    "floating-point numbers are not supported", "BPF has integers only: scale the value, 1500 for 1.5"
                )
            if not text.isdecimal() or len(text) > 9:
                raise self.fail(f"invalid tuple index: {text[:40]}", "tuples are indexed .0, .1, ...")
            self.advance()
            return ast.TupleIndex(self.span(start), operand, int(text))
        raise self.fail(f"expected field name after '{op}'")

    # ------------------------------------------------------------ primaries

    def primary(self) -> ast.Expr:
        kind, text, start, end = self.tok
        if kind == "id":
            return self.word()
        if kind == "var":
            self.advance()
            return ast.Variable(Span(start, end, self.index), text)
        if kind == "int":
            value, suffix = self.integer_value()
            self.advance()
            return ast.Integer(Span(start, end, self.index), value, text, suffix)
        if kind == "map":
            return self.map_ref()
        if kind == "str":
            return self.string()
        if kind == "(":
            return self.parenthesis()
        if kind == "pos":
            return self.positional()
        if kind == "{":
            return self.block_expression()
        raise self.fail("expected expression")

    def integer_value(self) -> tuple[int, str]:
        """(value, suffix) of the current integer token; an error in it is recorded and the value is 0."""
        _, text, start, _ = self.tok
        try:
            return parse_integer(text)
        except ValueError as e:
            message, first, last = e.args
            self.report(start + first, start + last, message, _number_hint(message))
            return 0, ""

    def string(self) -> ast.String:
        _, text, start, end = self.tok
        try:
            value, data = parse_string(text)
        except ValueError as e:
            message, first, last = e.args
            self.report(
                start + first, start + last, message, 'escapes are \\n \\t \\r \\" \\\\ \\xHH and \\OOO up to \\377'
            )
            value, data = "", b""
        self.advance()
        return ast.String(Span(start, end, self.index), value, data)

    def positional(self) -> ast.Positional:
        _, text, start, end = self.tok
        index = 0
        if text != "$#":
            index = int(text[1:]) if len(text) < 20 else 0
            if not 1 <= index < 1 << 63:
                shown = text if len(text) <= 40 else text[:37] + "..."
                self.report(
                    start,
                    end,
                    f"param {shown} is out of integer range [1, {(1 << 63) - 1}]",
                    "the first parameter is $1",
                )
                index = 1
        self.advance()
        return ast.Positional(Span(start, end, self.index), index)

    def map_ref(self) -> ast.MapRef:
        _, name, start, _ = self.tok
        self.advance()
        key: ast.Expr | None = None
        if self.kind == "[":
            self.advance()
            first = self.tok[2]
            key = self.expression()
            if self.kind == ",":
                items = [key]
                while self.kind == ",":
                    self.advance()
                    items.append(self.expression())
                key = ast.TupleLiteral(self.span(first), items)
            self.expect("]")
        return ast.MapRef(self.span(start), name, key)

    def word(self) -> ast.Expr:
        """An expression that begins with a word: keyword, literal, call or name."""
        _, text, start, end = self.tok
        special = _WORDS.get(text)
        if special is not None:
            found: ast.Expr | None = special(self)
            if found is not None:
                return found
        if text == "typeof" and self.peek() == "(":
            raise self.fail("expected expression", "typeof() stands for a type: it can be cast to and measured")
        self.advance()
        if self.kind == "(":
            return self.call(text, start)
        if self.kind == "!" and self.peek() == "(" and self.tok[2] == end:
            self.advance()  # name!(...): a macro call in the spelling of the language's manual
            return self.call(text, start)
        return ast.Name(Span(start, end, self.index), text)

    def boolean(self) -> ast.Expr | None:
        _, text, start, end = self.tok
        self.advance()
        return ast.Boolean(Span(start, end, self.index), text == "true")

    def call(self, name: str, start: int) -> ast.Expr:
        self.advance()
        args: list[ast.Expr | ast.TypeName] = []
        if self.kind != ")":
            args.append(self.argument())
            while self.kind == ",":
                self.advance()
                args.append(self.argument())
        self.expect(")", f"close the call of {name}()")
        return ast.Call(self.span(start), name, args)

    def argument(self) -> ast.Expr | ast.TypeName:
        if self.kind == "id":
            word = self.tok[1]
            if word == "typeof" and self.peek() == "(":
                return self.typeof()
            if word in TAGS and self.peek() == "id":
                raise self.fail("expected expression", f"to pass a type, write typeof({word} ...)")
        return self.expression()

    def sizeof(self) -> ast.Expr | None:
        if self.peek() != "(":
            return None
        _, text, start, _ = self.tok
        self.advance()
        self.advance()
        operand = self.type_or_expression(")")
        self.expect(")")
        node = ast.SizeOf if text == "sizeof" else ast.TypeInfo
        return node(self.span(start), operand)

    def offsetof(self) -> ast.Expr | None:
        if self.peek() != "(":
            return None
        start = self.tok[2]
        self.advance()
        self.advance()
        of = self.type_or_expression(",")
        self.expect(",", "write offsetof(struct NAME, field)")
        fields = [self.expect_name("expected field name")]
        while self.kind == ".":
            self.advance()
            fields.append(self.expect_name("expected field name"))
        self.expect(")")
        return ast.OffsetOf(self.span(start), of, fields)

    def comptime(self) -> ast.Expr | None:
        if self.peek() not in STARTS and self.peek() != "{":
            return None
        start = self.tok[2]
        self.descend()
        self.advance()
        operand = self.unary()
        self.depth -= 1
        return ast.Comptime(self.span(start), operand)

    # ------------------------------------------------------------ parentheses

    def parenthesis(self) -> ast.Expr:
        """Cast, record, tuple or plain grouping."""
        start = self.tok[2]
        self.advance()
        found: ast.Expr
        if self.kind == ")":
            self.advance()
            found = ast.TupleLiteral(self.span(start), [])
        elif self.kind == "id" and self.peek() == "=":
            found = self.record(start)
        else:
            cast = self.try_cast(start) if self.kind == "id" else None
            found = cast if cast is not None else self.tuple_or_group(start)
        return found

    def try_cast(self, start: int) -> ast.Expr | None:
        at, word = self.at, self.tok[1]
        if word in VALUES or is_argument(word):
            return None
        if word == "typeof":
            found = self.try_type(")")
            if found is None:
                return None
            base, suffixes, of, sure = found.base, found.suffixes, found.of, True
        else:
            name = self.base_type()
            more = self.type_suffixes() if name is not None else None
            if name is None or more is None or self.kind != ")":
                self.seek(at)
                return None
            base, suffixes, of = name, more, None
            sure = word in TAGS or word in C_WORDS
        to = ast.TypeName(self.span(self.tokens[at][2]), base, suffixes, of)
        self.advance()
        if self.kind not in STARTS or (self.kind in ("++", "--") and self.peek() not in ("var", "map")):
            if sure and self.kind == "{":
                return ast.Cast(self.span(start), to, self.block_expression())
            if sure:
                raise self.fail("expected expression", "a cast is written (type)value")
            self.seek(at)
            return None
        self.descend()
        operand = self.unary()
        self.depth -= 1
        return ast.Cast(self.span(start), to, operand)

    def record(self, start: int) -> ast.Expr:
        names: list[str] = []
        items: list[ast.Expr] = []
        while True:
            first = self.tok[2]
            name = self.expect_name("expected identifier", "every item of a record has a name: (x=1, y=2)")
            self.expect("=", "every item of a record has a name: (x=1, y=2)")
            items.append(self.expression())
            if name in names:
                self.report(
                    first, self.last_end, f"named argument list already contains name: {name}", "use another name"
                )
            names.append(name)
            if self.kind != ",":
                break
            self.advance()
        self.expect(")")
        return ast.RecordLiteral(self.span(start), names, items)

    def tuple_or_group(self, start: int) -> ast.Expr:
        first = self.expression()
        if self.kind != ",":
            self.expect(")")
            return first
        items = [first]
        while self.kind == ",":
            self.advance()
            if self.kind == ")":
                break
            items.append(self.expression())
        self.expect(")")
        return ast.TupleLiteral(self.span(start), items)

    # ------------------------------------------------------------ blocks (the statement parser knows how)

    # In C constants, which this class alone reads, neither has a place.

    def block_expression(self) -> ast.Expr:
        raise self.fail("expected expression")

    def if_expression(self) -> ast.Expr:
        raise self.fail("expected expression")

    def if_value(self) -> ast.Expr | None:
        return self.if_expression()  # late: `_WORDS` holds functions of this class


def is_higher(node: ast.Node | None, limit: int) -> bool:
    """Whether a tree has more than `limit` levels; found without recursion."""
    level: list[ast.Node] = [node] if node is not None else []
    while level:
        if limit < 0:
            return True
        limit -= 1
        below: list[ast.Node] = []
        for current in level:
            for field in current._fields:
                value = getattr(current, field)
                if isinstance(value, ast.Node):
                    below.append(value)
                elif type(value) is list:
                    below += [v for v in value if isinstance(v, ast.Node)]
        level = below
    return False


def is_argument(word: str) -> bool:
    """arg0, arg1, ..., sarg0, ..."""
    return (word.startswith("arg") and word[3:].isdecimal()) or (word.startswith("sarg") and word[4:].isdecimal())


def _number_hint(message: str) -> str:
    if "suffix" in message:
        return "suffixes are u, l, ul, ll, ull, and ns, us, ms, s, m, h, d for durations"
    if "overflow" in message:
        return "integers have 64 bits"
    if "coefficient" in message:
        return "scientific literals are written like 5e6"
    if "octal" in message:
        return "a leading 0 means octal: leave it off for a decimal number"
    return ""


_WORDS = {
    "true": ExpressionParser.boolean,
    "false": ExpressionParser.boolean,
    "sizeof": ExpressionParser.sizeof,
    "typeinfo": ExpressionParser.sizeof,
    "offsetof": ExpressionParser.offsetof,
    "comptime": ExpressionParser.comptime,
    "if": ExpressionParser.if_value,
}
