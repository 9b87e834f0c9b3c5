"""Tokens of the bpftrace language, literals, and places in a source text.

One compiled expression does the scanning; blanks and comments are skipped as the prefix of each match. A script is
lexed region by region (a predicate with its block, a config block, ...), because between regions the language has
other rules: attach points are raw text in which `/`, `"` and `#` mean something else.
"""

from __future__ import annotations

import re

from ...errors import Diagnostic
from .checked import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern

    # (kind, text, start, end). The kind of an operator is its text; the others are
    # id, int, str, var ($x), map (@x), pos ($1, $#), eof, and bad (text tells what is wrong).
    Token = tuple[str, str, int, int]

_BLANK = r"(?:[ \t\r\n\f\v]++|//[^\n]*+|/\*[^*]*+(?:\*(?!/)[^*]*+)*+\*/)*+"
_KINDS = ("", "id", "int", "str", "var", "map", "pos", "bad", "op", "bad", "eof")
_TOKEN = re.compile(
    _BLANK
    + r"""(?:
    ([A-Za-z_][A-Za-z0-9_]*+)
  | ([0-9][0-9A-Za-z_]*+)
  | ("(?:[^"\\\n]++|\\[^\n])*+")
  | (\$[A-Za-z_][A-Za-z0-9_]*+)
  | (@(?:[A-Za-z_][A-Za-z0-9_]*+)?)
  | (\$(?:[0-9]++|\#))
  | (/\*|"(?:[^"\\\n]++|\\[^\n])*+)
  | (<<=|>>=|->|\+\+|--|&&|\|\||[=!<>+\-*/%&|^]=|<<|>>|\.\.|[-+*/%&|^!~<>=?:;,.(){}\[\]])
  | (.)
  | (\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_SKIP = re.compile(_BLANK)
_SKIP_C = re.compile(
    r"""(?:/\*.*?(?:\*/|\Z)|//[^\n]*+|"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?|[^;{}"'/]++|/)*+""", re.DOTALL
)
_ATTACH = re.compile(r"""(?:[^ \t\r\n\f\v{,"/]++|"(?:[^"\\]++|\\.)*+"?|(/))""", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F_]*+|[0-9][0-9_]*+(?:[eE][0-9_]*+)?)(.*)", re.DOTALL)
_INT_SUFFIXES = frozenset(("", "u", "l", "ul", "ll", "ull"))
_DURATIONS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
MAX_UINT64 = (1 << 64) - 1


def diagnostic(
    source: Source, start: int, end: int, message: str, hint: str = "", severity: str = "error"
) -> Diagnostic:
    """A finding about the characters [start, end) of `source`."""
    start = min(max(start, 0), len(source.text))
    end = min(max(end, start), len(source.text))
    line, col = source.place(start)
    end_line, end_col = source.place(end)
    return Diagnostic(severity, message, source.name, line, col, end_line, end_col, source.line(line), hint)


def skip_blank(text: str, pos: int) -> int:
    """The first position from `pos` on that is neither blank nor comment."""
    found = _SKIP.match(text, pos)
    return found.end() if found else pos


def lex_region(text: str, pos: int, *, predicate: bool = False, stop: str = "}") -> list[Token]:
    """Tokens from `pos` to the end of a region, with an `eof` token behind the last one.

    A region ends with the brace that closes its outermost block, or with `;` outside braces when `stop` is `;`.
    With `predicate` the outermost block is the one behind the closing `/`: blocks inside the predicate do not count.
    """
    out: list[Token] = []
    add = out.append
    depth = 0
    last = ""
    for found in _TOKEN.finditer(text, pos):
        index: int = found.lastindex  # type: ignore[assignment]
        value = found[index]
        kind = _KINDS[index]
        if index == 8:
            kind = value
            if value == "{":
                depth += 1
                if predicate and last == "/" and len(out) > 1:
                    predicate = False
            elif value == "}":
                depth -= 1
                start, end = found.span(index)
                if depth <= 0 and (not predicate or not _goes_on(text, end)):
                    add((kind, value, start, end))
                    add(("eof", "", end, end))
                    return out
            elif value == ";" and stop == ";" and depth == 0:
                start, end = found.span(index)
                add((kind, value, start, end))
                add(("eof", "", end, end))
                return out
            last = value
        else:
            last = ""
        start, end = found.span(index)
        add((kind, value, start, end))
        if index == 10:
            break
    return out


def _goes_on(text: str, pos: int) -> bool:
    """Whether an expression can go on behind a block: it was part of the predicate, not a body without its `/`."""
    pos = skip_blank(text, pos)
    return text[pos : pos + 1] in tuple("/=!<>+-*%&|^?:),.[")


def lex_all(text: str, pos: int = 0) -> list[Token]:
    """Tokens of the whole text, `eof` last."""
    out: list[Token] = []
    for found in _TOKEN.finditer(text, pos):
        index: int = found.lastindex  # type: ignore[assignment]
        value = found[index]
        start, end = found.span(index)
        out.append((value if index == 8 else _KINDS[index], value, start, end))
        if index == 10:
            break
    return out


def attach_end(text: str, pos: int, slash_ends: bool) -> int:
    """The end of the attach point that starts at `pos`.

    It runs to a blank, `{` or `,` outside quotes; to `/` as well while no `:` was seen, or with `slash_ends`
    always: paths only occur behind the provider's name.
    """
    start = pos
    colon = False
    while (found := _ATTACH.match(text, pos)) is not None:
        if found[1] is not None and pos > start and (slash_ends or not colon):
            break
        colon = colon or ":" in found[0]
        pos = found.end()
    return pos


def c_chunk_end(text: str, pos: int) -> int:
    """The position of the next `;`, `{` or `}` outside comments and literals of C text (or the end of the text)."""
    found = _SKIP_C.match(text, pos)
    return found.end() if found else len(text)


def bad_token(text: str) -> tuple[str, str]:
    """Message and hint for a token of kind `bad`."""
    if text == "/*":
        return "unterminated comment", "close it with */"
    if text[0] == '"':
        return "unterminated string", 'close it with " on the same line'
    if text == "$":
        return "expected identifier after '$'", "variables are written $name, positional parameters $1"
    if text == "'":
        return (
            "character literals are not supported",
            'write a string in double quotes, or the code of the character: 65 for "A"',
        )
    if text == "#":
        return "unexpected '#' here", "preprocessor lines must come before the config block and the probes"
    return f"unexpected character {text!r}", ""


def parse_integer(text: str) -> tuple[int, str]:
    """(value, suffix in lower case) of an integer literal; durations are nanoseconds with an empty suffix.

    Raises ValueError(message, first, last): what is wrong with the characters [first, last) of `text`.
    """
    if text.isdecimal() and (text[0] != "0" or text == "0"):
        value = int(text) if len(text) < 25 else MAX_UINT64 + 1
        if value > MAX_UINT64:
            raise ValueError(f"overflow error, maximum value is {MAX_UINT64}: {_short(text)}", 0, len(text))
        return value, ""
    found = _NUMBER.match(text)
    if found is None:
        raise ValueError(f"invalid integer: {_short(text)}", 0, len(text))
    digits, suffix = found[1], found[2]
    if digits[-1] == "_":
        raise ValueError("trailing underscore in integer literal", len(digits) - 1, len(digits))
    value = _digits_value(digits, text)
    lower = suffix.lower()
    if suffix in _DURATIONS:
        value *= _DURATIONS[suffix]
        lower = ""
    elif lower not in _INT_SUFFIXES:
        good = max((s for s in (*_INT_SUFFIXES, *_DURATIONS) if lower.startswith(s)), key=len)
        raise ValueError(f"invalid integer suffix '{suffix[len(good) :]}'", len(digits) + len(good), len(text))
    if value > MAX_UINT64:
        raise ValueError(f"overflow error, maximum value is {MAX_UINT64}: {_short(text)}", 0, len(text))
    return value, lower


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _digits_value(digits: str, text: str) -> int:
    """The value of the part before the suffix: 0x.., 0.. (octal), NeM or decimal."""
    plain = digits.replace("_", "").lower()
    # int() of very long decimal text is slow, and refused by Python from 4300 digits on.
    if len(plain) > 80:
        raise ValueError(f"overflow error, maximum value is {MAX_UINT64}: {_short(text)}", 0, len(text))
    if plain.startswith("0x"):
        if len(plain) == 2:
            raise ValueError(f"invalid integer: {text}", 0, len(text))
        return int(plain[2:], 16)
    mantissa, e, exponent = plain.partition("e")
    if e:
        if not exponent:
            raise ValueError(f"invalid trailing bytes: {digits}", 0, len(digits))
        if not 1 <= int(mantissa) <= 9:
            raise ValueError(f"coefficient part of scientific literal must be 1-9: {text}", 0, len(text))
        power: int = 10 ** min(int(exponent), 30)
        return int(mantissa) * power
    if plain[0] == "0" and len(plain) > 1:
        for at, digit in enumerate(plain):
            if digit > "7":
                raise ValueError(f"invalid digit '{digit}' in an octal literal: {text}", at, at + 1)
        return int(plain, 8)
    return int(plain)


def parse_string(text: str) -> tuple[str, bytes]:
    """(value, bytes) of a string literal with its quotes.

    Raises ValueError(message, first, last): what is wrong with the characters [first, last) of `text`.
    """
    inner = text[1:-1]
    if "\\" not in inner:
        return inner, _utf8(inner)
    value: list[str] = []
    data: list[bytes] = []
    pos = 0
    for found in _ESCAPE.finditer(inner):
        literal = inner[pos : found.start()]
        octal, hexadecimal, other = found.groups()
        first, last = found.start() + 1, found.end() + 1
        if octal:
            code = int(octal, 8)
            if code > 255:
                raise ValueError(f"octal escape sequence out of range '\\{octal}'", first, last)
        elif hexadecimal:
            code = int(hexadecimal, 16)
        elif other in _SIMPLE_ESCAPES:
            code = ord(_SIMPLE_ESCAPES[other])
        elif other in "xX":
            raise ValueError("invalid hex escape sequence", first, last)
        else:
            raise ValueError(f"invalid escape character '\\{other}'", first, last)
        value += literal, chr(code)
        data += _utf8(literal), bytes((code,))
        pos = found.end()
    value.append(inner[pos:])
    data.append(_utf8(inner[pos:]))
    return "".join(value), b"".join(data)


def _utf8(text: str) -> bytes:
    # Files are read with surrogateescape, so bytes that are not UTF-8 come back as they were; a surrogate from
    # elsewhere (a Python string) has no bytes of its own.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def compile_pattern(pattern: str) -> Pattern[str]:
    """Compile a regular expression for the sibling modules: this one alone imports `re`."""
    return re.compile(pattern)
