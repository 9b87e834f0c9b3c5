"""What `osmia list` prints: every probe that a pattern means, with its arguments when asked."""

from __future__ import annotations

from ..errors import ElfError, KernelError, OsmiaError, ProbeError, SymbolError
from ._args import Arg, describe_args
from ._catalogue import Catalogue
from ._files import no_file, resolve_files
from ._glob import has_wildcard, matcher
from ._match import Match
from ._names import ALIASES, HARDWARE, KERNEL_PROVIDERS, PROVIDERS, SIGNALS, SOFTWARE, UNITS, USER_PROVIDERS, closest
from ._spec import ProbeSpec, split_probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # provider, target, namespace, function: empty where the provider has none. 60,000 of them must not take long, so
    # they are bare tuples.
    Row = tuple[str, str, str, str]


def list_probes(
    catalogue: Catalogue, pattern: str = "", *, verbose: bool = False, skipped: list[OsmiaError] | None = None
) -> Iterator[str]:
    """The full names of the probes that `pattern` means, provider by provider in alphabetical order.

    `pattern`: "" or "*" for all of the kernel's, a provider, a probe with wildcards anywhere ("*open*",
    "tracepoint:syscalls:*", "uprobe:libc:mal*", "*:/bin/sh:*"); several with commas between. The catalogue's process,
    if it has one, adds its own probes. With `verbose`, the arguments follow each name, indented by four blanks.
    Timers and counters end in the colon that a number must follow.
    Raises ProbeError for a provider that does not exist; KernelError for one that cannot be listed, which `skipped`
    collects where the pattern means all providers.
    """
    for row in list_rows(catalogue, pattern, skipped=skipped):
        yield row_name(row)
        if verbose:
            for arg in row_args(catalogue, row):
                yield f"    {arg.text}"


def list_rows(catalogue: Catalogue, pattern: str = "", *, skipped: list[OsmiaError] | None = None) -> Iterator[Row]:
    """As `list_probes`, as tuples (provider, target, namespace, function)."""
    for one in _split(pattern or "*"):
        yield from _list_one(catalogue, one, skipped)


def row_name(row: Row) -> str:
    """The full name of a listed probe."""
    if row[0] in ("software", "hardware", "interval", "profile"):
        return f"{row[0]}:{row[3]}:"
    return ":".join(part for part in row if part)


def row_args(catalogue: Catalogue, row: Row) -> list[Arg]:
    """The arguments of a listed probe; none where they cannot be told, so that a listing goes on."""
    provider, target, namespace, function = row
    spec = ProbeSpec(provider, row_name(row), target, function, namespace)
    try:
        if provider in ("usdt", "uprobe", "uretprobe"):
            return [arg for match in catalogue.match(spec)[:1] for arg in describe_args(catalogue, match)]
        return describe_args(catalogue, Match(spec, spec.text, target, function, namespace))
    except OsmiaError:
        return []


def similar_probes(catalogue: Catalogue, pattern: str) -> tuple[str, ...]:
    """Names of probes like the one that `pattern` names, when it means none; wildcards at its ends do not count."""
    provider, *rest = split_probe(pattern)
    provider = ALIASES.get(provider, provider)
    name = rest[-1].strip("*?") if rest else ""
    if not name or provider not in _LISTERS:
        return ()
    near: tuple[str, ...] = ()
    try:
        there = {row[3]: row_name(row) for row in _LISTERS[provider](catalogue, provider, [*rest[:-1], "*"])}
        near = tuple(there[n] for n in closest(name, there))
        if not near and provider in KERNEL_PROVIDERS and len(rest) > 1:
            # The first part may be wrong, or both.
            there = {row_name(row).partition(":")[2]: row_name(row) for row in _list_one(catalogue, provider, None)}
            same = sorted(n for n in there if n.endswith(f":{name}"))
            near = tuple(there[n] for n in same[:3] or closest(f"{rest[0].strip('*?')}:{name}", there))
    except OsmiaError:
        return near  # what cannot be listed gives no suggestions
    return near


def _split(pattern: str) -> list[str]:
    """At commas outside of quotes."""
    out, part, quoted = [], "", False
    for c in pattern:
        quoted ^= c == '"'
        if c == "," and not quoted:
            out.append(part)
            part = ""
        else:
            part += c
    return [p.strip() for p in [*out, part] if p.strip()]


def _list_one(catalogue: Catalogue, pattern: str, skipped: list[OsmiaError] | None) -> Iterator[Row]:
    provider, *rest = split_probe(pattern)
    if rest or ALIASES.get(provider, provider) in PROVIDERS:
        for name in _providers(catalogue, provider, rest):
            yield from _listed(catalogue, name, rest or ["*"], skipped if has_wildcard(provider) else None)
        return
    # One word is looked for in all names ("*open*"), and a provider that it matches is listed whole ("kprobe*").
    accepts = matcher(provider)
    word = provider if has_wildcard(provider) else f"*{provider}*"
    for name in _providers(catalogue, "*", []):
        yield from _listed(catalogue, name, ["*"] if accepts(name) else [word], skipped)


def _listed(catalogue: Catalogue, provider: str, rest: list[str], skipped: list[OsmiaError] | None) -> Iterator[Row]:
    try:
        yield from _LISTERS[provider](catalogue, provider, rest)
    except KernelError as error:
        if skipped is None:
            raise
        skipped.append(error)


def _providers(catalogue: Catalogue, pattern: str, rest: list[str]) -> list[str]:
    full = ALIASES.get(pattern, pattern)
    if full in PROVIDERS:
        return [full]
    if not has_wildcard(pattern):
        near = closest(pattern, PROVIDERS)
        hint = f"did you mean {' or '.join(near)}?" if near else ""
        raise ProbeError(f"list probes: there is no provider {pattern!r}", probe=pattern, suggestions=near, hint=hint)
    file = len(rest) > 1 and "/" in rest[0]
    pool = [*(() if file else KERNEL_PROVIDERS), *(USER_PROVIDERS if catalogue.pid or file else ())]
    matches = matcher(pattern)
    return sorted(p for p in pool if matches(p))


def _pair(rest: list[str]) -> Callable[[str, str], object]:
    """Whether (target, function) matches; a single pattern may also match "target:function" as a whole."""
    if len(rest) > 1:
        target, function = matcher(rest[0]), matcher(rest[-1])
        return lambda t, f: target(t) and function(f)
    if rest[0] == "*":
        return lambda t, f: True
    one = matcher(rest[0])
    return lambda t, f: one(f) or one(f"{t}:{f}")


def _tracepoints(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    accepts = _pair(rest)
    for category, names in catalogue.tracefs.events().items():
        for name in names:
            if accepts(category, name):
                yield provider, category, "", name


def _rawtracepoints(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    accepts = _pair(rest)
    for module, name in catalogue.rawtracepoints():
        if accepts(module, name):
            yield provider, module, "", name


def _kprobes(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    modules = catalogue.functions.modules()
    if len(rest) > 1:
        accepts = _pair(rest)
        for module, names in modules.items():
            for name in names:
                if accepts(module, name):
                    yield provider, module, "", name
        return
    one = matcher(rest[0])
    everywhere = set().union(*modules.values()) if len(modules) > 1 else modules.get("vmlinux", [])
    for name in sorted(n for n in everywhere if one(n)):
        yield provider, "", "", name


def _fentries(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    if rest[0] == "bpf" and len(rest) > 1:
        accepts_name = matcher(rest[-1])
        for program in catalogue.bpf_programs():
            if accepts_name(program):
                yield provider, "bpf", "", program
        return
    accepts = _pair(rest)
    for module, names in catalogue.fentry_functions().items():
        for name in names:
            if accepts(module, name):
                yield provider, module, "", name


def _iterators(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    accepts = matcher(rest[0])
    for name in catalogue.iterators():
        if accepts(name):
            yield provider, "", "", name


def _counters(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    accepts = matcher(rest[0])
    for name in sorted(SOFTWARE if provider == "software" else HARDWARE):
        if accepts(name):
            yield provider, "", "", name


def _timers(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    accepts = matcher(rest[0])
    for unit in sorted(UNITS):
        if accepts(unit):
            yield provider, "", "", unit


def _signals(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    accepts = _pair(rest)
    for signal in SIGNALS:
        if accepts("signal", signal):
            yield provider, "signal", "", signal


def _nothing(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    return iter(())  # what a script names itself: begin, end, test:, bench:, watchpoint:


def _paths(catalogue: Catalogue, provider: str, target: str) -> list[str]:
    paths = resolve_files(target, catalogue.pid)
    if not paths and not has_wildcard(target):
        raise no_file(f"list {provider} probes", target, catalogue.pid, f"{provider}:{target}")
    return paths if has_wildcard(target) else paths[:1]


def _uprobes(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    if len(rest) == 1 and not catalogue.pid:
        rest = [rest[0], "*"] if "/" in rest[0] else ["*", rest[0]]
    elif len(rest) == 1:
        rest = ["*", rest[0]]
    lang = rest[1] if len(rest) > 2 else ""
    spec = ProbeSpec(provider, ":".join([provider, *rest]), rest[0], rest[-1], lang=lang)
    paths = _paths(catalogue, provider, rest[0])
    for path in sorted(paths):
        try:
            names = catalogue._functions(spec, catalogue.file(path))
        except (ElfError, SymbolError):
            if len(paths) == 1:
                raise
            continue  # one of many that a wildcard named: 32-bit, damaged, or not readable
        for name in names:
            yield provider, path, "", name


def _usdts(catalogue: Catalogue, provider: str, rest: list[str]) -> Iterator[Row]:
    if len(rest) == 1:
        rest = [rest[0], "*"] if "/" in rest[0] else ["*", rest[0]]
    namespace, name = matcher(rest[1] if len(rest) > 2 else "*"), matcher(rest[-1])
    paths = _paths(catalogue, provider, rest[0])
    for path in sorted(paths):
        try:
            probes = catalogue.file(path).usdt()
        except (ElfError, SymbolError):
            if len(paths) == 1:
                raise
            continue  # as for uprobes
        for owner, probe in sorted(probes):
            if namespace(owner or "*") and name(probe):
                yield provider, path, owner, probe


_LISTERS: dict[str, Callable[[Catalogue, str, list[str]], Iterator[Row]]] = {
    "tracepoint": _tracepoints,
    "rawtracepoint": _rawtracepoints,
    "kprobe": _kprobes,
    "kretprobe": _kprobes,
    "fentry": _fentries,
    "fexit": _fentries,
    "iter": _iterators,
    "software": _counters,
    "hardware": _counters,
    "interval": _timers,
    "profile": _timers,
    "self": _signals,
    "uprobe": _uprobes,
    "uretprobe": _uprobes,
    "usdt": _usdts,
    **dict.fromkeys(("begin", "end", "test", "bench", "watchpoint", "asyncwatchpoint"), _nothing),
}
