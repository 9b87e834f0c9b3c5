"""Kernel objects behind typed pointers: reads are checked against the kernel's BTF."""

from __future__ import annotations

from ..btf import KIND_ARRAY, KIND_PTR, KIND_STRUCT, KIND_UNION, KIND_VAR, Btf, BtfType
from ..errors import BtfError
from . import _tnum as tnum
from ._env import EACCES
from ._scalar import unknown_of
from ._state import BTF_ID, MAP_PTR, MEM, PERCPU, RDONLY, SCALAR, UNTRUSTED, Reg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..isa import Instruction
    from ._env import Env

_COMPOSITE = (KIND_STRUCT, KIND_UNION)


def kernel_types(env: Env) -> Btf | None:
    """The BTF of the kernel in question; None where there is none."""
    if env.program.kernel is not None:
        return env.program.kernel
    if not env.types_loaded:
        from ..btf import load_kernel_btf

        env.types_loaded = True
        try:
            env.types = load_kernel_btf()
        except BtfError:
            env.types = None
    return env.types


def struct_id(env: Env, name: str) -> int:
    """The id of a kernel struct, 0 if it is not known."""
    types = kernel_types(env)
    return (types.find(name, KIND_STRUCT) or 0) if types is not None and name else 0


def access_struct(env: Env, number: int, reg: Reg, off: int, size: int, write: bool) -> Reg | None:
    """A load through a typed pointer: a number, or a pointer to another kernel object."""
    types = kernel_types(env)
    if reg.kind == MAP_PTR:
        if write:
            env.refuse("only read from " + reg.name + " is supported", EACCES)
        return None
    name = types.name(reg.btf) if types is not None and reg.btf else ""
    if off < 0:
        env.refuse(f"R{number} is ptr_{name} invalid negative access: off={off}", EACCES)
    if reg.var.mask or reg.var.value:
        text = tnum.text((reg.var.value, reg.var.mask)) if reg.var.mask else hex(reg.var.value)
        env.refuse(f"R{number} is ptr_{name} invalid variable offset: off={off}, var_off={text}", EACCES)
    if write:
        env.refuse("only read is supported", EACCES)
    if types is None or not reg.btf:
        return None
    try:
        found = _walk(types, reg.btf, off, size)
    except BtfError:
        return None
    if found is None:
        env.refuse(f"access beyond struct {name} at off {off} size {size}", EACCES)
    if not found:
        return Reg(SCALAR, unknown_of(size), env.pc)
    # The pointers a tracing program follows may be anything: reads of them are checked at run time.
    return Reg(BTF_ID, origin=env.pc, btf=found, flags=reg.flags & UNTRUSTED)


def _walk(types: Btf, id: int, off: int, size: int) -> int | None:
    """0: a number; an id: a pointer to that struct; None: no such place."""
    made = types.type(types.resolve(id))
    if made.kind not in _COMPOSITE:
        return 0
    if off + size > made.size:
        return _trailing_array(types, made, off)
    for member in made.members:
        start = member.bit_offset // 8
        if member.bit_size or start > off:
            continue
        target = types.type(types.resolve(member.type_id)) if types.resolve(member.type_id) else None
        if target is None:
            continue
        found = _in_member(types, target, off - start, size)
        if found:
            return found
    return 0


def _in_member(types: Btf, target: BtfType, off: int, size: int) -> int:
    length = types.size_of(target.id)
    if off >= length:
        return 0
    if target.kind == KIND_ARRAY:
        element = types.resolve(target.type_id)
        unit = types.size_of(element)
        return _in_member(types, types.type(element), off % unit, size) if unit else 0
    if target.kind in _COMPOSITE:
        return _walk(types, target.id, off, size) or 0 if off + size <= length else 0
    if target.kind == KIND_PTR and off == 0 and size == 8:
        pointee = types.resolve(target.type_id)
        return pointee if pointee and types.kind(pointee) in _COMPOSITE else 0
    return 0


def _trailing_array(types: Btf, made: BtfType, off: int) -> int | None:
    """A struct whose last member is an array without a length goes on behind its end."""
    if not made.members:
        return None
    last = made.members[-1]
    target = types.type(types.resolve(last.type_id))
    if target.kind == KIND_ARRAY and not target.count and off >= last.bit_offset // 8:
        return 0
    return None


def kernel_variable(env: Env, insn: Instruction, _second: Instruction) -> Reg:
    """`dst = &variable` of the kernel."""
    types = kernel_types(env)
    if types is None:
        env.refuse("kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.")
    variable = types.type(insn.imm)
    if variable.kind != KIND_VAR:
        return Reg(SCALAR, unknown_of(8), env.pc)
    target = types.resolve(variable.type_id)
    percpu = PERCPU if insn.off else 0
    if target and types.kind(target) in _COMPOSITE:
        return Reg(BTF_ID, origin=env.pc, btf=target, flags=percpu)
    size = types.size_of(variable.type_id) if target else 0
    return Reg(MEM, origin=env.pc, size=size, flags=RDONLY)
