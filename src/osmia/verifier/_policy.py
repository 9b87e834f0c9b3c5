"""Stricter than the kernel: what programs may be made of, from a TOML file.

    [programs]
    types = ["xdp", "sched_cls"]            # program types
    attach = ["eth0", "sched:*"]            # what they attach to, as patterns
    licenses = ["GPL", "Dual BSD/GPL"]
    [helpers]
    allow = ["map_*", "ktime_get_ns"]       # patterns, with or without bpf_; deny is stronger
    deny = ["probe_write_user"]
    [kfuncs]
    allow = []
    [maps]
    types = ["hash", "array", "ringbuf"]
    max_entries = 10000                     # of each map
    max_bytes = 1048576                     # of all maps of a program together
    [budget]
    instructions = 4096                     # of the linked program
    walked = 100000                         # instructions that verification took
    stack = 256                             # bytes, of all functions together
    maps = 8                                # maps of a program

A table or a key that is left out allows everything; an empty list allows nothing.
"""

from __future__ import annotations

from .._data import Data
from ..errors import FormatError
from ..isa import attach_type_name, helper_name, map_type_name, prog_type_name, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._types import MapInfo, Program, Verdict

_LISTS = {
    "programs": ("types", "attach", "licenses"), "helpers": ("allow", "deny"), "kfuncs": ("allow", "deny"),
    "maps": ("types",),
}  # fmt: skip
_NUMBERS = {"maps": ("max_entries", "max_bytes"), "budget": ("instructions", "walked", "stack", "maps")}


class Violation(Data):
    """What a program does that a policy forbids. `rule` is TABLE.KEY, `insn` an instruction or -1."""

    rule: str
    message: str
    insn: int = -1


class Policy(Data):
    """A policy: values by TABLE.KEY; a rule that is not there allows everything."""

    lists: dict[str, tuple[str, ...]]
    numbers: dict[str, int]
    path: str = ""

    def check(self, program: Program, verdict: Verdict | None = None) -> tuple[Violation, ...]:
        """Every violation, calls first; `verdict` is needed for budget.walked and budget.stack."""
        return (*self._calls(program), *self._program(program), *self._maps(program), *self._budget(program, verdict))

    def _listed(self, rule: str, names: tuple[str, ...]) -> bool:
        """Whether one of the names matches a pattern of the rule, or there is no such rule."""
        from fnmatch import fnmatchcase

        patterns = self.lists.get(rule)
        return patterns is None or any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    def _may_call(self, kind: str, name: str) -> str:
        """The rule that forbids the call, or ""."""
        names = (name, f"bpf_{name}") if kind == "helpers" else (name,)
        if f"{kind}.deny" in self.lists and self._listed(f"{kind}.deny", names):
            return f"{kind}.deny"
        return "" if self._listed(f"{kind}.allow", names) else f"{kind}.allow"

    def _calls(self, program: Program) -> Iterator[Violation]:
        kfuncs = dict(program.kfuncs)
        for index, source, number in _call_insns(program.insns):
            if source == 0:
                name = helper_name(number) or f"helper {number}"
                rule = self._may_call("helpers", name)
                if rule:
                    yield Violation(rule, f"call bpf_{name}: the policy does not allow this helper", index)
            elif source == 2:
                name = kfuncs.get(index) or kfuncs.get(number) or f"kfunc {number}"
                rule = self._may_call("kfuncs", name)
                if rule:
                    yield Violation(rule, f"call {name}: the policy does not allow this kfunc", index)

    def _program(self, program: Program) -> Iterator[Violation]:
        kind = prog_type_name(program.type) or str(program.type)
        if not self._listed("programs.types", (kind,)):
            yield Violation("programs.types", f"load a program of type {kind}: the policy does not allow the type")
        where = (program.attach_to, attach_type_name(program.attach_type) or "") if program.attach_to else ()
        if where and not self._listed("programs.attach", where):
            yield Violation("programs.attach", f"attach to {program.attach_to}: the policy does not allow the place")
        if not self._listed("programs.licenses", (program.license,)):
            yield Violation("programs.licenses", f"load a program under {program.license!r}: not an allowed licence")

    def _maps(self, program: Program) -> Iterator[Violation]:
        for info in program.maps:
            kind = map_type_name(info.type) or str(info.type)
            if not self._listed("maps.types", (kind,)):
                yield Violation("maps.types", f"create map {info.name!r}: the policy does not allow type {kind}")
            most = self.numbers.get("maps.max_entries")
            if most is not None and info.max_entries > most and kind not in ("ringbuf", "user_ringbuf", "arena"):
                yield Violation(
                    "maps.max_entries", f"create map {info.name!r}: {info.max_entries} entries, {most} are allowed"
                )
        total, most = sum(map(map_bytes, program.maps)), self.numbers.get("maps.max_bytes")
        if most is not None and total > most:
            yield Violation("maps.max_bytes", f"create maps of {total} bytes: {most} are allowed")

    def _budget(self, program: Program, verdict: Verdict | None) -> Iterator[Violation]:
        used: dict[str, tuple[int, str]] = {
            "instructions": (len(program.insns) // 8, "instructions"), "maps": (len(program.maps), "maps"),
        }  # fmt: skip
        if verdict is not None:
            used["walked"] = (verdict.processed, "instructions walked by the verifier")
            used["stack"] = (sum(verdict.stack_depths), "bytes of stack")
        for name, (amount, what) in used.items():
            most = self.numbers.get(f"budget.{name}")
            if most is not None and amount > most:
                yield Violation(f"budget.{name}", f"load a program of {amount} {what}: {most} are allowed")


def map_bytes(info: MapInfo) -> int:
    """Bytes of keys and values of a full map; of one CPU where each has its own, and of a ring the ring."""
    kind = map_type_name(info.type) or ""
    if kind in ("ringbuf", "user_ringbuf"):
        return info.max_entries
    if kind == "arena":
        return info.max_entries * 4096
    keys = 0 if kind in ("array", "percpu_array") else info.key_size
    return info.max_entries * (keys + (info.value_size + 7) // 8 * 8)


def load_policy(path: str) -> Policy:
    """Read a policy from a file. Raises FormatError for what is no policy and OSError for what cannot be read."""
    with open(path, "rb") as f:
        return parse_policy(f.read().decode(errors="replace"), path)


def parse_policy(text: str, path: str = "") -> Policy:
    """Read a policy from TOML text."""
    import tomllib

    what = f"read policy {path}" if path else "read policy"
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as e:  # numbers of thousands of digits are neither, and nesting has a limit
        raise FormatError(f"{what}: not TOML: {e}") from e
    lists: dict[str, tuple[str, ...]] = {}
    numbers: dict[str, int] = {}
    for name, keys in data.items():
        known = (*_LISTS.get(name, ()), *_NUMBERS.get(name, ()))
        if not known:
            raise _unknown(what, f"table [{name}]", name, (*_LISTS, "budget"))
        if not isinstance(keys, dict):
            raise FormatError(f"{what}: {name} is no table", hint=f"write [{name}] on a line of its own")
        for key, value in keys.items():
            if key in _LISTS.get(name, ()):
                lists[f"{name}.{key}"] = _strings(what, f"{name}.{key}", value)
            elif key in _NUMBERS.get(name, ()):
                numbers[f"{name}.{key}"] = _number(what, f"{name}.{key}", value)
            else:
                raise _unknown(what, f"key {name}.{key}", key, known)
    _check_names(what, lists)
    return Policy(lists, numbers, path)


def _check_names(what: str, lists: dict[str, tuple[str, ...]]) -> None:
    """A name that nothing has would silently allow or forbid nothing."""
    from fnmatch import fnmatchcase

    known: dict[str, Callable[[], set[str]]] = {
        "programs.types": lambda: set(table("PROG_TYPES")), "maps.types": lambda: set(table("MAP_TYPES")),
        "helpers.allow": _helper_names, "helpers.deny": _helper_names,
    }  # fmt: skip
    for rule, names in known.items():
        for pattern in lists.get(rule, ()):
            if not any(fnmatchcase(name, pattern) for name in names()):
                raise _unknown(what, f"{rule} {pattern!r}", pattern, tuple(names()))


def _helper_names() -> set[str]:
    names = set(table("HELPERS"))
    return names | {f"bpf_{name}" for name in names}


def _strings(what: str, rule: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FormatError(f"{what}: {rule} is no list of strings", hint=f'write {rule.split(".")[1]} = ["...", "..."]')
    return tuple(value)


def _number(what: str, rule: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FormatError(f"{what}: {rule} is no number from 0", hint=f"write {rule.split('.')[1]} = 4096")
    return value


def _unknown(what: str, thing: str, name: str, known: tuple[str, ...]) -> FormatError:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known)[:12])}"
    return FormatError(f"{what}: {thing} is unknown", hint=hint)


def _call_insns(insns: bytes) -> Iterator[tuple[int, int, int]]:
    """(slot, kind of call, number) of every call: kind 0 is a helper, 1 a function, 2 a kfunc."""
    slot = 0
    while slot * 8 < len(insns):
        code, registers = insns[slot * 8], insns[slot * 8 + 1]
        if code == 0x85:
            yield slot, registers >> 4, int.from_bytes(insns[slot * 8 + 4 : slot * 8 + 8], "little", signed=True)
        slot += 2 if code == 0x18 else 1
