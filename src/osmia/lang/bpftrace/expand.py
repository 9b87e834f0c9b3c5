"""From the parsed script to one without imports, macros, positional parameters and getopt().

Macros are hygienic: their own variables get names that no script can write (`$x#1`), maps come in as arguments only.
"""

from __future__ import annotations

from ...errors import Diagnostic, SourceError
from . import ast
from .checked import Source, trail
from .expressions import MAX_ERRORS, MAX_HEIGHT, is_higher
from .lexer import MAX_UINT64, compile_pattern, diagnostic, parse_integer
from .parser import as_statement, parse
from .types import INT64, UINT64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from re import Match
    from typing import Any

    from .ast import Span


_ARITHMETIC = frozenset(("+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^", "~", "++", "--"))
# Macros that call each other twice double the tree at every level.
MAX_EXPANSIONS = 10_000
MAX_COPIED = 50_000  # nodes of one probe
MAX_MACROS = 32  # macros inside of macros
MAX_ORIGINS = 200  # expansions whose places are kept for messages
# Macros of the standard library -> the file that defines them (see `stdlib`).
_STDLIB = {"assert": "stdlib/base.bt", "__always_true": "stdlib/test.bt"}
_MAX_EXPANDED = MAX_HEIGHT + 40
_PARAM = compile_pattern(r"""("(?:[^"\\]|\\.)*+"?)|\$([A-Za-z0-9_]*+)""")


def split_arguments(args: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    """Arguments behind the script as (positional, named): `--name=value` and `--name` count behind `--` only."""
    positional: list[str] = []
    named: dict[str, str | None] = {}
    behind = False
    for arg in args:
        if arg == "--" and not behind:
            behind = True
        elif behind and arg.startswith("--") and len(arg) > 2:
            name, equals, value = arg[2:].partition("=")
            named[name] = value if equals else None
        else:
            positional.append(arg)
    return positional, named


def expand(
    script: ast.Script,
    sources: list[Source],
    *,
    positional: Sequence[str] = (),
    named: Mapping[str, str | None] | None = None,
    have_btf: bool = True,
    include_dirs: Sequence[str] = (),
) -> ast.Script:
    """The script with everything replaced, in place; imported texts are appended to `sources`.

    `sources[i].name` is the path imports are relative to ("stdin": the working folder). A `.h` import becomes a C
    definition that includes it. Raises SourceError with all that is wrong.
    """
    expander = _Expander(script, sources, positional, named or {})
    if script.imports:
        from .imports import merge

        merge(script, sources, expander.errors, have_btf=have_btf, include_dirs=include_dirs)
    expander.run()
    if expander.errors:
        raise SourceError(expander.errors)
    return script


class _TooLarge(Exception):
    """What the macros of a probe expand to is more than later passes could take."""


class _Frame:
    """One expansion of a macro: what its parameters and its own variables stand for."""

    def __init__(self, macro: ast.Macro, number: int) -> None:
        self.macro = macro
        self.number = number
        self.variables: dict[str, str] = {}
        self.maps: dict[str, str] = {}
        self.names: dict[str, ast.Expr | ast.TypeName] = {}


class _Expander:
    def __init__(
        self, script: ast.Script, sources: list[Source], positional: Sequence[str], named: Mapping[str, str | None]
    ) -> None:
        self.script = script
        self.sources = sources
        self.positional = positional
        self.named = named
        self.options: dict[str, tuple[object, str]] = {}  # getopt name -> (default, description)
        self.errors: list[Diagnostic] = []
        self.macros: dict[str, list[ast.Macro]] = {}
        self.stack: list[ast.Macro] = []
        self.frame: _Frame | None = None
        self.count = 0  # expansions in this probe
        self.copied = 0  # nodes copied for them
        self.depth = 0

    def error(self, span: Span, message: str, hint: str = "") -> None:
        if len(self.errors) < MAX_ERRORS:
            found = diagnostic(self.sources[span.source], span.start, span.end, message, hint)
            if self.sources[span.source].origin is not None:
                found = found.replace(trail=trail(self.sources, span.source))
            self.errors.append(found)

    def run(self) -> None:
        script = self.script
        for macro in script.macros:
            self.define(macro)
        for declaration in script.maps:
            declaration.max_entries = self.visit(declaration.max_entries)
        for probe in script.probes:
            self.probe(probe)
        script.macros = []
        self.check_options()

    def probe(self, probe: ast.Probe) -> None:
        for spec in probe.attach:
            if "$" in spec.text:
                spec.text = self.attach_text(spec)
        self.count = self.copied = self.depth = 0
        self.frame = None
        self.stack.clear()
        try:
            if probe.predicate is not None:
                probe.predicate = self.visit(probe.predicate)
            self.statements(probe.body)
            if self.count and any(is_higher(s, _MAX_EXPANDED) for s in (probe.predicate, *probe.body)):
                raise _TooLarge
        except _TooLarge:
            self.error(
                probe.span,
                "macros expand to too much, or to too many levels",
                "bind parts to variables inside of the macros",
            )

    # ------------------------------------------------------------ tree

    def visit(self, node: ast.Expr) -> ast.Expr:
        """The expression with everything replaced; the same object where that is possible."""
        self.depth += 1
        if self.depth > _MAX_EXPANDED:
            raise _TooLarge
        handler = _HANDLERS.get(type(node))
        found = handler(self, node) if handler is not None else self.children(node)
        self.depth -= 1
        return found

    def children(self, node: ast.Expr) -> ast.Expr:
        self.fields(node)
        return node

    def fields(self, node: ast.Node) -> None:
        """Replace what is inside of a node."""
        for field in node._fields:
            value = getattr(node, field)
            if isinstance(value, ast.Expr):
                found = self.visit(value)
                if found is not value:
                    setattr(node, field, found)
            elif isinstance(value, ast.TypeName):
                setattr(node, field, self.type_name(value))
            elif type(value) is list and value:
                if isinstance(value[0], ast.Stmt):
                    self.statements(value)
                elif isinstance(value[0], ast.Expr | ast.TypeName):
                    for i, item in enumerate(value):
                        value[i] = self.type_name(item) if isinstance(item, ast.TypeName) else self.visit(item)

    def statements(self, body: list[ast.Stmt]) -> None:
        for i, statement in enumerate(body):
            self.depth += 1
            if isinstance(statement, ast.ExprStmt):
                body[i] = self.expression_statement(statement)
            else:
                if isinstance(statement, ast.Declare) and self.frame is not None:
                    self.check_shadow(statement)
                if self.depth > _MAX_EXPANDED:
                    raise _TooLarge
                self.fields(statement)
            self.depth -= 1

    def expression_statement(self, statement: ast.ExprStmt) -> ast.Stmt:
        """A macro call that stands alone needs no value: its body becomes a block."""
        call = statement.expr
        if isinstance(call, ast.Call | ast.Name) and self.is_macro(call.name) and not self.is_parameter(call):
            found = self.expansion(call)
            if found is not None:
                body, value = found
                if value is not None:
                    body = [*body, as_statement(value)]
                return ast.Block(statement.span, body)
            if isinstance(call, ast.Call):
                return statement
        statement.expr = self.visit(call)
        if statement.expr is not call and isinstance(statement.expr, ast.BlockExpr | ast.IfExpr):
            return as_statement(statement.expr)
        return statement

    def is_parameter(self, node: ast.Call | ast.Name) -> bool:
        return isinstance(node, ast.Name) and self.frame is not None and node.name in self.frame.names

    def check_shadow(self, statement: ast.Declare) -> None:
        assert self.frame is not None
        name = statement.target.name
        if name in self.frame.variables:
            self.error(statement.span, f"variable declaration shadows macro arg {name}", "use another name")

    def variable(self, node: ast.Variable) -> ast.Expr:
        frame = self.frame
        if frame is not None:
            node.name = frame.variables.get(node.name) or f"{node.name}#{frame.number}"
        return node

    def map_ref(self, node: ast.MapRef) -> ast.Expr:
        frame = self.frame
        if frame is not None:
            name = frame.maps.get(node.name)
            if name is None:
                self.error(
                    node.span,
                    f"unhygienic access to map: {node.name}. Maps must be passed into the macro as arguments",
                    f"write macro {frame.macro.name}({', '.join([*frame.macro.params, node.name])})",
                )
            else:
                node.name = name
        if node.key is not None:
            node.key = self.visit(node.key)
        return node

    def name(self, node: ast.Name) -> ast.Expr:
        frame = self.frame
        if frame is not None and node.name in frame.names:
            found = frame.names[node.name]
            if isinstance(found, ast.TypeName):
                self.typeof_misplaced(node.span)
                return node
            copied: ast.Expr = self.copy(found)
            return copied
        return self.macro_value(node) if node.name in self.macros else node

    def typeof_misplaced(self, span: Span) -> None:
        self.error(
            span,
            "when used as a call argument, `typeof` is only valid for macros that expect a type",
            "use the parameter in sizeof(), a cast or a declaration",
        )

    def call(self, node: ast.Call) -> ast.Expr:
        if self.is_macro(node.name):
            found = self.macro_value(node)
            if found is not node:
                return found
        elif node.name == "getopt":
            return self.getopt(node)
        elif node.name == "str" and node.args:
            text = self.positional_text(node.args[0])
            if text is not None:
                if len(node.args) == 1:
                    return text
                node.args[0] = text
        self.arguments(node)
        return node

    def arguments(self, node: ast.Call) -> None:
        """Replace inside of the arguments of a call; a parameter that is a type is passed on as one."""
        for i, arg in enumerate(node.args):
            if isinstance(arg, ast.TypeName):
                node.args[i] = self.type_name(arg)
            elif isinstance(arg, ast.Name) and self.frame is not None and arg.name in self.frame.names:
                found = self.copy(self.frame.names[arg.name])
                if isinstance(found, ast.TypeName) and node.name not in self.macros:
                    self.typeof_misplaced(arg.span)
                node.args[i] = found
            else:
                node.args[i] = self.visit(arg)

    # ------------------------------------------------------------ types

    def type_name(self, node: ast.TypeName) -> ast.TypeName:
        """A type with the parameters in it replaced. A lone name in typeof() can be a type and is no macro."""
        frame = self.frame
        if node.of is not None:
            if isinstance(node.of, ast.Name):
                found = frame.names.get(node.of.name) if frame is not None else None
                if isinstance(found, ast.TypeName):
                    return self.joined(found, node)
                if found is not None:
                    node.of = self.copy(found)
            else:
                node.of = self.visit(node.of)
            return node
        if frame is None:
            return node
        tag, _, name = node.base.rpartition(" ")
        found = frame.names.get(name)
        if found is None:
            return node
        word = _lone_name(found)
        if not isinstance(found, ast.TypeName) or (tag and not word):
            if tag:
                self.error(
                    node.span,
                    f"invalid replacement for macro '{frame.macro.name}' type parameter '{name}' "
                    f"which makes up the type '{node.base}'",
                    f"pass typeof(NAME) for '{name}'",
                )
            else:
                self.error(
                    node.span,
                    f"'{name}' is a value here, not a type: ({name}) in front of a value reads as a cast",
                    f"leave off the parentheses around {name}, or pass typeof(...)",
                )
            return node
        if tag:
            return ast.TypeName(node.span, f"{tag} {word}", node.suffixes)
        return self.joined(found, node)

    def joined(self, found: ast.TypeName, node: ast.TypeName) -> ast.TypeName:
        if isinstance(found.of, ast.Name) and (found.suffixes or node.suffixes):
            # typeof(x) with an unknown name: what has a suffix is a type.
            return ast.TypeName(node.span, found.of.name, [*found.suffixes, *node.suffixes])
        of = self.copy(found.of) if found.of is not None else None
        return ast.TypeName(node.span, found.base, [*found.suffixes, *node.suffixes], of)

    def sized(self, node: ast.SizeOf | ast.TypeInfo) -> ast.Expr:
        node.operand = self.operand(node.operand)
        return node

    def offset(self, node: ast.OffsetOf) -> ast.Expr:
        node.of = self.operand(node.of)
        return node

    def operand(self, node: ast.Expr | ast.TypeName) -> ast.Expr | ast.TypeName:
        """What sizeof and its kin measure: a lone name is a parameter or a type, never a macro."""
        if isinstance(node, ast.TypeName):
            return self.type_name(node)
        if isinstance(node, ast.Name):
            found = self.frame.names.get(node.name) if self.frame is not None else None
            return node if found is None else self.copy(found)
        return self.visit(node)

    # ------------------------------------------------------------ macros

    def is_macro(self, name: str) -> bool:
        if name in self.macros:
            return True
        file = _STDLIB.get(name)
        if file is not None:
            self.take_stdlib(file)
        return file is not None

    def take_stdlib(self, file: str) -> None:
        """Define the macros of a file of the standard library that the script does not define itself."""
        from .stdlib import FILES

        source = Source(file, FILES[file])
        script = parse(source, len(self.sources))
        self.sources.append(source)
        own = set(self.macros)
        for macro in script.macros:
            if macro.name not in own:
                self.define(macro)

    def define(self, macro: ast.Macro) -> None:
        seen: set[str] = set()
        for param in macro.params:
            if param in seen:
                what = {"$": "Variable", "@": "Map"}.get(param[0], "Ident")
                self.error(macro.span, f"{what} for macro argument has already been used: {param}", "use another name")
            seen.add(param)
        known = self.macros.setdefault(macro.name, [])
        kinds = [_kind(p) for p in macro.params]
        if any([_kind(p) for p in other.params] == kinds for other in known):
            self.error(
                macro.span, f"Redefinition of macro: {macro.name}", "use another name, or other kinds of parameters"
            )
        known.append(macro)

    def macro_value(self, call: ast.Call | ast.Name) -> ast.Expr:
        """A macro call as an expression; the call itself when it is a builtin's after all, or wrong."""
        found = self.expansion(call)
        if found is None:
            return call
        body, value = found
        if value is None:
            self.error(
                call.span,
                f"macro {call.name}() has no value",
                "leave off the `;` behind the last expression of the macro",
            )
            return call
        return ast.BlockExpr(call.span, body, value) if body else value

    def expansion(self, call: ast.Call | ast.Name) -> tuple[list[ast.Stmt], ast.Expr | None] | None:
        """(statements, value) of a macro call; None if no macro is meant (or after an error)."""
        args: list[ast.Expr | ast.TypeName] = call.args if isinstance(call, ast.Call) else []
        candidates = [m for m in self.macros[call.name] if len(m.params) == len(args)]
        if not candidates and _is_builtin(call.name):
            return None
        if isinstance(call, ast.Call):
            self.arguments(call)
        macro = self.choose(call, args, candidates)
        if macro is None:
            return None
        if macro in self.stack:
            chain = " > ".join(m.name for m in (*self.stack[self.stack.index(macro) :], macro))
            self.error(
                call.span, f"Recursive macro call detected. Call chain: {chain}", "macros cannot call themselves"
            )
            return None
        self.count += 1
        if self.count > MAX_EXPANSIONS or len(self.stack) >= MAX_MACROS:
            raise _TooLarge
        return self.instantiate(macro, call, args)

    def place(self, macro: ast.Macro, call: ast.Call | ast.Name) -> int:
        """The number of a source that is the macro's and knows of this call; -1 when there are enough of them."""
        if len(self.sources) > MAX_ORIGINS:
            return -1
        self.sources.append(self.sources[macro.span.source].replace(origin=call.span))
        return len(self.sources) - 1

    def instantiate(
        self, macro: ast.Macro, call: ast.Call | ast.Name, args: list[ast.Expr | ast.TypeName]
    ) -> tuple[list[ast.Stmt], ast.Expr | None]:
        frame = _Frame(macro, self.count)
        for param, arg in zip(macro.params, args):
            if param[0] == "$" and isinstance(arg, ast.Variable):
                frame.variables[param] = arg.name
            elif param[0] == "@" and isinstance(arg, ast.MapRef):
                frame.maps[param] = arg.name
            else:
                frame.names[param] = arg
        outer, self.frame = self.frame, frame
        self.stack.append(macro)
        place = self.place(macro, call)
        body = [self.copy(s, place) for s in macro.body]
        self.statements(body)
        value = self.visit(self.copy(macro.value, place)) if macro.value is not None else None
        self.stack.pop()
        self.frame = outer
        return body, value

    def choose(
        self, call: ast.Call | ast.Name, args: list[ast.Expr | ast.TypeName], candidates: list[ast.Macro]
    ) -> ast.Macro | None:
        """The definition whose parameters fit best: those that ask for a variable or a map go first."""
        fitting = [m for m in candidates if all(_fits(p, a) for p, a in zip(m.params, args))]
        if fitting:
            return max(fitting, key=lambda m: sum(p[0] in "$@" for p in m.params))
        if not candidates:
            closest = min(self.macros[call.name], key=lambda m: abs(len(m.params) - len(args)))
            self.error(
                call.span,
                f"Call to {call.name}() has arguments that do not match any definition. "
                f"The closest definition of {call.name}() has a different number of arguments. "
                f"Expected: {len(closest.params)} but got {len(args)}",
                f"it is defined as macro {call.name}({', '.join(closest.params)})",
            )
            return None
        macro = candidates[-1]
        for param, arg in zip(macro.params, args):
            if not _fits(param, arg):
                wanted = "a variable" if param[0] == "$" else "a map"
                self.error(
                    arg.span,
                    f"Mismatched arg. {macro.name}() expects {wanted} for arg {param} but got {_what(arg)}.",
                    f"it is defined as macro {macro.name}({', '.join(macro.params)})",
                )
        return None

    def copy(self, node: Any, place: int = -1) -> Any:
        """A deep copy of a tree as the parser leaves it; with `place` as the source that it stands in."""
        self.copied += 1
        self.depth += 1
        if self.copied > MAX_COPIED or self.depth > _MAX_EXPANDED:
            raise _TooLarge
        values: list[object] = []
        for field in node._fields:
            value = getattr(node, field)
            if isinstance(value, ast.Node):
                value = self.copy(value, place)
            elif type(value) is list:
                value = [self.copy(v, place) if isinstance(v, ast.Node) else v for v in value]
            elif field == "span" and place >= 0:
                value = ast.Span(value.start, value.end, place)
            values.append(value)
        self.depth -= 1
        return type(node)(*values)

    # ------------------------------------------------------------ parameters of the command line

    def positional_value(self, node: ast.Positional) -> ast.Expr:
        if node.index == 0:
            return ast.Integer(node.span, len(self.positional))
        if node.index > len(self.positional):
            return ast.Integer(node.span, 0)
        text = self.positional[node.index - 1]
        value = _integer(text)
        if value is None:
            return ast.String(node.span, text, text.encode("utf-8", "surrogateescape"))
        return ast.Integer(node.span, value, text)

    def operation(self, node: ast.Unary | ast.Binary) -> ast.Expr:
        """Arithmetic: a parameter that is no number has no place in it (folded, it would drop characters)."""
        operands = [node.operand] if isinstance(node, ast.Unary) else [node.left, node.right]
        if node.op in _ARITHMETIC and not (node.op == "+" and all(map(self.is_text, operands))):
            for operand in operands:
                x = self.positional_of(operand)
                if x is not None and self.is_text(x):
                    text = self.positional[x.index - 1]
                    why = "more than 64 bits hold" if text.isdecimal() else "no number"
                    hint = f"str(${x.index}) takes it as text"
                    self.error(operand.span, f"${x.index} is '{text[:60]}', {why}", hint)
        return self.children(node)

    def positional_of(self, node: ast.Expr) -> ast.Positional | None:
        """`$1`, or the parameter of a macro that was given it as it is."""
        if isinstance(node, ast.Positional):
            return node
        found = self.frame.names.get(node.name) if isinstance(node, ast.Name) and self.frame is not None else None
        if not isinstance(found, ast.String):
            return None
        written = self.sources[found.span.source].text[found.span.start : found.span.end]
        return ast.Positional(found.span, int(written[1:])) if written[:1] == "$" and written[1:].isdecimal() else None

    def is_text(self, node: ast.Expr) -> bool:
        """Whether it is a literal text, or a parameter that is one."""
        if isinstance(node, ast.Positional):
            return 0 < node.index <= len(self.positional) and _integer(self.positional[node.index - 1]) is None
        return isinstance(node, ast.String)

    def positional_text(self, node: ast.Expr | ast.TypeName) -> ast.String | None:
        """What str($1) and str($1 + n) stand for; None for other arguments."""
        skip = 0
        if isinstance(node, ast.Binary) and node.op == "+":
            parts = (node.left, node.right)
            param = next((p for p in parts if isinstance(p, ast.Positional) and p.index), None)
            number = next((p for p in parts if isinstance(p, ast.Integer)), None)
            if param is None:
                return None
            if number is None:
                self.error(
                    node.span,
                    "only addition of a single constant to a positional parameter is supported",
                    "write str($1 + 2)",
                )
                return None
            skip = number.value
        elif isinstance(node, ast.Positional):
            param = node
        else:
            return None
        if param.index == 0:
            return None
        text = self.positional[param.index - 1] if param.index <= len(self.positional) else ""
        data = text.encode("utf-8", "surrogateescape")
        if skip > len(data):
            self.error(
                node.span,
                f"cannot offset positional parameter past its length: it has {len(data)} bytes",
                "use a smaller number",
            )
            return None
        data = data[skip:]
        return ast.String(node.span, data.decode("utf-8", "surrogateescape"), data)

    def attach_text(self, spec: ast.AttachSpec) -> str:
        """An attach point with its `$1` replaced, outside of quotes."""
        if "$" not in spec.text:
            return spec.text
        bad: list[str] = []

        def replace(found: Match[str]) -> str:
            if found[1] is not None:
                return found[1]
            rest = found[2].lstrip("0123456789")
            number = found[2][: len(found[2]) - len(rest)]
            if not number.strip("0") or len(number) > 19:
                bad.append(found[2])
                return ""
            index = int(number)
            return (self.positional[index - 1] if index <= len(self.positional) else "") + rest

        text = _PARAM.sub(replace, spec.text)
        for digits in bad:
            if len(digits) > 19 and digits.isdecimal():
                message = (
                    f"positional parameter is not valid: overflow error, maximum value is {MAX_UINT64}: {digits[:40]}"
                )
                self.error(spec.span, message, "the first parameter is $1")
            else:
                self.error(
                    spec.span,
                    f"invalid trailing character for positional param: {digits or '$'}",
                    f'try quoting this entire part if this is intentional, as in "${digits}"',
                )
        return text

    def getopt(self, node: ast.Call) -> ast.Expr:
        """getopt("name"[, default[, description]]): the option's value as a literal of the default's type."""
        self.arguments(node)
        args = node.args
        if not 1 <= len(args) <= 3:
            self.error(
                node.span, "getopt() takes one to three arguments", 'write getopt("name", default, "description")'
            )
            return node
        if not isinstance(args[0], ast.String):
            self.error(
                args[0].span, "first argument to 'getopt' must be a string literal", 'write getopt("name", default)'
            )
            return node
        if len(args) == 3 and not isinstance(args[2], ast.String):
            self.error(args[2].span, "third argument to 'getopt' must be a string literal", "it describes the option")
            return node
        name = args[0].value
        default = _literal(args[1]) if len(args) > 1 else False
        if default is None:
            self.error(
                args[1].span,
                "second argument to 'getopt' must be a string literal, integer literal, or a boolean literal",
                "it is the value when the option is not given",
            )
            return node
        description = args[2].value if len(args) == 3 and isinstance(args[2], ast.String) else ""
        known = self.options.get(name)
        if known is not None and (known[0] != default or type(known[0]) is not type(default)):
            shown = str(known[0]).lower() if isinstance(known[0], bool) else known[0]
            self.error(
                node.span,
                f"Command line option '{name}' needs to have the same default value in all places it is used. "
                f"Previous default value: {shown}",
                "wrap it in a macro",
            )
        elif known is not None and description and known[1] not in ("", description):
            self.error(
                node.span,
                f"Command line option '{name}' must have the same description in all places it's used",
                "wrap it in a macro",
            )
        self.options[name] = (default, description or (known[1] if known else ""))
        return self.option_value(node.span, name, default)

    def option_value(self, span: Span, name: str, default: object) -> ast.Expr:
        given = self.named.get(name) if name in self.named else default
        if isinstance(default, bool):
            value = True if given is None else given if isinstance(given, bool) else _BOOLEANS.get(str(given).lower())
            if value is None:
                self.option_error(name, "boolean", given)
            return ast.Boolean(span, bool(value))
        if isinstance(default, int):
            number = given if isinstance(given, int) else _integer(str(given or ""))
            if number is None or (number < 0 <= default):
                self.option_error(name, "integer", given)
                number = 0
            return ast.Integer(span, number, str(number), "", UINT64 if default >= 0 else INT64)
        text = str(given) if given is not None else ""
        return ast.String(span, text, text.encode("utf-8", "surrogateescape"))

    def option_error(self, name: str, what: str, given: object) -> None:
        shown = "true" if given is None else given
        message = f"program command line option --{name} invalid {what} (value: {shown})"
        if all(e.message != message for e in self.errors):
            self.errors.append(Diagnostic("error", message, hint=f"write --{name}=VALUE"))

    def check_options(self) -> None:
        unknown = [name for name in self.named if name not in self.options]
        if not unknown:
            return
        if any(text for _, text in self.options.values()):
            lines = [f"--{name}: {text}" if text else f"--{name}" for name, (_, text) in self.options.items()]
            hint = "expected program options:\n" + "\n".join(lines)
        elif self.options:
            hint = "expected program options: " + ", ".join(f"--{name}" for name in self.options)
        else:
            hint = "the script takes no options"
        message = "unexpected program command line options: " + ", ".join(f"--{name}" for name in unknown)
        self.errors.append(Diagnostic("error", message, hint=hint))


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _lone_name(t: ast.Expr | ast.TypeName) -> str:
    """The one word that a type argument consists of, or nothing."""
    if not isinstance(t, ast.TypeName) or t.suffixes or " " in t.base:
        return ""
    return t.of.name if isinstance(t.of, ast.Name) else t.base


def _kind(param: str) -> str:
    return param[0] if param[0] in "$@" else ""


def _fits(param: str, arg: ast.Expr | ast.TypeName) -> bool:
    if param[0] == "$":
        return isinstance(arg, ast.Variable)
    return param[0] != "@" or (isinstance(arg, ast.MapRef) and arg.key is None)


def _what(arg: ast.Expr | ast.TypeName) -> str:
    if isinstance(arg, ast.Variable):
        return "a variable"
    if isinstance(arg, ast.MapRef) and arg.key is None:
        return "a map"
    return "a type" if isinstance(arg, ast.TypeName) else "an expression"


def _is_builtin(name: str) -> bool:
    from .builtins import TABLE

    return name in TABLE


def _integer(text: str) -> int | None:
    """A number as it can be written in a script, with a sign; None for other text."""
    negative = text.startswith("-")
    try:
        value, _ = parse_integer(text[negative:])
    except ValueError:
        return None
    if negative:
        return -value if value <= 1 << 63 else None
    return value


def _literal(node: ast.Expr | ast.TypeName) -> int | str | bool | None:
    if isinstance(node, ast.Unary) and node.op == "-" and isinstance(node.operand, ast.Integer):
        return -node.operand.value
    return node.value if isinstance(node, ast.Integer | ast.String | ast.Boolean) else None


_HANDLERS: dict[type, Callable[[_Expander, Any], ast.Expr]] = {
    ast.Variable: _Expander.variable,
    ast.MapRef: _Expander.map_ref,
    ast.Name: _Expander.name,
    ast.Call: _Expander.call,
    ast.SizeOf: _Expander.sized,
    ast.TypeInfo: _Expander.sized,
    ast.OffsetOf: _Expander.offset,
    ast.Positional: _Expander.positional_value,
    ast.Unary: _Expander.operation,
    ast.Binary: _Expander.operation,
}
