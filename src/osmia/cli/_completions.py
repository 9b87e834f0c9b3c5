"""`osmia completions`: what a shell offers after `osmia`."""

from __future__ import annotations

import sys

from ..errors import UsageError
from . import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._options import Option

SHELLS = ("bash", "zsh", "fish")


def run(argv: Sequence[str]) -> int:
    if len(argv) != 1 or argv[0] in ("-h", "--help"):
        text = f"usage: osmia completions {'|'.join(SHELLS)}\n"
        if argv and argv[0] in ("-h", "--help"):
            sys.stdout.write(text)
            return 0
        raise UsageError("completions: for which shell?", hint=f"one of {', '.join(SHELLS)}")
    make = {"bash": bash, "zsh": zsh, "fish": fish}.get(argv[0])
    if make is None:
        raise UsageError(f"completions: no shell {argv[0]!r}", hint=f"one of {', '.join(SHELLS)}")
    sys.stdout.write(make())
    return 0


def tables() -> dict[str, tuple[Option, ...]]:
    """Options by command."""
    found = {}
    for command, (module, _what) in COMMANDS.items():
        page = __import__(f"osmia.cli.{module}", fromlist=["OPTIONS"])
        found[command] = tuple(o for o in getattr(page, "OPTIONS", ()) if not o.hidden)
    return found


def bash() -> str:
    cases = []
    for command, options in tables().items():
        words = " ".join(name for option in options for name in option.names)
        cases.append(f"    {command}) words='{words}' ;;")
    body = "\n".join(cases)
    return f"""# osmia completions bash > /etc/bash_completion.d/osmia
_osmia() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} words=
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W '{" ".join(COMMANDS)} --help --version' -- "$word"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{body}
    *) ;;
  esac
  case $word in
    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}}
complete -o filenames -F _osmia osmia
"""


def zsh() -> str:
    commands = "\n".join(f"    '{name}:{_plain(what)}'" for name, (_module, what) in COMMANDS.items())
    cases = []
    for command, options in tables().items():
        rows = []
        for option in options:
            for name in option.names:
                value = f":{option.value.lower()}:({' '.join(option.choices)})" if option.choices else ""
                value = value or (f":{option.value.lower()}:_files" if option.value else "")
                rows.append(f"'{name}[{_plain(option.help)}]{value}'")
        cases.append(f"    {command}) _arguments {' '.join(rows)} '*:file:_files' ;;")
    return f"""#compdef osmia
# osmia completions zsh > "${{fpath[1]}}/_osmia"
_osmia() {{
  local -a commands=(
{commands}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{chr(10).join(cases)}
  esac
}}
compdef _osmia osmia
"""


def fish() -> str:
    lines = ["# osmia completions fish > ~/.config/fish/completions/osmia.fish"]
    for name, (_module, what) in COMMANDS.items():
        lines.append(f"complete -c osmia -n __fish_use_subcommand -f -a {name} -d '{_plain(what)}'")
    for command, options in tables().items():
        for option in options:
            names = " ".join(f"-s {n[1:]}" if len(n) == 2 else f"-l {n[2:]}" for n in option.names)
            value = f" -x -a '{' '.join(option.choices)}'" if option.choices else " -r" if option.value else ""
            seen = f"'__fish_seen_subcommand_from {command}'"
            lines.append(f"complete -c osmia -n {seen} {names}{value} -d '{_plain(option.help)}'")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Without what shells would read in quoted text."""
    return "".join(" " if c in "'[]:" else c for c in text)
