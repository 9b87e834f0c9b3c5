"""What can be probed on this machine, read when first asked for, and what of it a specification means."""

from __future__ import annotations

import os

from ..errors import BtfError, ElfError, NotSupported, ProbeError, SymbolError
from ._files import in_namespace, is_elf, no_file, resolve_files
from ._functions import KALLSYMS, KIND_FUNC, KernelFunctions
from ._glob import has_wildcard, matcher
from ._match import Location, Match
from ._names import closest
from ._spec import ProbeSpec, probe_name
from ._tracefs import Tracefs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..btf import Btf
    from ._static import StaticTracepoints
    from ._user import UserFile

KIND_STRUCT, KIND_TYPEDEF = 4, 8  # BTF_KIND_* of linux/btf.h
_RAW = "btf_trace_"
_ITER = "bpf_iter__"


def _no_btf(spec: ProbeSpec, since: str) -> NotSupported:
    return NotSupported(
        f"match {spec.text}: the kernel's types (BTF) are not available",
        feature="BTF",
        since=since,
        hint="boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, or use a tracepoint; osmia doctor shows what works",
    )


class Catalogue:
    """The probes of this machine. `btf` are the running kernel's types (None: what needs BTF is not found).

    `tracefs` is where tracefs is mounted ("": found), `kallsyms` a path or the text. With a `pid`, user probes
    mean what that process has mapped, by paths of its mount namespace. `unsafe` allows probes outside of functions.
    `traceable` is a file that lists the functions of the kernel, in the format of available_filter_functions.
    `debug_dirs` are searched for debug files first (see `osmia.elf.find_debug_file`).
    With `static`, tracepoints come from a table of our own first: no privilege is needed.
    A context manager: it keeps ELF files mapped until `close`.
    """

    def __init__(
        self,
        btf: Btf | None = None,
        tracefs: str = "",
        kallsyms: str | bytes = KALLSYMS,
        *,
        pid: int = 0,
        unsafe: bool = False,
        traceable: str = "",
        debug_dirs: tuple[str, ...] = (),
        static: bool = False,
    ) -> None:
        self.btf = btf
        self.tracefs: Tracefs | StaticTracepoints = Tracefs(tracefs)
        if static:
            from ._static import StaticTracepoints

            self.tracefs = StaticTracepoints(self.tracefs)
        self.functions = KernelFunctions(btf, self.tracefs.path, kallsyms, traceable=traceable)
        self.pid = pid
        self.unsafe = unsafe
        self.debug_dirs = debug_dirs
        self._module_btf: dict[str, Btf | None] = {}
        self._files: dict[str, UserFile] = {}
        self._func_ids: dict[str, dict[str, int]] = {}
        self._func_lookups = 0

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the ELF files; more than once does no harm."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def match(self, spec: ProbeSpec) -> list[Match]:
        """The probes that `spec` means, in alphabetical order; empty when a wildcard or a name finds nothing.

        Raises ProbeError where that cannot be a matter of `missing_probes`: no such file, module or address.
        """
        return _MATCHERS[spec.provider](self, spec)

    def require(self, spec: ProbeSpec) -> list[Match]:
        """As `match`, but finding nothing is a ProbeError with suggestions."""
        found = self.match(spec)
        if not found:
            raise self.no_match(spec)
        return found

    def no_match(self, spec: ProbeSpec) -> ProbeError:
        """The error to raise for a specification that matched nothing."""
        named = ":".join(p for p in (spec.target, spec.namespace, spec.function) if p)
        near = () if spec.is_pattern else self._suggest(spec)
        hint = f"did you mean {' or '.join(near)}?" if near else self._why_none(spec)
        return ProbeError(f"No matches for {spec.provider} {named}.", probe=spec.text, suggestions=near, hint=hint)

    def _why_none(self, spec: ProbeSpec) -> str:
        """What is known of a function of a file that has no symbol."""
        if spec.provider not in ("uprobe", "uretprobe") or not spec.function or spec.is_pattern or spec.lang == "cpp":
            return ""
        for path in resolve_files(spec.target, self.pid)[:1]:
            file = self.file(path)
            if file.is_inlined(spec.function):
                return f"the compiler inlined {spec.function}: {path} has no such function; probe one that calls it"
            if not file.elf.symtab and file.debug is None:
                only = ", only names that it exports" if file.functions() else ""
                return f"{path} has no symbol table (stripped?){only}; install its debug symbols, or give an address"
        return ""

    def _suggest(self, spec: ProbeSpec) -> tuple[str, ...]:
        if spec.provider == "tracepoint":
            events = self.tracefs.events()
            inside = closest(spec.function, events.get(spec.target, ()))
            if inside:
                return tuple(f"tracepoint:{spec.target}:{event}" for event in inside)
            # The event may stand in another category.
            full = {f"{c}:{e}" for c, names in events.items() for e in names}
            same = sorted(name for name in full if name.endswith(":" + spec.function))
            return tuple(f"tracepoint:{n}" for n in same or closest(f"{spec.target}:{spec.function}", full))
        if spec.provider in ("kprobe", "kretprobe", "fentry", "fexit"):
            return tuple(f"{spec.provider}:{name}" for name in self.functions.similar(spec.function))
        if spec.provider == "rawtracepoint":
            names = {event for _, event in self.rawtracepoints()}
            return tuple(f"rawtracepoint:{name}" for name in closest(spec.function, names))
        if spec.provider == "iter":
            return tuple(f"iter:{name}" for name in closest(spec.function, self.iterators()))
        if spec.provider in ("uprobe", "uretprobe") and spec.function:
            for path in resolve_files(spec.target, self.pid)[:1]:
                near = self.file(path).similar(spec.function)
                return tuple(f"{spec.provider}:{spec.target}:{name}" for name in near)
        if spec.provider == "usdt" and not has_wildcard(spec.target):
            for path in resolve_files(spec.target, self.pid)[:1]:
                notes = {probe: f"usdt:{spec.target}:{owner}:{probe}" for owner, probe in self.file(path).usdt()}
                return tuple(notes[name] for name in closest(spec.function, notes))
        return ()

    # kernel

    def module_btf(self, module: str) -> Btf | None:
        """Types of a kernel module (of the kernel itself for "" and "vmlinux"); None where it has none."""
        if module in ("", "vmlinux") or self.btf is None:
            return self.btf
        if module not in self._module_btf:
            from ..btf import load_kernel_btf

            try:
                self._module_btf[module] = load_kernel_btf(module)
            except BtfError:
                self._module_btf[module] = None
        return self._module_btf[module]

    def modules_with_btf(self) -> list[str]:
        """Modules that have BTF, "vmlinux" first."""
        try:
            names = sorted(os.listdir("/sys/kernel/btf"))
        except OSError:
            names = []
        return ["vmlinux", *(name for name in names if name != "vmlinux")]

    def func_id(self, name: str, module: str = "") -> int | None:
        """BTF id of a function of the kernel or of one module; from an index once it is asked often."""
        btf = self.module_btf(module)
        if btf is None:
            return None
        index = self._func_ids.get(module)
        if index is None:
            self._func_lookups += 1
            if self._func_lookups < 20:
                return btf.find(name, KIND_FUNC)
            index = self._func_ids[module] = {btf.name(id): id for id in btf.ids(KIND_FUNC)}
        return index.get(name)

    def rawtracepoints(self) -> list[tuple[str, str]]:
        """(module, event) of all raw tracepoints, from the `btf_trace_*` types that tracepoints declare."""
        found = set()
        for module in self.modules_with_btf():
            btf = self.module_btf(module)
            for id in btf.ids(KIND_TYPEDEF) if btf else ():
                name = btf.name(id)  # type: ignore[union-attr]
                if name.startswith(_RAW):
                    found.add((module, name[len(_RAW) :]))
        return sorted(found, key=lambda pair: (pair[0] != "vmlinux", pair))

    def iterators(self) -> list[str]:
        """Names of the iterators that the kernel and its modules declare, sorted."""
        found = set()
        for module in self.modules_with_btf():
            btf = self.module_btf(module)
            for id in btf.ids(KIND_STRUCT) if btf else ():
                name = btf.name(id)  # type: ignore[union-attr]
                # Structs of the verifier's own ("bpf_iter__task__safe_trusted") have no function beside them.
                if name.startswith(_ITER) and self.func_id("bpf_iter_" + name[len(_ITER) :], module) is not None:
                    found.add(name[len(_ITER) :])
        return sorted(found)

    def fentry_functions(self) -> dict[str, list[str]]:
        """Module -> functions that have both a BTF prototype and a place to probe, sorted."""
        found: dict[str, list[str]] = {}
        for module, names in self.functions.sets().items():
            btf = self.module_btf(module)
            if btf is not None:
                both = names.intersection(btf.funcs())
                if both:
                    found[module] = sorted(both)
        return found

    def bpf_programs(self) -> list[str]:
        """Names of the loaded BPF programs and subprograms that kallsyms shows (root only)."""
        import re

        text = self.functions._kallsyms_text()
        return sorted({m.decode() for m in re.findall(rb" t bpf_prog_[0-9a-f]{16}_(\S+)\t\[bpf\]", text)})

    def _tracepoint(self, spec: ProbeSpec) -> list[Match]:
        if not has_wildcard(spec.target) and not has_wildcard(spec.function):
            exists = self.tracefs.has(spec.target, spec.function)
            return [_found(spec, spec.target, spec.function)] if exists else []
        category, event = matcher(spec.target), matcher(spec.function)
        events = self.tracefs.events()
        return [_found(spec, c, e) for c in events if category(c) for e in events[c] if event(e)]

    def _rawtracepoint(self, spec: ProbeSpec) -> list[Match]:
        if self.btf is None:
            if spec.is_pattern:
                raise _no_btf(spec, "4.17")
            return [_found(spec, spec.target or "vmlinux", spec.function)]  # the kernel looks it up when it is attached
        module = spec.target or "*"
        in_module, event = matcher(module), matcher(spec.function)
        exact = None if has_wildcard(spec.function) else self.btf.find(_RAW + spec.function, KIND_TYPEDEF)
        if exact is not None and in_module("vmlinux"):
            # The usual case, without a walk over all types.
            return [_found(spec, "vmlinux", spec.function)]
        return [_found(spec, m, e) for m, e in self.rawtracepoints() if in_module(m) and event(e)]

    def _iter(self, spec: ProbeSpec) -> list[Match]:
        if self.btf is None:
            raise _no_btf(spec, "5.8")
        name = spec.function
        if self.btf.find(_ITER + name, KIND_STRUCT) is not None or name in self.iterators():
            return [_found(spec, "", name)]
        return []

    def _kprobe(self, spec: ProbeSpec) -> list[Match]:
        self._check_module(spec)
        if spec.address is not None:
            return [_found(spec, spec.target, "")]
        if not spec.is_pattern:
            if self.functions.has(spec.function, spec.target):
                return [_found(spec, spec.target, spec.function)]
            return self._elsewhere(spec)
        name = matcher(spec.function)
        modules = self.functions.modules()
        if spec.target:
            module = matcher(spec.target)
            return [_found(spec, m, f) for m in modules if module(m) for f in modules[m] if name(f)]
        found = {f for names in modules.values() for f in names if name(f)}
        return [_found(spec, "", f) for f in sorted(found)]

    def _elsewhere(self, spec: ProbeSpec) -> list[Match]:
        """The function under the name that this kernel gives it, if that is known."""
        from ._moved import other_names

        for name in other_names(spec.function):
            if self.functions.has(name, spec.target):
                note = f"this kernel has no function {spec.function}: probing {self._signature(name)} instead"
                return [_found(spec, spec.target, name).replace(note=note)]
        clone = self.functions.clone_of(spec.function) if spec.target in ("", "vmlinux") else ""
        if clone:
            note = f"this kernel has only a clone of {spec.function}: probing {clone}, whose arguments may differ"
            return [_found(spec, spec.target, clone).replace(note=note)]
        return []

    def _signature(self, name: str) -> str:
        params = self.btf.func_params(name) if self.btf else None
        return name if params is None else f"{name}({', '.join(p.name for p in params)})"

    def _check_module(self, spec: ProbeSpec) -> None:
        if spec.target and not has_wildcard(spec.target) and not self.functions.is_loaded(spec.target):
            raise ProbeError(
                f"specified module {spec.target} in probe {spec.provider}:{spec.target}:{spec.function} is not loaded.",
                probe=spec.text,
                hint=f"load it with: modprobe {spec.target}",
            )

    def _fentry(self, spec: ProbeSpec) -> list[Match]:
        if spec.target == "bpf":
            if not has_wildcard(spec.function):
                return [_found(spec, "bpf", spec.function)]
            name = matcher(spec.function)
            return [_found(spec, "bpf", program) for program in self.bpf_programs() if name(program)]
        if self.btf is None:
            raise _no_btf(spec, "5.5")
        self._check_module(spec)
        if not spec.is_pattern:
            return self._fentry_exact(spec)
        module, name = matcher(spec.target or "*"), matcher(spec.function)
        functions = self.fentry_functions()
        return [_found(spec, m, f) for m in functions if module(m) for f in functions[m] if name(f)]

    def _fentry_exact(self, spec: ProbeSpec) -> list[Match]:
        btf = self.module_btf(spec.target)
        if btf is not None and btf.find(spec.function, KIND_FUNC) is not None:
            return [_found(spec, spec.target or "vmlinux", spec.function)]
        if spec.target:
            return []
        found = []
        for module in self.modules_with_btf()[1:]:
            inside = self.module_btf(module)
            if inside is not None and inside.find(spec.function, KIND_FUNC) is not None:
                found.append(_found(spec, module, spec.function))
        if len(found) > 1:
            modules = ", ".join(match.target for match in found)
            raise ProbeError(
                f"match {spec.provider}: {spec.function} is in several modules: {modules}",
                probe=spec.text,
                suggestions=tuple(match.name for match in found),
                hint="name the module",
            )
        return found

    # user space

    def file(self, path: str) -> UserFile:
        """The ELF file at `path`, mapped once. Raises ElfError or SymbolError."""
        if path not in self._files:
            from ._user import UserFile

            self._files[path] = UserFile(path, self.debug_dirs)
        return self._files[path]

    def debug_files(self) -> list[str]:
        """Paths of the separate debug files that were read so far."""
        return [path for file in self._files.values() for path in file.debug_paths()]

    def files(self, spec: ProbeSpec) -> list[str]:
        """Paths of the files that a user probe means. ProbeError if there is none."""
        paths = resolve_files(spec.target, self.pid)
        if not paths:
            raise no_file(f"match {spec.provider}", spec.target, self.pid, spec.text)
        return paths if has_wildcard(spec.target) else paths[:1]

    def _uprobe(self, spec: ProbeSpec) -> list[Match]:
        found: list[Match] = []
        if self.unsafe and spec.address is not None and not has_wildcard(spec.target):
            path = in_namespace(self.pid, spec.target)
            if os.path.isfile(path) and not is_elf(path):
                # A flat binary, which is mapped as it is: the address is the file offset.
                return [_placed(spec, path, "", [Location(spec.address, spec.address)])]
        paths = self.files(spec)
        for path in paths:
            try:
                file = self.file(path)
            except (ElfError, SymbolError):
                if len(paths) == 1:
                    raise
                continue  # one of many files that a wildcard named: not for us
            found += self._in_file(spec, path, file)
        return found

    def _in_file(self, spec: ProbeSpec, path: str, file: UserFile) -> list[Match]:
        if spec.line:
            return self._source_line(spec, path, file)
        if spec.address is not None:
            inside = None if self.unsafe else file.function_at(spec.address)
            if not self.unsafe and inside is None:
                raise ProbeError(
                    f"Could not resolve address: {path}:{spec.address:#x}",
                    probe=spec.text,
                )
            if inside is not None and spec.address != inside.value:
                file.check_boundary(inside, spec.address - inside.value)
            try:
                place = file.place(spec.address)
            except ElfError:
                if not self.unsafe:
                    raise
                place = Location(file.base + spec.address, spec.address)  # take it for a file offset
            return [_placed(spec, path, "", [place])]
        if spec.lang == "cpp" or has_wildcard(spec.function):
            found = []
            for name in self._functions(spec, file):
                places = []
                for symbol in file.functions()[name]:
                    try:
                        places.append(file.place(symbol.value))
                    except ElfError:
                        continue  # a symbol outside of what the file loads
                if places:
                    found.append(_placed(spec, path, name, places))
            return found
        one = file.function(spec.function)
        if one is None:
            return []
        return [_placed(spec, path, spec.function, [file.location(one, spec.offset, unsafe=self.unsafe)])]

    def _functions(self, spec: ProbeSpec, file: UserFile) -> list[str]:
        if spec.lang == "cpp":
            from ._cpp import cpp_matcher

            accepts: Callable[[str], object] = cpp_matcher(spec.function)
        else:
            accepts = matcher(spec.function)
        return [name for name in file.functions() if accepts(name)]

    def _source_line(self, spec: ProbeSpec, path: str, file: UserFile) -> list[Match]:
        from ._source import source_addresses

        return [_placed(spec, path, "", [file.place(a) for a in source_addresses(file, spec)])]

    def _usdt(self, spec: ProbeSpec) -> list[Match]:
        if self.pid and not spec.target:
            spec = spec.replace(target="*")
        namespace, name = matcher(spec.namespace or "*"), matcher(spec.function)
        found: list[Match] = []
        paths = self.files(spec)
        for path in paths:
            try:
                file = self.file(path)
                probes = file.usdt()
            except (ElfError, SymbolError):
                if len(paths) == 1:
                    raise
                continue  # as for uprobes
            for owner, probe in sorted(probes):
                if namespace(owner) and name(probe):
                    places = file.usdt_locations(probes[owner, probe])
                    full = probe_name(spec, path, probe, owner)
                    found.append(Match(spec, full, path, probe, owner, places))
        return found

    # what always exists

    def _always(self, spec: ProbeSpec) -> list[Match]:
        return [_found(spec, spec.target, spec.function)]


def _found(spec: ProbeSpec, target: str, function: str) -> Match:
    return Match(spec, probe_name(spec, target, function, spec.namespace), target, function)


def _placed(spec: ProbeSpec, path: str, function: str, places: list[Location]) -> Match:
    unique = {place.offset: place for place in places}
    return Match(spec, probe_name(spec, path, function), path, function, "", tuple(unique.values()))


_MATCHERS: dict[str, Callable[[Catalogue, ProbeSpec], list[Match]]] = {
    "tracepoint": Catalogue._tracepoint,
    "rawtracepoint": Catalogue._rawtracepoint,
    "iter": Catalogue._iter,
    "kprobe": Catalogue._kprobe,
    "kretprobe": Catalogue._kprobe,
    "fentry": Catalogue._fentry,
    "fexit": Catalogue._fentry,
    "uprobe": Catalogue._uprobe,
    "uretprobe": Catalogue._uprobe,
    "usdt": Catalogue._usdt,
    **dict.fromkeys(
        (
            "begin",
            "end",
            "self",
            "test",
            "bench",
            "interval",
            "profile",
            "software",
            "hardware",
            "watchpoint",
            "asyncwatchpoint",
        ),
        Catalogue._always,
    ),
}
