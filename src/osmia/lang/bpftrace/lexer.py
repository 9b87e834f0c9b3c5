"""Tokens of the bpftrace language, literals, and places in a source text.

A script is lexed region by region (a predicate with its block, a config block, ...), because between regions the
language has other rules: attach points are raw text in which `/`, `"` and `#` mean something else.
The scanner is written by hand: importing `re` and compiling one expression for all tokens costs 7 ms of CPU, more than
scanning 100 kB of script does.
"""

from __future__ import annotations

from ...errors import Diagnostic
from .checked import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern

    # (kind, text, start, end). The kind of an operator is its text; the others are
    # id, int, str, var ($x), map (@x), pos ($1, $#), eof, and bad (text tells what is wrong).
    Token = tuple[str, str, int, int]

_BLANKS = frozenset(" \t\r\n\f\v")
_DIGITS = frozenset("0123456789")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_WORD = _LETTERS | _DIGITS
_OPERATORS = frozenset(
    (
        *("<<=", ">>=", "->", "++", "--", "&&", "||", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "&="),
        *("|=", "^=", "<<", ">>", "..", *"-+*/%&|^!~<>=?:;,.(){}[]"),
    )
)
_ATTACH_STOPS = _BLANKS | frozenset("{,")
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
_OCTAL = frozenset("01234567")
_SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
MAX_UINT64 = (1 << 64) - 1


class _LatePattern:
    """A regular expression that is compiled, and `re` imported, when it is first used."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __getattr__(self, name: str) -> object:
        from re import compile

        pattern = compile(self._pattern)
        for method in ("finditer", "match", "search", "sub"):
            setattr(self, method, getattr(pattern, method))
        return getattr(pattern, name)


def compile_pattern(pattern: str) -> Pattern[str]:
    """A regular expression for what few scripts contain: it costs nothing until it is used."""
    return _LatePattern(pattern)  # type: ignore[return-value]


_SKIP_C = compile_pattern(
    r"""(?s)(?:/\*.*?(?:\*/|\Z)|//[^\n]*+|"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?|[^;{}"'/]++|/)*+"""
)


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
    size = len(text)
    while pos < size:
        char = text[pos]
        if char in _BLANKS:
            pos += 1
        elif char != "/":
            return pos
        elif text.startswith("//", pos):
            pos = text.find("\n", pos)
            if pos < 0:
                return size
        else:
            end = text.find("*/", pos + 2) if text.startswith("/*", pos) else -1
            if end < 0:
                return pos
            pos = end + 2
    return size


def word_at(text: str, pos: int) -> str:
    """The name that starts at `pos`, or ""."""
    if text[pos : pos + 1] not in _LETTERS:
        return ""
    return text[pos : _word_end(text, pos)]


def _word_end(text: str, pos: int) -> int:
    size = len(text)
    while pos < size and text[pos] in _WORD:
        pos += 1
    return pos


def _digits_end(text: str, pos: int, digits: frozenset[str] = _DIGITS) -> int:
    size = len(text)
    while pos < size and text[pos] in digits:
        pos += 1
    return pos


def _string_end(text: str, pos: int) -> tuple[int, bool]:
    """Where the literal ends whose opening quote is at `pos`, and whether it has a closing one on the same line."""
    size = len(text)
    pos += 1
    while pos < size:
        char = text[pos]
        if char == '"':
            return pos + 1, True
        if char == "\n":
            break
        if char == "\\":
            if pos + 1 >= size or text[pos + 1] == "\n":
                break
            pos += 1
        pos += 1
    return pos, False


def _token(text: str, pos: int) -> Token:
    """The token behind the blanks at `pos`."""
    start = skip_blank(text, pos)
    char = text[start : start + 1]
    if char in _LETTERS:
        kind, end = "id", _word_end(text, start)
    elif char in _DIGITS:
        kind, end = "int", _word_end(text, start)
    elif char == '"':
        end, closed = _string_end(text, start)
        kind = "str" if closed else "bad"
    elif char == "@":
        kind, end = "map", start + 1 + len(word_at(text, start + 1))
    elif char == "$":
        kind, end = _dollar(text, start)
    elif not char:
        kind, end = "eof", start
    elif text.startswith("/*", start):
        kind, end = "bad", start + 2  # a comment without end: others are blank
    else:
        end = start + 3
        while end > start and text[start:end] not in _OPERATORS:
            end -= 1
        if end == start:
            kind, end = "bad", start + 1
        else:
            kind = text[start:end]
            end = start + len(kind)
    return kind, text[start:end], start, end


def _dollar(text: str, start: int) -> tuple[str, int]:
    """Kind and end of what begins with `$`."""
    following = text[start + 1 : start + 2]
    if following in _LETTERS:
        return "var", _word_end(text, start + 1)
    if following in _DIGITS:
        return "pos", _digits_end(text, start + 1)
    return ("pos", start + 2) if following == "#" else ("bad", start + 1)


def lex_region(text: str, pos: int, *, predicate: bool = False, stop: str = "}") -> list[Token]:
    """Tokens from `pos` to the end of a region, with an `eof` token behind the last one.

    A region ends with the brace that closes its outermost block, or with `;` outside braces when `stop` is `;`.
    With `predicate` the outermost block is the one behind the closing `/`: blocks inside the predicate do not count.
    """
    out: list[Token] = []
    depth = 0
    last = ""
    while True:
        token = _token(text, pos)
        kind, _value, _start, pos = token
        out.append(token)
        if kind == "eof":
            return out
        if kind == "{":
            depth += 1
            if predicate and last == "/" and len(out) > 2:
                predicate = False
        elif kind == "}":
            depth -= 1
            if depth <= 0 and (not predicate or not _goes_on(text, pos)):
                break
        elif kind == ";" and stop == ";" and depth == 0:
            break
        last = kind
    out.append(("eof", "", pos, pos))
    return out


def _goes_on(text: str, pos: int) -> bool:
    """Whether an expression can go on behind a block: it was part of the predicate, not a body without its `/`."""
    pos = skip_blank(text, pos)
    return text[pos : pos + 1] in tuple("/=!<>+-*%&|^?:),.[")


def lex_all(text: str, pos: int = 0) -> list[Token]:
    """Tokens of the whole text, `eof` last."""
    out = [_token(text, pos)]
    while out[-1][0] != "eof":
        out.append(_token(text, out[-1][3]))
    return out


def attach_end(text: str, pos: int, slash_ends: bool) -> int:
    """The end of the attach point that starts at `pos`.

    It runs to a blank, `{` or `,` outside quotes; to `/` as well while no `:` was seen, or with `slash_ends`
    always: paths only occur behind the provider's name.
    """
    start, size = pos, len(text)
    colon = False
    while pos < size:
        char = text[pos]
        if char == '"':
            end = _quoted_end(text, pos)
            colon = colon or ":" in text[pos:end]
            pos = end
            continue
        if char in _ATTACH_STOPS or (char == "/" and pos > start and (slash_ends or not colon)):
            break
        colon = colon or char == ":"
        pos += 1
    return pos


def _quoted_end(text: str, pos: int) -> int:
    """Behind the closing quote of the part of an attach point that is opened at `pos`; it may span lines."""
    size = len(text)
    pos += 1
    while pos < size:
        char = text[pos]
        if char == '"':
            return pos + 1
        if char == "\\":
            if pos + 1 == size:
                break
            pos += 1
        pos += 1
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
    if text[:1] not in _DIGITS:
        raise ValueError(f"invalid integer: {_short(text)}", 0, len(text))
    end = _number_end(text)
    digits, suffix = text[:end], text[end:]
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


def _number_end(text: str) -> int:
    """Where the digits end and a suffix may begin: 0x.., NeM or N."""
    if text.startswith(("0x", "0X")):
        return _digits_end(text, 2, _HEX_DIGITS | {"_"})
    decimal = _DIGITS | {"_"}
    end = _digits_end(text, 0, decimal)
    return _digits_end(text, end + 1, decimal) if text[end : end + 1] in ("e", "E") else end


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
    while 0 <= (at := inner.find("\\", pos)) < len(inner) - 1:
        literal = inner[pos:at]
        code, pos = _escape(inner, at)
        value += literal, chr(code)
        data += _utf8(literal), bytes((code,))
    value.append(inner[pos:])
    data.append(_utf8(inner[pos:]))
    return "".join(value), b"".join(data)


def _escape(inner: str, at: int) -> tuple[int, int]:
    """(byte, end) of the escape sequence at `at`; positions in errors count the opening quote."""
    char = inner[at + 1]
    if char in _OCTAL:
        end = min(_digits_end(inner, at + 1, _OCTAL), at + 4)
        code = int(inner[at + 1 : end], 8)
        if code > 255:
            raise ValueError(f"octal escape sequence out of range '{inner[at:end]}'", at + 1, end + 1)
        return code, end
    if char in ("x", "X"):
        end = min(_digits_end(inner, at + 2, _HEX_DIGITS), at + 4)
        if end == at + 2:
            raise ValueError("invalid hex escape sequence", at + 1, end + 1)
        return int(inner[at + 2 : end], 16), end
    if char not in _SIMPLE_ESCAPES:
        raise ValueError(f"invalid escape character '\\{char}'", at + 1, at + 3)
    return ord(_SIMPLE_ESCAPES[char]), at + 2


def _utf8(text: str) -> bytes:
    # Files are read with surrogateescape, so bytes that are not UTF-8 come back as they were; a surrogate from
    # elsewhere (a Python string) has no bytes of its own.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
