"""Fill in what only this kernel knows: map fds, BTF ids of kernel functions and variables, kconfig values."""

from __future__ import annotations

from struct import pack_into

from ..errors import NotSupported, ObjectError
from ..objects import set_wide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..objects import Relocation
    from ._kernel_types import KernelTypes
    from ._map import Map

# Values of `src_reg` of ld_imm64 and call (linux/bpf.h, BPF_PSEUDO_*)
_MAP_FD, _MAP_VALUE, _BTF_ID, _KFUNC = 1, 2, 3, 2


def resolve(
    program: str,
    insns: bytes,
    relocations: tuple[Relocation, ...],
    maps: dict[str, Map],
    types: KernelTypes,
) -> tuple[bytes, list[int]]:
    """Instructions ready to load, and the fds of module BTFs that they refer to (for `fd_array`, from slot 1)."""
    code = bytearray(insns)
    modules: list[int] = []
    for reloc in relocations:
        if reloc.kind in ("map", "map_value", "kconfig"):
            _map_address(code, program, reloc, maps)
        elif reloc.kind == "kfunc":
            _kfunc(code, program, reloc, types, modules)
        elif reloc.kind == "ksym":
            _ksym(code, program, reloc, types)
        else:
            raise ObjectError(f"load {program}: relocation {reloc.kind} of {reloc.symbol!r} was not linked")
    return bytes(code), modules


def _map_address(code: bytearray, program: str, reloc: Relocation, maps: dict[str, Map]) -> None:
    name = ".kconfig" if reloc.kind == "kconfig" else reloc.symbol
    target = maps.get(name)
    if target is None:
        raise ObjectError(f"load {program}: map {name!r} is not in the object")
    if reloc.kind == "map":
        set_wide(code, reloc.insn, _MAP_FD, target.fd, 0)
    else:
        set_wide(code, reloc.insn, _MAP_VALUE, target.fd, reloc.addend)


def _kfunc(code: bytearray, program: str, reloc: Relocation, types: KernelTypes, modules: list[int]) -> None:
    at = reloc.insn * 8
    found = types.function(reloc.symbol)
    if found is None:
        if not reloc.weak:
            raise NotSupported(
                f"load {program}: this kernel has no kfunc {reloc.symbol!r}",
                feature=f"kfunc {reloc.symbol}",
                hint="guard the call with bpf_ksym_exists on a __weak declaration",
            )
        # A call that the verifier proves dead; it must only not resolve to anything.
        pack_into("<BBhi", code, at, 0x85, 0, 0, 2001000000)
        return
    btf_id, module_fd = found
    slot = 0
    if module_fd:
        if module_fd not in modules:
            modules.append(module_fd)
        slot = modules.index(module_fd) + 1
    pack_into("<BBhi", code, at, 0x85, _KFUNC << 4, slot, btf_id)


def _ksym(code: bytearray, program: str, reloc: Relocation, types: KernelTypes) -> None:
    # A weak function is there to have its address tested (bpf_ksym_exists).
    found = types.variable(reloc.symbol) or (types.function(reloc.symbol) if reloc.weak else None)
    if found is not None:
        set_wide(code, reloc.insn, _BTF_ID, found[0], found[1])
        return
    addr = types.address(reloc.symbol)
    if not addr and not reloc.weak:
        raise NotSupported(
            f"load {program}: this kernel has no symbol {reloc.symbol!r}",
            feature=f"kernel symbol {reloc.symbol}",
            hint="declare it __weak and test its address",
        )
    value = addr + reloc.addend if addr else 0
    set_wide(code, reloc.insn, 0, value, value >> 32)
