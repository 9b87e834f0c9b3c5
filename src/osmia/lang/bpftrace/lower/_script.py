"""Lower a checked script to an `Object`: one program a probe, the maps, the event formats, the types."""

from __future__ import annotations

from ....codegen import Module, compile_module
from ....errors import CodegenError, Diagnostic, SourceError
from ....isa.map_types import (
    ARRAY,
    HASH,
    LRU_HASH,
    LRU_PERCPU_HASH,
    PERCPU_ARRAY,
    PERCPU_HASH,
    PERF_EVENT_ARRAY,
    RINGBUF,
)
from ....objects import AttachPoint, EventFormat, Function, MapFormat, MapSpec, Object, ProgramSpec
from .. import ast
from ..checked import CheckedProbe, CheckedScript, Config, MapInfo
from ..types import Type
from . import _calls, _context, _events, _expr, _loops, _maps, _stacks, _stmt, _strings  # noqa: F401  they register
from ._btf import object_btf
from ._expr import condition
from ._features import Features
from ._layout import ValueTypes, size_of, stack_map
from ._portable import Accesses
from ._program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ....btf import Btf

_NO_PREALLOC = 1
_DECLARED = {"hash": HASH, "lruhash": LRU_HASH, "percpuhash": PERCPU_HASH, "percpulruhash": LRU_PERCPU_HASH}

# BPF_PROG_TYPE_*, BPF_TRACE_*
_KPROBE, _TRACEPOINT, _XDP, _PERF_EVENT, _RAW_TRACEPOINT, _TRACING = 2, 5, 6, 7, 17, 26
_PROGRAM_TYPES = {
    **dict.fromkeys(("begin", "end", "self", "rawtracepoint"), (_RAW_TRACEPOINT, 0)),
    **dict.fromkeys(("test", "bench"), (_XDP, 0)),  # test runs of packet programs can be repeated and timed
    **dict.fromkeys(("interval", "profile", "software", "hardware", "watchpoint", "asyncwatchpoint"), (_PERF_EVENT, 0)),
    **dict.fromkeys(("kprobe", "kretprobe", "uprobe", "uretprobe", "usdt"), (_KPROBE, 0)),
    "tracepoint": (_TRACEPOINT, 0),
    "fentry": (_TRACING, 24),
    "fexit": (_TRACING, 25),
    "iter": (_TRACING, 28),
}
_KPROBE_MULTI, _UPROBE_MULTI = 42, 48
_ONE_EACH = ("fentry", "fexit", "iter", "rawtracepoint")  # a program of its own for every attach point
STACKS = 65536  # different ones of a kind, or max_map_keys if that is more
TIMERS = ("interval", "profile")  # they do not tick again once exit() was called
MAX_PREALLOCATED = 256 << 20  # bytes of one map
DEFAULT_RING = 4 << 20
START = ".data.start"
RUN_VALUES = (("boot_time", 0), ("tai_offset", 8), ("child_pid", 16))  # what the session writes there, and where
LOSS = ".data.loss"
ZERO = ".data.zero"
EXIT = ".data.exit"


class Options:
    """What a compilation needs to know besides the script. `user_address(name)` finds a symbol for uaddr().

    `portable` leaves offsets of kernel types to the loader, as CO-RE relocations.
    """

    def __init__(
        self,
        features: Features,
        *,
        pid_namespace: tuple[int, int] | None = None,
        user_address: Callable[[str, str], int] | None = None,
        optimize: str = "short",
        cpu: str = "v3",
        portable: bool = False,
        helper_errors: bool = False,
    ) -> None:
        self.features = features
        self.pid_namespace = pid_namespace
        self.user_address = user_address
        self.optimize = optimize
        self.cpu = cpu
        self.portable = portable
        self.helper_errors = helper_errors  # report helpers that fail (-k)


class ScriptLowering:
    """Lowers one checked script: `lower()` gives the object, `ir()` the LLVM IR as text, before optimisation."""

    scratch_name = "scratch"

    def __init__(self, checked: CheckedScript, options: Options) -> None:
        self.checked = checked
        self.config = checked.config
        self.options = options
        self.features = options.features
        self.pid_namespace = options.pid_namespace
        self.accesses = Accesses(checked.btf) if options.portable and checked.btf else None
        self.module = Module(checked.sources[0].name if checked.sources else "script", options.cpu)
        self.probe_names = list(dict.fromkeys(n for probe in checked.probes for n in probe.names))
        self.values = ValueTypes(checked, self.probe_names)
        self.events: list[EventFormat] = []
        self.ring_bytes = self._ring_bytes()
        self._map_numbers = {name: i for i, name in enumerate(checked.maps)}
        self._stack_maps: dict[str, Type] = {}
        self._scratch_size = self._scratch_elements = 0
        self._uses_ring = self._uses_loss = self._uses_start = self._uses_zero = self._uses_exit = False
        self._may_exit = any("exit" in probe.uses for probe in checked.probes)
        self._specs: list[ProgramSpec] = []
        self._attach: list[AttachPoint] = []

    # ---- places

    def place(self, span: ast.Span) -> tuple[int, int]:
        return self.checked.sources[span.source].place(span.start)

    def place_end(self, span: ast.Span) -> int:
        return self.checked.sources[span.source].place(span.end)[1]

    def source_name(self, span: ast.Span) -> str:
        return self.checked.sources[span.source].name

    def source_line(self, span: ast.Span) -> str:
        source = self.checked.sources[span.source]
        return source.line(source.place(span.start)[0])

    def btf(self, node: ast.Node) -> Btf:
        if self.checked.btf is None:
            line, col = self.place(node.span)
            raise CodegenError("this needs the kernel's BTF, which is not there", line=line, col=col)
        return self.checked.btf

    # ---- maps

    def map(self, name: str) -> MapInfo:
        return self.checked.maps[name]

    def map_symbol(self, name: str) -> str:
        return self.module.map(map_name(name))

    def is_array(self, name: str) -> bool:
        """Scalar aggregations that tell by themselves whether they were used live in a per-CPU array."""
        info = self.map(name)
        kind = info.value.kind if info.value else ""
        return (
            info.key is None
            and not info.kind
            and kind in ("count", "avg", "stats", "min", "max", "hist", "lhist", "tseries")
        )

    def is_printed_whole(self, name: str) -> bool:
        return name in self.checked.maps

    def need_stack_map(self, t: Type) -> None:
        self._stack_maps[stack_map(t)] = t

    def need_scratch(self, size: int, elements: int) -> int:
        """Reserve scratch elements for a program; returns the key of the first."""
        self._scratch_size = max(self._scratch_size, size)
        self._scratch_elements += elements
        return self._scratch_elements - elements

    def _ring_bytes(self) -> int:
        pages = self.config.perf_rb_pages
        if pages <= 0:
            return DEFAULT_RING
        return max(4096, 1 << (pages * 4096 - 1).bit_length())

    def ring_symbol(self) -> str:
        self._uses_ring = True
        return self.module.map("ring")

    # ---- losses

    def _loss_symbol(self) -> str:
        self._uses_loss = True
        count = len(self.probe_names) + len(self._map_numbers) + 1
        return self.module.variable("osmia_loss", 8 * count, LOSS)

    def _loss(self, p: Program, index: int) -> None:
        p.f.atomic_add(p.f.gep(self._loss_symbol(), 8 * index), "1")

    def probe_loss_counter(self, p: Program) -> tuple[str, int]:
        """(symbol, byte offset) of the counter of events that a program lost."""
        return self._loss_symbol(), 8 * self.loss_index(p.probe)

    def count_probe_loss(self, p: Program) -> None:
        self._loss(p, self.loss_index(p.probe))

    def count_map_loss(self, p: Program, name: str) -> None:
        self._loss(p, len(self.probe_names) + self._map_numbers[name])

    def count_lost_stack(self, p: Program) -> None:
        self._loss(p, len(self.probe_names) + len(self._map_numbers))

    def loss_index(self, probe: CheckedProbe) -> int:
        return self.probe_names.index(probe.names[0]) if probe.names else 0

    def probe_index(self, name: str) -> int:
        return self.probe_names.index(name) if name in self.probe_names else 0

    # ---- what programs share

    def start_value(self, p: Program, offset: int) -> str:
        self._uses_start = True
        return p.f.gep(self.module.variable("osmia_start", 24, START), offset)

    def exit_flag(self) -> str:
        """Address of a word that exit() sets, for timers: other probes go on until user space ends the trace."""
        self._uses_exit = True
        return self.module.variable("osmia_exit", 8, EXIT)

    def unknown_zero(self) -> str:
        """Address of a zero that programs never write, but could for all the verifier knows."""
        self._uses_zero = True
        return self.module.variable("osmia_zero", 8, ZERO)

    def user_address(self, p: Program, name: str, node: ast.Node) -> str:
        target = p.probe.attach[0].target if p.probe.attach else ""
        if self.options.user_address is None:
            raise p.error("uaddr() cannot be resolved here", node)
        address = self.options.user_address(target, name)
        point = p.probe.attach[0] if len(p.probe.attach) == 1 else None
        if point is None or not point.address or point.provider not in ("uprobe", "usdt"):
            return str(address)
        # Where the file is loaded: the probe's place in memory less its place in the file.
        from ._context import instruction_pointer

        return p.f.op("add", instruction_pointer(p, node), str(address - point.address))

    def add_event(self, event: EventFormat) -> int:
        number = len(self.events)
        self.events.append(event.replace(id=number, probe=event.probe))
        return number

    # ---- the whole

    def lower(self) -> Object:
        errors: list[Diagnostic] = []
        for probe in self.checked.probes:
            for single in self._split(probe):
                try:
                    self._program(single)
                except CodegenError as error:
                    errors.append(self._diagnostic(error))
        if errors:
            raise SourceError(errors)
        try:
            sources = {s.name: s.text.split("\n") for s in self.checked.sources}
            compiled = compile_module(self.module, optimize=self.options.optimize, source=sources)
        except CodegenError as error:
            raise SourceError([self._diagnostic(error)]) from None
        return self._object(compiled.functions, compiled.rodata)

    def ir(self) -> str:
        """The module's text before optimisation, for -d codegen."""
        return self.module.text()

    def _split(self, probe: CheckedProbe) -> list[CheckedProbe]:
        if probe.provider not in _ONE_EACH or len(probe.attach) < 2:
            return [probe]
        out = []
        for point, name in zip(probe.attach, probe.names):
            values = {f: getattr(probe, f) for f in probe._fields}
            out.append(CheckedProbe(**{**values, "attach": [point], "names": [name]}))
        return out

    def _diagnostic(self, error: CodegenError) -> Diagnostic:
        source = self.checked.sources[0]
        col = max(1, error.col)
        end = error.end_col if error.end_col > col else col + 1
        text = source.line(error.line)
        return Diagnostic("error", error.message, source.name, error.line, col, error.line, end, text, error.hint)

    def _program(self, probe: CheckedProbe) -> None:
        number = len(self._specs)
        name = program_name(probe, number)
        p = Program(self, probe, name, number)
        p.at(ast.Node(probe.span))
        if self._may_exit and probe.provider in TIMERS:
            run = p.f.label("run")
            p.f.cond_br(p.f.icmp("eq", p.f.load(self.exit_flag()), "0"), run, "leave")
            p.f.start(run)
        if probe.predicate is not None:
            p.at(probe.predicate)
            run, skip = p.f.label("run"), p.f.label("skip")
            p.f.cond_br(condition(p, probe.predicate), run, skip)
            p.f.start(skip)
            p.leave()
            p.f.start(run)
        p.statements(probe.body)
        p.finish()
        self._add_spec(probe, name)

    def _add_spec(self, probe: CheckedProbe, name: str) -> None:
        kind, attach_type = _PROGRAM_TYPES[probe.provider]
        points = self._points(probe, name)
        if any(point.functions or point.offsets for point in points):
            attach_type = _UPROBE_MULTI if probe.provider.startswith("u") else _KPROBE_MULTI
        attach_to = points[0].function if probe.provider in ("fentry", "fexit") else ""
        if probe.provider in ("fentry", "fexit") and points[0].target not in ("", "vmlinux"):
            attach_to = f"{points[0].target}:{attach_to}"
        if probe.provider == "iter":
            attach_to = f"bpf_iter_{points[0].function}"
        empty = Function(name, b"")
        self._specs.append(ProgramSpec(name, section_name(probe, points), kind, empty, attach_type, attach_to))
        self._attach += points

    def _points(self, probe: CheckedProbe, program: str) -> list[AttachPoint]:
        """Attach points of a program: many functions go through one multi link where the kernel has it."""
        cookies = len(probe.names) > 1 and "probe" in probe.uses
        points = [
            point.replace(program=program, source=probe.index, cookie=self.probe_index(name) if cookies else 0)
            for point, name in zip(probe.attach, probe.names)
        ]
        since = (5, 18) if probe.provider in ("kprobe", "kretprobe") else (6, 6)
        multi = probe.provider in ("kprobe", "kretprobe", "uprobe", "uretprobe") and self.features.version >= since
        # Multi links depend on the kernel's configuration too (FPROBE).
        if not multi or self.options.portable or len(points) < 2 or any(q.offset and not q.target for q in points):
            return points
        groups: dict[tuple[str, int], list[AttachPoint]] = {}
        for point in points:
            groups.setdefault((point.target if point.offset else "", point.pid), []).append(point)
        out = []
        for (target, _), group in groups.items():
            user = bool(target)
            out.append(
                group[0].replace(
                    target=target,
                    function="",
                    offset=0,
                    functions=tuple(q.function for q in group),
                    offsets=tuple(q.offset for q in group) if user else (),
                    ref_ctr_offsets=tuple(q.ref_ctr_offset for q in group) if user else (),
                    cookies=tuple(q.cookie for q in group) if cookies else (),
                    cookie=0,
                )
            )
        return out

    # ---- the object

    def _object(self, functions: dict[str, Function], rodata: bytes) -> Object:
        maps = self._map_specs(rodata)
        names = {spec.name for spec in self._specs}
        more = self.accesses.add_types if self.accesses else None
        btf, ids, map_types = object_btf(self.checked.maps, functions, self.module.functions, maps, more)
        if self.accesses:
            functions = {name: self.accesses.relocated(f) for name, f in functions.items()}
        typed = {name: f.replace(type_id=ids.get(name, 0)) for name, f in functions.items()}
        programs = tuple(spec.replace(function=typed[spec.name]) for spec in self._specs)
        maps = [m.replace(key_type=map_types[m.name][0], value_type=map_types[m.name][1]) for m in maps]
        return Object(
            programs=programs,
            maps=tuple(maps),
            subprograms=tuple(f for name, f in typed.items() if name not in names),
            btf=btf,
            license=self.config.license,
            attach_points=tuple(self._attach),
            map_formats=tuple(self._map_format(name) for name in self.checked.maps),
            events=tuple(self.events),
            ring="ring" if self._uses_ring else "",
            loss=LOSS if self._uses_loss else "",
            probe_names=tuple(self.probe_names),
            settings=self._settings(),
        )

    def _map_format(self, name: str) -> MapFormat:
        info = self.map(name)
        value = info.value or Type("int", 8, True)
        key = self.values.of(info.key) if info.key is not None else None
        per_cpu = value.is_aggregation or info.kind.startswith("percpu")
        return MapFormat(name, map_name(name), key, self.values.of(value), per_cpu)

    def _map_specs(self, rodata: bytes) -> list[MapSpec]:
        specs = [self._map_spec(name) for name in self.checked.maps]
        specs += [self._stack_spec(name, t) for name, t in self._stack_maps.items()]
        if self._scratch_size:
            specs.append(
                MapSpec(self.scratch_name, PERCPU_ARRAY, 4, (self._scratch_size + 7) & ~7, self._scratch_elements)
            )
        if self._uses_ring:
            ring = self.features.has("ringbuf_reserve")
            specs.append(MapSpec("ring", RINGBUF, 0, 0, self.ring_bytes) if ring else
                         MapSpec("ring", PERF_EVENT_ARRAY, 4, 4, 0))  # fmt: skip
        if rodata:
            specs.append(MapSpec(".rodata", ARRAY, 4, len(rodata), 1, 128, contents=rodata, frozen=True))
        if self._uses_loss:
            size = 8 * (len(self.probe_names) + len(self._map_numbers) + 1)
            specs.append(MapSpec(LOSS, ARRAY, 4, size, 1, contents=bytes(size)))
        if self._uses_zero:
            specs.append(MapSpec(ZERO, ARRAY, 4, 8, 1, contents=bytes(8)))
        if self._uses_exit:
            specs.append(MapSpec(EXIT, ARRAY, 4, 8, 1, contents=bytes(8)))
        if self._uses_start:
            specs.append(MapSpec(START, ARRAY, 4, 24, 1, contents=bytes(24)))
        return specs

    def _map_spec(self, name: str) -> MapSpec:
        info = self.map(name)
        value = info.value or Type("int", 8, True)
        key_size = size_of(info.key) if info.key is not None else 8
        entries = info.max_entries or (self.config.max_map_keys if info.key is not None else 1)
        size = max(1, size_of(value))
        if self.is_array(name):
            return MapSpec(map_name(name), PERCPU_ARRAY, 4, (size + 7) & ~7, 1)
        if info.kind:
            kind = _DECLARED[info.kind]
            if value.is_aggregation and kind in (HASH, LRU_HASH):
                kind = PERCPU_HASH if kind == HASH else LRU_PERCPU_HASH
        else:
            kind = PERCPU_HASH if value.is_aggregation else HASH
        # Elements are allocated beforehand: inside a program that fails when new keys come in a burst (the kernel
        # keeps one element of this size in reserve). Only histograms on very large machines would take too much.
        whole = entries * self.features.cpus * ((size + 7) & ~7)
        lazily = kind == PERCPU_HASH and whole > MAX_PREALLOCATED and self.features.version >= (6, 1)
        return MapSpec(map_name(name), kind, max(1, key_size), size, entries, _NO_PREALLOC if lazily else 0)

    def _stack_spec(self, name: str, t: Type) -> MapSpec:
        # Memory for all of them would take longer to get than the rest of the start, and most scripts see few. Before
        # Linux 6.1 such maps allocate with kmalloc, which programs of timers (NMIs) may not.
        flags = _NO_PREALLOC if self.features.version >= (6, 1) else 0
        entries = max(STACKS, self.config.max_map_keys)
        return MapSpec(name, HASH, 8, _stacks.frame_size(t.mode) * t.count, entries, flags)

    def _settings(self) -> tuple[tuple[str, int | str], ...]:
        config = self.config
        run = ((f"run.{name}", f"{START}+{at}") for name, at in RUN_VALUES) if self._uses_start else ()
        return (*run, *self._config_settings(config))

    def _config_settings(self, config: Config) -> tuple[tuple[str, int | str], ...]:
        return tuple(
            (name, int(value) if isinstance(value, bool) else value)
            for name in config._fields
            for value in (getattr(config, name),)
        )


def map_name(name: str) -> str:
    """`@reads` -> AT_reads: what the kernel and ELF accept."""
    return "AT_" + name[1:]


def program_name(probe: CheckedProbe, number: int) -> str:
    """A name that says which probe it is, of the characters and the length that the kernel keeps (15)."""
    word = probe.attach[0].function if probe.attach and probe.attach[0].function else probe.provider
    clean = "".join(c if c.isalnum() and c.isascii() else "_" for c in word)
    return f"p{number}_{clean}"


def section_name(probe: CheckedProbe, points: list[AttachPoint]) -> str:
    """The ELF section, by libbpf's conventions where it has one."""
    point = points[0] if points else None
    provider = probe.provider
    if point is None or provider in ("begin", "end", "self", "test", "bench"):
        return "raw_tp"
    if provider == "tracepoint":
        return f"tracepoint/{point.target}/{point.function}" if len(points) == 1 else "tracepoint"
    if provider == "rawtracepoint":
        return f"raw_tp/{point.function}"
    if provider in ("interval", "profile", "software", "hardware", "watchpoint", "asyncwatchpoint"):
        return "perf_event"
    if provider in ("uprobe", "uretprobe", "usdt"):
        kind = "uretprobe" if provider == "uretprobe" else "uprobe"
        return kind + (".multi" if point.offsets else "")
    if point.functions:
        return f"{provider}.multi"
    return f"{provider}/{point.function}"
