"""Config variables: the script's config block and BPFTRACE_* of the environment to one `Config`."""

from __future__ import annotations

from ...errors import Diagnostic, SourceError
from . import ast
from .checked import Config, Source
from .lexer import diagnostic, parse_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Value = int | str | bool

_PREFIX = "bpftrace_"
_RENAMED = {
    "strlen": "max_strlen",
    "no_cpp_demangle": "cpp_demangle",
    "cat_bytes_max": "max_cat_bytes",
    "map_keys_max": "max_map_keys",
}
_ENVIRONMENT_ONLY = frozenset(("btf", "kernel_build", "kernel_source", "vmlinux", "color", "cache", "log_level"))
# Accepted and without effect here: one symbolizer, and no DWARF unwinding that would have to be switched on.
_IGNORED = frozenset(
    (
        "use_blazesym",
        "unstable_typeinfo",
        "unstable_dw_ustack",
        "unstable_map_decl",
        "unstable_import",
        "unstable_macro",
    )
)
_LICENSES = ("Dual MIT/GPL", "Dual BSD/GPL", "Dual MPL/GPL", "GPL and additional rights", "GPL v2", "GPL")
_CHOICES = {
    "cache_user_symbols": {"per_pid": "PER_PID", "1": "PER_PID", "per_program": "PER_PROGRAM", "none": "NONE",
                           "0": "NONE"},
    "missing_probes": {"error": "error", "warn": "warn", "ignore": "ignore"},
    "stack_mode": {"bpftrace": "bpftrace", "perf": "perf", "raw": "raw", "build_id": "build_id"},
    "unstable_tseries": {
        "error": "error", "warn": "warn", "enable": "enable", "0": "error", "false": "error", "1": "enable",
        "true": "enable",
    },
}  # fmt: skip
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_MAX = {
    "log_size": (1, 1 << 30), "max_bpf_progs": (1, 1 << 20), "max_cat_bytes": (1, 1 << 30),
    "max_map_keys": (1, 0xFFFFFFFF),
    "max_probes": (1, 1 << 20), "max_strlen": (1, 1 << 20), "on_stack_limit": (0, 512), "perf_rb_pages": (1, 1 << 20),
}  # fmt: skip


def read_config(
    entries: Sequence[ast.ConfigEntry], sources: Sequence[Source], environment: Mapping[str, str]
) -> tuple[Config, list[Diagnostic]]:
    """The config and warnings. The environment wins over the block.

    Unknown names in the block are errors; unknown BPFTRACE_* of the environment are left alone, as they may be meant
    for others. Raises SourceError with all that is wrong.
    """
    values: dict[str, Value] = {}
    errors: list[Diagnostic] = []
    warnings: list[Diagnostic] = []
    for entry in entries:
        source = sources[entry.span.source]
        start, end = entry.span.start, entry.span.end
        try:
            found = _setting(entry.name, entry.value)
        except ValueError as e:
            message, hint = e.args
            errors.append(diagnostic(source, start, end, message, hint))
            continue
        if found is None:
            warnings.append(diagnostic(source, start, end, f"{entry.name}: has no effect here", "", "warning"))
        else:
            values[found[0]] = found[1]
    for name, text in environment.items():
        if not name.startswith("BPFTRACE_"):
            continue
        plain = name[len(_PREFIX) :].lower()
        if plain not in Config._fields and plain not in _RENAMED:
            continue
        try:
            found = _setting(name, text)
        except ValueError as e:
            message, hint = e.args
            errors.append(Diagnostic("error", message, hint=f"{hint} (from the environment)"))
            continue
        if found is not None:
            values[found[0]] = found[1]
    if errors:
        raise SourceError(errors)
    return Config(**values), warnings  # type: ignore[arg-type]


def _setting(written: str, value: Value) -> tuple[str, Value] | None:
    """(field of Config, value); None for what is accepted without effect. Raises ValueError(message, hint)."""
    name = written.lower().removeprefix(_PREFIX)
    invert = name == "no_cpp_demangle"
    name = _RENAMED.get(name, name)
    if name in _IGNORED:
        return None
    if name in _ENVIRONMENT_ONLY:
        raise ValueError(f"{written}: can only be set as an environment variable", f"set BPFTRACE_{name.upper()}")
    if name not in Config._fields:
        raise ValueError(f"{written}: not a known configuration option", _suggestion(name))
    default = Config._defaults[name]
    if name == "license":
        return name, _license(value)
    if name in _CHOICES:
        return name, _choice(name, written, value)
    if isinstance(default, bool):
        flag = value if isinstance(value, bool) else _BOOLEANS.get(str(value).lower())
        if flag is None:
            raise ValueError(
                f"{written}: Invalid bool value: valid values are true, false, 1 or 0.", f"write {name}=true"
            )
        return name, flag is not invert
    if isinstance(default, int):
        return name, _number(name, written, value)
    if isinstance(value, bool | int):
        raise ValueError(f"{written}: expecting a string, got {str(value).lower()}", f'write {name}="..."')
    return name, value


def _number(name: str, written: str, value: Value) -> int:
    number: int | None = None
    if isinstance(value, str):
        try:
            number = parse_integer(value)[0]
        except ValueError:
            number = None
    elif not isinstance(value, bool):
        number = value
    low, high = _MAX[name]
    if number is None:
        raise ValueError(
            f"{written}: expecting a number, got {str(value).lower()}", f"write {name}={Config._defaults[name] or low}"
        )
    if not low <= number <= high:
        raise ValueError(f"{written}: {number} is out of range", f"allowed are {low} to {high}")
    return number


def _choice(name: str, written: str, value: Value) -> str:
    found = _CHOICES[name].get(str(value).lower())
    if found is None:
        valid = list(dict.fromkeys(_CHOICES[name].values()))
        listed = ", ".join(valid[:-1]) + f", and {valid[-1]}"
        raise ValueError(f"{written}: Invalid value for {name}: valid values are {listed}.", f"write {name}={valid[0]}")
    return found


def _license(value: Value) -> str:
    if value not in _LICENSES:
        valid = ", ".join(_LICENSES)
        raise ValueError(
            f"Invalid value for license. Found: {value}. Valid values: {valid}",
            'most kernel helpers need license="GPL"',
        )
    return str(value)


def _suggestion(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, (*Config._fields, *_RENAMED), 1, 0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return "known are " + ", ".join(Config._fields)
