"""Which kernel functions can be probed: ftrace's list, else kallsyms, else BTF."""

from __future__ import annotations

import os

from ._names import closest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf

KALLSYMS = "/proc/kallsyms"
KIND_FUNC = 12  # BTF_KIND_FUNC of linux/btf.h

# Names that are left out of lists: RCU runs inside every probe, ftrace marks dead slots, the rest is no code of its own
# (padding, call thunks, what tracepoints and static calls expand to).
_HIDDEN = (
    "rcu_", "__ftrace_invalid_address__", "__pfx_", "__cfi_", "__SCT__", "__bpf_trace_", "__probestub_", "__traceiter_",
)  # fmt: skip
# Code that kprobes refuse (NOKPROBE sections, entry code, code that is freed after boot), between two symbols each.
_REFUSED = (
    (b"__noinstr_text_start", b"__noinstr_text_end"),
    (b"__kprobes_text_start", b"__kprobes_text_end"),
    (b"__entry_text_start", b"__entry_text_end"),
    (b"_sinittext", b"_einittext"),
)
# Symbols of the linker, not functions.
_MARKS = {"_text", "_stext", "_etext", "_sinittext", "_einittext"}


class KernelFunctions:
    """Functions of the kernel and its modules. The kernel itself is the module "vmlinux".

    `kallsyms` is a path or the text itself. Reading happens on first use; `has` asks BTF before it reads anything.
    """

    def __init__(
        self, btf: Btf | None, tracefs: str = "", kallsyms: str | bytes = KALLSYMS, *, traceable: str = ""
    ) -> None:
        self._btf = btf
        self._listed = traceable  # a file that alone says what can be probed
        self._tracefs = tracefs
        self._kallsyms = kallsyms
        self._text: bytes | None = None
        self._modules: dict[str, list[str]] | None = None
        self._traceable: dict[str, set[str]] | None = None
        self.source = ""  # where the list came from, for messages: a path, or "BTF"

    def modules(self) -> dict[str, list[str]]:
        """Module -> sorted names of the functions that can be probed, "vmlinux" first."""
        if self._modules is None:
            found = self._from_ftrace()
            if not found and not self._listed:
                found = self._from_kallsyms() or self._from_btf()
            names = sorted(found, key=lambda m: (m != "vmlinux", m))
            self._modules = {module: sorted(found[module]) for module in names}
        return self._modules

    def sets(self) -> dict[str, set[str]]:
        """As `modules`, as sets."""
        if self._traceable is None:
            self._traceable = {module: set(names) for module, names in self.modules().items()}
        return self._traceable

    def is_traceable(self, name: str) -> bool:
        """Whether `name` is among the functions that can be probed, in any module."""
        return any(name in names for names in self.sets().values())

    def has(self, name: str, module: str = "") -> bool:
        """Whether the kernel (or `module`) has this function; it may still refuse a probe there."""
        if self._listed:
            return name in self.sets().get(module, ()) if module else self.is_traceable(name)
        if module in ("", "vmlinux") and self._btf is not None and self._btf.find(name, KIND_FUNC) is not None:
            return True
        if self._kallsyms_text():
            return bool(self._in_kallsyms(name, module))
        return name in self.sets().get(module, ()) if module else self.is_traceable(name)

    def has_symbol(self, name: str) -> bool | None:
        """Whether kallsyms has a symbol of this name, of any kind; None when it cannot be read."""
        text = self._kallsyms_text()
        needle = name.encode("utf-8", "replace")
        if not text:
            return None
        return b" %b\n" % needle in text or b" %b\t" % needle in text

    def clone_of(self, name: str) -> str:
        """A clone that the compiler made of a static function ("f.isra.0", "f.constprop.0"), "" if there is none."""
        for kind in (".isra.", ".constprop."):
            found = self._in_kallsyms(name + kind, "", whole=False)
            if found:
                return found
        return ""

    def modules_of(self, name: str) -> list[str]:
        """The modules that have a function of this name."""
        return [module for module, names in self.sets().items() if name in names]

    def is_loaded(self, module: str) -> bool:
        """Whether the module is loaded (vmlinux always is)."""
        return module == "vmlinux" or os.path.isdir(f"/sys/module/{module}") or module in self.modules()

    def similar(self, name: str) -> tuple[str, ...]:
        """Functions with a name like this one."""
        return closest(name, {n for names in self.modules().values() for n in names})

    # where the names come from

    def _from_ftrace(self) -> dict[str, set[str]]:
        path = self._listed or f"{self._tracefs}/available_filter_functions"
        if not self._listed and not self._tracefs:
            return {}
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError:
            return {}  # needs CAP_SYS_ADMIN; locked-down kernels refuse even root
        found: dict[str, set[str]] = {"vmlinux": set()}
        core = found["vmlinux"]
        for line in text.splitlines():
            name, _, module = line.partition(" ")
            if "\t" in name:
                name, _, module = line.partition("\t")
            if name.startswith(_HIDDEN[:2]) or ".part." in name:
                continue
            if module:
                found.setdefault(module.strip("[] \t"), set()).add(name)
            else:
                core.add(name)
        self.source = path
        return found if core else {}

    def _kallsyms_text(self) -> bytes:
        if self._text is None:
            if isinstance(self._kallsyms, bytes):
                self._text = self._kallsyms
            else:
                try:
                    with open(self._kallsyms, "rb") as file:
                        self._text = file.read()
                except OSError:
                    self._text = b""
        return self._text

    def _from_kallsyms(self) -> dict[str, set[str]]:
        import re

        text = self._kallsyms_text()
        cut = text.find(b"\t[")  # the first line of a module; vmlinux comes before all of them
        cut = len(text) if cut < 0 else text.rfind(b"\n", 0, cut) + 1
        core = text[:cut]
        for first, last in _REFUSED:
            start = core.find(b" %b\n" % first)
            end = core.find(b" %b\n" % last)
            if 0 <= start < end:
                core = core[: core.rfind(b"\n", 0, start) + 1] + core[core.find(b"\n", end) + 1 :]
        names = {
            m.decode("ascii", "replace") for m in re.findall(rb" [tTwW] ([^\s.]+(?:\.(?!cold|part)[^\s]+)?)\n", core)
        }
        if not names:
            return {}
        refused = self._blacklist() | _MARKS
        found = {"vmlinux": {n for n in names if not n.startswith(_HIDDEN)} - refused}
        for name, module in re.findall(rb" [tT] ([^\s.]+)\t\[(\S+)\]", text[cut:]):
            # "bpf" is JITed programs, names in underscores are trampolines (kernel/kallsyms.c).
            if module == b"bpf" or module.startswith(b"__builtin"):
                continue
            text_name = name.decode("ascii", "replace")
            if not text_name.startswith(_HIDDEN) and text_name not in refused:
                found.setdefault(module.decode("ascii", "replace"), set()).add(text_name)
        self.source = self._kallsyms if isinstance(self._kallsyms, str) else "kallsyms"
        return found

    def _blacklist(self) -> set[str]:
        try:
            with open("/sys/kernel/debug/kprobes/blacklist", encoding="utf-8") as file:
                return {line.rpartition("\t")[2].strip() for line in file}
        except OSError:
            return set()  # debugfs is not mounted, or not for us: the kernel refuses those functions by itself

    def _from_btf(self) -> dict[str, set[str]]:
        self.source = "BTF"
        if self._btf is None:
            return {"vmlinux": set()}
        return {"vmlinux": {name for name in self._btf.funcs() if not name.startswith(_HIDDEN)}}

    def _in_kallsyms(self, name: str, module: str, *, whole: bool = True) -> str:
        """The first function of this name (or, unless `whole`, beginning) in kallsyms, "" if there is none."""
        text = self._kallsyms_text()
        needle = b" " + name.encode("utf-8", "replace")
        at = text.find(needle)
        while at >= 0:
            end = text.find(b"\n", at)
            found, _, owner = text[at + 1 : end if end >= 0 else len(text)].decode("ascii", "replace").partition("\t")
            right = found == name if whole else ".cold" not in found
            if (
                right
                and text[at - 1 : at] in (b"t", b"T", b"w", b"W")
                and module in ("", owner.strip("[]") or "vmlinux")
            ):
                return found
            at = text.find(needle, at + 1)
        return ""
