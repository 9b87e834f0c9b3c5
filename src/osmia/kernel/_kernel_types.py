"""The running kernel's BTF and symbols, looked up when a program needs them; opened once per load."""

from __future__ import annotations

import os

from .. import syscalls
from ..errors import BtfError, NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf

KIND_FUNC, KIND_TYPEDEF, KIND_VAR = 12, 8, 14


class KernelTypes:
    """Lazy view of the kernel's BTF; `close` drops what was opened for it. A `btf` that was given stays open."""

    def __init__(self, btf: Btf | None = None) -> None:
        self._btf = btf
        self._given = btf
        self._modules: dict[str, tuple[Btf, int]] = {}

    @property
    def vmlinux(self) -> Btf:
        """BTF of the kernel image; NotSupported where the kernel has none."""
        if self._btf is None:
            from ..btf import load_kernel_btf

            try:
                self._btf = load_kernel_btf()
            except BtfError as error:
                raise NotSupported(
                    f"read kernel types: {error.message}", feature="kernel BTF", since="5.4", hint=error.hint
                ) from None
        return self._btf

    def function(self, name: str) -> tuple[int, int] | None:
        """(BTF id, 0 or fd of the module's BTF) of a kernel function; "module:function" names the module."""
        return self.find(name, KIND_FUNC)

    def variable(self, name: str) -> tuple[int, int] | None:
        """(BTF id, 0 or fd of the module's BTF) of a kernel variable."""
        return self.find(name, KIND_VAR)

    def find(self, name: str, kind: int) -> tuple[int, int] | None:
        """(BTF id, 0 or module BTF fd): in the kernel first, then in every module."""
        module, _, bare = name.rpartition(":")
        if not module or module == "vmlinux":
            id = self.vmlinux.find(bare, kind)
            if id is not None:
                return id, 0
            if module:
                return None
        for candidate in [module] if module else module_names():
            found = self._in_module(candidate, bare, kind)
            if found is not None:
                return found
        return None

    def _in_module(self, module: str, name: str, kind: int) -> tuple[int, int] | None:
        if module not in self._modules:
            from ..btf import load_kernel_btf

            try:
                self._modules[module] = load_kernel_btf(module), -1
            except BtfError:
                return None  # unloaded in the meantime
        btf, fd = self._modules[module]
        id = btf.find(name, kind)
        if id is None or id < len(self.vmlinux):
            return None
        if fd < 0:
            fd = module_btf_fd(module)
            if fd < 0:
                return None
            self._modules[module] = btf, fd
        return id, fd

    def address(self, name: str) -> int:
        """Address of a kernel symbol, 0 where there is none or kptr_restrict hides it."""
        needle = b" " + name.encode() + b"\n"
        with open("/proc/kallsyms", "rb") as file:
            text = file.read()
        at = text.find(needle)
        if at < 0:
            return 0
        line = text[text.rfind(b"\n", 0, at) + 1 : at]
        return int(line.split()[0], 16)

    def close(self) -> None:
        """Close types, and fds of modules, that were opened. They are opened again when they are asked for."""
        for btf, fd in self._modules.values():
            btf.close()
            if fd >= 0:
                os.close(fd)
        self._modules = {}
        if self._btf is not None and self._btf is not self._given:
            self._btf.close()
        self._btf = self._given


def module_names() -> list[str]:
    """Modules with BTF."""
    try:
        return sorted(name for name in os.listdir("/sys/kernel/btf") if name != "vmlinux")
    except OSError:
        return []


def module_btf_fd(module: str) -> int:
    """An fd of the BTF of a loaded module, or -1. The kernel gives it by id only; needs CAP_SYS_ADMIN."""
    from struct import unpack_from

    wanted = module.encode()
    for id in syscalls.ids("btf"):
        fd = syscalls.fd_by_id("btf", id)
        if fd < 0:
            continue
        name = syscalls.buffer(64)
        fill = bytes(16) + syscalls.address(name).to_bytes(8, "little") + (64).to_bytes(4, "little")
        info = syscalls.info(fd, 32, fill)
        if unpack_from("=I", info, 28)[0] and name.value == wanted:
            return fd
        os.close(fd)
    return -1
