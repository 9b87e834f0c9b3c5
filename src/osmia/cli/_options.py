"""Command lines from tables: long and short options, clusters, attached values, `--`. argparse would cost 11 ms."""

from __future__ import annotations

from .._data import Data
from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Option(Data):
    """`names` are all spellings, with dashes. `value` names its argument, "" for a switch.

    A switch counts how often it was given; an option with `many` collects a list; others keep the last value.
    `choices` are the allowed values. A `hidden` one is accepted, but not shown. One with `once` may be given once.
    """

    names: tuple[str, ...]
    help: str = ""
    value: str = ""
    choices: tuple[str, ...] = ()
    many: bool = False
    hidden: bool = False
    once: bool = False

    @property
    def key(self) -> str:
        return max(self.names, key=len).lstrip("-").replace("-", "_")


class Parsed:
    """What a command line said: option values by key, positional arguments in order."""

    def __init__(self, options: Sequence[Option]) -> None:
        self._values: dict[str, str | int | list[str]] = {}
        for option in options:
            if option.many:
                self._values[option.key] = []
            elif not option.value:
                self._values[option.key] = 0
        self.arguments: list[str] = []

    def has(self, key: str) -> bool:
        """Whether the switch or option was given."""
        return bool(self._values.get(key))

    def given(self, key: str) -> bool:
        """Whether the option was given, even with an empty value."""
        return key in self._values

    def count(self, key: str) -> int:
        value = self._values.get(key, 0)
        return value if isinstance(value, int) else 0

    def text(self, key: str, default: str = "") -> str:
        value = self._values.get(key, default)
        return value if isinstance(value, str) else default

    def texts(self, key: str) -> list[str]:
        value = self._values.get(key)
        return value if isinstance(value, list) else []

    def directories(self, key: str) -> tuple[str, ...]:
        """Directories given with an option that may be repeated; one may name several, with colons between."""
        return tuple(directory for text in self.texts(key) for directory in text.split(":") if directory)

    def seconds(self, key: str) -> float | None:
        """A time, or None if the option was not given; raises `UsageError`."""
        if not self.given(key):
            return None
        text = self.text(key)
        try:
            number = float(text)
        except ValueError:
            number = -1
        if not 0 <= number < float("inf"):
            hint = "give a number such as 1 or 0.5"
            raise UsageError(f"read option --{key.replace('_', '-')}: {text!r} is no number of seconds", hint=hint)
        return number

    def _take(self, option: Option, text: str) -> None:
        if option.choices and text not in option.choices:
            hint = nearest(text, option.choices) or f"one of {', '.join(option.choices)}"
            raise UsageError(f"read option {option.names[0]}: no {option.value.lower()} {text!r}", hint=hint)
        values = self._values.get(option.key)
        if isinstance(values, list):
            values.append(text)
        elif option.once and values is not None:
            hint = f"put both into one {option.value.lower()}"
            raise UsageError(f"read option {option.names[0]}: it is given twice", hint=hint)
        else:
            self._values[option.key] = text

    def _switch(self, option: Option) -> None:
        self._values[option.key] = self.count(option.key) + 1


def parse(
    argv: Sequence[str],
    options: Sequence[Option],
    *,
    stop_at_first: bool = False,
    abbreviations: bool = False,
    for_script: bool = False,
) -> Parsed:
    """Options may stand anywhere before `--`; with `stop_at_first`, only before the first positional argument.

    `abbreviations` lets the start of a long name stand for it. With `for_script`, long options that are none of these
    are arguments too, once there is one: they are the script's.
    """
    found = Parsed(options)
    by_name = {name: option for option in options for name in option.names}
    at = 0
    while at < len(argv):
        word = argv[at]
        at += 1
        if word == "--":
            found.arguments += argv[at:]
            break
        if word.startswith("--"):
            name, equals, text = word.partition("=")
            if abbreviations:
                name = _unabbreviated(name, by_name)
            if for_script and found.arguments and name not in by_name:
                found.arguments.append(word)
                continue
            option = _known(name, word, by_name, found if for_script else None)
            if not option.value:
                if equals:
                    raise UsageError(f"read option {name}: it takes no value")
                found._switch(option)
                continue
            if not equals:
                text, at = _argument(argv, at, name)
            found._take(option, text)
        elif len(word) > 1 and word[0] == "-":
            at = _cluster(word, argv, at, by_name, found, for_script)
        else:
            found.arguments.append(word)
            if stop_at_first:
                found.arguments += argv[at:]
                break
    return found


def _cluster(
    word: str, argv: Sequence[str], at: int, by_name: dict[str, Option], found: Parsed, for_script: bool
) -> int:
    """`-lv`, `-p123`, `-e SCRIPT`: switches, then at most one option with a value."""
    for i, letter in enumerate(word[1:], 2):
        option = _known("-" + letter, word, by_name, found if for_script else None)
        if not option.value:
            found._switch(option)
            continue
        text = word[i:]
        if not text:
            text, at = _argument(argv, at, "-" + letter)
        found._take(option, text)
        break
    return at


def _argument(argv: Sequence[str], at: int, name: str) -> tuple[str, int]:
    if at >= len(argv):
        raise UsageError(f"read option {name}: it needs a value")
    return argv[at], at + 1


def _unabbreviated(name: str, by_name: dict[str, Option]) -> str:
    """The only option that starts with `name`; else `name` itself."""
    if name in by_name:
        return name
    matches = {by_name[n].key: n for n in by_name if n.startswith(name) and not by_name[n].hidden}
    return next(iter(matches.values())) if len(matches) == 1 else name


def _known(name: str, word: str, by_name: dict[str, Option], before: Parsed | None) -> Option:
    """The option called `name`; `before` is what stood before `word`, if that may be meant for a script."""
    option = by_name.get(name)
    if option is None:
        number = word[1:2].isdigit()
        error = unknown_option(word if number else name, by_name)
        if before and name in ("-l", "--list"):
            error.hint = "to list probes: osmia list PATTERN"
        if before and (number or before.arguments or before.has("execute")):
            error.hint = f"{error.hint} " if error.hint else ""
            error.hint += f"what is meant for the script goes after --: -- {word}"
        error.hint = error.hint or "see --help"
        raise error
    return option


def unknown_option(name: str, names: Iterable[str]) -> UsageError:
    """With a hint if there is one of that start, or a similar one."""
    longer = [n for n in names if n.startswith(name)] if len(name) > 2 else []
    hint = f"did you mean {longer[0]}?" if len(longer) == 1 else nearest(name, names)
    return UsageError(f"read option {name}: there is no such option", hint=hint)


def nearest(word: str, words: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, list(words), 1, 0.6)
    return f"did you mean {close[0]}?" if close else ""


def help_lines(options: Sequence[Option]) -> str:
    """One line (or two) an option, aligned."""
    lines = []
    for option in options:
        if option.hidden:
            continue
        left = ", ".join(option.names) + (f" {option.value}" if option.value else "")
        if option.choices:
            more = f"{option.help} ({', '.join(option.choices)})"
        else:
            more = option.help
        lines.append(f"  {left:<26} {more}" if len(left) <= 26 else f"  {left}\n{'':<29}{more}")
    return "\n".join(lines)
