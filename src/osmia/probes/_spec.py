"""A probe as written: text -> `ProbeSpec`. Nothing here looks at the machine."""

from __future__ import annotations

import os

from .._data import Data
from ..errors import ProbeError
from ._glob import has_wildcard, matcher
from ._names import (
    ALIASES,
    HARDWARE,
    KERNEL_PROVIDERS,
    PROVIDERS,
    SIGNALS,
    SOFTWARE,
    UNITS,
    USER_PROVIDERS,
    WATCHPOINT_LENGTHS,
    WATCHPOINT_MODES,
    closest,
)
from ._numbers import parse_uint


class ProbeSpec(Data):
    """One attach point as written. Parts may hold wildcards; `Catalogue.match` resolves them.

    provider       target            function                 further
    begin, end
    self           "signal"          signal's name
    test, bench    name
    interval, profile                                         `rate` of `unit` (s, ms, us, ns, hz)
    tracepoint     category          event
    rawtracepoint  module or ""      event
    kprobe, kretprobe
                   module or ""      function or ""           `offset`, or `address`
    fentry, fexit  module, "" or "bpf"  function              `prog_id` with "bpf"
    uprobe, uretprobe
                   file, "" with a pid  function or ""        `offset`, or `address`, or `file`:`line`:`col`; `lang`
    usdt           file, "" with a pid  probe's name          `namespace`: its provider, "" for any
    software, hardware               event                    `count`, 0: the default
    iter                             iterator's name          `pin`
    watchpoint, asyncwatchpoint                               `address`, `length` in bytes, `mode` (r, w, x)
    `label` is the name in `name=probe`; `quoted` lists the parts that were written in quotes.
    """

    provider: str
    text: str
    target: str = ""
    function: str = ""
    namespace: str = ""
    lang: str = ""
    offset: int = 0
    address: int | None = None
    file: str = ""
    line: int = 0
    col: int = 0
    rate: int = 0
    unit: str = ""
    count: int = 0
    length: int = 0
    mode: str = ""
    pin: str = ""
    prog_id: int = 0
    label: str = ""
    quoted: tuple[str, ...] = ()

    @property
    def period(self) -> int:
        """Nanoseconds between two firings of a timer; 0 where `frequency` says it."""
        return self.rate * UNITS.get(self.unit, 0)

    @property
    def frequency(self) -> int:
        """Firings per second of a timer given in hz, else 0."""
        return self.rate if self.unit == "hz" else 0

    @property
    def is_pattern(self) -> bool:
        """Whether more than one probe may match by wildcards (or by C++ overloads)."""
        return self.lang == "cpp" or any(map(has_wildcard, (self.target, self.namespace, self.function)))

    @property
    def name(self) -> str:
        """Full name in canonical spelling, as the `probe` builtin prints it when nothing is left to resolve."""
        return probe_name(self, self.target, self.function, self.namespace)


def probe_name(spec: ProbeSpec, target: str, function: str, namespace: str = "") -> str:
    """The canonical name of what `spec` matched, or the label that the script gave it."""
    provider = spec.provider
    if spec.label:
        return spec.label
    if provider in ("interval", "profile"):
        return f"{provider}:{spec.unit}:{spec.rate}"
    if provider in ("software", "hardware"):
        return f"{provider}:{function}:{spec.count}" if spec.count else f"{provider}:{function}"
    if provider in ("watchpoint", "asyncwatchpoint"):
        return f"{provider}:{spec.address}:{spec.length}:{spec.mode}"
    parts = [provider]
    if target or provider in ("uprobe", "uretprobe", "usdt"):
        parts.append(target)
    if spec.lang:
        parts.append(spec.lang)
    if namespace:
        parts.append(namespace)
    if spec.address is not None:
        parts.append(str(spec.address))
    elif spec.line:
        parts[1] += f"@{spec.file}"
        parts.append(f"{spec.line}:{spec.col}" if spec.col else str(spec.line))
    elif function:
        parts.append(f"{function}+{spec.offset}" if spec.offset else function)
    if spec.pin:
        parts.append(spec.pin)
    return ":".join(parts)


def parse_probe(text: str, *, pid: int = 0, params: tuple[str, ...] = (), unsafe: bool = False) -> ProbeSpec:
    """Parse one probe. With a `pid`, user probes may leave out the file.

    `params` are the script's positional parameters ($1 is the first). Probing a kernel address needs `unsafe`.
    Raises ProbeError with suggestions when `text` is no probe.
    """
    parts, quoted, label = _lex(text.strip(), params)
    provider = _provider(parts[0], text)
    return _parse(provider, parts, text.strip(), pid=pid, unsafe=unsafe).replace(quoted=quoted, label=label)


def expand_probe(text: str, *, pid: int = 0, params: tuple[str, ...] = (), unsafe: bool = False) -> list[ProbeSpec]:
    """As `parse_probe`, but the provider may be a wildcard: `*probe:vfs_read` gives one spec a provider.

    Providers that cannot have so many parts are left out; kernel providers, or user ones with a `pid` or a path.
    """
    parts, quoted, label = _lex(text.strip(), params)
    if not has_wildcard(parts[0]):
        return [parse_probe(text, pid=pid, params=params, unsafe=unsafe)]
    user = pid or (len(parts) > 1 and "/" in parts[1])
    matches = matcher(parts[0])
    rest = parts[1:] or ["*"]
    found = []
    for provider in USER_PROVIDERS if user else KERNEL_PROVIDERS:
        if not matches(provider):
            continue
        try:
            spec = _parse(provider, [provider, *rest], text.strip(), pid=pid, unsafe=unsafe)
        except ProbeError:
            continue  # this provider takes another number of parts
        found.append(spec.replace(quoted=quoted, label=label))
    if not found:
        raise ProbeError(f"read probe: no provider matches {parts[0]!r}", probe=text)
    return found


def _lex(text: str, params: tuple[str, ...]) -> tuple[list[str], tuple[str, ...], str]:
    """Parts between colons, the quoted ones, and the label of `label=probe`. "@" after a file is a part of its own."""
    parts: list[str] = []
    quoted: list[str] = []
    part = ""
    in_quotes = was_quoted = False
    i = 0
    while i < len(text):
        c = text[i]
        i += 1
        if in_quotes and c == "\\" and i < len(text):
            part += text[i]
            i += 1
        elif c == '"':
            in_quotes = not in_quotes
            was_quoted = True
        elif in_quotes:
            part += c
        elif c == ":" or (c == "@" and len(parts) == 1 and ALIASES.get(parts[0], parts[0]) in ("uprobe", "uretprobe")):
            parts.append(part)
            if was_quoted:
                quoted.append(part)
            if c == "@":
                parts.append("@")
            part, was_quoted = "", False
        elif c == "$":
            end = i
            while end < len(text) and text[end].isdigit():
                end += 1
            if end == i or text[i] == "0":
                raise ProbeError(
                    f"expand {text[i - 1 : end + 1]!r}: not a positional parameter",
                    probe=text,
                    hint=f'quote the part if the dollar sign is meant, e.g. "{text[i - 1 : end + 1]}"',
                )
            number = int(text[i:end])
            # The value is text to be read as if it stood there; a parameter that was not given is 0.
            text = text[: i - 1] + (params[number - 1] if number <= len(params) else "0") + text[end:]
            i -= 1
        else:
            part += c
    if in_quotes:
        raise ProbeError(f"read probe {text}: the quoted part does not end", probe=text)
    parts.append(part)
    if was_quoted:
        quoted.append(part)
    label, equals, first = parts[0].partition("=")
    if equals and first:
        parts[0] = first
        return parts, tuple(quoted), label
    return parts, tuple(quoted), ""


def split_probe(text: str) -> list[str]:
    """The parts of a probe or of a pattern for listing, without their quotes."""
    return _lex(text, ())[0]


def _provider(name: str, text: str) -> str:
    provider = ALIASES.get(name, name)
    if provider in PROVIDERS:
        return provider
    if has_wildcard(name):
        raise ProbeError(f"read probe: no provider matches {name!r}", probe=text, hint="name one provider, e.g. kprobe")
    near = closest(name.lower(), (*PROVIDERS, *(a for a in ALIASES if len(a) > 2)))
    raise _bad(text, f"read probe: there is no provider {name!r}", near)


def _bad(text: str, message: str, suggestions: tuple[str, ...] = (), hint: str = "") -> ProbeError:
    if suggestions and not hint:
        hint = f"did you mean {' or '.join(suggestions)}?"
    return ProbeError(message, probe=text, suggestions=suggestions, hint=hint)


def _number(part: str, what: str, text: str) -> int:
    try:
        value = parse_uint(part)
    except OverflowError:
        raise _bad(text, f"read {what}: {part} is too big") from None
    if value is None:
        raise _bad(text, f"read {what}: {part!r} is not a number")
    return value


def _address(part: str) -> int | None:
    """A bare address or offset, None when the part is a name."""
    try:
        return parse_uint(part) if part[:1].isdigit() else None
    except OverflowError:
        return None


_SHAPES = {
    "begin": "begin", "end": "end", "self": "self:signal:SIGNAL", "test": "test:NAME", "bench": "bench:NAME",
    "interval": "interval:UNIT:COUNT or interval:10ms", "profile": "profile:hz:RATE or profile:10ms",
    "tracepoint": "tracepoint:CATEGORY:EVENT", "rawtracepoint": "rawtracepoint:[MODULE:]EVENT",
    "kprobe": "kprobe:[MODULE:]FUNCTION[+OFFSET]", "kretprobe": "kretprobe:[MODULE:]FUNCTION",
    "fentry": "fentry:[MODULE:]FUNCTION", "fexit": "fexit:[MODULE:]FUNCTION",
    "uprobe": "uprobe:FILE:FUNCTION[+OFFSET]", "uretprobe": "uretprobe:FILE:FUNCTION",
    "usdt": "usdt:FILE:[PROVIDER:]NAME", "software": "software:EVENT[:COUNT]", "hardware": "hardware:EVENT[:COUNT]",
    "iter": "iter:NAME[:PIN]", "watchpoint": "watchpoint:ADDRESS:LENGTH:MODE",
    "asyncwatchpoint": "asyncwatchpoint:ADDRESS:LENGTH:MODE",
}  # fmt: skip


def _count(parts: list[str], text: str, provider: str, *counts: int) -> None:
    found = len(parts) - 1
    if found in counts:
        return
    expected = " or ".join(map(str, counts))
    raise _bad(
        text,
        f"read {provider} probe: {found} parts follow the provider, not {expected}",
        hint=f"write {_SHAPES[provider]}",
    )


def _parse(provider: str, parts: list[str], text: str, *, pid: int, unsafe: bool) -> ProbeSpec:
    if provider in ("uprobe", "uretprobe", "usdt"):
        return (_usdt if provider == "usdt" else _uprobe)(provider, parts, text, pid)
    if provider in ("kprobe", "kretprobe"):
        return _kprobe(provider, parts, text, unsafe)
    return _PARSERS[provider](provider, parts, text)


def _special(provider: str, parts: list[str], text: str) -> ProbeSpec:
    _count([p for p in parts if p != "*"], text, provider, 0)
    return ProbeSpec(provider, text)


def _self(provider: str, parts: list[str], text: str) -> ProbeSpec:
    _count(parts, text, provider, 2)
    if parts[1] != "signal":
        raise _bad(text, f"read self probe: it cannot wait for {parts[1]!r}", ("signal",))
    if parts[2] not in SIGNALS:
        raise _bad(text, f"read self probe: it cannot wait for the signal {parts[2]!r}", SIGNALS)
    return ProbeSpec(provider, text, "signal", parts[2])


def _named(provider: str, parts: list[str], text: str) -> ProbeSpec:
    _count(parts, text, provider, 1)
    if not parts[1]:
        raise _bad(text, f"read {provider} probe: it has no name")
    return ProbeSpec(provider, text, parts[1])


def _timer(provider: str, parts: list[str], text: str) -> ProbeSpec:
    _count(parts, text, provider, 1, 2)
    what = f"{provider} rate"
    if len(parts) == 2:
        rate = _number(parts[1], what, text)
        if rate < 1000:
            raise _bad(text, f"read {what}: {rate} ns is below the least period, 1us", hint=f"write {parts[1]}ms?")
        return ProbeSpec(provider, text, rate=rate // 1000, unit="us")
    unit = parts[1]
    if unit not in UNITS:
        raise _bad(text, f"read {what}: there is no unit {unit!r}", hint="use one of s, ms, us, ns, hz")
    rate = _number(parts[2], what, text)
    if rate <= 0:
        raise _bad(text, f"read {what}: it must be more than 0")
    if unit == "ns" and rate < 1000:
        raise _bad(text, f"read {what}: {rate} ns is below the least period, 1us")
    return ProbeSpec(provider, text, rate=rate, unit=unit)


def _tracepoint(provider: str, parts: list[str], text: str) -> ProbeSpec:
    if len(parts) == 2 and has_wildcard(parts[1]):
        parts = [parts[0], "*", parts[1]]
    _count(parts, text, provider, 2)
    if not parts[1] or not parts[2]:
        raise _bad(text, "read tracepoint probe: the category or the event is empty", hint=f"write {_SHAPES[provider]}")
    return ProbeSpec(provider, text, parts[1], parts[2])


def _rawtracepoint(provider: str, parts: list[str], text: str) -> ProbeSpec:
    _count(parts, text, provider, 1, 2)
    if not parts[-1]:
        raise _bad(text, "read rawtracepoint probe: the event is empty", hint=f"write {_SHAPES[provider]}")
    return ProbeSpec(provider, text, parts[1] if len(parts) == 3 else "", parts[-1])


def _offset(provider: str, part: str, text: str) -> tuple[str, int]:
    """`function+offset` -> both; an offset of 0 without a plus."""
    function, plus, rest = part.partition("+")
    if not plus:
        return part, 0
    if provider in ("kretprobe", "uretprobe"):
        raise _bad(text, f"read {provider} probe: it fires on return and takes no offset", hint=f"drop +{rest}")
    if "+" in rest:
        raise _bad(text, "read probe offset: there are two")
    if not function or not rest:
        raise _bad(text, "read probe offset: the function or the number is missing", hint="write FUNCTION+NUMBER")
    return function, _number(rest, "probe offset", text)


def _kprobe(provider: str, parts: list[str], text: str, unsafe: bool) -> ProbeSpec:
    _count(parts, text, provider, 1, 2)
    target = parts[1] if len(parts) == 3 else ""
    address = _address(parts[-1])
    if address is not None:
        if not unsafe:
            raise _bad(
                text, "read kprobe address: the kernel would not check it", hint="use --unsafe, or name a function"
            )
        return ProbeSpec(provider, text, target, address=address)
    function, offset = _offset(provider, parts[-1], text)
    if not function:
        raise _bad(text, "read kprobe: the function is empty")
    return ProbeSpec(provider, text, target, function, offset=offset)


def _fentry(provider: str, parts: list[str], text: str) -> ProbeSpec:
    _count(parts, text, provider, 1, 2, 3)
    target = parts[1] if len(parts) > 2 else ""
    prog_id = 0
    if target == "bpf" and len(parts) == 4:
        prog_id = 0 if parts[2] == "*" else _number(parts[2], "id of a BPF program", text)
    elif len(parts) == 4:
        raise _bad(text, f"read {provider} probe: three parts may follow only with bpf as the first")
    elif len(parts) == 2 and parts[1] == "bpf":
        raise _bad(text, f"read {provider} probe: the BPF program is not named")
    if not parts[-1]:
        raise _bad(text, f"read {provider} probe: the function is empty")
    return ProbeSpec(provider, text, target, parts[-1], prog_id=prog_id)


def _uprobe(provider: str, parts: list[str], text: str, pid: int) -> ProbeSpec:
    if len(parts) > 2 and parts[2] == "@":
        return _source_place(provider, parts, text)
    if pid and (len(parts) == 2 or (len(parts) == 3 and parts[1] == "cpp")):
        parts = [parts[0], "", *parts[1:]]
    _count(parts, text, provider, 2, 3)
    target, function = parts[1], parts[-1]
    lang = parts[2] if len(parts) == 4 else ""
    if lang not in ("", "cpp"):
        raise _bad(text, f"read {provider} probe: names of the language {lang!r} are not known", ("cpp",))
    if not target and not pid:
        raise _bad(text, f"read {provider} probe: the file is empty")
    if not function:
        raise _bad(text, f"read {provider} probe: the function is empty")
    address = None if lang else _address(function)
    if address is not None:
        if has_wildcard(target):
            raise _bad(text, "read uprobe address: it means one file, not a pattern of files")
        return ProbeSpec(provider, text, target, address=address)
    offset = 0
    if not lang:
        function, offset = _offset(provider, function, text)
    return ProbeSpec(provider, text, target, function, lang=lang, offset=offset)


def _source_place(provider: str, parts: list[str], text: str) -> ProbeSpec:
    if provider == "uretprobe":
        raise _bad(text, "read uretprobe: it fires on return and takes no source line")
    if has_wildcard(parts[1]):
        raise _bad(text, "read uprobe source line: it means one file, not a pattern of files")
    if len(parts) not in (5, 6) or not parts[3] or not parts[4]:
        raise _bad(
            text, "read uprobe source line: the file or the line is missing", hint="write uprobe:TARGET@FILE:LINE[:COL]"
        )
    line = _number(parts[4], "source line", text)
    col = _number(parts[5], "source column", text) if len(parts) == 6 else 0
    return ProbeSpec(provider, text, parts[1], file=parts[3], line=line, col=col)


def _usdt(provider: str, parts: list[str], text: str, pid: int) -> ProbeSpec:
    if pid and len(parts) == 2:
        parts = [parts[0], "", parts[1]]
    _count(parts, text, provider, 2, 3)
    if not parts[-1]:
        raise _bad(text, "read usdt probe: the name is empty")
    if not parts[1] and not pid:
        raise _bad(
            text, "read usdt probe: neither a file nor a process is given", hint="use -p PID, or * for every process"
        )
    return ProbeSpec(provider, text, parts[1], parts[-1], parts[2] if len(parts) == 4 else "")


def _counter(provider: str, parts: list[str], text: str) -> ProbeSpec:
    _count(parts, text, provider, 1, 2)
    events = SOFTWARE if provider == "software" else HARDWARE
    name = parts[1]
    if not name:
        raise _bad(text, f"read {provider} probe: the event is empty")
    if has_wildcard(name):
        raise _bad(text, f"read {provider} probe: the event cannot be a pattern")
    if name not in events:
        raise _bad(text, f"read {provider} probe: there is no event {name!r}", closest(name, events))
    count = 0
    if len(parts) == 3 and parts[2] not in ("", "*"):
        count = _number(parts[2], f"{provider} count", text)
    return ProbeSpec(provider, text, function=name, count=count)


def _iter(provider: str, parts: list[str], text: str) -> ProbeSpec:
    _count(parts, text, provider, 1, 2)
    if not parts[1]:
        raise _bad(text, "read iter probe: the iterator is empty")
    if any(map(has_wildcard, parts[1:])):
        raise _bad(text, "read iter probe: it cannot be a pattern")
    return ProbeSpec(provider, text, function=parts[1], pin=parts[2] if len(parts) == 3 else "")


def _watchpoint(provider: str, parts: list[str], text: str) -> ProbeSpec:
    _count(parts, text, provider, 3)
    address = _number(parts[1], "watchpoint address", text)
    length = _number(parts[2], "watchpoint length", text)
    if not address:
        raise _bad(text, "read watchpoint: the address is 0")
    if length not in WATCHPOINT_LENGTHS:
        raise _bad(text, f"read watchpoint: {length} bytes cannot be watched", hint="use 1, 2, 4 or 8")
    mode = "".join(sorted(parts[3]))
    if not mode or mode.strip("rwx"):
        raise _bad(text, f"read watchpoint: {parts[3]!r} is no mode", hint="use r, w, x or several of them")
    if len(set(mode)) != len(mode):
        raise _bad(text, f"read watchpoint: the mode {parts[3]!r} repeats a letter")
    modes = WATCHPOINT_MODES.get(os.uname().machine, ("rw", "w", "x"))
    if mode not in modes:
        raise _bad(text, f"read watchpoint: this processor has no mode {mode!r}", hint=f"it has {', '.join(modes)}")
    return ProbeSpec(provider, text, address=address, length=length, mode=mode)


_PARSERS = {
    "begin": _special, "end": _special, "self": _self, "test": _named, "bench": _named, "interval": _timer,
    "profile": _timer, "tracepoint": _tracepoint, "rawtracepoint": _rawtracepoint, "fentry": _fentry, "fexit": _fentry,
    "software": _counter, "hardware": _counter, "iter": _iter, "watchpoint": _watchpoint,
    "asyncwatchpoint": _watchpoint,
}  # fmt: skip
