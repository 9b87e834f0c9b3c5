"""Names and numbers of helpers, program, map, attach and link types, and bpf(2) commands.

The tables are generated from kernel BTF (scripts/gen_tables.py) and imported when first asked for.
"""

from __future__ import annotations

from importlib import import_module

_MODULES = {
    "HELPERS": "helpers",
    "PROG_TYPES": "prog_types",
    "MAP_TYPES": "map_types",
    "ATTACH_TYPES": "attach_types",
    "LINK_TYPES": "link_types",
    "COMMANDS": "commands",
}
_reversed: dict[str, dict[int, str]] = {}


def table(name: str) -> dict[str, int]:
    """The table `HELPERS`, `PROG_TYPES`, ...: lower-case name without its prefix -> number."""
    found: dict[str, int] = import_module(f"{__package__}._gen.{_MODULES[name]}").TABLE
    return found


def _name(table_name: str, number: int) -> str | None:
    names = _reversed.get(table_name)
    if names is None:
        names = _reversed[table_name] = {}
        for name, value in table(table_name).items():
            # Of two names for one number the later is the one in use, but not "..._deprecated".
            if value not in names or not name.endswith("_deprecated"):
                names[value] = name
    return names.get(number)


def helper_name(number: int) -> str | None:
    """`map_lookup_elem` for 1; None for a number that this table does not know."""
    return _name("HELPERS", number)


def prog_type_name(number: int) -> str | None:
    """`kprobe` for 2, None if unknown."""
    return _name("PROG_TYPES", number)


def map_type_name(number: int) -> str | None:
    """`hash` for 1, None if unknown."""
    return _name("MAP_TYPES", number)


def attach_type_name(number: int) -> str | None:
    """`trace_fentry` for 24, None if unknown."""
    return _name("ATTACH_TYPES", number)


def link_type_name(number: int) -> str | None:
    """`tracing` for 2, None if unknown."""
    return _name("LINK_TYPES", number)


def command_name(number: int) -> str | None:
    """`map_create` for 0, None if unknown."""
    return _name("COMMANDS", number)
