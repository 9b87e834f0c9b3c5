"""Values of CONFIG_ options and kernel facts for programs that declare `extern ... __kconfig`."""

from __future__ import annotations

import os
from struct import pack

from .. import syscalls
from ..errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..btf import Btf
    from ..objects import MapSpec, Object


def read_config() -> dict[str, str]:
    """CONFIG_ name -> value ("y", "m", "42", '"text"') of the running kernel; empty where it is not to be found."""
    release = os.uname().release
    for path in ("/proc/config.gz", f"/boot/config-{release}", f"/lib/modules/{release}/config"):
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            continue
        if path.endswith(".gz"):
            import zlib

            try:
                data = zlib.decompress(data, 31)
            except zlib.error:
                continue  # empty or cut off: as good as none
        pairs = (line.partition("=") for line in data.decode(errors="replace").splitlines() if line[:7] == "CONFIG_")
        return {name: value for name, _, value in pairs}
    return {}


def lacking_options(options: tuple[str, ...]) -> tuple[str, ...] | None:
    """Those of the CONFIG_ options that this kernel was built without; None where that is not to be found out."""
    config = read_config()
    return tuple(name for name in options if config.get(name) not in ("y", "m")) if config else None


def kconfig_contents(obj: Object, spec: MapSpec) -> bytes:
    """Bytes of the `.kconfig` data section of `obj`, filled from the running kernel.

    An option that the kernel's configuration does not name is 0. NotSupported where there is no configuration.
    """
    from ..btf import Btf

    btf = Btf(obj.btf)
    section = btf.type(spec.value_type)
    out = bytearray(spec.value_size)
    config: dict[str, str] | None = None
    for var in section.vars:
        name = btf.name(var.type_id)
        if name == "LINUX_KERNEL_VERSION":
            major, minor, patch = syscalls.kernel_version()
            value = (major << 16 | minor << 8 | min(patch, 255)).to_bytes(4, "little")
        elif name.startswith("LINUX_HAS_"):
            value = b"\1"
        else:
            if config is None:
                config = read_config()
                if not config:
                    raise NotSupported(
                        f"read {name}: the configuration of this kernel is not to be found",
                        feature="kernel configuration",
                        hint="it is looked for in /proc/config.gz and /boot",
                    )
            value = _encode(config.get(name, ""), var.size, _is_char(btf, var.type_id))
        out[var.offset : var.offset + var.size] = value.ljust(var.size, b"\0")[: var.size]
    return bytes(out)


def _is_char(btf: Btf, var: int) -> bool:
    """Whether the variable is a `char` (to hold 'y', 'm', 'n') rather than a number or a bool."""
    return btf.name(btf.resolve(btf.type(var).type_id)) == "char"


def _encode(text: str, size: int, is_char: bool) -> bytes:
    if text.startswith('"'):
        return text.strip('"').encode()[: size - 1]
    if text in ("y", "m", "n", ""):
        if is_char:
            return (text or "n").encode()
        if size == 4:  # enum libbpf_tristate: no, yes, module
            return pack("<I", {"y": 1, "m": 2}.get(text, 0))
        return b"\1" if text == "y" else b"\0"
    number = int(text, 0) & ((1 << 8 * size) - 1)
    return number.to_bytes(size, "little")
