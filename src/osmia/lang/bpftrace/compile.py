"""The front-end as one function: script in, `Object` out."""

from __future__ import annotations

import os

from ...errors import Diagnostic
from .checked import CheckedScript, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ...btf import Btf
    from ...objects import Object
    from . import ast
    from .lower import ScriptLowering
    from .types import Type


class Compilation:
    """One script on its way through the passes. The steps are properties of growing cost: `tree`, `checked`, `lowered`.

    See `compile_script` for the arguments; `btf` is a path or None for the running kernel's.
    """

    def __init__(
        self,
        script: str,
        *,
        name: str = "stdin",
        params: Sequence[str] = (),
        options: Mapping[str, str | bool | None] | None = None,
        pid: int = 0,
        has_cmd: bool = False,
        unsafe: bool = False,
        include_dirs: Sequence[str] = (),
        includes: Sequence[str] = (),
        warning_level: int = 1,
        optimize: str = "short",
        probe_filter: str = "",
        btf: str | None = None,
        debug: Sequence[str] = (),
        portable: bool = False,
        kernel: tuple[int, int] | None = None,
        traceable: str = "",
        debug_dirs: Sequence[str] = (),
        target: str = "kernel",
    ) -> None:
        self.target = target
        self.sources = [Source(name, script)]
        self.includes = tuple(includes)
        self.warning_level = warning_level
        self.params = tuple(params)
        self.options = {k: None if v is True else v for k, v in (options or {}).items() if v is not False}
        self.pid, self.has_cmd, self.unsafe = pid, has_cmd, unsafe
        self.include_dirs = tuple(include_dirs)
        self.optimize = optimize
        self.probe_filter = probe_filter
        self.warnings: list[Diagnostic] = []
        self.debug_dirs = tuple(debug_dirs)
        self.debug_files: list[str] = []  # separate files whose debug information was used
        self.debug = tuple(debug)
        self.portable = portable
        self.kernel = kernel or (PORTABLE_SINCE if portable else VM_FEATURES if target == "vm" else None)
        self.traceable = traceable
        self._btf_path = btf
        self._btf: Btf | None = None
        self._btf_tried = False

    @property
    def have_btf(self) -> bool:
        return os.path.exists(self._btf_path or "/sys/kernel/btf/vmlinux")

    def load_btf(self) -> Btf | None:
        """The kernel's types, read when something needs them."""
        if not self._btf_tried:
            self._btf_tried = True
            if self.have_btf:
                from ...btf import load_kernel_btf

                self._btf = load_kernel_btf(path=self._btf_path) if self._btf_path else load_kernel_btf()
        return self._btf

    def close(self) -> None:
        """Let go of the kernel's types. More than once does no harm."""
        if self._btf is not None:
            self._btf.close()

    def parse(self) -> ast.Script:
        """The tree after expansion of imports, macros and parameters."""
        from .expand import expand
        from .parser import parse

        source = self.sources[0]
        folder = os.path.dirname(source.name)
        head = self._head()
        script = parse(source, have_btf=self.have_btf, include_dirs=self.include_dirs, file_dir=folder, head=head)
        if head is not None:
            from .ast import CDefinition, Span

            script.definitions.insert(0, CDefinition(Span(0, len(head.text), len(self.sources)), head.text))
            self.sources.append(head)
        if self.probe_filter:
            import re

            wanted = re.compile(self.probe_filter)
            script.probes = [p for p in script.probes if any(wanted.search(a.text) for a in p.attach)]
        return expand(
            script,
            self.sources,
            positional=self.params,
            named={k: None if v is None else str(v) for k, v in self.options.items()},
            have_btf=self.have_btf,
            include_dirs=self.include_dirs,
        )

    def _head(self) -> Source | None:
        """The files to include before the script, as C text in a source of their own."""
        text = "".join(f'#include "{path}"\n' for path in self.includes)
        return Source("--include", text) if text else None

    def check(self) -> CheckedScript:
        """The typed script. Raises SourceError, ProbeError."""
        from ...probes import Catalogue
        from ._check_state import Environment
        from .check import check
        from .config import read_config

        script = self.parse()
        if self.pid:
            from ._one_process import limit_to_process

            limit_to_process(script, self.pid, self.params)
        config, warnings = read_config(script.config, self.sources, os.environ)
        self.warnings += warnings
        definitions = None
        if script.definitions:
            from . import cdefs

            dirs = [os.path.dirname(s.name) for s in self.sources]
            definitions = cdefs.read(
                script.definitions,
                self.sources,
                have_btf=self.have_btf,
                include_dirs=self.include_dirs,
                file_dirs=dirs,
                resolve=self._kernel_type,
            )
        lazy: Btf | None = _LazyBtf(self) if self.have_btf else None  # type: ignore[assignment]
        places: dict[str, Any] = {"traceable": self.traceable, "debug_dirs": self.debug_dirs}
        places["static"] = self.target == "vm"
        with Catalogue(lazy, pid=self.pid, unsafe=self.unsafe, **places) as catalogue:
            environment = Environment(
                self.sources,
                definitions,
                self.load_btf,
                catalogue,
                config,
                self.pid,
                int(self.has_cmd),
                self.unsafe,
                os.uname().machine,
                self.params,
                self.warnings,
            )
            checked = check(script, environment)
            self.debug_files = catalogue.debug_files()
        if definitions is not None:
            checked.structs = {**definitions.structs, **checked.structs}
            checked.enums = {**definitions.enums, **checked.enums}
        return checked

    def _kernel_type(self, name: str) -> Type | None:
        """A type that the script's C definitions use without defining it."""
        from . import btftypes

        return btftypes.resolve(self.load_btf(), name)

    def lower(self) -> ScriptLowering:
        from ...syscalls import possible_cpus
        from .lower import Features, Options, ScriptLowering

        checked = self.check()
        release = os.uname().release.split(".")
        version = self.kernel or (int(release[0]), int(release[1]))
        known = None if self.kernel else checked.btf
        features = Features(version, known, MOST_CPUS if self.portable else possible_cpus(), os.uname().machine)
        options = Options(
            features,
            portable=self.portable,
            pid_namespace=None if self.portable or self.target == "vm" else _pid_namespace(),
            user_address=self._user_address,
            optimize=self.optimize,
            helper_errors=self.warning_level > 1,
        )
        return ScriptLowering(checked, options)

    def compile(self) -> Object:
        obj = self.lower().lower()
        files = [s.name for s in self.sources[1:] if s.origin is None] + self.debug_files
        sources = tuple((f"source.{i}", name) for i, name in enumerate(files))
        shown = self.warnings if self.warning_level else []
        warnings = tuple((f"warning.{i}", w.render()) for i, w in enumerate(shown))
        return obj.replace(settings=obj.settings + sources + warnings)

    def _user_address(self, target: str, name: str) -> int:
        from ...elf import open_elf
        from ...errors import SymbolError

        with open_elf(target) as elf:
            symbol = elf.find_symbol(name)
            if symbol is None:
                raise SymbolError(f"find symbol {name}: {target} has none of that name")
            return symbol.value


class _LazyBtf:
    """The kernel's BTF for the catalogue, read at the first use of anything in it."""

    def __init__(self, compilation: Compilation) -> None:
        self._compilation = compilation

    def __getattr__(self, name: str) -> object:
        return getattr(self._compilation.load_btf(), name)


def compile_script(script: str, *, name: str = "stdin", **options: object) -> Object:
    """Compile a script in the bpftrace language for the running kernel; nothing is loaded.

    `name` is what messages call the script; for a file it is its path (imports are relative to it). `params` are the
    positional parameters, `options` the named ones (`getopt`). `pid` limits probes to a process, `has_cmd` says
    that there is a command (-c). `include_dirs` are searched for `#include`. `optimize` is none, short or O2;
    `probe_filter` a regular expression that keeps only the probes it finds; `traceable` a file that
    lists the functions of the kernel; `debug_dirs` are searched for debug files first.
    Warnings are in the object's settings, as "warning.N".
    With `target` "vm" no privilege is needed: tracepoints are described by a table where tracefs is closed.
    `portable` makes an object for other machines: offsets of kernel types become CO-RE relocations, and nothing newer
    than `kernel` (major, minor; 6.1 unless told) is used.
    Raises SourceError with all errors of the script.
    """
    compilation = Compilation(script, name=name, **options)  # type: ignore[arg-type]
    try:
        return compilation.compile()
    except BaseException:
        # Whoever keeps the exception keeps all of this alive: at least no file stays open.
        compilation.close()
        raise


# The oldest kernel that an object for several kernels is made for, unless told: the first with all that scripts need.
PORTABLE_SINCE = (6, 1)
# What the user-space target can do, whatever kernel it runs on: all helpers, but no kfuncs (scripts use them from 6.6).
VM_FEATURES = (6, 5)
MOST_CPUS = 8192  # NR_CPUS of distributions


INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO


def _pid_namespace() -> tuple[int, int] | None:
    """(device, inode) of our PID namespace when it is not the initial one: then `pid` counts in it."""
    status = os.stat("/proc/self/ns/pid")
    if status.st_ino == INITIAL_PID_NAMESPACE:
        return None
    return status.st_dev, status.st_ino
