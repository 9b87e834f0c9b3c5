"""Values of CONFIG_ options and kernel facts for programs that declare `extern ... __kconfig`."""

from __future__ import annotations

from struct import pack

from ..errors import NotSupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..btf import Btf
    from ._spec import MapSpec, Object

_VERSION = "LINUX_KERNEL_VERSION"


def kconfig_contents(
    obj: Object, spec: MapSpec, version: tuple[int, int, int], config: Callable[[], Mapping[str, str] | None]
) -> bytes:
    """Bytes of the `.kconfig` data section of `obj`, for a kernel of that version and configuration.

    `config`, which is called when an option is asked for, gives CONFIG_ name -> value ("y", "m", "42", '"text"'); one
    that it does not name is 0. None where the configuration is not known: NotSupported.
    """
    from ..btf import Btf

    btf = Btf(obj.btf)
    options: Mapping[str, str] | None = None
    out = bytearray(spec.value_size)
    for var in btf.type(spec.value_type).vars:
        name = btf.name(var.type_id)
        if name == _VERSION:
            value = pack("<I", version_code(version))
        elif name.startswith("LINUX_HAS_"):
            value = b"\1"
        else:
            options = config() if options is None else options
            if options is None:
                raise NotSupported(
                    f"read {name}: the configuration of this kernel is not to be found",
                    feature="kernel configuration",
                    hint="it is looked for in /proc/config.gz and /boot",
                )
            value = _encode(options.get(name, ""), var.size, _is_char(btf, var.type_id))
        out[var.offset : var.offset + var.size] = value.ljust(var.size, b"\0")[: var.size]
    return bytes(out)


def at_version(obj: Object, spec: MapSpec) -> int:
    """Where in the `.kconfig` section the kernel's version stands, -1 for nowhere."""
    from ..btf import Btf

    btf = Btf(obj.btf)
    return next((var.offset for var in btf.type(spec.value_type).vars if btf.name(var.type_id) == _VERSION), -1)


def version_code(version: tuple[int, int, int]) -> int:
    """KERNEL_VERSION() of linux/version.h."""
    major, minor, patch = version
    return major << 16 | minor << 8 | min(patch, 255)


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
