"""Probe blocks to programs: what each attach point matches, which matches can share a program, what `args` is."""

from __future__ import annotations

from ...errors import Diagnostic, NotSupported, OsmiaError, PermissionDenied, ProbeError
from . import ast
from ._check_names import base_type
from ._check_state import Context, State
from ._check_types import integer, text
from .builtins import TABLE, is_argument
from .checked import CheckedProbe
from .types import CONTEXT, KERNEL, USER, VOID, StructDef, StructField, Type, pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...objects import AttachPoint
    from ...probes import Arg, Match, ProbeSpec

_KERNEL_SPACE = (
    "kprobe", "kretprobe", "fentry", "fexit", "tracepoint", "iter", "rawtracepoint", "begin", "end", "self", "test",
    "bench",
)  # fmt: skip
_USER_SPACE = ("uprobe", "uretprobe", "usdt")
# Errors about where in a file a probe would go, which upstream's tools report without a place in the script.
_BOUNDARIES = ("Could not resolve address", "Could not determine boundary")
# Providers whose programs see arguments that differ from match to match.
_TYPED = ("tracepoint", "rawtracepoint", "fentry", "fexit", "usdt", "iter", "uprobe", "uretprobe")


# ---------------------------------------------------------------- walking trees


def names_in(node: object, found: set[str]) -> set[str]:
    """Names of builtins and functions anywhere in a tree."""
    if isinstance(node, ast.Node):
        if isinstance(node, (ast.Name, ast.Call)):
            found.add(node.name)
        for field in node._fields:
            if field != "span":
                names_in(getattr(node, field), found)
    elif isinstance(node, list):
        for each in node:
            names_in(each, found)
    return found


def names_types(node: object) -> bool:
    """Whether a tree names structs, unions or enums: what these are depends on the program that is probed."""
    if isinstance(node, ast.TypeName) and node.base.startswith(("struct ", "union ", "enum ")):
        return True
    if isinstance(node, ast.Node):
        return any(names_types(getattr(node, field)) for field in node._fields if field != "span")
    return isinstance(node, list) and any(map(names_types, node))


def clone(node: object) -> object:
    """A deep copy of a tree that was not checked yet."""
    if isinstance(node, ast.Node):
        fields: list[Any] = [clone(getattr(node, f)) for f in node._fields]
        return type(node)(*fields)
    if isinstance(node, list):
        return [clone(each) for each in node]
    return node


def wants_name(node: object, plain: bool = True) -> bool:
    """Whether `probe` stands where its text is computed with; printing it or using it as a key is no reason."""
    if isinstance(node, ast.Name):
        return node.name == "probe" and not plain
    if isinstance(node, ast.Call):
        if node.name == "probe" and not node.args:
            return not plain
        shown = node.name in ("printf", "print", "errorf", "warnf", "cat", "system")
        return any(wants_name(a, shown) for a in node.args)
    if isinstance(node, ast.MapRef):
        return wants_name(node.key, True)
    if isinstance(node, ast.TupleLiteral):
        return any(wants_name(a, plain) for a in node.items)
    if isinstance(node, ast.Node):
        return any(wants_name(getattr(node, f), False) for f in node._fields if f != "span")
    if isinstance(node, list):
        return any(wants_name(each, plain) for each in node)
    return False


# ---------------------------------------------------------------- matching


class Block:
    """A probe block with what its attach points matched."""

    def __init__(self, index: int, probe: ast.Probe) -> None:
        self.index = index
        self.probe = probe
        self.names = names_in([probe.predicate, probe.body], set())
        self.casts = names_types([probe.predicate, probe.body])
        self.split = "probe" in self.names and (wants_name(probe.predicate, False) or wants_name(probe.body))
        self.groups: dict[object, list[Match]] = {}
        self.args: dict[object, list[Arg]] = {}
        self.problems: dict[object, str] = {}


def expand(st: State, index: int, probe: ast.Probe) -> list[tuple[CheckedProbe, Context]]:
    """The programs that a block needs, each with its context; empty (and errors or warnings) if nothing matches."""
    block = Block(index, probe)
    skipped = False
    for attach in probe.attach:
        for spec in _specs(st, attach):
            matches = _match(st, attach, spec)
            skipped = skipped or not matches
            for match in matches:
                _group(st, block, match)
    if not block.groups:
        if skipped:
            _no_probes(st, probe)
        return []
    out = []
    for i, (key, matches) in enumerate(block.groups.items()):
        last = i == len(block.groups) - 1
        body = probe if last else clone(probe)
        assert isinstance(body, ast.Probe)
        out.append(_program(st, block, body, key, matches))
    return out


def _specs(st: State, attach: ast.AttachSpec) -> list[ProbeSpec]:
    from ...probes import expand_probe

    try:
        return expand_probe(attach.text, pid=st.env.pid, params=st.env.params, unsafe=st.env.unsafe)
    except ProbeError as problem:
        near = ", ".join(problem.suggestions)
        hint = problem.hint or (f"did you mean {near}?" if near else "")
        if "no provider" in problem.message:
            hint = _with_provider(st, attach.text) or hint
        st.fatal(attach.span, problem.message, hint)
    except OverflowError:
        st.fatal(attach.span, "number is too large")
    return []


def _with_provider(st: State, text: str) -> str:
    """A hint for an attach point without a provider: the tracepoint or function of this name."""
    from ...probes import expand_probe

    *target, function = text.strip().split(":")
    words = [*target, function]
    if st.env.catalogue is None or len(words) > 2 or not all(w.replace("_", "").isalnum() for w in words):
        return ""
    tried = [f"tracepoint:{target[0] if target else '*'}:{function}"]
    tried += [] if target else [f"rawtracepoint:{function}", f"kprobe:{function}"]
    for probe in tried:
        try:
            found = [m.name for spec in expand_probe(probe) for m in st.env.catalogue.match(spec)]
        except OsmiaError:
            continue
        if found:
            return f"did you mean {' or '.join(found[:3])}?"
    return ""


def _match(st: State, attach: ast.AttachSpec, spec: ProbeSpec) -> list[Match]:
    from ...probes import Match

    catalogue = st.env.catalogue
    if catalogue is None:
        return [Match(spec, spec.name, spec.target, spec.function, spec.namespace)]
    try:
        found: list[Match] = catalogue.match(spec)
    except NotSupported as problem:
        st.fatal(attach.span, problem.message, problem.hint)
        return []
    except OsmiaError as problem:
        hint = problem.hint
        if isinstance(problem, PermissionDenied):
            st.denied = st.denied or problem
        if problem.message.startswith(_BOUNDARIES) and st.config.missing_probes == "error":
            text = f"{problem.message}\n{hint}" if hint else problem.message
            st.errors.append(Diagnostic("error", text))
            return []
        if isinstance(problem, ProbeError) and problem.suggestions and not hint:
            hint = "did you mean " + " or ".join(problem.suggestions) + "?"
        _missing(st, attach, problem.message, hint)
        return []
    if found:
        for m in found:
            if m.note:
                st.noted(attach.span, m.note)
        return found
    if spec.provider in ("kprobe", "kretprobe") and not spec.is_pattern:
        _untraceable(st, attach, spec.function)
        if st.env.unsafe:
            return [Match(spec, spec.name, spec.target, spec.function)]
    try:
        none = catalogue.no_match(spec)
        message, hint = none.message, none.hint
    except (OsmiaError, AttributeError):
        message, hint = f"No matches for {spec.provider} {':'.join(p for p in (spec.target, spec.function) if p)}.", ""
    _missing(st, attach, message, hint)
    return []


def _untraceable(st: State, attach: ast.AttachSpec, function: str) -> None:
    message = (
        f'{function} is not traceable (either non-existing, inlined, or marked as "notrace"); attaching to it will '
        "likely fail"
    )
    warning = st.diagnostic("warning", attach.span, message)
    if st.config.missing_probes == "error" and not st.env.unsafe:
        st.errors.append(warning)  # shown with the error that follows
    else:
        st.noted(attach.span, message)


def _missing(st: State, attach: ast.AttachSpec, message: str, hint: str) -> None:
    mode = st.config.missing_probes
    if mode == "error":
        st.fatal(
            attach.span, message, hint or "If this is expected, set the 'missing_probes' config variable to 'warn'."
        )
    elif mode == "warn":
        st.noted(attach.span, f"{message} Skipping." if message.endswith(".") else f"{message}. Skipping.", hint)


def _no_probes(st: State, probe: ast.Probe) -> None:
    span = probe.attach[0].span if probe.attach else probe.span
    if st.config.missing_probes == "error":
        # Why each of them is none has been said; bpftrace says this too.
        st.errors.append(st.diagnostic("error", span, "Probe has no valid attach points.").replace(follows=True))
    elif st.config.missing_probes == "warn":
        st.noted(
            span,
            "Probe has no valid attach points. It is being removed which may cause issues with program behavior.",
        )


# ---------------------------------------------------------------- grouping by context


def _group(st: State, block: Block, match: Match) -> None:
    """Put a match with those whose program is the same."""
    provider = match.provider
    parts: list[object] = [provider]
    args: list[Arg] = []
    problem = ""
    if _reads_arguments(block, provider):
        args, problem = _describe(st, match)
        parts.append(tuple(_layout_key(a) for a in args))
        parts.append(problem)
        if provider == "tracepoint":
            parts.append(match.target == "syscalls")
    if "uaddr" in block.names or (block.casts and provider in _USER_SPACE):
        parts.append(match.target)
    if block.split:
        parts.append(match.name)
    if provider in ("test", "bench", "iter", "begin", "end", "watchpoint"):
        parts.append(match.name)
    key = tuple(parts)
    block.groups.setdefault(key, []).append(match)
    block.args.setdefault(key, args)
    block.problems.setdefault(key, problem)


def _reads_arguments(block: Block, provider: str) -> bool:
    if provider not in _TYPED:
        return False
    names = block.names
    if provider in ("usdt",):
        return any(map(is_argument, names)) or "args" in names
    if provider == "uretprobe":
        return "retval" in names
    if provider == "uprobe":
        return "args" in names
    return "args" in names or "retval" in names or ("ctx" in names and provider == "iter")


def _describe(st: State, match: Match) -> tuple[list[Arg], str]:
    catalogue = st.env.catalogue
    if catalogue is None:
        return [], "the arguments of this probe are not known"
    try:
        own = getattr(catalogue, "describe_args", None)
        if own is not None:
            return list(own(match)), ""
        from ...probes import describe_args

        return describe_args(catalogue, match), ""
    except OsmiaError as problem:
        return [], problem.message


def _layout_key(a: Arg) -> object:
    if a.usdt is not None:
        return a.usdt
    if a.dwarf is not None:
        # The name of a struct may mean another one in another unit of the program.
        t = a.dwarf
        while t.kind in ("pointer", "array"):
            t = t.element
        identity = t.identity if t.kind in ("struct", "union", "enum") else ()
        return (a.name, a.type, a.index, a.offset, a.problem, a.by_reference, identity)
    return (a.name, a.type, a.index, a.offset, a.size, a.signed, a.type_id, a.module)


# ---------------------------------------------------------------- one program


def _program(
    st: State, block: Block, body: ast.Probe, key: object, matches: list[Match]
) -> tuple[CheckedProbe, Context]:
    first = matches[0]
    provider = first.provider
    args = block.args[key]
    ctx = Context(provider, target=first.target, function=first.function, probe_name=first.name)
    ctx.names = [m.name for m in matches]
    ctx.split_by_name = block.split
    ctx.reads_name = "probe" in block.names
    ctx.space = KERNEL if provider in _KERNEL_SPACE else USER if provider in _USER_SPACE else ""
    ctx.args_error = block.problems[key]
    given = [a for a in args if a.index >= 0]
    if args or (provider in TABLE["args"].probes and block.problems[key] == "" and _reads_arguments(block, provider)):
        _typed_arguments(st, ctx, first, given)
    returned = next((a for a in args if a.index < 0), None)
    if returned is not None:
        ctx.retval = _btf_type(st, returned)
    elif provider == "fexit" and "retval" in block.names and first.target != "bpf" and not block.problems[key]:
        ctx.retval = VOID
    if provider == "usdt" and args:
        ctx.usdt_count = len(args)
    attach: list[AttachPoint] = []
    names: list[str] = []
    for m in matches:
        for point in m.attach_points("", pid=st.env.pid, source=block.index):
            attach.append(point.replace(optional=True) if st.config.missing_probes != "error" else point)
            names.append(m.name)
    program = CheckedProbe(
        block.index, provider, attach, names, body.predicate, body.body, body.span, ctx.args, ctx.retval, ctx.uses
    )
    if provider in ("test", "bench"):
        program.test_name = first.target or first.function
    program.usdt_args = tuple(a.usdt for a in args if a.usdt is not None)
    return program, ctx


def _typed_arguments(st: State, ctx: Context, match: Match, args: list[Arg]) -> None:
    """`args` as a struct that lives in the context."""
    if ctx.provider == "usdt":
        return
    fields = []
    ctx.unreadable = {a.name: a.problem for a in args if a.problem}
    for a in args:
        if a.problem:
            continue
        fields.append(_tracepoint_field(st, a, match.target) if a.field is not None else _parameter(st, a))
    name = f"{match.provider}:{match.target}:{match.function} args" if match.target else f"{match.name} args"
    size = max((f.offset + max(f.type.size, 1) for f in fields), default=0)
    ctx.args = StructDef(name, size, tuple(fields))
    if not fields and ctx.provider != "tracepoint":
        ctx.args_error = "Cannot read function parameters"
        if ctx.unreadable:
            ctx.args_error += f": {next(iter(ctx.unreadable))}: {next(iter(ctx.unreadable.values()))}"
        ctx.args = StructDef(name, 0, ()) if ctx.provider == "fexit" else None
        return
    st.structs[f"struct {name}"] = ctx.args
    ctx.args_type = Type("struct", size, name=name, store="c", space=CONTEXT)


def _parameter(st: State, a: Arg) -> StructField:
    return StructField(a.name, a.offset, _btf_type(st, a))


def _btf_type(st: State, a: Arg) -> Type:
    """The type of a parameter or return value by its BTF id, or as DWARF has it."""
    if a.dwarf is not None:
        t = st.dwarf.of(a.dwarf)
        return pointer(t, USER) if a.by_reference else t
    btf = st.btf
    store = "btf"
    catalogue = st.env.catalogue
    if a.module not in ("", "vmlinux") and catalogue is not None:
        btf = catalogue.module_btf(a.module)
        store = f"btf:{a.module}"
    elif btf is None:
        btf = getattr(catalogue, "btf", None)
    if btf is None or not a.type_id:
        return integer(a.size if a.size in (1, 2, 4, 8) else 8, a.signed)
    from . import btftypes

    return btftypes.of_id(btf, a.type_id, store=store)


def _tracepoint_field(st: State, a: Arg, category: str) -> StructField:
    """A field of a tracepoint's record; pointers of system calls are the caller's."""
    f = a.field
    assert f is not None
    space = USER if category == "syscalls" else KERNEL
    element = _c_type(st, f.type, f.size, f.signed, space)
    if f.dynamic:
        if f.is_string:
            t = text(st.config.text_size).replace(space=KERNEL)
        else:
            t = pointer(_c_type(st, f.type, 1, f.signed, space), KERNEL)
        return StructField(f.name, f.offset, t, data_loc=True)
    if f.is_string and f.count > 0:
        return StructField(f.name, f.offset, text(f.size).replace(space=CONTEXT))
    if f.count > 0:
        each = f.size // f.count
        element = _c_type(st, f.type, each, f.signed, space)
        t = Type("array", f.size, element=element, count=f.count, space=CONTEXT)
        return StructField(f.name, f.offset, t)
    return StructField(f.name, f.offset, element)


def _c_type(st: State, declared: str, size: int, signed: bool, space: str) -> Type:
    """A type as a format file spells it: "const char *", "struct page *", "pid_t", "enum x"."""
    words = declared.replace("*", " * ").split()
    stars = words.count("*")
    base = " ".join(w for w in words if w not in ("*", "const", "volatile", "__user", "restrict"))
    if stars:
        t = base_type(st, base) if _is_cheap(base) else None
        if t is None and base.startswith(("struct ", "union ")):
            t = Type("struct", 0, name=base.split(" ", 1)[1], store="lazy")
        t = t or VOID
        for _ in range(stars):
            t = pointer(t, space)
        return t
    if base in ("bool", "_Bool"):
        return base_type(st, "bool") or integer(1, False)
    if base.startswith("enum "):
        return base_type(st, base) or integer(size, signed)
    if base.startswith(("struct ", "union ")) or size not in (1, 2, 4, 8):
        found = base_type(st, base)
        if found is not None and found.kind in ("struct", "union"):
            return found.replace(space=CONTEXT)
        return Type("array", size, element=integer(1, False), count=size, space=CONTEXT)
    return integer(size, signed)


def _is_cheap(base: str) -> bool:
    """Whether a type is known without a look into BTF."""
    return not base.startswith(("struct ", "union ", "enum "))
